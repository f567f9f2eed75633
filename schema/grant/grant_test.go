package grant_test

import (
	"testing"

	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// program is an environment with two tenants, in which everything lies within its grant.
func program() *ir.Program {
	inside := func(id, tenant, host, upstream string) ir.Route {
		return ir.Route{ID: id, Tenant: tenant, Match: ir.Match{Host: host, Path: "/shop/*"}, Target: ir.Target{Type: "http", Upstream: upstream}}
	}
	shop := inside("shop", "acme", "a.acme.test", "acme-up")
	shop.Wrote = []ir.Wrote{{Tenant: "acme", Kinds: []string{"auth"}, Secrets: []string{"env:ACME"}}}
	patched := inside("patched", "", "b.acme.test", "https://x.test:443#acme")
	patched.Wrote = []ir.Wrote{{Tenant: "acme", Kinds: []string{"auth"}}}
	return &ir.Program{
		Gateway: ir.Gateway{Tenancy: &ir.Tenancy{Grants: []ir.Grant{
			{
				Tenant: "acme", Hosts: []string{"*.acme.test"}, PathPrefixes: []string{"/shop"}, PolicyKinds: []string{"auth"},
				Upstreams: []string{"base-up"}, Secrets: []string{"env:ACME"},
			},
			{Tenant: "globex", Hosts: []string{"globex.test"}, PathPrefixes: []string{"/"}, PrivateAddresses: true},
		}}},
		Upstreams: []ir.Upstream{
			{ID: "base-up", PrivateAddresses: true},
			{ID: "acme-up", Tenant: "acme", TLS: &ir.UpstreamTLS{CA: "env:ACME"}},
			{ID: "https://x.test:443#acme", Tenant: "acme"},
			{ID: "globex-up", Tenant: "globex", PrivateAddresses: true, Discovery: &ir.Discovery{DNS: &ir.DNS{Name: "globex"}}},
		},
		Routes: []ir.Route{
			shop, patched, inside("granted", "acme", "*.acme.test", "base-up"), inside("globex", "globex", "globex.test", "globex-up"),
			inside("everybody", "", "", "base-up"),
		},
	}
}

func TestProgram(t *testing.T) {
	const (
		shop, patched, granted, globex, everybody = 0, 1, 2, 3, 4
		baseUp, acmeUp, acmeURL, globexUp         = 0, 1, 2, 3
	)
	route := func(i int, edit func(*ir.Route)) func(*ir.Program) { return func(p *ir.Program) { edit(&p.Routes[i]) } }
	match := func(m ir.Match) func(*ir.Program) { return route(shop, func(r *ir.Route) { r.Match = m }) }
	up := func(i int, edit func(*ir.Upstream)) func(*ir.Program) {
		return func(p *ir.Program) { edit(&p.Upstreams[i]) }
	}
	for _, tc := range []struct {
		name string
		edit func(*ir.Program)
		want string
	}{
		{"as it is", func(*ir.Program) {}, ""},
		{"no grants at all", func(p *ir.Program) { p.Gateway.Tenancy = nil }, `upstream "acme-up": tenant "acme" has no grant`},
		{"no grant of one", func(p *ir.Program) { p.Gateway.Tenancy.Grants = p.Gateway.Tenancy.Grants[:1] }, `upstream "globex-up": tenant "globex" has no grant`},
		{"two grants of one", func(p *ir.Program) {
			p.Gateway.Tenancy.Grants = append(p.Gateway.Tenancy.Grants, ir.Grant{Tenant: "acme", Hosts: []string{"*.test"}})
		}, `tenant "acme" has two grants, or no name`},
		{"a grant of nobody", func(p *ir.Program) { p.Gateway.Tenancy.Grants[0].Tenant = "" }, `tenant "" has two grants, or no name`},

		{"every host", match(ir.Match{Path: "/shop"}), `route "shop" takes every host, which tenant "acme" is not granted`},
		{"another's host", match(ir.Match{Host: "globex.test", Path: "/shop"}), `route "shop" takes host "globex.test", which tenant "acme" is not granted`},
		{"the host above its own", match(ir.Match{Host: "acme.test", Path: "/shop"}), `route "shop" takes host "acme.test", which tenant "acme" is not granted`},
		{"a host that ends alike", match(ir.Match{Host: "evilacme.test", Path: "/shop"}), `route "shop" takes host "evilacme.test", which tenant "acme" is not granted`},
		{"a host in capitals", match(ir.Match{Host: "A.ACME.TEST", Path: "/shop"}), ""},
		{"a host with a dot behind it", match(ir.Match{Host: "a.acme.test.", Path: "/shop"}), `route "shop" takes host "a.acme.test.", which tenant "acme" is not granted`},
		{"a host with a port", match(ir.Match{Host: "a.acme.test:80", Path: "/shop"}), `route "shop" takes host "a.acme.test:80", which tenant "acme" is not granted`},
		{"a wider wildcard", match(ir.Match{Host: "*.test", Path: "/shop"}), `route "shop" takes host "*.test", which tenant "acme" is not granted`},
		{"another path", match(ir.Match{Host: "a.acme.test", Path: "/admin"}), `route "shop" takes path "/admin", which tenant "acme" is not granted`},
		{"every path", match(ir.Match{Host: "a.acme.test", Path: "/*"}), `route "shop" takes path "/*", which tenant "acme" is not granted`},
		{"a path that begins alike", match(ir.Match{Host: "a.acme.test", Path: "/shopping"}), `route "shop" takes path "/shopping", which tenant "acme" is not granted`},
		{"a capture in place of the prefix", match(ir.Match{Host: "a.acme.test", Path: "/{shop}/x"}), `route "shop" takes path "/{shop}/x", which tenant "acme" is not granted`},
		{"dots out of the prefix", match(ir.Match{Host: "a.acme.test", Path: "/shop/../admin"}), `route "shop" takes path "/shop/../admin", which tenant "acme" is not granted`},
		{"escaped dots", match(ir.Match{Host: "a.acme.test", Path: "/shop/%2e%2e/admin"}), `route "shop" takes path "/shop/%2e%2e/admin", which tenant "acme" is not granted`},
		{"no path", match(ir.Match{Host: "a.acme.test"}), `route "shop" takes path "", which tenant "acme" is not granted`},
		{"an expression", match(ir.Match{Host: "a.acme.test", PathRegex: "/shop/.*"}), `route "shop" takes all that a regular expression may match, which tenant "acme" is not granted`},
		{"an expression beside a path", match(ir.Match{Host: "a.acme.test", Path: "/shop", PathRegex: ".*"}), `route "shop" takes all that a regular expression may match, which tenant "acme" is not granted`},
		{"an expression of who has every path", route(globex, func(r *ir.Route) { r.Match.Path, r.Match.PathRegex = "", "/x.*" }), ""},
		{"the route calls itself another's", route(shop, func(r *ir.Route) { r.Tenant = "globex" }), `route "shop" takes host "a.acme.test", which tenant "globex" is not granted`},
		{"the route calls itself nobody's", route(granted, func(r *ir.Route) { r.Tenant = "" }), ""}, // then it is the base's, who may

		{"another's upstream", route(shop, func(r *ir.Route) { r.Target.Upstream = "globex-up" }), `route "shop" of tenant "acme" goes to upstream "globex-up" of tenant "globex"`},
		{"an upstream of the base it may not use", route(globex, func(r *ir.Route) { r.Target.Upstream = "base-up" }), `route "globex" goes to upstream "base-up" of the base, which tenant "globex" is not granted`},
		{"an upstream that calls itself the base's", up(acmeUp, func(u *ir.Upstream) { u.Tenant = "" }), `route "shop" goes to upstream "acme-up" of the base, which tenant "acme" is not granted`},
		{"an upstream that is not there", route(shop, func(r *ir.Route) { r.Target.Upstream = "x" }), `route "shop" goes to upstream "x", which is not there`},
		{"a tenant's upstream on everybody's route", route(everybody, func(r *ir.Route) { r.Target.Upstream = "acme-up" }), `route "everybody" takes every host, which tenant "acme" is not granted`},

		{"private addresses", up(acmeUp, func(u *ir.Upstream) { u.PrivateAddresses = true }), `upstream "acme-up" may dial private addresses, which tenant "acme" is not granted`},
		{"discovery", up(acmeURL, func(u *ir.Upstream) { u.Discovery = &ir.Discovery{DNS: &ir.DNS{}} }), `upstream "https://x.test:443#acme" may dial private addresses, which tenant "acme" is not granted`},
		{"a kubeconfig", up(globexUp, func(u *ir.Upstream) {
			u.Discovery = &ir.Discovery{Kubernetes: &ir.KubernetesService{Kubeconfig: "/root/.kube/config"}}
		}), `upstream "globex-up" of tenant "globex" names a kubeconfig, which no tenant may`},
		{"a secret as CA", up(acmeUp, func(u *ir.Upstream) { u.TLS.CA = "env:OTHER" }), `upstream "acme-up" has the secret env:OTHER used, which tenant "acme" is not granted`},
		{"a secret as certificate", up(acmeUp, func(u *ir.Upstream) { u.TLS.Cert = "env:OTHER" }), `upstream "acme-up" has the secret env:OTHER used, which tenant "acme" is not granted`},
		{"a secret as key", up(acmeUp, func(u *ir.Upstream) { u.TLS.Key = "env:OTHER" }), `upstream "acme-up" has the secret env:OTHER used, which tenant "acme" is not granted`},
		{"a secret as token of Consul", up(globexUp, func(u *ir.Upstream) { u.Discovery = &ir.Discovery{Consul: &ir.ConsulService{Token: "env:OTHER"}} }), `upstream "globex-up" has the secret env:OTHER used, which tenant "globex" is not granted`},
		{"any secret of the base's", up(baseUp, func(u *ir.Upstream) { u.TLS = &ir.UpstreamTLS{Key: "env:OTHER"} }), ""},

		{"a kind of policy", route(shop, func(r *ir.Route) { r.Wrote[0].Kinds = []string{"auth", "rateLimit"} }), `route "shop" has a policy rateLimit of tenant "acme", which it is not granted`},
		{"a secret of a policy", route(shop, func(r *ir.Route) { r.Wrote[0].Secrets[0] = "env:GWRUN_KEY" }), `route "shop" has the secret env:GWRUN_KEY used by tenant "acme", which it is not granted`},
		{"another's policy", route(shop, func(r *ir.Route) { r.Wrote[0].Tenant = "globex" }), `route "shop" of tenant "acme" has policies of tenant "globex"`},
		{"a policy on a route of the base outside", route(patched, func(r *ir.Route) { r.Match.Host, r.Target.Upstream = "other.test", "base-up" }), `route "patched" takes host "other.test", which tenant "acme" is not granted`},
		{"a policy of a tenant that is not there", route(everybody, func(r *ir.Route) { r.Wrote = []ir.Wrote{{Tenant: "x"}} }), `route "everybody": tenant "x" has no grant`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := program()
			tc.edit(p)
			got := ""
			if err := grant.Program(p); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

// FuzzHostWithin: a host that a pattern takes is one that the granted pattern takes.
func FuzzHostWithin(f *testing.F) {
	for _, s := range [][2]string{
		{"a.acme.test", "*.acme.test"},
		{"*.acme.test", "*.acme.test"},
		{"*.test", "*.acme.test"},
		{"x", "x"},
		{"X.y", "x.Y"},
		{"[::1]", "[::1]"},
		{"xacme.test", "*.acme.test"},
		{"acme.test", "*.acme.test"},
		{"*.a.acme.test", "*.acme.test"},
		{"192.0.2.1", "*.0.2.1"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, host, granted string) {
		h, err1 := match.ParseHost(host)
		g, err2 := match.ParseHost(granted)
		if err1 != nil || err2 != nil || g.Any() || !grant.HostWithin(host, granted) {
			return
		}
		asked := []string{h.Name}
		if h.Wildcard {
			asked = []string{"a." + h.Name, "a.b." + h.Name}
		}
		for _, name := range asked {
			if len(name) <= 253 && (h.Any() || !g.Matches(name)) {
				t.Errorf("%q takes %q, and is within %q, which does not", host, name, granted)
			}
		}
	})
}
