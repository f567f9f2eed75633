package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/suuupra/gateway/cmd/internal/gating"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/runtime/activate"
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
	change, err := k.change(s)
	if err != nil {
		return gate.Verdict{}, err
	}
	change.Back, change.Ask = s.Back, s.Mode == activate.Gated
	rules, now := s.Running.Gateway.Rules(), time.Now()
	if !s.Back && (rules.DryRun != nil || s.Mode != activate.Auto) {
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
