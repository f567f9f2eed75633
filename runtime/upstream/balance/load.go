package balance

import (
	"math"
	"sync/atomic"
	"time"
)

// Load is what goes on at one endpoint: the exchanges under way, and a moving average of its latency. All balancers and
// exchanges that use the endpoint share it; the zero value is ready.
type Load struct {
	active atomic.Int64
	cost   atomic.Uint64 // peak EWMA of the latency, in nanoseconds, as float64 bits
	at     atomic.Int64  // of cost, in nanoseconds since epoch
	_      [40]byte      // two endpoints do not share a cache line
}

// decay is the time in which a past latency loses 1-1/e of its weight. Finagle and Linkerd use the same.
const decay = 10 * time.Second

// epoch keeps the clock of the averages monotonic.
var epoch = time.Now()

// Begin notes an exchange that begins at the endpoint.
func (l *Load) Begin() { l.active.Add(1) }

// End notes its end. header is the time from the request sent to the response header; 0 if there was none, which says nothing
// about latency, unless there never was one: an endpoint that only fails is not taken for a new one again and again.
func (l *Load) End(header time.Duration) {
	l.active.Add(-1)
	if header > 0 {
		l.observe(header, time.Since(epoch))
	} else if l.cost.Load() == 0 {
		l.observe(unanswered, time.Since(epoch))
	}
}

// unanswered is the latency of an endpoint that was tried and has not answered yet.
const unanswered = time.Second

// observe is the peak EWMA of Finagle (com.twitter.finagle.loadbalancer.PeakEwma) and Linkerd: a latency above the average takes
// its place at once, one below it pulls it down slowly, by how long ago the last one was. Reading decays the average as there,
// but does not write it back, so that readers share its cache line. An update that is lost to a concurrent one is no loss.
func (l *Load) observe(took, now time.Duration) {
	old := math.Float64frombits(l.cost.Load())
	next := float64(took)
	if next < old {
		w := math.Exp(-float64(max(int64(now)-l.at.Load(), 0)) / float64(decay))
		next = old*w + next*(1-w)
	}
	l.cost.Store(math.Float64bits(next))
	l.at.Store(int64(now))
}

// Active returns how many exchanges are under way.
func (l *Load) Active() int64 { return l.active.Load() }

// Latency is the average, decayed to now; 0 if nothing is known. An endpoint that was tried and never answered counts as if it
// had taken a second.
func (l *Load) Latency(now time.Time) time.Duration { return time.Duration(l.latency(now.Sub(epoch))) }

// latency decays what nobody has confirmed for long, so that an endpoint which was slow once is tried again.
func (l *Load) latency(now time.Duration) float64 {
	cost := math.Float64frombits(l.cost.Load())
	if age := int64(now) - l.at.Load(); cost > 0 && age > 0 {
		cost *= math.Exp(-float64(age) / float64(decay))
	}
	return cost
}
