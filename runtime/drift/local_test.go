package drift_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/telemetry"
)

// noon is when the tests that move a clock begin.
func noon() *testkit.Clock { return testkit.NewClock(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)) }

func TestAnotherCompilerIsNotDrift(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route, "README.md": "x\n"})
	first := repo.Head()
	g := &gateway{}
	g.run(drift.Running{Commit: first, ContentDigest: "sha256:of-an-older-compiler", Environment: "production"})
	w := newWatcher(t, g, drift.Options{Repository: repo.Dir, Ref: "main"})
	repo.Commit("readme", map[string]string{"README.md": "y\n"})
	r := w.Check(t.Context())
	want(t, r, "behind_no_change behind=1 ahead=0 differs=no others=1")
	if !r.CompilerDiffers {
		t.Error("the report does not say that another compiler made what runs")
	}
	repo.Commit("route", map[string]string{"routes/b.yaml": route})
	want(t, w.Check(t.Context()), "drift behind=2 ahead=0 differs=yes added:routes/b.yaml others=1")
	if n := g.compiles(); n != 3 {
		t.Errorf("compiled %d times, want the running commit and two heads", n)
	}
}

func TestDirtyRunsAreCompiled(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	clean := g.Running()
	g.run(drift.Running{Commit: clean.Commit, ContentDigest: "sha256:uncommitted", Environment: "production", Dirty: true})
	w := newWatcher(t, g, drift.Options{Repository: repo.Dir})
	want(t, w.Check(t.Context()), "drift behind=0 ahead=0 differs=yes")
	clean.Dirty = true // dirty, but nothing that matters
	g.run(clean)
	want(t, w.Check(t.Context()), "in_sync behind=0 ahead=0 differs=no")
	if n := g.compiles(); n != 1 {
		t.Errorf("compiled one commit %d times", n)
	}
}

// A commit the compiler gives up on is tried again, ever less often.
func TestCompileThatBreaksOff(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	repo.Commit("heavy", map[string]string{"routes/b.yaml": "exhaust: true\n"})
	clock := noon()
	w := newWatcher(t, g, drift.Options{Repository: repo.Dir, Now: clock.Now})
	for minute, n := range []int{1, 2, 2, 3, 3, 3, 3, 4} {
		r := w.Check(t.Context())
		want(t, r, "unknown behind=1 ahead=0 differs=unknown added:routes/b.yaml")
		if !strings.HasPrefix(r.Error, "compile "+repo.Head()) || !strings.HasSuffix(r.Error, "out of patience") || r.CheckedAt != clock.Now() {
			t.Errorf("minute %d: error %q, checked at %s", minute, r.Error, r.CheckedAt)
		}
		if c := r.Class(); c.Known || c.Detected {
			t.Errorf("the class claims to know: %+v", c)
		}
		if got := g.compiles(); got != n {
			t.Errorf("minute %d: compiled %d times, want %d", minute, got, n)
		}
		clock.Advance(time.Minute)
	}
	repo.Commit("better", map[string]string{"routes/b.yaml": route})
	r := w.Check(t.Context())
	want(t, r, "drift behind=2 ahead=0 differs=yes added:routes/b.yaml")
	if r.Error != "" {
		t.Errorf("error %q remains", r.Error)
	}
}

func TestEnvironmentsAreCompiledApart(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	repo.Commit("b", map[string]string{"routes/b.yaml": route})
	w := newWatcher(t, g, drift.Options{Repository: repo.Dir})
	w.Check(t.Context())
	r := g.Running()
	r.Environment = "staging"
	g.run(r)
	if got := w.Check(t.Context()); got.State != drift.Drifted || got.Environment != "staging" {
		t.Errorf("got %s in %s", brief(got), got.Environment)
	}
	if len(g.compiled) < 2 || !strings.HasSuffix(g.compiled[len(g.compiled)-2], " staging") {
		t.Errorf("compiled %q", g.compiled)
	}
}

func TestLocalForms(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": route})
	for i := range 4 {
		repo.Commit("more", map[string]string{"README.md": fmt.Sprint(i)})
	}
	old := strings.TrimSpace(repo.Git("rev-parse", "HEAD~4"))
	dir := t.TempDir()
	repo.Git("clone", "--quiet", repo.URL, filepath.Join(dir, "clone"))
	repo.Git("-C", filepath.Join(dir, "clone"), "worktree", "add", "--quiet", filepath.Join(dir, "linked"), "-b", "linked")
	repo.Git("clone", "--quiet", "--depth=2", repo.URL, filepath.Join(dir, "shallow"))
	g := &gateway{}
	g.activate(t, repo.Dir, old, "")
	full := "behind_no_change behind=4 ahead=0 differs=no others=1"
	for name, brf := range map[string]string{
		"clone": full, "clone/.git": full, "linked": full,
		"shallow": "behind_no_change behind=2 ahead=-1 differs=no at-least", // two commits are there; the running one is not
	} {
		want(t, newWatcher(t, g, drift.Options{Repository: filepath.Join(dir, name)}).Check(t.Context()), brf)
	}
	for name, text := range map[string]string{"clone/routes": "is not the top of a git repository", "nowhere": "is not the top of a git repository"} {
		r := newWatcher(t, g, drift.Options{Repository: filepath.Join(dir, name)}).Check(t.Context())
		if !r.Stale || !strings.Contains(r.Error, text) {
			t.Errorf("%s: got error %q, want %q", name, r.Error, text)
		}
	}
}

func TestMergesAreCountedByReach(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	repo.Git("checkout", "--quiet", "-b", "side")
	repo.Commit("side 1", map[string]string{"README.md": "1"})
	repo.Commit("side 2", map[string]string{"README.md": "2"})
	repo.Git("checkout", "--quiet", "main")
	running := repo.Commit("main 1", map[string]string{"NOTES.md": "1"})
	repo.Git("merge", "--quiet", "--no-ff", "--no-edit", "side")
	repo.Git("push", "--quiet", "origin", "HEAD")
	g := &gateway{}
	g.activate(t, repo.Dir, running, "")
	w := newWatcher(t, g, drift.Options{Repository: repo.Dir, Ref: "main"})
	want(t, w.Check(t.Context()), "behind_no_change behind=3 ahead=0 differs=no others=1")
	g.activate(t, repo.Dir, repo.Head(), "")
	w = newWatcher(t, g, drift.Options{Repository: repo.Dir, Ref: "side"})
	want(t, w.Check(t.Context()), "behind_no_change behind=0 ahead=2 differs=no others=1 diverged")
}

// The report is part of the admin API.
func TestReportJSON(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	clock := noon()
	r := newWatcher(t, g, drift.Options{Repository: repo.Dir, Now: clock.Now}).Check(t.Context())
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden := fmt.Sprintf(`{
 "checkedAt": "2026-05-01T12:00:00Z",
 "repository": %q,
 "ref": "refs/heads/main",
 "environment": "production",
 "state": "in_sync",
 "since": "2026-05-01T12:00:00Z",
 "head": %[2]q,
 "headTime": %[3]q,
 "running": %[2]q,
 "runningDigest": %[4]q,
 "commitsBehind": 0,
 "commitsAhead": 0,
 "files": [],
 "otherFiles": 0,
 "filesKnown": true,
 "contentDiffers": "no",
 "headValid": true
}`, repo.Dir, repo.Head(), r.HeadTime.Format(time.RFC3339), g.Running().ContentDigest)
	if string(data) != golden {
		t.Errorf("got %s\nwant %s", data, golden)
	}
}

// metrics is the registry as far as the watcher knows it.
type metrics struct{ got []telemetry.Drift }

func (m *metrics) DriftChecked(d telemetry.Drift) { m.got = append(m.got, d) }

func TestMetricsAndLog(t *testing.T) {
	var _ drift.Metrics = (*telemetry.Metrics)(nil)
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	var log strings.Builder
	m := &metrics{}
	clock := noon()
	dir := filepath.Join(t.TempDir(), "config")
	repo.Git("clone", "--quiet", repo.Dir, dir)
	w := newWatcher(t, g, drift.Options{
		Repository: dir, Metrics: m, Now: clock.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	w.Check(t.Context())
	repo.Git("-C", dir, "symbolic-ref", "HEAD", "refs/heads/gone")
	w.Check(t.Context())
	w.Check(t.Context())
	if len(m.got) != 1 || m.got[0].CommitsBehind != 0 || m.got[0].CheckedAt != clock.Now() {
		t.Errorf("metrics got %+v, want the one check that could be made", m.got)
	}
	if n := strings.Count(log.String(), "drift check failed"); n != 1 {
		t.Errorf("the same failure is logged %d times:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "state=in_sync was=unknown") {
		t.Errorf("log:\n%s", log.String())
	}
}

func TestStoppingSaysNothing(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	w := newWatcher(t, g, drift.Options{Repository: repo.URL})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := w.Check(ctx); r.Stale || r.Error != "" || w.Last().Stale {
		t.Errorf("got %s, error %q", brief(r), r.Error)
	}
}

func TestTimes(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		name     string
		dir      string
		interval time.Duration
		random   float64
		want     []time.Duration // between checks
	}{
		{"steady", repo.Dir, time.Minute, 0.5, []time.Duration{time.Minute, time.Minute, time.Minute}},
		{"early", repo.Dir, time.Minute, 0, []time.Duration{48 * time.Second, 48 * time.Second}},
		{"late", repo.Dir, time.Minute, 1, []time.Duration{72 * time.Second, 72 * time.Second}},
		{"failing", missing, time.Minute, 0.5, []time.Duration{2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute}},
		{"failing slowly", missing, 10 * time.Minute, 0.5, []time.Duration{10 * time.Minute, 10 * time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				at := make(chan time.Time)
				w, err := drift.New(drift.Options{
					Repository: c.dir, Interval: c.interval, Compile: g.Compile, Running: g.Running,
					Rand: func() float64 { return c.random },
					Report: func(drift.Report) {
						select {
						case at <- time.Now():
						case <-ctx.Done():
						}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				go w.Run(ctx)
				last := <-at
				for i, d := range c.want {
					now := <-at
					if now.Sub(last) != d {
						t.Errorf("pause %d is %s, want %s", i, now.Sub(last), d)
					}
					last = now
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// Many hints make one check, and not sooner than two seconds after the last.
func TestTrigger(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var checks atomic.Int64
		w, err := drift.New(drift.Options{
			Repository: repo.Dir, Interval: time.Hour, Compile: g.Compile, Running: g.Running, Report: func(drift.Report) { checks.Add(1) },
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		after := func(d time.Duration, want int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := checks.Load(); n != want {
				t.Fatalf("%d checks, want %d", n, want)
			}
		}
		after(time.Second, 1)
		for range 1000 {
			w.Trigger()
		}
		after(time.Second-time.Millisecond, 1)
		after(2*time.Millisecond, 2)
		after(time.Minute, 2)
		w.Trigger() // long after the last check: at once
		after(0, 3)
		cancel()
		<-done
	})
}

func TestCompileStopsWithTheWatcher(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", map[string]string{"routes/a.yaml": route})
	g := &gateway{}
	g.activate(t, repo.Dir, repo.Head(), "")
	repo.Commit("b", map[string]string{"routes/b.yaml": route})
	started := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	w, err := drift.New(drift.Options{
		Repository: repo.Dir, Running: g.Running,
		Compile: func(ctx context.Context, _, _, _, _ string) (drift.Compiled, error) {
			close(started)
			<-ctx.Done()
			return drift.Compiled{}, errors.New("killed")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	<-started
	cancel()
	<-done
	if r := w.Last(); r.Error != "" || r.State != drift.Unknown {
		t.Errorf("got %s, error %q", brief(r), r.Error)
	}
}
