// Package shed refuses requests while the gateway itself is short of processor time, low priorities first, so that those it
// accepts are answered in time. In a Go proxy requests queue nowhere but in front of the processors: what it watches is how long
// goroutines that could run wait until they do. It knows neither requests nor answers, and does not judge upstreams.
package shed

import (
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Env is what a Shedder asks the world, and whom it tells. Every field may be nil.
type Env struct {
	Now  func() time.Time
	Rand func() uint64
	Log  *slog.Logger
	// Sample returns how long work waited for a processor since it was called last. It is called by one goroutine at a time.
	// Nil: nine tenths of the goroutines the scheduler let run waited no longer.
	Sample func() time.Duration
	// OnChange hears when shedding begins and when it is over, never concurrently with itself. It must not call Configure or Close.
	OnChange func(Change)
}

// Change is the begin of shedding, or its end.
type Change struct {
	Time     time.Time
	Shedding bool
	Delay    time.Duration // of the moment
	Target   time.Duration
	InFlight int64
	Refused  int64         // at the end: requests refused since the begin
	Took     time.Duration // at the end: since the begin
}

// Shedder is safe for concurrent use. A request costs no lock and no allocation; while it is off, one atomic load.
type Shedder struct {
	env    Env
	plan   atomic.Pointer[plan] // nil: off
	shards []shard
	bound  struct {
		_        [64]byte
		inFlight atomic.Int64 // requests that count against MaxInFlight
		_        [56]byte
	}

	life   sync.Mutex // Configure and Close
	closed bool
	stop   chan struct{} // ends the sampling; nil while there is none
	done   chan struct{}

	mu      sync.Mutex // what follows
	spec    *ir.LoadShedding
	control control
	before  counts    // at the last sample
	told    bool      // what OnChange was told last: that requests are shed
	began   time.Time // of shedding
	refused int64     // refused until it began
}

// plan is what holds for requests now. It is immutable.
type plan struct {
	maxInFlight int64
	chance      [priorities]uint64 // of being refused, in 1/2^32
	recovery    time.Duration      // until nothing is refused, if all goes well from now on
}

// New makes a Shedder that is off. It must be closed.
func New(env Env) *Shedder {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Rand == nil {
		env.Rand = rand.Uint64
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	if env.OnChange == nil {
		env.OnChange = func(Change) {}
	}
	shards := 1
	for shards < min(runtime.GOMAXPROCS(0), 64) {
		shards *= 2
	}
	return &Shedder{env: env, shards: make([]shard, shards)}
}

// Pass is a request that was let in. Its zero value is one that nobody counted.
type Pass struct {
	shard   *shard
	bounded *atomic.Int64
}

// End says that the request is over. It is called once.
func (p Pass) End() {
	if p.shard == nil {
		return
	}
	p.shard.ended.Add(1)
	if p.bounded != nil {
		p.bounded.Add(-1)
	}
}

// Begin asks whether a request of a priority (ir.PriorityLow to ir.PriorityCritical) may come in. If not, retryAfter is when to
// come again, in whole seconds: they differ from request to request, so that those refused together do not come back together.
func (s *Shedder) Begin(priority int64) (pass Pass, retryAfter time.Duration, ok bool) {
	p := s.plan.Load()
	if p == nil {
		return Pass{}, 0, true
	}
	class := classOf(priority)
	r := s.env.Rand()
	at := &s.shards[r&uint64(len(s.shards)-1)]
	if r>>32 < p.chance[class] {
		at.shed[class].Add(1)
		return Pass{}, p.retryAfter(s.env.Rand()), false
	}
	pass.shard = at
	if p.maxInFlight > 0 {
		if !s.enter(p.maxInFlight, class == critical) {
			at.full[class].Add(1)
			return Pass{}, p.retryAfter(s.env.Rand()), false
		}
		pass.bounded = &s.bound.inFlight
	}
	at.begun[class].Add(1)
	return pass, 0, true
}

// enter takes a place among the requests in flight. Adding first and looking afterwards would let requests that are about to be
// refused keep others out.
func (s *Shedder) enter(most int64, always bool) bool {
	if always {
		s.bound.inFlight.Add(1)
		return true
	}
	for {
		n := s.bound.inFlight.Load()
		if n >= most {
			return false
		}
		if s.bound.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// retryAfter is a second at least, and spread over the time recovery takes.
func (p *plan) retryAfter(r uint64) time.Duration {
	return time.Second * time.Duration(1+r%uint64(2+p.recovery/time.Second))
}

// Configure sets the limits; nil switches shedding off. Settings that are as they were change nothing. Requests that began while
// there was no MaxInFlight do not count against it, so it holds in full once they are over.
func (s *Shedder) Configure(spec *ir.LoadShedding) {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return
	}
	if spec == nil {
		s.off()
		return
	}
	own := *spec
	s.mu.Lock()
	s.spec = &own
	s.control.set(&own)
	s.publish()
	s.mu.Unlock()
	if s.stop == nil {
		sample := s.env.Sample
		if sample == nil {
			sample = newScheduler().sample
		}
		s.stop, s.done = make(chan struct{}), make(chan struct{})
		go s.run(sample, s.stop, s.done)
	}
}

// Close switches shedding off for good, and waits for the sampling to end. It is idempotent.
func (s *Shedder) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.closed = true
	s.off()
	return nil
}

func (s *Shedder) off() {
	if s.stop == nil {
		return
	}
	close(s.stop)
	<-s.done
	s.stop, s.done = nil, nil
	s.mu.Lock()
	s.plan.Store(nil)
	change, changed := s.note(false)
	s.spec, s.control = nil, control{}
	s.mu.Unlock()
	if changed {
		s.tell(change)
	}
}

// interval is the time between two samples: CoDel's (RFC 8289 section 4.3).
const interval = 100 * time.Millisecond

func (s *Shedder) run(sample func() time.Duration, stop, done chan struct{}) {
	defer close(done)
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticks.C:
			s.tick(sample())
		}
	}
}

// tick takes a sample into account.
func (s *Shedder) tick(delay time.Duration) {
	s.mu.Lock()
	now := s.counts()
	s.control.observe(delay, now.arrivedSince(s.before))
	s.before = now
	change, changed := s.note(s.control.shedding())
	s.publish()
	s.mu.Unlock()
	if changed {
		s.tell(change)
	}
}

// publish makes the plan of the moment.
func (s *Shedder) publish() {
	next := plan{maxInFlight: s.spec.MaxInFlight, recovery: s.control.recovery()}
	for i, share := range s.control.shares {
		next.chance[i] = uint64(share * (1 << 32))
	}
	if old := s.plan.Load(); old == nil || *old != next {
		s.plan.Store(&next)
	}
}

// note remembers whether requests are shed, and says what changed.
func (s *Shedder) note(is bool) (Change, bool) {
	if s.told == is {
		return Change{}, false
	}
	s.told = is
	c := s.counts()
	change := Change{Time: s.env.Now(), Shedding: is, Delay: s.control.delay, Target: s.control.target, InFlight: c.inFlight()}
	if is {
		s.began, s.refused = change.Time, c.refused()
	} else {
		change.Took, change.Refused = change.Time.Sub(s.began), c.refused()-s.refused
	}
	return change, true
}

func (s *Shedder) tell(c Change) {
	if c.Shedding {
		s.env.Log.Warn("load shedding began", "delay", c.Delay, "target", c.Target, "in_flight", c.InFlight)
	} else {
		s.env.Log.Info("load shedding ended", "took", c.Took, "refused", c.Refused, "in_flight", c.InFlight)
	}
	s.env.OnChange(c)
}
