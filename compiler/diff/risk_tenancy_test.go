package diff

import (
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// shared is an environment with two tenants, and routes that they share.
func shared(edit func(*ir.Tenancy)) func(*ir.Program) {
	return gateway(func(g *ir.Gateway) {
		g.Tenancy = &ir.Tenancy{
			Grants: []ir.Grant{
				{
					Tenant: "acme", Hosts: []string{"*.acme.example.com"}, PathPrefixes: []string{"/shop"}, PolicyKinds: []string{"bodyLimit"},
					Upstreams: []string{"users"}, Secrets: []string{"env:ACME_KEY"},
				},
				{Tenant: "globex", Hosts: []string{"globex.example.com"}, PathPrefixes: []string{"/"}, PrivateAddresses: true},
			},
			From: []ir.TenantSource{{Host: "shop.example.com"}, {Claim: "tenant"}}, Agree: true,
		}
		edit(g.Tenancy)
	})
}

func tenancyCases() []riskCase {
	same := shared(func(*ir.Tenancy) {})
	acme := func(edit func(*ir.Grant)) func(*ir.Program) {
		return shared(func(t *ir.Tenancy) { edit(&t.Grants[0]) })
	}
	at := func(keys string) string { return "security gateway tenancy." + keys }
	none := gateway(func(g *ir.Gateway) { g.Tenancy = nil })
	zeta := ir.Grant{Tenant: "zeta", Hosts: []string{"zeta.example.com"}}
	return []riskCase{
		{"another host", TenantWidened, acme(func(g *ir.Grant) { g.Hosts = []string{"acme.example.net"} }), at("grants.acme.hosts"), same},
		{"a host under a wildcard it has", TenantWidened, acme(func(g *ir.Grant) { g.Hosts = []string{"a.acme.example.com"} }), "", same},
		{"a wider wildcard", TenantWidened, acme(func(g *ir.Grant) { g.Hosts = []string{"*.example.com"} }), at("grants.acme.hosts"), same},
		{"another prefix", TenantWidened, acme(func(g *ir.Grant) { g.PathPrefixes = []string{"/shopping"} }), at("grants.acme.pathPrefixes"), same},
		{"a longer prefix", TenantWidened, acme(func(g *ir.Grant) { g.PathPrefixes = []string{"/shop/a"} }), "", same},
		{"every path", TenantWidened, acme(func(g *ir.Grant) { g.PathPrefixes = []string{"/"} }), at("grants.acme.pathPrefixes"), same},
		{"another kind of policy", TenantWidened, acme(func(g *ir.Grant) { g.PolicyKinds = []string{"auth", "bodyLimit"} }), at("grants.acme.policyKinds"), same},
		{"another upstream", TenantWidened, acme(func(g *ir.Grant) { g.Upstreams = []string{"orders"} }), at("grants.acme.upstreams"), same},
		{"another secret", TenantWidened, acme(func(g *ir.Grant) { g.Secrets = []string{"env:OTHER"} }), at("grants.acme.secrets"), same},
		{"private addresses", TenantWidened, acme(func(g *ir.Grant) { g.PrivateAddresses = true }), at("grants.acme.allowPrivateAddresses"), same},
		{"less of everything", TenantWidened, shared(func(t *ir.Tenancy) { t.Grants = []ir.Grant{{Tenant: "acme"}, {Tenant: "globex"}} }), "", same},
		{"a tenant less", TenantWidened, shared(func(t *ir.Tenancy) { t.Grants = t.Grants[:1] }), "", same},
		{"a tenant more", TenantWidened, shared(func(t *ir.Tenancy) { t.Grants = append(t.Grants, zeta) }), at("grants.zeta.hosts"), same},
		{"the first tenant", TenantWidened, gateway(func(g *ir.Gateway) { g.Tenancy = &ir.Tenancy{Grants: []ir.Grant{zeta}} }), at("grants.zeta.hosts"), none},
		{"a tenant that owns nothing", TenantWidened, shared(func(t *ir.Tenancy) { t.Grants = append(t.Grants, ir.Grant{Tenant: "zeta"}) }), "", same},
		{"another order", TenantWidened, shared(func(t *ir.Tenancy) { t.From[0], t.From[1] = t.From[1], t.From[0] }), at("from"), same},
		{"another place", TenantWidened, shared(func(t *ir.Tenancy) { t.From[0] = ir.TenantSource{PathPrefix: "/"} }), at("from"), same},
		{"no place", TenantWidened, shared(func(t *ir.Tenancy) { t.From = nil }), at("from"), same},
		{"the first place", TenantWidened, same, "", shared(func(t *ir.Tenancy) { t.From, t.Agree = nil, false })},
		{"any name", TenantWidened, shared(func(t *ir.Tenancy) { t.Open = true }), at("open"), same},
		{"a known one more", TenantWidened, shared(func(t *ir.Tenancy) { t.Known = []string{"initech"} }), "", same},
		{"unknown ones pass", TenantWidened, shared(func(t *ir.Tenancy) { t.PassUnknown = true }), at("unknown"), same},
		{"unknown ones pass no more", TenantWidened, same, "", shared(func(t *ir.Tenancy) { t.PassUnknown = true })},
		{"they need not agree", TenantWidened, shared(func(t *ir.Tenancy) { t.Agree = false }), at("agree"), same},
	}
}

// Fields are called as their authors know them, so that the places where they stand are found.
func TestTenancyIsSpelt(t *testing.T) {
	old, new := base(shared(func(*ir.Tenancy) {})), base(shared(func(t *ir.Tenancy) {
		t.Grants[0].PrivateAddresses, t.PassUnknown, t.From = true, true, []ir.TenantSource{t.From[1], t.From[0]}
	}))
	new.Origins["gateway/tenancy.grants.acme.allowPrivateAddresses"] = diag.Pos{File: "tenants/acme/tenant.yaml", Line: 3, Col: 5}
	report := Programs(old, new)
	var got []string
	for _, o := range report.Objects {
		for _, c := range o.Changes {
			got = append(got, c.Path)
		}
	}
	slices.Sort(got)
	want := []string{
		"tenancy.from[0].claim", "tenancy.from[0].host", "tenancy.from[1].claim", "tenancy.from[1].host",
		"tenancy.grants.acme.allowPrivateAddresses", "tenancy.unknown",
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	for _, r := range report.Risks {
		if r.Path == "tenancy.grants.acme.allowPrivateAddresses" && r.Pos.Line != 3 {
			t.Errorf("it stands at %v", r.Pos)
		}
	}
}
