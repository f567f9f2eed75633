package diff

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/schema/ir"
)

// compiledWith is a program whose route users has the policies that a text compiles to.
func compiledWith(t *testing.T, text string) *ir.Program {
	t.Helper()
	p := base(onRoute("users", func(r *ir.Route) { r.Policies = nil }))
	if text == "" {
		return p
	}
	kinds := all.Kinds()
	i := slices.IndexFunc(kinds, func(k policy.Kind) bool {
		top, sub, nested := strings.Cut(k.Name, ".")
		return strings.HasPrefix(text, top+":") && (!nested || strings.Contains(text, sub+":"))
	})
	if i < 0 {
		t.Fatalf("no kind for %s", text)
	}
	raw, said := policytest.Compile(t, kinds[i], policytest.Route{Policy: text})
	if raw == nil {
		t.Fatalf("%s: %q", text, said)
	}
	plan(kinds[i].Name, string(raw))(p)
	return p
}

// TestEveryKind changes what authors write of each kind of policy to what protects less: each change is a risk. The other way round
// it is none.
func TestEveryKind(t *testing.T) {
	const token = `auth: { jwt: { issuer: "https://id", audience: api, jwksUri: "https://id/k", `
	for _, tt := range []struct{ name, before, after, want string }{
		{"jwt is gone", token + "} }", "", "AUTH_REMOVED"},
		{"a role less", token + "requiredRoles: [a, b] } }", token + "requiredRoles: [a] } }", "AUTH_WEAKENED requiredRoles no longer holds b"},
		{"a scope less", token + "requiredScopes: [a] } }", token + "} }", "AUTH_WEAKENED requiredScopes no longer holds a"},
		{"a permission less", token + "requiredPermissions: [a] } }", token + "} }", "AUTH_WEAKENED requiredPermissions no longer holds a"},
		{"an algorithm more", token + "} }", token + "algorithms: [ES256, RS256] } }", "AUTH_WEAKENED algorithms accepts RS256"},
		{"optional", token + "} }", token + "optional: true } }", "AUTH_WEAKENED optional"},
		{"replays", token + "replayProtection: true } }", token + "} }", "AUTH_WEAKENED replayProtection"},
		{"any type", token + "type: at+jwt } }", token + "} }", "AUTH_WEAKENED type"},
		{"more skew", token + "} }", token + "clockSkewSeconds: 300 } }", "AUTH_WEAKENED clockSkewSeconds is 300"},
		{"an audience more", `auth: { jwt: { issuer: i, audiences: [a], jwksUri: "https://id/k" } }`, `auth: { jwt: { issuer: i, audiences: [a, b], jwksUri: "https://id/k" } }`, "AUTH_WEAKENED audiences accepts b"},
		{"an issuer more", `auth: { jwt: { issuers: [{ issuer: i, audience: a, jwksUri: "https://id/k" }] } }`, `auth: { jwt: { issuers: [{ issuer: i, audience: a, jwksUri: "https://id/k" }, { issuer: j, audience: a, jwksUri: "https://j/k" }] } }`, "AUTH_WEAKENED issuers accepts"},
		{"more forgeries", token + "} }", token + "maxFailuresPerMinute: 6000 } }", "AUTH_WEAKENED maxFailuresPerMinute is 6000"},
		{"apiKey is gone", "auth: { apiKey: {} }", "", "AUTH_REMOVED"},
		{"a key's scope less", "auth: { apiKey: { requiredScopes: [a, b] } }", "auth: { apiKey: { requiredScopes: [a] } }", "AUTH_WEAKENED requiredScopes no longer holds b"},
		{"more guesses", "auth: { apiKey: { maxFailuresPerMinute: 10 } }", "auth: { apiKey: { maxFailuresPerMinute: 1000 } }", "AUTH_WEAKENED maxFailuresPerMinute is 1000"},
		{"a condition less", `authorization: { conditions: [{ id: a, when: "true" }, { id: b, when: "true" }] }`, `authorization: { conditions: [{ id: a, when: "true" }] }`, "AUTH_WEAKENED a part of the protection is gone"},
		{"another condition", `authorization: { conditions: [{ id: a, when: "claims.x == 1" }] }`, `authorization: { conditions: [{ id: a, when: "true" }] }`, "AUTH_WEAKENED when"},
		{"only shadowed", `authorization: { conditions: [{ id: a, when: "true" }] }`, `authorization: { conditions: [{ id: a, when: "true" }], shadow: true }`, "AUTH_WEAKENED shadow"},
		{"ip allows more", "ip: { allow: [10.0.0.0/8] }", "ip: { allow: [10.0.0.0/8, 192.0.2.0/24] }", "AUTH_WEAKENED allow accepts 192.0.2.0/24"},
		{"ip denies less", "ip: { deny: [10.0.0.0/8, 192.0.2.0/24] }", "ip: { deny: [10.0.0.0/8] }", "AUTH_WEAKENED deny no longer holds 192.0.2.0/24"},
		{"ip is gone", "ip: { deny: [10.0.0.0/8] }", "", "AUTH_WEAKENED the protection ip is gone"},
		{"cors takes more origins", "cors: { allowOrigins: [https://a] }", "cors: { allowOrigins: [https://a, https://b] }", "AUTH_WEAKENED allowOrigins accepts https://b"},
		{"cors with credentials", "cors: { allowOrigins: [https://a] }", "cors: { allowOrigins: [https://a], allowCredentials: true }", "AUTH_WEAKENED allowCredentials"},
		{"signed URLs are gone", `signedUrl: { keys: [{ id: a, secretRef: "env:A" }] }`, "", "AUTH_REMOVED"},
		{"signed URLs last longer", `signedUrl: { keys: [{ id: a, secretRef: "env:A" }], maxLifetime: 1h }`, `signedUrl: { keys: [{ id: a, secretRef: "env:A" }], maxLifetime: 2h }`, "AUTH_WEAKENED maxLifetimeMs is 7200000"},
		{"signed URLs last for ever", `signedUrl: { keys: [{ id: a, secretRef: "env:A" }], maxLifetime: 1h }`, `signedUrl: { keys: [{ id: a, secretRef: "env:A" }] }`, "AUTH_WEAKENED maxLifetimeMs is gone"},
		{"another key signs", `signedUrl: { keys: [{ id: a, secretRef: "env:A" }] }`, `signedUrl: { keys: [{ id: a, secretRef: "env:B" }] }`, "AUTH_WEAKENED secretRef is env:B"},
		{"more media types", "contentType: { allow: [application/json] }", "contentType: { allow: [application/json, text/*] }", "AUTH_WEAKENED allow accepts text/*"},
		{"security headers are gone", "securityHeaders: {}", "", "AUTH_WEAKENED the protection securityHeaders is gone"},
		{"framing is the upstream's business", "securityHeaders: {}", "securityHeaders: { frameOptions: upstream }", "AUTH_WEAKENED frameOptions is gone"},
		{"another content policy", `securityHeaders: { contentSecurityPolicy: "default-src 'self'" }`, `securityHeaders: { contentSecurityPolicy: "default-src *" }`, "AUTH_WEAKENED contentSecurityPolicy is"},
		{"an injected field less", "contextInjection: { claims: { X-Org: org, X-User: sub } }", "contextInjection: { claims: { X-Org: org } }", "AUTH_WEAKENED claims no longer holds"},
		{"an injected field from another claim", "contextInjection: { claims: { X-Org: org, X-User: sub } }", "contextInjection: { claims: { X-Org: org, X-User: name } }", "AUTH_WEAKENED claims no longer holds"},
		{"injected fields are no longer stripped", "contextInjection: { claims: { X-User: sub } }", "", "AUTH_WEAKENED the protection contextInjection is gone"},
		{"a higher limit", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000 }", "rateLimit: { tokensPerInterval: 20, intervalMs: 60000 }", "LIMIT_RAISED"},
		{"a shorter interval", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, burst: 10 }", "rateLimit: { tokensPerInterval: 10, intervalMs: 10000, burst: 10 }", "LIMIT_RAISED"},
		{"more burst", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, burst: 10 }", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, burst: 50 }", "LIMIT_RAISED"},
		{"no limit", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000 }", "", "LIMIT_REMOVED"},
		{"a limit less", `rateLimit: { limits: [{ id: a, tokensPerInterval: 10, intervalMs: 60000 }, { id: b, tokensPerInterval: 99, intervalMs: 3600000 }] }`, `rateLimit: { limits: [{ id: a, tokensPerInterval: 10, intervalMs: 60000 }] }`, "LIMIT_REMOVED"},
		{"open without Redis", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000 }", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, onError: open }", "onError"},
		{"a limit that is only shadowed", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000 }", "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, shadow: true }", "shadow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, after := compiledWith(t, tt.before), compiledWith(t, tt.after)
			said := risksOf(before, after)
			if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, tt.want) }) {
				t.Errorf("risks %q, want %q", said, tt.want)
			}
		})
	}
}

func risksOf(a, b *ir.Program) []string {
	var out []string
	for _, r := range Programs(a, b).Risks {
		out = append(out, fmt.Sprintf("%s %s", r.Code, r.Message))
	}
	return out
}

// TestCarvedOut puts routes without a credential where requests needed one.
func TestCarvedOut(t *testing.T) {
	guard := func(r *ir.Route) {
		r.Policies = []ir.Policy{policyOf("auth.jwt", `{"issuer":"i","audiences":["a"],"jwksUri":"https://i/k","algorithms":["ES256"],"from":{"header":"Authorization"}}`)}
	}
	old := base(func(p *ir.Program) {
		orders := p.Routes[0]
		orders.ID, orders.Match = "orders", ir.Match{Path: "/orders/*"}
		guard(&orders)
		open := p.Routes[0]
		open.ID, open.Match, open.Policies = "open", ir.Match{Path: "/orders/status/*"}, nil
		shop := orders
		shop.ID, shop.Match = "shop", ir.Match{Host: "shop.example.com", Path: "/basket/{id}", Methods: []string{"GET"}}
		p.Routes = []ir.Route{open, orders, shop}
	})
	for _, tt := range []struct {
		name  string
		match ir.Match
		want  string
	}{
		{"below a guarded route", ir.Match{Path: "/orders/export/*"}, "GET /orders/export was taken by route orders, which asks for a credential, and needs none any more"},
		{"a method of it", ir.Match{Path: "/orders/*", Methods: []string{"POST"}}, "POST /orders was taken by route orders"},
		{"with a capture and a header", ir.Match{Path: "/orders/{id}/x", Headers: []ir.Pair{{Name: "x-a", Value: "*"}}}, "GET /orders/x/x was taken by route orders"},
		{"where nobody was asked", ir.Match{Path: "/orders/status/now"}, ""},
		{"where nothing was", ir.Match{Path: "/elsewhere/*"}, ""},
		{"every path of one host of many", ir.Match{Host: "other.example.com", Path: "/*"}, "GET other.example.com/orders was taken by route orders"},
		{"every path of some hosts", ir.Match{Host: "*.example.com", Path: "/*", Methods: []string{"PUT"}}, "PUT www.example.com/orders was taken by route orders"},
		{"a regular expression of one host", ir.Match{Host: "other.example.com", PathRegex: "/o.*", Query: []ir.Pair{{Name: "a", Value: "1"}}}, "GET other.example.com/orders was taken by route orders"},
		{"every path of a host, behind its own routes", ir.Match{Host: "shop.example.com", Path: "/basket/*", Methods: []string{"GET"}}, ""},
		{"every path of a host, with its own routes", ir.Match{Host: "shop.example.com", Path: "/*"}, "GET shop.example.com/orders was taken by route orders"},
		{"every path of a host, before its own routes", ir.Match{Host: "shop.example.com", Path: "/basket/{id}", Methods: []string{"GET"}, Headers: []ir.Pair{{Name: "x-a", Value: "1"}}}, "GET shop.example.com/basket/x was taken by route shop"},
		{"every path of every host", ir.Match{Path: "/*"}, ""},
		{"one host of many", ir.Match{Host: "other.example.com", Path: "/orders/x"}, "GET other.example.com/orders/x was taken by route orders"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := base(func(p *ir.Program) {
				added := p.Routes[0]
				added.ID, added.Match, added.Policies = "zzz", tt.match, nil
				p.Routes = append(slices.Clone(old.Routes), added)
			})
			var said []string
			for _, s := range risksOf(old, now) {
				if strings.HasPrefix(s, "AUTH_REMOVED") {
					said = append(said, s)
				}
			}
			if (tt.want == "") != (len(said) == 0) || tt.want != "" && !strings.Contains(said[0], tt.want) {
				t.Errorf("said %q, want %q", said, tt.want)
			}
		})
	}
}

// TestFallen narrows guarded routes, and takes them away, above one that asks for nothing.
func TestFallen(t *testing.T) {
	guard := []ir.Policy{policyOf("auth.apiKey", `{"header":"X-API-Key"}`)}
	site := func(edit func(*ir.Program)) *ir.Program {
		return base(func(p *ir.Program) {
			account, inner, all := p.Routes[0], p.Routes[0], p.Routes[0]
			account.ID, account.Match, account.Policies = "account", ir.Match{Path: "/account/*"}, guard
			inner.ID, inner.Match, inner.Policies = "inner", ir.Match{Path: "/account/{id}/keys", Methods: []string{"GET"}}, guard
			all.ID, all.Match, all.Policies = "site", ir.Match{Path: "/*"}, nil
			p.Routes = []ir.Route{account, inner, all}
			edit(p)
		})
	}
	for _, tt := range []struct {
		name string
		edit func(*ir.Program)
		want string
	}{
		{"narrower path", onRoute("account", func(r *ir.Route) { r.Match.Path = "/account/me/*" }), "GET /account was taken by this route, which asks for a credential, and falls to route site, which asks for none"},
		{"fewer methods", onRoute("account", func(r *ir.Route) { r.Match.Methods = []string{"GET", "HEAD"} }), "POST /account was taken by this route"},
		{"one host", onRoute("account", func(r *ir.Route) { r.Match.Host = "a.example.com" }), "GET /account was taken by this route"},
		{"a header more", onRoute("account", func(r *ir.Route) { r.Match.Headers = []ir.Pair{{Name: "x-a", Value: "*"}} }), "GET /account was taken by this route"},
		{"removed", func(p *ir.Program) { p.Routes = p.Routes[1:] }, "GET /account was taken by this route"},
		{"removed above a guarded one", func(p *ir.Program) { p.Routes = append(p.Routes[:1:1], p.Routes[2]) }, ""},
		{"removed together with what it falls to", func(p *ir.Program) { p.Routes = p.Routes[1:2] }, ""},
		{"narrowed to nobody", func(p *ir.Program) { p.Routes[0].Match.Path, p.Routes[2].Match.Path = "/account/me/*", "/pages/*" }, ""},
		{"wider path", onRoute("inner", func(r *ir.Route) { r.Match.Path = "/account/{id}/*" }), ""},
		{"a public one narrowed", onRoute("site", func(r *ir.Route) { r.Match.Path = "/pages/*" }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := slices.DeleteFunc(risksOf(site(unchanged), site(tt.edit)), func(s string) bool { return !strings.HasPrefix(s, "AUTH_REMOVED") })
			if tt.want == "" && len(said) > 0 || tt.want != "" && (len(said) != 1 || !strings.Contains(said[0], tt.want)) {
				t.Errorf("said %q, want %q", said, tt.want)
			}
		})
	}
}
