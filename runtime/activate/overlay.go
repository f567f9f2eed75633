package activate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// Overlays returns what became of the overlays with what serves.
func (a *Activator) Overlays() []overlay.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.laid)
}

// Overlay lays these overlays over what serves, and over every bundle that follows, in place of those before. It judges nothing but what
// comes of them: whoever calls it has verified them.
//
// With a name in must, that overlay has to have an effect; keep is called once it is certain that it has one, and before it serves. Either
// error leaves everything as it was.
func (a *Activator) Overlay(ctx context.Context, list []*bundle.Overlay, must string, keep func() error) error {
	a.work.Lock()
	defer a.work.Unlock()
	current, before := a.running(), a.overlays
	if current == nil {
		if must != "" {
			return ErrNothing
		}
		a.overlays = list // Restore, or the first Offer, lays them
		return nil
	}
	v, err := a.verdict(current)
	if err != nil {
		return fmt.Errorf("read what runs: %w", err)
	}
	a.overlays = list
	next, outcomes, err := a.build(ctx, v, current)
	if err == nil && must != "" {
		err = effect(outcomes, must)
	}
	if err == nil && keep != nil {
		err = keep()
	}
	if err != nil {
		a.overlays = before
		if next != nil {
			next.Release()
		}
		return err
	}
	next.Info.Floor = current.Info.Floor
	a.o.Swap(next)
	a.mu.Lock()
	a.current = next
	a.mu.Unlock()
	a.settle(outcomes)
	a.o.Log.Info("overlays laid", slog.Any("active", next.Info.Overlays), slog.Int("routesKept", next.Reuse.RoutesKept), slog.Int("routesBuilt", next.Reuse.RoutesBuilt))
	return nil
}

// effect reports whether an overlay does what it is there for.
func effect(outcomes []overlay.Outcome, id string) error {
	i := slices.IndexFunc(outcomes, func(o overlay.Outcome) bool { return o.ID == id })
	switch {
	case i < 0 || outcomes[i].State == overlay.Done:
		return &overlay.IneffectiveError{Why: "what runs is as the overlay wants it already"}
	case outcomes[i].State == overlay.Aside:
		return &overlay.IneffectiveError{Why: outcomes[i].Why}
	}
	return nil
}

// verdict is the running bundle again, which was verified when it was activated.
func (a *Activator) verdict(current *snapshot.Snapshot) (*bundle.Verdict, error) {
	archive, err := a.Archive()
	if err != nil {
		return nil, err
	}
	raw, err := bundle.DecodeArchive(archive)
	if err != nil {
		return nil, err
	}
	v, err := bundle.Peek(raw)
	if err == nil && v.Bundle.Digest() != current.Info.Digest {
		err = fmt.Errorf("what was kept is bundle %s, not %s", v.Bundle.Digest().Short(), current.Info.Digest.Short())
	}
	return v, err
}

// build builds the snapshot of a bundle with the overlays laid over it. No overlay keeps a bundle from being served: if it cannot be
// built with them, it is built without.
func (a *Activator) build(ctx context.Context, v *bundle.Verdict, prev *snapshot.Snapshot) (*snapshot.Snapshot, []overlay.Outcome, error) {
	content, outcomes, err := a.lay(v.Bundle)
	if err != nil {
		return nil, nil, fmt.Errorf("build: %w", err)
	}
	var active []string
	for i := range outcomes {
		if outcomes[i].State == overlay.Active {
			active = append(active, outcomes[i].ID)
		}
	}
	var with error
	if len(active) > 0 {
		var next *snapshot.Snapshot
		if next, with = a.o.Builder.Over(ctx, v, content, active, prev); with == nil {
			return next, outcomes, nil
		}
		for i := range outcomes {
			if outcomes[i].State == overlay.Active {
				outcomes[i].State, outcomes[i].Why = overlay.Aside, "the bundle cannot be built with it: "+with.Error()
			}
		}
	}
	next, err := a.o.Builder.Build(ctx, v, prev)
	if err != nil {
		return nil, nil, fmt.Errorf("build: %w", err)
	}
	return next, outcomes, nil
}

// lay lays the overlays that have not ended over a bundle. Without any, it is the bundle itself.
func (a *Activator) lay(b *bundle.Bundle) (*bundle.Bundle, []overlay.Outcome, error) {
	now := a.o.Now()
	list := slices.DeleteFunc(slices.Clone(a.overlays), func(o *bundle.Overlay) bool { return !now.Before(o.ExpiresAt.Time) })
	if len(list) == 0 {
		return b, nil, nil
	}
	base, err := ir.Unpack(b)
	if err != nil {
		return nil, nil, err
	}
	laid, outcomes := overlay.Lay(base, list, a.o.Judge)
	if laid == base {
		return b, outcomes, nil
	}
	content, err := overlay.Pack(b, laid)
	return content, outcomes, err
}

// settle takes note of what became of the overlays, and says so once.
func (a *Activator) settle(outcomes []overlay.Outcome) {
	a.mu.Lock()
	before := a.laid
	a.laid = outcomes
	a.mu.Unlock()
	for _, o := range outcomes {
		if slices.Contains(before, o) {
			continue
		}
		switch o.State {
		case overlay.Aside:
			a.o.Log.Warn("an overlay has no effect", slog.String("overlay", o.ID), slog.String("why", o.Why))
		case overlay.Done:
			a.o.Log.Info("the repository has what an overlay wants", slog.String("overlay", o.ID))
		}
	}
}

// heldByOverlays are the overlays that a bundle has to wait for.
func heldByOverlays(outcomes []overlay.Outcome) (out []gate.Refusal) {
	for i := range outcomes {
		if o := &outcomes[i]; o.Holds {
			out = append(out, gate.Refusal{Rule: "overlay " + o.ID, Why: o.Why + "; remove the overlay, or wait for its end"})
		}
	}
	return out
}
