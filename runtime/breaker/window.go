package breaker

import (
	"sync/atomic"
	"time"
)

// buckets is how many parts the window has: its edge moves by one of them at a time.
const buckets = 10

// window counts the calls of the last while. Counting takes no lock: a call that comes while its bucket turns over may be lost,
// or counted with the bucket before, which is one call in the ten thousands at worst.
type window struct {
	start time.Time     // periods count from here, on the monotonic clock: a clock that is set does not move the window
	width time.Duration // of one bucket
	ring  [buckets]bucket
}

type bucket struct {
	period              atomic.Int64 // which turn of the clock it counts
	calls, failed, slow atomic.Int64
}

// now is the period that a moment lies in; the first ones lie in 0.
func (w *window) now(t time.Time) int64 { return max(int64(t.Sub(w.start)/w.width), 0) }

func (w *window) add(t time.Time, one tally) {
	period := w.now(t)
	b := &w.ring[period%buckets]
	switch old := b.period.Load(); {
	case old > period:
		return // it took longer than the window to come here
	case old < period && b.period.CompareAndSwap(old, period):
		b.calls.Store(0)
		b.failed.Store(0)
		b.slow.Store(0)
	}
	b.calls.Add(1)
	if one.failed > 0 {
		b.failed.Add(1)
	}
	if one.slow > 0 {
		b.slow.Add(1)
	}
}

func (w *window) sum(t time.Time) tally {
	period := w.now(t)
	var out tally
	for i := range w.ring {
		b := &w.ring[i]
		if age := period - b.period.Load(); age < 0 || age >= buckets {
			continue
		}
		out.calls += b.calls.Load()
		out.failed += b.failed.Load()
		out.slow += b.slow.Load()
	}
	return out
}

// clear forgets all calls.
func (w *window) clear() {
	for i := range w.ring {
		w.ring[i].period.Store(-buckets)
	}
}
