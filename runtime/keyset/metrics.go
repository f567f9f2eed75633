package keyset

import "github.com/suuupra/gateway/runtime/policy"

// The metrics of fetchers. The issuer is as the configuration names it. The share of hits is the ratio of the first two.
var (
	Hits = &policy.Vector{
		Name: "gw_jwks_cache_hits_total", Labels: []string{"issuer"},
		Help: "Tokens for which the issuer's keys were at hand.",
	}
	Misses = &policy.Vector{
		Name: "gw_jwks_cache_misses_total", Labels: []string{"issuer"},
		Help: "Tokens for which the issuer's keys had to be asked for first, or were not available.",
	}
	Fetches = &policy.Vector{
		Name: "gw_jwks_fetches_total", Labels: []string{"issuer", "outcome"},
		Help: "Fetches of an issuer's keys, by outcome: success or failure.",
	}
	LastSuccess = &policy.Vector{
		Name: "gw_jwks_last_success_timestamp_seconds", Labels: []string{"issuer"}, Gauge: true,
		Help: "When an issuer's keys were fetched last.",
	}
)

// Vectors lists them.
func Vectors() []*policy.Vector { return []*policy.Vector{Hits, Misses, Fetches, LastSuccess} }
