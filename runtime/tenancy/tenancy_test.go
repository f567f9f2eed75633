package tenancy_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/tenancy"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

var (
	host   = ir.TenantSource{Host: "shop.test"}
	path   = ir.TenantSource{PathPrefix: "/t"}
	first  = ir.TenantSource{PathPrefix: "/"}
	header = ir.TenantSource{Header: "x-tenant"}
	claim  = ir.TenantSource{Claim: "org.id"}
	key    = ir.TenantSource{APIKey: true}
)

// from is a configuration with the tenants acme and globex.
func from(sources ...ir.TenantSource) *ir.Tenancy {
	return &ir.Tenancy{From: sources, Known: []string{"acme"}, Grants: []ir.Grant{{Tenant: "globex"}}}
}

func with(t *ir.Tenancy, edit func(*ir.Tenancy)) *ir.Tenancy {
	edit(t)
	return t
}

func agreeing(sources ...ir.TenantSource) *ir.Tenancy {
	return with(from(sources...), func(t *ir.Tenancy) { t.Agree = true })
}

func passing(sources ...ir.TenantSource) *ir.Tenancy {
	return with(from(sources...), func(t *ir.Tenancy) { t.PassUnknown = true })
}

func open(sources ...ir.TenantSource) *ir.Tenancy {
	return with(from(sources...), func(t *ir.Tenancy) { t.Open = true })
}

func resolver(tb testing.TB, t *ir.Tenancy) *tenancy.Resolver {
	tb.Helper()
	r, err := tenancy.New(&ir.Gateway{Tenancy: t})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// ask is a request, and what becomes known of who sends it.
type ask struct {
	host, path string
	owner      string   // of the route
	fields     []string // "Name: value"
	trusted    bool     // a trusted proxy has sent it
	claims     string   // of the token; "": there is none
	key        string   // the tenant of the API key; "": there is none
}

func (a *ask) exchange(tb testing.TB) *policy.Exchange {
	tb.Helper()
	x := &policy.Exchange{
		Request: &httpmsg.Request{Authority: a.host, Peer: netip.MustParseAddrPort("192.0.2.1:1"), PeerTrusted: a.trusted},
		Path:    a.path, Route: policy.Route{ID: "r", Tenant: a.owner},
	}
	for _, f := range a.fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Header.Add(name, value)
	}
	return x
}

// told is the tenant before it is known who calls, and after: a name, "" for nobody, or a refusal.
func (a *ask) told(tb testing.TB, r *tenancy.Resolver) string {
	tb.Helper()
	x := a.exchange(tb)
	r.Sanitise(x)
	name, ok := match.NormalizeHost(a.host)
	if !ok {
		tb.Fatalf("%q is no host", a.host)
	}
	if reject := r.Matched(x, name); reject != nil {
		return said(reject)
	}
	if !r.Late() {
		return x.Tenant
	}
	before := x.Tenant
	if a.claims != "" {
		claims, err := jose.Object([]byte(a.claims))
		if err != nil {
			tb.Fatal(err)
		}
		x.Principal = &policy.Principal{Claims: claims}
	}
	if a.key != "" {
		x.Key = &policy.Key{Tenant: a.key}
	}
	if reject := r.Identified(x, name); reject != nil {
		return before + " > " + said(reject)
	}
	return before + " > " + x.Tenant
}

func said(r *policy.Reject) string { return fmt.Sprintf("%d %s", r.Status, r.Code) }

const (
	unknown  = "403 tenant_unknown"
	mismatch = "403 tenant_mismatch"
)

func TestTenant(t *testing.T) {
	proxy := func(fields ...string) ask { return ask{fields: fields, trusted: true} }
	token := func(claims string) ask { return ask{claims: claims} }
	tests := []struct {
		name string
		of   *ir.Tenancy
		ask  ask
		want string
	}{
		{"nothing is configured", nil, ask{host: "acme.shop.test"}, ""},
		{"nothing is configured, a tenant's route", nil, ask{owner: "acme"}, "acme"},

		{"host", from(host), ask{host: "acme.shop.test"}, "acme"},
		{"host of a tenant with a grant", from(host), ask{host: "globex.shop.test"}, "globex"},
		{"host in capitals", from(host), ask{host: "ACME.Shop.Test"}, "acme"},
		{"host with a dot behind it", from(host), ask{host: "acme.shop.test."}, "acme"},
		{"host with a port", from(host), ask{host: "acme.shop.test:8080"}, "acme"},
		{"host above", from(host), ask{host: "shop.test"}, ""},
		{"host elsewhere", from(host), ask{host: "acme.example.com"}, ""},
		{"host that ends alike", from(host), ask{host: "acme.evilshop.test"}, ""},
		{"host that ends alike, with a hyphen", from(host), ask{host: "acme-shop.test"}, ""},
		{"no host", from(host), ask{}, ""},
		{"address", from(host), ask{host: "[2001:db8::1]:80"}, ""},
		{"host with a label more", from(host), ask{host: "www.acme.shop.test"}, unknown},
		{"host that begins like a tenant", from(host), ask{host: "acme.globex.shop.test"}, unknown},
		{"host of nobody", from(host), ask{host: "initech.shop.test"}, unknown},
		{"host of nobody, which is passed", passing(host), ask{host: "initech.shop.test"}, ""},
		{"host of nobody, and any may be", open(host), ask{host: "initech.shop.test"}, "initech"},
		{"host with a label more, and any may be", open(host), ask{host: "a.b.shop.test"}, unknown},
		{"host in another script that looks alike", from(host), ask{host: "xn--cme-6cd.shop.test"}, unknown}, // аcme, the first letter Cyrillic

		{"path", from(path), ask{path: "/t/acme/orders"}, "acme"},
		{"path that ends there", from(path), ask{path: "/t/acme"}, "acme"},
		{"first segment", from(first), ask{path: "/acme/orders"}, "acme"},
		{"path elsewhere", from(path), ask{path: "/acme/orders"}, ""},
		{"prefix alone", from(path), ask{path: "/t"}, ""},
		{"prefix and a slash", from(path), ask{path: "/t/"}, ""},
		{"prefix that begins alike", from(path), ask{path: "/tt/acme"}, ""},
		{"path in capitals", from(path), ask{path: "/t/ACME"}, unknown},
		{"path with a dot", from(path), ask{path: "/t/acme./x"}, unknown},
		{"path with an escape", from(path), ask{path: "/t/acme%20/x"}, unknown},
		{"path of nobody, which is passed", passing(path), ask{path: "/t/initech"}, ""},
		{"path of 2000 letters, and any may be", open(path), ask{path: "/t/" + strings.Repeat("a", 2000)}, unknown},

		{"header of a proxy", from(header), proxy("X-Tenant: acme"), "acme"},
		{"header of a proxy in small letters", from(header), proxy("x-tenant: acme"), "acme"},
		{"header of a client", from(header), ask{fields: []string{"X-Tenant: acme"}}, ""},
		{"header of a client, then another source", from(header, host), ask{host: "globex.shop.test", fields: []string{"X-Tenant: acme"}}, "globex"},
		{"header twice", from(header), proxy("X-Tenant: acme", "X-Tenant: globex"), unknown},
		{"header twice, which is passed", passing(header, host), with2(proxy("X-Tenant: acme", "x-tenant: acme"), func(a *ask) { a.host = "globex.shop.test" }), "globex"},
		{"header with two", from(header), proxy("X-Tenant: acme, globex"), unknown},
		{"header with underscores through a proxy", from(header), proxy("X_Tenant: acme"), ""},
		{"header with underscores beside the proxy's", from(header), proxy("X_Tenant: globex", "X-Tenant: acme"), "acme"},
		{"header with a dot through a proxy", from(header), proxy("X.Tenant: acme"), ""},
		{"header empty", from(header), proxy("X-Tenant: "), ""},
		{"header in capitals", from(header), proxy("X-Tenant: ACME"), unknown},

		{"claim", from(claim), token(`{"org":{"id":"acme"}}`), " > acme"},
		{"no token", from(claim), ask{}, " > "},
		{"claim absent", from(claim), token(`{"org":{}}`), " > "},
		{"claim null", from(claim), token(`{"org":{"id":null}}`), " > "},
		{"claim empty", from(claim), token(`{"org":{"id":""}}`), " > "},
		{"claim in capitals", from(claim), token(`{"org":{"id":"ACME"}}`), " > " + unknown},
		{"claim with a space", from(claim), token(`{"org":{"id":"acme "}}`), " > " + unknown},
		{"claim a list", from(claim), token(`{"org":{"id":["acme"]}}`), " > " + unknown},
		{"claim an object", from(claim), token(`{"org":{"id":{"acme":1}}}`), " > " + unknown},
		{"claim a number, and any may be", open(claim), token(`{"org":{"id":7}}`), " > " + unknown},
		{"claim of nobody", from(claim), token(`{"org":{"id":"initech"}}`), " > " + unknown},
		{"claim of nobody, which is passed", passing(claim, host), ask{host: "acme.shop.test", claims: `{"org":{"id":"initech"}}`}, " > acme"},

		{"API key", from(key), ask{key: "acme"}, " > acme"},
		{"no API key", from(key), ask{}, " > "},
		{"API key of a tenant that is gone", from(key), ask{key: "initech"}, " > " + unknown},
		{"API key of another tenant than the host", from(host, key), ask{host: "acme.shop.test", key: "globex"}, "acme > " + mismatch},
		{"API key of another tenant than the claim", from(claim), ask{claims: `{"org":{"id":"acme"}}`, key: "globex"}, " > " + mismatch},
		{"API key of the same tenant as the claim", from(claim), ask{claims: `{"org":{"id":"acme"}}`, key: "acme"}, " > acme"},

		{"the first that names one", from(host, path), ask{host: "acme.shop.test", path: "/t/globex"}, "acme"},
		{"the first names nobody", from(host, path), ask{host: "x.test", path: "/t/globex"}, "globex"},
		{"host before the claim", from(host, claim), ask{host: "acme.shop.test", claims: `{"org":{"id":"globex"}}`}, "acme > acme"},
		{"claim before the host: open until it is known", from(claim, host), ask{host: "acme.shop.test", claims: `{"org":{"id":"globex"}}`}, " > globex"},
		{"claim before the host, and there is none", from(claim, host), ask{host: "acme.shop.test"}, " > acme"},
		{"claim before a host of nobody", from(claim, host), ask{host: "initech.shop.test", claims: `{"org":{"id":"globex"}}`}, " > globex"},

		{"they agree", agreeing(host, claim), ask{host: "acme.shop.test", claims: `{"org":{"id":"acme"}}`}, "acme > acme"},
		{"one of them tells", agreeing(claim, host), ask{host: "acme.shop.test"}, "acme > acme"},
		{"host and claim differ", agreeing(host, claim), ask{host: "acme.shop.test", claims: `{"org":{"id":"globex"}}`}, "acme > " + mismatch},
		{"claim and host differ", agreeing(claim, host), ask{host: "acme.shop.test", claims: `{"org":{"id":"globex"}}`}, "acme > " + mismatch},
		{"host and path differ", agreeing(host, path), ask{host: "acme.shop.test", path: "/t/globex"}, mismatch},
		{"host and a claim of nobody", agreeing(host, claim), ask{host: "acme.shop.test", claims: `{"org":{"id":"initech"}}`}, "acme > " + unknown},

		{"a tenant's route, whatever else is said", from(header, host, claim), ask{
			owner: "acme", host: "globex.shop.test", fields: []string{"X-Tenant: globex"}, trusted: true, claims: `{"org":{"id":"globex"}}`,
		}, "acme > acme"},
		{"a tenant's route, another's key", from(claim), ask{owner: "acme", key: "globex"}, "acme > " + mismatch},
		{"a tenant's route, another's claim, and they have to agree", agreeing(claim), ask{owner: "acme", claims: `{"org":{"id":"globex"}}`}, "acme > " + mismatch},
		{"a tenant's route, a claim of nobody, and they have to agree", agreeing(claim), ask{owner: "acme", claims: `{"org":{"id":"x"}}`}, "acme > " + mismatch},
		{"a tenant's route, a claim that is none, and they have to agree", agreeing(claim), ask{owner: "acme", claims: `{"org":{"id":7}}`}, "acme > " + mismatch},
		{"a tenant's route, no claim, and they have to agree", agreeing(claim), ask{owner: "acme"}, "acme > acme"},
		{"a tenant's route, another's header, and they have to agree", agreeing(header), ask{owner: "acme", fields: []string{"X-Tenant: globex"}, trusted: true}, mismatch},
		{"a tenant's route, a segment called like a tenant", agreeing(first, host), ask{owner: "acme", path: "/globex/x", host: "globex.shop.test"}, "acme"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.ask.told(t, resolver(t, tc.of)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func with2(a ask, edit func(*ask)) ask {
	edit(&a)
	return a
}

// What only a proxy may say reaches neither policies nor the upstream from anybody else, in any spelling; and nothing behind the body.
func TestSanitise(t *testing.T) {
	r := resolver(t, from(header, ir.TenantSource{Header: "x-org"}))
	fields := []string{"Accept: a", "X-Tenant: 1", "x_tenant: 2", "X-Other: b", "X.ORG: 3", "X-Org: 4", "X-Tenants: c"}
	for _, tc := range []struct {
		trusted bool
		want    string
	}{
		{false, "[{Accept a} {X-Other b} {X-Tenants c}]"},
		{true, "[{Accept a} {X-Tenant 1} {X-Other b} {X-Org 4} {X-Tenants c}]"},
	} {
		x := (&ask{fields: fields, trusted: tc.trusted}).exchange(t)
		r.Sanitise(x)
		if got := fmt.Sprint(x.Request.Header.Fields); got != tc.want || !x.NoTrailers {
			t.Errorf("trusted %t: left are %s, trailers are kept back: %t", tc.trusted, got, x.NoTrailers)
		}
	}
	x := (&ask{fields: fields}).exchange(t)
	resolver(t, from(claim)).Sanitise(x)
	if len(x.Request.Header.Fields) != len(fields) || x.NoTrailers {
		t.Error("fields are taken off although none names a tenant")
	}
}

// A bundle may come from anywhere.
func TestNew(t *testing.T) {
	for _, tc := range []struct {
		of   *ir.Tenancy
		want string
	}{
		{from(ir.TenantSource{}), "tenancy: from[0]: it looks in 0 places, must look in one"},
		{from(host, ir.TenantSource{Claim: "x", APIKey: true}), "tenancy: from[1]: it looks in 2 places, must look in one"},
		{from(ir.TenantSource{Host: "*.x.test"}), `tenancy: from[0]: host "*.x.test" is malformed`},
		{from(ir.TenantSource{Host: "X.test"}), `tenancy: from[0]: host "X.test" is malformed`},
		{from(ir.TenantSource{PathPrefix: "/a/../b"}), `tenancy: from[0]: pathPrefix "/a/../b" is not normalised`},
		{from(ir.TenantSource{PathPrefix: "a"}), `tenancy: from[0]: pathPrefix "a" is not normalised`},
		{from(ir.TenantSource{Header: "X Tenant"}), `tenancy: from[0]: header "X Tenant" cannot name a tenant`},
		{from(ir.TenantSource{Header: "connection"}), `tenancy: from[0]: header "connection" cannot name a tenant`},
	} {
		if _, err := tenancy.New(&ir.Gateway{Tenancy: tc.of}); err == nil || err.Error() != tc.want {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
}

// FuzzTenant: whatever is asked, the tenant of a tenant's route is its own, and that of any other is nobody or one there is.
func FuzzTenant(f *testing.F) {
	f.Add("acme.shop.test", "/t/globex", "X-Tenant", "acme", "acme", "globex", uint8(0))
	f.Add("ACME.shop.test.:80", "/t/%61cme", "x_tenant", "globex", "", "", uint8(255))
	f.Add("a.b.shop.test", "/t//acme", "X-TENANT", "acme,globex", "x", "acme", uint8(7))
	known := map[string]bool{"": true, "acme": true, "globex": true}
	f.Fuzz(func(t *testing.T, authority, target, field, value, org, keyTenant string, how uint8) {
		name, ok := match.NormalizeHost(authority)
		normal, reason := match.NormalizePath(target)
		if !ok || reason != "" {
			return
		}
		of := from(host, claim, path, header, key)
		of.PassUnknown, of.Agree = how&1 != 0, how&2 != 0
		a := ask{path: normal, fields: []string{field + ": " + value}, trusted: how&4 != 0}
		if how&8 != 0 {
			a.owner = "acme"
		}
		r, x := resolver(t, of), a.exchange(t)
		r.Sanitise(x)
		if r.Matched(x, name) != nil {
			return
		}
		early := x.Tenant
		x.Principal = &policy.Principal{Claims: map[string]any{"org": map[string]any{"id": org, "n": json.Number("1")}}}
		x.Key = &policy.Key{Tenant: keyTenant}
		if r.Identified(x, name) != nil {
			return
		}
		switch {
		case a.owner != "" && x.Tenant != a.owner:
			t.Errorf("a route of acme is %q's", x.Tenant)
		case !known[x.Tenant]:
			t.Errorf("there is no tenant %q", x.Tenant)
		case early != "" && early != x.Tenant:
			t.Errorf("it was %q before it was known who calls, and is %q after", early, x.Tenant)
		case keyTenant != "" && x.Tenant != "" && keyTenant != x.Tenant:
			t.Errorf("a key of %q is good for %q", keyTenant, x.Tenant)
		}
	})
}

func BenchmarkTenant(b *testing.B) {
	for _, bc := range []struct {
		name string
		of   *ir.Tenancy
	}{{"none", nil}, {"host", from(host)}, {"five agree", agreeing(host, path, header, claim, key)}} {
		b.Run(bc.name, func(b *testing.B) {
			r := resolver(b, bc.of)
			x := (&ask{path: "/t/acme/x", fields: []string{"Accept: a", "User-Agent: b", "X-Tenant: acme"}, trusted: true}).exchange(b)
			x.Principal, x.Key = &policy.Principal{Claims: map[string]any{"org": map[string]any{"id": "acme"}}}, &policy.Key{Tenant: "acme"}
			b.ReportAllocs()
			for b.Loop() {
				r.Sanitise(x)
				if r.Matched(x, "acme.shop.test") != nil || r.Late() && r.Identified(x, "acme.shop.test") != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
