package testkit

import (
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// GitHost is a real git remote: git http-backend behind a loopback HTTP server, with push enabled.
type GitHost struct {
	URL string // http://host:port, repositories below it

	tb   testing.TB
	git  string
	root string // bare repositories
}

// GitRepo is a repository on a GitHost, with a work tree for making commits.
type GitRepo struct {
	URL string // what a client clones
	Dir string // the bare repository on disk

	host  *GitHost
	work  string
	clock time.Time // of the next commit, so that the same commits have the same ids in every run
}

// GitServer starts a git remote and stops it when the test ends. Where git is not installed the test ends as Missing says.
func GitServer(tb testing.TB) *GitHost {
	tb.Helper()
	h := &GitHost{tb: tb, git: Program(tb, "git"), root: tb.TempDir()}
	s := httptest.NewServer(&cgi.Handler{
		Path: h.git, Args: []string{"http-backend"},
		Env: append(gitEnv(), "GIT_PROJECT_ROOT="+h.root, "GIT_HTTP_EXPORT_ALL=1"),
	})
	h.URL = s.URL
	tb.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return h
}

// gitEnv keeps the settings of the machine and its user out of the tests.
func gitEnv() []string {
	return []string{
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com",
		"GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com",
	}
}

// Create makes a repository whose branch main holds one commit with the given files: path to content.
func (h *GitHost) Create(name string, files map[string]string) *GitRepo {
	h.tb.Helper()
	r := &GitRepo{
		URL: h.URL + "/" + name + ".git", Dir: filepath.Join(h.root, name+".git"), host: h,
		work: filepath.Join(h.tb.TempDir(), "work"), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	h.run(h.root, []string{"init", "--quiet", "--bare", "--initial-branch=main", r.Dir})
	h.run(r.Dir, []string{"config", "http.receivepack", "true"})
	h.run(h.root, []string{"init", "--quiet", "--initial-branch=main", r.work})
	h.run(r.work, []string{"remote", "add", "origin", r.Dir})
	r.Commit("first commit", files)
	return r
}

// Commit writes files (path to content; "" removes the file), commits them, publishes the branch, and returns the commit
// id.
func (r *GitRepo) Commit(message string, files map[string]string) string {
	r.host.tb.Helper()
	for path, content := range files {
		full := filepath.Join(r.work, filepath.FromSlash(path))
		var err error
		if content == "" {
			err = os.Remove(full)
		} else if err = os.MkdirAll(filepath.Dir(full), 0o755); err == nil {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			r.host.tb.Fatalf("commit %q: %v", message, err)
		}
	}
	r.Git("add", "--all")
	r.Git("commit", "--quiet", "--allow-empty", "--message", message)
	r.Git("push", "--quiet", "--force", "origin", "HEAD")
	return r.Head()
}

// Head returns the id of the work tree's latest commit.
func (r *GitRepo) Head() string {
	r.host.tb.Helper()
	return strings.TrimSpace(r.Git("rev-parse", "HEAD"))
}

// Git runs git in the repository's work tree and returns its output: for branches, tags, rewritten history.
func (r *GitRepo) Git(args ...string) string {
	r.host.tb.Helper()
	date := r.clock.Format(time.RFC3339)
	r.clock = r.clock.Add(time.Second)
	return r.host.run(r.work, args, "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
}

func (h *GitHost) run(dir string, args []string, env ...string) string {
	h.tb.Helper()
	cmd := exec.Command(h.git, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), gitEnv()...), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
