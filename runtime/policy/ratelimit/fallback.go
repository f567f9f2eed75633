package ratelimit

import (
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/runtime/policy"
)

// maxBuckets bounds how many buckets of a tenant a gateway keeps count of by itself, and how many leases it has: at the worst some
// 40 MB of each.
const maxBuckets = 100_000

// lookAt is how many buckets are looked at for one that is full, and so can be forgotten, before another one is made.
const lookAt = 8

// fallback counts in the memory of one gateway while the shared state is away. It knows nothing of what was used up before, and
// begins with full buckets; it keeps them when the state comes back, so that one that comes and goes opens no door each time.
type fallback struct {
	mu   sync.Mutex
	full map[string]int64 // when a bucket is full again
}

// share is the part of a bucket that one of several gateways may grant by itself: it is filled so many times more slowly and holds
// so many times less, but no less than one request.
func share(b gcra.Bucket, cost, replicas int64) gcra.Bucket {
	replicas = min(replicas, most/(b.Every*cost)) // one request in 73 years is slow enough
	return gcra.Bucket{Every: b.Every * replicas, Burst: max(b.Burst/replicas, cost)}
}

// take is policy.State.Take, of the shares.
func (f *fallback) take(now, replicas int64, limits []*limit, buckets []policy.Bucket) []policy.Taken {
	out, granted := make([]policy.Taken, len(buckets)), true
	var at [maxLimits]string
	var full [maxLimits]int64
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range limits {
		at[i] = f.place(now, buckets[i].Name, l)
		b := share(l.bucket, l.cost, replicas)
		t := b.Take(f.full[at[i]], now, l.cost)
		full[i], granted = t.Full, granted && t.Granted
		out[i] = policy.Taken{Granted: t.Granted, Remaining: t.Remaining, Reset: time.Duration(t.Full - now), Retry: time.Duration(t.Retry)}
	}
	if granted {
		for i := range limits {
			f.full[at[i]] = full[i]
		}
	}
	return out
}

// place is the name under which a bucket is kept: its own, or, if there is no room for another one, the one that the callers of the
// limit have together from then on. That is hard on whoever comes then, but a client with many addresses must not get rid of its
// limit by using them all.
func (f *fallback) place(now int64, name string, l *limit) string {
	if _, ok := f.full[name]; ok {
		return name
	}
	looked := 0
	for other, full := range f.full { // in random order
		if full <= now {
			delete(f.full, other)
		}
		if looked++; looked == lookAt {
			break
		}
	}
	if len(f.full) < maxBuckets {
		return name
	}
	return l.overflow
}
