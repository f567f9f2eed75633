// Package signedurl lets requests pass whose URL carries its own permission. What such a URL looks like, and what makes its
// signature good, is the business of package internal/signedurl. It must not let a request pass that it cannot judge, and it must
// not show the permission to whoever comes behind the gateway.
package signedurl

import "github.com/suuupra/gateway/runtime/policy"

// Kind stands early: a request without a permission costs nobody else anything, and no policy behind it sees the signature.
var Kind = policy.Define("signedUrl", policy.PhaseAdmit, compile, build)

// Plan is the compiled form.
type Plan struct {
	Keys             []Key `json:"keys"` // one, or two while one replaces the other; by id
	ClockSkewSeconds int64 `json:"clockSkewSeconds"`
	MaxLifetimeMs    int64 `json:"maxLifetimeMs,omitempty"` // 0: any
}

// Key is a key that signatures may be made with.
type Key struct {
	ID        string `json:"id"`
	SecretRef string `json:"secretRef"`
}
