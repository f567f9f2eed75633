package snapshot_test

import (
	"errors"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// tenanted is a program with two tenants, each with a route and an upstream, and one route of everybody's.
func (b *bench) tenanted(edit func(*ir.Program)) *ir.Program {
	p := b.pub.Program("127.0.0.1:9", "everybody")
	p.Gateway.Tenancy = &ir.Tenancy{Grants: []ir.Grant{
		{Tenant: "acme", Hosts: []string{"acme.test"}, PathPrefixes: []string{"/"}, PolicyKinds: []string{"auth"}, Upstreams: []string{"up"}, PrivateAddresses: true},
		{Tenant: "globex", Hosts: []string{"globex.test"}, PathPrefixes: []string{"/"}, PrivateAddresses: true},
	}}
	for _, tenant := range []string{"acme", "globex"} {
		u, r := publisher.Upstream(tenant+"-up", "127.0.0.1:10"), publisher.Route(tenant, tenant+"-up")
		u.Tenant, r.Tenant, r.Match.Host = tenant, tenant, tenant+".test"
		p.Upstreams, p.Routes = append(p.Upstreams, u), append(p.Routes, r)
	}
	if edit != nil {
		edit(p)
	}
	return p
}

// Whoever signs a bundle, nothing of a tenant becomes live that the bundle does not grant it; and nothing of a bundle that is refused is
// left behind.
func TestGrantsHold(t *testing.T) {
	b := newBench(t)
	running, err := b.build(b.tenanted(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release(running) })
	series, held := b.series(t), b.Shared.Len()
	const everybody, acme, globex = 0, 1, 2
	for name, edit := range map[string]func(*ir.Program){
		"no grants":                             func(p *ir.Program) { p.Gateway.Tenancy = nil },
		"a grant taken back, all else the same": func(p *ir.Program) { p.Gateway.Tenancy.Grants[0].Hosts = nil },
		"two grants of one tenant":              func(p *ir.Program) { p.Gateway.Tenancy.Grants[1].Tenant = "acme" },
		"another's host":                        func(p *ir.Program) { p.Routes[acme].Match.Host = "globex.test"; p.Routes[acme].Match.Path = "/x" },
		"every host":                            func(p *ir.Program) { p.Routes[acme].Match.Host = "" },
		"another's name":                        func(p *ir.Program) { p.Routes[acme].Tenant = "globex" },
		"another's upstream":                    func(p *ir.Program) { p.Routes[acme].Target.Upstream = "globex-up" },
		"an upstream of the base":               func(p *ir.Program) { p.Routes[globex].Target.Upstream = "up" },
		"a secret of another's":                 func(p *ir.Program) { p.Upstreams[acme].TLS = &ir.UpstreamTLS{CA: "env:GLOBEX"} },
		"private addresses":                     func(p *ir.Program) { p.Gateway.Tenancy.Grants[0].PrivateAddresses = false },
		"a policy":                              func(p *ir.Program) { p.Routes[globex].Wrote = []ir.Wrote{{Tenant: "globex", Kinds: []string{"auth"}}} },
		"a secret in a policy": func(p *ir.Program) {
			p.Routes[acme].Wrote = []ir.Wrote{{Tenant: "acme", Kinds: []string{"auth"}, Secrets: []string{"env:GLOBEX"}}}
		},
		"a policy on everybody's route": func(p *ir.Program) { p.Routes[everybody].Wrote = []ir.Wrote{{Tenant: "acme", Kinds: []string{"auth"}}} },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := b.build(b.tenanted(edit), running)
			var refusal *bundle.Error
			if s != nil || !errors.As(err, &refusal) || refusal.Reason != bundle.TenantGrant {
				t.Fatalf("not refused as %s: %v", bundle.TenantGrant, err)
			}
			if got := b.series(t); got != series {
				t.Errorf("%d series, were %d", got, series)
			}
			if got := b.Shared.Len(); got != held {
				t.Errorf("%d shared values, were %d", got, held)
			}
		})
	}
	next, err := b.build(b.tenanted(func(p *ir.Program) { p.Gateway.Tenancy.Grants[0].PolicyKinds = nil }), running)
	if err != nil {
		t.Fatal(err)
	}
	if next.Reuse != (snapshot.Reuse{RoutesKept: 3, UpstreamsKept: 3}) {
		t.Errorf("a grant that nothing needs has changed, and %+v", next.Reuse)
	}
	release(next)
}

// A source that looks nowhere, or everywhere, is refused before it is asked.
func TestTenancyMustMakeSense(t *testing.T) {
	b := newBench(t)
	_, err := b.build(b.tenanted(func(p *ir.Program) { p.Gateway.Tenancy.From = []ir.TenantSource{{}} }), nil)
	if err == nil || err.Error() != "tenancy: from[0]: it looks in 0 places, must look in one" {
		t.Error(err)
	}
}
