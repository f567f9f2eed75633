// Package tenancy finds out whose request it is. A route that a tenant owns settles that; on all others the tenant is looked for where
// the configuration says. It must not decide what a tenant may do: grants, policies and keys do.
package tenancy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// Resolver finds the tenants of requests. A nil Resolver knows those of routes alone.
type Resolver struct {
	sources []source
	headers []string        // the fields that only trusted proxies may send, folded
	known   map[string]bool // nil: every name of the right form is a tenant's
	pass    bool            // what names nobody there is counts for nothing
	agree   bool
	late    bool // some sources can be asked only when it is known who calls
}

// source is one place where a tenant is looked for.
type source struct {
	what place
	arg  string
}

type place uint8

const (
	byHost place = iota
	byPath
	byHeader
	byClaim
	byKey
)

// late reports whether it must be known who calls.
func (s *source) late() bool { return s.what == byClaim || s.what == byKey }

// ofCaller reports whether the source tells of the caller, and not of the place that was asked for.
func (s *source) ofCaller() bool { return s.what >= byHeader }

// New makes the Resolver of a configuration; nil if it looks nowhere. It judges what it is given as if it had come from anywhere.
func New(g *ir.Gateway) (*Resolver, error) {
	t := g.Tenancy
	if t == nil || len(t.From) == 0 {
		return nil, nil
	}
	r := &Resolver{pass: t.PassUnknown, agree: t.Agree}
	for i := range t.From {
		s, err := sourceOf(&t.From[i])
		if err != nil {
			return nil, fmt.Errorf("tenancy: from[%d]: %w", i, err)
		}
		if s.what == byHeader {
			r.headers = append(r.headers, headerfield.Fold(s.arg))
		}
		r.late = r.late || s.late()
		r.sources = append(r.sources, s)
	}
	if t.Open {
		return r, nil
	}
	r.known = map[string]bool{}
	for _, name := range g.Tenants() {
		r.known[name] = true
	}
	return r, nil
}

func sourceOf(s *ir.TenantSource) (source, error) {
	var found []source
	if s.Host != "" {
		if h, err := match.ParseHost("*." + s.Host); err != nil || h.Name != s.Host {
			return source{}, fmt.Errorf("host %q is malformed", s.Host)
		}
		found = append(found, source{byHost, s.Host})
	}
	if s.PathPrefix != "" {
		if normal, reason := match.NormalizePath(s.PathPrefix); reason != "" || normal != s.PathPrefix {
			return source{}, fmt.Errorf("pathPrefix %q is not normalised", s.PathPrefix)
		}
		found = append(found, source{byPath, strings.TrimSuffix(s.PathPrefix, "/") + "/"})
	}
	if s.Header != "" {
		if !headerfield.IsName(s.Header) || headerfield.OfConnection(s.Header) {
			return source{}, fmt.Errorf("header %q cannot name a tenant", s.Header)
		}
		found = append(found, source{byHeader, s.Header})
	}
	if s.Claim != "" {
		found = append(found, source{byClaim, s.Claim})
	}
	if s.APIKey {
		found = append(found, source{byKey, ""})
	}
	if len(found) != 1 {
		return source{}, fmt.Errorf("it looks in %d places, must look in one", len(found))
	}
	return found[0], nil
}

// Late reports whether Identified has anything to find out.
func (r *Resolver) Late() bool { return r != nil && r.late }

// Sanitise takes the fields that name tenants off requests that no trusted proxy has sent, and off all others those in a spelling that
// some servers take for the same name: a proxy that sets X-Tenant does not see an X_Tenant of its client's. It goes before matching,
// which may go by these fields. What comes behind a body nobody has looked at, so it is not forwarded.
func (r *Resolver) Sanitise(x *policy.Exchange) {
	if r == nil || len(r.headers) == 0 {
		return
	}
	x.NoTrailers = true
	for i := range x.Request.Header.Fields {
		if r.foreign(x, x.Request.Header.Fields[i].Name) {
			kept := x.Request.Header.Fields[:i]
			for _, f := range x.Request.Header.Fields[i:] {
				if !r.foreign(x, f.Name) {
					kept = append(kept, f)
				}
			}
			x.Request.Header.Fields = kept
			return
		}
	}
}

func (r *Resolver) foreign(x *policy.Exchange, name string) bool {
	if !headerfield.Among(name, r.headers) {
		return false
	}
	return !x.Request.PeerTrusted || !slices.ContainsFunc(r.sources, func(s source) bool {
		return s.what == byHeader && strings.EqualFold(s.arg, name)
	})
}

// of returns what a source names; "" if it names nobody. False: it names somebody in a way that is no name. host is as
// match.NormalizeHost returns it.
func (s *source) of(x *policy.Exchange, host string) (name string, ok bool) {
	switch s.what {
	case byHost:
		if label, under := strings.CutSuffix(host, s.arg); under && len(label) > 1 && label[len(label)-1] == '.' {
			return label[:len(label)-1], true
		}
	case byPath:
		rest, under := strings.CutPrefix(x.Path, s.arg)
		if !under {
			return "", true
		}
		name, _, _ = strings.Cut(rest, "/")
		return name, true
	case byHeader:
		return only(x, s.arg)
	case byClaim:
		if x.Principal == nil {
			return "", true
		}
		claim := facts.Claim(x.Principal.Claims, s.arg)
		name, text := claim.(string)
		return name, text || claim == nil
	case byKey:
		if x.Key != nil {
			return x.Key.Tenant, true
		}
	}
	return "", true
}

// only returns the one field of a name. Of two, even of equal ones, a proxy has set only one.
func only(x *policy.Exchange, name string) (value string, ok bool) {
	found := false
	for i := range x.Request.Header.Fields {
		if f := &x.Request.Header.Fields[i]; strings.EqualFold(f.Name, name) {
			if found {
				return "", false
			}
			value, found = f.Value, true
		}
	}
	return value, true
}

// isTenant reports whether there is a tenant of that name.
func (r *Resolver) isTenant(name string) bool {
	if r.known != nil {
		return r.known[name]
	}
	return apikey.IsName(name)
}
