package jwt

import "github.com/suuupra/gateway/runtime/policy"

var (
	verified = &policy.Vector{
		Name: "gw_jwt_verify_success_total", Labels: []string{"route"},
		Help: "Requests with a token that is good. It may still lack what the route requires.",
	}
	failed = &policy.Vector{
		Name: "gw_jwt_verify_error_total", Labels: []string{"route", "reason"},
		Help: "Requests without a good token, by reason: missing, malformed, algorithm, key, signature, issuer, audience, type, expired, not_yet_valid, claims, replayed, throttled or unavailable.",
	}
)

// reason is why there is no good token: the label of the metric.
type reason string

const (
	reasonMissing     reason = "missing"
	reasonMalformed   reason = "malformed"
	reasonAlgorithm   reason = "algorithm"
	reasonKey         reason = "key"
	reasonSignature   reason = "signature"
	reasonIssuer      reason = "issuer"
	reasonAudience    reason = "audience"
	reasonType        reason = "type"
	reasonExpired     reason = "expired"
	reasonEarly       reason = "not_yet_valid"
	reasonClaims      reason = "claims"
	reasonReplayed    reason = "replayed"
	reasonThrottled   reason = "throttled" // the address has sent too many forgeries for its token to be looked at
	reasonUnavailable reason = "unavailable"
)
