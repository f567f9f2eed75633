package redisstate

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How many calls in a row must fail before no more are made. In a cluster that has lost one of its servers most calls still succeed;
// five in a row that do not are common there, and say little.
const (
	failuresToOpen        = 5
	failuresToOpenCluster = 50
)

// tellEvery is how often refusals are logged: each request may meet one.
const tellEvery = time.Minute

// breaker keeps requests from waiting for a server that does not answer. No request ever tries whether it does again: keep does, in
// the background, so that nobody waits for the outcome.
type breaker struct {
	limit    int32
	failures atomic.Int32 // in a row
	open     atomic.Bool
	opened   chan struct{} // told when it opens; of size 1

	mu     sync.Mutex // held to change open, and for what Status tells
	up     bool
	since  time.Time
	last   string // error
	lastAt time.Time
	told   time.Time // when a refusal was last logged
}

// succeeded notes a call that was answered.
func (c *Client) succeeded() {
	if b := &c.breaker; b.failures.Load() != 0 { // spares the healthy case a write that all CPUs would have to hear of
		b.failures.Store(0)
	}
}

// refused notes a call that a server which is well did not like.
func (c *Client) refused(e *awayError) {
	c.succeeded()
	b, now := &c.breaker, c.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.lastAt = e.text, now
	if b.told.IsZero() || now.Sub(b.told) >= tellEvery {
		b.told = now
		c.log.Warn("the shared state refused a call", "server", c.at.String(), "error", e.text)
	}
}

// failed notes a call that was not answered, and opens the breaker if it was one too many.
func (c *Client) failed(e *awayError) {
	b, now := &c.breaker, c.now()
	many := b.failures.Add(1) >= b.limit
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.lastAt = e.text, now
	if !many || b.open.Load() {
		return
	}
	b.open.Store(true)
	b.up, b.since = false, now
	c.metrics.up.Set(0)
	c.log.Warn("the shared state is away", "server", c.at.String(), "reason", string(e.why), "error", e.text)
	select {
	case b.opened <- struct{}{}:
	default:
	}
}

// back notes that the server does its work, and closes the breaker.
func (c *Client) back() {
	b, now := &c.breaker, c.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures.Store(0)
	b.open.Store(false)
	if !b.up {
		c.log.Info("the shared state is there", "server", c.at.String(), "after", now.Sub(b.since))
		b.up, b.since = true, now
		c.metrics.up.Set(1)
	}
}

// Status tells how the Client is.
func (c *Client) Status() Status {
	b := &c.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	return Status{
		Mode: string(c.at.mode), Address: strings.Join(c.at.addrs, ","), Up: b.up, Since: b.since,
		LastError: b.last, LastErrorAt: b.lastAt, Replicas: c.Replicas(), OtherPepper: c.otherPepper.Load(),
	}
}
