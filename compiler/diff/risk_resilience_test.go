package diff

import "github.com/suuupra/gateway/schema/ir"

func onListener(edit func(*ir.Listener)) func(*ir.Program) {
	return gateway(func(g *ir.Gateway) { edit(&g.Listeners[0]) })
}

func forward(edit func(*ir.Forward)) func(*ir.Program) {
	return onRoute("users", func(r *ir.Route) { edit(&r.Forward) })
}

// guarded is a route with a retry and a breaker.
func guarded(f *ir.Forward) {
	f.Retry = &ir.Retry{
		Attempts: 2, On: []string{"connectFailure", "reset"}, PerTryTimeout: 2000, BackoffBase: 25, BackoffMax: 250,
		Methods: []string{"GET"}, BudgetPercent: 20, BudgetMin: 3,
	}
	f.Breaker = &ir.Breaker{
		Window: 10000, MinimumCalls: 20, ErrorPercent: 50, SlowPercent: 50, SlowCall: 1000, OpenFor: 5000, MaxOpenFor: 300000, HalfOpenRampFor: 10000,
	}
}

// resilient is an upstream with checks, limits and TLS of its own.
func resilient(u *ir.Upstream) {
	u.Health = &ir.Health{Type: "http", Interval: 3000, Timeout: 1000, Healthy: 1, Unhealthy: 3, PanicPercent: 50}
	u.Outlier = &ir.Outlier{Consecutive5xx: 5, Interval: 10000, BaseEjection: 30000, MaxEjection: 300000, MaxEjectedPercent: 10, PanicPercent: 50}
	u.Limits = &ir.Bulkhead{Connections: 100, Pending: 16, Requests: 200, Retries: 8}
	u.TLS = &ir.UpstreamTLS{CA: "file:/ca.pem", MinVersion: "1.3"}
}

func resilienceCases() []riskCase {
	retry := func(edit func(*ir.Retry)) func(*ir.Program) {
		return forward(func(f *ir.Forward) { guarded(f); edit(f.Retry) })
	}
	breaker := func(edit func(*ir.Breaker)) func(*ir.Program) {
		return forward(func(f *ir.Forward) { guarded(f); edit(f.Breaker) })
	}
	users := func(edit func(*ir.Upstream)) func(*ir.Program) {
		return onUpstream("users", func(u *ir.Upstream) { resilient(u); edit(u) })
	}
	had, checked := forward(guarded), onUpstream("users", resilient)
	priority := func(n int64) func(*ir.Program) { return forward(func(f *ir.Forward) { f.Priority = n }) }
	shedding := func(s ir.LoadShedding) func(*ir.Program) {
		return gateway(func(g *ir.Gateway) { g.LoadShedding = &s })
	}
	sheds := ir.LoadShedding{TargetDelay: 20, MaxPercent: 95, MaxInFlight: 1000}
	return []riskCase{
		{"at all", RetryWidened, forward(func(f *ir.Forward) { guarded(f); f.Breaker = nil }), "availability route users policy.retry", nil},
		{"not any more", RetryWidened, unchanged, "", had},
		{"more attempts", RetryWidened, retry(func(r *ir.Retry) { r.Attempts = 3 }), "availability route users policy.retry.attempts", had},
		{"fewer attempts", RetryWidened, retry(func(r *ir.Retry) { r.Attempts = 1 }), "", had},
		{"another condition", RetryWidened, retry(func(r *ir.Retry) { r.On = []string{"5xx", "reset"} }), "availability route users policy.retry.on", had},
		{"a condition less", RetryWidened, retry(func(r *ir.Retry) { r.On = []string{"reset"} }), "", had},
		{"another method", RetryWidened, retry(func(r *ir.Retry) { r.Methods = []string{"GET", "POST"} }), "availability route users policy.retry.methods", had},
		{"a larger budget", RetryWidened, retry(func(r *ir.Retry) { r.BudgetPercent = 50 }), "availability route users policy.retry.budget.percent", had},
		{"a larger floor of the budget", RetryWidened, retry(func(r *ir.Retry) { r.BudgetMin = 4 }), "availability route users policy.retry.budget.minConcurrency", had},
		{"a smaller budget", RetryWidened, retry(func(r *ir.Retry) { r.BudgetPercent, r.BudgetMin = 10, 0 }), "", had},
		{"a longer attempt", LimitRaised, retry(func(r *ir.Retry) { r.PerTryTimeout = 3000 }), "availability route users policy.retry.perTryTimeout 1.5", had},
		{"an attempt without end", LimitRemoved, retry(func(r *ir.Retry) { r.PerTryTimeout = 0 }), "availability route users policy.retry.perTryTimeout", had},

		{"breaker", ResilienceRemoved, forward(func(f *ir.Forward) { guarded(f); f.Breaker = nil }), "availability route users policy.circuitBreaker", had},
		{"breaker added", ResilienceRemoved, had, "", nil},
		{"breaker opens later", LimitRaised, breaker(func(b *ir.Breaker) { b.ErrorPercent = 75 }), "availability route users policy.circuitBreaker.errorPercent 1.5", had},
		{"breaker needs more calls", LimitRaised, breaker(func(b *ir.Breaker) { b.MinimumCalls = 40 }), "availability route users policy.circuitBreaker.minimumCalls 2", had},
		{"breaker opens earlier", LimitRaised, breaker(func(b *ir.Breaker) { b.ErrorPercent, b.MinimumCalls, b.OpenFor = 25, 10, 10000 }), "", had},
		{"breaker closes earlier", LimitRaised, breaker(func(b *ir.Breaker) { b.OpenFor = 1000 }), "availability route users policy.circuitBreaker.openFor", had},
		{"slow calls are slower", LimitRaised, breaker(func(b *ir.Breaker) { b.SlowCall = 2000 }), "availability route users policy.circuitBreaker.slowCall 2", had},
		{"more slow calls", LimitRaised, breaker(func(b *ir.Breaker) { b.SlowPercent = 100 }), "availability route users policy.circuitBreaker.slowPercent 2", had},

		{"health", ResilienceRemoved, users(func(u *ir.Upstream) { u.Health = nil }), "availability upstream users health", checked},
		{"outlier", ResilienceRemoved, users(func(u *ir.Upstream) { u.Outlier = nil }), "availability upstream users outlier", checked},
		{"health of another kind", ResilienceRemoved, users(func(u *ir.Upstream) { u.Health.Type = "tcp" }), "", checked},
		{"health added", ResilienceRemoved, checked, "", nil},
		{"all connections", LimitRaised, users(func(u *ir.Upstream) { u.Limits.Connections = 200 }), "availability upstream users limits.connections 2", checked},
		{"waiting requests", LimitRaised, users(func(u *ir.Upstream) { u.Limits.Pending = 32 }), "availability upstream users limits.pending 2", checked},
		{"requests under way", LimitRaised, users(func(u *ir.Upstream) { u.Limits.Requests = 400 }), "availability upstream users limits.requests 2", checked},
		{"retries under way", LimitRaised, users(func(u *ir.Upstream) { u.Limits.Retries = 16 }), "availability upstream users limits.retries 2", checked},
		{"retries where there were none", LimitRaised, checked, "availability upstream users limits.retries", users(func(u *ir.Upstream) { u.Limits.Retries = 0 })},
		{"limits lowered", LimitRaised, users(func(u *ir.Upstream) { *u.Limits = ir.Bulkhead{Connections: 1, Requests: 1} }), "", checked},
		{"limits instead of the defaults", LimitRaised, checked, "", nil},

		{"higher", PriorityRaised, priority(ir.PriorityHigh), "availability route users policy.loadShedding.priority", nil},
		{"from low to normal", PriorityRaised, unchanged, "availability route users policy.loadShedding.priority", priority(ir.PriorityLow)},
		{"lower", PriorityRaised, priority(ir.PriorityLow), "", nil},
		{"shedding", ResilienceRemoved, unchanged, "availability gateway loadShedding", shedding(sheds)},
		{"shedding added", ResilienceRemoved, shedding(sheds), "", nil},
		{"shedding later", LimitRaised, shedding(ir.LoadShedding{TargetDelay: 40, MaxPercent: 95, MaxInFlight: 1000}), "availability gateway loadShedding.targetDelay 2", shedding(sheds)},
		{"more at a time", LimitRaised, shedding(ir.LoadShedding{TargetDelay: 20, MaxPercent: 95, MaxInFlight: 1500}), "availability gateway loadShedding.maxInFlight 1.5", shedding(sheds)},
		{"any number at a time", LimitRemoved, shedding(ir.LoadShedding{TargetDelay: 20, MaxPercent: 95}), "availability gateway loadShedding.maxInFlight", shedding(sheds)},
		{"shedding less", LimitRaised, shedding(ir.LoadShedding{TargetDelay: 20, MaxPercent: 50, MaxInFlight: 1000}), "availability gateway loadShedding.maxPercent", shedding(sheds)},

		{"not verified", TLSWeakened, users(func(u *ir.Upstream) { u.TLS.SkipVerify = true }), "security upstream users tls.skipVerify", checked},
		{"verified at last", TLSWeakened, checked, "", users(func(u *ir.Upstream) { u.TLS.SkipVerify = true })},
		{"new and not verified", TLSWeakened, withUpstream(ir.Upstream{ID: "t", Scheme: "https", TLS: &ir.UpstreamTLS{SkipVerify: true}}), "security upstream t tls.skipVerify", nil},
		{"new and verified", TLSWeakened, withUpstream(ir.Upstream{ID: "t", Scheme: "https", TLS: &ir.UpstreamTLS{CA: "file:/ca.pem"}}), "", nil},
		{
			"route to one that is not verified", TLSWeakened, both(withUpstream(ir.Upstream{ID: "t", Scheme: "https", TLS: &ir.UpstreamTLS{SkipVerify: true}}), toUpstream("users", "t")),
			"security route users target.upstream", withUpstream(ir.Upstream{ID: "t", Scheme: "https", TLS: &ir.UpstreamTLS{SkipVerify: true}}),
		},
		{"anybody's certificates", TLSWeakened, users(func(u *ir.Upstream) { u.TLS.CA = "" }), "security upstream users tls.ca", checked},
		{"another issuer", TLSWeakened, users(func(u *ir.Upstream) { u.TLS.CA = "file:/other.pem" }), "security upstream users tls.ca", checked},
		{"one issuer instead of all", TLSWeakened, users(func(u *ir.Upstream) { u.TLS.MinVersion = "1.2" }), "", nil},
		{"another name", TLSWeakened, users(func(u *ir.Upstream) { u.TLS.SNI = "b" }), "security upstream users tls.sni", users(func(u *ir.Upstream) { u.TLS.SNI = "a" })},
		{"an older version", TLSWeakened, users(func(u *ir.Upstream) { u.TLS.MinVersion = "1.2" }), "security upstream users tls.minVersion", checked},
		{"a newer version", TLSWeakened, checked, "", users(func(u *ir.Upstream) { u.TLS.MinVersion = "1.2" })},
		{"a name to look up", TargetExternal, onUpstream("users", func(u *ir.Upstream) {
			u.Endpoints, u.Discovery = nil, &ir.Discovery{DNS: &ir.DNS{Name: "users.example.net", Type: "ip", Port: 443}}
		}), "security upstream users discovery", nil},
		{"an agent outside", TargetExternal, onUpstream("users", func(u *ir.Upstream) {
			u.Endpoints, u.Discovery = nil, &ir.Discovery{Consul: &ir.ConsulService{Address: "https://consul.example.net", Service: "users"}}
		}), "security upstream users discovery", nil},
		{"a name inside", TargetExternal, onUpstream("users", func(u *ir.Upstream) {
			u.Endpoints, u.Discovery = nil, &ir.Discovery{DNS: &ir.DNS{Name: "users.internal", Type: "ip", Port: 443}}
		}), "", nil},
	}
}

func listenerCases() []riskCase {
	secure := func(version string) func(*ir.Program) {
		return onListener(func(l *ir.Listener) {
			l.TLS = &ir.ListenerTLS{Certificates: []ir.Certificate{{Cert: "file:/c", Key: "file:/k"}}, MinVersion: version}
			l.HTTP2.MaxStreams = 100
		})
	}
	proxy := func(list ...string) func(*ir.Program) {
		return onListener(func(l *ir.Listener) { l.ProxyProtocol = list })
	}
	second := gateway(func(g *ir.Gateway) { g.Listeners = append(g.Listeners, ir.Listener{ID: "second", Address: ":81"}) })
	plain := onListener(func(l *ir.Listener) { l.HTTP2.MaxStreams = 100 })
	return []riskCase{
		{"listener", TLSDowngrade, plain, "security gateway listeners[public].tls", secure("1.2")},
		{"listener with another id", TLSDowngrade, both(plain, onListener(func(l *ir.Listener) { l.ID = "edge" })), "security gateway listeners[edge].tls", secure("1.2")},
		{"new listener in the clear", TLSDowngrade, both(secure("1.2"), second), "security gateway listeners[second].address", secure("1.2")},
		{"new listener in the clear beside one", TLSDowngrade, second, "", nil},
		{"listener speaks TLS at last", TLSDowngrade, secure("1.2"), "", plain},
		{"listener takes an older version", TLSWeakened, secure("1.2"), "security gateway listeners[public].tls.minVersion", secure("1.3")},
		{"listener takes newer versions only", TLSWeakened, secure("1.3"), "", secure("1.2")},
		{"streams", LimitRaised, both(secure("1.2"), onListener(func(l *ir.Listener) { l.HTTP2.MaxStreams = 250 })), "availability gateway listeners[public].http2.maxStreams 2.5", secure("1.2")},
		{"PROXY protocol", TrustedProxiesWidened, proxy("10.0.0.0/8"), "security gateway listeners[public].proxyProtocol.from", nil},
		{"PROXY protocol from more", TrustedProxiesWidened, proxy("10.0.0.0/8"), "security gateway listeners[public].proxyProtocol.from", proxy("10.0.0.0/9")},
		{"PROXY protocol from fewer", TrustedProxiesWidened, proxy("10.0.0.0/9"), "", proxy("10.0.0.0/8")},
		{"PROXY protocol at a new listener", TrustedProxiesWidened, gateway(func(g *ir.Gateway) {
			g.Listeners = append(g.Listeners, ir.Listener{ID: "lb", Address: ":81", ProxyProtocol: []string{"10.0.0.0/8"}})
		}), "security gateway listeners[lb].proxyProtocol.from", nil},
	}
}
