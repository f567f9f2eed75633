// Package scripts_test runs the stories in testdata/cli: what gwctl and gwrun print, byte for byte, and how they exit. It
// drives the real programs from outside, and must hold no expectations of its own.
package scripts_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// TestGoldenStories runs each file of testdata/cli as testscript understands it (go doc of its package), with
//
//	gwctl ARGS, gwrun ARGS    run the program, which must exit 0
//	exits N gwctl ARGS        run it; it must exit with N
//	until N gwctl ARGS        run it again and again until it exits with N
//	commit DIR MESSAGE        commit every file of a folder, which becomes a git repository if it is none
//	forge DIR REV CLAIM OUT   sign a bundle of one revision that claims to be of another
//	flip FILE OFFSET          change one bit; a negative offset counts from the end
//
// Paths, times and digests in the output are masked, so that `cmp stdout FILE` can be exact: $WORK is the folder of the
// story, <time> any time of day, <took> how long something took, <digest N> the N-th digest the story showed. `exec gwctl` masks nothing. Commits have
// fixed dates. The folder keys holds keys made from fixed seeds, keys/other those of somebody else.
// `make golden` rewrites what the steps compare with.
func TestGoldenStories(t *testing.T) {
	testkit.Program(t, "git")
	root, bin := testkit.Root(t), t.TempDir()
	for _, name := range []string{"gwctl", "gwrun"} {
		if err := os.Symlink(testkit.Binary(t, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join(root, "testdata", "cli"),
		UpdateScripts:      testkit.UpdateGolden(),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			return setup(e, bin, root)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gwctl":  func(ts *testscript.TestScript, neg bool, args []string) { run(ts, neg, 0, "gwctl", args) },
			"gwrun":  func(ts *testscript.TestScript, neg bool, args []string) { run(ts, neg, 0, "gwrun", args) },
			"exits":  exits,
			"until":  until,
			"flip":   flip,
			"forge":  forge,
			"digest": digest,
			"commit": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) != 2 {
					ts.Fatalf("usage: commit dir message")
				}
				for _, git := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", args[1]}} {
					if _, err := os.Stat(ts.MkAbs(args[0] + "/.git")); git[0] == "init" && err == nil {
						continue
					}
					ts.Check(ts.Exec("git", append([]string{"-C", args[0]}, git...)...))
				}
			},
		},
	})
}

type (
	masksKey struct{}
	testKey  struct{}
)

func setup(e *testscript.Env, bin, root string) error {
	for name, value := range map[string]string{
		"GWCTL_USER":  "tester",
		"PATH":        bin + string(os.PathListSeparator) + e.Getenv("PATH"),
		"GWCTL_CACHE": filepath.Join(e.WorkDir, ".tmp", "cache"),
		"SCHEMA":      filepath.Join(root, "schema", "v1", "schema.json"),
		"EXAMPLE":     filepath.Join(root, "examples", "config-repo"),
		// The settings of the machine and its user stay out of the stories, and commits have the same ids everywhere.
		"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
		"GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.com", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
		"GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.com", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
	} {
		e.Setenv(name, value)
	}
	e.Values[masksKey{}], e.Values[testKey{}] = &masks{work: e.WorkDir}, e.T()
	if err := writeKeys(filepath.Join(e.WorkDir, "keys"), "test"); err != nil {
		return err
	}
	return writeKeys(filepath.Join(e.WorkDir, "keys", "other"), "somebody else")
}

// writeKeys writes what gwctl keygen writes, from a seed: no private key lies in the repository, and signatures are the
// same in every run. A second release key, and a second approver's, are for stories where one is not enough.
func writeKeys(dir, seed string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var trust bundle.TrustFile
	for _, k := range []struct {
		name string
		role bundle.Role
	}{{"release", bundle.RoleRelease}, {"release2", bundle.RoleRelease}, {"channel", bundle.RoleChannel}, {"ada", bundle.RoleApprover}, {"bob", bundle.RoleApprover}} {
		sum := sha256.Sum256([]byte("for tests only: " + seed + " " + k.name))
		der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(sum[:]))
		if err != nil {
			return err
		}
		file := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, k.name+".key"), file, 0o600); err != nil {
			return err
		}
		key, err := bundle.ParsePrivateKey(file)
		if err != nil {
			return err
		}
		entry, err := bundle.TrustKeyOf(key.Public(), k.role)
		if err != nil {
			return err
		}
		trust.Keys = append(trust.Keys, entry)
	}
	for name, need := range map[string]int{"trust.json": 0, "threshold.json": 2} {
		trust.Thresholds.Release = need
		raw, err := trust.Encode()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// exits N PROGRAM ARGS runs a program, which must exit with N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want := exitCode(ts, args)
	run(ts, neg, want, args[1], args[2:])
}

// until N PROGRAM ARGS runs a program again and again, for what only time brings.
func until(ts *testscript.TestScript, neg bool, args []string) {
	want := exitCode(ts, args)
	testkit.Eventually(ts.Value(testKey{}).(testing.TB), strings.Join(args[1:], " ")+" exits with "+args[0], func() bool {
		return execute(ts, args[1], args[2:]) == want
	})
	run(ts, neg, want, args[1], args[2:])
}

func exitCode(ts *testscript.TestScript, args []string) int {
	if len(args) < 2 {
		ts.Fatalf("usage: exits|until N program args...")
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("%q is not an exit code", args[0])
	}
	return code
}

// execute runs a program and returns its exit code.
func execute(ts *testscript.TestScript, program string, args []string) int {
	err := ts.Exec(program, args...)
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		return failed.ExitCode()
	}
	ts.Check(err)
	return 0
}

func run(ts *testscript.TestScript, neg bool, want int, program string, args []string) {
	if neg {
		ts.Fatalf("say which exit code is meant: exits N %s ...", program)
	}
	got := execute(ts, program, args)
	m := ts.Value(masksKey{}).(*masks)
	stdout, stderr := m.apply(ts.ReadFile("stdout")), m.apply(ts.ReadFile("stderr"))
	fmt.Fprint(ts.Stdout(), stdout)
	fmt.Fprint(ts.Stderr(), stderr)
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", program, got, want)
	}
}

// forge DIR REV CLAIM OUT compiles a revision and signs it as another one: what a release key in the wrong hands could do.
func forge(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: forge dir rev claim out")
	}
	tree, err := toolchain.Load(context.Background(), ts.MkAbs(args[0]), args[1])
	ts.Check(err)
	claim, err := toolchain.Load(context.Background(), ts.MkAbs(args[0]), args[2])
	ts.Check(err)
	unit, err := toolchain.New(toolchain.Options{}).Open(context.Background(), tree)
	ts.Check(err)
	b, err := compiler.Emit(unit.Compile("prod").WithOrigins(), claim.Origin, build.Version)
	ts.Check(err)
	key, err := bundle.ParsePrivateKey([]byte(ts.ReadFile("keys/release.key")))
	ts.Check(err)
	ts.Check(b.Sign(key))
	data, err := b.Encode(nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), data, 0o644))
}

// digest N NAME keeps what the story shows as <digest N> in a variable.
func digest(ts *testscript.TestScript, _ bool, args []string) {
	m := ts.Value(masksKey{}).(*masks)
	if len(args) != 2 {
		ts.Fatalf("usage: digest n name")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > len(m.digests) {
		ts.Fatalf("the story has shown %d digests", len(m.digests))
	}
	ts.Setenv(args[1], m.digests[n-1])
}

// flip FILE OFFSET changes one bit of a file; a negative offset counts from its end.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: flip file offset")
	}
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := []byte(ts.ReadFile(args[0]))
	if offset < 0 {
		offset += len(data)
	}
	data[offset] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// masks replaces what differs from run to run, or says nothing to a reader.
type masks struct {
	work    string
	digests []string // in the order in which the story showed them
}

var (
	timePattern   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`)
	digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{6,64}`)
	tookPattern   = regexp.MustCompile(`(\bin )[0-9][0-9.]*(µs|ms|s)\b|("tookMillis": )[0-9.]+`)
)

func (m *masks) apply(text string) string {
	text = strings.ReplaceAll(text, m.work, "$WORK")
	text = tookPattern.ReplaceAllString(timePattern.ReplaceAllString(text, "<time>"), "${1}${3}<took>")
	return digestPattern.ReplaceAllStringFunc(text, func(d string) string {
		for i, known := range m.digests {
			if strings.HasPrefix(known, d) || strings.HasPrefix(d, known) {
				return fmt.Sprintf("<digest %d>", i+1)
			}
		}
		m.digests = append(m.digests, d)
		return fmt.Sprintf("<digest %d>", len(m.digests))
	})
}
