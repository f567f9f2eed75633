package rewrite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

const route = `apiVersion: gateway.suuupra.dev/v1beta1
kind: Route
id: a
matcher: { path: /a }
target: { type: http, url: "http://127.0.0.1:80" }
timeout: 5 # seconds
`

const migrated = `apiVersion: gateway.suuupra.dev/v1
routes:
  - id: a
    matcher: { path: /a }
    target: { type: http, url: "http://127.0.0.1:80" }
    policy:
      timeout: 5000 # seconds
`

const test = `apiVersion: gateway.suuupra.dev/v1beta1
kind: Test
name: a
requests: [{ send: { url: /a }, expect: { status: 200 } }]
`

func newCompiler() *compiler.Compiler {
	opts := compiler.Options{Kinds: all.Kinds()}
	for _, t := range targets.Kinds() {
		opts.Targets = append(opts.Targets, t.TargetKind)
	}
	return compiler.New(opts)
}

// write writes a repository into a folder of its own.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// plan plans the migration of a folder.
func plan(t *testing.T, dir string) (*Plan, *Folder) {
	t.Helper()
	tree, err := load.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	var diags diag.List
	p, err := New(tree, v1.APIVersion, folder.Read, &diags)
	if err != nil || diags.Len() > 0 {
		t.Fatalf("%v, %v", err, diags.Sorted())
	}
	return p, folder
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestMigrate(t *testing.T) {
	dir := write(t, map[string]string{
		"gateway.yaml": "apiVersion: gateway.suuupra.dev/v1\n", "routes/a.yaml": strings.ReplaceAll(route, "\n", "\r\n"),
		"environments/prod/a.yaml": "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Route\nid: a\ntimeout: null\n", "tests/a.yaml": test,
	})
	p, folder := plan(t, dir)
	if err := p.Verify(t.Context(), newCompiler()); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range p.Files {
		paths = append(paths, f.Path)
	}
	if want := []string{"environments/prod/a.yaml", "routes/a.yaml", "tests/a.yaml"}; !slices.Equal(paths, want) {
		t.Fatalf("plans %q, want %q", paths, want)
	}
	if err := folder.Write(p); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "routes", "a.yaml")); got != strings.ReplaceAll(migrated, "\n", "\r\n") {
		t.Errorf("wrote %q", got)
	}
	info, err := os.Stat(filepath.Join(dir, "routes", "a.yaml"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v, %v", info.Mode(), err)
	}
	if again, _ := plan(t, dir); len(again.Files) > 0 {
		t.Errorf("a second run would change %v", again.Files)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ".gwctl-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestVerify plants what a wrong rewriting would write: Verify must see it.
func TestVerify(t *testing.T) {
	files := map[string]string{"routes/a.yaml": route, "tests/a.yaml": test, "environments/prod/gateway.yaml": "apiVersion: gateway.suuupra.dev/v1\n"}
	tests := []struct {
		name, file, old, with string
		where                 string
		detail                string
	}{
		{"another value", "routes/a.yaml", "5000", "5", "the base", "policy.timeout  5000"},
		{"a value that is wrong", "routes/a.yaml", "5000", "soon", "the base", "routes/a.yaml:7:16: error GW2111"},
		{"only in an environment", "environments/prod/gateway.yaml", "v1\n", "v1\ngateway: { limits: { maxUrlBytes: 100 } }\n", `environment "prod"`, "maxUrlBytes"},
		{"another test", "tests/a.yaml", "status: 200", "status: 201", "the request tests", "tests/a.yaml"},
		{"a test that is wrong", "tests/a.yaml", "status: 200", "status: x", "the request tests", "error GW2104"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := plan(t, write(t, files))
			f := p.after.File(tt.file)
			if !strings.Contains(string(f.Data), tt.old) {
				t.Fatalf("%q has no %q", f.Data, tt.old)
			}
			f.Data = []byte(strings.Replace(string(f.Data), tt.old, tt.with, 1))
			var different *DifferenceError
			err := p.Verify(t.Context(), newCompiler())
			if !errors.As(err, &different) || different.Where != tt.where || !strings.Contains(different.Detail, tt.detail) {
				t.Errorf("got %v, want a difference in %s that says %q", err, tt.where, tt.detail)
			}
		})
	}
	p, _ := plan(t, write(t, files))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Verify(ctx, newCompiler()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// TestWriteRefuses changes the repository between the plan and the writing: nothing may be written then, nor outside of it.
func TestWriteRefuses(t *testing.T) {
	files := map[string]string{"routes/a.yaml": route, "routes/b.yaml": strings.ReplaceAll(strings.ReplaceAll(route, "/a", "/b"), "id: a", "id: b")}
	outside := filepath.Join(t.TempDir(), "outside.yaml")
	if err := os.WriteFile(outside, []byte(files["routes/b.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"edited", func(path string) error { return os.WriteFile(path, []byte("x: y\n"), 0o600) }, "routes/b.yaml has changed while it was migrated; nothing was written"},
		{"gone", os.Remove, "read routes/b.yaml: no such file or directory"},
		{"a link out of it", func(path string) error { return errors.Join(os.Remove(path), os.Symlink(outside, path)) }, "read routes/b.yaml: path escapes from parent"},
		{"a folder", func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) }, "read routes/b.yaml: is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, files)
			p, folder := plan(t, dir)
			if err := tt.change(filepath.Join(dir, "routes", "b.yaml")); err != nil {
				t.Fatal(err)
			}
			if err := folder.Write(p); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if got := read(t, filepath.Join(dir, "routes", "a.yaml")); got != route {
				t.Errorf("wrote %q", got)
			}
			if got := read(t, outside); got != files["routes/b.yaml"] {
				t.Errorf("wrote outside: %q", got)
			}
			entries, err := os.ReadDir(filepath.Join(dir, "routes"))
			if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".gwctl-") }) {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

// TestSharedLink has two links to one file, which is written once.
func TestSharedLink(t *testing.T) {
	dir := write(t, map[string]string{"shared/p.yaml": "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Upstream\nid: u\nconnect_timeout: 5\n", ".gwignore": "shared/\n"})
	for _, env := range []string{"dev", "prod"} {
		folder := filepath.Join(dir, "environments", env)
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.Symlink("../../shared/p.yaml", filepath.Join(folder, "p.yaml"))); err != nil {
			t.Fatal(err)
		}
	}
	p, folder := plan(t, dir)
	if len(p.Files) != 2 {
		t.Fatalf("plans %v", p.Files)
	}
	if err := folder.Write(p); err != nil {
		t.Fatal(err)
	}
	want := "apiVersion: gateway.suuupra.dev/v1\nupstreams:\n  - id: u\n    connectTimeout: 5000\n"
	if got := read(t, filepath.Join(dir, "shared", "p.yaml")); got != want {
		t.Errorf("got %q", got)
	}
	if target, err := os.Readlink(filepath.Join(dir, "environments", "dev", "p.yaml")); err != nil || target != "../../shared/p.yaml" {
		t.Errorf("the link is %q, %v", target, err)
	}
}

func TestUncommitted(t *testing.T) {
	git := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.Command(testkit.Program(t, "git"), append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	check := func(dir string, want ...string) {
		t.Helper()
		p, _ := plan(t, dir)
		if got, err := p.Uncommitted(t.Context(), dir); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	dir := write(t, map[string]string{"routes/a.yaml": route, "tests/a.yaml": test, "gateway.yaml": "apiVersion: gateway.suuupra.dev/v1\n"})
	check(dir)
	git(dir, "init", "-q")
	check(dir, "routes/a.yaml", "tests/a.yaml")
	git(dir, "add", "-A")
	check(dir, "routes/a.yaml", "tests/a.yaml") // no commit yet
	git(dir, "commit", "-q", "-m", "first")
	check(dir)
	for name, content := range map[string]string{
		"tests/a.yaml":  test + "# more\n",                                            // changed
		"routes/b.yaml": strings.NewReplacer("/a", "/b", ": a", ": b").Replace(route), // new
		"gateway.yaml":  "apiVersion: gateway.suuupra.dev/v1\ngateway: {}\n",          // changed, and none of those that migrate
		"routes/a.yaml": strings.ReplaceAll(route, "\n", "\r\n"),                      // as git would check it out elsewhere
		"README.md":     "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check(dir, "routes/b.yaml", "tests/a.yaml")
}
