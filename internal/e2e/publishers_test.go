package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// contest is two commits that two pipelines publish at the same time, on top of a version both have seen.
type contest struct {
	*scene
	revisions [2]string
}

func newContest(s *scene, to string) *contest {
	s.t.Helper()
	s.apply(to)
	return &contest{s, [2]string{s.version(2), s.version(3)}}
}

// both applies both commits at once and returns what became of them. During runs while they do.
func (c *contest) both(to string, during func()) [2]result {
	c.t.Helper()
	var results [2]result
	var ends sync.WaitGroup
	for i, rev := range c.revisions {
		ends.Go(func() { results[i] = c.gwctl(c.applyArgs(to, "--rev", rev)...) })
	}
	during()
	ends.Wait()
	return results
}

// oneWon wants exit code 0 and exit code 5, and that a gateway runs the commit of the winner.
func (c *contest) oneWon(to string, results [2]result) {
	c.t.Helper()
	winner := 0
	if results[1].code == 0 {
		winner = 1
	}
	won, lost := results[winner], results[1-winner]
	if won.code != 0 || lost.code != 5 {
		c.t.Fatalf("exit codes %d and %d, want 0 and 5\n%s\n%s", won.code, lost.code, won.err, lost.err)
	}
	if !strings.HasPrefix(won.out, "published prod 1.2 ") || lost.out != "" || !strings.HasPrefix(lost.err, "gwctl: ") {
		c.t.Errorf("the winner printed %q, the loser %q and %q", won.out, lost.out, lost.err)
	}
	g := c.gwrun("--bundle", to)
	g.serves(winner + 2)
	if st := g.status(); st.Running.Commit != c.revisions[winner] || st.Running.Version != 2 {
		c.t.Errorf("the gateway runs %+v, want commit %s", st.Running, c.revisions[winner])
	}
}

// Of two applies at the same time exactly one wins; the other exits 5 and has changed nothing.
func TestTwoPublishers(t *testing.T) {
	t.Parallel()
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		path, to := s.folder()
		c := newContest(s, to)
		lock, err := os.Open(filepath.Join(path, ".lock"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = lock.Close() }()
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		// Held up at the lock, both have read the channel and written their own, which nothing points at yet.
		c.oneWon(to, c.both(to, func() {
			testkit.Eventually(t, "both are about to commit", func() bool { return channelImages(t, path) == 3 })
			if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
				t.Error(err)
			}
		}))
	})
	t.Run("web server", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		gate := newGate(t, testkit.BundleServer(t).URL)
		c := newContest(s, gate.URL)
		gate.meet(func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/index.json")
		})
		c.oneWon(gate.URL, c.both(gate.URL, func() {}))
	})
	t.Run("git branch", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		s.host.Create("bundles", map[string]string{"README.md": "What gwctl publishes is on the branch bundles.\n"})
		gate := newGate(t, s.host.URL)
		to := "git+" + gate.URL + "/bundles.git#bundles"
		c := newContest(s, to)
		gate.meet(func(r *http.Request) bool { return r.URL.Query().Get("service") == "git-upload-pack" })
		c.oneWon(to, c.both(to, func() {}))
	})
	// A registry cannot compare and swap, so the one who has read the channel first is made to write last.
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		s := newScene(t)
		host := testkit.Registry(t)
		gate := newGate(t, host.URL)
		to, slowly := "oci://"+host.Host+"/team/shop", "oci://"+strings.TrimPrefix(gate.URL, "http://")+"/team/shop"
		c := newContest(s, to)
		writing, done := make(chan struct{}), make(chan struct{})
		var first sync.Once
		gate.holding(func(r *http.Request) <-chan struct{} {
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return nil
			}
			first.Do(func() { close(writing) })
			return done
		})
		var results [2]result
		var slow sync.WaitGroup
		slow.Go(func() { results[0] = s.gwctl(s.applyArgs(slowly, "--rev", c.revisions[0])...) })
		<-writing
		results[1] = s.gwctl(s.applyArgs(to, "--rev", c.revisions[1])...)
		close(done)
		slow.Wait()
		c.oneWon(to, results)
	})
}

// channelImages counts the channels that have been written to a folder, current or not.
func channelImages(t *testing.T, folder string) (n int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "blobs", "sha256", "[0-9a-f]*")) // and none that is being written
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && strings.Contains(string(data), `"artifactType":"`+bundle.ChannelArtifactType+`"`) {
			n++
		}
	}
	return n
}
