package overlays_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/schema/bundle"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// board is what gateways share, in memory; package redisstate has the real one.
type board struct {
	mu   sync.Mutex
	all  map[string][]byte
	fail error
}

func (b *board) Overlays(context.Context) (map[string][]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string][]byte{}
	for id, e := range b.all {
		out[id] = e
	}
	return out, b.fail
}

func (b *board) SwapOverlay(_ context.Context, id string, before, next []byte, _ time.Time) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch there := b.all[id]; {
	case b.fail != nil:
		return false, b.fail
	case there == nil && next == nil:
		return true, nil
	case !bytes.Equal(there, before):
		return false, nil
	case there == nil && len(b.all) >= bundle.MaxOverlays:
		return false, overlays.ErrFull
	}
	if delete(b.all, id); next != nil {
		b.all[id] = next
	}
	return true, nil
}

// gateway is a set with what stands around it.
type gateway struct {
	*overlays.Set
	clock  *testkit.Clock
	laid   []string // ids, as they were laid last
	lays   int
	refuse error
	events []overlays.Event
	log    bytes.Buffer
}

type world struct {
	key   bundle.Signer
	trust *bundle.Trust
	clock *testkit.Clock
	board *board
}

var base = bundle.DigestOf([]byte("base"))

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := bundle.GenerateKey(bundle.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := bundle.TrustKeyOf(key.Public(), bundle.RoleOverlay, "prod")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := bundle.TrustFile{Keys: []bundle.TrustKey{entry}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := bundle.ParseTrust(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &world{key: key, trust: trust, clock: testkit.NewClock(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)), board: &board{all: map[string][]byte{}}}
}

func (w *world) gateway(shared overlays.Shared, kept overlays.Kept) *gateway {
	g := &gateway{clock: w.clock}
	g.Set = overlays.New(overlays.Options{
		Trust: w.trust, Environment: "prod", Shared: shared, Kept: kept, Running: func() (bundle.Digest, string) { return base, "shop" },
		Told: func(e overlays.Event) { g.events = append(g.events, e) }, Log: slog.New(slog.NewTextHandler(&g.log, nil)), Now: w.clock.Now,
		Lay: func(_ context.Context, list []*bundle.Overlay, _ string, keep func() error) error {
			if g.refuse != nil {
				return g.refuse
			}
			if keep != nil {
				if err := keep(); err != nil {
					return err
				}
			}
			g.lays++
			g.laid = nil
			for _, o := range list {
				g.laid = append(g.laid, o.ID)
			}
			return nil
		},
	})
	return g
}

func (w *world) sign(t *testing.T, id string, change func(*bundle.Overlay)) []byte {
	t.Helper()
	now := w.clock.Now()
	o := bundle.Overlay{
		ID: id, Name: "shop", Environment: "prod", Base: base, Strategy: bundle.GitWins, Reason: "ticket 42",
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(time.Hour)), Patch: "routes: []\n",
		Changes: []bundle.Change{{Kind: bundle.KindRoutes, ID: id, After: json.RawMessage(`{"id":"` + id + `"}`)}},
	}
	if change != nil {
		change(&o)
	}
	out, err := bundle.SignOverlay(o, w.key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func code(err error) string {
	var e *overlays.Error
	if errors.As(err, &e) {
		return e.Code
	}
	var r *bundle.Error
	if errors.As(err, &r) {
		return string(r.Reason)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestPutAndRemove(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	g := w.gateway(w.board, nil)
	first, err := g.Put(ctx, w.sign(t, "a", nil), "")
	if err != nil || first.ID != "a" || first.Key != w.key.Public().ID() || !slices.Equal(g.laid, []string{"a"}) || len(w.board.all) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	w.clock.Advance(time.Second)
	again := w.sign(t, "a", func(o *bundle.Overlay) { o.Reason = "better" })
	for name, c := range map[string]struct {
		do   func() error
		want string
	}{
		"of the same name":    {func() error { _, err := g.Put(ctx, again, ""); return err }, "overlay_exists"},
		"of an older version": {func() error { _, err := g.Put(ctx, again, base); return err }, "precondition_failed"},
		"of none":             {func() error { _, err := g.Put(ctx, w.sign(t, "b", nil), base); return err }, "no_such_overlay"},
		"for another bundle": {func() error {
			_, err := g.Put(ctx, w.sign(t, "b", func(o *bundle.Overlay) { o.Base = bundle.DigestOf([]byte("x")) }), "")
			return err
		}, "base_differs"},
		"not signed":            {func() error { _, err := g.Put(ctx, []byte("{}"), ""); return err }, "payload_type"},
		"removing none":         {func() error { _, err := g.Remove(ctx, "b", base); return err }, "no_such_overlay"},
		"removing another one":  {func() error { _, err := g.Remove(ctx, "a", base); return err }, "precondition_failed"},
		"removing without care": {func() error { _, err := g.Remove(ctx, "a", ""); return err }, "overlay_exists"},
	} {
		if err := c.do(); code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	g.refuse = &overlay.IneffectiveError{Why: "a gate"}
	if _, err := g.Put(ctx, w.sign(t, "b", nil), ""); code(err) != "overlay_without_effect" || len(w.board.all) != 1 || len(g.List()) != 1 {
		t.Errorf("%v", err)
	}
	g.refuse = nil
	second, err := g.Put(ctx, again, first.Digest)
	if err != nil || g.Get("a").Reason != "better" {
		t.Errorf("%+v, %v", second, err)
	}
	if _, err := g.Remove(ctx, "a", second.Digest); err != nil || len(g.laid) != 0 || len(g.List()) != 0 || len(w.board.all) != 0 {
		t.Errorf("%v, left %v", err, g.laid)
	}
	for i := range bundle.MaxOverlays {
		if _, err := g.Put(ctx, w.sign(t, string(rune('a'+i)), nil), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Put(ctx, w.sign(t, "zz", nil), ""); code(err) != "too_many_overlays" {
		t.Errorf("%v", err)
	}
	if len(g.events) != 0 {
		t.Errorf("what was asked for is told: %v", g.events)
	}
}

func TestGatewaysAgree(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	a, b := w.gateway(w.board, nil), w.gateway(w.board, nil)
	e, err := a.Put(ctx, w.sign(t, "inc", nil), "")
	if err != nil {
		t.Fatal(err)
	}
	b.Follow(ctx)
	b.Follow(ctx)
	if !slices.Equal(b.laid, []string{"inc"}) || b.lays != 1 || !slices.Equal(b.events, []overlays.Event{{ID: "inc", What: overlays.Arrived, By: e.Key, Digest: e.Digest}}) {
		t.Fatalf("%v, %v", b.laid, b.events)
	}
	// Both replace it: one is too late.
	w.clock.Advance(time.Second)
	if _, err := b.Put(ctx, w.sign(t, "inc", nil), e.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Put(ctx, w.sign(t, "inc", func(o *bundle.Overlay) { o.Reason = "mine" }), e.Digest); code(err) != "precondition_failed" || a.Get("inc").Digest != e.Digest {
		t.Errorf("%v", err)
	}
	if _, err := a.Remove(ctx, "inc", e.Digest); code(err) != "precondition_failed" || a.Get("inc") == nil {
		t.Errorf("what somebody else has replaced is removed: %v", err)
	}
	a.Follow(ctx)
	if a.Get("inc").Digest != b.Get("inc").Digest {
		t.Error("they do not agree")
	}
	// One gateway takes it away, and the other follows.
	if _, err := a.Remove(ctx, "inc", a.Get("inc").Digest); err != nil {
		t.Fatal(err)
	}
	b.Follow(ctx)
	if len(b.laid) != 0 || b.events[len(b.events)-1].What != overlays.Withdrawn {
		t.Errorf("%v, %v", b.laid, b.events)
	}
	// What is shared is away: nothing is changed, and what is known stays until it ends.
	if _, err := a.Put(ctx, w.sign(t, "inc", nil), ""); err != nil {
		t.Fatal(err)
	}
	b.Follow(ctx)
	w.board.fail = policy.ErrStateAway
	b.Follow(ctx)
	b.Follow(ctx)
	if _, err := b.Put(ctx, w.sign(t, "more", nil), ""); !errors.Is(err, policy.ErrStateAway) || !slices.Equal(b.laid, []string{"inc"}) {
		t.Errorf("%v, %v", err, b.laid)
	}
	if n := strings.Count(b.log.String(), "cannot be read"); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.clock.Advance(time.Hour)
	b.Follow(ctx)
	if len(b.laid) != 0 || b.events[len(b.events)-1].What != overlays.Expired {
		t.Errorf("%v, %v", b.laid, b.events)
	}
	w.board.fail = nil
	b.Follow(ctx)
	if len(w.board.all) != 0 {
		t.Error("what has ended is still shared")
	}
}

// Whoever can write to what is shared can take overlays away, and no more.
func TestForgery(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	g := w.gateway(w.board, nil)
	stranger := newWorld(t)
	good := w.sign(t, "good", nil)
	for id, data := range map[string][]byte{
		"good": good, "other-name": good, "forged": stranger.sign(t, "forged", nil), "noise": []byte("\x00\xff"), "": good,
		"release": w.sign(t, "release", func(o *bundle.Overlay) { o.Environment = "staging" }),
	} {
		w.board.all[id] = data
	}
	g.Follow(ctx)
	g.Follow(ctx)
	if !slices.Equal(g.laid, []string{"good"}) {
		t.Errorf("laid %v", g.laid)
	}
	if n := strings.Count(g.log.String(), "an overlay does not count"); n != 4 { // what lies there twice is told once
		t.Errorf("told %d times:\n%s", n, &g.log)
	}
}

// TestFailure: what cannot be laid is tried again, and told once.
func TestFailure(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	g := w.gateway(w.board, nil)
	w.board.all["inc"] = w.sign(t, "inc", nil)
	g.refuse = errors.New("no certificate")
	for range 2 {
		if g.Follow(ctx) || len(g.List()) != 0 || strings.Count(g.log.String(), "no certificate") != 1 {
			t.Errorf("%v:\n%s", g.List(), &g.log)
		}
	}
	g.refuse = nil
	if !g.Follow(ctx) || !slices.Equal(g.laid, []string{"inc"}) {
		t.Errorf("laid %v", g.laid)
	}
	// Two gateways take the last places at the same time.
	for i := range bundle.MaxOverlays - 1 {
		id := string(rune('a' + i))
		w.board.all[id] = w.sign(t, id, nil)
	}
	if _, err := g.Put(ctx, w.sign(t, "zz", nil), ""); code(err) != "too_many_overlays" {
		t.Errorf("%v", err)
	}
}

// TestStale: what was removed while a gateway was down does not come back with a restart without Redis.
func TestStale(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if _, err := w.gateway(w.board, store).Put(ctx, w.sign(t, "inc", nil), ""); err != nil {
		t.Fatal(err)
	}
	clear(w.board.all)
	w.gateway(w.board, store).Load(ctx)
	w.board.fail = policy.ErrStateAway
	g := w.gateway(w.board, store)
	g.Load(ctx)
	if len(g.laid) != 0 {
		t.Errorf("back again: %v", g.laid)
	}
}

func TestRestart(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for name, shared := range map[string]overlays.Shared{"alone": nil, "with others": w.board} {
		g := w.gateway(shared, store)
		if shared == nil {
			g = w.gateway(nil, store) // a nil interface, not one that holds nil
		}
		e, err := g.Put(ctx, w.sign(t, "inc", nil), "")
		if err != nil {
			t.Fatal(name, err)
		}
		w.board.fail = policy.ErrStateAway
		next := w.gateway(shared, store)
		next.Load(ctx)
		if !slices.Equal(next.laid, []string{"inc"}) || next.Get("inc").Digest != e.Digest {
			t.Errorf("%s: after a restart: %v", name, next.laid)
		}
		w.board.fail = nil
		if _, err := next.Remove(ctx, "inc", e.Digest); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		last := w.gateway(shared, store)
		last.Load(ctx)
		if len(last.laid) != 0 {
			t.Errorf("%s: back again: %v", name, last.laid)
		}
	}
	if err := store.KeepOverlays([]byte("{")); err != nil {
		t.Fatal(err)
	}
	g := w.gateway(nil, store)
	g.Load(ctx)
	if !strings.Contains(g.log.String(), "cannot be read") || len(g.laid) != 0 {
		t.Errorf("a damaged file: %s", &g.log)
	}
}

// TestRun ends an overlay by itself, by the real clock.
func TestRun(t *testing.T) {
	w := newWorld(t)
	g := w.gateway(w.board, nil)
	if _, err := g.Put(t.Context(), w.sign(t, "inc", nil), ""); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	w.clock.Advance(time.Hour)
	testkit.Eventually(t, "it has ended", func() bool { return len(g.List()) == 0 })
	stop()
	<-done
}
