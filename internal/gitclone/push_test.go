package gitclone

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/gitsend"
	"github.com/suuupra/gateway/internal/testkit"
)

var someone = Author{"Someone", "someone@example.com"}

// served runs git in the bare repository of a server.
func served(t *testing.T, repo *testkit.GitRepo, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = repo.Dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestPush edits files in folders, below a folder, and leaves the rest as it is.
func TestPush(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{
		"README.md": "read me\n", "site/a/one.yaml": "1\n", "site/a/two.yaml": "2\n", "site/b/deep/three.yaml": "3\n", "site/file": "x\n",
	})
	c := open(t, Options{Repository: repo.URL, Ref: "main"})
	head, err := c.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	d, err := c.Draft(head, "site", map[string][]byte{
		"a/one.yaml": []byte("new\n"), "a/four.yaml": []byte("4\n"), "b/deep/three.yaml": nil, "file/below": []byte("in place of a file\n"), "nothing": nil, "c/d/e": []byte("e\n"),
	}, "a message\n", someone, when)
	if err != nil {
		t.Fatal(err)
	}
	if got := served(t, repo, "rev-parse", "main"); got != head.Commit {
		t.Errorf("a draft has moved the branch to %s", got)
	}
	files, err := c.Files(d.Commit, "site", func(path string) bool { return path != "a/two.yaml" })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, data := range files {
		got = append(got, fmt.Sprintf("%s=%s", name, strings.TrimSpace(string(data))))
	}
	slices.Sort(got)
	if want := "[a/four.yaml=4 a/one.yaml=new c/d/e=e file/below=in place of a file]"; fmt.Sprint(got) != want {
		t.Errorf("the draft holds %v, want %s", got, want)
	}
	if err := c.Push(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	served(t, repo, "fsck", "--strict")
	want := "README.md site/a/four.yaml site/a/one.yaml site/a/two.yaml site/c/d/e site/file/below"
	if got := strings.Join(strings.Fields(served(t, repo, "ls-tree", "-r", "--name-only", "main")), " "); got != want {
		t.Errorf("the branch holds %s, want %s", got, want)
	}
	if got := served(t, repo, "log", "-1", "--format=%an %ae %at %P %s", "main"); got != fmt.Sprintf("Someone someone@example.com %d %s a message", when.Unix(), head.Commit) {
		t.Errorf("the commit is %s", got)
	}
	fetches(t, c, d.Commit)
	if files, err := c.Files(d.Commit, "nowhere", func(string) bool { return true }); err != nil || len(files) != 0 {
		t.Errorf("a folder that is not there: %v %v", files, err)
	}
}

// TestPushConflict never moves a branch that others have moved, and takes the same objects along the next time.
func TestPushConflict(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "1\n"})
	c := open(t, Options{Repository: repo.URL, Ref: "main", Token: "hunter2hunter2"})
	draft := func() *Draft {
		t.Helper()
		head, err := c.Fetch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.Draft(head, "", map[string][]byte{"mine/b.yaml": []byte("mine\n")}, "mine\n", someone, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := draft()
	theirs := repo.Commit("theirs", map[string]string{"c.yaml": "theirs\n"})
	if err := c.Push(t.Context(), d); !errors.Is(err, gitsend.ErrMoved) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("on top of what is not there any more: %v", err)
	}
	if got := served(t, repo, "rev-parse", "main"); got != theirs {
		t.Errorf("the branch stands at %s, want %s", got, theirs)
	}
	if err := c.Push(t.Context(), draft()); err != nil {
		t.Fatal(err)
	}
	served(t, repo, "fsck", "--strict")
	if got := strings.Join(strings.Fields(served(t, repo, "ls-tree", "-r", "--name-only", "main")), " "); got != "a.yaml c.yaml mine/b.yaml" {
		t.Errorf("the branch holds %s", got)
	}
}

// TestDraftNowhere writes nothing into a repository of this machine, and pushes to no tag.
func TestDraftNowhere(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "1\n"})
	local := open(t, Options{Repository: repo.Dir, Ref: "main"})
	head, err := local.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Draft(head, "", nil, "", someone, time.Unix(0, 0)); err == nil || err.Error() != "commits are not written into a repository on this machine: name its URL" {
		t.Errorf("a directory: %v", err)
	}
	repo.Git("tag", "v1")
	repo.Git("push", "--quiet", "origin", "v1")
	tagged := open(t, Options{Repository: repo.URL, Ref: "v1"})
	if head, err = tagged.Fetch(t.Context()); err != nil || head.IsBranch() {
		t.Fatalf("%+v %v", head, err)
	}
	d, err := tagged.Draft(head, "", map[string][]byte{"a.yaml": nil}, "empty\n", someone, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := tagged.Push(t.Context(), d); err == nil || err.Error() != "push: refs/tags/v1 is no branch" {
		t.Errorf("a tag: %v", err)
	}
}
