package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/source"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// gatekeeper judges each step from what runs to a candidate, by the rules of what runs. The publisher has done the same: this is for
// the day on which its keys are in other hands.
type gatekeeper struct {
	trust     *bundle.Trust
	env       string
	log       *slog.Logger
	activator *activate.Activator
	approvals func(ctx context.Context) ([][]byte, error)
	dry       *dryRuns

	// The last comparison, which is asked for again with each poll while a candidate waits. The activator asks one at a time.
	compared      gate.Change
	before, after *ir.Program
	told          string // what was last said about approvals that do not count
}

func newGatekeeper(c *config, log *slog.Logger, trust *bundle.Trust, from *source.Source) *gatekeeper {
	return &gatekeeper{trust: trust, env: c.Env, log: log, approvals: from.Approvals, dry: newDryRuns(log, c.State)}
}

// gate is what an activator asks; nil without a gatekeeper.
func (k *gatekeeper) gate() activate.Gate {
	if k == nil {
		return nil
	}
	return k.judge
}

// judge implements activate.Gate.
func (k *gatekeeper) judge(ctx context.Context, s activate.Step) (gate.Verdict, error) {
	if s.Back {
		return gate.Verdict{}, nil // whoever is in trouble waits for nothing, not even for a comparison
	}
	rules, now := s.Running.Gateway.Rules(), time.Now()
	change := gate.Change{Base: s.Running.Info.Digest, Candidate: s.Candidate.Bundle.Digest()}
	asked := rules.DryRun != nil || s.Mode != activate.Auto // live requests are
	if asked || len(rules.Gates) > 0 || !ordinary(s, rules) {
		var err error
		if change, err = k.change(s); err != nil {
			return gate.Verdict{}, err
		}
	}
	change.Ask = s.Mode == activate.Gated
	if asked {
		var err error
		if change.DryRun, err = k.dry.ask(ctx, step{change.Base, change.Candidate}, k.before, k.after, rules.DryRun); err != nil {
			return gate.Verdict{}, err
		}
	}
	if v := gate.Judge(change, rules, nil, now); v.Open() {
		return v, nil // nobody has to be asked
	}
	envelopes, err := k.approvals(ctx)
	if err != nil {
		return gate.Verdict{}, err
	}
	good, bad := gate.Verify(envelopes, bundle.Check{Trust: k.trust, Environment: k.env, Name: s.Running.Info.Name, Now: now})
	k.tell(bad)
	return gate.Judge(change, rules, good, now), nil
}

// ordinary reports whether a change is none that the rules of every environment are about. It costs next to nothing, where to compare
// ten thousand routes takes seconds: without gates, that is all there is to know.
func ordinary(s activate.Step, rules *ir.GitOps) bool {
	if s.Next == nil || len(s.Next.Routes()) == 0 || len(s.Running.Info.Overlays)+len(s.Next.Info.Overlays) > 0 {
		return false // with overlays, what serves is not what is judged
	}
	stays := make(map[string]bool, len(s.Next.Routes()))
	for _, r := range s.Next.Routes() {
		stays[r.Info.ID] = true
	}
	removed := 0
	for _, r := range s.Running.Routes() {
		if !stays[r.Info.ID] {
			removed++
		}
	}
	guarded := func(r *snapshot.Route) bool { return diff.Guarded(&r.Plan) }
	lost := slices.ContainsFunc(s.Running.Routes(), guarded) && !slices.ContainsFunc(s.Next.Routes(), guarded)
	return !lost && !gate.TooMany(removed, len(s.Running.Routes()), rules)
}

// forget drops what was compared: two programs, which nobody needs once the candidate waits no longer.
func (k *gatekeeper) forget() {
	k.dry.stop()
	k.compared, k.before, k.after = gate.Change{}, nil, nil
}

// change compares what runs with the candidate.
func (k *gatekeeper) change(s activate.Step) (gate.Change, error) {
	base, candidate := s.Running.Info.Digest, s.Candidate.Bundle.Digest()
	if k.compared.Base == base && k.compared.Candidate == candidate {
		return k.compared, nil
	}
	before, err := k.running()
	if err != nil {
		return gate.Change{}, fmt.Errorf("read what runs: %w", err)
	}
	after, err := ir.Unpack(s.Candidate.Bundle)
	if err != nil {
		return gate.Change{}, err
	}
	c, _ := gating.Change(before, after)
	c.Base, c.Candidate = base, candidate
	k.compared, k.before, k.after = c, before, after
	return c, nil
}

// running is the program that runs, from its exact bytes.
func (k *gatekeeper) running() (*ir.Program, error) {
	data, err := k.activator.Archive()
	if err != nil {
		return nil, err
	}
	raw, err := bundle.DecodeArchive(data)
	if err != nil {
		return nil, err
	}
	v, err := bundle.Peek(raw) // it was verified when it was activated
	if err != nil {
		return nil, err
	}
	return ir.Unpack(v.Bundle)
}

// tell says which approvals do not count, once.
func (k *gatekeeper) tell(bad []error) {
	text := fmt.Sprint(bad)
	if len(bad) == 0 || text == k.told {
		return
	}
	k.told = text
	for _, err := range bad {
		k.log.Warn("an approval does not count", slog.Any("error", err))
	}
}
