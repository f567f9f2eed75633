package jwt

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

func compile(c *policy.CompileContext, s *v1.JWT) *Plan {
	s.ApplyDefaults()
	p := &Plan{
		RequiredRoles: sorted(s.RequiredRoles), RequiredScopes: sorted(s.RequiredScopes), RequiredPermissions: sorted(s.RequiredPermissions),
		Optional: s.Optional, ReplayProtection: s.ReplayProtection, From: from(c, s.From),
		MaxFailuresPerMinute: *s.MaxFailuresPerMinute,
	}
	single := v1.JWTIssuer{
		Issuer: s.Issuer, Audience: s.Audience, Audiences: s.Audiences, JwksUri: s.JwksUri, OidcDiscoveryURL: s.OidcDiscoveryURL, SecretRef: s.SecretRef,
		Algorithms: s.Algorithms, Type: s.Type, ClockSkewSeconds: s.ClockSkewSeconds, JwksCacheMaxAgeMs: s.JwksCacheMaxAgeMs,
	}
	if len(s.Issuers) == 0 {
		p.Issuer = issuer(c, "", &single)
	} else {
		for _, field := range []string{
			"issuer", "audience", "audiences", "jwksUri", "oidcDiscoveryUrl", "secretRef", "algorithms", "type", "clockSkewSeconds", "jwksCacheMaxAgeMs",
		} {
			if c.Wrote(field) {
				c.Report(diag.Error, "GW3040", field, "write it in each element of issuers", "%s stands beside issuers, of which each has its own", field)
			}
		}
		seen := map[string]bool{}
		for i := range s.Issuers {
			at := fmt.Sprintf("issuers[%d].", i)
			p.Issuers = append(p.Issuers, issuer(c, at, &s.Issuers[i]))
			if name := s.Issuers[i].Issuer; seen[name] {
				c.Report(diag.Error, "GW3040", at+"issuer", "merge the two", "issuer %q is there twice, so that it is open which one judges its tokens", name)
			} else {
				seen[name] = true
			}
		}
	}
	if p.Optional && len(p.RequiredRoles)+len(p.RequiredScopes)+len(p.RequiredPermissions) > 0 {
		c.Report(diag.Error, "GW3040", "optional", "drop optional, or what is required", "optional lets requests without a token pass, who have none of what is required")
	}
	return p
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// issuer compiles one issuer, whose fields are at a place such as "issuers[1].".
func issuer(c *policy.CompileContext, at string, s *v1.JWTIssuer) Issuer {
	out := Issuer{
		Name: s.Issuer, JwksURI: s.JwksUri, OidcDiscoveryURL: s.OidcDiscoveryURL, SecretRef: s.SecretRef, Type: strings.ToLower(s.Type),
		ClockSkew: *s.ClockSkewSeconds, CacheMaxAge: *s.JwksCacheMaxAgeMs, Algorithms: s.Algorithms,
	}
	if s.Issuer == "" {
		c.Report(diag.Error, "GW3042", at+"issuer", `add issuer: "https://...", exactly as the tokens have it in iss`, "there is no issuer to take tokens from")
	}
	out.Audiences = sorted(s.Audiences)
	if s.Audience != "" {
		out.Audiences = []string{s.Audience}
	}
	switch {
	case s.Audience != "" && len(s.Audiences) > 0:
		c.Report(diag.Error, "GW2034", at+"audiences", "", "both audience and audiences are there, must be one of them")
	case len(out.Audiences) == 0:
		c.Report(diag.Error, "GW3042", at+"audience", "add audience: the name that this API has at the issuer",
			"without an audience, a token that was meant for any other service of the issuer would open this one")
	}
	source(c, at, s, &out)
	algorithms(c, at, &out)
	return out
}

// source checks where the keys come from.
func source(c *policy.CompileContext, at string, s *v1.JWTIssuer, out *Issuer) {
	sources := 0
	for _, f := range []struct{ field, value string }{{"jwksUri", s.JwksUri}, {"oidcDiscoveryUrl", s.OidcDiscoveryURL}, {"secretRef", s.SecretRef}} {
		if f.value == "" {
			continue
		}
		if sources++; sources > 1 {
			c.Report(diag.Error, "GW2034", at+f.field, "", "there are several of jwksUri, oidcDiscoveryUrl and secretRef, must be one of them")
			continue
		}
		if f.field == "secretRef" {
			continue
		}
		u, err := url.Parse(f.value)
		switch {
		case err != nil || u.Hostname() == "":
			c.Report(diag.Error, "GW2104", at+f.field, "", "%s is %q, must be an https URL", f.field, f.value)
			continue
		case u.User != nil:
			c.Report(diag.Error, "GW2104", at+f.field, "take the part before \"@\" out of it", "%s holds credentials", f.field)
			continue
		}
		out.Private = c.Address(u, at+f.field)
		if strings.EqualFold(u.Scheme, "http") {
			if !out.Private {
				c.Report(diag.Error, "GW2104", at+f.field, "write https", "%s is %q, must be an https URL", f.field, f.value)
			} else {
				c.Report(diag.Warning, "GW3061", at+f.field, "write https if the issuer speaks it", "keys come from %s in the clear: whoever stands in between can make tokens", u.Host)
			}
		}
	}
	if sources == 0 {
		c.Report(diag.Error, "GW3042", at+"jwksUri", "add jwksUri, oidcDiscoveryUrl, or secretRef", "nothing says where the issuer's keys are")
	}
	if s.SecretRef != "" && c.Wrote(at+"jwksCacheMaxAgeMs") {
		c.Report(diag.Warning, "GW3041", at+"jwksCacheMaxAgeMs", "drop it", "a shared secret is not fetched")
	}
}

// algorithms fills in what is taken if nothing is said. A secret takes the algorithms of secrets and no others, keys take all but
// those: an issuer's public key must never pass for a secret (RFC 8725, section 2.1).
func algorithms(c *policy.CompileContext, at string, out *Issuer) {
	if out.SecretRef != "" {
		out.CacheMaxAge = 0
	}
	if len(out.Algorithms) == 0 {
		out.Algorithms = []string{"ES256"}
		if out.SecretRef != "" {
			out.Algorithms = []string{"HS256"}
		}
		return
	}
	for i, a := range out.Algorithms {
		if secret := strings.HasPrefix(a, "HS"); secret != (out.SecretRef != "") {
			what := map[bool]string{true: "a shared secret verifies HS256, HS384 and HS512 only", false: "HS256, HS384 and HS512 need a secretRef: a public key is no secret"}[out.SecretRef != ""]
			c.Report(diag.Error, "GW3040", fmt.Sprintf("%salgorithms[%d]", at, i), "", "algorithm %s cannot be used here: %s", a, what)
		}
	}
	out.Algorithms = sorted(out.Algorithms)
}

func from(c *policy.CompileContext, s *v1.TokenSource) From {
	if s == nil {
		return From{Header: authorization, Forward: true}
	}
	out := From{Header: s.Header, Cookie: s.Cookie, Query: s.Query}
	places := 0
	for _, p := range []string{s.Header, s.Cookie, s.Query} {
		if p != "" {
			places++
		}
	}
	if places != 1 {
		c.Report(diag.Error, "GW2034", "from", "", "from has %d of header, cookie and query, must have one of them", places)
	}
	switch {
	case strings.EqualFold(s.Header, authorization):
		out.Header = authorization
		out.Forward = s.Forward == nil || *s.Forward
	case strings.EqualFold(s.Header, "Cookie"):
		c.Report(diag.Error, "GW3040", "from.header", "write from: { cookie: <name> }", "the field Cookie holds more than a token")
	default:
		out.Forward = s.Forward != nil && *s.Forward
	}
	return out
}

const authorization = "Authorization"
