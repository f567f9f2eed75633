package authorization

import (
	"errors"
	"fmt"
	"slices"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

func compile(c *policy.CompileContext, s *v1.Authorization) *Plan {
	s.ApplyDefaults()
	token, key := c.Beside("auth.jwt"), c.Beside("auth.apiKey")
	p := &Plan{Shadow: s.Shadow}
	p.Roles = grants(c, "roles", s.Roles, token, "auth.jwt")
	p.Scopes = grants(c, "scopes", s.Scopes, token || key, "auth.jwt or auth.apiKey")
	p.Permissions = grants(c, "permissions", s.Permissions, token, "auth.jwt")
	seen := map[string]bool{}
	for i, cond := range s.Conditions {
		at := fmt.Sprintf("conditions[%d]", i)
		if seen[cond.ID] {
			c.Report(diag.Error, "GW3040", at+".id", "choose another name", "condition %q is there twice", cond.ID)
		}
		seen[cond.ID] = true
		if _, err := parse(cond.When); err != nil {
			hint := "known are " + known
			if bad, ok := errors.AsType[*hinted](err); ok {
				hint = bad.hint
			}
			c.Report(diag.Error, "GW3060", at+".when", hint, "condition %q: %s", cond.ID, err)
		}
		p.Conditions = append(p.Conditions, Condition{cond.ID, cond.When})
	}
	if p.Roles == nil && p.Scopes == nil && p.Permissions == nil && len(p.Conditions) == 0 {
		c.Report(diag.Error, "GW3042", "", "add roles, scopes, permissions or conditions", "authorization asks for nothing, so that it protects nothing")
	}
	return p
}

// grants compiles what a caller must have; by says what tells the gateway about it.
func grants(c *policy.CompileContext, field string, s *v1.Grants, told bool, by string) *Grants {
	if s == nil {
		return nil
	}
	if len(s.All)+len(s.Any) == 0 {
		c.Report(diag.Error, "GW3042", field, "add all or any", "%s names nothing", field)
		return nil
	}
	if !told {
		c.Report(diag.Error, "GW3042", field, "add "+by, "nobody has %s here: the route does not find out who calls", field)
	}
	return &Grants{All: slices.Sorted(slices.Values(s.All)), Any: slices.Sorted(slices.Values(s.Any))}
}
