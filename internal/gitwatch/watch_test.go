package gitwatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/suuupra/gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// quick is an interval for tests that wait for the next look.
const quick = 20 * time.Millisecond

// front stands before a git server: it counts looks, can be switched off, and asks for a password.
type front struct {
	*httptest.Server
	looks    atomic.Int64
	down     atomic.Bool
	password atomic.Pointer[string]
}

func newFront(t *testing.T, host *testkit.GitHost) *front {
	t.Helper()
	target, err := url.Parse(host.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.looks.Add(1)
		if f.down.Load() {
			panic(http.ErrAbortHandler)
		}
		if want := f.password.Load(); want != nil {
			if _, got, _ := r.BasicAuth(); got != *want {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { f.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return f
}

func newPool(t *testing.T) (*Pool, *logs) {
	l := &logs{}
	p := NewPool(slog.New(slog.NewTextHandler(l, nil)))
	t.Cleanup(p.Close)
	return p, l
}

type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }

func (l *logs) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// watch starts a watch whose heads come over a channel.
func watch(t *testing.T, p *Pool, o Options) (*Watch, chan Head) {
	t.Helper()
	heads := make(chan Head, 100)
	o.Head = func(h Head) { heads <- h }
	if o.Interval == 0 {
		o.Interval = quick
	}
	w, err := p.Watch(o)
	if err != nil {
		t.Fatal(err)
	}
	return w, heads
}

func wantHead(t *testing.T, heads chan Head, ref, commit string) {
	t.Helper()
	select {
	case h := <-heads:
		if h.Ref != ref || h.Commit != commit || h.Seen.IsZero() {
			t.Fatalf("got %+v, want %s %s", h, ref, commit)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s %s was not seen", ref, commit)
	}
}

// eventually waits for a status.
func eventually(t *testing.T, w *Watch, ok func(Status) bool) Status {
	t.Helper()
	var s Status
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if s = w.Status(); ok(s) {
			return s
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatalf("status %+v", s)
	return s
}

func TestHeads(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "1\n"})
	p, _ := newPool(t)
	for where, o := range map[string]Options{
		"http":      {Repository: repo.URL, Ref: "main"},
		"directory": {Repository: repo.Dir, Ref: "main", Local: true},
		"file://":   {Repository: "file://" + repo.Dir, Ref: "refs/heads/main", Local: true},
	} {
		t.Run(where, func(t *testing.T) {
			w, heads := watch(t, p, o)
			defer w.Close()
			first := repo.Head()
			wantHead(t, heads, "refs/heads/main", first)
			second := repo.Commit("second", map[string]string{"a.yaml": where})
			wantHead(t, heads, "refs/heads/main", second)
			repo.Git("reset", "--quiet", "--hard", first) // a force push backwards is a new head too
			repo.Git("push", "--quiet", "--force", "origin", "HEAD")
			wantHead(t, heads, "refs/heads/main", first)
			if s := w.Status(); s.Head.Commit != first || s.Err != "" || s.Failures != 0 || s.LastAnswer.IsZero() || s.Next.IsZero() {
				t.Errorf("status %+v", s)
			}
			if len(heads) != 0 {
				t.Errorf("%d heads more", len(heads))
			}
		})
	}
}

func TestRefKinds(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "1\n"})
	repo.Git("tag", "light")
	repo.Git("tag", "--annotate", "--message", "release", "v1")
	repo.Git("tag", "--annotate", "--message", "release", "v1-again", "v1")
	repo.Git("push", "--quiet", "--tags", "origin")
	tagged := repo.Head()
	head := repo.Commit("b", map[string]string{"a.yaml": "2\n"})
	p, _ := newPool(t)
	for _, where := range []string{repo.URL, repo.Dir} {
		for ref, want := range map[string][2]string{
			"main": {"refs/heads/main", head}, "light": {"refs/tags/light", tagged}, "v1": {"refs/tags/v1", tagged},
			"refs/tags/v1-again": {"refs/tags/v1-again", tagged},
		} {
			w, heads := watch(t, p, Options{Repository: where, Ref: ref, Local: true})
			wantHead(t, heads, want[0], want[1])
			w.Close()
		}
	}
	w, heads := watch(t, p, Options{Repository: repo.URL})
	wantHead(t, heads, "HEAD", head)
	w.Close()
}

func TestBranchDeletedAndBack(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "1\n"})
	repo.Git("push", "--quiet", "origin", "HEAD:refs/heads/release")
	p, _ := newPool(t)
	w, heads := watch(t, p, Options{Repository: repo.URL, Ref: "release"})
	first := repo.Head()
	wantHead(t, heads, "refs/heads/release", first)
	repo.Git("push", "--quiet", "origin", ":refs/heads/release")
	s := eventually(t, w, func(s Status) bool { return s.Failures > 1 })
	if s.Err != "the repository has no branch or tag release" || s.Head.Commit != first || s.Since.IsZero() {
		t.Errorf("status %+v", s)
	}
	repo.Git("push", "--quiet", "origin", "HEAD:refs/heads/release")
	eventually(t, w, func(s Status) bool { return s.Err == "" && s.Failures == 0 })
	second := repo.Commit("second", nil)
	repo.Git("push", "--quiet", "origin", "HEAD:refs/heads/release")
	wantHead(t, heads, "refs/heads/release", second) // and not the first again
}

func TestServerGoesAwayAndComesBack(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "1\n"})
	f := newFront(t, host)
	p, l := newPool(t)
	w, heads := watch(t, p, Options{Repository: f.URL + "/config.git", Ref: "main"})
	wantHead(t, heads, "refs/heads/main", repo.Head())
	f.down.Store(true)
	eventually(t, w, func(s Status) bool { return s.Failures >= 2 && s.Err != "" && s.Head.Commit == repo.Head() })
	second := repo.Commit("second", nil)
	f.down.Store(false)
	w.Poke()
	wantHead(t, heads, "refs/heads/main", second)
	if s := w.Status(); s.Err != "" || s.Failures != 0 || !s.Since.IsZero() {
		t.Errorf("status %+v", s)
	}
	if log := l.String(); strings.Count(log, "cannot be asked") != 1 || strings.Count(log, "answers again") != 1 {
		t.Errorf("log: %s", log)
	}
}

func TestCredentials(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "1\n"})
	f := newFront(t, host)
	right := "s3cr/t pass"
	f.password.Store(&right)
	p, l := newPool(t)
	_, heads := watch(t, p, Options{Repository: f.URL + "/config.git", Ref: "main", Token: right})
	wantHead(t, heads, "refs/heads/main", repo.Head())
	_, heads = watch(t, p, Options{Repository: strings.Replace(f.URL, "://", "://bot:s3cr%2Ft%20pass@", 1) + "/config.git", Ref: "main"})
	wantHead(t, heads, "refs/heads/main", repo.Head())
	// Whoever has other credentials does not get to see what these see.
	w, heads := watch(t, p, Options{Repository: f.URL + "/config.git", Ref: "main", Token: "wrong-token"})
	s := eventually(t, w, func(s Status) bool { return s.Failures > 0 })
	if s.Err != "the server asks for credentials, or refuses the ones it got" || len(heads) != 0 {
		t.Errorf("status %+v, %d heads", s, len(heads))
	}
	if log := l.String(); strings.Contains(log, "s3cr") || strings.Contains(log, "wrong-token") {
		t.Errorf("log: %s", log)
	}
	if shown := fmt.Sprintf("%v %+v %#v", w.watcher.key.address, w.Status(), s); strings.Contains(shown, "token") {
		t.Errorf("shown: %s", shown)
	}
}

// One repository is asked once for all who watch it, and no more when the last has left.
func TestOneWatcherPerRepository(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "1\n"})
	repo.Git("push", "--quiet", "origin", "HEAD:refs/heads/release")
	f := newFront(t, host)
	p, _ := newPool(t)
	var watches []*Watch
	for i := range 50 {
		ref := "refs/heads/main"
		if i%2 == 1 {
			ref = "refs/heads/release"
		}
		w, heads := watch(t, p, Options{Repository: f.URL + "/config.git", Ref: ref, Interval: time.Hour})
		watches = append(watches, w)
		if i == 0 || i == 49 {
			wantHead(t, heads, ref, repo.Head())
		}
	}
	if n := f.looks.Load(); n > 2 || len(p.watchers) != 1 {
		t.Errorf("%d looks, %d watchers", n, len(p.watchers))
	}
	for _, w := range watches {
		w.Close()
		w.Close()
	}
	p.mu.Lock()
	n := len(p.watchers)
	p.mu.Unlock()
	if n != 0 {
		t.Errorf("%d watchers are left", n)
	}
	_, heads := watch(t, p, Options{Repository: f.URL + "/config.git", Ref: "main"})
	wantHead(t, heads, "refs/heads/main", repo.Head())
	p.Close()
	if _, err := p.Watch(Options{Repository: f.URL + "/config.git", Head: func(Head) {}}); err == nil || err.Error() != "watch repository: the pool is closed" {
		t.Errorf("got %v", err)
	}
}

// A watch may end itself as soon as it has seen enough.
func TestCloseFromHead(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "1\n"})
	p, _ := newPool(t)
	var w *Watch
	ready, closed := make(chan struct{}), make(chan struct{})
	w, err := p.Watch(Options{Repository: repo.URL, Head: func(Head) { <-ready; w.Close(); close(closed) }})
	if err != nil {
		t.Fatal(err)
	}
	close(ready)
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Fatal("Close in Head does not return")
	}
}

// A server that sends the client elsewhere would get its credentials sent there as well.
func TestHostileServers(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	advert := "001e# service=git-upload-pack\n0000"
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		text  string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
		}, "redirect"},
		"redirect by name": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.Path, http.StatusTemporaryRedirect)
		}, "redirect"},
		"quotes the token": {func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			http.Error(w, "bad token "+password, http.StatusTeapot)
		}, "the server answered 418"},
		"not git":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>t0ken</html>")) }, "pkt-len"},
		"no repository": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "knows no such repository"},
		"wants a rest": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "the server answered 429 and asks not to be asked again for 2m0s"},
		"wants a rest for ever": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "999999999")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, "the server answered 503 and asks not to be asked again for 1h0m0s"},
		"wants a rest of no length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "-1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, "the server answered 503"},
		"a line that lies about its length": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, advert+"ffff"+strings.Repeat("a", 40))
		}, "pkt-len"},
		"refs without end": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, advert)
			line := fmt.Sprintf("%s refs/heads/%s\x00 ofs-delta\n", strings.Repeat("1", 40), strings.Repeat("x", 900))
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(w, "%04x%s", len(line)+4, line); err != nil {
					return
				}
				line = fmt.Sprintf("%s refs/heads/%s%d\n", strings.Repeat("1", 40), strings.Repeat("x", 900), i)
			}
		}, "the repository is too large: an answer that does not end"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.serve)
			t.Cleanup(s.Close)
			p, l := newPool(t)
			w, heads := watch(t, p, Options{Repository: s.URL + "/config.git", Token: "t0ken", Interval: time.Hour})
			got := eventually(t, w, func(s Status) bool { return s.Failures > 0 })
			if !strings.Contains(got.Err, c.text) || strings.Contains(got.Err+l.String(), "t0ken") || len(heads) != 0 || strings.Contains(got.Err, "\n") {
				t.Errorf("got error %q, want %q", got.Err, c.text)
			}
			p.Close()
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// A server that hangs costs one look, which has an end, and does not keep anybody from stopping.
func TestHungServer(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 10)
	var half atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if half.Load() {
			_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
			w.(http.Flusher).Flush()
		}
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(release); s.Close() })
	for _, h := range []bool{false, true} {
		half.Store(h)
		a, err := ParseAddress(s.URL + "/config.git")
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRemote(a, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Talk(t.Context(), 100*time.Millisecond, func(context.Context, transport.UploadPackSession, *packp.AdvRefs) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("half an answer %t: got %v", h, err)
		}
		r.Rest()
		<-asked
		p, _ := newPool(t)
		watch(t, p, Options{Repository: s.URL + "/config.git"})
		<-asked
		stopped := make(chan struct{})
		go func() { p.Close(); close(stopped) }()
		select {
		case <-stopped:
		case <-time.After(20 * time.Second):
			t.Error("Close waits for the server")
		}
	}
}

func TestWatchRefuses(t *testing.T) {
	p, _ := newPool(t)
	nothing := func(Head) {}
	for text, o := range map[string]Options{
		"watch repository: the address is empty":        {Head: nothing},
		"watch repository: a directory is not taken":    {Repository: "/etc", Head: nothing},
		"watch repository: file:// is not taken":        {Repository: "file:///etc", Head: nothing},
		"watch repository: file:// is not taken; write": {Repository: "file://host/etc", Local: true, Head: nothing},
		`watch repository: "ext::" names a remote`:      {Repository: "ext::sh -c id", Local: true, Head: nothing},
		"watch repository: the address starts with":     {Repository: "--upload-pack=id", Local: true, Head: nothing},
		`watch repository: scheme "git" is not one of`:  {Repository: "git://example.com/x", Local: true, Head: nothing},
		"watch repository: the host of the address":     {Repository: "ssh://-oProxyCommand=id/x", Head: nothing},
		`watch repository: a segment of the path`:       {Repository: "ssh://example.com/-x", Head: nothing},
		`watch ref "--output=x" is not the name`:        {Repository: "https://example.com/x", Ref: "--output=x", Head: nothing},
		`watch ref "refs/heads/main\n" is not the name`: {Repository: "https://example.com/x", Ref: "refs/heads/main\n", Head: nothing},
		`watch ref "../.." is not the name`:             {Repository: "https://example.com/x", Ref: "../..", Head: nothing},
		"watch repository: nobody wants to know":        {Repository: "https://example.com/x"},
	} {
		if _, err := p.Watch(o); err == nil || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
}

func TestNotARepository(t *testing.T) {
	p, _ := newPool(t)
	dir := filepath.Join(t.TempDir(), "nowhere")
	w, _ := watch(t, p, Options{Repository: dir, Local: true})
	if s := eventually(t, w, func(s Status) bool { return s.Failures > 0 }); s.Err != dir+" is not the top of a git repository" {
		t.Errorf("status %+v", s)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "90": 90 * time.Second, "-5": 0, "86400": time.Hour, "99999999999999999999": 0, "soon": 0, "": 0,
		"Fri, 01 May 2026 12:02:00 GMT": 2 * time.Minute, "Fri, 01 May 2026 11:00:00 GMT": 0, "Sat, 01 May 2027 12:00:00 GMT": time.Hour,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "9223372036854775807", "Fri, 01 May 2026 12:02:00 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, time.Unix(0, 0)); d < 0 || d > maxLater {
			t.Errorf("%q: %s", s, d)
		}
	})
}
