package redisstate

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/runtime/state/keystore"
)

// pepperKey is where the fingerprint of this environment's pepper is, as the first gateway has written it. Who has another one takes every
// key that the others make for a wrong one.
func (c *Client) pepperKey() string {
	if c.env == "" {
		return "gw:pepper"
	}
	return "gw:pepper:" + c.env
}

// ComparePepper implements keystore.Store. It is asked with each beat too: so the difference shows before anybody makes a key, and is over
// soon after it was mended.
func (c *Client) ComparePepper(ctx context.Context) error {
	if c.fingerprint == "" {
		return nil
	}
	var there string
	err := c.admin(ctx, func(ctx context.Context) error {
		p := c.rdb.Pipeline()
		p.SetArgs(ctx, c.pepperKey(), c.fingerprint, redis.SetArgs{Mode: "NX"})
		got := p.Get(ctx, c.pepperKey())
		_, _ = p.Exec(ctx) // that it is there already is an error; what counts is what is there now
		there = got.Val()
		return got.Err()
	})
	if errors.Is(err, redis.Nil) { // it could not be written, and nobody else has
		return nil
	}
	if err != nil {
		return err
	}
	differs := there != c.fingerprint
	c.tellPepper(differs)
	if differs {
		return keystore.ErrPepper
	}
	return nil
}

// tellPepper notes whether the peppers differ, and logs it when that changes.
func (c *Client) tellPepper(differ bool) {
	if c.otherPepper.Swap(differ) == differ {
		return
	}
	if !differ {
		c.metrics.otherPepper.Set(0)
		c.log.Info("the pepper of API keys is that of the other gateways again", "key", c.pepperKey())
		return
	}
	c.metrics.otherPepper.Set(1)
	c.log.Error("the pepper of API keys is not that of the other gateways: keys that they made are invalid here; give every gateway of the "+
		"environment the same GWRUN_API_KEY_PEPPER; if it was replaced on purpose, delete the key in Redis when all of them have the new one",
		"key", c.pepperKey())
}
