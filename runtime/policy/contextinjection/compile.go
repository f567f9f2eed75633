package contextinjection

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// The bounds of a token's lifetime. Its times are in whole seconds: one that lives shorter is expired when it is made.
const (
	minLifetime = time.Second
	maxLifetime = 24 * time.Hour
)

func compile(c *policy.CompileContext, s *v1.ContextInjection) *Plan {
	s.ApplyDefaults()
	p := &Plan{Claims: s.Claims}
	if len(s.Claims) > 0 {
		p.Lists = s.Lists
	} else if c.Wrote("lists") {
		c.Report(diag.Warning, "GW3041", "lists", "add claims, or leave lists out", "lists says how claims are written, and there are none")
	}
	if t := s.IdentityToken; t != nil {
		p.IdentityToken = &IdentityToken{
			Header: t.Header, SecretRef: t.SecretRef, KeyID: t.KeyID, Audience: t.Audience, Lifetime: int64(*t.Lifetime),
		}
		if t.Lifetime.Std() < minLifetime {
			c.Report(diag.Error, "GW2103", "identityToken.lifetime", "write 1m, which is the default", "is %s, must be at least %s", t.Lifetime, minLifetime)
		}
	}
	if len(p.names()) == 0 {
		c.Report(diag.Warning, "GW3041", "", "add claims or identityToken", "contextInjection injects nothing")
		return nil
	}
	checkNames(c, p)
	checkCallers(c, p)
	return p
}

// checkNames reports fields that cannot be injected, and those that an upstream may take for one.
func checkNames(c *policy.CompileContext, p *Plan) {
	seen := map[string]string{}
	check := func(field, name string) {
		if problem, hint := forbidden(name); problem != "" {
			c.Report(diag.Error, "GW3040", field, hint, "%s", problem)
			return
		}
		folded := headerfield.Fold(name)
		if other, twice := seen[folded]; twice {
			c.Report(diag.Error, "GW3040", field, "give it another name",
				"the field %q is injected as %q too: many servers take both names for one", name, other)
			return
		}
		seen[folded] = name
	}
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		check("claims."+name, name)
	}
	if p.IdentityToken != nil {
		check("identityToken.header", p.IdentityToken.Header)
	}
}

// forbidden says why a field cannot be injected, "" if it can, and what to do instead.
func forbidden(name string) (problem, hint string) {
	const own = `use a field of its own, such as "X-User-Id"`
	switch folded := headerfield.Fold(name); {
	case folded == "host":
		return "who the caller is cannot stand in Host, which says whom the request is for", own
	case headerfield.OfConnection(name):
		return fmt.Sprintf("the field %q belongs to the connection, not to the request", name), own
	case httpmsg.IsForwarding(folded):
		return fmt.Sprintf("the field %q is written by the gateway itself, and says where the request came from", name), own
	case folded == "authorization" || folded == "cookie":
		return fmt.Sprintf("the field %q holds what the client proves itself by, and would be removed from every request", name), own
	}
	return "", ""
}

// checkCallers reports what nobody can ever fill on this route.
func checkCallers(c *policy.CompileContext, p *Plan) {
	if c.Beside("auth.jwt") {
		return
	}
	if !c.Beside("auth.apiKey") {
		c.Report(diag.Warning, "GW3041", "", "add auth.jwt; or leave it, if the fields are only to be kept from the upstream",
			"callers are never known here: the fields are removed from requests, and never written")
		return
	}
	if len(p.Claims) > 0 {
		c.Report(diag.Warning, "GW3041", "claims", "add auth.jwt, or use identityToken, which tells the upstream whose key it was",
			"an API key has no claims: the fields are removed from requests, and never written")
	}
}
