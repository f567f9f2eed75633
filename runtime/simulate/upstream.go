package simulate

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// upstream lists how the servers behind a route are found, chosen, watched and bounded, in the words of their authors.
func (s settings) upstream(u *ir.Upstream) {
	named := !strings.Contains(u.ID, "://")
	if named {
		for _, e := range u.Endpoints {
			text := u.Scheme + "://" + e.Address
			if e.Weight > 1 {
				text += " (weight " + strconv.FormatInt(e.Weight, 10) + ")"
			}
			s.add("targets", text)
		}
	}
	s.discovery(u)
	s.add("protocol", cmp.Or(u.Protocol, "auto"))
	s.add("host", u.Host)
	s.time("connectTimeout", u.ConnectTimeout)
	s.number("maxConnections", u.MaxConnections)
	limits := ir.DefaultBulkhead
	if u.Limits != nil {
		limits = *u.Limits
	}
	s.number("limits.connections", limits.Connections)
	s.number("limits.pending", limits.Pending)
	s.number("limits.requests", limits.Requests)
	s.number("limits.retries", limits.Retries)
	if named { // the one server of a url has no other beside it
		s.balance(u.Balance)
		s.health(u.Health)
		s.outlier(u.Outlier)
		s.tls(u.TLS)
	}
}

func (s settings) discovery(u *ir.Upstream) {
	switch d := u.Discovery; {
	case d == nil:
	case d.DNS != nil:
		port := ""
		if d.DNS.Port != 0 {
			port = ":" + strconv.FormatInt(d.DNS.Port, 10)
		}
		s.add("discovery.dns", fmt.Sprintf("%s://%s%s (%s records)", u.Scheme, d.DNS.Name, port, d.DNS.Type))
	case d.Kubernetes != nil:
		s.add("discovery.kubernetes", fmt.Sprintf("%s service %s/%s, port %s", u.Scheme, d.Kubernetes.Namespace, d.Kubernetes.Service, cmp.Or(d.Kubernetes.Port, "the only one")))
	case d.Consul != nil:
		s.add("discovery.consul", fmt.Sprintf("%s service %s of %s", u.Scheme, d.Consul.Service, d.Consul.Address))
	}
}

func (s settings) balance(b *ir.Balance) {
	if b == nil {
		s.add("loadBalancing.strategy", ir.BalanceLeastConnections)
		return
	}
	s.add("loadBalancing.strategy", b.Strategy)
	parts := make([]string, len(b.HashOn))
	for i, p := range b.HashOn {
		switch {
		case p.Header != "":
			parts[i] = "header " + p.Header
		case p.Cookie != "":
			parts[i] = "cookie " + p.Cookie
		case p.Query != "":
			parts[i] = "query " + p.Query
		default:
			parts[i] = "ip"
		}
	}
	if len(parts) > 0 {
		s.add("loadBalancing.hashOn", strings.Join(parts, ", "))
		s.number("loadBalancing.boundPercent", b.BoundPercent)
	}
	if b.SlowStart > 0 {
		s.time("loadBalancing.slowStart", b.SlowStart)
	}
}

func (s settings) health(h *ir.Health) {
	if h == nil {
		s.add("health", "off")
		return
	}
	what := "connect"
	switch h.Type {
	case "http":
		spans := make([]string, len(h.Status))
		for i, r := range h.Status {
			spans[i] = strconv.FormatInt(r.From, 10)
			if r.To != r.From {
				spans[i] += "-" + strconv.FormatInt(r.To, 10)
			}
		}
		what = fmt.Sprintf("%s %s, healthy are %s", h.Method, h.Path, strings.Join(spans, ", "))
	case "grpc":
		what = strings.TrimSpace("grpc.health.v1.Health/Check " + h.Service)
	}
	if h.Port != 0 {
		what += fmt.Sprintf(", on port %d", h.Port)
	}
	s.add("health."+h.Type, what)
	s.time("health.interval", h.Interval)
	s.time("health.timeout", h.Timeout)
	s.number("health.healthyThreshold", h.Healthy)
	s.number("health.unhealthyThreshold", h.Unhealthy)
	s.number("health.panicPercent", h.PanicPercent)
}

func (s settings) outlier(o *ir.Outlier) {
	if o == nil {
		s.add("outlier", "off")
		return
	}
	for _, c := range []struct {
		field string
		n     int64
	}{
		{"consecutive5xx", o.Consecutive5xx},
		{"consecutiveGatewayFailure", o.ConsecutiveGatewayFailure},
		{"successRateMinimumHosts", o.SuccessRateHosts},
		{"failurePercentage", o.FailurePercent},
	} {
		if c.n > 0 {
			s.number("outlier."+c.field, c.n)
		} else {
			s.add("outlier."+c.field, "off")
		}
	}
	s.time("outlier.interval", o.Interval)
	s.time("outlier.baseEjectionTime", o.BaseEjection)
	s.time("outlier.maxEjectionTime", o.MaxEjection)
	s.number("outlier.maxEjectionPercent", o.MaxEjectedPercent)
	s.number("outlier.panicPercent", o.PanicPercent)
}

// tls names references to secrets, never what they refer to: nothing here has read them.
func (s settings) tls(t *ir.UpstreamTLS) {
	if t == nil {
		return
	}
	s.add("tls.ca", cmp.Or(t.CA, "the system's"))
	s.add("tls.cert", t.Cert)
	s.add("tls.key", t.Key)
	s.add("tls.sni", t.SNI)
	s.add("tls.minVersion", t.MinVersion)
	if t.SkipVerify {
		s.add("tls.skipVerify", "true")
	}
}

// forward lists how long a request may take, what is repeated, and when the upstream is not asked any more.
func (s settings) forward(f *ir.Forward) {
	s.time("policy.timeout", f.Timeout)
	s.time("policy.timeouts.header", f.HeaderTimeout)
	s.time("policy.timeouts.idle", f.IdleTimeout)
	s.retry(f.Retry)
	s.breaker(f.Breaker)
	if f.Priority != ir.PriorityNormal {
		s.add("policy.loadShedding.priority", map[int64]string{ir.PriorityLow: "low", ir.PriorityHigh: "high", ir.PriorityCritical: "critical"}[f.Priority])
	}
}

func (s settings) retry(r *ir.Retry) {
	const at = "policy.retry"
	if r == nil {
		s.off(at, at+".attempts", "0")
		return
	}
	s.number(at+".attempts", r.Attempts)
	s.add(at+".on", strings.Join(r.On, ", "))
	s.add(at+".methods", strings.Join(r.Methods, ", "))
	if r.PerTryTimeout > 0 {
		s.time(at+".perTryTimeout", r.PerTryTimeout)
	}
	s.time(at+".backoff.base", r.BackoffBase)
	s.time(at+".backoff.max", r.BackoffMax)
	s.number(at+".budget.percent", r.BudgetPercent)
	s.number(at+".budget.minConcurrency", r.BudgetMin)
}

func (s settings) breaker(b *ir.Breaker) {
	const at = "policy.circuitBreaker"
	if b == nil {
		s.off(at, at+".enabled", "false")
		return
	}
	s.time(at+".window", b.Window)
	s.number(at+".minimumCalls", b.MinimumCalls)
	s.number(at+".errorPercent", b.ErrorPercent)
	if b.SlowPercent > 0 {
		s.time(at+".slowCall", b.SlowCall)
		s.number(at+".slowPercent", b.SlowPercent)
	}
	s.time(at+".openFor", b.OpenFor)
	s.time(at+".maxOpenFor", b.MaxOpenFor)
	s.time(at+".halfOpenFor", b.HalfOpenRampFor)
}

// off says that a part is off, by the setting that switches it off if somebody wrote it.
func (s settings) off(part, by, value string) {
	if origin(s.p, s.root+"/"+by) != nil {
		s.add(by, value)
		return
	}
	s.add(part, "off")
}
