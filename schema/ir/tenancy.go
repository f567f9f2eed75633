package ir

import "slices"

// Tenancy says what tenants may own, and whose request it is on routes that none of them owns. Nil: there are no tenants.
type Tenancy struct {
	Grants []Grant `json:"grants,omitempty"` // sorted by Tenant
	// From is where the tenant of a request is looked for, in order. None: only the routes of tenants have one.
	From  []TenantSource `json:"from,omitempty"`
	Known []string       `json:"known,omitempty"` // tenants beside those with a grant; sorted
	Open  bool           `json:"open,omitempty"`  // every other name of the right form is a tenant's, too
	// PassUnknown has a source that names nobody there is count for nothing; otherwise such a request is refused.
	PassUnknown bool `json:"passUnknown,omitempty"`
	Agree       bool `json:"agree,omitempty"` // sources that name different tenants refuse the request
}

// Grant is what a tenant may own. What is not in it is refused.
type Grant struct {
	Tenant       string   `json:"tenant"`
	Hosts        []string `json:"hosts,omitempty"`        // in lower case, exact, or "*." and a suffix; sorted
	PathPrefixes []string `json:"pathPrefixes,omitempty"` // normalised, "/" for every path; sorted
	PolicyKinds  []string `json:"policyKinds,omitempty"`  // fields of a route's policy; sorted
	Upstreams    []string `json:"upstreams,omitempty"`    // ids of those of the base; sorted
	Secrets      []string `json:"secrets,omitempty"`      // references; sorted
	// PrivateAddresses lets its upstreams be at private and loopback addresses, and be found by discovery.
	PrivateAddresses bool `json:"privateAddresses,omitempty"`
}

// TenantSource is one place where a tenant is looked for: exactly one of its fields is set.
type TenantSource struct {
	Host       string `json:"host,omitempty"`       // the suffix after "*.", in lower case: the label before it
	PathPrefix string `json:"pathPrefix,omitempty"` // normalised: the segment behind it
	Header     string `json:"header,omitempty"`     // in lower case; believed if a trusted proxy sends it
	Claim      string `json:"claim,omitempty"`      // path of a claim of the verified token
	APIKey     bool   `json:"apiKey,omitempty"`     // whom the API key was handed out to
}

// Wrote is what one tenant has written of the policies of a route.
type Wrote struct {
	Tenant  string   `json:"tenant"`
	Kinds   []string `json:"kinds"`             // fields of the route's policy; sorted
	Secrets []string `json:"secrets,omitempty"` // references in them; sorted
}

// Tenants are those that the configuration names, sorted.
func (g *Gateway) Tenants() []string {
	if g.Tenancy == nil {
		return nil
	}
	out := slices.Clone(g.Tenancy.Known)
	for i := range g.Tenancy.Grants {
		out = append(out, g.Tenancy.Grants[i].Tenant)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
