package policy

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// TargetKind is one kind of thing a route can point at: how its authored form compiles. How it serves is the business of
// runtime/target.
type TargetKind struct {
	Name    string // the target's type
	compile func(c *TargetContext, spec *schema.Node) ir.Target
}

// DefineTarget makes a TargetKind. compile reports what is wrong through its context, and returns the upstream the route's
// requests go to and the kind's own plan, any JSON type without floats; nil stands for "nothing beyond the upstream".
func DefineTarget[Spec, Plan any](name string, compile func(c *TargetContext, s *Spec) (upstream string, p *Plan)) TargetKind {
	return TargetKind{Name: name, compile: func(c *TargetContext, n *schema.Node) ir.Target {
		out := ir.Target{Type: name}
		var s Spec
		var bad diag.List
		if v1.Decode(n, c.Path, &s, &bad); bad.Len() > 0 {
			c.Diags.Merge(bad)
			return out
		}
		upstream, plan := compile(c, &s)
		out.Upstream = upstream
		if plan != nil {
			raw, err := json.Marshal(plan)
			if err != nil { // a Plan that cannot be JSON is a defect of the kind, not of the config
				panic(fmt.Sprintf("target %s: marshal plan: %v", name, err))
			}
			out.Plan = raw
		}
		return out
	}}
}

// Compile turns the authored form of a target into its compiled form.
func (k TargetKind) Compile(c *TargetContext, spec *schema.Node) ir.Target {
	c.spec = spec
	return k.compile(c, spec)
}

// TargetContext is what a target kind's compile function may ask and how it reports.
type TargetContext struct {
	CompileContext
	// Named resolves the id of an upstream the route may use; false if it has reported that there is none.
	Named func(id string) bool
	// Inline makes the upstream a url stands for and returns its id.
	Inline func(u *url.URL) string
}
