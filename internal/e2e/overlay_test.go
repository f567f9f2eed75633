package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// overlayKey makes a key of somebody who may lay overlays.
func (s *scene) overlayKey(name string) string {
	s.t.Helper()
	s.ok("keygen", "--out", s.keys, "--role", "overlay", "--name", name, "--trust", filepath.Join(s.keys, "trust.json"))
	return filepath.Join(s.keys, name+".key")
}

// patch writes the file of an overlay that sends /app to a version, beside the clone.
func (s *scene) patch(id string, version int) string {
	s.t.Helper()
	path := filepath.Join(s.home, id+".yaml")
	text := apiVersion + fmt.Sprintf("routes:\n  - id: app\n    target: { url: \"%s/v%d\" }\n", s.app, version)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// lay lays an overlay that sends /app to a version.
func (s *scene) lay(g *gateway, key, id string, version int, extra ...string) {
	s.t.Helper()
	s.ok(append([]string{"overlay", "apply", s.patch(id, version), "--env", "prod", "--gateway", g.admin, "--key", key, "--reason", "ticket 42"}, extra...)...)
}

// steadily asks until the function it returns is called, which fails the test if one request was not answered 200.
func steadily(t *testing.T, urls ...string) (end func()) {
	t.Helper()
	var clients sync.WaitGroup
	var stop atomic.Bool
	var answers atomic.Int64
	for _, url := range urls {
		clients.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ; !stop.Load(); <-tick.C {
				if code, body, err := get(url); err != nil || code != 200 {
					t.Errorf("a request failed: %d %s %v", code, body, err)
					return
				}
				answers.Add(1)
			}
		})
	}
	var once sync.Once
	end = func() {
		once.Do(func() { stop.Store(true); clients.Wait() })
		if answers.Load() == 0 {
			t.Error("no request was answered")
		}
	}
	t.Cleanup(end)
	return end
}

// overlayState is how an overlay is at a gateway: its state, and why.
func (s *scene) overlayState(g *gateway, id string) string {
	for line := range strings.Lines(s.ok("overlay", "list", "--gateway", g.admin).out) {
		if rest, ok := strings.CutPrefix(line, id+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "none"
}

func (s *scene) overlayIs(g *gateway, id, state string) {
	s.t.Helper()
	testkit.Eventually(s.t, fmt.Sprintf("overlay %s is %s", id, state), func() bool { return strings.HasPrefix(s.overlayState(g, id), state) })
}

// TestOverlays lays overlays over two gateways that share a Redis, under load: from the order at night to the commit in the morning.
func TestOverlays(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	redis := testkit.Redis(t)
	_, to := s.folder()
	key := s.overlayKey("ann")
	s.rules("gates:\n  - { id: doors, risks: [AUTH_REMOVED, ROUTE_REMOVED], approvals: 1 }")
	s.apply(to)
	state := t.TempDir()
	a := s.gwrun("--bundle", to, "--redis", redis.URL)
	args := []string{"--bundle", to, "--redis", redis.URL, "--state", state}
	b := s.gwrun(args...)
	a.serves(1)
	b.serves(1)
	end := steadily(t, a.url+"/app/x", b.url+"/app/x")

	// It is shown first, laid at one, and is at both.
	if r := s.exits(2, "overlay", "apply", s.patch("inc-42", 7), "--env", "prod", "--gateway", a.admin, "--dry-run"); !strings.Contains(r.out, "~ route app") || a.served() != 1 {
		t.Errorf("a dry run: %s", r.out)
	}
	s.lay(a, key, "inc-42", 7, "--for", "1h")
	a.serves(7)
	b.serves(7)
	for _, g := range []*gateway{a, b} {
		c := g.becomes("live", "1 overlay is active", true)
		if len(c.Details) != 1 || !strings.HasPrefix(c.Details[0], "overlay inc-42 until 2") || !strings.HasSuffix(c.Details[0], ": ticket 42") {
			t.Errorf("details: %q", c.Details)
		}
		g.shows(`gw_drift_detected{class="live"}`, "1")
	}
	digest := a.status().Running.Digest
	if out := s.ok("overlay", "show", "inc-42", "--gateway", b.admin).out; !strings.Contains(out, "id: app") {
		t.Errorf("shown: %s", out)
	}

	// Who may not, and what may not be.
	s.exits(5, "overlay", "apply", s.patch("inc-42", 8), "--env", "prod", "--gateway", a.admin, "--key", key, "--reason", "again")
	s.exits(6, "overlay", "apply", s.patch("other", 8), "--env", "prod", "--gateway", a.admin, "--key", filepath.Join(s.keys, "release.key"), "--reason", "a release key")
	if r := s.exits(4, "overlay", "apply", s.patch("other", 8), "--env", "prod", "--gateway", a.admin, "--key", key, "--reason", "the same object"); !strings.Contains(r.err, `route "app" is changed by overlay inc-42 already`) {
		t.Errorf("the same object: %s", r.err)
	}
	s.exits(5, "overlay", "apply", s.patch("other", 8), "--env", "dev", "--gateway", a.admin, "--key", key, "--reason", "another environment")
	s.lay(b, key, "inc-42", 8, "--replace")
	a.serves(8)

	// A gateway that is killed comes back with them, also while Redis is away; and nobody changes them meanwhile.
	redis.Stop()
	if r := s.exits(1, "overlay", "remove", "inc-42", "--gateway", a.admin); !strings.Contains(r.err, "cannot reach the overlays") {
		t.Errorf("without Redis: %s", r.err)
	}
	c := s.gwrun("--bundle", to, "--state", state+"-c") // has none of them
	c.serves(1)
	end()
	b.Kill()
	b = s.gwrun(args...)
	b.serves(8)
	redis.Restart()
	a.serves(8) // Redis has kept nothing over its restart, or everything; see below

	// Redis has forgotten everything: what everybody has agreed to serves again.
	redis.Do("FLUSHALL")
	a.serves(1)
	b.serves(1)
	end = steadily(t, a.url+"/app/x", b.url+"/app/x")

	// From the night into the repository.
	s.lay(a, key, "inc-43", 9)
	b.serves(9)
	exported := s.ok("drift", "export", "--gateway", b.admin, "--branch", "inc-43")
	if !strings.HasPrefix(exported.out, "inc-43 ") {
		t.Errorf("exported: %s", exported.out)
	}
	s.exits(5, "drift", "export", "--gateway", b.admin, "--branch", "inc-43") // there is such a branch
	s.git(s.dir, "push", "--quiet", "origin", "inc-43:main")
	s.git(s.dir, "fetch", "--quiet")
	s.git(s.dir, "reset", "--quiet", "--hard", "origin/main")
	s.apply(to)
	for _, g := range []*gateway{a, b} {
		testkit.Eventually(t, "the commit runs", func() bool { return g.status().Running.Digest != digest })
		s.overlayIs(g, "inc-43", "done")
		g.becomes("live", "no overlays", false)
		g.serves(9)
	}
	s.ok("overlay", "remove", "inc-43", "--gateway", a.admin)

	// The repository changes the same object.
	for _, tt := range []struct {
		strategy string
		serves   int
		state    string
	}{{"git-wins", 12, `aside: route "app" was changed in the repository, which wins`}, {"live-wins", 11, "active"}} {
		s.lay(a, key, "inc", 11, "--conflict", tt.strategy)
		b.serves(11)
		s.commit("back", map[string]string{"environments/prod/overlay-inc-43.yaml": apiVersion + fmt.Sprintf("routes:\n  - id: app\n    target: { url: \"%s/v12\" }\n", s.app)})
		before := a.status().Running.Version
		s.apply(to)
		testkit.Eventually(t, "it runs", func() bool { return a.status().Running.Version > before })
		a.serves(tt.serves)
		b.serves(tt.serves)
		s.overlayIs(b, "inc", tt.state)
		s.ok("overlay", "remove", "inc", "--gateway", a.admin)
		a.serves(12)
		s.commit("again", map[string]string{"environments/prod/overlay-inc-43.yaml": apiVersion + fmt.Sprintf("routes:\n  - id: app\n    target: { url: \"%s/v10\" }\n", s.app)})
		s.apply(to)
		a.serves(10)
		b.serves(10)
	}
	s.lay(a, key, "inc", 11, "--conflict", "manual")
	b.serves(11)
	s.version(2)
	s.commit("no more", map[string]string{"environments/prod/overlay-inc-43.yaml": apiVersion})
	s.apply(to)
	for _, g := range []*gateway{a, b} {
		g.waits("it waits for a person", func(why string) bool {
			return strings.Contains(why, `overlay inc: route "app" was changed in the repository, too; remove the overlay`)
		})
	}
	s.ok("overlay", "remove", "inc", "--gateway", a.admin)
	a.serves(2)
	b.serves(2)
	end()
}
