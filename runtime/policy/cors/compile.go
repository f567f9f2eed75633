package cors

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// compile returns nil where the policy is switched off.
func compile(c *policy.CompileContext, s *v1.CORS) *Plan {
	s.ApplyDefaults()
	if !*s.Enabled {
		return nil
	}
	if len(s.AllowOrigins) == 0 {
		c.Report(diag.Error, "GW3042", "", `name them: allowOrigins: ["https://app.example.com"]`, "cors has no allowOrigins")
		return nil
	}
	checkOrigins(c, s)
	checkRoute(c, s)
	if s.MaxAge.Std()%time.Second != 0 {
		c.Report(diag.Error, "GW2103", "maxAge", "0 lets browsers remember nothing", "maxAge is %s, must be whole seconds", s.MaxAge)
	}
	p := &Plan{
		AllowOrigins:     sorted(s.AllowOrigins),
		AllowMethods:     sorted(s.AllowMethods),
		AllowHeaders:     names(c, s, "allowHeaders", s.AllowHeaders, authorization),
		ExposeHeaders:    names(c, s, "exposeHeaders", s.ExposeHeaders, ""),
		AllowCredentials: s.AllowCredentials,
		MaxAge:           *s.MaxAge,
	}
	if len(p.AllowMethods) == 0 {
		p.AllowMethods = sorted(c.Match.Methods)
	}
	if len(p.AllowMethods) == 0 {
		p.AllowMethods = safelisted[:]
	}
	return p
}

// checkOrigins reports origins that no browser sends, those that are everybody's, and what cannot stand beside "*".
func checkOrigins(c *policy.CompileContext, s *v1.CORS) {
	for i, o := range s.AllowOrigins {
		field := fmt.Sprintf("allowOrigins[%d]", i)
		if what, hint := judgeOrigin(o); what != "" {
			c.Report(diag.Error, "GW2104", field, hint, "%s %s", field, what)
		} else if suffix := publicSuffix(o); suffix != "" {
			c.Report(diag.Error, "GW2104", field, "name the sites, such as "+strings.Replace(o, "*.", "*.example.", 1),
				"%s is %q, but anybody may have a name under %s, and all their pages could read responses", field, o, suffix)
		}
		if o != wildcard {
			continue
		}
		if len(s.AllowOrigins) > 1 {
			c.Report(diag.Error, "GW3040", field, "keep one or the other", `allowOrigins holds "*", which is every origin, and others beside it`)
		}
		// Browsers refuse the pair (Fetch, "CORS protocol and credentials"); to echo the origin instead would open every session.
		if s.AllowCredentials {
			c.Report(diag.Error, "GW3040", "allowCredentials", "list the origins in allowOrigins",
				`allowCredentials is true and allowOrigins is "*": every site on the web could act for its visitors here`)
		}
	}
}

// checkRoute reports what the rest of the route leaves no effect.
func checkRoute(c *policy.CompileContext, s *v1.CORS) {
	for _, h := range c.Match.Headers {
		if !inPreflights(h.Name) {
			c.Report(diag.Warning, "GW3041", "", "match on the host, the path or the query instead",
				"the route wants the header %q, which preflight requests do not carry: they never reach it", h.Name)
		}
	}
	// Header edits act on the request on its way to the upstream, and the origin is read again on the way back.
	if edits := c.Policy.At("headers.request"); edited(edits, "Origin") {
		c.Report(diag.Error, "GW3040", "", "leave Origin as it is: what the upstream says about CORS is replaced anyway",
			"headers.request changes Origin, by which cors judges the response")
	}
}

// inPreflights reports whether browsers send a header field with preflight requests; its name is in lower case.
func inPreflights(name string) bool {
	switch name {
	case "accept", "accept-encoding", "accept-language", "origin", "referer", "user-agent":
		return true
	}
	return strings.HasPrefix(name, "access-control-request-") || strings.HasPrefix(name, "sec-")
}

// edited reports whether header edits speak of a field.
func edited(edits *schema.Node, name string) bool {
	for _, kind := range []string{"remove", "set", "add"} {
		n := edits.Get(kind)
		if n == nil {
			continue
		}
		if slices.ContainsFunc(n.Items, func(item *schema.Node) bool { return strings.EqualFold(item.Text(), name) }) ||
			slices.ContainsFunc(n.Fields, func(f schema.Field) bool { return strings.EqualFold(f.Name, name) }) {
			return true
		}
	}
	return false
}

// names makes a list of header names canonical. Beside "*" only the one name stays that it does not cover.
func names(c *policy.CompileContext, s *v1.CORS, field string, list []string, uncovered string) []string {
	all := slices.Contains(list, wildcard)
	var out []string
	for i, name := range list {
		lower, at := strings.ToLower(name), fmt.Sprintf("%s[%d]", field, i)
		switch {
		case name == wildcard && s.AllowCredentials:
			c.Report(diag.Error, "GW3040", at, "list the names",
				`%s holds "*" and allowCredentials is true: browsers then take it for the name of a header`, field)
		case all && name != wildcard && lower != uncovered:
			c.Report(diag.Warning, "GW3041", at, "remove it", `%s is %s, which "*" covers already`, at, name)
			continue
		}
		out = append(out, lower)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}
