package apikey

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// compile returns nil where keys are switched off.
func compile(c *policy.CompileContext, s *v1.APIKeyAuth) *Plan {
	s.ApplyDefaults()
	if !*s.Enabled {
		return nil
	}
	checkHeader(c, s.Header)
	return &Plan{
		Header: s.Header, RequiredScopes: slices.Sorted(slices.Values(s.RequiredScopes)), MaxFailuresPerMinute: *s.MaxFailuresPerMinute,
	}
}

// checkHeader refuses fields in which no key can come, or beside something else.
func checkHeader(c *policy.CompileContext, header string) {
	const hint = "give the key a header of its own, such as X-API-Key"
	switch {
	case c.Beside("auth.jwt") && strings.EqualFold(header, tokenHeader(c)):
		c.Report(diag.Error, "GW3040", "header", hint, "header is %s, where the token of auth.jwt stands; a request must have both", header)
	case strings.EqualFold(header, "Cookie"):
		c.Report(diag.Error, "GW3040", "header", hint, "header is %s, which holds more than a key, and would not reach the upstream", header)
	case strings.EqualFold(header, "Content-Length"):
		c.Report(diag.Error, "GW3040", "header", hint, "header is %s, which says how long the body is", header)
	case httpmsg.IsForwarding(header):
		c.Report(diag.Error, "GW3040", "header", hint, "header is %s, which is taken off requests that no trusted proxy sends", header)
	}
}

// tokenHeader is the field in which auth.jwt takes the token, "" if it takes it elsewhere.
func tokenHeader(c *policy.CompileContext) string {
	if c.Beside("auth.jwt.from") {
		return c.Policy.At("auth.jwt.from.header").Text()
	}
	return "Authorization"
}
