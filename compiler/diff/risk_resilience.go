package diff

import (
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// lowered notes a number that protects the more the higher it is.
func (d *differ) lowered(obj *Object, keys []string, what string, old, new int64) {
	if new < old {
		d.risk(LimitRaised, obj, keys, "%s is lower, %d instead of %d", what, new, old)
	}
}

// forwardRisks compares what a route does about an upstream that fails.
func (d *differ) forwardRisks(x delta) {
	was, now := &x.old.Forward, &x.new.Forward
	d.retryRisks(x.obj, was.Retry, now.Retry)
	d.breakerRisks(x.obj, was.Breaker, now.Breaker)
	if now.Priority > was.Priority {
		d.risk(PriorityRaised, x.obj, []string{"policy", "loadShedding", "priority"},
			"requests have priority %s, they had %s", Show(priorities[now.Priority]), Show(priorities[was.Priority]))
	}
}

func (d *differ) retryRisks(obj *Object, old, new *ir.Retry) {
	at := func(fields ...string) []string { return append([]string{"policy", "retry"}, fields...) }
	widened := func(keys []string, format string, args ...any) { d.risk(RetryWidened, obj, keys, format, args...) }
	switch {
	case new == nil:
		return
	case old == nil:
		widened(at(), "requests are repeated up to %d times, they were not", new.Attempts)
		return
	}
	if new.Attempts > old.Attempts {
		widened(at("attempts"), "requests are repeated up to %d times, it was %d", new.Attempts, old.Attempts)
	}
	if more := without(new.On, old.On); len(more) > 0 {
		widened(at("on"), "requests are repeated on %s as well", Show(anys(more)))
	}
	if more := without(new.Methods, old.Methods); len(more) > 0 {
		widened(at("methods"), "%s is repeated as well", Show(anys(more)))
	}
	for _, n := range []struct {
		field    string
		old, new int64
	}{{"percent", old.BudgetPercent, new.BudgetPercent}, {"minConcurrency", old.BudgetMin, new.BudgetMin}} {
		if n.new > n.old {
			widened(at("budget", n.field), "the budget of retries is %d, it was %d", n.new, n.old)
		}
	}
	d.loosened(obj, limit{keys: at("perTryTimeout"), what: "the timeout of one attempt in milliseconds", old: old.PerTryTimeout, new: new.PerTryTimeout})
}

func (d *differ) breakerRisks(obj *Object, old, new *ir.Breaker) {
	at := func(field string) []string { return []string{"policy", "circuitBreaker", field} }
	switch {
	case old == nil:
		return
	case new == nil:
		d.risk(ResilienceRemoved, obj, []string{"policy", "circuitBreaker"}, "the route has no circuit breaker any more")
		return
	}
	for _, l := range []limit{
		{keys: at("errorPercent"), what: "the share of failed calls that opens the breaker", old: old.ErrorPercent, new: new.ErrorPercent},
		{keys: at("minimumCalls"), what: "the number of calls the breaker needs", old: old.MinimumCalls, new: new.MinimumCalls},
		{keys: at("slowCall"), what: "the time from which a call is slow", old: old.SlowCall, new: new.SlowCall},
		{keys: at("slowPercent"), what: "the share of slow calls that opens the breaker", old: old.SlowPercent, new: new.SlowPercent},
	} {
		d.loosened(obj, l)
	}
	d.lowered(obj, at("openFor"), "the time the breaker stays open", old.OpenFor, new.OpenFor)
}

// resilienceRisks compares what keeps an upstream from taking the gateway down, or requests from going to dead servers.
func (d *differ) resilienceRisks(obj *Object, below []string, old, new *ir.Upstream) {
	at := func(fields ...string) []string { return append(slices.Clip(below), fields...) }
	if old.Health != nil && new.Health == nil {
		d.risk(ResilienceRemoved, obj, at("health"), "the servers are not checked any more")
	}
	if old.Outlier != nil && new.Outlier == nil {
		d.risk(ResilienceRemoved, obj, at("outlier"), "servers that answer badly are not ejected any more")
	}
	was, now := bulkhead(old), bulkhead(new)
	for _, l := range []limit{
		{keys: at("limits", "connections"), what: "the number of connections of the upstream", old: was.Connections, new: now.Connections},
		{keys: at("limits", "pending"), what: "the number of waiting requests", old: was.Pending, new: now.Pending},
		{keys: at("limits", "requests"), what: "the number of requests under way", old: was.Requests, new: now.Requests},
		{keys: at("limits", "retries"), what: "the number of retries under way", old: was.Retries, new: now.Retries},
	} {
		if l.new > l.old { // 0 is none at all here, not no bound
			d.raised(obj, l)
		}
	}
}

func bulkhead(u *ir.Upstream) ir.Bulkhead {
	if u.Limits != nil {
		return *u.Limits
	}
	return ir.DefaultBulkhead
}

// tlsRisks compares whom two upstreams believe; old is nil if there was none in this place.
func (d *differ) tlsRisks(obj *Object, below []string, old, new *ir.Upstream) {
	at := func(field string) []string { return append(slices.Clip(below), "tls", field) }
	var was, now ir.UpstreamTLS
	if old != nil && old.TLS != nil {
		was = *old.TLS
	}
	if new.TLS != nil {
		now = *new.TLS
	}
	if now.SkipVerify && !was.SkipVerify {
		d.risk(TLSWeakened, obj, at("skipVerify"), "certificates of the servers are not verified")
	}
	if old == nil || old.Scheme != "https" || new.Scheme != "https" {
		return // a connection that was not encrypted had nothing to lose; one that is not any more is said to be so
	}
	switch {
	case was.CA != "" && now.CA == "":
		d.risk(TLSWeakened, obj, at("ca"), "whoever the system believes may sign the servers' certificates, it had to be %s", Show(was.CA))
	case was.CA != "" && now.CA != was.CA:
		d.risk(TLSWeakened, obj, at("ca"), "%s may sign the servers' certificates, it had to be %s", Show(now.CA), Show(was.CA))
	}
	if was.SNI != "" && now.SNI != was.SNI {
		d.risk(TLSWeakened, obj, at("sni"), "the servers' certificates are verified for another name than %s", Show(was.SNI))
	}
	if older(now.MinVersion, was.MinVersion) && was.MinVersion > oldestTLS {
		d.risk(TLSWeakened, obj, at("minVersion"), "TLS %s is accepted, it had to be %s", Show(max(now.MinVersion, oldestTLS)), Show(was.MinVersion))
	}
}

// oldestTLS is what an upstream accepts that says nothing.
const oldestTLS = "1.2"
