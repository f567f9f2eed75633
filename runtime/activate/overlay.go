package activate

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
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
		err = effect(outcomes, must, a.Overlays())
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

// effect reports whether an overlay does what it is there for, and leaves those alone that were there before.
func effect(outcomes []overlay.Outcome, id string, before []overlay.Outcome) error {
	for _, was := range before {
		i := slices.IndexFunc(outcomes, func(o overlay.Outcome) bool { return o.ID == was.ID })
		if was.State == overlay.Active && was.ID != id && i >= 0 && outcomes[i].State == overlay.Aside {
			return &overlay.IneffectiveError{Why: fmt.Sprintf("it would set overlay %s aside: %s", was.ID, outcomes[i].Why)}
		}
	}
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
	if err == nil && (v.Bundle.Digest() != current.Info.Digest || v.Position != current.Info.Position) {
		err = fmt.Errorf("what was kept is version %s, bundle %s, and not what runs", v.Position, v.Bundle.Digest().Short())
	}
	return v, err
}

// build builds the snapshot of a bundle with the overlays laid over it. No overlay keeps a bundle from being served: if it cannot be
// built with them, the one that came last is left out, and so on.
func (a *Activator) build(ctx context.Context, v *bundle.Verdict, prev *snapshot.Snapshot) (*snapshot.Snapshot, []overlay.Outcome, error) {
	var out []overlay.Outcome // left out
	for list := a.lasting(); ; {
		content, outcomes, err := a.lay(v.Bundle, list)
		if err == nil {
			var next *snapshot.Snapshot
			if next, err = a.o.Builder.Over(ctx, v, content, active(outcomes), prev); err == nil {
				return next, append(outcomes, out...), nil
			}
		}
		if len(list) == 0 || ctx.Err() != nil {
			return nil, nil, fmt.Errorf("build: %w", err)
		}
		last := list[len(list)-1]
		list = list[:len(list)-1]
		out = append(out, overlay.Outcome{ID: last.ID, State: overlay.Aside, Why: "the bundle cannot be built with it: " + err.Error()})
	}
}

func active(outcomes []overlay.Outcome) []string {
	var out []string
	for i := range outcomes {
		if outcomes[i].State == overlay.Active {
			out = append(out, outcomes[i].ID)
		}
	}
	return out
}

// lasting are the overlays that have not ended, in the order in which they are laid.
func (a *Activator) lasting() []*bundle.Overlay {
	now := a.o.Now()
	return overlay.Ordered(slices.DeleteFunc(slices.Clone(a.overlays), func(o *bundle.Overlay) bool { return !now.Before(o.ExpiresAt.Time) }))
}

// lay lays overlays over a bundle. Without any that has an effect, it is the bundle itself. A panic is an error: what somebody has signed
// must not end the gateway.
func (a *Activator) lay(b *bundle.Bundle, list []*bundle.Overlay) (content *bundle.Bundle, outcomes []overlay.Outcome, err error) {
	if len(list) == 0 {
		return b, nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			a.o.Metrics.Panicked()
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	base, err := ir.Unpack(b)
	if err != nil {
		return nil, nil, err
	}
	judge := a.o.Judge
	if judge == nil {
		judge = func(Mode, *ir.Program, *ir.Program) string { return "" }
	}
	mode := min(slices.Index(modes, Mode(base.Gateway.Rules().Sync)), slices.Index(modes, a.o.Mode))
	laid, outcomes := overlay.Lay(base, list, func(before, after *ir.Program) string { return judge(modes[max(0, mode)], before, after) })
	if laid == base {
		return b, outcomes, nil
	}
	content, err = overlay.Pack(b, laid)
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
