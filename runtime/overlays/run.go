package overlays

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// Load takes in the overlays that there are when a gateway starts, before anything serves. What cannot be read is told, and left out:
// then what is published serves, which is what everybody has agreed to.
func (s *Set) Load(ctx context.Context) {
	s.change.Lock()
	defer s.change.Unlock()
	if s.o.Shared != nil {
		raw, err := s.o.Shared.Overlays(ctx)
		if err == nil {
			s.begin(ctx, raw)
			return
		}
		s.unreachable(err)
	}
	if s.o.Kept == nil {
		return
	}
	raw, err := s.read()
	if err != nil {
		s.o.Log.Error("the overlays that were kept cannot be read; what is published serves without them", slog.Any("error", err))
	}
	s.begin(ctx, raw)
}

func (s *Set) begin(ctx context.Context, raw map[string][]byte) {
	next := s.judged(ctx, raw)
	if err := s.write(next); err != nil { // what was kept may be older
		s.o.Log.Warn("the overlays could not be kept", slog.Any("error", err))
	}
	if len(next) == 0 {
		return
	}
	if err := s.o.Lay(ctx, statements(next), "", nil); err != nil {
		s.o.Log.Error("the overlays cannot be laid; what is published serves without them", slog.Any("error", err))
		return
	}
	s.mu.Lock()
	s.entries = next
	s.mu.Unlock()
}

// Run follows what other gateways do, and ends overlays, until ctx ends.
func (s *Set) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var ends <-chan time.Time // after a failure the next tick is soon enough
		if s.Follow(ctx) {
			ends = s.nextEnd()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-ends:
		}
	}
}

// nextEnd fires when the next overlay ends; nil: none is there.
func (s *Set) nextEnd() <-chan time.Time {
	var first time.Time
	for _, e := range s.List() {
		if first.IsZero() || e.ExpiresAt.Before(first) {
			first = e.ExpiresAt.Time
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(max(0, first.Sub(s.o.Now()))) // none is waited for longer than pollEvery
}

// Follow takes over what is shared, and ends what has expired. It reports whether that could be done.
func (s *Set) Follow(ctx context.Context) bool {
	s.change.Lock()
	defer s.change.Unlock()
	before := s.copied()
	next := maps.Clone(before)
	if s.o.Shared != nil {
		raw, err := s.o.Shared.Overlays(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			s.unreachable(err)
		default:
			s.reachable()
			next = s.judged(ctx, raw)
		}
	}
	now := s.o.Now()
	maps.DeleteFunc(next, func(id string, e *Entry) bool {
		ended := !now.Before(e.ExpiresAt.Time)
		if ended {
			s.drop(ctx, id, e.Envelope)
		}
		return ended
	})
	if maps.EqualFunc(before, next, func(a, b *Entry) bool { return a.Digest == b.Digest }) {
		return true
	}
	if err := s.o.Lay(ctx, statements(next), "", nil); err != nil {
		if text := err.Error(); ctx.Err() == nil && text != s.failed {
			s.failed = text
			s.o.Log.Error("the overlays could not be changed; what serves stays as it is, and it is tried again", slog.Any("error", err))
		}
		return false
	}
	s.failed = ""
	s.set(next)
	if s.o.Shared == nil {
		if err := s.write(next); err != nil {
			s.o.Log.Warn("the overlays could not be kept", slog.Any("error", err))
		}
	}
	s.tell(before, next, now)
	return true
}

// tell says what has changed, one event for each overlay.
func (s *Set) tell(before, next map[string]*Entry, now time.Time) {
	say := func(e *Entry, what What) {
		s.o.Log.Info("overlay "+string(what), slog.String("overlay", e.ID), slog.String("key", e.Key), slog.String("reason", e.Reason))
		if s.o.Told != nil {
			s.o.Told(Event{ID: e.ID, What: what, By: e.Key, Digest: e.Digest})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before)) {
		switch e := before[id]; {
		case next[id] != nil:
		case !now.Before(e.ExpiresAt.Time):
			say(e, Expired)
		default:
			say(e, Withdrawn)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(next)) {
		if before[id] == nil || before[id].Digest != next[id].Digest {
			say(next[id], Arrived)
		}
	}
}

// judged are the overlays that may be believed. What else lies there is told once.
func (s *Set) judged(ctx context.Context, raw map[string][]byte) map[string]*Entry {
	out := map[string]*Entry{}
	for _, id := range slices.Sorted(maps.Keys(raw)) {
		if known := s.Get(id); known != nil && bytes.Equal(known.Envelope, raw[id]) {
			out[id] = known
			continue
		}
		e, err := s.verify(raw[id])
		if ended := (*bundle.Error)(nil); errors.As(err, &ended) && ended.Reason == bundle.OverlayExpired {
			s.drop(ctx, id, raw[id])
			continue
		}
		if err == nil && e.ID != id {
			err = fmt.Errorf("it calls itself %q", e.ID)
		}
		if err == nil && len(out) == bundle.MaxOverlays {
			err = fmt.Errorf("there are more than %d", bundle.MaxOverlays)
		}
		if err == nil {
			out[id] = e
			continue
		}
		if digest := bundle.DigestOf(raw[id]); !s.bad[digest] {
			if len(s.bad) >= 4*bundle.MaxOverlays { // whoever can write there may go on for ever
				clear(s.bad)
			}
			s.bad[digest] = true
			s.o.Log.Warn("an overlay does not count", slog.String("overlay", id), slog.Any("error", err))
		}
	}
	return out
}

// drop takes away what has ended. Nobody would miss it if that failed: it counts for nothing, and goes away with the rest.
func (s *Set) drop(ctx context.Context, id string, envelope []byte) {
	if s.o.Shared != nil && !s.away {
		_, _ = s.o.Shared.SwapOverlay(ctx, id, envelope, nil, time.Time{})
	}
}

func (s *Set) unreachable(err error) {
	if !s.away {
		s.away = true
		s.o.Log.Warn("the overlays that gateways share cannot be read; those that are known stay until they end", slog.Any("error", err))
	}
}

func (s *Set) reachable() {
	if s.away {
		s.away = false
		s.o.Log.Info("the overlays that gateways share can be read again")
	}
}

// document is overlays as they are kept.
type document struct {
	Overlays map[string][]byte `json:"overlays"`
}

func (s *Set) write(entries map[string]*Entry) error {
	if s.o.Kept == nil {
		return nil
	}
	d := document{Overlays: map[string][]byte{}}
	for id, e := range entries {
		d.Overlays[id] = e.Envelope
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.o.Kept.KeepOverlays(data)
}

func (s *Set) read() (map[string][]byte, error) {
	data, err := s.o.Kept.Overlays()
	if err != nil || data == nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return d.Overlays, nil
}
