package compiler

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// deleteMark is the field that removes a whole object from a lower layer.
const deleteMark = "$delete"

// merge lays a patch over a value: maps merge, scalars and lists replace, null removes the field. It mutates neither side
// and returns base itself where the patch changes nothing below it, so that pointers tell what an overlay touched.
func merge(base, patch *schema.Node, path string, diags *diag.List) *schema.Node {
	switch {
	case base == nil, patch.Kind != schema.Map:
		return patch
	case base.Kind != schema.Map:
		return withoutNulls(patch, path, diags)
	}
	fields, changed := base.Fields, false
	edit := func() {
		if !changed {
			fields, changed = slices.Clone(fields), true
		}
	}
	for _, p := range patch.Fields {
		i := slices.IndexFunc(fields, func(f schema.Field) bool { return f.Name == p.Name })
		switch {
		case p.Value.Kind == schema.Null && i < 0:
			diags.Add(removesNothing(&p, path))
		case p.Value.Kind == schema.Null:
			edit()
			fields = slices.Delete(fields, i, i+1)
		case i < 0:
			edit()
			fields = append(fields, schema.Field{Name: p.Name, Pos: p.Pos, Value: withoutNulls(p.Value, join(path, p.Name), diags)})
		default:
			if v := merge(fields[i].Value, p.Value, join(path, p.Name), diags); v != fields[i].Value {
				edit()
				fields[i] = schema.Field{Name: p.Name, Pos: p.Pos, Value: v}
			}
		}
	}
	if !changed {
		return base
	}
	out := *base
	out.Fields = fields
	return &out
}

// withoutNulls is a map that a patch adds as a whole: what null removes in it is not there.
func withoutNulls(n *schema.Node, path string, diags *diag.List) *schema.Node {
	if n.Kind != schema.Map {
		return n
	}
	out := *n
	out.Fields = make([]schema.Field, 0, len(n.Fields))
	changed := false
	for _, f := range n.Fields {
		if f.Value.Kind == schema.Null {
			diags.Add(removesNothing(&f, path))
			changed = true
			continue
		}
		v := withoutNulls(f.Value, join(path, f.Name), diags)
		changed = changed || v != f.Value
		out.Fields = append(out.Fields, schema.Field{Name: f.Name, Pos: f.Pos, Value: v})
	}
	if !changed {
		return n
	}
	return &out
}

func removesNothing(f *schema.Field, path string) diag.Diagnostic {
	return diag.Diagnostic{
		Severity: diag.Warning, Code: "GW3007", Pos: f.Pos, Width: utf8.RuneCountInString(f.Name), Path: join(path, f.Name),
		Message: fmt.Sprintf("null removes %q, but no lower layer sets it", f.Name),
		Hint:    "drop the line, or check the spelling of the field",
	}
}

// claim is what the patches of one step have set of one object: a tree of the fields, so that any number of patches is
// compared in one pass over each.
type claim struct {
	field  *schema.Field // who set it first; nil for the object itself
	tenant string        // in whose layer
	isMap  bool
	below  map[string]*claim
}

// clash is one field that two patches set.
type clash struct {
	first, second *schema.Field
	path, tenant  string // how the second is spelt, and the tenant of the first
}

// add claims every field of a patch and reports those that are taken. Maps merge, so only leaves can clash; a deletion
// clashes with everything.
func (c *claim) add(patch *schema.Node, path, tenant string, report func(clash)) {
	if c.below == nil {
		c.below = make(map[string]*claim, len(patch.Fields))
	}
	first := firstBut(patch, "id")
	taken := c.below[deleteMark]
	if patch.Field(deleteMark) != nil && taken == nil {
		taken = c.first()
	}
	if first != nil && taken != nil {
		report(clash{taken.field, first, join(path, first.Name), taken.tenant})
		return
	}
	c.fields(patch, path, tenant, report)
}

func (c *claim) fields(patch *schema.Node, path, tenant string, report func(clash)) {
	for i := range patch.Fields {
		f := &patch.Fields[i]
		if c.field == nil && f.Name == "id" {
			continue
		}
		prior := c.below[f.Name]
		switch {
		case prior == nil:
			prior = &claim{field: f, tenant: tenant, isMap: f.Value.Kind == schema.Map}
			c.below[f.Name] = prior
		case !prior.isMap || f.Value.Kind != schema.Map:
			report(clash{prior.field, f, join(path, f.Name), prior.tenant})
			continue
		}
		if prior.isMap {
			if prior.below == nil {
				prior.below = make(map[string]*claim, len(f.Value.Fields))
			}
			prior.fields(f.Value, join(path, f.Name), tenant, report)
		}
	}
}

// first returns the claim that stands first in the order of the files.
func (c *claim) first() *claim {
	var out *claim
	for _, b := range c.below {
		if out == nil || b.field.Pos.Compare(out.field.Pos) < 0 {
			out = b
		}
	}
	return out
}

func firstBut(n *schema.Node, name string) *schema.Field {
	for i := range n.Fields {
		if n.Fields[i].Name != name {
			return &n.Fields[i]
		}
	}
	return nil
}

// join spells the path of a field below another.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
