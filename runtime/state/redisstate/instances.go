package redisstate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// How a gateway shows that it is alive, and how soon it looks whether Redis is there again. One that ended without a word is counted
// for three beats more; a server that returns is used within two seconds.
const (
	beatEvery  = 5 * time.Second
	beatCounts = 15 * time.Second
	firstProbe = 250 * time.Millisecond
	lastProbe  = time.Second
)

// Replicas implements policy.State: the gateways of the same environment that were alive in the last 15 s. While Redis is away it
// is what was last heard.
func (c *Client) Replicas() int { return int(c.replicas.Load()) }

// keep shows that this gateway is alive, counts the others, and tries whether a server that was away is there again: after a quarter
// of a second, then ever later, up to a second. It does so with a write, as a server that cannot write is of no use.
func (c *Client) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	probe := firstProbe
	again := func() {
		timer.Reset(jitter(probe))
		probe = min(2*probe, lastProbe)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.breaker.opened:
			again()
			continue
		case <-timer.C:
		}
		wasOpen := c.breaker.open.Load()
		if !c.beat(ctx) {
			again()
			continue
		}
		if !wasOpen { // who only just came back may soon be gone again
			probe = firstProbe
		}
		_ = c.ComparePepper(ctx) // it is logged
		c.flushUsage(ctx)
		timer.Reset(jitter(beatEvery))
	}
}

// beat reports whether Redis took the beat within the budget of a request. The first try may have to dial, which can take longer; a
// second one on the connection it has made may not.
func (c *Client) beat(ctx context.Context) bool {
	if c.breaker.open.Load() {
		c.reloadSlots(ctx)
	}
	var n int64
	for range 2 {
		start := time.Now()
		inner, cancel := context.WithTimeout(ctx, ioTimeout)
		err := guarded(func() (err error) {
			n, err = beatScript.number(inner, c.rdb, c.instances(), c.instance, beatCounts.Milliseconds())
			return err
		})
		cancel()
		took := time.Since(start)
		c.metrics.beats.calls.Add(1)
		c.metrics.beats.seconds.Add(took.Seconds())
		if err != nil {
			_ = c.judge(ctx, err) // counted and logged
			return false
		}
		if took <= c.budget {
			c.replicas.Store(max(n, 1))
			c.metrics.replicas.Set(float64(max(n, 1)))
			c.back()
			return true
		}
	}
	_ = c.judge(ctx, fmt.Errorf("a reply took longer than %s: %w", c.budget, context.DeadlineExceeded))
	return false
}

// reloadSlots makes the driver read anew which server of a cluster has what.
func (c *Client) reloadSlots(ctx context.Context) {
	if r, ok := c.rdb.(interface{ ReloadState(context.Context) }); ok {
		r.ReloadState(ctx)
	}
}

// leave lets the others know at once that this gateway is gone, takes back what it said of itself, and writes down when keys were last
// used.
func (c *Client) leave(ctx context.Context) {
	if c.breaker.open.Load() {
		return
	}
	c.flushUsage(ctx)
	c.withdraw(ctx)
	_ = c.rdb.ZRem(ctx, c.instances(), c.instance).Err() // else they notice after beatCounts
}

// instances is the set of the gateways of this environment.
func (c *Client) instances() string {
	if c.env == "" {
		return "gw:instances"
	}
	return "gw:instances:" + c.env
}

// jitter is a duration less up to a quarter, so that the gateways of a fleet do not act at the same moment.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/4) }
