// Package memstate is the shared state of a gateway that shares it with no other: for gwrun dev, and for tests. It forgets everything
// when the process ends, and must not serve where there is a second gateway.
package memstate

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/bucket"
)

// Options are what a State is made of. The zero value will do.
type Options struct {
	Now func() time.Time // nil: time.Now
}

// most is how many buckets, and how many names that were asked for once, are kept: some 60 MB of each.
const most = 1_000_000

// State implements policy.State and keystore.Store. It owns no goroutine and needs no Close.
type State struct {
	now func() time.Time

	mu      sync.Mutex
	buckets expiring // until each is full again
	once    expiring // until each name may be asked for again

	keys keys
}

// New makes an empty state.
func New(o Options) *State {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &State{
		now: o.Now, buckets: expiring{most: most}, once: expiring{most: most},
		keys: keys{all: map[string]*policy.KeyRecord{}, used: map[string]time.Time{}},
	}
}

// Take implements policy.State. It fails if the buckets make no sense, and with policy.ErrStateAway if a million buckets that are
// not full are known already: whoever can fill that many must not be able to empty them.
func (s *State) Take(_ context.Context, buckets []policy.Bucket) ([]policy.Taken, error) {
	if err := bucket.Check(buckets); err != nil {
		return nil, err
	}
	if len(buckets) == 0 {
		return nil, nil
	}
	taken := make([]policy.Taken, len(buckets))
	var names [bucket.Most][16]byte
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().UnixNano()
	all, added := true, 0
	for i := range buckets {
		b := &buckets[i]
		names[i] = digest(b.Name)
		full, known := s.buckets.until[names[i]]
		t := bucket.Shape(b).Take(full, now, b.Cost)
		all = all && t.Granted
		taken[i].Granted = t.Granted
		if !known && b.Cost > 0 {
			added++
		}
	}
	if all && !s.buckets.room(added, now) {
		return nil, fmt.Errorf("%w: it keeps no more than %d buckets", policy.ErrStateAway, most)
	}
	for i := range buckets {
		b := &buckets[i]
		cost := b.Cost
		if taken[i].Granted && !all {
			cost = 0
		}
		t := bucket.Shape(b).Take(s.buckets.until[names[i]], now, cost)
		taken[i].Remaining, taken[i].Reset, taken[i].Retry = t.Remaining, time.Duration(t.Full-now), time.Duration(t.Retry)
		if all && cost > 0 {
			s.buckets.put(names[i], t.Full)
		}
	}
	return taken, nil
}

// First implements policy.State. It fails with policy.ErrStateAway if a million names are known already and none may be forgotten.
func (s *State) First(_ context.Context, name string, ttl time.Duration) (bool, error) {
	if ttl <= 0 {
		return false, fmt.Errorf("remember a name for %s: it must be for longer than nothing", ttl)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, key := s.now().UnixNano(), digest(name)
	if s.once.until[key] > now {
		return false, nil
	}
	if !s.once.room(1, now) {
		return false, fmt.Errorf("%w: it keeps no more than %d names", policy.ErrStateAway, most)
	}
	s.once.put(key, now+int64(ttl))
	return true, nil
}

// Replicas implements policy.State.
func (*State) Replicas() int { return 1 }

// digest stands for a name, so that what is kept of it is small however long it is, and belongs to nobody's buffer.
func digest(name string) [16]byte {
	var room [256]byte // most names fit, and need no memory of their own
	sum := sha256.Sum256(append(room[:0], name...))
	return [16]byte(sum[:16])
}

// expiring keeps a bounded number of names, each until a moment after which it means nothing.
type expiring struct {
	until map[[16]byte]int64
	most  int
	sweep int   // names at which the expired ones are looked for
	swept int64 // when they last were
}

// room reports whether n more names may be put.
func (e *expiring) room(n int, now int64) bool {
	if len(e.until)+n > e.sweep && (e.sweep < e.most || now-e.swept >= int64(time.Second)) {
		for name, until := range e.until {
			if until <= now {
				delete(e.until, name)
			}
		}
		// A sweep looks at every name, so it pays only after they have doubled; at the bound it is not worth it for every newcomer.
		e.sweep, e.swept = min(max(2*len(e.until), 1024), e.most), now
	}
	return len(e.until)+n <= e.most
}

func (e *expiring) put(name [16]byte, until int64) {
	if e.until == nil {
		e.until = map[[16]byte]int64{}
	}
	e.until[name] = until
}
