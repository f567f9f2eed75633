package ratelimit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// compile returns nil where limits are switched off.
func compile(c *policy.CompileContext, s *v1.RateLimit) *Plan {
	s.ApplyDefaults()
	if !*s.Enabled {
		return nil
	}
	p := &Plan{OnError: s.OnError, Replicas: *s.Replicas, Headers: s.Headers, Shadow: s.Shadow}
	if s.OnError != onErrorLocal && c.Wrote("replicas") {
		c.Report(diag.Warning, "GW3041", "replicas", "drop it, or write onError: local", "with onError: %s no gateway counts by itself, so that nobody asks how many there are", s.OnError)
	}
	if len(s.Limits) == 0 {
		p.Limits = single(c, s)
		return p
	}
	beside(c)
	for i := range s.Limits {
		at := fmt.Sprintf("limits[%d]", i)
		l, ok := compileLimit(c, at, &s.Limits[i])
		if !ok {
			continue
		}
		together(c, at, p.Limits, &l)
		if len(s.Limits) > 1 && l.LocalPercent > 0 {
			c.Report(diag.Warning, "GW3041", at+".localPercent", "drop it", "several limits are asked for in one question, and none of them ahead")
			l.LocalPercent = 0
		}
		p.Limits = append(p.Limits, l)
	}
	return p
}

// single compiles the limit whose fields stand in the policy itself.
func single(c *policy.CompileContext, s *v1.RateLimit) []Limit {
	if s.TokensPerInterval == nil && s.IntervalMs == nil {
		c.Report(diag.Error, "GW2034", "", "add tokensPerInterval: 60 and intervalMs: 60000, or limits", "neither tokensPerInterval nor limits is there, must be one of them")
		return nil
	}
	l, ok := compileLimit(c, "", &v1.Limit{
		ID: "default", TokensPerInterval: s.TokensPerInterval, IntervalMs: s.IntervalMs, Burst: s.Burst, Key: s.Key, Scope: s.Scope, Cost: s.Cost,
		LocalPercent: s.LocalPercent,
	})
	if !ok {
		return nil
	}
	return []Limit{l}
}

// beside reports the fields of a single limit that stand beside limits.
func beside(c *policy.CompileContext) {
	if c.Wrote("tokensPerInterval") {
		c.Report(diag.Error, "GW2034", "limits", "move the single limit into limits, with an id", "both tokensPerInterval and limits are there, must be one of them")
		return
	}
	for _, field := range []string{"intervalMs", "burst", "key", "scope", "cost", "localPercent"} {
		if c.Wrote(field) {
			c.Report(diag.Error, "GW3040", field, "write it in each element of limits", "%s stands beside limits, of which each has its own", field)
		}
	}
}

// compileLimit compiles the limit whose fields are at a place such as "limits[1]"; "" is the policy itself.
func compileLimit(c *policy.CompileContext, at string, s *v1.Limit) (Limit, bool) {
	field := func(name string) string { return strings.TrimPrefix(at+"."+name, ".") }
	switch {
	case s.TokensPerInterval == nil && s.IntervalMs == nil:
		c.Report(diag.Error, "GW3042", at, "add tokensPerInterval: 60 and intervalMs: 60000", "limit %q has no numbers, so that it limits nothing", s.ID)
		return Limit{}, false
	case s.TokensPerInterval == nil:
		c.Report(diag.Error, "GW3042", field("intervalMs"), "add tokensPerInterval: 60", "intervalMs says for how long, but not how many tokens")
		return Limit{}, false
	case s.IntervalMs == nil:
		c.Report(diag.Error, "GW3042", field("tokensPerInterval"), "add intervalMs: 60000 (one minute)", "tokensPerInterval says how many tokens, but not for how long")
		return Limit{}, false
	}
	l := Limit{
		ID: s.ID, TokensPerInterval: *s.TokensPerInterval, IntervalMs: *s.IntervalMs, Burst: *s.TokensPerInterval, Key: key(c, field, s.Key),
		Scope: s.Scope, Cost: *s.Cost, LocalPercent: *s.LocalPercent,
	}
	if s.Burst != nil {
		l.Burst = *s.Burst
	}
	switch b := l.bucket(); {
	case l.Cost > l.Burst:
		c.Report(diag.Error, "GW2103", field("cost"), "raise burst, or lower cost", "cost is %d, must be at most the burst of %d: no request would ever pass", l.Cost, l.Burst)
	case !b.Fits(l.Cost):
		c.Report(diag.Error, "GW2103", field("burst"), "lower burst", "burst is %d, must be at most %d: a bucket must not take more than 73 years to fill", l.Burst, most/b.Every)
	case l.LocalPercent > 0 && l.block() == 0:
		c.Report(diag.Warning, "GW3041", field("localPercent"), "drop it, or raise burst",
			"%d%% of a burst of %d is %d tokens, too few to take for two requests of %d at once", l.LocalPercent, l.Burst, l.Burst*l.LocalPercent/100, l.Cost)
	}
	return l, true
}

// together compares a limit with those before it.
func together(c *policy.CompileContext, at string, others []Limit, l *Limit) {
	for i := range others {
		o := &others[i]
		if o.ID == l.ID {
			c.Report(diag.Error, "GW3040", at+".id", "choose another name", "limit %q is there twice", l.ID)
		}
		if !o.alike(l) {
			continue
		}
		if l.Scope != "" {
			c.Report(diag.Error, "GW3040", at, "drop one of them, or give it a scope of its own",
				"limits %q and %q have the same scope, numbers and key, so that one bucket would count each request twice", o.ID, l.ID)
			continue
		}
		c.Report(diag.Warning, "GW3041", at, "drop one of them", "limits %q and %q have the same numbers and key, so that one of them never refuses anything", o.ID, l.ID)
	}
}

// alike reports whether two limits count the same callers with the same numbers.
func (l *Limit) alike(o *Limit) bool {
	return l.Scope == o.Scope && l.TokensPerInterval == o.TokensPerInterval && l.IntervalMs == o.IntervalMs && l.Burst == o.Burst && slices.Equal(l.Key, o.Key)
}

// key compiles the parts of a bucket's name. Without any, it is the best that the route knows about who calls.
func key(c *policy.CompileContext, field func(string) string, parts []string) []string {
	token, apiKey := c.Beside("auth.jwt"), c.Beside("auth.apiKey")
	switch {
	case len(parts) > 0:
	case token:
		return []string{"user"}
	case apiKey:
		return []string{"key"}
	default:
		return []string{"ip"}
	}
	var out []string
	for i, part := range parts {
		at := fmt.Sprintf("%s[%d]", field("key"), i)
		switch {
		case !token && (part == "user" || strings.HasPrefix(part, "claim:")):
			c.Report(diag.Error, "GW3042", at, "add auth.jwt, or count by ip", "key holds %s, but the route verifies no token: nobody is known", part)
		case !apiKey && part == "key":
			c.Report(diag.Error, "GW3042", at, "add auth.apiKey, or count by ip", "key holds key, but the route asks for no API key: nobody is known")
		}
		if strings.HasPrefix(part, "header:") {
			part = strings.ToLower(part) // RFC 9110 section 5.1
		}
		if slices.Contains(out, part) {
			c.Report(diag.Warning, "GW3041", at, "drop it", "key holds %s twice", part)
			continue
		}
		out = append(out, part)
	}
	if !slices.ContainsFunc(out, func(part string) bool { return !strings.HasPrefix(part, "header:") }) {
		c.Report(diag.Warning, "GW3041", field("key"), "add ip, user or key", "key holds header fields alone, which clients choose: one that sends another value each time is never limited")
	}
	slices.Sort(out)
	return out
}
