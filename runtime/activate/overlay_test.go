package activate_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// slower is the overlay that gives the first route of a program another timeout.
func (g *gateway) slower(p *ir.Program, s bundle.Strategy) *bundle.Overlay {
	g.t.Helper()
	after := *p
	after.Routes = slices.Clone(p.Routes)
	after.Routes[0].Forward.Timeout = 9999
	changes, err := overlay.Between(p, &after)
	if err != nil {
		g.t.Fatal(err)
	}
	now := g.clock.Now()
	return &bundle.Overlay{ID: "inc", Name: p.Gateway.Name, Environment: p.Environment, Strategy: s, IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(time.Hour)), Changes: changes}
}

func (g *gateway) timeout() int64 { return g.holder.Peek().Routes()[0].Plan.Forward.Timeout }

// lays lays overlays, and wants the outcome of the only one.
func (g *gateway) lays(want overlay.State, list ...*bundle.Overlay) {
	g.t.Helper()
	if err := g.Overlay(g.t.Context(), list, "", nil); err != nil {
		g.t.Fatal(err)
	}
	g.outcome(want)
}

func (g *gateway) outcome(want overlay.State) {
	g.t.Helper()
	got := overlay.State("")
	for _, o := range g.Overlays() {
		got = o.State
	}
	if got != want {
		g.t.Errorf("the overlay is %q, want %q: %+v", got, want, g.Overlays())
	}
}

func TestOverlay(t *testing.T) {
	g := start(t, setup{mode: activate.Auto, dir: t.TempDir()})
	if err := g.Overlay(t.Context(), nil, "inc", nil); !errors.Is(err, activate.ErrNothing) {
		t.Errorf("over nothing: %v", err)
	}
	one := g.program(1)
	g.mustOffer(one)
	before, archive := g.holder.Peek().Info, mustArchive(t, g)
	o := g.slower(one, bundle.GitWins)

	// Nothing is laid that cannot be kept, or has no effect.
	full := errors.New("disk full")
	if err := g.Overlay(t.Context(), []*bundle.Overlay{o}, "inc", func() error { return full }); !errors.Is(err, full) || g.timeout() != 1001 {
		t.Errorf("%v, timeout %d", err, g.timeout())
	}
	var without *overlay.IneffectiveError
	if err := g.Overlay(t.Context(), []*bundle.Overlay{o}, "other", func() error { t.Error("kept"); return nil }); !errors.As(err, &without) {
		t.Errorf("%v", err)
	}
	kept := false
	if err := g.Overlay(t.Context(), []*bundle.Overlay{o}, "inc", func() error { kept = g.timeout() == 1001; return nil }); err != nil || !kept || g.timeout() != 9999 {
		t.Fatalf("%v, timeout %d", err, g.timeout())
	}
	info := g.holder.Peek().Info
	if info.Digest != before.Digest || info.ContentDigest != before.ContentDigest || info.Position != before.Position || !slices.Equal(info.Overlays, []string{"inc"}) {
		t.Errorf("%+v", info)
	}
	if string(mustArchive(t, g)) != string(archive) {
		t.Error("what is kept is not what was published")
	}

	// It stays with a renewed channel, and when something else changes; not when its object does.
	if err := g.Offer(t.Context(), g.pub.Channel(g.pub.Bundle(one), nil), "renewed"); err != nil || g.timeout() != 9999 {
		t.Errorf("%v, timeout %d", err, g.timeout())
	}
	other := g.program(1)
	other.Routes[1].Forward.Timeout = 7
	g.mustOffer(other)
	g.outcome(overlay.Active)
	g.mustOffer(g.program(2))
	g.outcome(overlay.Aside)
	if g.timeout() != 1002 || strings.Count(g.log.String(), "an overlay has no effect") != 1 {
		t.Errorf("timeout %d", g.timeout())
	}
	g.mustOffer(one)
	g.outcome(overlay.Active)

	// It is there after a restart, before anything serves; and ends.
	next := g.again(nil)
	next.lays("", o)
	next.restore("1.5")
	next.outcome(overlay.Active)
	if next.timeout() != 9999 {
		t.Errorf("timeout %d", next.timeout())
	}
	next.clock.Advance(time.Hour)
	next.lays("", o)
	if next.timeout() != 1001 || len(next.holder.Peek().Info.Overlays) != 0 {
		t.Errorf("it has not ended: timeout %d", next.timeout())
	}
}

// TestOverlayHolds has a bundle wait for an overlay, unless it is the way back.
func TestOverlayHolds(t *testing.T) {
	g := start(t, setup{mode: activate.Auto})
	one := g.program(1)
	g.mustOffer(one)
	g.lays(overlay.Active, g.slower(one, bundle.Manual))
	g.mustOffer(g.program(2))
	g.want("1.1")
	if p := g.Status().Pending; p == nil || p.Why != `held: overlay inc: route "a" was changed in the repository, too; remove the overlay, or wait for its end` {
		t.Fatalf("pending is %+v", p)
	}
	if err := g.Reconsider(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.want("1.1")
	g.lays("")
	if err := g.Reconsider(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.want("1.2")
	g.lays(overlay.Active, g.slower(g.program(2), bundle.Manual))
	g.mustOffer(one) // served before
	g.want("1.3")
	g.outcome(overlay.Aside)
}

// TestOverlayForAnother: what is signed for another repository is never laid, whoever handed it in.
func TestOverlayForAnother(t *testing.T) {
	g := start(t, setup{mode: activate.Auto})
	o := g.slower(g.program(1), bundle.LiveWins)
	o.Name = "another"
	g.lays("", o)
	g.mustOffer(g.program(1))
	g.outcome(overlay.Aside)
	if g.timeout() != 1001 {
		t.Errorf("timeout %d", g.timeout())
	}
}

// TestOverlayLeavesOthersAlone: whoever's clock is slow does not set aside what was there before.
func TestOverlayLeavesOthersAlone(t *testing.T) {
	g := start(t, setup{mode: activate.Auto})
	one := g.program(1)
	g.mustOffer(one)
	first := g.slower(one, bundle.GitWins)
	g.lays(overlay.Active, first)
	second := *first
	second.ID, second.IssuedAt = "other", bundle.TimeOf(g.clock.Now().Add(-time.Minute))
	var without *overlay.IneffectiveError
	err := g.Overlay(t.Context(), []*bundle.Overlay{first, &second}, "other", nil)
	if !errors.As(err, &without) || !strings.HasPrefix(without.Why, "it would set overlay inc aside: ") {
		t.Errorf("%v", err)
	}
	g.outcome(overlay.Active)
}

// TestOverlayCannotBeBuilt: whatever an overlay holds, what is published serves.
func TestOverlayCannotBeBuilt(t *testing.T) {
	g := start(t, setup{mode: activate.Auto})
	one := g.program(1)
	o := g.slower(one, bundle.LiveWins)
	o.Changes[0].After = json.RawMessage(strings.Replace(string(o.Changes[0].After), `"type":"http"`, `"type":"teleport"`, 1))
	g.lays("", o)
	g.mustOffer(one)
	g.outcome(overlay.Aside)
	if why := g.Overlays()[0].Why; g.timeout() != 1001 || !strings.HasPrefix(why, "the bundle cannot be built with it: ") || !strings.Contains(why, "teleport") {
		t.Errorf("timeout %d, %s", g.timeout(), why)
	}
	var without *overlay.IneffectiveError
	if err := g.Overlay(t.Context(), []*bundle.Overlay{o}, "inc", nil); !errors.As(err, &without) {
		t.Errorf("%v", err)
	}
	g.want("1.1")

	// What cannot even be written down costs no other overlay.
	o.Changes[0].After = json.RawMessage(strings.Replace(string(o.Changes[0].After), "teleport", "x y", 1))
	after := *one
	after.Routes = slices.Clone(one.Routes)
	after.Routes[1].Forward.Timeout = 7
	changes, err := overlay.Between(one, &after)
	if err != nil {
		t.Fatal(err)
	}
	good := &bundle.Overlay{ID: "good", Name: o.Name, Environment: o.Environment, Strategy: bundle.GitWins, IssuedAt: bundle.TimeOf(g.clock.Now().Add(-time.Minute)), ExpiresAt: o.ExpiresAt, Changes: changes}
	if err := g.Overlay(t.Context(), []*bundle.Overlay{o, good}, "", nil); err != nil {
		t.Fatal(err)
	}
	if got := g.holder.Peek().Info.Overlays; !slices.Equal(got, []string{"good"}) || g.timeout() != 1001 {
		t.Errorf("active: %q; %+v", got, g.Overlays())
	}
}
