package policy

import (
	"slices"
	"time"
)

// Principal is who a verified token speaks of. It is immutable and shared by all requests that carry the same token.
type Principal struct {
	Subject string // sub; may be empty
	Issuer  string
	Tenant  string // the claim tenant, or tenant_id; may be empty

	Roles, Scopes, Permissions []string

	// Claims is the whole payload as encoding/json decodes it with UseNumber. Nobody changes it.
	Claims  map[string]any
	Expires time.Time
	Until   time.Time // when it is taken no more: Expires, and how far clocks may be apart
}

// Key is the API key that a request carried.
type Key struct {
	ID     string
	Owner  string // whom it was handed out to
	Tenant string // may be empty
	Scopes []string
}

// HasScope reports whether the caller has a scope, by its token or its key.
func (x *Exchange) HasScope(scope string) bool {
	return x.Principal != nil && slices.Contains(x.Principal.Scopes, scope) || x.Key != nil && slices.Contains(x.Key.Scopes, scope)
}

// TenantOf is the tenant of the caller, or of the route if nobody says so.
func (x *Exchange) TenantOf() string {
	switch {
	case x.Principal != nil && x.Principal.Tenant != "":
		return x.Principal.Tenant
	case x.Key != nil && x.Key.Tenant != "":
		return x.Key.Tenant
	}
	return x.Route.Tenant
}
