// Package apikey asks requests for an API key that this gateway handed out, and says whose it is. It keeps no keys: their records
// reach it through its Env, and it must not let anybody pass whose record cannot be read.
package apikey

import "github.com/suuupra/gateway/runtime/policy"

const name = "auth.apiKey"

// Kind comes after tokens: where a route wants both, a request must have both.
var Kind = policy.Define(name, policy.PhaseAuthenticate, compile, build).With(verified, policy.AuthzDenied)

// Plan is the compiled form.
type Plan struct {
	Header               string   `json:"header"`
	RequiredScopes       []string `json:"requiredScopes,omitempty"` // sorted
	MaxFailuresPerMinute int64    `json:"maxFailuresPerMinute"`
}
