package compiler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// forwardSettings are the fields of a policy that configure forwarding; every other field is a policy kind.
var forwardSettings = map[string]bool{"timeout": true, "timeouts": true, "retry": true, "circuitBreaker": true, "loadShedding": true}

// ungoverned are the fields of a policy that a tenant may write without a grant: they bear on the tenant's own requests
// alone. loadShedding is not among them, because who goes first does so at the cost of the others.
var ungoverned = map[string]bool{"id": true, "timeout": true, "timeouts": true, "retry": true, "circuitBreaker": true}

// priorities are the authored names of ir.Forward.Priority.
var priorities = map[string]int64{
	"low": ir.PriorityLow, "normal": ir.PriorityNormal, "high": ir.PriorityHigh, "critical": ir.PriorityCritical,
}

// forwardOf are the settings of the forward phase, defaults filled in.
func forwardOf(p *v1.RoutePolicy) ir.Forward {
	p.ApplyDefaults()
	out := ir.Forward{
		Timeout:       int64(*p.Timeout),
		HeaderTimeout: int64(*p.Timeouts.Header),
		IdleTimeout:   int64(*p.Timeouts.Idle),
		Retry:         retryOf(p.Retry),
		Breaker:       breakerOf(p.CircuitBreaker),
	}
	if p.LoadShedding != nil {
		out.Priority = priorities[p.LoadShedding.Priority]
	}
	return out
}

func retryOf(r *v1.Retry) *ir.Retry {
	if r == nil || *r.Attempts == 0 {
		return nil
	}
	return &ir.Retry{
		Attempts: *r.Attempts, On: sorted(r.On), Methods: sorted(r.Methods), PerTryTimeout: optional(r.PerTryTimeout),
		BackoffBase: int64(*r.Backoff.Base), BackoffMax: int64(*r.Backoff.Max),
		BudgetPercent: *r.Budget.Percent, BudgetMin: *r.Budget.MinConcurrency,
	}
}

// sorted is a list whose order has no meaning.
func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// optional is a duration that may be absent: then it is 0.
func optional(d *v1.Duration) int64 {
	if d == nil {
		return 0
	}
	return int64(*d)
}

// slowPercent holds where slowCall is given without a share.
const slowPercent = 50

func breakerOf(b *v1.CircuitBreaker) *ir.Breaker {
	if b == nil || !*b.Enabled {
		return nil
	}
	out := &ir.Breaker{
		Window: int64(*b.Window), MinimumCalls: *b.MinimumCalls, ErrorPercent: *b.ErrorPercent,
		OpenFor: int64(*b.OpenFor), MaxOpenFor: int64(*b.MaxOpenFor), HalfOpenRampFor: int64(*b.HalfOpenFor),
	}
	if b.SlowCall != nil {
		out.SlowCall, out.SlowPercent = int64(*b.SlowCall), slowPercent
		if b.SlowPercent != nil {
			out.SlowPercent = *b.SlowPercent
		}
	}
	return out
}

// checkForward judges the effective settings of a route: what one layer says can contradict what another one does. Routes
// share layers, so what has been said of one is not said again of the next.
func (l *lowerer) checkForward(n *schema.Node, path string, p *v1.RoutePolicy) {
	var found diag.List
	s := site{n, path, &found}
	if p.Retry != nil && *p.Retry.Attempts > 0 {
		s.retry(p)
	}
	if p.CircuitBreaker != nil && *p.CircuitBreaker.Enabled {
		s.breaker(p)
	}
	for _, d := range found.Sorted() {
		l.sayOnce(d)
	}
}

// sayOnce adds a diagnostic of something that routes share.
func (l *lowerer) sayOnce(d diag.Diagnostic) {
	key := said{d.Pos, d.Code, d.Message}
	if l.said[key] {
		l.unsaid++
		return
	}
	l.said[key] = true
	l.diags.Add(d)
}

// builtIn refuses a policy that this compiler has no kind for: one that nobody runs must not pass for one that protects.
func (l *lowerer) builtIn(r *schema.Node, path string) {
	for _, f := range r.Fields {
		var parts []string // of a field that holds several kinds
		known, used := forwardSettings[f.Name], false
		for _, k := range l.opts.Kinds {
			if part, ok := strings.CutPrefix(k.Name, f.Name+"."); ok {
				parts = append(parts, part)
				used = used || f.Value.Get(part) != nil
			}
			known = known || k.Name == f.Name
		}
		d := diag.Diagnostic{Code: "GW3026", Pos: f.Pos, Width: len(f.Name), Path: join(path, f.Name)}
		switch {
		case known || used:
			continue
		case len(parts) > 0:
			d.Code, d.Message = "GW3042", fmt.Sprintf("%s needs %s", f.Name, strings.Join(parts, " or "))
			d.Hint = "as it is it does nothing; to switch off what a lower layer has, write " + f.Name + ": null"
		default:
			d.Message = fmt.Sprintf("policy %q is not built into this compiler", f.Name)
			d.Hint = "use a newer compiler, or leave it out"
		}
		l.sayOnce(d)
	}
}

func (s site) retry(p *v1.RoutePolicy) {
	r := p.Retry
	if b := r.Backoff; *b.Base > *b.Max {
		s.contradicts("retry.backoff.base", "retry.backoff.max", "write the smaller one as base",
			"retry.backoff.base is %s, must be at most max, %s", *b.Base, *b.Max)
	}
	waits := slices.Contains(r.On, "timeout")
	switch {
	case waits && r.PerTryTimeout == nil:
		s.needs("retry.on", "add retry.perTryTimeout",
			`retry.on has "timeout", but without perTryTimeout no attempt times out before the whole exchange does`)
	case r.PerTryTimeout == nil:
	case *p.Timeout > 0 && *r.PerTryTimeout >= *p.Timeout:
		s.contradicts("retry.perTryTimeout", "timeout", "the timeout is for all attempts together",
			"retry.perTryTimeout is %s, must be less than timeout, %s, for another attempt to be made", *r.PerTryTimeout, *p.Timeout)
	case !waits:
		s.idle("retry.perTryTimeout", "retry.on", `add "timeout" to retry.on`,
			`an attempt that takes longer than perTryTimeout is cut off and not repeated: retry.on has no "timeout"`)
	}
	if *r.Budget.Percent == 0 && *r.Budget.MinConcurrency == 0 {
		s.contradicts("retry.budget", "retry.attempts", "write retry: { attempts: 0 } to switch retries off",
			"retry.budget allows no retry at all, but retry.attempts is %d", *r.Attempts)
	}
}

func (s site) breaker(p *v1.RoutePolicy) {
	b := p.CircuitBreaker
	if b.SlowPercent != nil && b.SlowCall == nil {
		s.needs("circuitBreaker.slowPercent", "add circuitBreaker.slowCall, the time beyond which a call is slow",
			"circuitBreaker.slowPercent is %d, but without slowCall no call is slow", *b.SlowPercent)
	}
	if *b.OpenFor > *b.MaxOpenFor {
		s.contradicts("circuitBreaker.openFor", "circuitBreaker.maxOpenFor", "write the smaller one as openFor",
			"circuitBreaker.openFor is %s, must be at most maxOpenFor, %s", *b.OpenFor, *b.MaxOpenFor)
	}
	limit := *p.Timeouts.Header
	if *p.Timeout > 0 && (limit == 0 || *p.Timeout < limit) {
		limit = *p.Timeout
	}
	if b.SlowCall != nil && limit > 0 && *b.SlowCall >= limit {
		s.idle("circuitBreaker.slowCall", "timeout", "write less than timeout and timeouts.header",
			"circuitBreaker.slowCall is %s, but a call fails after %s and is then never slow", *b.SlowCall, limit)
	}
}
