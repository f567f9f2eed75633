package contenttype

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// compile leaves out the types that a whole family already covers, and mentions them.
func compile(c *policy.CompileContext, s *v1.ContentType) *Plan {
	if len(s.Allow) == 0 {
		c.Report(diag.Error, "GW3042", "", "name them: allow: [application/json]", "contentType has no media types to allow")
		return nil
	}
	p := &Plan{Allow: make([]string, 0, len(s.Allow))}
	for i, t := range s.Allow {
		family, _, _ := strings.Cut(t, "/")
		if all := family + "/*"; t != all && slices.Contains(s.Allow, all) {
			c.Report(diag.Warning, "GW3041", fmt.Sprintf("allow[%d]", i), "remove one of the two", "allow[%d] is %s, which %s already takes", i, t, all)
			continue
		}
		p.Allow = append(p.Allow, t)
	}
	slices.Sort(p.Allow)
	return p
}
