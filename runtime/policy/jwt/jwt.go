// Package jwt verifies the bearer token of a request (RFC 6750, RFC 7519) against the keys of its issuer, and says whom it speaks of.
// It must not fetch keys: they reach it through its Env. It never believes a token about where its keys are.
package jwt

import "github.com/suuupra/gateway/runtime/policy"

const name = "auth.jwt"

// Kind comes first of those that ask who is there.
var Kind = policy.Define(name, policy.PhaseAuthenticate, compile, build).With(verified, failed, policy.AuthzDenied).
	Either([]string{
		"issuer", "audience", "audiences", "jwksUri", "oidcDiscoveryUrl", "secretRef", "algorithms", "type", "clockSkewSeconds", "jwksCacheMaxAgeMs",
	}, []string{"issuers"}).
	Either([]string{"jwksUri"}, []string{"oidcDiscoveryUrl"}, []string{"secretRef"}).
	Either([]string{"audience"}, []string{"audiences"})

// Plan is the compiled form. With one issuer its settings stand at the top, as people write them; with several, in Issuers.
type Plan struct {
	Issuer
	Issuers []Issuer `json:"issuers,omitempty"`

	RequiredRoles       []string `json:"requiredRoles,omitempty"`
	RequiredScopes      []string `json:"requiredScopes,omitempty"`
	RequiredPermissions []string `json:"requiredPermissions,omitempty"`

	From             From `json:"from"`
	Optional         bool `json:"optional,omitempty"`
	ReplayProtection bool `json:"replayProtection,omitempty"`

	MaxFailuresPerMinute int64 `json:"maxFailuresPerMinute"`
}

// Issuer is what the tokens of one issuer are judged by. Exactly one of JwksURI, OidcDiscoveryURL and SecretRef is set.
type Issuer struct {
	Name             string   `json:"issuer,omitempty"`
	Audiences        []string `json:"audiences,omitempty"`
	JwksURI          string   `json:"jwksUri,omitempty"`
	OidcDiscoveryURL string   `json:"oidcDiscoveryUrl,omitempty"`
	SecretRef        string   `json:"secretRef,omitempty"`
	Private          bool     `json:"private,omitempty"` // private addresses may be dialled for its keys
	Algorithms       []string `json:"algorithms,omitempty"`
	Type             string   `json:"type,omitempty"`
	ClockSkew        int64    `json:"clockSkewSeconds,omitempty"`
	CacheMaxAge      int64    `json:"jwksCacheMaxAgeMs,omitempty"`
}

// From is where the token stands: one of the places is set.
type From struct {
	Header  string `json:"header,omitempty"` // "Authorization": with the scheme Bearer; any other: the token alone
	Cookie  string `json:"cookie,omitempty"`
	Query   string `json:"query,omitempty"`
	Forward bool   `json:"forward,omitempty"`
}

// issuers are the issuers, wherever the plan has them.
func (p *Plan) issuers() []Issuer {
	if len(p.Issuers) > 0 {
		return p.Issuers
	}
	return []Issuer{p.Issuer}
}
