package redisstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

const (
	indexKey       = "gw:keys"         // a sorted set: the ids of all keys, all with the score 0, and so in the order of their bytes
	changedChannel = "gw:keys:changed" // where the id of each key that changes is told
)

func recordKey(id string) string { return "gw:key:" + id }

// updateTries is how often an update begins anew because somebody else was faster.
const updateTries = 16

// StoredKey implements keystore.Store.
func (c *Client) StoredKey(ctx context.Context, id string) (*policy.KeyRecord, error) {
	r, _, err := c.stored(ctx, id)
	return r, err
}

// stored returns a key, and the bytes it is stored as.
func (c *Client) stored(ctx context.Context, id string) (*policy.KeyRecord, string, error) {
	if !keystore.ValidID(id) {
		return nil, "", nil
	}
	var raw, used string
	err := c.admin(ctx, func(ctx context.Context) error {
		p := c.rdb.Pipeline()
		record, last := p.Get(ctx, recordKey(id)), p.HGet(ctx, usedKey, id)
		_, _ = p.Exec(ctx) // each command holds its own error
		raw, used = record.Val(), last.Val()
		if err := last.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		return record.Err()
	})
	if errors.Is(err, redis.Nil) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	r, err := decode(id, raw)
	if err != nil {
		return nil, "", err
	}
	r.LastUsed = lastUsed(used)
	return r, raw, nil
}

// PutKey implements keystore.Store. The id is listed before the record is written: if that fails in between, there is an id in the
// list without a record, which listing skips. The other way round there would be a key that works and that nobody sees.
func (c *Client) PutKey(ctx context.Context, r *policy.KeyRecord) error {
	if err := keystore.Check(r); err != nil {
		return err
	}
	if err := c.admin(ctx, func(ctx context.Context) error {
		return c.rdb.ZAdd(ctx, indexKey, redis.Z{Member: r.ID}).Err()
	}); err != nil {
		return err
	}
	stored, err := c.swap(ctx, "", r)
	if err == nil && !stored {
		err = keystore.ErrKeyExists
	}
	return err
}

// UpdateKey implements keystore.Store.
func (c *Client) UpdateKey(ctx context.Context, id string, edit func(*policy.KeyRecord) error) (*policy.KeyRecord, error) {
	for range updateTries {
		old, raw, err := c.stored(ctx, id)
		if err != nil {
			return nil, err
		}
		if old == nil {
			return nil, keystore.ErrNoKey
		}
		r, err := keystore.Edit(old, edit)
		if err != nil {
			return nil, err
		}
		stored, err := c.swap(ctx, raw, r)
		if err != nil {
			return nil, err
		}
		if stored {
			return r, nil
		}
	}
	return nil, keystore.ErrContended
}

// swap stores a record in place of what was read, and reports whether that was still there.
func (c *Client) swap(ctx context.Context, old string, r *policy.KeyRecord) (bool, error) {
	stored := *r
	stored.LastUsed = time.Time{} // see usedKey
	raw, err := json.Marshal(&stored)
	if err != nil {
		return false, fmt.Errorf("encode the record of API key %s: %w", r.ID, err)
	}
	var n int64
	err = c.admin(ctx, func(ctx context.Context) (err error) {
		n, err = swapScript.number(ctx, c.rdb, recordKey(r.ID), old, raw, changedChannel, r.ID)
		return err
	})
	c.keys.forget(r.ID) // whatever came of it
	return n == 1, err
}

// Keys implements keystore.Store.
func (c *Client) Keys(ctx context.Context, after string, limit int) ([]policy.KeyRecord, string, error) {
	limit = keystore.Page(limit)
	from := "-"
	if after != "" {
		from = "(" + after
	}
	var ids []string
	var raws []*redis.StringCmd
	var used []any
	err := c.admin(ctx, func(ctx context.Context) (err error) {
		ids, err = c.rdb.ZRangeByLex(ctx, indexKey, &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
		if err != nil || len(ids) == 0 {
			return err
		}
		p := c.rdb.Pipeline()
		for _, id := range ids {
			raws = append(raws, p.Get(ctx, recordKey(id)))
		}
		last := p.HMGet(ctx, usedKey, ids...)
		_, _ = p.Exec(ctx) // each command holds its own error
		used, err = last.Result()
		return err
	})
	if err != nil {
		return nil, "", err
	}
	records := make([]policy.KeyRecord, 0, len(ids))
	for i, id := range ids {
		raw, err := raws[i].Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, "", c.judge(ctx, err)
		}
		r, err := decode(id, raw)
		if err != nil {
			return nil, "", err
		}
		if text, ok := used[i].(string); ok {
			r.LastUsed = lastUsed(text)
		}
		records = append(records, *r)
	}
	if len(ids) < limit {
		return records, "", nil
	}
	return records, ids[len(ids)-1], nil
}

// lastUsed reads a field of usedKey; the zero time stands for never, or for what cannot be read.
func lastUsed(text string) time.Time {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// admin is a call that no request waits for.
func (c *Client) admin(ctx context.Context, ask func(context.Context) error) error {
	return c.call(ctx, adminBudget, c.metrics.admin, ask)
}
