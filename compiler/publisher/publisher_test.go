package publisher_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestPublish(t *testing.T) {
	r := newRig(t, "prod")
	if r.p.Ready() {
		t.Error("ready before the first round")
	}
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	if !r.p.Ready() {
		t.Error("not ready after the first round")
	}
	r.want(publisher.Published, "1.1", first)
	second := r.routes(2, 10)
	r.want(publisher.Published, "1.2", second)

	// what no gateway would see is not published, and said to be in order
	readme := r.repo.Commit("words", map[string]string{"README.md": "hello\n"})
	if e := r.want(publisher.Published, "1.2", second); e.Head != readme || e.Rewritten != "" {
		t.Errorf("after a README: %+v", e)
	}
	if len(r.compiles) != 3 || len(r.failures) != 0 {
		t.Errorf("compiled %q, failures %q", r.compiles, r.failures)
	}
	if r.said("msg=published ") != 2 {
		t.Errorf("log\n%s", r.log.String())
	}

	// a publisher that remembers nothing finds everything in order
	r.start(r.repo.URL, "prod")
	r.want(publisher.Published, "1.2", second)
}

// TestSeveralEnvironments has one that does not compile, which is no business of the other.
func TestSeveralEnvironments(t *testing.T) {
	r := newRig(t, "prod", "dev")
	bad := r.repo.Commit("typo", map[string]string{"environments/dev/env.yaml": apiVersion + "gatway: {}\n"})
	r.want(publisher.Invalid, "", "") // a file that is wrong is wrong for all
	r.repo.Commit("a route that dev lacks", map[string]string{"environments/dev/env.yaml": apiVersion + "routes: [{ id: r0, target: { upstream: none } }]\n"})
	r.want(publisher.Published, "1.1", r.repo.Head())
	if e := r.env("dev"); e.State != publisher.Invalid || e.Mistakes != 1 || e.Head == bad || !strings.Contains(e.Diagnostics, "environments/dev/env.yaml:2:") {
		t.Errorf("dev %+v", e)
	}
}

func TestInvalid(t *testing.T) {
	r := newRig(t, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	bad := r.repo.Commit("typo", map[string]string{"routes/r.yaml": apiVersion + "routes: [{ idd: x }]\n"})
	for range 3 { // one attempt per commit
		e := r.want(publisher.Invalid, "1.1", first)
		if e.Head != bad || e.Mistakes == 0 || !strings.Contains(e.Diagnostics, "routes/r.yaml:2:12: error GW2031") || e.Candidate != "" {
			t.Errorf("status %+v", e)
		}
	}
	if len(r.compiles) != 2 || !slices.Equal(r.failures, []string{"prod invalid"}) || r.said("the head does not compile") != 1 {
		t.Errorf("compiled %q, failures %q, log\n%s", r.compiles, r.failures, r.log.String())
	}
	mended := r.routes(2, 10)
	r.want(publisher.Published, "1.2", mended)
}

func TestTestsFail(t *testing.T) {
	r := newRig(t, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	r.after = func(_ publisher.Job, c publisher.Compiled) publisher.Compiled {
		c.Mistakes, c.Text = 1, "tests/a.yaml:3:5: failed: nobody gets in"
		return c
	}
	r.routes(2, 10)
	if e := r.want(publisher.Invalid, "1.1", first); e.Candidate == "" || e.Mistakes != 1 || !strings.Contains(e.Diagnostics, "nobody gets in") {
		t.Errorf("status %+v", e)
	}
	if !slices.Equal(r.failures, []string{"prod tests"}) || r.said("tests of the head fail") != 1 {
		t.Errorf("failures %q, log\n%s", r.failures, r.log.String())
	}
}

// TestCompileBreaks has a compiler that gives no answer: it is asked again ever less often, and at once about another commit.
func TestCompileBreaks(t *testing.T) {
	r := newRig(t, "prod", "dev")
	r.before = func(j publisher.Job) error {
		if j.Environment == "prod" {
			return errors.New("it took too long")
		}
		return nil
	}
	if err := r.round(); err == nil || !strings.Contains(err.Error(), "prod: compile commit ") {
		t.Errorf("round: %v", err)
	}
	if e := r.has(publisher.Failed, "", ""); e.Reason != "compile" || e.NextTry == nil || e.NextTry.Sub(r.clock.Now()) != time.Minute {
		t.Errorf("status %+v", e)
	}
	if e := r.env("dev"); e.State != publisher.Published {
		t.Errorf("dev %+v", e)
	}
	attempts := func() int {
		return len(slices.DeleteFunc(slices.Clone(r.compiles), func(s string) bool { return strings.HasSuffix(s, "dev") }))
	}
	for range 15 { // minutes: attempts after 0, 1, 3, 7 and 15 of them
		_ = r.round()
	}
	if n := attempts(); n != 5 {
		t.Errorf("tried %d times in 15 minutes, want 5", n)
	}
	if r.said("could not be brought up to date") != 1 {
		t.Errorf("log\n%s", r.log.String())
	}
	r.before = nil
	r.routes(2, 10)
	r.want(publisher.Published, "1.1", r.repo.Head())
}

func TestWrongBundle(t *testing.T) {
	r := newRig(t, "prod")
	r.after = func(j publisher.Job, c publisher.Compiled) publisher.Compiled {
		j.Environment = "dev"
		r.repo.Commit("dev", map[string]string{"environments/dev/env.yaml": apiVersion})
		info := bundle.Info{Name: "shop", Environment: "dev", Source: c.Bundle.Manifest.Source, Compiler: "0.1.0", SchemaVersion: "v1", MinRuntime: "0.1.0"}
		var err error
		if c.Bundle, err = bundle.New(info, c.Bundle.Shards); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := r.round(); err == nil || !strings.Contains(err.Error(), "the compiler made a bundle of commit") {
		t.Errorf("round: %v", err)
	}
	r.has(publisher.Failed, "", "")
}

func TestFolder(t *testing.T) {
	r := newRig(t, "prod")
	clone, err := gitclone.Open(gitclone.Options{Repository: r.repo.URL, Ref: "main", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clone.Close)
	p, err := publisher.New(publisher.Options{
		Clone: clone, Subdirectory: "gate/config", Environments: []string{"prod"}, To: r.open(), Place: r.at, Compile: r.compile, Compare: compare,
		Keys: func() (*publisher.Keys, error) { return &publisher.Keys{Trust: r.trust}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := p.Status().Environments[0]; e.State != publisher.Invalid || e.Diagnostics != `the folder "gate/config" is not in commit `+r.repo.Head() {
		t.Errorf("status %+v", e)
	}
}

// approve signs what a status asks for.
func (r *rig) approve(digest string, codes ...string) {
	r.t.Helper()
	got, err := depot.Fetch(r.t.Context(), r.open(), depot.Request{Bundle: bundle.Digest(digest)})
	if err != nil {
		r.t.Fatalf("what is held is not there to look at: %v", err)
	}
	if _, err := bundle.Verify(got.Raw, bundle.Check{Trust: r.trust, Environment: "prod", Now: r.clock.Now()}); err != nil {
		r.t.Fatal(err)
	}
	envelope, err := bundle.SignApproval(bundle.Approval{
		Name: "shop", Environment: "prod", Manifest: bundle.Digest(digest), Base: bundle.Digest(r.env("prod").Published.Digest), Risks: codes, Reason: "meant", By: "ada",
		IssuedAt: bundle.TimeOf(r.clock.Now()), ExpiresAt: bundle.TimeOf(r.clock.Now().Add(time.Hour)),
	}, r.approver)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := depot.Approve(r.t.Context(), r.open(), envelope); err != nil {
		r.t.Fatal(err)
	}
}

func TestHeldUntilApproved(t *testing.T) {
	for name, at := range map[string]string{
		"folder":   filepath.Join(t.TempDir(), "bundles"),
		"git":      "git+" + testkit.GitServer(t).Create("bundles", nil).URL + "#bundles",
		"registry": "oci://" + testkit.Registry(t).Host + "/shop/bundles", // whose ETag says nothing of approvals
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "prod")
			r.at = at
			r.start(r.repo.URL, "prod")
			first := r.repo.Head()
			r.want(publisher.Published, "1.1", first)
			second := r.routes(2, 5) // half of the routes
			e := r.want(publisher.Held, "1.1", first)
			rule := publisher.Rule{}
			if len(e.Rules) > 0 {
				rule = e.Rules[0]
			}
			how := "gwctl approve " + e.Candidate + " --env prod --to " + at + ` --trust trust.json --key approver.key --reason "..."`
			if len(e.Rules) != 1 || rule.Rule != "maxRoutesRemovedPercent" || rule.Needed != 1 || rule.Have != 0 || rule.How != how || len(rule.Risks) != 5 {
				t.Fatalf("rules %+v", e.Rules)
			}
			since := e.Since
			if e = r.want(publisher.Held, "1.1", first); e.Since != since || r.said("held: ") != 1 {
				t.Errorf("held again since %s: %s\n%s", since, e.Since, r.log.String())
			}
			r.start(r.repo.URL, "prod") // and nothing is lost with the publisher
			r.want(publisher.Held, "1.1", first)
			r.approve(e.Candidate, gate.RoutesRemoved)
			if e = r.want(publisher.Published, "1.2", second); e.Published.Digest == "" || len(e.Rules) != 0 || r.said("approvedBy=["+r.approver.Public().ID()) != 1 {
				t.Errorf("after the approval %+v\n%s", e, r.log.String())
			}
		})
	}
}

func TestWindow(t *testing.T) {
	r := newRig(t, "prod")
	first := r.rules(`{ windows: [{ id: lunch, kind: deny, from: "12:00", for: 1h }] }`)
	r.want(publisher.Published, "1.1", first)
	second := r.routes(2, 10)
	e := r.want(publisher.Held, "1.1", first)
	if opens := e.Rules[0].Opens; opens == nil || !opens.Equal(time.Date(2026, 11, 26, 13, 0, 0, 0, time.UTC)) || !strings.HasSuffix(e.Rules[0].How, " --any-time") {
		t.Fatalf("rules %+v", e.Rules)
	}
	r.clock.Advance(58 * time.Minute)
	r.want(publisher.Published, "1.2", second)
}

// TestRollback has a hold go before everything else, until somebody lifts it.
func TestRollback(t *testing.T) {
	r := newRig(t, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	second := r.routes(2, 10)
	r.want(publisher.Published, "1.2", second)
	s := r.settings()
	s.Hold = &bundle.Hold{Reason: "checkout fails", By: "ana"}
	if _, err := publish.Rollback(t.Context(), r.open(), "prod", "", s); err != nil {
		t.Fatal(err)
	}
	e := r.want(publisher.Held, "1.3", first)
	if len(e.Rules) != 1 || e.Rules[0].Why != "the environment was rolled back by ana, and is held: checkout fails" || !strings.HasSuffix(e.Rules[0].How, " --lift-hold") || e.Published.Hold.By != "ana" {
		t.Fatalf("rules %+v", e.Rules)
	}
	third := r.routes(3, 10)
	r.want(publisher.Held, "1.3", first)
	r.repo.Commit("typo", map[string]string{"routes/r.yaml": "routes: [\n"})
	if e := r.want(publisher.Held, "1.3", first); e.Mistakes == 0 {
		t.Errorf("a head that does not compile either: %+v", e)
	}
	r.repo.Git("reset", "--quiet", "--hard", third)
	r.repo.Git("push", "--quiet", "--force", "origin", "HEAD")
	r.start(r.repo.URL, "prod")
	r.want(publisher.Held, "1.3", first)

	// what apply --lift-hold does
	got, err := depot.Fetch(t.Context(), r.open(), depot.Request{Environment: "prod"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := bundle.Peek(got.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Publish(t.Context(), r.open(), v.Bundle, r.settings()); err != nil {
		t.Fatal(err)
	}
	r.want(publisher.Published, "1.5", third)
}

// TestRenewal keeps channels from expiring, whatever the head is worth, and keeps a hold with them.
func TestRenewal(t *testing.T) {
	r := newRig(t, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	r.repo.Commit("typo", map[string]string{"routes/r.yaml": "routes: [\n"})
	r.want(publisher.Invalid, "1.1", first)
	r.clock.Advance(84 * time.Hour)
	e := r.want(publisher.Invalid, "1.2", first)
	if left := e.Published.ExpiresAt.Sub(r.clock.Now()); left != publish.DefaultLifetime || r.said("channel renewed") != 1 {
		t.Errorf("renewed for %s\n%s", left, r.log.String())
	}
	r.want(publisher.Invalid, "1.2", first)

	s := r.settings()
	s.Hold = &bundle.Hold{Reason: "x"}
	second := r.routes(2, 10)
	r.want(publisher.Published, "1.3", second)
	if _, err := publish.Rollback(t.Context(), r.open(), "prod", "", s); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(6 * 24 * time.Hour)
	r.start("http://127.0.0.1:1/away.git", "prod") // nor does it take the repository
	if err := r.round(); err == nil {
		t.Fatal("a repository that is not there can be fetched")
	}
	if e := r.env("prod"); e.Published == nil || e.Published.Version != "1.5" || e.Published.Hold == nil || e.State != publisher.Held {
		t.Errorf("status %+v\n%s", e, r.log.String())
	}
}

func TestBranchMovesBack(t *testing.T) {
	r := newRig(t, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	second := r.routes(2, 10)
	r.want(publisher.Published, "1.2", second)
	r.repo.Git("reset", "--quiet", "--hard", first)
	r.repo.Git("push", "--quiet", "--force", "origin", "HEAD")
	e := r.want(publisher.Published, "1.3", first)
	if want := "the branch was moved back: the head is an ancestor of commit " + second + ", which is published"; e.Rewritten != want || r.said("rewritten=") != 1 {
		t.Errorf("rewritten %q, want %q\n%s", e.Rewritten, want, r.log.String())
	}
	// gates hold a step back like any other
	third := r.rules("{ maxRoutesRemovedPercent: 0 }")
	r.routes(3, 20)
	r.want(publisher.Published, "1.4", r.repo.Head())
	was := r.repo.Head()
	r.repo.Git("reset", "--quiet", "--hard", third)
	r.repo.Git("push", "--quiet", "--force", "origin", "HEAD")
	if e := r.want(publisher.Held, "1.4", was); e.Rewritten == "" {
		t.Errorf("status %+v", e)
	}
	// a clone that never had the other history says so as well as it can
	r.start(r.repo.URL, "prod")
	if e := r.want(publisher.Held, "1.4", was); !strings.HasPrefix(e.Rewritten, "the branch was rewritten: commit "+was) {
		t.Errorf("rewritten %q", e.Rewritten)
	}
}

// TestSlowPublisher has a publisher compile for so long that another one publishes a newer head. It must not take that for a branch
// that was moved back.
func TestSlowPublisher(t *testing.T) {
	r := newRig(t, "prod")
	r.want(publisher.Published, "1.1", r.repo.Head())
	slow := r.routes(2, 10)
	fast := newerRig(r)
	r.before = func(j publisher.Job) error {
		r.before = nil
		if j.Commit != slow {
			t.Errorf("compiles %s, want %s", j.Commit, slow)
		}
		r.routes(3, 10)
		return fast.Once(t.Context())
	}
	if err := r.round(); err != nil {
		t.Fatal(err)
	}
	r.has(publisher.Published, "1.2", r.repo.Head())
	if r.said("rewritten=") != 0 {
		t.Errorf("log\n%s", r.log.String())
	}
}

// newerRig is a second publisher of the same.
func newerRig(r *rig) *publisher.Publisher {
	r.t.Helper()
	clone, err := gitclone.Open(gitclone.Options{Repository: r.repo.URL, Ref: "main", Dir: r.t.TempDir()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(clone.Close)
	p, err := publisher.New(publisher.Options{
		Clone: clone, Environments: []string{"prod"}, To: r.open(), Place: r.at, Compile: compileHere, Compare: compare, Now: r.clock.Now,
		Keys: func() (*publisher.Keys, error) {
			return &publisher.Keys{Release: r.release, Channel: r.channel, Trust: r.trust}, nil
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// TestTwoPublishers has another one publish the same commit in between: it is published once.
func TestTwoPublishers(t *testing.T) {
	r := newRig(t, "prod")
	host := testkit.BundleServer(t)
	r.at = host.URL
	r.start(r.repo.URL, "prod")
	r.want(publisher.Published, "1.1", r.repo.Head())
	second := r.routes(2, 10)
	other, raced := newerRig(r), false
	host.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/index.json") && !raced {
			raced = true
			if err := other.Once(context.Background()); err != nil {
				t.Errorf("the other: %v", err)
			}
		}
		return false
	})
	r.want(publisher.Published, "1.2", second)
	if !raced || len(r.failures) != 0 || r.said("msg=published ") != 1 {
		t.Errorf("raced %t, failures %q, log\n%s", raced, r.failures, r.log.String())
	}
}

func TestServersAway(t *testing.T) {
	r := newRig(t, "prod")
	host := testkit.BundleServer(t)
	r.at = host.URL
	r.start(r.repo.URL, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	second := r.routes(2, 10)
	host.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if err := r.round(); err == nil {
		t.Fatal("nothing is wrong")
	}
	e := r.env("prod")
	if e.State != publisher.Failed || e.Reason != "destination" || e.Published.Version != "1.1" || e.NextTry.Sub(r.clock.Now()) != 10*time.Minute {
		t.Errorf("status %+v", e)
	}
	host.Intercept(nil)
	host.Requests()
	_ = r.round() // it wants to be left alone
	if asked := host.Requests(); len(asked) > 0 {
		t.Errorf("asked %q although it wants to be left alone", asked)
	}
	r.clock.Advance(10 * time.Minute)
	r.want(publisher.Published, "1.2", second)

	// the repository goes, and comes back with a new head
	away := r.repo.Dir + ".away"
	if err := os.Rename(r.repo.Dir, away); err != nil {
		t.Fatal(err)
	}
	if err := r.round(); err == nil {
		t.Fatal("a repository that is gone can be fetched")
	}
	r.has(publisher.Published, "1.2", second)
	if s := r.p.Status(); s.Error == "" || s.ErrorSince == nil || s.Head.Commit != second {
		t.Errorf("status %+v", s)
	}
	if err := os.Rename(away, r.repo.Dir); err != nil {
		t.Fatal(err)
	}
	third := r.routes(3, 10)
	r.p.Moved("somewhere")
	_ = r.p.Once(t.Context())
	r.has(publisher.Published, "1.2", second) // it waits, as it was told nothing new
	r.p.Moved(third)
	_ = r.p.Once(t.Context())
	r.has(publisher.Published, "1.3", third) // somebody has seen a new head: the repository is there again
	if s := r.p.Status(); s.Error != "" || s.ErrorSince != nil || r.said("can be fetched again") != 1 {
		t.Errorf("status %+v", s)
	}
	if want := []string{"prod destination", " repository"}; !slices.Equal(r.failures, want) {
		t.Errorf("failures %q, want %q", r.failures, want)
	}
}

// TestDistrust stays away from what somebody else has published, from a destination that goes back, and from one that is empty of a
// sudden.
func TestDistrust(t *testing.T) {
	r := newRig(t, "prod")
	first := r.repo.Head()
	r.want(publisher.Published, "1.1", first)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(r.at)); err != nil {
		t.Fatal(err)
	}
	second := r.routes(2, 10)
	r.want(publisher.Published, "1.2", second)
	present := r.at + ".present"
	replace := func(with string) {
		t.Helper()
		if err := os.RemoveAll(r.at); err != nil {
			t.Fatal(err)
		}
		if with != "" {
			if err := os.CopyFS(r.at, os.DirFS(with)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.CopyFS(present, os.DirFS(r.at)); err != nil {
		t.Fatal(err)
	}
	fails := func(reason, text string) {
		t.Helper()
		r.clock.Advance(5 * time.Minute)
		if err := r.round(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("round: %v, want %q", err, text)
		}
		if e := r.env("prod"); e.State != publisher.Failed || e.Reason != reason {
			t.Errorf("status %+v", e)
		}
	}
	r.routes(3, 10)
	replace(old)
	fails("trust", "channel 1.1 is older than 1.2")
	replace("")
	fails("destination", "held channel 1.2 of prod, and now holds none")
	replace(present)
	release, channel, trust := r.release, r.channel, r.trust
	r.makeKeys()
	fails("trust", "read what is published")
	r.keys = errors.New("read key: no such file")
	fails("keys", "no such file")
	r.release, r.channel, r.trust, r.keys = release, channel, trust, nil
	r.clock.Advance(5 * time.Minute)
	r.want(publisher.Published, "1.3", r.repo.Head())
}

// TestRun publishes because of a push alone, and ends with its context.
func TestRun(t *testing.T) {
	r := newRig(t, "prod")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.p.Run(ctx) }()
	testkit.Eventually(t, "the first commit is published", func() bool { return r.env("prod").State == publisher.Published })
	second := r.routes(2, 10)
	r.p.Moved(second)
	testkit.Eventually(t, "the second commit is published", func() bool { return r.env("prod").Published.Commit == second })
	cancel()
	<-done
}

func TestOptions(t *testing.T) {
	r := newRig(t, "prod")
	clone, err := gitclone.Open(gitclone.Options{Repository: r.repo.URL, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clone.Close)
	good := publisher.Options{
		Clone: clone, To: r.open(), Environments: []string{"prod"}, Compile: r.compile, Compare: compare,
		Keys: func() (*publisher.Keys, error) { return nil, nil },
	}
	for name, c := range map[string]struct {
		edit func(*publisher.Options)
		want string
	}{
		"in order":           {func(*publisher.Options) {}, ""},
		"no environment":     {func(o *publisher.Options) { o.Environments = nil }, "publisher: Clone, To, Compile, Compare, Keys and Environments must be set"},
		"no compiler":        {func(o *publisher.Options) { o.Compile = nil }, "publisher: Clone, To, Compile, Compare, Keys and Environments must be set"},
		"an odd environment": {func(o *publisher.Options) { o.Environments = []string{"../prod"} }, `publisher: environment "../prod" is no name of one, or is there twice`},
		"twice the same":     {func(o *publisher.Options) { o.Environments = []string{"a", "a"} }, `publisher: environment "a" is no name of one, or is there twice`},
		"a short life":       {func(o *publisher.Options) { o.Lifetime = time.Second }, "publisher: channels that are valid for 1s would expire before gateways see them"},
	} {
		o := good
		c.edit(&o)
		_, err := publisher.New(o)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
