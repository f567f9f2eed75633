package diff

import (
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// riskCase is a change that has a risk, or a near neighbour that has not.
type riskCase struct {
	name string
	code Code
	edit func(*ir.Program)
	want string // severity, place and path of the risk; "" if there must be none of the code
	from func(*ir.Program)
}

const jwtOnly = `{"jwt":{"audience":["api"],"clockSkewSeconds":60,"issuer":"https://id.example.com",` +
	`"jwksUri":"https://id.example.com/jwks.json","requiredPermissions":["users.read"],"requiredRoles":["user"],"requiredScopes":["a","b"]}}`

// jwt replaces a text in jwtOnly.
func jwt(old, new string) func(*ir.Program) {
	if !strings.Contains(jwtOnly, old) {
		panic(old)
	}
	return plan("auth", strings.Replace(jwtOnly, old, new, 1))
}

func upstreamScheme(id, scheme string) func(*ir.Program) {
	return onUpstream(id, func(u *ir.Upstream) { u.Scheme = scheme })
}

func endpoint(id string, n int, address string) func(*ir.Program) {
	return onUpstream(id, func(u *ir.Upstream) { u.Endpoints[n].Address = address })
}

func path(s string) func(*ir.Program) { return onMatch(func(m *ir.Match) { m.Path = s }) }

func host(s string) func(*ir.Program) { return onMatch(func(m *ir.Match) { m.Host = s }) }

func both(edits ...func(*ir.Program)) func(*ir.Program) {
	return func(p *ir.Program) {
		for _, e := range edits {
			e(p)
		}
	}
}

func toUpstream(route, upstream string) func(*ir.Program) {
	return onRoute(route, func(r *ir.Route) { r.Target.Upstream = upstream })
}

func gateway(edit func(*ir.Gateway)) func(*ir.Program) {
	return func(p *ir.Program) { edit(&p.Gateway) }
}

func withUpstream(u ir.Upstream) func(*ir.Program) {
	return func(p *ir.Program) { p.Upstreams = append(p.Upstreams, u) }
}

func authCases() []riskCase {
	onlyJWT := plan("auth", jwtOnly)
	return []riskCase{
		{"policy removed", AuthRemoved, drop("auth"), "security route users policy.auth.apiKey", nil},
		{"policy emptied", AuthRemoved, plan("auth", `{"apiKey":{"enabled":false,"scopes":["read"]},"jwt":{"enabled":false}}`), "security route users policy.auth.apiKey", nil},
		{"policy switched off", AuthRemoved, plan("auth", strings.Replace(jwtOnly, `{`, `{"enabled":false,`, 1)), "security route users policy.auth.jwt", onlyJWT},
		{"new id for the same requests", AuthRemoved, both(drop("auth"), onRoute("users", func(r *ir.Route) { r.ID = "users-v2" })), "security route users-v2 policy.auth.apiKey", nil},
		{"one of two", AuthRemoved, onlyJWT, "", nil},
		{"one of two", AuthWeakened, onlyJWT, "security route users policy.auth.apiKey", nil},
		{"one more", AuthWeakened, plan("auth", jwtOnly[:len(jwtOnly)-1]+`,"apiKey":{}}`), "", onlyJWT},
		{"route without auth changes", AuthRemoved, onRoute("docs", func(r *ir.Route) { r.Forward.Timeout = 1 }), "", nil},

		{"role dropped", AuthWeakened, jwt(`["user"]`, `[]`), "security route users policy.auth.jwt.requiredRoles", onlyJWT},
		{"role replaced", AuthWeakened, jwt(`["user"]`, `["guest"]`), "security route users policy.auth.jwt.requiredRoles", onlyJWT},
		{"role added", AuthWeakened, jwt(`["user"]`, `["admin","user"]`), "", onlyJWT},
		{"scope dropped", AuthWeakened, jwt(`["a","b"]`, `["b"]`), "security route users policy.auth.jwt.requiredScopes", onlyJWT},
		{"scopes in another order, and one more", AuthWeakened, jwt(`["a","b"]`, `["c","b","a"]`), "", onlyJWT},
		{"permissions absent", AuthWeakened, jwt(`"requiredPermissions":["users.read"],`, ``), "security route users policy.auth.jwt.requiredPermissions", onlyJWT},
		{"audience emptied", AuthWeakened, jwt(`["api"]`, `[]`), "security route users policy.auth.jwt.audience", onlyJWT},
		{"audience added", AuthWeakened, jwt(`["api"]`, `["api","web"]`), "security route users policy.auth.jwt.audience", onlyJWT},
		{"audience narrowed", AuthWeakened, onlyJWT, "", jwt(`["api"]`, `["api","web"]`)},
		{"audience as one value", AuthWeakened, jwt(`["api"]`, `"api"`), "", onlyJWT},
		{"issuer not checked", AuthWeakened, jwt(`"issuer":"https://id.example.com",`, ``), "security route users policy.auth.jwt.issuer", onlyJWT},
		{"issuer checked at last", AuthWeakened, onlyJWT, "", jwt(`"issuer":"https://id.example.com",`, ``)},
		{"other keys", AuthWeakened, jwt(`com/jwks.json`, `org/jwks.json`), "security route users policy.auth.jwt.jwksUri", onlyJWT},
		{"skew raised", AuthWeakened, jwt(`:60`, `:61`), "security route users policy.auth.jwt.clockSkewSeconds", onlyJWT},
		{"skew lowered", AuthWeakened, jwt(`:60`, `:59`), "", onlyJWT},
		{"ip policy removed", AuthWeakened, drop("ip"), "security route users policy.ip", nil},
		{"ip allowed", AuthWeakened, plan("ip", `{"allow":["192.0.2.0/23"],"deny":["192.0.2.7/32"]}`), "security route users policy.ip.allow", nil},
		{"ip allowed in halves", AuthWeakened, plan("ip", `{"allow":["192.0.2.0/25","192.0.2.128/25"],"deny":["192.0.2.7/32"]}`), "", nil},
		{"ip denied no more", AuthWeakened, plan("ip", `{"allow":["192.0.2.0/24"]}`), "security route users policy.ip.deny", nil},
		{"ip denied with others", AuthWeakened, plan("ip", `{"allow":["192.0.2.0/24"],"deny":["192.0.2.0/29"]}`), "", nil},
		{"waf only looks", AuthWeakened, plan("waf", `{"mode":"detect","rules":["crs"]}`), "security route users policy.waf.mode", nil},
		{"waf blocks at last", AuthWeakened, plan("waf", `{"mode":"block","rules":["crs"]}`), "", plan("waf", `{"mode":"detect","rules":["crs"]}`)},
		{"waf switched off", AuthWeakened, plan("waf", `{"enabled":false,"mode":"block","rules":["crs"]}`), "security route users policy.waf", nil},
		{"policy of a new kind opens on errors", AuthWeakened, plan("novel", `{"list":[{"a":1},{"a":2}],"onError":"open","text":"x"}`), "security route users policy.novel.onError", nil},
		{"policy of a new kind says something else", AuthWeakened, plan("novel", `{"list":[{"a":1},{"a":2}],"onError":"closed","text":"y"}`), "", nil},
		{"authorisation removed", AuthWeakened, unchanged, "security route users policy.authorization", plan("authorization", `{"requiredRoles":["x"]}`)},
		{"header transform removed", AuthWeakened, unchanged, "", plan("transforms", `{"set":{"a":"b"}}`)},
		{"cors for any origin", AuthWeakened, plan("cors", `{"allowOrigins":["*"]}`), "security route users policy.cors.allowOrigins", plan("cors", `{"allowOrigins":["https://a.example"]}`)},
		{"cors for one origin less", AuthWeakened, plan("cors", `{"allowOrigins":["https://a.example"]}`), "", plan("cors", `{"allowOrigins":["https://a.example","https://b.example"]}`)},
	}
}

// unchanged is the edit that leaves the program as it is.
func unchanged(*ir.Program) {}

func routeCases() []riskCase {
	jwtRoute := routeOf("new", ir.Match{Path: "/new"}, "users", policyOf("auth", `{"jwt":{}}`))
	var ten []func(*ir.Program)
	for _, c := range "abcdefg" {
		ten = append(ten, add(routeOf("x"+string(c), ir.Match{Path: "/x/" + string(c)}, "users")))
	}
	tenRoutes := both(ten...)
	return []riskCase{
		{"without auth", PublicRouteAdded, add(routeOf("new", ir.Match{Path: "/new"}, "users")), "notice route new", nil},
		{"with auth", PublicRouteAdded, add(jwtRoute), "", nil},
		{"with auth switched off", PublicRouteAdded, add(routeOf("new", ir.Match{Path: "/new"}, "users", policyOf("auth", `{"enabled":false}`))), "notice route new", nil},
		{"renamed", PublicRouteAdded, onRoute("docs", func(r *ir.Route) { r.ID = "manual" }), "", nil},
		{"gone", RouteRemoved, removeRoute("docs"), "availability route docs", nil},
		{"renamed", RouteRemoved, onRoute("docs", func(r *ir.Route) { r.ID = "manual" }), "", nil},
		{"two of ten", RoutesRemovedMany, both(tenRoutes, removeRoute("xa"), removeRoute("xb")), "availability", tenRoutes},
		{"one of ten", RoutesRemovedMany, both(tenRoutes, removeRoute("xa")), "", tenRoutes},
		{"nothing left", EmptyConfig, func(p *ir.Program) { p.Routes = nil }, "availability", nil},
		{"one left", EmptyConfig, both(removeRoute("docs"), removeRoute("pay")), "", nil},
		{"nothing before", EmptyConfig, func(p *ir.Program) { p.Gateway.Name = "x"; p.Routes = nil }, "", func(p *ir.Program) { p.Routes = nil }},

		{"exact to wildcard", HostWidened, host("*.example.com"), "security route users matcher.host", nil},
		{"exact to any", HostWidened, host(""), "security route users matcher.host", nil},
		{"exact to exact", HostWidened, host("www.example.com"), "", nil},
		{"shorter wildcard", HostWidened, onRoute("pay", func(r *ir.Route) { r.Match.Host = "*.example.com" }), "security route pay matcher.host", nil},
		{"longer wildcard", HostWidened, onRoute("pay", func(r *ir.Route) { r.Match.Host = "*.eu.pay.example.com" }), "", nil},
		{"wildcard to exact", HostWidened, onRoute("pay", func(r *ir.Route) { r.Match.Host = "a.pay.example.com" }), "", nil},

		{"literal to subtree", PathWidened, onRoute("pay", func(r *ir.Route) { r.Match.Path = "/pay/*" }), "security route pay matcher.path", nil},
		{"subtree to literal", PathWidened, path("/api/users"), "", nil},
		{"shorter prefix", PathWidened, path("/api/*"), "security route users matcher.path", nil},
		{"root", PathWidened, path("/*"), "security route users matcher.path", nil},
		{"longer prefix", PathWidened, path("/api/users/me/*"), "", nil},
		{"other prefix", PathWidened, path("/api/people/*"), "", nil},
		{"literal to capture", PathWidened, path("/api/{x}/*"), "security route users matcher.path", nil},
		{"capture renamed", PathWidened, path("/api/{x}/*"), "", path("/api/{y}/*")},
		{"capture to literal", PathWidened, path("/api/users/*"), "", path("/api/{y}/*")},
		{"to an expression", PathWidened, onMatch(func(m *ir.Match) { m.Path, m.PathRegex = "", "/api/.*" }), "security route users matcher.pathRegex", nil},
		{"from an expression to one of its paths", PathWidened, path("/api/users"), "", onMatch(func(m *ir.Match) { m.Path, m.PathRegex = "", "/api/.*" })},
		{"from an expression to another path", PathWidened, path("/users"), "security route users matcher.path", onMatch(func(m *ir.Match) { m.Path, m.PathRegex = "", "/api/.*" })},

		{"one more", MethodsWidened, onMatch(func(m *ir.Match) { m.Methods = []string{"DELETE", "GET", "PUT"} }), "security route users matcher.methods", nil},
		{"another", MethodsWidened, onMatch(func(m *ir.Match) { m.Methods = []string{"DELETE"} }), "security route users matcher.methods", nil},
		{"any", MethodsWidened, onMatch(func(m *ir.Match) { m.Methods = nil }), "security route users matcher.methods", nil},
		{"one less", MethodsWidened, onMatch(func(m *ir.Match) { m.Methods = []string{"GET"} }), "", nil},
		{"from any", MethodsWidened, onRoute("docs", func(r *ir.Route) { r.Match.Methods = []string{"GET"} }), "", nil},

		{"header dropped", MatchWidened, onMatch(func(m *ir.Match) { m.Headers = m.Headers[:1] }), "security route users matcher.headers.x-tenant", nil},
		{"header with any value", MatchWidened, onMatch(func(m *ir.Match) { m.Headers[1].Value = "*" }), "security route users matcher.headers.x-tenant", nil},
		{"header with another value", MatchWidened, onMatch(func(m *ir.Match) { m.Headers[1].Value = "other" }), "", nil},
		{"header with a value at last", MatchWidened, onMatch(func(m *ir.Match) { m.Headers[0].Value = "on" }), "", nil},
		{"query dropped", MatchWidened, onMatch(func(m *ir.Match) { m.Query = nil }), "security route users matcher.query.v", nil},
		{"query added", MatchWidened, onMatch(func(m *ir.Match) { m.Query = append(m.Query, ir.Pair{Name: "w", Value: "*"}) }), "", nil},
	}
}

func limitCases() []riskCase {
	return []riskCase{
		{"gateway body", LimitRaised, gateway(func(g *ir.Gateway) { g.Limits.BodyBytes *= 2 }), "availability gateway limits.maxBodyBytes 2", nil},
		{"gateway body lowered", LimitRaised, gateway(func(g *ir.Gateway) { g.Limits.BodyBytes /= 2 }), "", nil},
		{"header bytes", LimitRaised, gateway(func(g *ir.Gateway) { g.Limits.HeaderBytes += 16384 }), "availability gateway limits.maxHeaderBytes 1.5", nil},
		{"header fields", LimitRaised, gateway(func(g *ir.Gateway) { g.Limits.HeaderFields = 300 }), "availability gateway limits.maxHeaderFields 3", nil},
		{"url", LimitRaised, gateway(func(g *ir.Gateway) { g.Limits.URLBytes = 81920 }), "availability gateway limits.maxUrlBytes 10", nil},
		{"header time", LimitRaised, gateway(func(g *ir.Gateway) { g.Timeouts.ReadHeader = 20000 }), "availability gateway timeouts.readHeader 2", nil},
		{"timeout", LimitRaised, onRoute("users", func(r *ir.Route) { r.Forward.Timeout = 25000 }), "availability route users policy.timeout 2.5", nil},
		{"timeout lowered", LimitRaised, onRoute("users", func(r *ir.Route) { r.Forward.Timeout = 5000 }), "", nil},
		{"timeout off", LimitRemoved, onRoute("users", func(r *ir.Route) { r.Forward.Timeout = 0 }), "availability route users policy.timeout", nil},
		{"timeout on", LimitRaised, unchanged, "", onRoute("users", func(r *ir.Route) { r.Forward.Timeout = 0 })},
		{"idle", LimitRaised, onRoute("users", func(r *ir.Route) { r.Forward.IdleTimeout = 120000 }), "availability route users policy.timeouts.idle 2", nil},
		{"header", LimitRaised, onRoute("users", func(r *ir.Route) { r.Forward.HeaderTimeout = 120000 }), "availability route users policy.timeouts.header 2", nil},
		{"connect", LimitRaised, onUpstream("users", func(u *ir.Upstream) { u.ConnectTimeout = 10000 }), "availability upstream users connectTimeout 2", nil},
		{"connections", LimitRaised, onUpstream("users", func(u *ir.Upstream) { u.MaxConnections = 4096 }), "availability upstream users maxConnections 4", nil},
		{"pool", LimitRaised, onUpstream("users", func(u *ir.Upstream) { u.MaxIdle = 4096 }), "", nil},
		{"body", LimitRaised, plan("bodyLimit", `{"maxBytes":98304}`), "availability route users policy.bodyLimit.maxBytes 1.5", nil},
		{"body lowered", LimitRaised, plan("bodyLimit", `{"maxBytes":100}`), "", nil},
		{"body above the gateway's", LimitRaised, plan("bodyLimit", `{"maxBytes":2097152}`), "availability route users policy.bodyLimit.maxBytes 2", drop("bodyLimit")},
		{"body below the gateway's", LimitRaised, unchanged, "", drop("bodyLimit")},
		{"body limit removed", LimitRemoved, drop("bodyLimit"), "availability route users policy.bodyLimit", nil},
		{"body limit removed, the gateway's is as low", LimitRemoved, both(drop("bodyLimit"), gateway(func(g *ir.Gateway) { g.Limits.BodyBytes = 65536 })), "", nil},
		{"rate", LimitRaised, plan("rateLimit", `{"enabled":true,"intervalMs":60000,"tokensPerInterval":120}`), "availability route users policy.rateLimit.tokensPerInterval 2", nil},
		{"rate by the interval", LimitRaised, plan("rateLimit", `{"enabled":true,"intervalMs":30000,"tokensPerInterval":60}`), "availability route users policy.rateLimit.intervalMs 2", nil},
		{"smaller portions", LimitRaised, plan("rateLimit", `{"enabled":true,"intervalMs":10000,"tokensPerInterval":9}`), "", nil},
		{"longer interval", LimitRaised, plan("rateLimit", `{"enabled":true,"intervalMs":90000,"tokensPerInterval":60}`), "", nil},
		{"rate limit removed", LimitRemoved, drop("rateLimit"), "availability route users policy.rateLimit", nil},
		{"rate limit off", LimitRemoved, plan("rateLimit", `{"enabled":false,"intervalMs":60000,"tokensPerInterval":60}`), "availability route users policy.rateLimit", nil},
		{"rate limit added", LimitRemoved, unchanged, "", drop("rateLimit")},
		{"tokens of a model", LimitRaised, plan("ai", `{"maxTokens":3000}`), "cost route users policy.ai.maxTokens 3", nil},
		{"fewer tokens of a model", LimitRaised, plan("ai", `{"maxTokens":300}`), "", nil},
		{"budget removed", LimitRemoved, drop("ai"), "cost route users policy.ai", nil},
	}
}

func targetCases() []riskCase {
	external := upstreamOf("http://cdn.example.net:80", "http", "cdn.example.net:80")
	old := upstreamOf("http://docs:80", "http", "docs:80")
	secure := upstreamOf("https://docs:80", "https", "docs:80")
	return []riskCase{
		{"endpoint moves out", TargetExternal, endpoint("users", 0, "users.example.net:443"), "security upstream users targets", nil},
		{"endpoint moves inside", TargetExternal, endpoint("users", 0, "users.internal:443"), "", nil},
		{"endpoint stays at its public host", TargetExternal, endpoint("pay", 0, "PAY.partner.example.com:8443"), "", nil},
		{"another public host", TargetExternal, endpoint("pay", 0, "pay.example.net:443"), "security upstream pay targets", nil},
		{"public address", TargetExternal, endpoint("users", 1, "203.0.113.5:443"), "security upstream users targets", nil},
		{"private address", TargetExternal, endpoint("users", 1, "10.2.3.4:443"), "", nil},
		{"public address of IPv6", TargetExternal, endpoint("users", 1, "[2001:4860::1]:443"), "security upstream users targets", nil},
		{"private address of IPv6", TargetExternal, endpoint("users", 1, "[fd00::1]:443"), "", nil},
		{"route to a public url", TargetExternal, both(withUpstream(external), toUpstream("docs", external.ID)), "security route docs target.url", nil},
		{"route to a public upstream", TargetExternal, toUpstream("users", "pay"), "security route users target.upstream", nil},
		{"route to an inside upstream", TargetExternal, toUpstream("pay", "users"), "", nil},
		{"new upstream at a known host", TargetExternal, withUpstream(upstreamOf("pay2", "https", "pay.partner.example.com:443")), "", nil},
		{"new upstream at a new host", TargetExternal, withUpstream(upstreamOf("x", "https", "x.example.com:443")), "security upstream x targets", nil},
		{"spans", TargetExternal, gateway(func(g *ir.Gateway) { g.Tracing.Endpoint = "https://otel.example.com/v1" }), "security gateway telemetry.tracing.endpoint", nil},
		{"spans inside", TargetExternal, gateway(func(g *ir.Gateway) { g.Tracing.Endpoint = "http://collector:4318" }), "", nil},
		{"endpoint of a provider", TargetExternal, onRoute("users", func(r *ir.Route) { r.Target.Plan = []byte(`{"endpoint":"https://ai.example.com"}`) }), "security route users target.endpoint", onRoute("users", func(r *ir.Route) { r.Target.Plan = []byte(`{"endpoint":"https://ai.internal"}`) })},

		{"upstream", TLSDowngrade, upstreamScheme("users", "http"), "security upstream users targets", nil},
		{"upstream to https", TLSDowngrade, unchanged, "", upstreamScheme("users", "http")},
		{"route to a plain upstream", TLSDowngrade, both(withUpstream(upstreamOf("plain", "http", "p:80")), toUpstream("users", "plain")), "security route users target.upstream", nil},
		{"url", TLSDowngrade, unchanged, "security route docs target.url", both(withUpstream(secure), toUpstream("docs", secure.ID))},
		{"url to https", TLSDowngrade, both(withUpstream(secure), toUpstream("docs", secure.ID)), "", withUpstream(old)},
		{"keys", TLSDowngrade, jwt(`"jwksUri":"https:`, `"jwksUri":"http:`), "security route users policy.auth.jwt.jwksUri", plan("auth", jwtOnly)},

		{"wider", TrustedProxiesWidened, gateway(func(g *ir.Gateway) { g.TrustedProxies = []string{"10.0.0.0/7"} }), "security gateway trustedProxies", nil},
		{"one more", TrustedProxiesWidened, gateway(func(g *ir.Gateway) { g.TrustedProxies = append(g.TrustedProxies, "::1/128") }), "security gateway trustedProxies", nil},
		{"two halves joined", TrustedProxiesWidened, gateway(func(g *ir.Gateway) { g.TrustedProxies = []string{"10.0.0.0/8"} }), "", nil},
		{"narrower", TrustedProxiesWidened, gateway(func(g *ir.Gateway) { g.TrustedProxies = []string{"10.1.0.0/16"} }), "", nil},

		{"upstream", PrivateAddressesAllowed, onUpstream("users", func(u *ir.Upstream) { u.PrivateAddresses = true }), "security upstream users privateAddresses", nil},
		{"upstream forbids them", PrivateAddressesAllowed, unchanged, "", onUpstream("users", func(u *ir.Upstream) { u.PrivateAddresses = true })},
		{"new upstream of a tenant", PrivateAddressesAllowed, withUpstream(ir.Upstream{ID: "t", Tenant: "acme", PrivateAddresses: true}), "security upstream t privateAddresses", nil},
		{"new upstream of the base", PrivateAddressesAllowed, withUpstream(ir.Upstream{ID: "t", PrivateAddresses: true}), "", nil},
		{"behind the same url", PrivateAddressesAllowed, onUpstream("http://docs:80", func(u *ir.Upstream) { u.PrivateAddresses = true }), "security route docs target.privateAddresses", nil},
	}
}

// TestRisks holds for each code a change that has it and a neighbour that has not.
func TestRisks(t *testing.T) {
	seen := map[Code][2]bool{}
	for _, cases := range [][]riskCase{authCases(), routeCases(), limitCases(), targetCases(), resilienceCases(), listenerCases(), gitOpsCases(), adminCases(), tenancyCases()} {
		for _, c := range cases {
			t.Run(string(c.code)+"/"+c.name, func(t *testing.T) {
				var before []func(*ir.Program)
				if c.from != nil {
					before = append(before, c.from)
				}
				a := base(before...)
				r := Programs(a, base(c.edit))
				if r.Empty() {
					t.Fatal("the case changes nothing")
				}
				var got []string
				for _, k := range r.Risks {
					if k.Code == c.code {
						line := strings.Join([]string{string(k.Severity), string(k.Kind), k.ID, k.Path, k.Factor}, " ")
						got = append(got, strings.Join(strings.Fields(line), " "))
					}
				}
				var want []string
				if c.want != "" {
					want = []string{c.want}
				}
				if !slices.Equal(got, want) {
					t.Errorf("risks %q, want %q; all: %+v", got, want, r.Risks)
				}
			})
			s := seen[c.code]
			if c.want == "" {
				s[1] = true
			} else {
				s[0] = true
			}
			seen[c.code] = s
		}
	}
	for _, c := range Codes() {
		if seen[c.Code] != [2]bool{true, true} {
			t.Errorf("%s lacks a change that has it, or a neighbour that has not: %v", c.Code, seen[c.Code])
		}
		if c.Severity != severityOf(c.Code) {
			t.Errorf("%s is documented as %s and reported as %s", c.Code, c.Severity, severityOf(c.Code))
		}
	}
}
