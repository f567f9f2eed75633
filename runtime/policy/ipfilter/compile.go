package ipfilter

import (
	"fmt"
	"net/netip"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// compile makes both lists canonical, and mentions what is allowed in vain.
func compile(c *policy.CompileContext, s *v1.IPRules) *Plan {
	if len(s.Allow) == 0 && len(s.Deny) == 0 {
		c.Report(diag.Error, "GW3042", "", `write "allow" or "deny", or leave ip out`, "ip has neither allow nor deny, must have one of them")
		return nil
	}
	allow, allowed := parseAll(c, "allow", s.Allow)
	deny, denied := parseAll(c, "deny", s.Deny)
	if !allowed || !denied {
		return nil
	}
	none := merge(deny)
	for i, p := range allow {
		if around, ok := covering(none, p); ok {
			c.Report(diag.Warning, "GW3041", fmt.Sprintf("allow[%d]", i), "remove it, or take it out of what is denied",
				"allow[%d] is %s, which lies inside %s of deny: deny wins, so it allows nothing", i, s.Allow[i], around)
		}
	}
	return &Plan{Allow: texts(merge(allow)), Deny: texts(none)}
}

// parseAll reads one list, and reports what in it is no network.
func parseAll(c *policy.CompileContext, field string, list []string) (out []netip.Prefix, ok bool) {
	ok = true
	for i, text := range list {
		p, err := parse(text)
		if err != nil {
			c.Errorf("GW2104", fmt.Sprintf("%s[%d]", field, i), "%s[%d] is %q, must be an IP address or a network such as 10.0.0.0/8", field, i, text)
			ok = false
		}
		out = append(out, p)
	}
	return out, ok
}

func texts(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}
