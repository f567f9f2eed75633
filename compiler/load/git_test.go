package load

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirty(t *testing.T) {
	base := map[string]string{
		"gateway.yaml": "g\n", "routes/a.yaml": "a\n", "routes/b.yaml": "b\n", "README.md": "r", "tests/t.yaml": "t", ".gwignore": "routes/x.yaml\n",
	}
	tests := []struct {
		name    string
		change  func(t *testing.T, dir string)
		changed string
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"outside the config", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"README.md": "new", "tests/t.yaml": "new"})
		}, ""},
		{"an ignored file", func(t *testing.T, dir string) { write(t, dir, map[string]string{"routes/x.yaml": "new"}) }, ""},
		{"only CRLF", func(t *testing.T, dir string) { write(t, dir, map[string]string{"routes/a.yaml": "a\r\n"}) }, ""},
		{"changed", func(t *testing.T, dir string) { write(t, dir, map[string]string{"routes/a.yaml": "new"}) }, "routes/a.yaml"},
		{"staged", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"routes/a.yaml": "new"})
			runGit(t, dir, "add", "--all")
		}, "routes/a.yaml"},
		{"untracked", func(t *testing.T, dir string) { write(t, dir, map[string]string{"routes/n.yaml": "new"}) }, "routes/n.yaml"},
		{"deleted", func(t *testing.T, dir string) { runGit(t, dir, "rm", "--quiet", "routes/b.yaml") }, "routes/b.yaml"},
		{".gwignore", func(t *testing.T, dir string) { write(t, dir, map[string]string{".gwignore": "routes/b.yaml\n"}) }, ".gwignore routes/b.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := repo(t, base)
			tt.change(t, dir)
			tree, err := Dir(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			o := tree.Origin
			if got := strings.Join(o.Changed, " "); got != tt.changed || o.Dirty != (tt.changed != "") {
				t.Errorf("changed %q, want %q", got, tt.changed)
			}
			if o.Commit != runGit(t, dir, "rev-parse", "HEAD") || o.Tree != runGit(t, dir, "rev-parse", "HEAD^{tree}") {
				t.Errorf("origin %+v", o)
			}
			if f := tree.File("routes/a.yaml"); tt.name == "only CRLF" && string(f.Data) != "a\n" {
				t.Errorf("the bytes are not git's: %q", f.Data)
			}
		})
	}
}

func TestNoCommitYet(t *testing.T) {
	dir := t.TempDir()
	runGit(t, dir, "init", "--quiet")
	write(t, dir, map[string]string{"gateway.yaml": "x"})
	tree, err := Dir(t.Context(), dir)
	if err != nil || !tree.Origin.Dirty || tree.Origin.Commit != "" {
		t.Errorf("%v %+v", err, tree.Origin)
	}
	var unknown *UnknownRevisionError
	if _, err := Git(t.Context(), dir, "HEAD"); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "no commit yet") {
		t.Errorf("got %v", err)
	}
}

func TestSubdirectory(t *testing.T) {
	dir := repo(t, map[string]string{"cfg/gateway.yaml": "x", "cfg/routes/a.yaml": "->../../outside.yaml", "outside.yaml": "x", "other/x.yaml": "x"})
	sub := filepath.Join(dir, "cfg")
	for name, read := range map[string]func() (*Tree, error){
		"disk": func() (*Tree, error) { return Dir(t.Context(), sub) },
		"git":  func() (*Tree, error) { return Git(t.Context(), sub, "HEAD") },
	} {
		tree, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if codes(tree.Diags) != "routes/a.yaml GW1007" || paths(tree.Files) != "gateway.yaml" {
			t.Errorf("%s: %s %s", name, codes(tree.Diags), paths(tree.Files))
		}
		if tree.Origin.Tree != runGit(t, dir, "rev-parse", "HEAD:cfg") || tree.Origin.Dirty {
			t.Errorf("%s: %+v", name, tree.Origin)
		}
	}
	first := runGit(t, dir, "rev-parse", "HEAD")
	runGit(t, dir, "rm", "-r", "--quiet", "cfg")
	commit(t, dir, "gone")
	write(t, dir, map[string]string{"cfg/gateway.yaml": "x"})
	if _, err := Git(t.Context(), sub, "HEAD"); err == nil || !strings.Contains(err.Error(), `no folder "cfg"`) {
		t.Errorf("got %v", err)
	}
	if tree, err := Git(t.Context(), sub, first); err != nil || len(tree.Files) != 1 {
		t.Errorf("got %v", err)
	}
}

func TestResolve(t *testing.T) {
	dir := repo(t, map[string]string{"gateway.yaml": "1"})
	one := runGit(t, dir, "rev-parse", "HEAD")
	write(t, dir, map[string]string{"gateway.yaml": "2"})
	two := commit(t, dir, "second")
	runGit(t, dir, "branch", "release/1.0", one)
	runGit(t, dir, "tag", "v1", one)
	runGit(t, dir, "tag", "-a", "-m", "annotated", "v2", two)
	runGit(t, dir, "update-ref", "refs/remotes/origin/main", one)
	runGit(t, dir, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
	runGit(t, dir, "branch", one[:7], two) // a branch that looks like a short hash
	runGit(t, dir, "checkout", "--quiet", "-b", "side", one)
	side := commit(t, dir, "side")
	runGit(t, dir, "checkout", "--quiet", "main")
	runGit(t, dir, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
	merge := runGit(t, dir, "rev-parse", "HEAD")
	runGit(t, dir, "gc", "--quiet") // packs objects and refs

	r, err := OpenRepo(dir)
	if err != nil {
		t.Fatal(err)
	}
	for rev, want := range map[string]string{
		"HEAD": merge, "@": merge, "main": merge, "refs/heads/main": merge, "heads/main": merge, "v1": one, "v2": two, "tags/v2": two,
		"v2^{commit}": two, "release/1.0": one, "origin/main": one, "origin": one, two: two, two[:8]: two, strings.ToUpper(two[:12]): two,
		one[:7]: two, "HEAD~": two, "HEAD~1": two, "HEAD~2": one, "HEAD^": two, "HEAD^2": side, "HEAD^2~1": one, "HEAD^0": merge, "main~~": one,
	} {
		if got, err := r.Resolve(rev); err != nil || got != want {
			t.Errorf("%s: got %s %v, want %s", rev, got, err, want)
		}
	}
	for rev, want := range map[string]string{
		"mian": `did you mean "main"?`, "v3": `did you mean "v1"?`, "release/1.1": `did you mean "release/1.0"?`, "HEAD~9": "the history begins",
		"HEAD^3": "has 2 parents", "HEAD~99999999999999999999": "too large", strings.Repeat("0", 40): "no such commit", "deadbeef": "unknown revision",
		"--output=x": "not a branch", "a..b": "not a branch", "main\n": "not a branch", "": "not a branch", "~1": "not a branch", "HEAD@{1}": "not a branch",
		"main:gateway.yaml": "not a branch", "../../x": "not a branch",
	} {
		var unknown *UnknownRevisionError
		if got, err := r.Resolve(rev); !errors.As(err, &unknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %s %v, want %q", rev, got, err, want)
		}
	}
	c, branch, err := r.Head(t.Context())
	if err != nil || c != merge || branch != "main" {
		t.Errorf("head %s %s %v", c, branch, err)
	}
	tree, err := Git(t.Context(), dir, "HEAD~2")
	if err != nil || string(tree.Files[0].Data) != "1" || tree.Origin.Commit != one {
		t.Errorf("%v %+v", err, tree)
	}
}

func TestShallow(t *testing.T) {
	dir := repo(t, map[string]string{"gateway.yaml": "1"})
	one := runGit(t, dir, "rev-parse", "HEAD")
	write(t, dir, map[string]string{"gateway.yaml": "2"})
	commit(t, dir, "second")
	clone := filepath.Join(t.TempDir(), "clone")
	runGit(t, dir, "clone", "--quiet", "--depth=1", "file://"+dir, clone)
	for _, rev := range []string{"HEAD~1", one, "v1"} {
		if _, err := Git(t.Context(), clone, rev); !errors.Is(err, ErrShallow) || !strings.Contains(err.Error(), "shallow") {
			t.Errorf("%s: got %v", rev, err)
		}
	}
	if tree, err := Git(t.Context(), clone, "HEAD"); err != nil || string(tree.Files[0].Data) != "2" {
		t.Errorf("got %v", err)
	}
}

// TestKindsOfRepository reads the same commit through every way git has to lay out a repository on disk.
func TestKindsOfRepository(t *testing.T) {
	dir := repo(t, map[string]string{"gateway.yaml": "1", "routes/a.yaml": "2"})
	tmp := t.TempDir()
	runGit(t, dir, "worktree", "add", "--quiet", "--detach", filepath.Join(tmp, "worktree"))
	runGit(t, dir, "clone", "--quiet", "--shared", dir, filepath.Join(tmp, "shared"))
	runGit(t, dir, "clone", "--quiet", "--bare", dir, filepath.Join(tmp, "bare.git"))
	runGit(t, dir, "clone", "--quiet", "--separate-git-dir", filepath.Join(tmp, "gitdir"), dir, filepath.Join(tmp, "separate"))
	write(t, tmp, map[string]string{"link": "->shared"})
	for _, name := range []string{"worktree", "shared", "bare.git", "separate", "link"} {
		t.Run(name, func(t *testing.T) {
			tree, err := Git(t.Context(), filepath.Join(tmp, name), "HEAD")
			if err != nil || paths(tree.Files) != "gateway.yaml routes/a.yaml" {
				t.Fatalf("%v %+v", err, tree)
			}
			if name == "bare.git" {
				return
			}
			tree, err = Dir(t.Context(), filepath.Join(tmp, name))
			if err != nil || tree.Origin.Dirty || tree.Origin.Commit == "" {
				t.Errorf("%v %+v", err, tree.Origin)
			}
		})
	}
}

func TestOutsideGit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"gateway.yaml": "x"})
	if _, err := Git(t.Context(), dir, "HEAD"); !errors.Is(err, ErrNoRepository) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dir(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
