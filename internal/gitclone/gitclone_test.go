package gitclone

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

func open(t *testing.T, o Options) *Clone {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func fetches(t *testing.T, c *Clone, want string) {
	t.Helper()
	h, err := c.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.Commit != want {
		t.Fatalf("fetched %+v, want %s", h, want)
	}
}

func relates(t *testing.T, c *Clone, earlier, commit string, want Relation) {
	t.Helper()
	got, err := c.Relate(t.Context(), earlier, commit)
	if err != nil || got != want {
		t.Errorf("%.8s after %.8s is %q, %v; want %q", commit, earlier, got, err, want)
	}
}

func TestFetch(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"gate/config/a.yaml": "a: 1\n"})
	first := repo.Head()
	for name, address := range map[string]string{"over HTTP": repo.URL, "a directory": repo.Dir} {
		t.Run(name, func(t *testing.T) {
			repo.Git("push", "--quiet", "--force", "origin", first+":refs/heads/main")
			repo.Git("reset", "--quiet", "--hard", first)
			c := open(t, Options{Repository: address, Ref: "main"})
			fetches(t, c, first)
			fetches(t, c, first)
			second := repo.Commit("second", map[string]string{"b.yaml": "b: 1\n"})
			fetches(t, c, second)
			relates(t, c, first, second, Forward)
			relates(t, c, second, second, Same)
			relates(t, c, second, first, Back)
			relates(t, c, "", second, Unknown)
			relates(t, c, strings.Repeat("1", 40), second, Diverged)

			// back to what is there already, and on from it on another way
			repo.Git("reset", "--quiet", "--hard", first)
			repo.Git("push", "--quiet", "--force", "origin", "HEAD")
			fetches(t, c, first)
			other := repo.Commit("other", map[string]string{"c.yaml": "c: 1\n"})
			fetches(t, c, other)
			relates(t, c, second, other, Diverged)
			for folder, want := range map[string]bool{"": true, "gate": true, "gate/config": true, "gate/config/a.yaml": false, "config": false} {
				if got, err := c.HasFolder(other, folder); err != nil || got != want {
					t.Errorf("folder %q: %t, %v", folder, got, err)
				}
			}
		})
	}
}

func TestRefs(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "a: 1\n"})
	repo.Git("tag", "--annotate", "--message", "x", "v1")
	repo.Git("push", "--quiet", "origin", "v1")
	first := repo.Head()
	repo.Commit("second", map[string]string{"b.yaml": "b: 1\n"})
	for _, address := range []string{repo.URL, repo.Dir} {
		fetches(t, open(t, Options{Repository: address, Ref: "v1"}), first)
		fetches(t, open(t, Options{Repository: address}), repo.Head())
		_, err := open(t, Options{Repository: address, Ref: "nowhere"}).Fetch(t.Context())
		if none := (*gitwatch.NoRef)(nil); !errors.As(err, &none) || err.Error() != "fetch nowhere: the repository has no branch or tag nowhere" {
			t.Errorf("a branch there is not: %v", err)
		}
	}
}

// TestAddresses refuses what must not be asked, and says nothing of passwords.
func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"ext::sh -c id":                  `repository: "ext::" names a remote helper, which is a program to run; use https:// or ssh://`,
		"--upload-pack=id":               `repository: the address starts with "-", like an option; write ./ before a directory of that name`,
		"http://u:hunter2@example.com/x": "repository: http:// is taken for loopback addresses only: anybody on the way could change the answer; use https://",
	} {
		if _, err := Open(Options{Repository: address, Dir: t.TempDir()}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	if _, err := Open(Options{Repository: "https://example.com/x", Ref: "a..b", Dir: t.TempDir()}); err == nil {
		t.Error("a ref that is none is taken")
	}
	for folder, want := range map[string]bool{"": true, ".": true, "a/b": true, "../a": false, "/a": false, "a//b": false, "-a": false, "a\x00": false, `a\b`: false} {
		if _, err := ParseFolder(folder); (err == nil) != want {
			t.Errorf("folder %q: %v", folder, err)
		}
	}
}

// TestSecrets has a server say the password back.
func TestSecrets(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		w.Header().Set("Location", "/"+password)
		http.Error(w, "no: "+password, http.StatusTeapot)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	c := open(t, Options{Repository: s.URL + "/x.git", Token: "hunter2hunter2"})
	_, err := c.Fetch(t.Context())
	if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(fmt.Sprint(c.Address()), "hunter2") {
		t.Errorf("Fetch: %v", err)
	}
}

// TestDamage makes a clone anew that cannot be read, whatever is wrong with it, and takes away what an interrupted fetch has left.
func TestDamage(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "a: 1\n"})
	c := open(t, Options{Repository: repo.URL, Ref: "main"})
	packs := func() []string {
		found, err := filepath.Glob(filepath.Join(c.dir, "objects", "pack", "*.pack"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	fetches(t, c, repo.Head())
	for name, damage := range map[string]func() error{
		"a pack is cut off": func() error { return os.Truncate(packs()[0], 20) },
		"a pack is gone":    func() error { return os.Remove(packs()[0]) },
		"no HEAD":           func() error { return os.Remove(filepath.Join(c.dir, "HEAD")) },
		"no config":         func() error { return os.WriteFile(filepath.Join(c.dir, "shallow"), []byte("x\n"), 0o600) },
		"halves of a fetch": func() error { return os.WriteFile(filepath.Join(c.dir, incoming+"1"), []byte("PACK"), 0o600) },
	} {
		_ = os.Chmod(packs()[0], 0o600)
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		fetches(t, c, repo.Commit(name, map[string]string{"a.yaml": name + ": 1\n"}))
		if ok, err := c.HasFolder(repo.Head(), ""); !ok || err != nil {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.dir, incoming+"*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if err := c.Discard(); err != nil {
		t.Fatal(err)
	}
	fetches(t, c, repo.Head())
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(Options{Repository: "https://example.com/x", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Repository: "https://example.com/x", Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process uses") {
		t.Errorf("a second one: %v", err)
	}
	open(t, Options{Repository: "https://example.com/y", Dir: dir}) // another repository may share the directory
	first.Close()
	open(t, Options{Repository: "https://example.com/x", Dir: dir})
}

// noise is text that does not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}

// TestLargeHistory cuts off a history over the bound: the newest commits are enough to compile.
func TestLargeHistory(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "a: 1\n", "video.bin": noise(512 << 10)})
	repo.Commit("no video", map[string]string{"video.bin": ""})
	for range shallowDepth + 9 {
		repo.Git("commit", "--quiet", "--allow-empty", "--message", "more")
	}
	repo.Commit("more", map[string]string{"b.yaml": "b: 1\n"})
	c := open(t, Options{Repository: repo.URL, Ref: "main"})
	c.limits.pack = 128 << 10
	back := func(n int) string { return strings.TrimSpace(repo.Git("rev-parse", fmt.Sprintf("HEAD~%d", n))) }
	fetches(t, c, repo.Head())
	relates(t, c, back(3), repo.Head(), Forward)
	relates(t, c, back(shallowDepth+5), repo.Head(), Unknown)
	was := repo.Head()
	fetches(t, c, repo.Commit("one more", map[string]string{"b.yaml": "b: 2\n"}))
	relates(t, c, was, repo.Head(), Forward)
}

// TestBounds refuses what would take too much room, even cut off.
func TestBounds(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"video.bin": noise(1 << 20)})
	for name, c := range map[string]struct {
		set  func(*limits)
		want string
	}{
		"pack":     {func(l *limits) { l.pack = 64 << 10 }, "fetch main: the repository is too large: a pack of more than 0 MiB"},
		"unpacked": {func(l *limits) { l.unpacked = 256 << 10 }, "fetch main: the repository is too large: a pack of more than 0 MiB once unpacked"},
		"object":   {func(l *limits) { l.object = 512 << 10 }, "fetch main: the repository is too large: an object of more than 0 MiB"},
	} {
		clone := open(t, Options{Repository: repo.URL, Ref: "main"})
		c.set(&clone.limits)
		if _, err := clone.Fetch(t.Context()); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestGrownClone makes a clone of many fetches anew.
func TestGrownClone(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"a.yaml": "a: 0\n"})
	c := open(t, Options{Repository: repo.URL, Ref: "main"})
	c.limits.packs = 2
	for i := range 5 {
		fetches(t, c, repo.Commit("more", map[string]string{"a.yaml": fmt.Sprintf("a: %d\n", i+1)}))
	}
	found, err := filepath.Glob(filepath.Join(c.dir, "objects", "pack", "*.pack"))
	if err != nil || len(found) > 3 {
		t.Errorf("%d packs, %v", len(found), err)
	}
}

// TestServerAway fails while the server does, fetches nothing it has, and ends with its context.
func TestServerAway(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "a: 1\n"})
	target, err := url.Parse(host.URL)
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	var packs atomic.Int64
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/git-upload-pack") {
			packs.Add(1)
		}
		if away.Load() {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
	c := open(t, Options{Repository: front.URL + "/config.git", Ref: "main"})
	fetches(t, c, repo.Head())
	away.Store(true)
	_, err = c.Fetch(t.Context())
	if later := (*gitwatch.Later)(nil); !errors.As(err, &later) || later.After.Seconds() != 7 {
		t.Errorf("while the server is away: %v", err)
	}
	away.Store(false)
	fetches(t, c, repo.Head())
	if n := packs.Load(); n != 1 {
		t.Errorf("%d packs were asked for, want one", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
