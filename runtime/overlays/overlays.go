// Package overlays keeps the overlays of an environment: it takes them in, verifies them, shares them with the other gateways of the
// environment, and ends them when their time has come. Gateways that share a Redis have the same overlays; without one, each has its own.
//
// It must not decide what an overlay does to a configuration, which is the business of package internal/overlay, nor who may send one.
package overlays

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/schema/bundle"
)

// Shared is where the gateways of an environment keep their overlays together. Whoever can write to it can take overlays away, and put
// back such as have not ended; making one takes a key.
type Shared interface {
	// Overlays returns the envelopes by id. What is there may be anything.
	Overlays(ctx context.Context) (map[string][]byte, error)
	// SwapOverlay puts next in the place of before, either of which may be nil for none, until a time. It reports whether before was
	// there; nothing is taken away twice, which is well. With as many as there may be, it returns ErrFull.
	SwapOverlay(ctx context.Context, id string, before, next []byte, until time.Time) (bool, error)
}

// ErrFull says that there are as many overlays as there may be.
var ErrFull = fmt.Errorf("there are %d overlays already", bundle.MaxOverlays)

// pollEvery is how often Shared is asked.
const pollEvery = 2 * time.Second

// Kept is where this gateway keeps its overlays for a restart. Store of package runtime/state is one.
type Kept interface {
	Overlays() ([]byte, error) // nil: there are none
	KeepOverlays(data []byte) error
}

// Options are what a Set is made of. Shared, Kept and Told may be nil.
type Options struct {
	Trust       *bundle.Trust
	Environment string
	Shared      Shared
	Kept        Kept // nil: nothing is kept across restarts
	// Running is the manifest that serves, and its name; empty: nothing does.
	Running func() (digest bundle.Digest, name string)
	// Lay lays overlays over what serves. See activate.Activator.Overlay.
	Lay  func(ctx context.Context, list []*bundle.Overlay, must string, keep func() error) error
	Told func(Event)
	Log  *slog.Logger
	Now  func() time.Time
}

// Event is something that became of an overlay without anybody asking this gateway for it.
type Event struct {
	ID     string
	What   What
	By     string        // the key that signed it
	Digest bundle.Digest // of the envelope
}

// What became of an overlay.
type What string

// The events.
const (
	Arrived   What = "arrived"   // from another gateway
	Withdrawn What = "withdrawn" // at another gateway
	Expired   What = "expired"
)

// Entry is one overlay that was taken.
type Entry struct {
	*bundle.Overlay
	Key      string        // that signed it
	Digest   bundle.Digest // of the envelope: what tells two versions apart
	Envelope []byte        // as it was signed
}

// Error is an order that was not carried out.
type Error struct {
	Code    string // stable, snake_case
	Message string
}

func (e *Error) Error() string { return e.Message }

func refuse(code, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

func full() error {
	return refuse("too_many_overlays", "%v, no more are allowed; what stays belongs into the repository", ErrFull)
}

// Set is the overlays of an environment, as one gateway has them.
type Set struct {
	o Options

	change sync.Mutex             // one change at a time
	away   bool                   // Shared does not answer
	failed string                 // why overlays could not be laid, as it was told
	bad    map[bundle.Digest]bool // envelopes that were refused, and of which that was said

	mu      sync.Mutex
	entries map[string]*Entry
}

// New makes a set. Load fills it.
func New(o Options) *Set {
	return &Set{o: o, bad: map[bundle.Digest]bool{}, entries: map[string]*Entry{}}
}

// List returns the overlays, by id.
func (s *Set) List() []*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.entries), func(a, b *Entry) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}

// Get returns one overlay; nil: there is none.
func (s *Set) Get(id string) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[id]
}

// Put takes an overlay. version is the digest of the envelope that it replaces; empty: there must be none of its id.
func (s *Set) Put(ctx context.Context, envelope []byte, version bundle.Digest) (*Entry, error) {
	s.change.Lock()
	defer s.change.Unlock()
	e, err := s.verify(envelope)
	if err != nil {
		return nil, err
	}
	if running, _ := s.o.Running(); e.Base != running {
		return nil, refuse("base_differs", "the overlay was made for bundle %s, and this gateway runs %s; make it again", e.Base.Short(), shortOr(running, "none"))
	}
	before := s.Get(e.ID)
	if err := fits(e.ID, before, version); err != nil {
		return nil, err
	}
	next := s.copied()
	next[e.ID] = e
	if len(next) > bundle.MaxOverlays {
		return nil, full()
	}
	err = s.o.Lay(ctx, statements(next), e.ID, func() error { return s.share(ctx, e.ID, before, e) })
	if without := (*overlay.IneffectiveError)(nil); errors.As(err, &without) {
		return nil, refuse("overlay_without_effect", "%s", without.Why)
	}
	if err != nil {
		return nil, err
	}
	s.set(next)
	return e, nil
}

// Remove takes an overlay away. Nothing holds that: what is published serves again.
func (s *Set) Remove(ctx context.Context, id string, version bundle.Digest) (*Entry, error) {
	s.change.Lock()
	defer s.change.Unlock()
	before := s.Get(id)
	if before == nil {
		return nil, refuse("no_such_overlay", "there is no overlay %q", id)
	}
	if err := fits(id, before, version); err != nil {
		return nil, err
	}
	next := s.copied()
	delete(next, id)
	if err := s.o.Lay(ctx, statements(next), "", func() error { return s.share(ctx, id, before, nil) }); err != nil {
		return nil, err
	}
	s.set(next)
	return before, nil
}

// fits judges whether an order is about what is there.
func fits(id string, there *Entry, version bundle.Digest) error {
	switch {
	case there == nil && version != "":
		return refuse("no_such_overlay", "there is no overlay %q", id)
	case there != nil && version == "":
		return refuse("overlay_exists", "there is an overlay %q already; replace it, or choose another id", id)
	case there != nil && there.Digest != version:
		return refuse("precondition_failed", "overlay %q has changed since; read it again", id)
	}
	return nil
}

// verify judges an envelope.
func (s *Set) verify(envelope []byte) (*Entry, error) {
	_, name := s.o.Running()
	o, key, err := bundle.VerifyOverlay(envelope, bundle.Check{Trust: s.o.Trust, Environment: s.o.Environment, Name: name, Now: s.o.Now()})
	if err != nil {
		return nil, err
	}
	return &Entry{Overlay: o, Key: key, Digest: bundle.DigestOf(envelope), Envelope: envelope}, nil
}

// share puts an overlay where the others see it, or, without others, where a restart finds it.
func (s *Set) share(ctx context.Context, id string, before, next *Entry) error {
	if s.o.Shared == nil {
		all := s.copied()
		if delete(all, id); next != nil {
			all[id] = next
		}
		return s.write(all)
	}
	var was, is []byte
	var until time.Time
	if before != nil {
		was = before.Envelope
	}
	if next != nil {
		is, until = next.Envelope, next.ExpiresAt.Time
	}
	swapped, err := s.o.Shared.SwapOverlay(ctx, id, was, is, until)
	if errors.Is(err, ErrFull) {
		return full()
	}
	if err != nil {
		return err
	}
	if !swapped {
		return refuse("precondition_failed", "overlay %q was changed at another gateway meanwhile; read it again", id)
	}
	return nil
}

func (s *Set) copied() map[string]*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.entries)
}

// set takes in what was laid, and keeps a copy for a restart without Shared.
func (s *Set) set(next map[string]*Entry) {
	s.mu.Lock()
	s.entries = next
	s.mu.Unlock()
	if s.o.Shared != nil {
		if err := s.write(next); err != nil {
			s.o.Log.Warn("the overlays could not be kept; a restart while Redis is away would be without them", slog.Any("error", err))
		}
	}
}

// statements are overlays as they are laid.
func statements(entries map[string]*Entry) []*bundle.Overlay {
	out := make([]*bundle.Overlay, 0, len(entries))
	for _, id := range slices.Sorted(maps.Keys(entries)) {
		out = append(out, entries[id].Overlay)
	}
	return out
}

func shortOr(d bundle.Digest, none string) string {
	if d == "" {
		return none
	}
	return d.Short()
}
