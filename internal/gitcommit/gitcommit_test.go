package gitcommit_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"

	"github.com/suuupra/gateway/internal/gitcommit"
	"github.com/suuupra/gateway/internal/testkit"
)

var at = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// world is a repository that git itself has made, with something that is checked out and not committed.
type world struct {
	t    *testing.T
	dir  string
	repo *git.Repository
	head string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.git("init", "--quiet", "--initial-branch=main")
	w.git("config", "user.name", "Ann")
	w.git("config", "user.email", "ann@example.com")
	w.file("environments/prod/a.yaml", "a\n")
	w.file("environments.yaml", "a file between the folder and what is in it, as git sorts\n")
	w.git("add", "--all")
	w.git("commit", "--quiet", "--message=one")
	w.file("environments/prod/a.yaml", "changed\n")
	w.head = w.git("rev-parse", "HEAD")
	repo, err := git.PlainOpen(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	w.repo = repo
	return w
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command(testkit.Program(w.t, "git"), args...)
	cmd.Dir, cmd.Env = w.dir, append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) file(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestAdd(t *testing.T) {
	w := newWorld(t)
	id, err := gitcommit.Add(w.repo, w.head, map[string][]byte{
		"environments/prod/b.yaml": []byte("b\n"), "environments/prod/deep/er/c.yaml": []byte("c\n"), "top.yaml": {},
	}, "what\n\nwhy\n", at)
	if err != nil {
		t.Fatal(err)
	}
	if err := gitcommit.Branch(w.repo, "inc-42", id); err != nil {
		t.Fatal(err)
	}
	w.git("fsck", "--strict", "--full")
	if got := w.git("log", "-1", "--format=%an <%ae> %aI %P %B", "inc-42"); got != "Ann <ann@example.com> 2026-11-26T12:00:00Z "+w.head+" what\n\nwhy" && !strings.HasPrefix(got, "Ann <ann@example.com> 2026-11-26T12:00:00+00:00 "+w.head+" what\n\nwhy") {
		t.Errorf("the commit is %q", got)
	}
	if got := w.git("diff", "--name-status", "main", "inc-42"); got != "A\tenvironments/prod/b.yaml\nA\tenvironments/prod/deep/er/c.yaml\nA\ttop.yaml" {
		t.Errorf("it changes %q", got)
	}
	if got := w.git("show", "inc-42:environments/prod/deep/er/c.yaml"); got != "c" {
		t.Errorf("it holds %q", got)
	}
	if got := w.git("status", "--porcelain"); got != "M environments/prod/a.yaml" || w.git("rev-parse", "HEAD") != w.head {
		t.Errorf("what is checked out has changed: %q", got)
	}
	if err := gitcommit.Branch(w.repo, "inc-42", id); !errors.Is(err, gitcommit.ErrExists) {
		t.Errorf("the branch again: %v", err)
	}
	if err := gitcommit.Branch(w.repo, "a..b", id); err == nil {
		t.Error("a branch that git would not take")
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"environments/prod/a.yaml": "it exists already", "environments.yaml/x": "environments.yaml: it exists already", "environments": "it exists already",
		"../x": "no path of a file", "a//b": "no path of a file", "/a": "no path of a file", ".git/hooks/post-checkout": "no path of a file", "a/.GIT/x": "no path of a file", `a\b`: "no path of a file", "": "no path of a file",
	} {
		if _, err := gitcommit.Add(w.repo, w.head, map[string][]byte{path: {}}, "x", at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
	for _, parent := range []string{"", "main", strings.Repeat("a", 40)} {
		if _, err := gitcommit.Add(w.repo, parent, nil, "x", at); !errors.Is(err, gitcommit.ErrNoCommit) {
			t.Errorf("onto %q: %v", parent, err)
		}
	}
}
