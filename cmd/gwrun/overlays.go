package main

import (
	"context"
	"fmt"
	"time"

	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/internal/audit"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// openOverlays makes what keeps the overlays of this gateway; nil: there is no key that may sign one.
func (s *station) openOverlays(o *stationOptions) *overlays.Set {
	if o.dev || !o.trust.Lists(bundle.RoleOverlay, s.c.Env) {
		return nil
	}
	opts := overlays.Options{
		Trust: o.trust, Environment: s.c.Env, Told: s.trail.overlaid(), Log: s.log, Now: time.Now,
		Running: func() (bundle.Digest, string) {
			info := &s.gateway.Running().Info
			return info.Digest, info.Name
		},
		Lay: func(ctx context.Context, list []*bundle.Overlay, must string, keep func() error) error {
			return withRoom(func() error { return s.activator.Overlay(ctx, list, must, keep) })
		},
	}
	if s.redis != nil {
		opts.Shared = s.redis
	}
	if o.store != nil {
		opts.Kept = o.store
	}
	return overlays.New(opts)
}

// overlaid is what the admin API changes overlays through; nil: none are taken.
func (s *station) overlaid() admin.Overlays {
	if s.overlays == nil {
		return nil
	}
	return s.overlays
}

// judgeOverlay says which rule holds a change that an overlay makes. The rules are those of the configuration that it is laid over.
// Windows do not count: an overlay is for the hour in which something burns. Nor is it tried on live requests first, or approved of:
// what needs approvals goes through the repository, from where going back takes no longer.
func judgeOverlay(mode activate.Mode, before, after *ir.Program) string {
	if mode != activate.Auto {
		return fmt.Sprintf("sync is %s: nothing is changed here without somebody's approval", mode)
	}
	change, _ := gating.Change(before, after)
	change.Base = "overlaid" // by no bundle; what matters is that there is something to compare with
	rules := *before.Gateway.Rules()
	rules.Windows, rules.DryRun = nil, nil
	v := gate.Judge(change, &rules, nil, time.Now())
	if v.Open() {
		return ""
	}
	r := &v.Refusals[0]
	text := fmt.Sprintf("%s: %s", r.Rule, r.Why)
	if len(r.Risks) > 0 {
		text += "; " + r.Risks[0].Message
	}
	return text + "; such a change goes through the repository"
}

// override is the class of drift that overlays are.
func (s *station) override() drift.Class {
	if s.overlays == nil {
		return drift.Live(nil)
	}
	state := map[string]overlay.Outcome{}
	for _, o := range s.activator.Overlays() {
		state[o.ID] = o
	}
	var lines []string
	for _, e := range s.overlays.List() {
		if state[e.ID].State != overlay.Active {
			continue
		}
		lines = append(lines, fmt.Sprintf("overlay %s until %s, by %s: %s", e.ID, e.ExpiresAt.UTC().Format(time.RFC3339), e.By, e.Reason))
	}
	return drift.Live(lines)
}

// overlaid records what becomes of overlays by itself, or at other gateways; nil without a trail.
func (t *trail) overlaid() func(overlays.Event) {
	if t == nil {
		return nil
	}
	actions := map[overlays.What]audit.Action{
		overlays.Arrived: audit.OverlayUpdate, overlays.Withdrawn: audit.OverlayDelete, overlays.Expired: audit.OverlayExpire,
	}
	return func(e overlays.Event) {
		r := audit.Record{Actor: audit.Actor{Kind: audit.System}, Action: actions[e.What], Object: e.ID, Outcome: audit.Success, Reason: string(e.What)}
		if e.What == overlays.Arrived {
			r.Actor, r.After = audit.Actor{Kind: audit.Key, ID: e.By}, e.Digest
		} else {
			r.Before = e.Digest
		}
		t.queue(r)
	}
}
