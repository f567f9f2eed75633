package grant

import (
	"fmt"

	"github.com/suuupra/gateway/schema/ir"
)

// Set is the grants of all tenants.
type Set map[string]*ir.Grant

// Of returns the grants of a configuration. It fails if a tenant has two.
func Of(t *ir.Tenancy) (Set, error) {
	if t == nil {
		return nil, nil
	}
	s := make(Set, len(t.Grants))
	for i := range t.Grants {
		g := &t.Grants[i]
		if g.Tenant == "" || s[g.Tenant] != nil {
			return nil, fmt.Errorf("tenant %q has two grants, or no name", g.Tenant)
		}
		s[g.Tenant] = g
	}
	return s, nil
}

// Route checks a compiled route and the upstream that it goes to. The error says what the tenant has not been granted.
func (s Set) Route(r *ir.Route, up *ir.Upstream) error {
	if r.Tenant == "" && up.Tenant == "" && len(r.Wrote) == 0 {
		return nil
	}
	if r.Tenant != "" {
		if err := s.place(r.Tenant, r); err != nil {
			return err
		}
	}
	if err := s.target(r, up); err != nil {
		return err
	}
	for i := range r.Wrote {
		if err := s.wrote(r, &r.Wrote[i]); err != nil {
			return err
		}
	}
	return nil
}

// place checks that a route takes what a tenant was granted, and nothing else.
func (s Set) place(tenant string, r *ir.Route) error {
	g := s[tenant]
	if g == nil {
		return fmt.Errorf("route %q: tenant %q has no grant", r.ID, tenant)
	}
	if beyond := Matcher(g, &r.Match); len(beyond) > 0 {
		return fmt.Errorf("route %q takes %s, which tenant %q is not granted", r.ID, beyond[0].What, tenant)
	}
	return nil
}

// target checks where requests go. A route of the base goes to a tenant's upstream where the tenant has said so, which it may within
// its grant.
func (s Set) target(r *ir.Route, up *ir.Upstream) error {
	switch {
	case up.Tenant == r.Tenant:
		return nil
	case r.Tenant == "":
		return s.place(up.Tenant, r)
	case up.Tenant != "":
		return fmt.Errorf("route %q of tenant %q goes to upstream %q of tenant %q", r.ID, r.Tenant, up.ID, up.Tenant)
	case !Upstream(s[r.Tenant], up.ID):
		return fmt.Errorf("route %q goes to upstream %q of the base, which tenant %q is not granted", r.ID, up.ID, r.Tenant)
	}
	return nil
}

// wrote checks what a tenant has written of the policies of a route, its own or one of the base.
func (s Set) wrote(r *ir.Route, w *ir.Wrote) error {
	if r.Tenant != "" && r.Tenant != w.Tenant {
		return fmt.Errorf("route %q of tenant %q has policies of tenant %q", r.ID, r.Tenant, w.Tenant)
	}
	if err := s.place(w.Tenant, r); err != nil {
		return err
	}
	for _, kind := range w.Kinds {
		if !Kind(s[w.Tenant], kind) {
			return fmt.Errorf("route %q has a policy %s of tenant %q, which it is not granted", r.ID, kind, w.Tenant)
		}
	}
	for _, ref := range w.Secrets {
		if !Secret(s[w.Tenant], ref) {
			return fmt.Errorf("route %q has the secret %s used by tenant %q, which it is not granted", r.ID, ref, w.Tenant)
		}
	}
	return nil
}

// Upstream checks a compiled upstream.
func (s Set) Upstream(u *ir.Upstream) error {
	if u.Tenant == "" {
		return nil
	}
	g := s[u.Tenant]
	switch {
	case g == nil:
		return fmt.Errorf("upstream %q: tenant %q has no grant", u.ID, u.Tenant)
	case !g.PrivateAddresses && (u.PrivateAddresses || u.Discovery != nil):
		return fmt.Errorf("upstream %q may dial private addresses, which tenant %q is not granted", u.ID, u.Tenant)
	case u.Discovery != nil && u.Discovery.Kubernetes != nil && u.Discovery.Kubernetes.Kubeconfig != "":
		return fmt.Errorf("upstream %q of tenant %q names a kubeconfig, which no tenant may", u.ID, u.Tenant)
	}
	for _, ref := range secretsOf(u) {
		if !Secret(g, ref) {
			return fmt.Errorf("upstream %q has the secret %s used, which tenant %q is not granted", u.ID, ref, u.Tenant)
		}
	}
	return nil
}

// secretsOf are the references that an upstream holds.
func secretsOf(u *ir.Upstream) []string {
	var out []string
	add := func(refs ...string) {
		for _, ref := range refs {
			if ref != "" {
				out = append(out, ref)
			}
		}
	}
	if t := u.TLS; t != nil {
		add(t.CA, t.Cert, t.Key)
	}
	if d := u.Discovery; d != nil && d.Consul != nil {
		add(d.Consul.Token)
	}
	return out
}

// Program checks everything that a program holds, and returns the first thing that lies outside a grant.
func Program(p *ir.Program) error {
	s, err := Of(p.Gateway.Tenancy)
	if err != nil {
		return err
	}
	ups := make(map[string]*ir.Upstream, len(p.Upstreams))
	for i := range p.Upstreams {
		u := &p.Upstreams[i]
		ups[u.ID] = u
		if err := s.Upstream(u); err != nil {
			return err
		}
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		up := ups[r.Target.Upstream]
		if up == nil {
			return fmt.Errorf("route %q goes to upstream %q, which is not there", r.ID, r.Target.Upstream)
		}
		if err := s.Route(r, up); err != nil {
			return err
		}
	}
	return nil
}
