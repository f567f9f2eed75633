package redisstate

import (
	"context"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/state/keystore"
)

// usedKey is a hash: when each API key was last used, in seconds since 1970. It is apart from the records so that noting a use does
// not get in the way of changing one, and tells nobody.
const usedKey = "gw:keys:used"

// The bounds of what is remembered about uses.
const (
	maxUsage   = 10_000
	usageBatch = 500
)

// usage is when keys were used, until it is written down with the next beat. What is too much, or comes while Redis is away, is lost:
// it is a hint for people.
type usage struct {
	mu      sync.Mutex
	noted   map[string]time.Time // within the last minute, more or less
	pending map[string]int64
}

// KeyUsed implements policy.State.
func (c *Client) KeyUsed(id string, at time.Time) {
	u := &c.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.noted[id]; ok && at.Sub(last) < keystore.UsedEvery || !keystore.ValidID(id) {
		return
	}
	if u.noted == nil || len(u.noted) >= maxUsage {
		u.noted = map[string]time.Time{}
	}
	u.noted[id] = at
	if u.pending == nil {
		u.pending = map[string]int64{}
	}
	if len(u.pending) < maxUsage {
		u.pending[id] = at.Unix()
	}
}

// flushUsage writes down what is pending, as far as it can.
func (c *Client) flushUsage(ctx context.Context) {
	c.usage.mu.Lock()
	pending := c.usage.pending
	c.usage.pending = nil
	c.usage.mu.Unlock()
	batch := make([]any, 0, 2*min(len(pending), usageBatch))
	for id, at := range pending {
		batch = append(batch, id, at)
		if len(batch) == cap(batch) {
			if !c.writeUsage(ctx, batch) {
				return
			}
			batch = batch[:0]
		}
	}
	if len(batch) > 0 {
		c.writeUsage(ctx, batch)
	}
}

func (c *Client) writeUsage(ctx context.Context, batch []any) bool {
	return c.call(ctx, adminBudget, c.metrics.admin, func(ctx context.Context) error {
		return c.rdb.HSet(ctx, usedKey, batch...).Err()
	}) == nil
}
