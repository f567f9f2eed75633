package redisstate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

// How long a record is used without asking again. A revocation must be known within two seconds: either because the channel tells it,
// as long as that is known to work (see follow), or because nothing older is used.
const (
	trusted   = 10 * time.Second // while changes are told: what nobody told, such as a flushed server, shows after that
	untrusted = 2 * time.Second  // while they are not; and that there is no such key, in any case
)

// The bounds of the cache. Keys that exist and ids that do not are kept apart, so that who guesses ids cannot push keys out.
const (
	cacheShards = 16
	cacheKeys   = 10_000 / cacheShards
	cacheMisses = 4_096 / cacheShards
)

// cache holds records that were read lately.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]shard
	flight singleflight.Group

	// told is until when a change is known to be told, as the time since Open.
	told atomic.Int64
}

type shard struct {
	mu     sync.RWMutex
	found  map[string]entry
	absent map[string]entry
	drops  uint64 // changes told; a record that was asked for before one and comes after it may be the old one
}

type entry struct {
	record *policy.KeyRecord
	asked  time.Duration // since Open; before the question was sent, as the answer may be that old
	early  time.Duration // how much less than its time it lives, so that what came together does not expire together
}

func (k *cache) init() {
	k.seed = maphash.MakeSeed()
	k.drop()
}

func (k *cache) shard(id string) *shard { return &k.shards[maphash.String(k.seed, id)%cacheShards] }

// get returns what is known about a key at a time.
func (k *cache) get(id string, now time.Duration) (r *policy.KeyRecord, known bool) {
	s := k.shard(id)
	s.mu.RLock()
	e, ok := s.found[id]
	if !ok {
		e, ok = s.absent[id]
	}
	s.mu.RUnlock()
	life := untrusted - e.early
	if e.record != nil && now < time.Duration(k.told.Load()) {
		life = trusted - e.early*(trusted/untrusted)
	}
	return e.record, ok && now-e.asked < life
}

// begin is called before a key is asked for; put takes the result.
func (k *cache) begin(id string) (drops uint64) {
	s := k.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.drops
}

func (k *cache) put(id string, r *policy.KeyRecord, asked time.Duration, drops uint64) {
	s := k.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops != drops {
		return
	}
	in, out, most := s.found, s.absent, cacheKeys
	if r == nil {
		in, out, most = s.absent, s.found, cacheMisses
	}
	delete(out, id)
	if _, ok := in[id]; !ok && len(in) >= most {
		for other := range in { // whichever comes first: the order of a map is no order
			delete(in, other)
			break
		}
	}
	in[id] = entry{record: r, asked: asked, early: rand.N(untrusted / 4)}
}

// forget drops what is known about one key.
func (k *cache) forget(id string) {
	s := k.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops++
	delete(s.found, id)
	delete(s.absent, id)
}

// drop drops everything.
func (k *cache) drop() {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		s.drops++
		s.found, s.absent = map[string]entry{}, map[string]entry{}
		s.mu.Unlock()
	}
}

// Key implements policy.State. The record is shared: nobody may change it. If Redis is away, what is known is used for as long as it
// would be otherwise, and no longer.
func (c *Client) Key(ctx context.Context, id string) (*policy.KeyRecord, error) {
	if !keystore.ValidID(id) {
		return nil, nil
	}
	if r, ok := c.keys.get(id, c.elapsed()); ok {
		c.metrics.hit.Add(1)
		return r, nil
	}
	c.metrics.miss.Add(1)
	// One question serves all who ask at the same time, so it must not end because one of them leaves.
	got, err, _ := c.keys.flight.Do(id, func() (any, error) { return c.fetch(context.WithoutCancel(ctx), id) })
	if err != nil {
		return nil, err
	}
	return got.(*policy.KeyRecord), nil
}

// fetch asks Redis for a key, and keeps the answer.
func (c *Client) fetch(ctx context.Context, id string) (*policy.KeyRecord, error) {
	asked, drops := c.elapsed(), c.keys.begin(id)
	var raw string
	err := c.call(ctx, c.budget, c.metrics.key, func(ctx context.Context) (err error) {
		raw, err = c.rdb.Get(ctx, recordKey(id)).Result()
		return err
	})
	var r *policy.KeyRecord
	if err == nil {
		r, err = decode(id, raw)
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	c.keys.put(id, r, asked, drops)
	return r, nil
}

// maxRecord bounds a record, in bytes. What is stored is smaller: keystore.Check.
const maxRecord = 64 << 10

func decode(id, raw string) (*policy.KeyRecord, error) {
	if len(raw) > maxRecord {
		return nil, fmt.Errorf("API key %s: its record has %d bytes; %d are allowed", id, len(raw), maxRecord)
	}
	r := &policy.KeyRecord{}
	if err := json.Unmarshal([]byte(raw), r); err != nil {
		return nil, fmt.Errorf("API key %s: decode its record: %w", id, err)
	}
	if r.ID != id {
		return nil, fmt.Errorf("API key %s: its record is of another key", id)
	}
	return r, nil
}
