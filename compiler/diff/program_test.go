package diff

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// base is a small program with one of everything; edit changes a fresh copy.
func base(edit ...func(*ir.Program)) *ir.Program {
	p := &ir.Program{
		Environment: "prod",
		Gateway: ir.Gateway{
			Name:           "shop",
			Listeners:      []ir.Listener{{ID: "public", Address: ":8080"}},
			TrustedProxies: []string{"10.0.0.0/9", "10.128.0.0/9"},
			Limits:         ir.Limits{HeaderBytes: 32768, HeaderFields: 100, URLBytes: 8192, BodyBytes: 1 << 20},
			Timeouts:       ir.Timeouts{ReadHeader: 10000, BodyIdle: 15000, KeepAlive: 75000},
			AccessLog:      ir.AccessLog{Format: "json"},
			Tracing:        ir.Tracing{SamplePerMil: 100},
		},
		Upstreams: []ir.Upstream{
			upstreamOf("http://docs:80", "http", "docs:80"),
			upstreamOf("pay", "https", "pay.partner.example.com:443"),
			upstreamOf("users", "https", "users-1:8443", "users-2:8443"),
		},
	}
	p.Routes = []ir.Route{
		routeOf("docs", ir.Match{Path: "/docs/*"}, "http://docs:80"),
		routeOf("pay", ir.Match{Host: "*.pay.example.com", Path: "/pay"}, "pay"),
		routeOf("users", ir.Match{
			Host: "api.example.com", Path: "/api/users/*", Methods: []string{"GET", "PUT"},
			Headers: []ir.Pair{{Name: "x-beta", Value: "*"}, {Name: "x-tenant", Value: "acme"}},
			Query:   []ir.Pair{{Name: "v", Value: "2"}},
		}, "users",
			policyOf("auth", `{"apiKey":{"scopes":["read"]},"jwt":{"audience":["api"],"clockSkewSeconds":60,`+
				`"issuer":"https://id.example.com","jwksUri":"https://id.example.com/jwks.json",`+
				`"requiredPermissions":["users.read"],"requiredRoles":["user"],"requiredScopes":["a","b"]}}`),
			policyOf("ip", `{"allow":["192.0.2.0/24"],"deny":["192.0.2.7/32"]}`),
			policyOf("waf", `{"mode":"block","rules":["crs"]}`),
			policyOf("bodyLimit", `{"maxBytes":65536}`),
			policyOf("rateLimit", `{"enabled":true,"intervalMs":60000,"tokensPerInterval":60}`),
			policyOf("ai", `{"maxTokens":1000}`),
			policyOf("novel", `{"list":[{"a":1},{"a":2}],"onError":"closed","text":"x"}`)),
	}
	p.Origins = ir.Origins{
		"gateway":                             at3("gateway.yaml", 2, 1),
		"gateway/limits.maxBodyBytes":         at3("gateway.yaml", 9, 19),
		"upstreams/users":                     at3("upstreams/users.yaml", 3, 5),
		"upstreams/users/targets[0]":          at3("upstreams/users.yaml", 5, 9),
		"routes/users":                        at3("routes/users.yaml", 3, 5),
		"routes/users/matcher":                at3("routes/users.yaml", 4, 14),
		"routes/users/matcher.path":           at3("routes/users.yaml", 4, 22),
		"routes/users/policy.auth.jwt":        at3("routes/users.yaml", 8, 14),
		"routes/users/policy.timeouts":        at3("policies/slow.yaml", 4, 17),
		"routes/users/policy.bodyLimit":       at3("policies/bodies.yaml", 4, 18),
		"routes/docs":                         at3("routes/docs.yaml", 3, 5),
		"routes/docs/target.url":              at3("routes/docs.yaml", 5, 20),
		"routes/pay":                          at3("routes/pay.yaml", 3, 5),
		"routes/users/policy.rateLimit":       at3("routes/users.yaml", 12, 18),
		"routes/users/policy.auth.jwt.issuer": at3("routes/users.yaml", 9, 20),
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

func at3(file string, line, col int) diag.Pos { return diag.Pos{File: file, Line: line, Col: col} }

func upstreamOf(id, scheme string, addresses ...string) ir.Upstream {
	u := ir.Upstream{ID: id, Scheme: scheme, ConnectTimeout: 5000, IdleTimeout: 60000, MaxIdle: 256, MaxConnections: 1024}
	for _, a := range addresses {
		u.Endpoints = append(u.Endpoints, ir.Endpoint{Address: a})
	}
	return u
}

func routeOf(id string, m ir.Match, upstream string, policies ...ir.Policy) ir.Route {
	return ir.Route{
		ID: id, Match: m, Target: ir.Target{Type: "http", Upstream: upstream},
		Forward: ir.Forward{Timeout: 10000, HeaderTimeout: 60000, IdleTimeout: 60000}, Policies: policies,
	}
}

func policyOf(kind, plan string) ir.Policy { return ir.Policy{Kind: kind, Plan: json.RawMessage(plan)} }

// onRoute edits a route, onUpstream an upstream, onPlan the plan of a policy of the route "users".
func onRoute(id string, edit func(*ir.Route)) func(*ir.Program) {
	return func(p *ir.Program) {
		edit(&p.Routes[slices.IndexFunc(p.Routes, func(r ir.Route) bool { return r.ID == id })])
	}
}

func onMatch(edit func(*ir.Match)) func(*ir.Program) {
	return onRoute("users", func(r *ir.Route) { edit(&r.Match) })
}

func onUpstream(id string, edit func(*ir.Upstream)) func(*ir.Program) {
	return func(p *ir.Program) {
		edit(&p.Upstreams[slices.IndexFunc(p.Upstreams, func(u ir.Upstream) bool { return u.ID == id })])
	}
}

func plan(kind, plan string) func(*ir.Program) {
	return onRoute("users", func(r *ir.Route) {
		for i := range r.Policies {
			if r.Policies[i].Kind == kind {
				r.Policies[i].Plan = json.RawMessage(plan)
				return
			}
		}
		r.Policies = append(r.Policies, policyOf(kind, plan))
	})
}

func drop(kind string) func(*ir.Program) {
	return onRoute("users", func(r *ir.Route) {
		r.Policies = slices.DeleteFunc(r.Policies, func(p ir.Policy) bool { return p.Kind == kind })
	})
}

func add(routes ...ir.Route) func(*ir.Program) {
	return func(p *ir.Program) { p.Routes = append(p.Routes, routes...) }
}

func removeRoute(id string) func(*ir.Program) {
	return func(p *ir.Program) {
		p.Routes = slices.DeleteFunc(p.Routes, func(r ir.Route) bool { return r.ID == id })
	}
}

// many is a program of n routes with policies, as a large repository compiles to.
func many(n int) *ir.Program {
	p := &ir.Program{Environment: "prod", Gateway: ir.Gateway{Name: "many"}, Origins: ir.Origins{}}
	for i := range n / 10 {
		p.Upstreams = append(p.Upstreams, upstreamOf(fmt.Sprintf("u%06d", i), "http", fmt.Sprintf("u%d.svc:80", i)))
	}
	for i := range n {
		id := fmt.Sprintf("route-%06d", i)
		p.Routes = append(p.Routes, routeOf(id, ir.Match{
			Host: fmt.Sprintf("h%04d.example.com", i/100), Path: fmt.Sprintf("/team-%d/service-%06d/*", i%17, i), Methods: []string{"GET", "POST"},
		}, fmt.Sprintf("u%06d", i/10),
			policyOf("auth", `{"jwt":{"audience":"api","clockSkewSeconds":60,"issuer":"https://id.example.com","requiredRoles":["user"]}}`),
			policyOf("rateLimit", `{"enabled":true,"intervalMs":60000,"tokensPerInterval":60}`)))
		p.Origins["routes/"+id] = at3("routes.yaml", i+1, 5)
		p.Origins["routes/"+id+"/matcher.path"] = at3("routes.yaml", i+1, 20)
	}
	return p
}

// shuffled is p with every list whose order has no meaning in another order, and every plan with other spacing.
func shuffled(p *ir.Program, r *rand.Rand) *ir.Program {
	q := *p
	q.Routes, q.Upstreams = slices.Clone(p.Routes), slices.Clone(p.Upstreams)
	mix(r, q.Routes)
	mix(r, q.Upstreams)
	q.Gateway.TrustedProxies = slices.Clone(p.Gateway.TrustedProxies)
	mix(r, q.Gateway.TrustedProxies)
	q.Gateway.Listeners = slices.Clone(p.Gateway.Listeners)
	mix(r, q.Gateway.Listeners)
	for i := range q.Routes {
		m := &q.Routes[i].Match
		m.Methods, m.Headers, m.Query = slices.Clone(m.Methods), slices.Clone(m.Headers), slices.Clone(m.Query)
		mix(r, m.Methods)
		mix(r, m.Headers)
		mix(r, m.Query)
		q.Routes[i].Policies = slices.Clone(q.Routes[i].Policies)
		mix(r, q.Routes[i].Policies)
		for j := range q.Routes[i].Policies {
			x := &q.Routes[i].Policies[j]
			v, err := json.MarshalIndent(decode(x.Plan), "", "\t")
			if err != nil {
				panic(err)
			}
			x.Plan = v
		}
	}
	return &q
}

func mix[T any](r *rand.Rand, list []T) {
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}
