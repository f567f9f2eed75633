// Package breaker stops sending requests to what does not answer them well: it opens when too many calls of a rolling window
// failed or were slow, and lets them through again bit by bit. It knows neither requests nor upstreams; whoever asks says how
// a call went.
package breaker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// State is what a breaker does with calls.
type State int32

// The states. Their numbers are what the metric shows.
const (
	Closed   State = iota // all calls pass
	HalfOpen              // some calls pass, to see whether it works again
	Open                  // no call passes
)

// String names the state.
func (s State) String() string { return [...]string{"closed", "half_open", "open"}[s] }

// Change is a change of state, with the numbers that led to it.
type Change struct {
	From, To            State
	Calls, Failed, Slow int64         // in the window, or since the breaker was half open; 0 if it became that because its time was up
	OpenFor             time.Duration // if To is Open; before jitter
}

// Env is what a breaker asks the world, and whom it tells. Every field may be nil.
type Env struct {
	Now      func() time.Time
	Rand     func() uint64
	OnChange func(Change) // not concurrently with itself; it must not call the breaker
}

// Breaker is safe for concurrent use. While it is closed a call costs a few atomic operations and takes no lock.
type Breaker struct {
	s   ir.Breaker
	env Env

	state  atomic.Int32
	window window

	mu       sync.Mutex
	until    time.Time     // open: when it becomes half open
	openFor  time.Duration // the last time it was open, before jitter
	closed   time.Time     // when it last closed
	began    time.Time     // half open: since when
	inFlight int64         // half open: calls under way
	trial    tally         // half open: calls that have ended
	era      uint32        // of the state: calls of an earlier one do not count any more
	eraNow   atomic.Uint32
}

// tally counts calls.
type tally struct{ calls, failed, slow int64 }

// New makes a closed breaker.
func New(s ir.Breaker, env Env) *Breaker {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Rand == nil {
		env.Rand = rand.Uint64
	}
	b := &Breaker{s: s, env: env}
	b.window.start, b.window.width = env.Now(), max(ms(s.Window)/buckets, time.Millisecond)
	return b
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// Call is a call that was let through. Done or Cancel ends it, once. On its zero value both do nothing.
type Call struct {
	b     *Breaker
	era   uint32
	trial bool
}

// Allow asks whether a call may pass. If not, wait is when it is worth asking again.
func (b *Breaker) Allow() (c Call, wait time.Duration, ok bool) {
	if State(b.state.Load()) == Closed {
		return Call{b: b, era: b.eraNow.Load()}, 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.env.Now()
	if State(b.state.Load()) == Open {
		if left := b.until.Sub(now); left > 0 {
			return Call{}, left, false
		}
		b.began, b.inFlight, b.trial = now, 0, tally{}
		b.change(HalfOpen, tally{})
	}
	if State(b.state.Load()) == Closed {
		return Call{b: b, era: b.era}, 0, true
	}
	if b.inFlight >= b.room(now) {
		return Call{}, b.step() - now.Sub(b.began)%b.step(), false
	}
	b.inFlight++
	return Call{b: b, era: b.era, trial: true}, 0, true
}

// ramps is how often the room doubles while a breaker is half open.
const ramps = 5

// step is the time after which the room of a half-open breaker doubles.
func (b *Breaker) step() time.Duration { return max(ms(b.s.HalfOpenRampFor)/ramps, time.Millisecond) }

// room is how many calls may be under way at a time: 1, 2, 4, ...
func (b *Breaker) room(now time.Time) int64 {
	return 1 << min(max(now.Sub(b.began)/b.step(), 0), 30)
}

// Done says how the call went: whether it failed, and how long the response header took, 0 if there was none.
func (c Call) Done(failed bool, header time.Duration) {
	b := c.b
	if b == nil {
		return
	}
	one := tally{calls: 1}
	if failed {
		one.failed = 1
	}
	if b.s.SlowPercent > 0 && header > ms(b.s.SlowCall) {
		one.slow = 1
	}
	if !c.trial {
		if c.era == b.eraNow.Load() {
			b.count(one)
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.era != b.era {
		return
	}
	b.inFlight--
	b.trial.calls += one.calls
	b.trial.failed += one.failed
	b.trial.slow += one.slow
	b.judge()
}

// Cancel ends a call that says nothing about the upstream, since the client gave up on it.
func (c Call) Cancel() {
	if !c.trial {
		return
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.era == c.b.era {
		c.b.inFlight--
	}
}

// count adds a call of a closed breaker, and opens it if that was one too many. A call that went well opens nothing, even if it
// is the one that makes the calls enough to decide: the next one that does not will.
func (b *Breaker) count(one tally) {
	now := b.env.Now()
	b.window.add(now, one)
	if one.failed == 0 && one.slow == 0 {
		return
	}
	if t := b.window.sum(now); t.calls >= b.s.MinimumCalls && b.bad(t) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if State(b.state.Load()) == Closed {
			b.open(now, t)
		}
	}
}

// bad reports whether so many failures, or slow calls, are too many.
func (b *Breaker) bad(t tally) bool {
	return t.failed*100 >= b.s.ErrorPercent*t.calls && t.failed > 0 ||
		b.s.SlowPercent > 0 && t.slow > 0 && t.slow*100 >= b.s.SlowPercent*t.calls
}

// judge ends the trial: badly as soon as it cannot end well, well when the ramp is over.
func (b *Breaker) judge() {
	now := b.env.Now()
	switch {
	case b.bad(b.trial):
		b.open(now, b.trial)
	case now.Sub(b.began) >= ms(b.s.HalfOpenRampFor) && b.trial.calls > 0:
		b.closed = now
		b.window.clear()
		b.change(Closed, b.trial)
	}
}

// open opens the breaker: for twice as long as the last time if it had been closed for less than a window. It stays so for up to
// a tenth longer, which keeps the gateways of a fleet from trying at the same moment.
func (b *Breaker) open(now time.Time, t tally) {
	if b.openFor == 0 || State(b.state.Load()) == Closed && now.Sub(b.closed) >= ms(b.s.Window) {
		b.openFor = ms(b.s.OpenFor)
	} else {
		b.openFor = min(2*b.openFor, max(ms(b.s.MaxOpenFor), ms(b.s.OpenFor)))
	}
	spread := b.openFor / 10
	b.until = now.Add(b.openFor + time.Duration(b.env.Rand()%uint64(spread+1)))
	b.change(Open, t)
}

func (b *Breaker) change(to State, t tally) {
	from := State(b.state.Load())
	b.era++
	b.eraNow.Store(b.era)
	b.state.Store(int32(to))
	if b.env.OnChange != nil {
		c := Change{From: from, To: to, Calls: t.calls, Failed: t.failed, Slow: t.slow}
		if to == Open {
			c.OpenFor = b.openFor
		}
		b.env.OnChange(c)
	}
}

// State is what the breaker does now. One whose time is up is open until the next call tries it.
func (b *Breaker) State() State { return State(b.state.Load()) }

// Status describes the breaker.
type Status struct {
	State  string    `json:"state"` // "closed", "half_open" or "open"
	Calls  int64     `json:"calls"` // in the window; half open: since then
	Failed int64     `json:"failed"`
	Slow   int64     `json:"slow"`
	Until  time.Time `json:"until,omitzero"` // open: when calls are let through again
}

// Status describes the breaker for people.
func (b *Breaker) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	out, t := Status{State: b.State().String()}, b.window.sum(b.env.Now())
	switch b.State() {
	case Open:
		out.Until = b.until
	case HalfOpen:
		t = b.trial
	}
	out.Calls, out.Failed, out.Slow = t.calls, t.failed, t.slow
	return out
}
