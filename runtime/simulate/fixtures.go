package simulate

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/policy"
)

// pepper is what API keys are hashed under in tests.
var pepper = []byte("a pepper for tests that everybody may know")

// secretOf is the value behind a reference to a secret. Any would do that is long enough for all its uses; this one is the same in every
// run, and nobody takes it for a real one.
func secretOf(ref string) []byte {
	sum := sha512.Sum512([]byte("a secret for tests: " + ref))
	return []byte(hex.EncodeToString(sum[:]))
}

// secrets implements policy.Secrets.
type secrets struct{ w *world }

// Hold implements policy.Secrets.
func (s secrets) Hold(ref string) (policy.Secret, error) { return &secret{s.w, secretOf(ref)}, nil }

type secret struct {
	w     *world
	value []byte
}

var errAway = errors.New("the test says that it is away")

// Value implements policy.Secret.
func (s *secret) Value() ([]byte, uint64, error) {
	if s.w.away["secrets"] {
		return nil, 0, errAway
	}
	return s.value, 1, nil
}

// Close implements policy.Secret.
func (*secret) Close() error { return nil }

// keySets implements policy.KeySets.
type keySets struct{ w *world }

// Hold implements policy.KeySets.
func (k keySets) Hold(s policy.KeySource) (policy.KeySet, error) {
	return &keySet{k.w, k.w.issuers.of(place{s.Issuer, s.JWKSURI, s.DiscoveryURL})}, nil
}

type keySet struct {
	w *world
	*issuer
}

// Keys implements policy.KeySet.
func (k *keySet) Keys(context.Context, string) (*jose.Set, error) {
	if k.w.away["keys"] {
		return nil, policy.ErrKeysAway
	}
	return k.set(), nil
}

// Current implements policy.KeySet.
func (k *keySet) Current() *jose.Set {
	if k.w.away["keys"] {
		return nil
	}
	return k.set()
}

// Close implements policy.KeySet.
func (*keySet) Close() error { return nil }

// state implements policy.State with the state of the case, which may be away.
type state struct{ w *world }

// Take implements policy.State.
func (s state) Take(ctx context.Context, buckets []policy.Bucket) ([]policy.Taken, error) {
	if s.w.away["state"] {
		return nil, policy.ErrStateAway
	}
	return s.w.state.Take(ctx, buckets)
}

// First implements policy.State.
func (s state) First(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if s.w.away["state"] {
		return false, policy.ErrStateAway
	}
	return s.w.state.First(ctx, name, ttl)
}

// Key implements policy.State.
func (s state) Key(ctx context.Context, id string) (*policy.KeyRecord, error) {
	if s.w.away["state"] {
		return nil, policy.ErrStateAway
	}
	return s.w.state.Key(ctx, id)
}

// KeyUsed implements policy.State.
func (s state) KeyUsed(id string, at time.Time) { s.w.state.KeyUsed(id, at) }

// Replicas implements policy.State.
func (state) Replicas() int { return 1 }

// uncounted implements policy.Metrics and policy.Series: a test looks at answers.
type uncounted struct{}

// Series implements policy.Metrics.
func (uncounted) Series(*policy.Vector, ...string) policy.Series { return uncounted{} }

// Add implements policy.Series.
func (uncounted) Add(float64) {}

// Set implements policy.Series.
func (uncounted) Set(float64) {}
