package activate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// doorman is a gate that a test opens and closes.
type doorman struct {
	closed bool
	by     []string // who has approved
	err    error
	asked  []activate.Step
}

func (d *doorman) judge(_ context.Context, s activate.Step) (gate.Verdict, error) {
	d.asked = append(d.asked, s)
	v := gate.Verdict{Approvers: d.by}
	if d.closed {
		v.Refusals = []gate.Refusal{{Rule: `gate "doors"`, Why: "the change opens one", Codes: []string{"AUTH_REMOVED"}, Want: 2, Have: 1}}
	}
	return v, d.err
}

func TestGate(t *testing.T) {
	door := &doorman{closed: true}
	g := start(t, setup{mode: activate.Auto, gate: door.judge})
	g.mustOffer(g.program(1))
	if g.want("1.1"); len(door.asked) != 0 {
		t.Error("the first bundle was judged: there was nothing to compare it with")
	}
	shared := g.shared.Len()
	second := g.mustOffer(g.program(2))
	g.want("1.1")
	const why = `held: gate "doors" (1 of 2 approvals): the change opens one`
	if p := g.Status().Pending; p == nil || p.Why != why || len(p.Refusals) != 1 || p.Position.String() != "1.2" || g.ETag() != "etag-1.1" {
		t.Fatalf("pending is %+v", p)
	}
	for range 3 {
		if err := g.Reconsider(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if g.want("1.1"); strings.Count(g.log.String(), "a new bundle waits") != 1 || g.swaps != 1 || len(door.asked) != 4 {
		t.Errorf("%d swaps, asked %d times, logged:\n%s", g.swaps, len(door.asked), g.log)
	}
	testkit.Eventually(t, "what was built to see is closed", func() bool { return g.shared.Len() == shared })

	door.closed = false
	if err := g.Reconsider(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.want("1.2"); g.Status().Pending != nil || g.ETag() != "etag-1.2" {
		t.Errorf("pending is %+v, etag %q", g.Status().Pending, g.ETag())
	}
	asked := len(door.asked)
	if err := g.Reconsider(t.Context()); err != nil || len(door.asked) != asked {
		t.Errorf("judged although nothing waits: %v", err)
	}

	door.closed = true // a channel that is renewed changes nothing
	if err := g.Offer(t.Context(), g.pub.Channel(g.pub.Bundle(g.program(2)), nil), "etag-1.3"); err != nil || len(door.asked) != asked {
		t.Errorf("a renewed channel was judged: %v", err)
	}
	g.want("1.3")
	if err := g.Offer(t.Context(), second, "old"); err == nil {
		t.Error("an older channel was taken")
	}
}

// TestGateKnowsTheWayBack tells the gate which candidates served before: here, or by what the channel says.
func TestGateKnowsTheWayBack(t *testing.T) {
	door := &doorman{}
	g := start(t, setup{mode: activate.Auto, gate: door.judge})
	for _, n := range []int{1, 2, 3, 1} {
		g.mustOffer(g.program(n))
	}
	third := g.pub.Bundle(g.program(3)).Digest()
	if err := g.Offer(t.Context(), g.pub.Channel(g.pub.Bundle(g.program(4)), func(c *bundle.Channel) { c.Replaces = g.pub.Bundle(g.program(9)).Digest() }), "e"); err != nil {
		t.Fatal(err)
	}
	g.mustOffer(g.program(9))
	var back []bool
	for _, s := range door.asked {
		back = append(back, s.Back)
	}
	if want := []bool{false, false, true, false, true}; len(back) != 5 || back[2] != want[2] || back[3] != want[3] || back[4] != want[4] || back[0] || back[1] {
		t.Errorf("back: %v, want %v (third is %s)", back, want, third.Short())
	}
}

func TestGateFails(t *testing.T) {
	door := &doorman{err: errors.New("the approvals cannot be read")}
	g := start(t, setup{mode: activate.Auto, gate: door.judge})
	g.mustOffer(g.program(1))
	_, err := g.offer(g.program(2))
	if err == nil || activate.Reason(err) != "gate_failed" || g.Status().Failure == nil || g.Status().Pending != nil {
		t.Errorf("a judge that fails: %v, %+v", err, g.Status())
	}
	g.want("1.1")
}

// TestHeldExpires lets the channel of a candidate that waits expire: approvals come too late.
func TestHeldExpires(t *testing.T) {
	door := &doorman{closed: true}
	g := start(t, setup{mode: activate.Auto, gate: door.judge})
	g.mustOffer(g.program(1))
	g.mustOffer(g.program(2))
	door.closed = false
	g.clock.Advance(2 * time.Hour)
	if err := g.Reconsider(t.Context()); activate.Reason(err) != string(bundle.ChannelExpired) {
		t.Errorf("approved after it expired: %v", err)
	}
	g.want("1.1")
}

// TestModesOfTheRepository goes by what the running configuration says, if that is less than what the gateway was told.
func TestModesOfTheRepository(t *testing.T) {
	for _, c := range []struct {
		told      activate.Mode
		says      string
		runs, why string
		mode      activate.Mode
	}{
		{activate.Auto, "auto", "1.2", "", activate.Auto},
		{activate.Auto, "gated", "1.2", "", activate.Gated},
		{activate.Gated, "auto", "1.2", "", activate.Gated},
		{activate.Auto, "dry-run", "1.1", "sync is in dry-run; it verifies and builds", activate.DryRun},
		{activate.DryRun, "auto", "1.1", "sync is in dry-run; it verifies and builds", activate.DryRun},
		{activate.Auto, "off", "1.1", "sync is off", ""},
		{activate.Auto, "sometimes", "1.1", "sync is off", ""},
	} {
		door := &doorman{}
		g := start(t, setup{mode: c.told, gate: door.judge})
		first := g.program(1)
		first.Gateway.GitOps = &ir.GitOps{Sync: c.says}
		g.mustOffer(first)
		g.mustOffer(g.program(2)) // the new one says auto: it does not count yet
		g.want(c.runs)
		if p := g.Status().Pending; (p == nil) != (c.why == "") || p != nil && p.Why != c.why {
			t.Errorf("told %s, says %s: pending %+v, want %q", c.told, c.says, p, c.why)
		}
		if len(door.asked) > 0 && door.asked[0].Mode != c.mode {
			t.Errorf("told %s, says %s: asked in mode %s", c.told, c.says, door.asked[0].Mode)
		}
	}
	door := &doorman{closed: true}
	g := start(t, setup{mode: activate.DryRun, gate: door.judge})
	g.mustOffer(g.program(1))
	g.mustOffer(g.program(2))
	if p := g.Status().Pending; p == nil || p.Why != `sync is in dry-run; otherwise it would be held: gate "doors" (1 of 2 approvals): the change opens one` {
		t.Errorf("dry-run before a closed gate: %+v", p)
	}
	door.closed = false
	if err := g.Reconsider(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.want("1.1"); g.Status().Pending.Why != "sync is in dry-run; it verifies and builds" {
		t.Errorf("dry-run before an open gate: %+v", g.Status().Pending)
	}
}

// TestTold tells of each thing once: what serves, what waits and why, what was refused.
func TestTold(t *testing.T) {
	var events []string
	door := &doorman{}
	g := start(t, setup{mode: activate.Auto, gate: door.judge, told: func(e activate.Event) {
		events = append(events, fmt.Sprintf("%s waits=%t %s before=%t %q", e.Position, e.Waits != "", e.Reason, e.Before != "", e.Approvers))
	}})
	g.mustOffer(g.program(1))
	door.closed = true
	g.mustOffer(g.program(2))
	for range 3 {
		if err := g.Reconsider(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	door.closed, door.by = false, []string{"ada"}
	if err := g.Reconsider(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad := g.program(3)
	bad.Routes[0].Target.Upstream = "nowhere"
	for range 2 {
		if err := g.Offer(t.Context(), g.pub.Channel(g.pub.Bundle(bad), func(c *bundle.Channel) { c.Version, g.pub.Version = 3, 3 }), "e"); err == nil {
			t.Fatal("it was taken")
		}
	}
	want := []string{
		`1.1 waits=false  before=false []`,
		`1.2 waits=true  before=true []`,
		`1.2 waits=false  before=true ["ada"]`,
		`0.0 waits=false build_failed before=true []`,
	}
	if !slices.Equal(events, want) {
		t.Errorf("told\n%q\nwant\n%q", events, want)
	}
}
