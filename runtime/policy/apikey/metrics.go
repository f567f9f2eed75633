package apikey

import "github.com/suuupra/gateway/runtime/policy"

// verified counts every verdict. An unknown id, a wrong secret, and a key of another environment or tenant are one outcome: whoever
// may look at the metrics could tell from two which ids there are.
var verified = &policy.Vector{
	Name: "gw_api_key_verify_total", Labels: []string{"route", "outcome"},
	Help: "Requests by what became of their API key: accepted, missing, duplicate, malformed, invalid, revoked, expired, scope_missing, throttled or unavailable.",
}

// outcome is what became of the key of a request.
type outcome uint8

const (
	accepted     outcome = iota
	missing              // there is none
	duplicate            // there are several
	malformed            // no key has this form, or this checksum
	invalid              // there is no such key, not with this secret, or not for this route
	revoked              // the secret is right, the key is not any more
	expired              // the secret is right, the key is too old
	scopeMissing         // the key lacks a scope
	throttled            // the address has failed too often for its key to be looked at
	unavailable          // the records cannot be read
	outcomes
)

// String is the label of the metric.
func (o outcome) String() string {
	return [...]string{
		"accepted", "missing", "duplicate", "malformed", "invalid", "revoked", "expired", "scope_missing", "throttled", "unavailable",
	}[o]
}
