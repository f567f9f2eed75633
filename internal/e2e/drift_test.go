package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/drift"
)

// A gateway that watches the repository says whether it runs what the repository says: by behaviour, not by commit.
func TestDrift(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	gate := newGate(t, s.host.URL)
	_, to := s.folder()
	s.apply(to)
	first := s.repo.Head()
	g := s.gwrun("--bundle", to, "--state", t.TempDir(), "--repo", gate.URL+"/shop.git", "--drift-poll", "1s")
	g.serves(1)
	check := func(args ...string) []string { return append([]string{"drift", "--gateway", g.admin}, args...) }

	g.drifts(drift.InSync, first)
	g.shows(`gw_drift_detected{class="source"}`, "0")
	g.shows("gw_drift_commits_behind", "0")
	if r := s.ok(check()...); !strings.Contains(r.err, "environment prod") {
		t.Errorf("gwctl drift says %q", r.err)
	}

	// A commit that changes no behaviour.
	r := g.drifts(drift.BehindNoChange, s.commit("words", map[string]string{"README.md": "The shop.\n"}))
	if r.CommitsBehind != 1 || len(r.Files) != 0 || r.OtherFiles != 1 {
		t.Errorf("a commit to README.md is reported as %+v", r)
	}
	g.shows("gw_drift_commits_behind", "1")
	g.shows(`gw_drift_detected{class="source"}`, "0")
	s.ok(check()...)

	// One that does, and is not applied.
	r = g.drifts(drift.Drifted, s.version(2))
	if r.CommitsBehind != 2 || len(r.Files) != 1 || r.Files[0].Path != "routes/app.yaml" {
		t.Errorf("a changed route is reported as %+v", r)
	}
	g.shows(`gw_drift_detected{class="source"}`, "1")
	if r := s.exits(2, check()...); !strings.Contains(r.out, "routes/app.yaml:5:") || !strings.Contains(r.out, "/v2") {
		t.Errorf("gwctl drift printed %q", r.out)
	}
	s.exits(2, check("--format", "json")...)
	s.apply(to)
	g.drifts(drift.InSync, s.repo.Head())
	g.shows(`gw_drift_detected{class="source"}`, "0")

	// One that does not compile.
	r = g.drifts(drift.InvalidHead, s.commit("a mistake", map[string]string{
		"routes/app.yaml": strings.Replace(s.routes(3), "path:", "paht:", 1),
	}))
	if r.HeadValid || r.Diagnostics == 0 || !strings.Contains(r.DiagnosticText, "routes/app.yaml:4:") {
		t.Errorf("a head with a mistake is reported as %+v", r)
	}
	g.shows(`gw_drift_detected{class="source"}`, "1")
	if r := s.exits(3, check()...); !strings.Contains(r.err, `did you mean "path"`) {
		t.Errorf("gwctl drift says %q", r.err)
	}
	if v := g.served(); v != 2 {
		t.Errorf("drift changed what is served to version %d", v)
	}

	// The history is rewritten: what runs is not in it any more.
	s.repo.Git("reset", "--quiet", "--hard", first)
	r = g.drifts(drift.Drifted, s.commit("another past", map[string]string{"routes/app.yaml": s.routes(4)}))
	if !r.Diverged || r.CommitsBehind != 1 || r.CommitsAhead < 1 {
		t.Errorf("a rewritten history is reported as %+v", r)
	}

	// The repository is away: the facts stay, and are called stale.
	gate.shut.Store(true)
	testkit.Eventually(t, "the report is stale", func() bool {
		r := g.drift()
		return r != nil && r.Stale && r.Error != "" && r.State == drift.Drifted
	})
	gate.shut.Store(false)
	s.apply(to)
	g.drifts(drift.InSync, s.repo.Head())
	g.serves(4)
}

func (g *gateway) drift() *drift.Report {
	g.t.Helper()
	if d := g.status().Drift; d != nil {
		return d.Source
	}
	return nil
}

// drifts waits for a state at a head, and returns the report.
func (g *gateway) drifts(state drift.State, head string) *drift.Report {
	g.t.Helper()
	var r *drift.Report
	testkit.Eventually(g.t, fmt.Sprintf("the drift from %.12s is %s", head, state), func() bool {
		r = g.drift()
		return r != nil && r.State == state && r.Head == head && !r.Stale
	})
	return r
}
