// Package authorization decides whether a caller that is known may use a route: by roles, scopes and permissions, and by conditions
// in CEL (https://cel.dev). It must not find out who the caller is: the policies before it have.
package authorization

import "github.com/suuupra/gateway/runtime/policy"

// Kind is the only one of its phase.
var Kind = policy.Define("authorization", policy.PhaseAuthorise, compile, build).With(policy.AuthzDenied)

// Plan is the compiled form.
type Plan struct {
	Roles       *Grants     `json:"roles,omitempty"`
	Scopes      *Grants     `json:"scopes,omitempty"`
	Permissions *Grants     `json:"permissions,omitempty"`
	Conditions  []Condition `json:"conditions,omitempty"`
	Shadow      bool        `json:"shadow,omitempty"`
}

// Grants are names of which the caller must have every one in All, and one in Any if there is any.
type Grants struct {
	All []string `json:"all,omitempty"`
	Any []string `json:"any,omitempty"`
}

// Condition is an expression that must be true.
type Condition struct {
	ID   string `json:"id"`
	When string `json:"when"`
}
