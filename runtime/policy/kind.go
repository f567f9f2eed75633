package policy

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// Kind is one kind of policy: how its authored form compiles, and how its compiled form becomes a Handler.
type Kind struct {
	Name    string // the field under a route's policy
	Phase   Phase
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
// policy's own object, as the author spells them.
type CompileContext struct {
	Diags *diag.List
	Path  string // of the policy object, e.g. "routes[0].policy.bodyLimit"
	Route string // the route the policy is compiled for
	spec  *schema.Node
}

// Errorf reports an error at a field, or at the policy itself if field is "".
func (c *CompileContext) Errorf(code diag.Code, field, format string, args ...any) {
	c.add(diag.Error, code, field, fmt.Sprintf(format, args...))
}

// Warnf reports something doubtful at a field.
func (c *CompileContext) Warnf(code diag.Code, field, format string, args ...any) {
	c.add(diag.Warning, code, field, fmt.Sprintf(format, args...))
}

func (c *CompileContext) add(sev diag.Severity, code diag.Code, field, msg string) {
	at := c.spec
	path := c.Path
	if field != "" {
		path += "." + field
		if v := c.spec.Get(field); v != nil {
			at = v
		}
	}
	c.Diags.Add(diag.Diagnostic{
		Severity: sev, Code: code, Pos: at.Pos, Width: at.Width, Path: path, Message: msg,
		Notes: []diag.Note{{Pos: at.Pos, Message: fmt.Sprintf("applies to route %q", c.Route)}},
	})
}
