package testkit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestMain lets the test binary stand in as a process to start.
func TestMain(m *testing.M) {
	switch os.Getenv("TESTKIT_CHILD") {
	case "":
		testkit.NoLeaks(m)
	case "serve":
		os.Stdout.WriteString("listening on port 7\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {}
	case "fail":
		os.Stderr.WriteString("cannot start\n")
		os.Exit(3)
	}
}

func child(t *testing.T, kind string) testkit.Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Command{Path: self, Env: []string{"TESTKIT_CHILD=" + kind}}
}

func TestProcess(t *testing.T) {
	t.Run("waits for a line and stops", func(t *testing.T) {
		p := testkit.Start(t, child(t, "serve"))
		if m := p.WaitLine(`listening on port (\d+)`); m[1] != "7" {
			t.Errorf("matched %q", m)
		}
		if status := p.Stop(); status != -1 { // the child has no handler: SIGTERM ends it
			t.Errorf("status %d after SIGTERM, want -1", status)
		}
	})
	t.Run("reports the exit status and the output", func(t *testing.T) {
		p := testkit.Start(t, child(t, "fail"))
		if status := p.Wait(); status != 3 {
			t.Errorf("status %d, want 3", status)
		}
		if p.Output() != "cannot start\n" {
			t.Errorf("output %q", p.Output())
		}
	})
	t.Run("kill may be called again", func(t *testing.T) {
		p := testkit.Start(t, child(t, "serve"))
		p.Kill()
		p.Kill()
		if status := p.Wait(); status != -1 {
			t.Errorf("status %d after SIGKILL, want -1", status)
		}
	})
}

func TestRedis(t *testing.T) {
	r := testkit.Redis(t)
	if got := r.Do("SET", "k", "v"); got != "+OK" {
		t.Fatalf("SET answered %q", got)
	}
	if got := r.Do("INCR", "n"); got != ":1" {
		t.Errorf("INCR answered %q", got)
	}
	r.Stop()
	if c, err := net.Dial("tcp", r.Addr); err == nil {
		_ = c.Close()
		t.Error("a stopped server took a connection")
	}
	r.Restart()
	if got := r.Do("GET", "k"); got != "$-1" {
		t.Errorf("GET after a restart answered %q, want nothing", got)
	}
}

func TestGitServer(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "one\n", "deep/b.yaml": "two\n"})
	clone := filepath.Join(t.TempDir(), "clone")
	git(t, "", "clone", "--quiet", repo.URL, clone)
	if got := read(t, clone, "deep/b.yaml"); got != "two\n" {
		t.Errorf("cloned %q", got)
	}

	commit := repo.Commit("second", map[string]string{"a.yaml": "three\n", "deep/b.yaml": ""})
	git(t, clone, "pull", "--quiet")
	if got := git(t, clone, "rev-parse", "HEAD"); got != commit {
		t.Errorf("pulled %s, committed %s", got, commit)
	}
	if _, err := os.Stat(filepath.Join(clone, "deep/b.yaml")); !os.IsNotExist(err) {
		t.Errorf("a removed file is still there: %v", err)
	}

	// A push over HTTP must arrive.
	if err := os.WriteFile(filepath.Join(clone, "c.yaml"), []byte("four\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, clone, "add", "c.yaml")
	git(t, clone, "-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "-m", "third")
	git(t, clone, "push", "--quiet", "origin", "HEAD:main")
	if got, want := git(t, repo.Dir, "rev-parse", "main"), git(t, clone, "rev-parse", "HEAD"); got != want {
		t.Errorf("the remote has %s, pushed %s", got, want)
	}
}

func TestGitCommitsAreReproducible(t *testing.T) {
	files := map[string]string{"a": "1\n"}
	a, b := testkit.GitServer(t).Create("r", files), testkit.GitServer(t).Create("r", files)
	if a.Head() != b.Head() {
		t.Errorf("the same commit has ids %s and %s", a.Head(), b.Head())
	}
}

func TestRegistry(t *testing.T) {
	r := testkit.Registry(t)
	blob := []byte("hello")
	const digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	res := do(t, "POST", r.URL+"/v2/site/blobs/uploads/", nil)
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("start upload: %s", res.Status)
	}
	res = do(t, "PUT", res.Header.Get("Location")+"&digest="+digest, blob)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("finish upload: %s", res.Status)
	}
	res = do(t, "GET", "http://"+r.Host+"/v2/site/blobs/"+digest, nil)
	if got, _ := io.ReadAll(res.Body); !bytes.Equal(got, blob) {
		t.Errorf("fetched %q, want %q", got, blob)
	}
}

func TestUpstreamEchoesAndRecords(t *testing.T) {
	u := testkit.Upstream(t)
	arrived := u.Arrived()
	res := do(t, "POST", u.URL+"/a%2Fb?q=1", []byte("body"))
	var echoed testkit.Request
	if err := json.NewDecoder(res.Body).Decode(&echoed); err != nil {
		t.Fatal(err)
	}
	<-arrived
	for name, got := range map[string]testkit.Request{"echoed": echoed, "recorded": u.Last(t)} {
		if got.Method != "POST" || got.Target != "/a%2Fb?q=1" || got.Host != u.Addr || got.Body != "body" {
			t.Errorf("%s %+v", name, got)
		}
	}
	u.Answer(testkit.Reply(http.StatusTeapot, "short"))
	if res := do(t, "GET", u.URL, nil); res.StatusCode != http.StatusTeapot {
		t.Errorf("answered %s, want 418", res.Status)
	}
	if n := len(u.Requests()); n != 2 {
		t.Errorf("recorded %d requests, want 2", n)
	}
}

func TestUpstreamHold(t *testing.T) {
	u, release := testkit.Upstream(t), make(chan struct{})
	u.Answer(testkit.Hold(release, testkit.Reply(200, "late")))
	arrived, answered := u.Arrived(), make(chan string)
	go func() {
		res, err := http.Get(u.URL)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- string(body)
	}()
	<-arrived
	select {
	case got := <-answered:
		t.Fatalf("answered %q before release", got)
	default:
	}
	close(release)
	if got := <-answered; got != "late" {
		t.Errorf("answered %q", got)
	}
}

func TestUpstreamEvents(t *testing.T) {
	u, events, gone := testkit.Upstream(t), make(chan string), make(chan struct{})
	u.Answer(testkit.Events(events, gone))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, _ := http.NewRequestWithContext(ctx, "GET", u.URL, nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for _, e := range []string{"one", "two"} {
		events <- e
		if !lines.Scan() || lines.Text() != "data: "+e || !lines.Scan() {
			t.Fatalf("event %q arrived as %q", e, lines.Text())
		}
	}
	leave()
	<-gone
}

func TestSynthetic(t *testing.T) {
	s := testkit.Synthetic{Routes: 250}
	dir, again := testkit.Repo(t, s), testkit.Repo(t, s)
	files, err := filepath.Glob(filepath.Join(dir, "routes", "*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, want 3 (%v)", len(files), err)
	}
	var size, routes int
	for _, f := range files {
		text := read(t, dir, "routes/"+filepath.Base(f))
		if text != read(t, again, "routes/"+filepath.Base(f)) {
			t.Errorf("%s differs between two runs", filepath.Base(f))
		}
		size, routes = size+len(text), routes+strings.Count(text, "- id:")
	}
	if routes != 250 {
		t.Errorf("%d routes, want 250", routes)
	}
	if per := size / routes; per < 530 || per > 590 {
		t.Errorf("%d bytes a route, want about 560", per)
	}
}

func TestClock(t *testing.T) {
	c := testkit.NewClock(time.Time{})
	start := c.Now()
	c.Advance(time.Hour)
	c.Advance(-time.Minute)
	if got := c.Now().Sub(start); got != 59*time.Minute {
		t.Errorf("moved by %s, want 59m", got)
	}
}

func TestBinary(t *testing.T) {
	path := testkit.Binary(t, "gwctl")
	built, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p := testkit.Start(t, testkit.Command{Path: path, Args: []string{"version"}})
	if status := p.Wait(); status != 0 || p.Output() == "" {
		t.Errorf("gwctl version ended with %d and wrote %q", status, p.Output())
	}
	again, err := os.Stat(testkit.Binary(t, "gwctl"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(built, again) {
		t.Error("asked for again, the unchanged program was linked again")
	}
}

// TestMissing proves that nothing is skipped in CI: the same test is run in both surroundings.
func TestMissing(t *testing.T) {
	if os.Getenv("TESTKIT_MISSING") == "1" {
		testkit.Program(t, "no-such-program-anywhere")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for ci, want := range map[string]string{"": "--- SKIP: TestMissing", "true": "--- FAIL: TestMissing"} {
		cmd := exec.Command(self, "-test.v", "-test.run=^TestMissing$")
		cmd.Env = append(os.Environ(), "TESTKIT_MISSING=1", "CI="+ci)
		out, _ := cmd.CombinedOutput() // its status follows from the line looked for
		if !strings.Contains(string(out), want) || !strings.Contains(string(out), "no-such-program-anywhere is missing") {
			t.Errorf("CI=%q: want %q\n%s", ci, want, out)
		}
	}
}

func TestGolden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "testdata", "x.golden")
	t.Setenv("GOLDEN_UPDATE", "1")
	testkit.Golden(t, path, []byte("content"))
	t.Setenv("GOLDEN_UPDATE", "")
	testkit.Golden(t, path, []byte("content"))
	rec := &recorder{TB: t}
	testkit.Golden(rec, path, []byte("other"))
	if !rec.failed {
		t.Error("different content passed")
	}
}

// recorder notes a failure instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }

func do(t *testing.T, method, url string, body []byte) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
