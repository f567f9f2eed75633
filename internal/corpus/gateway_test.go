package corpus_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// The versions of the channel: what runs, and what comes next.
const (
	runningVersion = 5
	nextVersion    = 6
)

// gateway is the last three stations: a gwrun without its listeners, which runs the base.
type gateway struct {
	*activate.Activator
	t      *testing.T
	line   *line
	clock  *testkit.Clock
	holder *snapshot.Holder
	env    policy.Env

	approvals [][]byte // that lie beside the bundles
	ignored   []error  // approvals that did not count

	shadow        *simulate.Shadow
	began         time.Time
	before, after *ir.Program
}

func (l *line) gateway(t *testing.T, at time.Time) *gateway {
	t.Helper()
	g := &gateway{t: t, line: l, clock: testkit.NewClock(at), holder: snapshot.NewHolder(snapshot.Empty())}
	log := slog.New(slog.DiscardHandler)
	metrics, err := telemetry.New(telemetry.Build{Version: "1.0.0"})
	must(t, err)
	tracers := telemetry.NewTracers(telemetry.TracerOptions{Metrics: metrics, Log: log})
	g.env = l.world.env(log, g.clock.Now)
	shared := snapshot.NewShared()
	g.Activator = activate.New(activate.Options{
		Trust: l.keys.trust, Environment: "prod", Runtime: "1.0.0", Mode: activate.Auto, Metrics: metrics, Log: log, Now: g.clock.Now, Gate: g.judge,
		Swap: func(next *snapshot.Snapshot) { g.holder.Swap(next) },
		Builder: &snapshot.Builder{
			Kinds: l.tools.Kinds, Targets: l.tools.Targets, Shared: shared, Metrics: metrics, Tracers: tracers, Env: g.env,
			Upstreams: upstream.Env{Secret: l.world.secrets.Get, Dial: nobody},
		},
	})
	t.Cleanup(func() {
		if g.shadow != nil {
			g.shadow.Close()
		}
		old := g.holder.Swap(snapshot.Empty())
		<-old.Done()
		testkit.Eventually(t, "every snapshot is closed", func() bool { return shared.Len() == 0 })
		tracers.Close()
	})
	must(t, g.Offer(t.Context(), l.keys.publish(t, l.bundle, runningVersion, at), "base"))
	return g
}

// offer has the gateway find a bundle at its source, and sees what becomes of it: at once, or once live requests have judged it.
func (g *gateway) offer(raw *bundle.Raw) stop {
	g.t.Helper()
	running := g.holder.Peek()
	if err := g.Offer(g.t.Context(), raw, "candidate"); err != nil {
		if g.holder.Peek() != running {
			g.t.Error("what runs was touched")
		}
		if word := reason(err); word != "" {
			return stop{verification, word}
		}
		return stop{activation, activate.Reason(err)}
	}
	if s := g.held(); s.at != dryRun {
		return s
	}
	g.meet()
	g.clock.Advance(10 * time.Minute)
	must(g.t, g.Reconsider(g.t.Context()))
	return g.held()
}

// held says what the candidate waits for.
func (g *gateway) held() stop {
	p := g.Status().Pending
	if p == nil {
		return stop{traffic, ""}
	}
	others := slices.DeleteFunc(slices.Clone(p.Refusals), func(r gate.Refusal) bool { return r.Rule == "dryRun" })
	switch {
	case len(others) > 0:
		return stop{activation, said(others)}
	case len(p.Refusals) > 0:
		return stop{dryRun, differences(g.shadow.Report())}
	}
	return stop{activation, p.Why}
}

// differences is the gravest way in which each route differs.
func differences(r *simulate.ShadowReport) string {
	var out []string
	for i := range r.Routes {
		for _, way := range simulate.Ways() {
			if r.Routes[i].Ways[way] > 0 {
				out = append(out, string(way)+" on "+r.Routes[i].Route)
				break
			}
		}
	}
	return some(out)
}

// judge is the gatekeeper of gwrun.
func (g *gateway) judge(ctx context.Context, s activate.Step) (gate.Verdict, error) {
	after, err := ir.Unpack(s.Candidate.Bundle)
	if err != nil {
		return gate.Verdict{}, err
	}
	g.before, g.after = g.line.program, after
	c, _ := gating.Change(g.before, g.after)
	c.Base, c.Candidate, c.Back, c.Ask = s.Running.Info.Digest, s.Candidate.Bundle.Digest(), s.Back, s.Mode == activate.Gated
	rules, now := s.Running.Gateway.Rules(), g.clock.Now()
	if !s.Back && rules.DryRun != nil {
		if c.DryRun, err = g.ask(ctx, rules.DryRun); err != nil {
			return gate.Verdict{}, err
		}
	}
	good, bad := gate.Verify(g.approvals, bundle.Check{Trust: g.line.keys.trust, Environment: "prod", Name: s.Running.Info.Name, Now: now})
	g.ignored = bad
	return gate.Judge(c, rules, good, now), nil
}

// ask begins to judge live requests, and returns what was found until now.
func (g *gateway) ask(ctx context.Context, rules *ir.DryRun) (*gate.DryRun, error) {
	if g.shadow == nil {
		s, err := simulate.NewShadow(ctx, g.before, g.after, simulate.ShadowOptions{Tools: g.line.tools, Env: g.env, Percent: int(rules.Percent)})
		if err != nil {
			return nil, err
		}
		g.shadow, g.began = s, g.clock.Now()
	}
	r := g.shadow.Report()
	out := &gate.DryRun{
		Requests: r.Requests, For: g.clock.Now().Sub(g.began), DenyToAllow: r.Ways[simulate.DenyToAllow], AllowToDeny: r.Ways[simulate.AllowToDeny],
	}
	out.Others = r.Differences() - out.DenyToAllow - out.AllowToDeny
	return out, nil
}

// meet shows the live requests to the shadow, and waits until they are judged.
func (g *gateway) meet() {
	g.t.Helper()
	n := int64(0)
	for _, r := range g.line.world.live {
		for range r.times {
			g.shadow.See(g.holder.Peek(), r.request(g.clock.Now()))
			n++
		}
	}
	testkit.Eventually(g.t, "the live requests are judged", func() bool { r := g.shadow.Report(); return r.Requests+r.Dropped == n })
	if d := g.shadow.Report().Dropped; d > 0 {
		g.t.Errorf("%d requests were dropped", d)
	}
}
