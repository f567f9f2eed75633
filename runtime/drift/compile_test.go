package drift_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/internal/compilechild"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/drift"
)

func TestMain(m *testing.M) {
	compilechild.Main(os.Args, compile)
	testkit.NoLeaks(m)
}

// compile is a small compiler: what a repository means is the values of its YAML files, by path. Comments, order and
// other files mean nothing; a file that is not YAML is a mistake. It runs in the child.
func compile(_ context.Context, r compilechild.Request) (compilechild.Response, error) {
	repo, err := git.PlainOpenWithOptions(r.GitDir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return compilechild.Response{}, err
	}
	commit, err := repo.CommitObject(plumbing.NewHash(r.Commit))
	if err != nil {
		return compilechild.Response{}, err
	}
	tree, err := commit.Tree()
	if err == nil && r.Subdirectory != "" {
		tree, err = tree.Tree(r.Subdirectory)
	}
	if err != nil {
		return compilechild.Response{}, err
	}
	content := map[string]any{"environment": r.Environment}
	var problems []string
	if err := tree.Files().ForEach(func(f *object.File) error {
		if path.Ext(f.Name) != ".yaml" {
			return nil
		}
		in, err := f.Reader()
		if err != nil {
			return err
		}
		defer in.Close()
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		var value any
		if err := yaml.Unmarshal(data, &value); err != nil {
			problems = append(problems, f.Name+": "+err.Error())
		}
		if strings.Contains(string(data), "exhaust: true") {
			return errors.New("out of patience")
		}
		content[f.Name] = value
		return nil
	}); err != nil {
		return compilechild.Response{}, err
	}
	if len(problems) > 0 {
		return compilechild.Response{Diagnostics: len(problems), Text: strings.Join(problems, "\n")}, nil
	}
	data, err := json.Marshal(content)
	sum := sha256.Sum256(data)
	return compilechild.Response{ContentDigest: "sha256:" + hex.EncodeToString(sum[:])}, err
}

// gateway is what runs, and the compiler beside it, as cmd/gwrun wires them.
type gateway struct {
	mu       sync.Mutex
	running  drift.Running
	compiled []string // "commit environment", in order
}

func (g *gateway) Running() drift.Running {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

func (g *gateway) run(r drift.Running) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = r
}

func (g *gateway) compiles() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.compiled)
}

func (g *gateway) Compile(ctx context.Context, gitDir, commit, subdir, environment string) (drift.Compiled, error) {
	g.mu.Lock()
	g.compiled = append(g.compiled, commit+" "+environment)
	g.mu.Unlock()
	out, err := new(compilechild.Command).Run(ctx, compilechild.Request{
		GitDir: gitDir, Commit: commit, Subdirectory: subdir, Environment: environment,
	})
	return drift.Compiled{ContentDigest: out.ContentDigest, Diagnostics: out.Diagnostics, Text: out.Text}, err
}

// activate makes a commit run, compiled as the publisher would.
func (g *gateway) activate(t *testing.T, gitDir, commit, subdir string) {
	t.Helper()
	out, err := compile(t.Context(), compilechild.Request{GitDir: gitDir, Commit: commit, Subdirectory: subdir, Environment: "production"})
	if err != nil || out.ContentDigest == "" {
		t.Fatalf("compile %s: %+v, %v", commit, out, err)
	}
	g.run(drift.Running{Commit: commit, ContentDigest: out.ContentDigest, Environment: "production"})
}

func newWatcher(t *testing.T, g *gateway, o drift.Options) *drift.Watcher {
	t.Helper()
	o.Compile, o.Running = g.Compile, g.Running
	w, err := drift.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// brief is what most tests ask of a report, in one line.
func brief(r drift.Report) string {
	s := fmt.Sprintf("%s behind=%d ahead=%d differs=%s", r.State, r.CommitsBehind, r.CommitsAhead, r.ContentDiffers)
	for _, f := range r.Files {
		s += " " + f.Change + ":" + f.Path
	}
	if r.OtherFiles > 0 {
		s += fmt.Sprintf(" others=%d", r.OtherFiles)
	}
	for flag, set := range map[string]bool{" diverged": r.Diverged, " stale": r.Stale, " at-least": r.CommitsAtLeast} {
		if set {
			s += flag
		}
	}
	return s
}

func want(t *testing.T, got drift.Report, brf string) {
	t.Helper()
	if b := brief(got); b != brf {
		t.Fatalf("got  %s (error %q)\nwant %s", b, got.Error, brf)
	}
}
