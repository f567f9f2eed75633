// Package activate makes a bundle live: it verifies the exact bytes, builds the snapshot beside the one that serves, swaps,
// and remembers. A candidate that fails any step changes nothing. It must not fetch, and it must not compile.
package activate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/bundle"
)

// Mode says what becomes of a new channel version. Without anything that serves, the first one is activated in every mode.
type Mode string

// The modes.
const (
	Off    Mode = "off"     // new versions wait
	DryRun Mode = "dry-run" // new versions are verified and built, reported, and not activated
	Auto   Mode = "auto"    // new versions are activated
)

// Options are what an Activator is made of.
type Options struct {
	Trust       *bundle.Trust
	Environment string
	Runtime     string // version of this gwrun
	Mode        Mode
	Builder     *snapshot.Builder
	Swap        func(next *snapshot.Snapshot) // makes it the running one
	Store       *state.Store                  // nil: nothing is kept across restarts
	Metrics     *telemetry.Metrics
	Log         *slog.Logger
	Now         func() time.Time
}

// Activator activates one bundle at a time.
type Activator struct {
	o Options

	mu      sync.Mutex
	current *snapshot.Snapshot // what serves; held alive by the holder that Swap fills
	status  Status
	etag    string
	kept    []byte // the running bundle's archive, compressed, if there is no store to read it from
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

// position is what was last activated.
func (a *Activator) position() bundle.Position {
	if a.current == nil {
		return bundle.Position{}
	}
	return a.current.Info.Position
}

// Restore activates the newest kept bundle that still verifies. An expired channel is no reason to stay down: the gateway
// serves what it served before, and says so. It reports whether one was found.
func (a *Activator) Restore(ctx context.Context) (bool, error) {
	if a.o.Store == nil {
		return false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	st, err := a.o.Store.Load()
	if err != nil { // the bundles themselves say how far this gateway had come
		a.o.Log.Error("the state file is damaged; going by the kept bundles", slog.Any("error", err))
	}
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
	next, err := a.o.Builder.Build(ctx, v, a.current)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	// The floor stays where it was even if an older generation had to be taken.
	if next.Info.Position.Compare(st.Position) < 0 {
		a.o.Log.Warn("serving an older bundle than before the restart", slog.String("running", next.Info.Position.String()), slog.String("before", st.Position.String()))
		next.Info.Floor = st.Position
	}
	if next.Info.Position == st.Position {
		a.etag = st.ETag
	}
	at := st.ActivatedAt
	if at.IsZero() {
		at = a.o.Now()
	}
	a.live(next, at)
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
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.offer(ctx, raw, etag)
	if err == nil {
		a.status.Failure = nil
		return nil
	}
	reason := Reason(err)
	a.o.Metrics.ActivationFailed(reason)
	if f := a.status.Failure; f == nil || f.Message != err.Error() {
		a.status.Failure = &Failure{Reason: reason, Message: err.Error(), Since: a.o.Now()}
		a.o.Log.Error("a new bundle was refused; serving the old one", slog.String("reason", reason), slog.Any("error", err))
	}
	return err
}

func (a *Activator) offer(ctx context.Context, raw *bundle.Raw, etag string) error {
	v, err := a.verify(raw, a.floor(), false)
	if err != nil {
		return err
	}
	if a.current != nil && v.Position == a.position() {
		a.etag = etag
		return nil // it serves already
	}
	if a.current != nil && a.o.Mode == Off {
		a.wait(v, "sync is off")
		return nil
	}
	start := a.o.Now()
	next, err := a.o.Builder.Build(ctx, v, a.current)
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if a.current != nil && a.o.Mode == DryRun {
		a.wait(v, "sync is in dry-run; it verifies and builds")
		next.Release()
		return nil
	}
	at := a.o.Now()
	if a.current != nil && a.current.Info.Digest == next.Info.Digest {
		at = a.status.ActivatedAt // only the channel was renewed
	}
	a.live(next, at)
	a.etag = etag
	a.o.Log.Info("activated", append(attrs(next), slog.Duration("took", a.o.Now().Sub(start)),
		slog.Int("routesKept", next.Reuse.RoutesKept), slog.Int("routesBuilt", next.Reuse.RoutesBuilt),
		slog.Int("upstreamsKept", next.Reuse.UpstreamsKept), slog.Int("upstreamsBuilt", next.Reuse.UpstreamsBuilt))...)
	return a.keep(raw, next, etag, at)
}

// verify judges a bundle in the order of the design. Without a channel nothing is known about its age, so it is refused.
func (a *Activator) verify(raw *bundle.Raw, last bundle.Position, retained bool) (*bundle.Verdict, error) {
	if raw.Channel == nil {
		return nil, bundle.Refuse(bundle.ChannelMissing, "the bundle has no channel, so nobody can say whether it is the current one; publish it with gwctl apply, or put a channel into the file with gwctl sign --channel-key")
	}
	return bundle.Verify(raw, a.check(last, retained))
}

func (a *Activator) check(last bundle.Position, retained bool) bundle.Check {
	return bundle.Check{
		Trust: a.o.Trust, Environment: a.o.Environment, Runtime: a.o.Runtime, Now: a.o.Now(), Last: last, Retained: retained,
	}
}

// floor is the position that nothing older may follow: what serves, or what served before a restart if that was newer.
func (a *Activator) floor() bundle.Position {
	last := a.position()
	if a.current != nil && a.current.Info.Floor.Compare(last) > 0 {
		last = a.current.Info.Floor
	}
	return last
}

// live makes a snapshot the running one.
func (a *Activator) live(next *snapshot.Snapshot, at time.Time) {
	a.o.Swap(next)
	a.current = next
	a.status.ActivatedAt, a.status.Pending = at, nil
	a.o.Metrics.Activated(telemetry.Activation{
		Digest: string(next.Info.Digest), Commit: next.Info.Commit, Environment: next.Info.Environment,
		Version: uint64(next.Info.Position.Version), At: at, ExpiresAt: next.Info.ExpiresAt,
	})
}

func (a *Activator) wait(v *bundle.Verdict, why string) {
	p := Pending{Position: v.Position, Digest: v.Bundle.Digest(), Why: why}
	if a.status.Pending == nil || *a.status.Pending != p {
		a.status.Pending = &p
		a.o.Log.Info("a new bundle waits", slog.String("version", p.Position.String()), slog.String("digest", string(p.Digest)), slog.String("why", why))
	}
}

// keep stores the exact bytes. A disk that fails does not undo the activation: the gateway serves the new bundle, says that
// a restart would go back, and tries again with the next one.
func (a *Activator) keep(raw *bundle.Raw, next *snapshot.Snapshot, etag string, at time.Time) error {
	data, err := bundle.EncodeArchive(raw)
	if err == nil && a.o.Store == nil {
		a.kept, err = deflate(data)
	} else if err == nil {
		err = a.o.Store.Save(data, state.State{Position: next.Info.Position, ETag: etag, ActivatedAt: at})
	}
	if err != nil {
		a.o.Log.Error("the bundle could not be kept; a restart without its source would go back to the one before", slog.Any("error", err))
	}
	return nil
}

// Reason is the stable word for why an offer failed, a label of metrics.
func Reason(err error) string {
	var refusal *bundle.Error
	if errors.As(err, &refusal) {
		return string(refusal.Reason)
	}
	return "build_failed"
}

func attrs(s *snapshot.Snapshot) []any {
	return []any{
		slog.String("version", s.Info.Position.String()), slog.String("digest", string(s.Info.Digest)),
		slog.String("commit", s.Info.Commit), slog.Int("routes", s.Info.Routes),
	}
}
