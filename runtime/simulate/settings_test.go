package simulate

import (
	"fmt"
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// program has one route, to an upstream with everything or with nothing.
func program(u ir.Upstream, f ir.Forward) *ir.Program {
	u.ID, u.ConnectTimeout, u.MaxConnections = "users", 5000, 1024
	f.Timeout, f.HeaderTimeout, f.IdleTimeout = 10000, 60000, 0
	return &ir.Program{
		Upstreams: []ir.Upstream{u},
		Routes:    []ir.Route{{ID: "a", Match: ir.Match{Path: "/a"}, Target: ir.Target{Type: "http", Upstream: "users"}, Forward: f}},
		Origins: ir.Origins{
			"routes/a/policy.retry.attempts":         diag.Pos{File: "routes.yaml", Line: 7, Col: 3},
			"routes/a/policy.circuitBreaker.enabled": diag.Pos{File: "routes.yaml", Line: 8, Col: 3},
			"upstreams/users/health.http":            diag.Pos{File: "upstreams.yaml", Line: 9, Col: 3},
		},
	}
}

func TestEffectiveSettings(t *testing.T) {
	dns := &ir.Discovery{DNS: &ir.DNS{Name: "users.internal", Type: "ip", Port: 8443, MinTTL: 1000, MaxTTL: 300000}}
	tests := []struct {
		name     string
		upstream ir.Upstream
		forward  ir.Forward
		want     []string
	}{
		{"nothing said", ir.Upstream{Scheme: "http", Endpoints: []ir.Endpoint{{Address: "users:80"}}}, ir.Forward{}, []string{
			"matcher.path = /a", "target.upstream = users", "targets = http://users:80", "protocol = auto", "connectTimeout = 5s", "maxConnections = 1024",
			"limits.connections = 65536", "limits.pending = 1024", "limits.requests = 65536", "limits.retries = 256",
			"loadBalancing.strategy = leastConnections", "health = off", "outlier = off",
			"policy.timeout = 10s", "policy.timeouts.header = 1m0s", "policy.timeouts.idle = off",
			"policy.retry.attempts = 0 at routes.yaml:7:3", "policy.circuitBreaker.enabled = false at routes.yaml:8:3",
		}},
		{"everything said", ir.Upstream{
			Scheme: "https", Protocol: "http2", Discovery: dns, Host: "users.internal",
			Limits:  &ir.Bulkhead{Connections: 10, Pending: 0, Requests: 20, Retries: 2},
			Balance: &ir.Balance{Strategy: "maglev", HashOn: []ir.HashPart{{Header: "x-user"}, {Cookie: "sid"}, {Query: "q"}, {IP: true}}, BoundPercent: 125, SlowStart: 30000},
			Health: &ir.Health{
				Type: "http", Method: "HEAD", Path: "/healthz", Status: []ir.Span{{From: 200, To: 200}, {From: 202, To: 299}}, Port: 9000,
				Interval: 3000, Timeout: 1000, Healthy: 1, Unhealthy: 3, PanicPercent: 50,
			},
			Outlier: &ir.Outlier{Consecutive5xx: 5, FailurePercent: 85, Interval: 10000, BaseEjection: 30000, MaxEjection: 300000, MaxEjectedPercent: 10, PanicPercent: 50},
			TLS:     &ir.UpstreamTLS{Cert: "file:/c.crt", Key: "env:KEY", SNI: "users", MinVersion: "1.3", SkipVerify: true},
		}, ir.Forward{
			Retry: &ir.Retry{
				Attempts: 2, On: []string{"reset", "timeout"}, Methods: []string{"GET"}, PerTryTimeout: 2000, BackoffBase: 25, BackoffMax: 250, BudgetPercent: 20, BudgetMin: 3,
			},
			Breaker: &ir.Breaker{
				Window: 10000, MinimumCalls: 20, ErrorPercent: 50, SlowPercent: 80, SlowCall: 1000, OpenFor: 5000, MaxOpenFor: 300000, HalfOpenRampFor: 10000,
			},
			Priority: ir.PriorityCritical,
		}, []string{
			"matcher.path = /a", "target.upstream = users", "discovery.dns = https://users.internal:8443 (ip records)", "protocol = http2",
			"host = users.internal", "connectTimeout = 5s", "maxConnections = 1024",
			"limits.connections = 10", "limits.pending = 0", "limits.requests = 20", "limits.retries = 2",
			"loadBalancing.strategy = maglev", "loadBalancing.hashOn = header x-user, cookie sid, query q, ip",
			"loadBalancing.boundPercent = 125", "loadBalancing.slowStart = 30s",
			"health.http = HEAD /healthz, healthy are 200, 202-299, on port 9000 at upstreams.yaml:9:3", "health.interval = 3s", "health.timeout = 1s",
			"health.healthyThreshold = 1", "health.unhealthyThreshold = 3", "health.panicPercent = 50",
			"outlier.consecutive5xx = 5", "outlier.consecutiveGatewayFailure = off", "outlier.successRateMinimumHosts = off", "outlier.failurePercentage = 85",
			"outlier.interval = 10s", "outlier.baseEjectionTime = 30s", "outlier.maxEjectionTime = 5m0s", "outlier.maxEjectionPercent = 10", "outlier.panicPercent = 50",
			"tls.ca = the system's", "tls.cert = file:/c.crt", "tls.key = env:KEY", "tls.sni = users", "tls.minVersion = 1.3", "tls.skipVerify = true",
			"policy.timeout = 10s", "policy.timeouts.header = 1m0s", "policy.timeouts.idle = off",
			"policy.retry.attempts = 2 at routes.yaml:7:3", "policy.retry.on = reset, timeout", "policy.retry.methods = GET", "policy.retry.perTryTimeout = 2s",
			"policy.retry.backoff.base = 25ms", "policy.retry.backoff.max = 250ms", "policy.retry.budget.percent = 20", "policy.retry.budget.minConcurrency = 3",
			"policy.circuitBreaker.window = 10s", "policy.circuitBreaker.minimumCalls = 20", "policy.circuitBreaker.errorPercent = 50",
			"policy.circuitBreaker.slowCall = 1s", "policy.circuitBreaker.slowPercent = 80", "policy.circuitBreaker.openFor = 5s",
			"policy.circuitBreaker.maxOpenFor = 5m0s", "policy.circuitBreaker.halfOpenFor = 10s", "policy.loadShedding.priority = critical",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ex, err := Explain(program(tt.upstream, tt.forward), nil, match.Request{Method: "GET", Path: "/a"})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range ex.Winner.Settings {
				line := s.Field + " = " + s.Value
				if s.Origin != nil {
					line += fmt.Sprintf(" at %s", s.Origin)
				}
				got = append(got, line)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// Discovery of each kind, and checks of each type, are told in words.
func TestWordsOfParts(t *testing.T) {
	tests := []struct {
		name     string
		upstream ir.Upstream
		want     string
	}{
		{"service records", ir.Upstream{Scheme: "http", Discovery: &ir.Discovery{DNS: &ir.DNS{Name: "_http._tcp.users", Type: "SRV"}}}, "discovery.dns = http://_http._tcp.users (SRV records)"},
		{"Kubernetes", ir.Upstream{Scheme: "http", Discovery: &ir.Discovery{Kubernetes: &ir.KubernetesService{Namespace: "shop", Service: "users", Port: "grpc"}}}, "discovery.kubernetes = http service shop/users, port grpc"},
		{"Kubernetes without a port", ir.Upstream{Scheme: "http", Discovery: &ir.Discovery{Kubernetes: &ir.KubernetesService{Namespace: "shop", Service: "users"}}}, "discovery.kubernetes = http service shop/users, port the only one"},
		{"Consul", ir.Upstream{Scheme: "https", Discovery: &ir.Discovery{Consul: &ir.ConsulService{Address: "http://127.0.0.1:8500", Service: "users", Token: "env:T"}}}, "discovery.consul = https service users of http://127.0.0.1:8500"},
		{"a connection", ir.Upstream{Health: &ir.Health{Type: "tcp"}}, "health.tcp = connect"},
		{"gRPC", ir.Upstream{Health: &ir.Health{Type: "grpc", Service: "shop.Users"}}, "health.grpc = grpc.health.v1.Health/Check shop.Users"},
		{"gRPC, the server as a whole", ir.Upstream{Health: &ir.Health{Type: "grpc"}}, "health.grpc = grpc.health.v1.Health/Check"},
		{"weights", ir.Upstream{Scheme: "http", Endpoints: []ir.Endpoint{{Address: "a:80", Weight: 3}}}, "targets = http://a:80 (weight 3)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ex, err := Explain(program(tt.upstream, ir.Forward{}), nil, match.Request{Method: "GET", Path: "/a"})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(ex.Winner.Settings, func(s Setting) bool { return s.Field+" = "+s.Value == tt.want }) {
				t.Errorf("%q is not in %v", tt.want, ex.Winner.Settings)
			}
		})
	}
}
