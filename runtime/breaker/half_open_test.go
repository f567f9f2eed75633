package breaker

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// In ten seconds one call at a time is let through, then 2, 4, 8 and 16.
func TestBreakerRamp(t *testing.T) {
	b := opened(t)
	b.clock.Advance(5 * time.Second)
	var under []Call
	for _, room := range []int{1, 2, 4, 8, 16} {
		for len(under) < room {
			under = append(under, b.pass())
		}
		b.refused(2 * time.Second)
		b.clock.Advance(500 * time.Millisecond)
		b.refused(1500 * time.Millisecond)
		under[0].Done(false, 0) // its place is free
		under[0] = b.pass()
		under[len(under)-1].Cancel() // and so is that of a call that was given up
		under[len(under)-1] = b.pass()
		b.refused(1500 * time.Millisecond)
		b.clock.Advance(1500 * time.Millisecond)
		b.is(HalfOpen)
	}
	if got := b.Status(); got.Calls != 5 || got.Failed != 0 || !got.Until.IsZero() {
		t.Errorf("status is %+v after five calls", got)
	}
	under[0].Cancel() // decides nothing
	b.is(HalfOpen)
	under[1].Done(false, 0)
	b.is(Closed)
	if got, want := b.changes[2], (Change{From: HalfOpen, To: Closed, Calls: 6}); got != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
	if got := b.Status(); got.State != "closed" || got.Calls != 0 {
		t.Errorf("status is %+v: what was before counts still", got)
	}
	for _, c := range under[2:] {
		c.Done(true, 0) // of the state before: they count no more
	}
	if got := b.Status(); got.Calls != 0 || b.State() != Closed {
		t.Errorf("status is %+v", got)
	}
}

// Nobody asks for the time of the ramp: the first call that is well closes it.
func TestBreakerRampWithoutCalls(t *testing.T) {
	b := opened(t)
	b.clock.Advance(5 * time.Second)
	first := b.pass()
	b.clock.Advance(time.Hour)
	b.is(HalfOpen)
	first.Done(false, 0)
	b.is(Closed)
}

func TestBreakerReopens(t *testing.T) {
	b := opened(t)
	// The time doubles with each opening in a row, up to five minutes.
	for _, want := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300, 300} {
		want *= time.Second
		if last := b.changes[len(b.changes)-1]; last.To != Open || last.OpenFor != want {
			t.Fatalf("told %+v, want to be open for %s", last, want)
		}
		b.refused(want)
		b.clock.Advance(want)
		b.pass().Done(true, 0)
		if last, want := b.changes[len(b.changes)-1], (Change{HalfOpen, Open, 1, 1, 0, b.openFor}); last != want {
			t.Fatalf("told %+v, want %+v", last, want)
		}
	}
}

func TestBreakerReopensForSlowCalls(t *testing.T) {
	b := opened(t)
	b.clock.Advance(5 * time.Second)
	b.pass().Done(false, 2*time.Second)
	b.is(Open)
	if last, want := b.changes[2], (Change{HalfOpen, Open, 1, 0, 1, 10 * time.Second}); last != want {
		t.Errorf("told %+v, want %+v", last, want)
	}
}

// A failure among enough calls that are well does not open it again.
func TestBreakerHalfOpenToleratesItsShare(t *testing.T) {
	b := opened(t)
	b.clock.Advance(5 * time.Second)
	b.calls(2, false, 0)
	b.calls(1, true, 0)
	b.is(HalfOpen)
	b.calls(1, true, 0) // two of four
	b.is(Open)
}

// What was before it closed does not count, even if the window still reaches back to it.
func TestBreakerClosesWithAnEmptyWindow(t *testing.T) {
	s := settings
	s.OpenFor, s.HalfOpenRampFor = 1000, 1000
	b := setUp(t, s)
	b.calls(20, true, 0)
	b.clock.Advance(time.Second)
	call := b.pass()
	b.clock.Advance(time.Second)
	call.Done(false, 0)
	b.is(Closed)
	b.calls(19, true, 0)
	b.is(Closed)
	b.calls(1, true, 0)
	b.is(Open)
}

// Having been closed for a window makes up for openings before.
func TestBreakerForgivesAfterAWindow(t *testing.T) {
	for _, c := range []struct {
		name   string
		closed time.Duration
		want   time.Duration
	}{{"hardly closed", 9999 * time.Millisecond, 10 * time.Second}, {"closed for a window", 10 * time.Second, 5 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			b := opened(t)
			b.clock.Advance(5 * time.Second)
			call := b.pass()
			b.clock.Advance(10 * time.Second)
			call.Done(false, 0)
			b.is(Closed)
			b.clock.Advance(c.closed)
			b.calls(20, true, 0)
			b.is(Open)
			b.refused(c.want)
		})
	}
}

// What a call of an earlier state comes to says nothing about this one.
func TestBreakerEras(t *testing.T) {
	b := setUp(t, settings)
	var late []Call
	for range 100 {
		late = append(late, b.pass())
	}
	b.calls(20, true, 0)
	b.is(Open)
	late[0].Done(false, 0)
	late[1].Done(true, 0)
	if got := b.Status(); got.Calls != 20 {
		t.Errorf("status is %+v: a late call counts", got)
	}
	b.clock.Advance(5 * time.Second)
	trial := b.pass()
	for _, c := range late[2:40] { // neither closes nor opens it, nor makes room for another one
		c.Done(true, 0)
	}
	late[40].Cancel()
	b.is(HalfOpen)
	b.refused(2 * time.Second)
	b.clock.Advance(2 * time.Second)
	hung := b.pass() // beside the other one
	trial.Done(true, 0)
	b.is(Open)
	b.clock.Advance(10 * time.Second)
	next := b.pass() // half open again
	hung.Cancel()    // of the time before: its place is not one of these
	b.refused(2 * time.Second)
	late[41].Done(false, 0)
	if got := b.Status(); got.Calls != 0 || got.State != "half_open" {
		t.Errorf("status is %+v", got)
	}
	b.clock.Advance(10 * time.Second)
	next.Done(false, 0)
	b.is(Closed)
	for _, c := range late[42:] {
		c.Done(true, 0)
	}
	b.is(Closed)
}

// However many ask a half-open breaker at once, one call gets through.
func TestHalfOpenIsExactConcurrently(t *testing.T) {
	for range 100 {
		b := opened(t)
		b.clock.Advance(5 * time.Second)
		var through atomic.Int64
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				if _, _, ok := b.Allow(); ok {
					through.Add(1)
				}
			})
		}
		all.Wait()
		if got := through.Load(); got != 1 {
			t.Fatalf("%d calls got through, want 1", got)
		}
	}
}
