package jwt

import (
	"crypto/sha256"
	"sync"
	"time"
	"unsafe"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/policy"
)

// verdicts remembers tokens that were verified, so that one that comes again costs a lookup. It knows them by their digest, and holds
// no token.
type verdicts struct{ shards [16]shard }

type shard struct {
	mu     sync.RWMutex
	all    map[digest]*known
	weight int
}

// digest is the SHA-256 of a token.
type digest [sha256.Size]byte

// known is a verified token. It counts only while the issuer's keys are the ones it was verified with.
type known struct {
	principal *policy.Principal
	keys      *jose.Set
	id        string    // jti
	expires   time.Time // the skew included
	weight    int
}

// shardWeight bounds what a shard takes of memory, in bytes by rough account: all of them take 64 MiB at most.
const shardWeight = 4 << 20

func newVerdicts() *verdicts {
	v := &verdicts{}
	for i := range v.shards {
		v.shards[i].all = map[digest]*known{}
	}
	return v
}

// digestOf does not copy the token, which would be half of what a lookup costs.
func digestOf(token string) digest {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token)))
}

// get returns a token that was verified with these keys and has not expired, or nil.
func (v *verdicts) get(d digest, keys *jose.Set, now time.Time) *known {
	s := &v.shards[d[0]%16]
	s.mu.RLock()
	k := s.all[d]
	s.mu.RUnlock()
	if k == nil || k.keys != keys || !now.Before(k.expires) {
		return nil
	}
	return k
}

// put remembers a token. When there is no room, others go, whichever comes first: that is random, and what is used soon comes back.
func (v *verdicts) put(d digest, k *known, size int) {
	k.weight = 512 + 6*size // decoded claims take several times their text
	s := &v.shards[d[0]%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[d]; old != nil {
		s.weight -= old.weight
	}
	for other, o := range s.all {
		if s.weight+k.weight <= shardWeight {
			break
		}
		s.weight -= o.weight
		delete(s.all, other)
	}
	s.all[d] = k
	s.weight += k.weight
}
