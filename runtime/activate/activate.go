// Package activate makes a bundle live: it verifies the exact bytes, builds the snapshot beside the one that serves, swaps,
// and remembers. A candidate that fails any step changes nothing. It must not fetch, and it must not compile.
package activate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// Mode says what becomes of a new channel version. Without anything that serves, the first one is activated in every mode.
type Mode string

// The modes.
const (
	Off    Mode = "off"     // new versions wait
	DryRun Mode = "dry-run" // new versions are verified and built, reported, and not activated
	Gated  Mode = "gated"   // new versions are activated once they are approved
	Auto   Mode = "auto"    // new versions are activated unless a gate holds them
)

// modes from the one that does least.
var modes = []Mode{Off, DryRun, Gated, Auto}

// mode is what becomes of a new version: what this gateway was told, or what the running configuration says of its environment if that
// is less.
func (a *Activator) mode(current *snapshot.Snapshot) Mode {
	asked := slices.Index(modes, Mode(current.Gateway.Rules().Sync)) // one that this version does not know lets nothing happen
	return modes[max(0, min(asked, slices.Index(modes, a.o.Mode)))]
}

// Options are what an Activator is made of.
type Options struct {
	Trust       *bundle.Trust
	Environment string
	Runtime     string // version of this gwrun
	Mode        Mode
	Builder     *snapshot.Builder
	Swap        func(next *snapshot.Snapshot) // makes it the running one
	Gate        Gate                          // nil: nothing is held
	// Judge says why an overlay may not make a change, in the mode that the gateway is in; nil: it may.
	Judge   func(mode Mode, before, after *ir.Program) string
	Told    func(Event)  // hears what becomes of candidates, once for each reason, and must not block; nil: nobody does
	Store   *state.Store // nil: nothing is kept across restarts
	Metrics *telemetry.Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// Activator activates one bundle at a time.
type Activator struct {
	o Options

	work  sync.Mutex      // one Offer or Restore at a time: it may take as long as a slow disk
	floor bundle.Position // that nothing older may follow: the newest that was ever activated
	full  bool            // the running bundle is not in the store
	// held is the candidate that waits for approvals, or for the right time; nil: none.
	held   *candidate
	served []bundle.Digest // manifests that served before, the latest last
	// overlays are laid over whatever serves, until they end.
	overlays []*bundle.Overlay

	mu      sync.Mutex         // guards what follows; never held for long
	current *snapshot.Snapshot // what serves; held alive by the holder that Swap fills
	status  Status
	etag    string
	fresh   []byte // the running bundle's archive, until it is kept
	kept    []byte // the same, compressed, if it cannot be read from a store
	laid    []overlay.Outcome
}

// Event is what became of a candidate: it waits, it was refused, or else it serves.
type Event struct {
	Position       bundle.Position // zero if it was refused before it could be read
	Before, Digest bundle.Digest   // manifests: what served, and the candidate
	Commit         string
	Waits          string   // why it waits
	Reason, Error  string   // why it was refused: the stable word, and the text
	Approvers      []string // keys of those who approved of it
}

func (a *Activator) tell(e Event) {
	if a.o.Told != nil {
		a.o.Told(e)
	}
}

// Status is what is known about activations.
type Status struct {
	ActivatedAt time.Time // of what serves; moves only when the digest changes
	Failure     *Failure  // of the newest candidate; gone with the next success
	Pending     *Pending  // a good candidate that the mode keeps waiting
}

// Failure says why the newest candidate does not serve.
type Failure struct {
	Reason  string // stable, snake_case
	Message string
	Since   time.Time
}

// Pending is a candidate that waits.
type Pending struct {
	Position bundle.Position
	Digest   bundle.Digest
	Why      string
	Refusals []gate.Refusal // by the rules that hold it; none if the mode alone does
}

// New returns an Activator.
func New(o Options) *Activator { return &Activator{o: o} }

// Status returns a copy of the status.
func (a *Activator) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// ETag is the state of the source that was last activated: what a source is asked about, so that a version whose
// activation failed is fetched again.
func (a *Activator) ETag() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.etag
}

// running is what serves; only whoever holds work changes it.
func (a *Activator) running() *snapshot.Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// Restore activates the newest kept bundle that still verifies. An expired channel is no reason to stay down: the gateway
// serves what it served before, and says so. It reports whether one was found. Even if none is, nothing older than what ran
// before will be activated.
func (a *Activator) Restore(ctx context.Context) (bool, error) {
	if a.o.Store == nil {
		return false, nil
	}
	a.work.Lock()
	defer a.work.Unlock()
	st, err := a.o.Store.Load()
	if err != nil { // the bundles themselves say how far this gateway had come
		a.o.Log.Error("the state file is damaged; going by the kept bundles", slog.Any("error", err))
	}
	if st.Environment != "" && st.Environment != a.o.Environment { // positions of one environment say nothing about another
		a.o.Log.Warn("the state directory was used for another environment", slog.String("before", st.Environment), slog.String("now", a.o.Environment))
		st = state.State{}
	}
	a.floor = st.Position
	gens, err := a.o.Store.Generations()
	if err != nil {
		return false, err
	}
	for _, g := range gens {
		if err := a.restore(ctx, g, st); err != nil {
			a.o.Log.Error("a kept bundle cannot be used", slog.Int64("epoch", g.Epoch), slog.Int64("version", g.Version), slog.Any("error", err))
			continue
		}
		return true, nil
	}
	return false, nil
}

func (a *Activator) restore(ctx context.Context, g state.Generation, st state.State) error {
	data, err := a.o.Store.Read(g)
	if err != nil {
		return err
	}
	raw, err := bundle.DecodeArchive(data)
	if err != nil {
		return err
	}
	v, err := a.verify(raw, bundle.Position{}, true)
	if err != nil {
		return err
	}
	if at := v.Position; at.Epoch != g.Epoch || at.Version != g.Version {
		return fmt.Errorf("the file holds version %s", at)
	}
	next, outcomes, err := a.build(ctx, v, nil)
	if err != nil {
		return err
	}
	at, etag := a.o.Now(), ""
	switch order := next.Info.Position.Compare(st.Position); {
	case order < 0: // the floor stays where it was
		a.o.Log.Warn("serving an older bundle than before the restart", slog.String("running", next.Info.Position.String()), slog.String("before", st.Position.String()))
		next.Info.Floor = st.Position
	case next.Info.Position == st.Position:
		at, etag = st.ActivatedAt, st.ETag
	}
	a.live(next, at, etag, nil)
	a.settle(outcomes)
	a.o.Log.Info("started from the last good bundle", attrs(next)...)
	if !a.o.Now().Before(next.Info.ExpiresAt) {
		a.o.Log.Error("the channel of the last good bundle has expired; serving it, and activating nothing until a newer one is published",
			slog.Time("expiredAt", next.Info.ExpiresAt))
	}
	return nil
}

// Offer judges a fetched bundle and activates it, if the mode lets it. etag is the state of the source it came from. The
// error says why it does not serve; a candidate that waits, or that serves already, is none.
func (a *Activator) Offer(ctx context.Context, raw *bundle.Raw, etag string) error {
	a.work.Lock()
	defer a.work.Unlock()
	return a.outcome(ctx, a.offer(ctx, raw, etag))
}

// outcome takes note of what became of a candidate.
func (a *Activator) outcome(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return err // the gateway stops; that says nothing about the bundle
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.refused(err)
		return err
	}
	if a.status.Failure != nil {
		a.status.Failure = nil
		a.o.Metrics.ActivationRecovered() // also if the candidate waits, or serves already
	}
	return nil
}

func (a *Activator) offer(ctx context.Context, raw *bundle.Raw, etag string) error {
	v, err := a.verify(raw, a.floor, false)
	if err != nil {
		return err
	}
	current := a.running()
	if current != nil && v.Position == current.Info.Position {
		return a.again(raw, current, etag)
	}
	a.held = nil // what waited is not what the source offers now
	renewed := current != nil && v.Bundle.Digest() == current.Info.Digest
	c := &candidate{verdict: v, etag: etag}
	if current != nil && !renewed && a.mode(current) == Off {
		a.wait(c, "sync is off", nil)
		return nil
	}
	if c.archive, err = bundle.EncodeArchive(raw); err != nil {
		return err
	}
	return a.consider(ctx, c, current)
}

// consider builds a candidate, and swaps it in unless something holds it.
func (a *Activator) consider(ctx context.Context, c *candidate, current *snapshot.Snapshot) error {
	v, start := c.verdict, a.o.Now()
	next, outcomes, err := a.build(ctx, v, current)
	if err != nil {
		return err
	}
	if current != nil && current.Info.Digest != next.Info.Digest {
		open, err := a.passes(ctx, c, current, next, outcomes)
		if err != nil || !open {
			next.Release()
			return err
		}
	}
	at := a.o.Now()
	switch {
	case current == nil:
	case current.Info.Digest == next.Info.Digest:
		at = a.Status().ActivatedAt // only the channel was renewed
	default:
		a.served = append(a.served[max(0, len(a.served)-remembered+1):], current.Info.Digest)
	}
	a.live(next, at, c.etag, c.archive)
	a.settle(outcomes)
	a.held = nil
	told := Event{Position: next.Info.Position, Digest: next.Info.Digest, Commit: next.Info.Commit, Approvers: c.approvers}
	if current != nil {
		told.Before = current.Info.Digest
	}
	a.tell(told)
	a.o.Log.Info("activated", append(attrs(next), slog.Duration("took", a.o.Now().Sub(start)),
		slog.Int("routesKept", next.Reuse.RoutesKept), slog.Int("routesBuilt", next.Reuse.RoutesBuilt),
		slog.Int("upstreamsKept", next.Reuse.UpstreamsKept), slog.Int("upstreamsBuilt", next.Reuse.UpstreamsBuilt))...)
	a.keep(c.archive, next, c.etag, at)
	return nil
}

// again takes note that the source offers what serves already: nothing waits any more, and what a full disk could not keep is
// tried once more.
func (a *Activator) again(raw *bundle.Raw, current *snapshot.Snapshot, etag string) error {
	a.held = nil
	a.mu.Lock()
	a.etag, a.status.Pending = etag, nil
	at := a.status.ActivatedAt
	a.mu.Unlock()
	if !a.full {
		return nil
	}
	archive, err := bundle.EncodeArchive(raw)
	if err != nil {
		return err
	}
	a.keep(archive, current, etag, at)
	return nil
}

// verify judges a bundle in the order of the design. Without a channel nothing is known about its age, so it is refused.
func (a *Activator) verify(raw *bundle.Raw, last bundle.Position, retained bool) (*bundle.Verdict, error) {
	if raw.Channel == nil {
		return nil, bundle.Refuse(bundle.ChannelMissing, "the bundle has no channel, so nobody can say whether it is the current one; publish it with gwctl apply, or put a channel into the file with gwctl sign --channel-key")
	}
	return bundle.Verify(raw, a.check(last, retained))
}

func (a *Activator) check(last bundle.Position, retained bool) bundle.Check {
	c := bundle.Check{
		Trust: a.o.Trust, Environment: a.o.Environment, Runtime: a.o.Runtime, Now: a.o.Now(), Last: last, Retained: retained,
	}
	if current := a.running(); current != nil { // another repository's bundle may be signed by the same keys
		c.Name = current.Info.Name
	}
	return c
}

// live makes a snapshot the running one.
func (a *Activator) live(next *snapshot.Snapshot, at time.Time, etag string, archive []byte) {
	a.o.Swap(next)
	if next.Info.Position.Compare(a.floor) >= 0 {
		a.floor = next.Info.Position
	}
	a.mu.Lock()
	a.current, a.etag, a.fresh, a.kept = next, etag, archive, nil
	a.status.ActivatedAt, a.status.Pending = at, nil
	a.mu.Unlock()
	a.o.Metrics.Activated(telemetry.Activation{
		Digest: string(next.Info.Digest), Commit: next.Info.Commit, Environment: next.Info.Environment,
		Version: uint64(next.Info.Position.Version), At: at, ExpiresAt: next.Info.ExpiresAt,
	})
}

// wait notes a candidate that does not serve. It is logged once for each reason.
func (a *Activator) wait(c *candidate, why string, by []gate.Refusal) {
	if a.held = nil; c.archive != nil { // it was judged, and may be judged otherwise later
		a.held = c
	}
	p := Pending{Position: c.verdict.Position, Digest: c.verdict.Bundle.Digest(), Why: why, Refusals: by}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.status.Pending
	a.status.Pending = &p
	if before == nil || before.Position != p.Position || withoutNumbers(before.Why) != withoutNumbers(p.Why) {
		a.o.Log.Info("a new bundle waits", slog.String("version", p.Position.String()), slog.String("digest", string(p.Digest)), slog.String("why", why))
		a.tell(Event{Position: p.Position, Before: a.current.Info.Digest, Digest: p.Digest, Commit: c.verdict.Bundle.Manifest.Source.Commit, Waits: why})
	}
}

// withoutNumbers is what stays the same of a reason while a dry run counts.
func withoutNumbers(why string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, why)
}

// keep stores the exact bytes. A disk that fails does not undo the activation: the gateway serves the new bundle, keeps its
// bytes in memory, says that a restart would go back, and tries again with the next offer.
func (a *Activator) keep(archive []byte, next *snapshot.Snapshot, etag string, at time.Time) {
	if a.o.Store != nil {
		err := a.o.Store.Save(archive, state.State{
			Position: next.Info.Position, Environment: a.o.Environment, ETag: etag, ActivatedAt: at,
		})
		if a.full = err != nil; a.full {
			a.o.Log.Error("the bundle could not be kept; a restart without its source would go back to the one before", slog.Any("error", err))
		}
	}
	var kept []byte
	if a.o.Store == nil || a.full {
		var err error
		if kept, err = deflate(archive); err != nil {
			a.o.Log.Error("the bundle could not be kept in memory", slog.Any("error", err))
			return
		}
	}
	a.mu.Lock()
	a.fresh, a.kept = nil, kept
	a.mu.Unlock()
}

// Reason is the stable word for why an offer failed, a label of metrics.
func Reason(err error) string {
	var refusal *bundle.Error
	var judge *judgeError
	switch {
	case errors.As(err, &refusal):
		return string(refusal.Reason)
	case errors.As(err, &judge):
		return "gate_failed"
	}
	return "build_failed"
}

func attrs(s *snapshot.Snapshot) []any {
	return []any{
		slog.String("version", s.Info.Position.String()), slog.String("digest", string(s.Info.Digest)),
		slog.String("commit", s.Info.Commit), slog.Int("routes", s.Info.Routes),
	}
}
