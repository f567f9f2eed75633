package breaker

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

var settings = ir.Breaker{
	Window: 10_000, MinimumCalls: 20, ErrorPercent: 50, SlowPercent: 80, SlowCall: 1000,
	OpenFor: 5000, MaxOpenFor: 300_000, HalfOpenRampFor: 10_000,
}

// bench is a breaker with a clock, no jitter, and what it told.
type bench struct {
	*Breaker
	t       *testing.T
	clock   *testkit.Clock
	changes []Change
	random  uint64
}

func setUp(t *testing.T, s ir.Breaker) *bench {
	t.Helper()
	b := &bench{t: t, clock: testkit.NewClock(time.Time{})}
	b.Breaker = New(s, Env{
		Now: b.clock.Now, Rand: func() uint64 { return b.random }, OnChange: func(c Change) { b.changes = append(b.changes, c) },
	})
	return b
}

// pass lets a call through, which must be allowed.
func (b *bench) pass() Call {
	b.t.Helper()
	c, wait, ok := b.Allow()
	if !ok || wait != 0 {
		b.t.Fatalf("refuses a call while %s, wait %s", b.State(), wait)
	}
	return c
}

// refused asks for a call, which must not be allowed before wait is over.
func (b *bench) refused(wait time.Duration) {
	b.t.Helper()
	if _, got, ok := b.Allow(); ok || got != wait {
		b.t.Fatalf("while %s a call is allowed: %t, wait %s, want %s", b.State(), ok, got, wait)
	}
}

func (b *bench) calls(n int, failed bool, header time.Duration) {
	b.t.Helper()
	for range n {
		b.pass().Done(failed, header)
	}
}

func (b *bench) is(s State) {
	b.t.Helper()
	if b.State() != s {
		b.t.Fatalf("is %s, want %s", b.State(), s)
	}
}

// opened is a breaker that has just opened for five seconds.
func opened(t *testing.T) *bench {
	t.Helper()
	b := setUp(t, settings)
	b.calls(20, true, 0)
	b.is(Open)
	return b
}

func TestBreakerOpens(t *testing.T) {
	const ok, slow = 10 * time.Millisecond, 1001 * time.Millisecond
	cases := []struct {
		name string
		s    func(*ir.Breaker)
		feed func(*bench)
		want State
		told []Change
	}{
		{"nothing happened", nil, func(*bench) {}, Closed, nil},
		{"all is well", nil, func(b *bench) { b.calls(1000, false, ok) }, Closed, nil},
		{"too few calls", nil, func(b *bench) { b.calls(19, true, 0) }, Closed, nil},
		{"enough calls", nil, func(b *bench) { b.calls(20, true, 0) }, Open, []Change{{Closed, Open, 20, 20, 0, 5 * time.Second}}},
		{"just below the share", nil, func(b *bench) { b.calls(51, false, ok); b.calls(50, true, 0) }, Closed, nil},
		{"just at the share", nil, func(b *bench) { b.calls(50, false, ok); b.calls(50, true, 0) }, Open, []Change{{Closed, Open, 100, 50, 0, 5 * time.Second}}},
		{"one percent is enough", func(s *ir.Breaker) { s.ErrorPercent = 1 }, func(b *bench) { b.calls(99, false, ok); b.calls(1, true, 0) }, Open, []Change{{Closed, Open, 100, 1, 0, 5 * time.Second}}},
		{"all must fail", func(s *ir.Breaker) { s.ErrorPercent = 100 }, func(b *bench) { b.calls(1, false, ok); b.calls(200, true, 0) }, Closed, nil},
		{"slow calls", nil, func(b *bench) { b.calls(5, false, ok); b.calls(20, false, slow) }, Open, []Change{{Closed, Open, 25, 0, 20, 5 * time.Second}}},
		{"too few slow calls", nil, func(b *bench) { b.calls(6, false, ok); b.calls(23, false, slow) }, Closed, nil},
		{"slow is more than the bound", nil, func(b *bench) { b.calls(100, false, time.Second) }, Closed, nil},
		{"slow calls do not matter", func(s *ir.Breaker) { s.SlowPercent = 0 }, func(b *bench) { b.calls(100, false, slow) }, Closed, nil},
		{"failed and slow", nil, func(b *bench) { b.calls(20, true, slow) }, Open, []Change{{Closed, Open, 20, 20, 20, 5 * time.Second}}},
		{"neither failed enough nor slow enough", nil, func(b *bench) { b.calls(40, false, ok); b.calls(30, true, 0); b.calls(30, false, slow) }, Closed, nil},
		{"given up", nil, func(b *bench) {
			for range 100 {
				b.pass().Cancel()
			}
		}, Closed, nil},
		{"under way", nil, func(b *bench) {
			for range 100 {
				b.pass()
			}
		}, Closed, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := settings
			if c.s != nil {
				c.s(&s)
			}
			b := setUp(t, s)
			c.feed(b)
			b.is(c.want)
			if !slices.Equal(b.changes, c.told) {
				t.Errorf("told %+v, want %+v", b.changes, c.told)
			}
		})
	}
}

// Calls count for as long as the window lasts, to within one of its ten parts.
func TestBreakerWindowRolls(t *testing.T) {
	cases := []struct {
		name  string
		after time.Duration
		want  State
	}{
		{"at once", 0, Open},
		{"before the window ends", 8999 * time.Millisecond, Open},
		{"when it has ended", 10 * time.Second, Closed},
		{"long after", time.Hour, Closed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := setUp(t, settings)
			b.calls(19, true, 0)
			b.clock.Advance(c.after)
			b.calls(1, true, 0)
			b.is(c.want)
		})
	}
	t.Run("part by part", func(t *testing.T) {
		b := setUp(t, settings)
		for range 100 { // one failure and two that are well in each part: a third fails, whatever part is left behind
			b.calls(2, false, 0)
			b.calls(1, true, 0)
			b.clock.Advance(time.Second)
		}
		b.is(Closed)
		if got := b.Status(); got.Calls != 27 || got.Failed != 9 {
			t.Errorf("the window holds %+v, want nine of its parts", got)
		}
	})
	t.Run("a clock that steps back", func(t *testing.T) {
		b := setUp(t, settings)
		b.clock.Advance(time.Hour)
		b.calls(10, true, 0)
		b.clock.Advance(-2 * time.Hour) // before the breaker was made
		b.calls(30, true, 0)
		if b.State() == Open {
			b.refused(5 * time.Second)
		}
		b.clock.Advance(3 * time.Hour)
		b.pass().Done(false, 0)
	})
}

func TestBreakerWhileOpen(t *testing.T) {
	b := opened(t)
	b.refused(5 * time.Second)
	b.clock.Advance(2 * time.Second)
	b.refused(3 * time.Second)
	if got := b.Status(); got.State != "open" || got.Failed != 20 || !got.Until.Equal(b.clock.Now().Add(3*time.Second)) {
		t.Errorf("status is %+v", got)
	}
	b.clock.Advance(3*time.Second - 1)
	b.refused(1)
	b.is(Open)
	b.clock.Advance(1)
	b.is(Open) // until somebody asks
	b.pass()
	b.is(HalfOpen)
	if want := (Change{From: Open, To: HalfOpen}); b.changes[1] != want {
		t.Errorf("told %+v, want %+v", b.changes[1], want)
	}
}

func TestBreakerJitter(t *testing.T) {
	longest, least := time.Duration(0), time.Hour
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := setUp(t, settings)
		b.random = r.Uint64()
		b.calls(20, true, 0)
		_, wait, _ := b.Allow()
		if wait < 5*time.Second || wait > 5500*time.Millisecond {
			t.Fatalf("is open for %s, want 5s to 5.5s", wait)
		}
		if b.changes[0].OpenFor != 5*time.Second {
			t.Fatalf("told %+v", b.changes[0])
		}
		longest, least = max(longest, wait), min(least, wait)
	}
	if longest-least < 450*time.Millisecond {
		t.Errorf("is open for %s to %s: hardly any jitter", least, longest)
	}
}

func TestZeroCall(t *testing.T) {
	var c Call
	c.Done(true, time.Hour)
	c.Cancel()
}

func TestStatusIsJSON(t *testing.T) {
	b := opened(t)
	got, err := json.Marshal(b.Status())
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"state":"open","calls":20,"failed":20,"slow":0,"until":"2026-01-01T00:00:05Z"}`; string(got) != want {
		t.Errorf("is %s, want %s", got, want)
	}
	got, err = json.Marshal(setUp(t, settings).Status())
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"state":"closed","calls":0,"failed":0,"slow":0}`; string(got) != want {
		t.Errorf("is %s, want %s", got, want)
	}
}

// Settings that are nothing make a breaker that works, if a nervous one.
func TestBreakerWithoutSettings(t *testing.T) {
	b := setUp(t, ir.Breaker{})
	b.calls(10, false, time.Hour)
	b.is(Closed)
	b.calls(1, true, 0)
	b.is(Open)
	call := b.pass() // at once
	b.refused(time.Millisecond)
	call.Done(false, 0)
	b.is(Closed)
}

func TestClosedBreakerDoesNotAllocate(t *testing.T) {
	b := New(settings, Env{})
	if n := testing.AllocsPerRun(100, func() {
		c, _, _ := b.Allow()
		c.Done(false, time.Millisecond)
	}); n != 0 {
		t.Errorf("a call allocates %v times", n)
	}
}

// Everything at once, for the race detector: the room of a half-open breaker is never exceeded, changes follow one another, and
// whatever happens there is a way back.
func TestBreakerConcurrently(t *testing.T) {
	s := settings
	s.OpenFor, s.MaxOpenFor, s.HalfOpenRampFor = 1, 4, 5
	var now atomic.Int64
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last := Closed
	b := New(s, Env{Now: func() time.Time { return start.Add(time.Duration(now.Load())) }, OnChange: func(c Change) {
		if c.From != last || c.From == c.To {
			t.Errorf("told %s to %s, after %s", c.From, c.To, last)
		}
		last = c.To
	}})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 5000 {
				now.Add(int64(10 * time.Microsecond))
				c, wait, ok := b.Allow()
				switch {
				case !ok && wait <= 0:
					t.Error("refuses a call without a time to wait")
				case !ok:
				case r.IntN(10) == 0:
					c.Cancel()
				default:
					c.Done(r.IntN(3) > 0, time.Duration(r.IntN(2000))*time.Millisecond)
				}
				b.Status()
			}
		})
	}
	all.Wait()
	for range 100 {
		now.Add(int64(time.Millisecond))
		if c, _, ok := b.Allow(); ok {
			c.Done(false, 0)
		}
	}
	if b.State() != Closed {
		t.Errorf("is %s after 100 ms in which all is well", b.State())
	}
}

// No call is lost while the window stands still, whoever counts.
func TestBreakerCountsConcurrently(t *testing.T) {
	s := settings
	s.ErrorPercent, s.SlowPercent = 100, 100
	b := setUp(t, s)
	b.calls(1, false, 0) // so that not all fail
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 1000 {
				c, _, _ := b.Allow()
				c.Done(i%2 == 0, time.Duration(i%4/3*2)*time.Second)
			}
		})
	}
	all.Wait()
	if got := b.Status(); got.Calls != 4001 || got.Failed != 2000 || got.Slow != 1000 {
		t.Errorf("counts are %+v", got)
	}
}
