package health

import "sync/atomic"

// tally counts what exchanges report, by the interval between two sweeps. Adding is one atomic operation: requests are in the
// upper half of the word and failures in the lower, so that no reader ever sees a failure without its request. The halves hold
// four thousand million each, beyond which the figures of one interval would be wrong and nothing else.
type tally struct {
	now  atomic.Uint64
	last [2]count // the last two intervals, the latest first; guarded by the host's mutex
}

type count struct{ requests, failures int64 }

const (
	oneRequest = 1 << 32
	oneFailure = oneRequest + 1
)

// turn begins the next interval.
func (t *tally) turn() {
	n := t.now.Swap(0)
	t.last[0], t.last[1] = count{int64(n >> 32), int64(n & (oneRequest - 1))}, t.last[0]
}

// clear forgets everything.
func (t *tally) clear() {
	t.now.Store(0)
	t.last = [2]count{}
}
