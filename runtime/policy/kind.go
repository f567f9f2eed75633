package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// Kind is one kind of policy: how its authored form compiles, and how its compiled form becomes a Handler.
type Kind struct {
	Name    string // the field under a route's policy; with a dot into it, such as "auth.jwt"
	Phase   Phase
	Vectors []*Vector // its metrics
	// Forms are groups of fields that say one thing in different ways, such as one limit or a list of them: a layer that uses one
	// way replaces what lower layers have said in the others.
	Forms   [][][]string
	compile func(c *CompileContext, spec *schema.Node) (json.RawMessage, bool)
	build   func(ctx context.Context, e *Env, plan json.RawMessage) (Handler, error)
}

// Define makes a Kind from its two functions. Spec is the authored form, a type of package v1; Plan is the compiled form,
// any JSON type without floats. compile reports what is wrong through its context and returns nil for "nothing to do".
func Define[Spec, Plan any](name string, phase Phase,
	compile func(c *CompileContext, s *Spec) *Plan,
	build func(ctx context.Context, e *Env, p *Plan) (Handler, error),
) Kind {
	return Kind{
		Name: name, Phase: phase,
		compile: func(c *CompileContext, n *schema.Node) (json.RawMessage, bool) {
			var s Spec
			var bad diag.List
			if v1.Decode(n, c.Path, &s, &bad); bad.Len() > 0 {
				c.Diags.Merge(bad)
				return nil, false
			}
			p := compile(c, &s)
			if p == nil {
				return nil, false
			}
			raw, err := json.Marshal(p)
			if err != nil { // a Plan that cannot be JSON is a defect of the kind, not of the config
				panic(fmt.Sprintf("policy %s: marshal plan: %v", name, err))
			}
			return raw, true
		},
		build: func(ctx context.Context, e *Env, raw json.RawMessage) (Handler, error) {
			var p Plan
			if err := ir.DecodeStrict(raw, &p); err != nil {
				return nil, fmt.Errorf("decode %s plan: %w", name, err)
			}
			return build(ctx, e, &p)
		},
	}
}

// Either adds a group of forms: ways to say one thing, each by its fields.
func (k Kind) Either(forms ...[]string) Kind {
	k.Forms = append(k.Forms, forms)
	return k
}

// Compile turns the authored form into a plan; false means there is nothing to run, or that it reported errors.
func (k Kind) Compile(c *CompileContext, spec *schema.Node) (json.RawMessage, bool) {
	c.spec = spec
	return k.compile(c, spec)
}

// Build turns a plan into a Handler. It works while older generations serve, and undoes itself on error.
func (k Kind) Build(ctx context.Context, e *Env, plan json.RawMessage) (Handler, error) {
	return k.build(ctx, e, plan)
}

// CompileContext is what a kind's compile function may ask and how it reports. Fields are addressed relative to the
// policy's own object, as the author spells them, with dots into objects and [n] into lists.
type CompileContext struct {
	Diags *diag.List
	Path  string // of the policy object, e.g. "routes[0].policy.bodyLimit"
	Route string // the route the policy is compiled for

	Match  *ir.Match    // of the route; nil for what is no policy
	Policy *schema.Node // of the route, whole, with everything it takes over; nil for what is no policy

	// Address checks an address that the gateway is to dial, reports it at the field that holds it, and returns whether private
	// addresses and plain http are allowed there: not if a tenant wrote it, unless its grant says so. Nil for what is no policy.
	Address func(u *url.URL, field string) (private bool)

	spec *schema.Node
}

// Beside reports whether the route's policy has another field, such as "auth.jwt", that is not switched off.
func (c *CompileContext) Beside(field string) bool {
	n := c.Policy.At(field)
	if n == nil {
		return false
	}
	enabled := n.Get("enabled")
	return enabled == nil || enabled.Kind != schema.Bool || enabled.Bool
}

// Wrote reports whether the author wrote a field.
func (c *CompileContext) Wrote(field string) bool { return c.spec.At(field) != nil }

// Errorf reports an error at a field, or at the policy itself if field is "".
func (c *CompileContext) Errorf(code diag.Code, field, format string, args ...any) {
	c.Report(diag.Error, code, field, "", format, args...)
}

// Warnf reports something doubtful at a field.
func (c *CompileContext) Warnf(code diag.Code, field, format string, args ...any) {
	c.Report(diag.Warning, code, field, "", format, args...)
}

// Report reports at a field, with a hint that says how to mend it. A field that was not written is reported at what is around it.
func (c *CompileContext) Report(sev diag.Severity, code diag.Code, field, hint, format string, args ...any) {
	at, path := c.spec, c.Path
	if field != "" {
		path += "." + field
		for part := field; part != ""; part = part[:max(0, strings.LastIndexAny(part, ".["))] {
			if v := c.spec.At(part); v != nil {
				at = v
				break
			}
		}
	}
	c.Diags.Add(diag.Diagnostic{
		Severity: sev, Code: code, Pos: at.Pos, Width: at.Width, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint,
		Notes: []diag.Note{{Pos: at.Pos, Message: fmt.Sprintf("applies to route %q", c.Route)}},
	})
}
