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

// CallerTenant is the tenant that the caller's token speaks of, or the one its API key was handed out to. It need not be one that the
// gateway knows, nor that of the request.
func (x *Exchange) CallerTenant() string {
	switch {
	case x.Principal != nil && x.Principal.Tenant != "":
		return x.Principal.Tenant
	case x.Key != nil:
		return x.Key.Tenant
	}
	return ""
}
