package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// The story of the product: a team validates, signs and publishes what is in git; the gateway serves it; an edit becomes
// live under traffic without one failed request; and everybody can see what runs, what would change, and what differs.
func TestFromGitToTraffic(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	state := t.TempDir()

	if r := s.ok("validate"); !strings.Contains(r.out, "4 files, 0 errors, 0 warnings") {
		t.Errorf("validate printed %q", r.out)
	}
	first := s.repo.Head()
	if r := s.apply(to); !strings.HasPrefix(r.out, "published prod 1.1 sha256:") || !strings.Contains(r.err, first) {
		t.Errorf("apply printed %q and %q", r.out, r.err)
	}
	g := s.gwrun("--bundle", to, "--state", state)
	g.serves(1)
	if st := g.status(); st.Running.Commit != first || st.Running.Version != 1 || st.Running.Environment != "prod" || st.Running.Routes != 1 {
		t.Errorf("status says %+v", st.Running)
	}
	if r := s.ok("diff", first, g.admin, "--env", "prod"); r.out == "" {
		t.Error("diff without a difference printed nothing at all")
	}

	// Under traffic: the edit, what it would change, the apply, and its arrival.
	clients := startTraffic(t, g.url+"/app/order", 8)
	second := s.version(2)
	if r := s.exits(2, "diff", "HEAD~1", "HEAD", "--env", "prod"); !strings.Contains(r.out, "app") || !strings.Contains(r.out, "/v2") {
		t.Errorf("diff of the commits printed %q", r.out)
	}
	if r := s.exits(2, "diff", g.admin, "HEAD", "--env", "prod"); !strings.Contains(r.out, "/v2") {
		t.Errorf("diff against the running gateway printed %q", r.out)
	}
	if r := s.exits(2, s.applyArgs(to, "--dry-run")...); !strings.Contains(r.out, "/v2") {
		t.Errorf("apply --dry-run printed %q", r.out)
	}
	if v := g.served(); v != 1 {
		t.Errorf("a dry run changed what is served to version %d", v)
	}
	s.apply(to)
	published := time.Now()
	g.serves(2)
	live := time.Since(published)
	t.Logf("live %s after apply", live.Round(time.Millisecond))
	if live > 10*time.Second { // the promise is 2 s on a machine that has the time
		t.Errorf("live only %s after apply", live)
	}
	if st := g.status(); st.Running.Commit != second {
		t.Errorf("running commit %s, want %s", st.Running.Commit, second)
	}
	if r := s.ok("status", "--gateway", g.admin); !strings.Contains(r.out, "prod, 1 of 1 run 1.2 ") || !strings.Contains(r.out, second[:12]) {
		t.Errorf("status printed %q", r.out)
	}
	if r := s.apply(to); !strings.HasPrefix(r.out, "already current prod 1.2") {
		t.Errorf("applying the same again printed %q", r.out)
	}
	s.version(3)
	s.apply(to, "--wait", "--gateway", g.admin)
	if v := g.served(); v != 3 {
		t.Errorf("apply --wait returned while version %d was served", v)
	}
	t.Logf("%d requests, none failed", clients.end())
	if n := clients.dials.Load(); n != 8 {
		t.Errorf("8 clients needed %d connections: a swap closed some", n)
	}

	if code := g.Stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	again := s.gwrun("--bundle", to, "--state", state)
	again.serves(3)
	testkit.Eventually(t, "the gateway is ready", func() bool { code, _, err := get(again.admin + "/readyz"); return err == nil && code == 200 })
}
