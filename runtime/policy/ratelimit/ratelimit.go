// Package ratelimit bounds how often a route may be used. It counts in the state that gateways share, so that all of them together
// keep to the limit. It must never let a request pass because it could not count it, unless the author asked for that.
package ratelimit

import (
	"time"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/runtime/policy"
)

// Kind limits come after authentication, so that keys may use claims.
var Kind = policy.Define("rateLimit", policy.PhaseLimit, compile, build).With(requests, saturation, stateErrors).
	Either([]string{"tokensPerInterval", "intervalMs", "burst", "key", "scope", "cost", "localPercent"}, []string{"limits"})

// Plan is the compiled form. The single limit of an author who names none has the id "default".
type Plan struct {
	Limits   []Limit `json:"limits"`
	OnError  string  `json:"onError"`  // onErrorLocal, onErrorOpen or onErrorClosed
	Replicas int64   `json:"replicas"` // gateways that are there at least
	Headers  string  `json:"headers"`  // headersStandard, headersLegacy or headersNone
	Shadow   bool    `json:"shadow"`
}

// What happens while the shared state is away.
const (
	onErrorLocal  = "local"  // each gateway counts by itself, with its share
	onErrorOpen   = "open"   // no limit
	onErrorClosed = "closed" // no request
)

// Which header fields say where a client stands.
const (
	headersStandard = "standard" // draft-ietf-httpapi-ratelimit-headers-11
	headersLegacy   = "legacy"
	headersNone     = "none"
)

// Limit is one token bucket for each caller.
type Limit struct {
	ID                string   `json:"id"`
	TokensPerInterval int64    `json:"tokensPerInterval"`
	IntervalMs        int64    `json:"intervalMs"`
	Burst             int64    `json:"burst"`
	Key               []string `json:"key"`             // sorted; names of header fields in lower case
	Scope             string   `json:"scope,omitempty"` // empty: the route
	Cost              int64    `json:"cost"`
	LocalPercent      int64    `json:"localPercent"`
}

// The bounds of the numbers, as the schema has them.
const (
	maxLimits     = 8
	maxTokens     = 1_000_000_000
	minIntervalMs = 1_000
	maxIntervalMs = 86_400_000
	maxCost       = 1_000_000
	maxPercent    = 50
	maxReplicas   = 10_000
)

// bucket is the shape of the limit's buckets. The time for one token is rounded up, so that no interval brings more tokens than it
// should: at a million tokens a second, a thousandth fewer at the worst.
func (l *Limit) bucket() gcra.Bucket {
	interval, tokens := l.IntervalMs*int64(time.Millisecond), max(1, l.TokensPerInterval)
	return gcra.Bucket{Every: max(1, (interval+tokens-1)/tokens), Burst: l.Burst}
}

// block is how many tokens a gateway takes at once to hand them out by itself; 0 if it asks for each request. Whole requests only: a
// rest would be taken and lie there. One request's worth is no advance.
func (l *Limit) block() int64 {
	block := l.Burst * l.LocalPercent / 100
	if block -= block % l.Cost; block < 2*l.Cost {
		return 0
	}
	return block
}
