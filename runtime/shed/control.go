package shed

import (
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Classes of requests, in the order in which they are refused.
const (
	low = iota
	normal
	high
	critical
	priorities
)

// names are the classes as authors write them.
var names = [priorities]string{low: "low", normal: "normal", high: "high", critical: "critical"}

func classOf(priority int64) int {
	return int(min(max(priority-ir.PriorityLow, low), critical))
}

// Steps of the control.
const (
	// patience is how many samples in a row must be above the target before anything is refused. CoDel's idea: a burst that is
	// worked off within an interval is what queues are for; a queue that stays is overload.
	patience = 3
	// cut is what remains of the share let in after a sample above the target, rise what is added to it after one without any
	// delay; half of it is added after one just at the target. Admission falls by a factor and comes back by a summand, as in
	// TCP, so that it neither lingers in overload nor swings into it again: three times the load is met in about a second, and
	// all is let in four seconds after it ends.
	cut  = 0.9
	rise = 0.025
	// memory is the weight of the past in what is known of the mix of priorities.
	memory = 0.8
)

// control decides which share of each class is refused. It keeps no time: it goes by samples.
type control struct {
	target, delay time.Duration
	above         int     // samples in a row
	least         float64 // share of the requests that is let in at the worst
	admit         float64 // share of the requests, without critical ones, that is let in
	demand        [critical]float64
	shares        [priorities]float64 // refused; of critical always 0
}

// set takes settings over and keeps what was learnt.
func (c *control) set(spec *ir.LoadShedding) {
	if c.target == 0 {
		c.admit = 1
	}
	c.target = time.Duration(spec.TargetDelay) * time.Millisecond
	c.least = 1 - float64(min(max(spec.MaxPercent, 0), 100))/100
	c.admit = max(c.admit, c.least)
	c.share()
}

// observe takes a sample into account: the delay, and how many requests of each class came since the last one.
func (c *control) observe(delay time.Duration, arrived [priorities]int64) {
	for i := range c.demand {
		c.demand[i] = c.demand[i]*memory + float64(arrived[i])*(1-memory)
	}
	// A queue that gets shorter quickly needs time, not more refusals: cutting on would swing far below what there is room for.
	drains := delay < c.delay-c.delay/8
	c.delay = delay
	if delay > c.target {
		if c.above++; c.above >= patience && !c.shedding() || c.shedding() && !drains {
			c.admit = max(c.admit*cut, c.least)
		}
	} else {
		c.above = 0
		c.admit = min(c.admit+rise*(1-float64(delay)/float64(2*c.target)), 1)
	}
	c.share()
}

// share spreads what is to be refused over the classes: all that may be of one before any of the next. It goes by how many
// there are of each, since refusing all of a class that hardly anybody asks for helps nobody. One more of each than was seen
// gives those a place of whom nothing is known.
func (c *control) share() {
	rest := 0.0
	for _, d := range c.demand {
		rest += (d + 1) * (1 - c.admit)
	}
	for i, d := range c.demand {
		if c.shares[i] = rest / (d + 1); c.shares[i] <= 1-c.least {
			rest = 0
			continue
		}
		c.shares[i] = 1 - c.least
		rest -= c.shares[i] * (d + 1)
	}
}

// shedding reports whether anything is refused.
func (c *control) shedding() bool { return c.target > 0 && c.admit < 1 }

// recovery is how long it takes until nothing is refused, if no sample is above the target any more.
func (c *control) recovery() time.Duration {
	return time.Duration((1 - c.admit) / rise * float64(interval))
}
