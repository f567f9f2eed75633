package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// published is what is current at a place for an environment.
type published struct {
	program  *ir.Program // nil: nothing is
	digest   bundle.Digest
	position bundle.Position
	hold     *bundle.Hold
}

// current reads what is published. With a trust file it is verified, expired or not: its rules are what a change is judged by.
func current(ctx context.Context, d depot.Depot, env string, trust *bundle.Trust) (*published, error) {
	got, err := depot.Fetch(ctx, d, depot.Request{Environment: env})
	if errors.Is(err, depot.ErrNotFound) {
		return &published{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is published: %w", err)
	}
	var v *bundle.Verdict
	if trust == nil {
		v, err = bundle.Peek(got.Raw)
	} else {
		v, err = bundle.Verify(got.Raw, bundle.Check{Trust: trust, Environment: env, Now: time.Now(), Retained: true})
	}
	if err != nil {
		return nil, fmt.Errorf("read what is published: %w", err)
	}
	p := &published{digest: v.Bundle.Digest(), position: v.Position}
	if v.Channel != nil {
		p.hold = v.Channel.Hold
	}
	if p.program, err = ir.Unpack(v.Bundle); err != nil {
		return nil, fmt.Errorf("read what is published: %w", err)
	}
	return p, nil
}

// change is the step from what is published to a bundle.
func (p *published) change(b *bundle.Bundle) (gate.Change, *diff.Report, error) {
	after, err := ir.Unpack(b)
	if err != nil {
		return gate.Change{}, nil, err
	}
	c, report := gating.Change(p.program, after)
	c.Base, c.Candidate = p.digest, b.Digest()
	return c, report, nil
}

// judge asks the rules of what is published about a change. Without a trust file no approval counts.
func (p *published) judge(ctx context.Context, d depot.Depot, env string, c gate.Change, trust *bundle.Trust) (gate.Verdict, error) {
	if p.program == nil || c.Base == c.Candidate {
		return gate.Verdict{}, nil
	}
	rules := p.program.Gateway.Rules()
	var approvals []gate.Approved
	if trust != nil {
		view, err := d.Look(ctx, env, "")
		if err != nil {
			return gate.Verdict{}, fmt.Errorf("read the approvals: %w", err)
		}
		envelopes, _, err := depot.Approvals(ctx, view, env)
		if err != nil {
			return gate.Verdict{}, fmt.Errorf("read the approvals: %w", err)
		}
		approvals, _ = gate.Verify(envelopes, bundle.Check{Trust: trust, Environment: env, Name: p.program.Gateway.Name, Now: time.Now()})
	}
	return gate.Judge(c, rules, approvals, time.Now()), nil
}

// refused tells which rules hold a change, and how to approve of it.
func refused(cmd *cobra.Command, v gate.Verdict, env, to string, digest bundle.Digest, trusted bool) error {
	w := cmd.ErrOrStderr()
	gating.Write(w, v.Refusals)
	fmt.Fprintf(w, "\nThe bundle waits at %s. Whoever may approve of it looks at it and signs:\n", to)
	fmt.Fprintf(w, "  gwctl approve %s --env %s --to %s --trust trust.json --key approver.key --reason \"...\"\n", digest, env, to)
	if trusted {
		fmt.Fprintln(w, "Then run apply again.")
	} else {
		fmt.Fprintln(w, "Then run apply again, with --trust, by which approvals are verified.")
	}
	return &codeError{exitRefused, fmt.Errorf("the change of %s is held by %s; nothing was published", env, count(len(v.Refusals), "rule"))}
}
