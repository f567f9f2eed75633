package policy

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/suuupra/gateway/internal/jose"
)

// Env is all a policy may reach. What can fail says here what its errors mean; which answer that makes is the policy's decision.
type Env struct {
	Log    *slog.Logger // with policy and route attached
	Now    func() time.Time
	Shared Shared

	Route       Route  // the policy is built for
	Upstream    string // id of the upstream the route goes to
	Environment string // of the configuration, such as prod

	Metrics Metrics
	Secrets Secrets
	KeySets KeySets
	State   State // nil: this gateway shares nothing with others, and a policy that needs it cannot be built

	// Pepper is what the secrets of API keys are hashed under; nil: gwrun was given none, and no key can be judged.
	Pepper []byte
}

// ErrNoState says that a policy needs state that gateways share, and gwrun was started without.
var ErrNoState = errors.New("it needs state that gateways share: start gwrun with --redis")

// Shared keeps what must survive a swap: pools, breakers, key sets. Key is the kind and a digest of the settings that
// shape the value; a value lives as long as one snapshot holds it.
type Shared interface {
	Get(key string, create func() (any, error)) (value any, release func(), err error)
}

// Secrets resolves references to secrets.
type Secrets interface {
	// Hold follows a secret. It fails for a reference that is malformed, not for a secret that is not there yet.
	Hold(ref string) (Secret, error)
}

// Secret is the current value behind a reference. Once there was one it stays good until there is another, or Close.
type Secret interface {
	// Value returns the value, which the caller must not change, and a number that changes with it. The error says why there was
	// never one; it holds no value.
	Value() (value []byte, version uint64, err error)
	Close() error
}

// KeySets hands out the keys of token issuers. One fetcher serves all routes of the process that trust the same issuer alike.
type KeySets interface {
	Hold(s KeySource) (KeySet, error)
}

// KeySource says where an issuer's keys are, and how they are fetched.
type KeySource struct {
	Issuer       string
	JWKSURI      string // either this
	DiscoveryURL string // or this
	MaxAge       time.Duration
	// Private lets the fetcher dial private and loopback addresses, and speak plain http.
	Private bool
}

// KeySet is the keys of one issuer as they are known now.
type KeySet interface {
	// Keys returns the keys to verify a token with that names the key id (empty: none). If the issuer's keys are not known, or none has
	// that id, it may ask the issuer first, as often as is decent. ErrKeysAway: there are none, and never were.
	Keys(ctx context.Context, id string) (*jose.Set, error)
	// Current is the keys that are at hand and may be used; nil if there are none. It asks nobody. While an issuer's keys stay the
	// same, so does the pointer.
	Current() *jose.Set
	Close() error
}

// ErrKeysAway says that the keys of an issuer were never had, or are too old to be used.
var ErrKeysAway = errors.New("the issuer's keys are not available")

// State is what gateways share. Its methods return within some tens of milliseconds whatever becomes of the server behind it;
// ErrStateAway says that it could not be asked.
type State interface {
	// Take asks for tokens of several buckets at once: either all of them grant theirs, or none is changed. The results are in the
	// order of the buckets.
	Take(ctx context.Context, buckets []Bucket) ([]Taken, error)
	// First reports whether nobody has asked for the same name before, within the time to live that was given then. It is how a
	// token is told from its replay.
	First(ctx context.Context, name string, ttl time.Duration) (bool, error)
	// Key returns the record of an API key, nil if there is none. The record is shared: nobody may change it. It may be as old as a revocation takes to be told: two seconds at
	// the worst.
	Key(ctx context.Context, id string) (*KeyRecord, error)
	// KeyUsed notes that a key was used, now and then.
	KeyUsed(id string, at time.Time)
	// Replicas is how many gateways share the state now, as far as is known; at least 1.
	Replicas() int
}

// ErrStateAway says that the server behind State did not answer in time.
var ErrStateAway = errors.New("the shared state is not available")

// Bucket is a token bucket: it holds Burst tokens, and gets one every Every.
type Bucket struct {
	// Name tells it from all others. It may hold what a client has sent, so that whoever stores it must be content with any bytes.
	Name  string
	Every time.Duration
	Burst int64
	Cost  int64 // tokens to take, at most Burst; 0 looks only
}

// Taken is what became of one bucket.
type Taken struct {
	Granted   bool          // this bucket had the tokens; they are taken if all had theirs
	Remaining int64         // tokens left
	Reset     time.Duration // until it is full again
	Retry     time.Duration // until it has the tokens that were asked for; 0 if granted
}

// KeyRecord is an API key as it is stored. There is no secret in it.
type KeyRecord struct {
	ID          string   `json:"id"`
	Environment string   `json:"environment"`
	Owner       string   `json:"owner"`
	Tenant      string   `json:"tenant,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	// Hashes are HMAC-SHA-256 of the live secrets under the pepper, hex, the newest first; one that is being replaced ends with "@" and
	// the Unix time until which it is good.
	Hashes   []string  `json:"hashes"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
	Revoked  time.Time `json:"revoked,omitzero"` // zero: it is not
	LastUsed time.Time `json:"lastUsed,omitzero"`
}
