package health

import (
	"sync/atomic"
	"time"
)

// counts are the requests of an endpoint in the present interval and the one before. Intervals follow the clock, so that whoever
// looks, and however often, finds the same numbers: two monitors may share a host while a snapshot drains. What is reported in
// the moment an interval turns over may be lost, which is not worth a lock.
type counts struct{ ring [3]interval }

type interval struct {
	number             atomic.Int64
	requests, failures atomic.Int64
}

func number(t time.Time, length time.Duration) int64 { return t.UnixNano() / int64(length) }

func (c *counts) add(now time.Time, length time.Duration, failed bool) {
	n := number(now, length)
	i := &c.ring[n%3]
	if old := i.number.Load(); old != n && i.number.CompareAndSwap(old, n) {
		i.requests.Store(0)
		i.failures.Store(0)
	}
	i.requests.Add(1)
	if failed {
		i.failures.Add(1)
	}
}

func (c *counts) of(n int64) (requests, failures int64) {
	i := &c.ring[n%3]
	if i.number.Load() != n {
		return 0, 0
	}
	return i.requests.Load(), i.failures.Load()
}

// last are the numbers of the last whole interval.
func (c *counts) last(now time.Time, length time.Duration) (requests, failures int64) {
	return c.of(number(now, length) - 1)
}

// recent are the numbers of the last whole interval and the present one together.
func (c *counts) recent(now time.Time, length time.Duration) (requests, failures int64) {
	n := number(now, length)
	r1, f1 := c.of(n - 1)
	r2, f2 := c.of(n)
	return r1 + r2, f1 + f2
}
