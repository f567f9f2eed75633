package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/suuupra/gateway/runtime/policy/apikey"
	"github.com/suuupra/gateway/runtime/policy/authorization"
	"github.com/suuupra/gateway/runtime/policy/contextinjection"
	"github.com/suuupra/gateway/runtime/policy/cors"
	"github.com/suuupra/gateway/runtime/policy/headers"
	"github.com/suuupra/gateway/runtime/policy/ipfilter"
	"github.com/suuupra/gateway/runtime/policy/jwt"
	"github.com/suuupra/gateway/runtime/policy/ratelimit"
	"github.com/suuupra/gateway/runtime/policy/signedurl"
	"github.com/suuupra/gateway/schema/ir"
)

// weakening is one way to make a policy let through what it should not. The plan is what is left of it.
type weakening struct {
	change string // as a report says it
	field  string // of the policy as its author writes it; "": the policy itself
	plan   any    // nil: the policy is taken out
}

// samples are values in the tests that a weakened policy has to take in: no plan says "any".
type samples struct{ audiences, origins []string }

// weaken lists the ways to weaken a policy, beginning with its removal.
func weaken(p ir.Policy, s *samples) ([]weakening, error) {
	out := []weakening{{change: p.Kind + " is taken out"}}
	more, err := []weakening(nil), error(nil)
	switch p.Kind {
	case "auth.jwt":
		more, err = each(p, func(plan *jwt.Plan) []weakening { return weakenJWT(plan, s) })
	case "auth.apiKey":
		more, err = each(p, weakenAPIKey)
	case "authorization":
		more, err = each(p, weakenAuthorization)
	case "ip":
		more, err = each(p, weakenIP)
	case "rateLimit":
		more, err = each(p, weakenRateLimit)
	case "cors":
		more, err = each(p, func(plan *cors.Plan) []weakening { return weakenCORS(plan, s) })
	case "signedUrl":
		more, err = each(p, weakenSignedURL)
	case "headers":
		more, err = each(p, weakenHeaders)
	case "securityHeaders":
		more, err = each(p, weakenSecurityHeaders)
	case "contextInjection":
		more, err = each(p, weakenContextInjection)
	}
	return append(out, more...), err
}

// each decodes the plan of a policy for those who know its form.
func each[Plan any](p ir.Policy, ways func(*Plan) []weakening) ([]weakening, error) {
	var plan Plan
	if err := ir.DecodeStrict(p.Plan, &plan); err != nil {
		return nil, fmt.Errorf("policy %s: %w", p.Kind, err)
	}
	return ways(&plan), nil
}

// with returns a copy of a plan in which something is changed. The copy shares nothing with its original.
func with[Plan any](p *Plan, change func(*Plan)) any {
	var out Plan
	raw, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil { // it came from JSON
		panic(err)
	}
	change(&out)
	return out
}

// without is a list without one of its elements; nil if none is left, which is how a plan leaves a list out.
func without[E any](list []E, i int) []E {
	if len(list) == 1 {
		return nil
	}
	return slices.Delete(slices.Clone(list), i, i+1)
}

// century is longer than anything expires.
const century = 100 * 365 * 24 * 3600 // seconds

func weakenJWT(p *jwt.Plan, s *samples) []weakening {
	var out []weakening
	for _, need := range []struct {
		field, what string
		list        []string
		of          func(*jwt.Plan) *[]string
	}{
		{"requiredRoles", "role", p.RequiredRoles, func(p *jwt.Plan) *[]string { return &p.RequiredRoles }},
		{"requiredScopes", "scope", p.RequiredScopes, func(p *jwt.Plan) *[]string { return &p.RequiredScopes }},
		{"requiredPermissions", "permission", p.RequiredPermissions, func(p *jwt.Plan) *[]string { return &p.RequiredPermissions }},
	} {
		for i, name := range need.list {
			out = append(out, weakening{
				fmt.Sprintf("the %s %s is not asked for", need.what, name), need.field,
				with(p, func(p *jwt.Plan) { *need.of(p) = without(*need.of(p), i) }),
			})
		}
	}
	issuers := func(p *jwt.Plan, change func(*jwt.Issuer)) {
		if len(p.Issuers) == 0 {
			change(&p.Issuer)
		}
		for i := range p.Issuers {
			change(&p.Issuers[i])
		}
	}
	all := func(change func(*jwt.Issuer)) any { return with(p, func(p *jwt.Plan) { issuers(p, change) }) }
	out = append(out,
		weakening{"tokens for any audience are taken", "audience", all(func(i *jwt.Issuer) { i.Audiences = slices.Concat(i.Audiences, s.audiences) })},
		weakening{"tokens that have expired are taken", "clockSkewSeconds", all(func(i *jwt.Issuer) { i.ClockSkew = century })},
	)
	if slices.ContainsFunc(judges(p), func(i jwt.Issuer) bool { return i.Type != "" }) {
		out = append(out, weakening{"tokens of any type are taken", "type", all(func(i *jwt.Issuer) { i.Type = "" })})
	}
	if !p.Optional {
		out = append(out, weakening{"requests without a token pass", "optional", with(p, func(p *jwt.Plan) { p.Optional = true })})
	}
	if p.ReplayProtection {
		out = append(out, weakening{"tokens are taken again and again", "replayProtection", with(p, func(p *jwt.Plan) { p.ReplayProtection = false })})
	}
	return out
}

func weakenAPIKey(p *apikey.Plan) []weakening {
	var out []weakening
	for i, name := range p.RequiredScopes {
		out = append(out, weakening{
			fmt.Sprintf("the scope %s is not asked for", name), "requiredScopes",
			with(p, func(p *apikey.Plan) { p.RequiredScopes = without(p.RequiredScopes, i) }),
		})
	}
	return out
}

func weakenAuthorization(p *authorization.Plan) []weakening {
	var out []weakening
	for _, need := range []struct {
		field, what string
		of          func(*authorization.Plan) **authorization.Grants
	}{
		{"roles", "role", func(p *authorization.Plan) **authorization.Grants { return &p.Roles }},
		{"scopes", "scope", func(p *authorization.Plan) **authorization.Grants { return &p.Scopes }},
		{"permissions", "permission", func(p *authorization.Plan) **authorization.Grants { return &p.Permissions }},
	} {
		g := *need.of(p)
		if g == nil {
			continue
		}
		for i, name := range g.All {
			out = append(out, weakening{
				fmt.Sprintf("the %s %s is not asked for", need.what, name), need.field + ".all",
				with(p, func(p *authorization.Plan) { g := *need.of(p); g.All = without(g.All, i) }),
			})
		}
		if len(g.Any) > 0 {
			out = append(out, weakening{
				fmt.Sprintf("none of the %ss in any is asked for", need.what), need.field + ".any",
				with(p, func(p *authorization.Plan) { (*need.of(p)).Any = nil }),
			})
		}
	}
	if len(p.Conditions) == 1 && p.Roles == nil && p.Scopes == nil && p.Permissions == nil {
		return out // which is to take the policy out
	}
	for i, c := range p.Conditions {
		out = append(out, weakening{
			fmt.Sprintf("the condition %s is not asked for", c.ID), "conditions",
			with(p, func(p *authorization.Plan) { p.Conditions = without(p.Conditions, i) }),
		})
	}
	return out
}

func weakenIP(p *ipfilter.Plan) []weakening {
	var out []weakening
	if p.Allow != nil {
		out = append(out, weakening{"every address is allowed that is not denied", "allow", with(p, func(p *ipfilter.Plan) { p.Allow = []string{"0.0.0.0/0", "::/0"} })})
	}
	for i, network := range p.Deny {
		out = append(out, weakening{network + " is not denied", "deny", with(p, func(p *ipfilter.Plan) { p.Deny = without(p.Deny, i) })})
	}
	return out
}

func weakenRateLimit(p *ratelimit.Plan) []weakening {
	const most = 1_000_000_000
	var out []weakening
	for i := range p.Limits {
		id := p.Limits[i].ID
		out = append(out, weakening{fmt.Sprintf("the limit %s is a hundred times as high", id), "tokensPerInterval", with(p, func(p *ratelimit.Plan) {
			l := &p.Limits[i]
			l.TokensPerInterval, l.Burst = min(100*l.TokensPerInterval, most), min(100*l.Burst, most)
		})})
	}
	return out
}

func weakenCORS(p *cors.Plan, s *samples) []weakening {
	if slices.Contains(p.AllowOrigins, "*") {
		return nil
	}
	return []weakening{{"pages of every origin are allowed", "allowOrigins", with(p, func(p *cors.Plan) {
		for _, o := range s.origins { // "*" would be noticed by those who are allowed anyway
			if !slices.Contains(p.AllowOrigins, o) {
				p.AllowOrigins = append(p.AllowOrigins, o)
			}
		}
	})}}
}

func weakenSignedURL(p *signedurl.Plan) []weakening {
	if p.MaxLifetimeMs == 0 {
		return nil
	}
	return []weakening{{"signatures may be good for any time", "maxLifetime", with(p, func(p *signedurl.Plan) { p.MaxLifetimeMs = 0 })}}
}

func weakenHeaders(p *headers.Plan) []weakening {
	var out []weakening
	if edits := editsOf(p.Request) + editsOf(p.Response); edits == 1 {
		return nil // which is to take the policy out
	}
	for _, side := range []struct {
		field string
		of    func(*headers.Plan) *headers.Edits
	}{
		{"request", func(p *headers.Plan) *headers.Edits { return p.Request }},
		{"response", func(p *headers.Plan) *headers.Edits { return p.Response }},
	} {
		if e := side.of(p); e != nil {
			for i, name := range e.Remove {
				out = append(out, weakening{
					fmt.Sprintf("the %s field %s is not removed", side.field, name), side.field + ".remove",
					with(p, func(p *headers.Plan) { e := side.of(p); e.Remove = without(e.Remove, i) }),
				})
			}
		}
	}
	return out
}

func editsOf(e *headers.Edits) int {
	if e == nil {
		return 0
	}
	return len(e.Remove) + len(e.Set) + len(e.Add)
}

// weakenSecurityHeaders leaves out one setting after the other: the plan is a text for each.
func weakenSecurityHeaders(p *map[string]string) []weakening {
	var out []weakening
	if len(*p) == 1 {
		return nil // which is to take the policy out
	}
	for _, name := range slices.Sorted(maps.Keys(*p)) {
		out = append(out, weakening{name + " is not set", name, with(p, func(p *map[string]string) { delete(*p, name) })})
	}
	return out
}

func weakenContextInjection(p *contextinjection.Plan) []weakening {
	var out []weakening
	if len(p.Claims) == 1 && p.IdentityToken == nil {
		return nil // which is to take the policy out
	}
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		out = append(out, weakening{
			fmt.Sprintf("the client's own %s reaches the upstream", name), "claims",
			with(p, func(p *contextinjection.Plan) { delete(p.Claims, name) }),
		})
	}
	return out
}
