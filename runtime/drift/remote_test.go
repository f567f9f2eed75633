package drift_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/drift"
)

const route = "routes:\n- {id: a, target: {url: http://a:1}}\n"

// front stands before a git server: it counts, and can be switched off.
type front struct {
	*httptest.Server
	looks, fetches atomic.Int64
	down           atomic.Bool
	auth           sync.Map // seen Authorization headers
}

func newFront(t *testing.T, host *testkit.GitHost) *front {
	t.Helper()
	target, err := url.Parse(host.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down.Load() {
			panic(http.ErrAbortHandler)
		}
		f.auth.Store(r.Header.Get("Authorization"), true)
		if strings.HasSuffix(r.URL.Path, "/info/refs") {
			f.looks.Add(1)
		} else {
			f.fetches.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { f.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return f
}

func TestCommitsOverHTTP(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"gateway.yaml": "name: x\n", "routes/a.yaml": route, "README.md": "hello\n"})
	f := newFront(t, host)
	g := &gateway{}
	w := newWatcher(t, g, drift.Options{Repository: f.URL + "/config.git", Ref: "main"})

	want(t, w.Last(), "unknown behind=-1 ahead=-1 differs=unknown")
	want(t, w.Check(t.Context()), "unknown behind=-1 ahead=-1 differs=unknown") // nothing runs yet
	first := repo.Head()
	g.activate(t, repo.Dir, first, "")
	want(t, w.Check(t.Context()), "in_sync behind=0 ahead=0 differs=no")
	if n := g.compiles(); n != 0 {
		t.Errorf("compiled %d times what runs already", n)
	}

	repo.Commit("say more", map[string]string{"README.md": "hello, world\n"})
	r := w.Check(t.Context())
	want(t, r, "behind_no_change behind=1 ahead=0 differs=no others=1")
	if d := r.Metrics(); d.CommitsBehind != 1 || r.Class().Detected {
		t.Errorf("a README is reported as drift: %+v", d)
	}
	repo.Commit("comment", map[string]string{"routes/a.yaml": "# the only one\n" + route})
	want(t, w.Check(t.Context()), "behind_no_change behind=2 ahead=0 differs=no modified:routes/a.yaml others=1")

	head := repo.Commit("second route", map[string]string{"routes/b.yaml": strings.ReplaceAll(route, "a", "b")})
	r = w.Check(t.Context())
	want(t, r, "drift behind=3 ahead=0 differs=yes modified:routes/a.yaml added:routes/b.yaml others=1")
	if d := r.Metrics(); d.CommitsBehind != 3 || !r.Class().Detected {
		t.Errorf("drift is not reported: %+v", d)
	}
	if r.Head != head || r.Running != first || r.Ref != "refs/heads/main" || !r.HeadValid || r.HeadTime.IsZero() {
		t.Errorf("got %+v", r)
	}

	before, fetched := g.compiles(), f.fetches.Load()
	again := w.Check(t.Context())
	if g.compiles() != before || f.fetches.Load() != fetched {
		t.Errorf("%d compilations and %d fetches though nothing changed", g.compiles()-before, f.fetches.Load()-fetched)
	}
	if again.Since != r.Since || again.CheckedAt.Before(r.CheckedAt) {
		t.Errorf("since %s became %s", r.Since, again.Since)
	}

	repo.Commit("oops", map[string]string{"routes/b.yaml": "routes: [\n"})
	r = w.Check(t.Context())
	want(t, r, "invalid_head behind=4 ahead=0 differs=yes modified:routes/a.yaml added:routes/b.yaml others=1")
	if r.HeadValid || r.Diagnostics != 1 || !strings.Contains(r.DiagnosticText, "routes/b.yaml: yaml: ") || !r.Class().Detected {
		t.Errorf("got %+v", r)
	}

	fixed := repo.Commit("fix", map[string]string{"routes/b.yaml": ""})
	want(t, w.Check(t.Context()), "behind_no_change behind=5 ahead=0 differs=no modified:routes/a.yaml others=1")
	g.activate(t, repo.Dir, fixed, "")
	want(t, w.Check(t.Context()), "in_sync behind=0 ahead=0 differs=no")
}

func TestForcePush(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	base := repo.Head()
	running := repo.Commit("b", map[string]string{"routes/b.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, running, "")
	w := newWatcher(t, g, drift.Options{Repository: repo.URL})
	want(t, w.Check(t.Context()), "in_sync behind=0 ahead=0 differs=no")

	repo.Git("reset", "--quiet", "--hard", base)
	repo.Commit("c", map[string]string{"routes/c.yaml": route})
	repo.Commit("d", map[string]string{"routes/d.yaml": route})
	rewritten := "drift behind=2 ahead=1 differs=yes removed:routes/b.yaml added:routes/c.yaml added:routes/d.yaml diverged"
	want(t, w.Check(t.Context()), rewritten)

	// One that never saw the old commit cannot compare files, and still says what it knows.
	late := newWatcher(t, g, drift.Options{Repository: repo.URL})
	r := late.Check(t.Context())
	want(t, r, "drift behind=-1 ahead=-1 differs=yes diverged")
	if r.FilesKnown || !w.Last().FilesKnown {
		t.Errorf("files known: %t, %t", r.FilesKnown, w.Last().FilesKnown)
	}

	repo.Git("reset", "--quiet", "--hard", base)
	repo.Git("push", "--quiet", "--force", "origin", "HEAD")
	want(t, w.Check(t.Context()), "drift behind=0 ahead=1 differs=yes removed:routes/b.yaml diverged")
}

func TestServerGoesAwayAndComesBack(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	f := newFront(t, host)
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	clock := testkit.NewClock(time.Time{})
	address := strings.Replace(f.URL, "://", "://bot:s3cr%2Ft@", 1) + "/config.git"
	w := newWatcher(t, g, drift.Options{Repository: address, Now: clock.Now})
	good := w.Check(t.Context())
	want(t, good, "in_sync behind=0 ahead=0 differs=no")
	if strings.Contains(fmt.Sprintf("%+v", good), "s3cr") {
		t.Errorf("the password shows in %+v", good)
	}
	if _, ok := f.auth.Load("Basic Ym90OnMzY3IvdA=="); !ok {
		t.Error("the password was not sent")
	}

	f.down.Store(true)
	clock.Advance(time.Minute)
	since := clock.Now()
	for range 2 {
		r := w.Check(t.Context())
		want(t, r, "in_sync behind=0 ahead=0 differs=no stale")
		if r.CheckedAt != good.CheckedAt || r.StaleSince == nil || *r.StaleSince != since || r.Error == "" || strings.Contains(r.Error, "s3cr") {
			t.Errorf("got %+v", r)
		}
		clock.Advance(time.Minute)
	}

	// What runs may change meanwhile: the clone still knows what the branch was.
	g.run(drift.Running{Commit: repo.Head(), ContentDigest: "sha256:other", Environment: "production", Dirty: true})
	want(t, w.Check(t.Context()), "drift behind=0 ahead=0 differs=yes stale")
	g.activate(t, repo.Dir, repo.Head(), "")

	repo.Commit("b", map[string]string{"routes/b.yaml": route})
	f.down.Store(false)
	r := w.Check(t.Context())
	want(t, r, "drift behind=1 ahead=0 differs=yes added:routes/b.yaml")
	if r.Error != "" || r.StaleSince != nil || r.CheckedAt != clock.Now() || r.Since != clock.Now() {
		t.Errorf("got %+v", r)
	}
}

func TestRefDeleted(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	repo.Git("push", "--quiet", "origin", "HEAD:refs/heads/release")
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	w := newWatcher(t, g, drift.Options{Repository: repo.URL, Ref: "release"})
	want(t, w.Check(t.Context()), "in_sync behind=0 ahead=0 differs=no")
	repo.Git("push", "--quiet", "origin", ":refs/heads/release")
	r := w.Check(t.Context())
	want(t, r, "in_sync behind=0 ahead=0 differs=no stale")
	if !strings.Contains(r.Error, "the repository has no branch or tag release") {
		t.Errorf("got error %q", r.Error)
	}
}

func TestRefs(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	repo.Git("tag", "light")
	repo.Git("tag", "--annotate", "--message", "release", "v1.0.0")
	repo.Git("push", "--quiet", "--tags", "origin")
	tagged := repo.Head()
	head := repo.Commit("b", map[string]string{"routes/b.yaml": route})
	for _, where := range []string{repo.URL, repo.Dir} {
		for ref, id := range map[string]string{
			"": head, "HEAD": head, "main": head, "refs/heads/main": head, "light": tagged, "v1.0.0": tagged, "refs/tags/v1.0.0": tagged,
		} {
			r := newWatcher(t, &gateway{}, drift.Options{Repository: where, Ref: ref}).Check(t.Context())
			if r.Head != id || r.Error != "" {
				t.Errorf("%s at %s is %s (%s), want %s", ref, where, r.Head, r.Error, id)
			}
		}
	}
}

func TestSubdirectory(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("mono", map[string]string{"deploy/gateway/routes/a.yaml": route, "app/main.go": "package main\n"})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "deploy/gateway")
	address, dir := drift.SplitSubdirectory(repo.URL + "//deploy/gateway/")
	w := newWatcher(t, g, drift.Options{Repository: address, Subdirectory: dir})
	repo.Commit("app", map[string]string{"app/main.go": "package main\n\nfunc main() {}\n", "app/values.yaml": "a: b\n"})
	want(t, w.Check(t.Context()), "behind_no_change behind=1 ahead=0 differs=no others=2")
	if g.compiles() != 0 {
		t.Error("compiled though the folder is unchanged")
	}
	repo.Commit("route", map[string]string{"deploy/gateway/routes/b.yaml": route})
	want(t, w.Check(t.Context()), "drift behind=2 ahead=0 differs=yes added:deploy/gateway/routes/b.yaml others=2")
	repo.Git("mv", "deploy", "config")
	repo.Commit("move", nil)
	r := w.Check(t.Context())
	if r.State != drift.InvalidHead || !strings.Contains(r.DiagnosticText, `the folder "deploy/gateway" is not in commit`) {
		t.Errorf("got %s: %s", brief(r), r.DiagnosticText)
	}
}

func TestRunWatchesPushes(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	reports := make(chan drift.Report)
	ctx, cancel := context.WithCancel(t.Context())
	w := newWatcher(t, g, drift.Options{Repository: repo.URL, Interval: 20 * time.Millisecond, Report: func(r drift.Report) {
		select {
		case reports <- r:
		case <-ctx.Done():
		}
	}})
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.Run(ctx) }()
	until := func(s drift.State) {
		t.Helper()
		limit := time.After(30 * time.Second)
		for {
			select {
			case r := <-reports:
				if r.State == s {
					return
				}
			case <-limit:
				t.Fatalf("never saw %s: %s", s, brief(w.Last()))
			}
		}
	}
	until(drift.InSync)
	for i := range 3 {
		head := repo.Commit("route", map[string]string{fmt.Sprintf("routes/b%d.yaml", i): route})
		until(drift.Drifted)
		g.activate(t, repo.Dir, head, "")
		until(drift.InSync)
	}
	cancel()
	<-stopped
}

func TestKeptClone(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	f := newFront(t, host)
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	repo.Commit("b", map[string]string{"routes/b.yaml": route})
	o := drift.Options{Repository: f.URL + "/config.git", WorkDir: filepath.Join(t.TempDir(), "work")}
	drifted := "drift behind=1 ahead=0 differs=yes added:routes/b.yaml"
	want(t, newWatcher(t, g, o).Check(t.Context()), drifted)
	if n := f.fetches.Load(); n != 1 {
		t.Fatalf("fetched %d times", n)
	}
	want(t, newWatcher(t, g, o).Check(t.Context()), drifted) // after a restart
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("a restart fetched again what the clone has")
	}
	for i, damage := range []func(string) error{
		os.Remove, func(name string) error { return os.Truncate(name, 100) }, func(name string) error { return os.WriteFile(name, []byte("x"), 0o600) },
	} {
		packs, err := filepath.Glob(filepath.Join(o.WorkDir, "*.git", "objects", "pack", "pack-*.*"))
		if err != nil || len(packs) == 0 {
			t.Fatalf("no packs: %v", err)
		}
		for _, p := range packs {
			if err := errors.Join(os.Chmod(p, 0o600), damage(p)); err != nil {
				t.Fatal(err)
			}
		}
		want(t, newWatcher(t, g, o).Check(t.Context()), drifted) // a damaged clone is made anew
		if n := f.fetches.Swap(0); n > 2 {                       // into the damaged one, then into a new one
			t.Errorf("damage %d: fetched %d times", i, n)
		}
	}
	if info, err := os.Stat(o.WorkDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("work directory: %v, %v", info.Mode(), err)
	}
}

func TestCredentials(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	f := newFront(t, host)
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	w := newWatcher(t, g, drift.Options{Repository: f.URL + "/config.git", Token: "t0ken"})
	want(t, w.Check(t.Context()), "in_sync behind=0 ahead=0 differs=no")
	if _, ok := f.auth.Load("Basic Z2l0OnQwa2Vu"); !ok {
		t.Error("the token was not sent")
	}
}

// A server that sends the client elsewhere would get its credentials sent there as well.
func TestHostileServers(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		text  string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
		}, "redirect"},
		"quotes the token": {func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			w.Header().Set("Content-Type", "text/plain")
			http.Error(w, "bad token "+password, http.StatusTeapot)
		}, "the server answered 418"},
		"not git":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>t0ken</html>")) }, "ask for the ref: "},
		"unauthorised":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "asks for credentials"},
		"no repository": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "knows no such repository"},
		"no refs at all": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("001e# service=git-upload-pack\n0000"))
		}, "ask for the ref: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.serve)
			t.Cleanup(s.Close)
			r := newWatcher(t, &gateway{}, drift.Options{Repository: s.URL + "/config.git", Token: "t0ken"}).Check(t.Context())
			if !r.Stale || !strings.Contains(r.Error, c.text) || strings.Contains(r.Error, "t0ken") {
				t.Errorf("got error %q, want %q", r.Error, c.text)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}
