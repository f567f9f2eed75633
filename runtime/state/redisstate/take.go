package redisstate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/bucket"
)

// most is the size of a bucket that can be calculated with, in microseconds: 71 years. Redis calculates in floating point, which is
// exact below 2^53; with the microseconds since 1970 on top this stays below it until the year 2184.
const most = int64(1) << 51

// Take implements policy.State. It asks Redis once, whatever the number of buckets and together with others that ask now, and by Redis' clock; to the microsecond, in which
// what a token costs is rounded up, so that never more is granted than the bucket allows.
//
// In a cluster, buckets may lie on several servers, which no script can change together. Take then asks twice: what all of them hold,
// and for the tokens if all have theirs. If others take the last tokens of one in between, it refuses although it has taken those of
// the others: the request is refused, and no bucket ever grants more than it holds, but some may be short of one request's tokens.
func (c *Client) Take(ctx context.Context, buckets []policy.Bucket) ([]policy.Taken, error) {
	if err := bucket.Check(buckets); err != nil {
		return nil, err
	}
	if len(buckets) == 0 {
		return nil, nil
	}
	asks := make([]ask, len(buckets))
	for i := range buckets {
		b := &buckets[i]
		asks[i] = ask{key: c.key('b', b.Name), size: micros(b.Burst, b.Every), want: micros(b.Cost, b.Every)}
		if asks[i].size > most {
			return nil, fmt.Errorf("bucket %d of %d: burst %d, one token each %s, takes longer than 71 years to fill", i+1, len(buckets), b.Burst, b.Every)
		}
	}
	var err error
	switch {
	case c.at.mode != cluster:
		err = c.fly(ctx, asks)
	case len(asks) == 1:
		err = c.call(ctx, c.budget, c.metrics.take, func(ctx context.Context) error { return c.askAll(ctx, []*passenger{{asks: asks}}) })
	default:
		err = c.call(ctx, c.budget, c.metrics.take, func(ctx context.Context) error { return c.askApart(ctx, asks) })
	}
	if err != nil {
		return nil, err
	}
	return results(buckets, asks), nil
}

// ask is what is asked of one bucket, and the answer.
type ask struct {
	key        string
	size, want int64 // microseconds
	granted    bool
	missing    int64 // microseconds until it was full
}

// micros is how long it takes until so many tokens have come. bucket.Check has seen to it that this does not overflow.
func micros(tokens int64, every time.Duration) int64 {
	return (tokens*int64(every) + int64(time.Microsecond) - 1) / int64(time.Microsecond)
}

// results turns answers into what the buckets are now: what they were, less what was taken if all had theirs.
func results(buckets []policy.Bucket, asks []ask) []policy.Taken {
	all := true
	for i := range asks {
		all = all && asks[i].granted
	}
	taken := make([]policy.Taken, len(asks))
	for i := range asks {
		a, b, t := &asks[i], &buckets[i], &taken[i]
		missing := a.missing
		if t.Granted = a.granted; !t.Granted {
			t.Retry = time.Duration(a.want-(a.size-missing)) * time.Microsecond
		}
		if all {
			missing += a.want
		}
		t.Remaining = min((a.size-missing)*int64(time.Microsecond)/int64(b.Every), b.Burst)
		t.Reset = time.Duration(missing) * time.Microsecond
	}
	return taken
}

// askApart asks buckets one by one, whatever server each is on: what all hold, and then for the tokens.
func (c *Client) askApart(ctx context.Context, asks []ask) error {
	looks := make([]ask, len(asks))
	for i, a := range asks {
		a.want = 0
		looks[i] = a
	}
	if err := c.askEach(ctx, looks); err != nil {
		return err
	}
	all := true
	for i := range asks {
		a := &asks[i]
		a.missing = looks[i].missing
		a.granted = a.want <= a.size-a.missing
		all = all && a.granted
	}
	if !all {
		return nil
	}
	return c.askEach(ctx, asks)
}

// askEach sends one command for each bucket, all at a time.
func (c *Client) askEach(ctx context.Context, asks []ask) error {
	cmds := make([]*redis.IntSliceCmd, len(asks))
	for _, whole := range []bool{false, true} {
		p := c.rdb.Pipeline()
		for i := range asks {
			if whole && !unknown(cmds[i].Err()) {
				continue
			}
			cmds[i] = takeCommand(ctx, whole, asks[i:i+1])
			_ = p.Process(ctx, once{cmds[i]}) // only put in line
		}
		if p.Len() > 0 {
			_, _ = p.Exec(ctx) // each command holds its own error
		}
	}
	for i := range cmds {
		if err := read(cmds[i], asks[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

func takeCommand(ctx context.Context, whole bool, asks []ask) *redis.IntSliceCmd {
	n := len(asks)
	args := make([]any, 3+3*n)
	args[0], args[1] = takeScript.words(whole)
	args[2] = n
	for i := range asks {
		a := &asks[i]
		args[3+i] = &a.key // pointers: in an interface a value would have to be allocated
		args[3+n+2*i], args[3+n+2*i+1] = &a.size, &a.want
	}
	cmd := redis.NewIntSliceCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

func read(cmd *redis.IntSliceCmd, asks []ask) error {
	answer, err := cmd.Result()
	if err != nil {
		return err
	}
	if len(answer) != 2*len(asks) {
		return fmt.Errorf("the script answered %d numbers for %d buckets", len(answer), len(asks))
	}
	for i := range asks {
		asks[i].granted, asks[i].missing = answer[2*i] == 1, answer[2*i+1]
	}
	return nil
}

// First implements policy.State.
func (c *Client) First(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, fmt.Errorf("remember a name for %s: it must be for longer than nothing", ttl)
	}
	ms := (ttl + time.Millisecond - 1).Milliseconds()
	var first bool
	err := c.call(ctx, c.budget, c.metrics.first, func(ctx context.Context) (err error) {
		cmd := redis.NewBoolCmd(ctx, "set", c.key('o', name), "1", "px", ms, "nx")
		err = c.rdb.Process(ctx, once{cmd})
		first = cmd.Val()
		return err
	})
	return first, err
}

// key is where a name is kept. The name may be anything that a client has sent, so that only its digest is used: no byte of it can
// mean something to Redis, nor choose a slot of a cluster with braces.
func (c *Client) key(sort byte, name string) string {
	var room [512]byte // most names fit, and need no memory of their own
	text := append(append(append(room[:0], c.env...), 0), name...)
	sum := sha256.Sum256(text)
	out := [5 + 22]byte{'g', 'w', ':', sort, ':'}
	base64.RawURLEncoding.Encode(out[5:], sum[:16]) // 16 bytes make 22 letters
	return string(out[:])
}
