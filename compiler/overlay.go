package compiler

import (
	"fmt"
	"slices"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// deleteMark is the field that removes a whole object from a lower layer.
const deleteMark = "$delete"

// merge lays a patch over a value: maps merge, scalars and lists replace, null removes the field. It mutates neither side
// and returns base itself where the patch changes nothing below it, so that pointers tell what an overlay touched.
func merge(base, patch *schema.Node, path string, diags *diag.List) *schema.Node {
	if base == nil || base.Kind != schema.Map || patch.Kind != schema.Map {
		return patch
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
			diags.Add(diag.Diagnostic{
				Severity: diag.Warning, Code: "GW3007", Pos: p.Pos, Width: len(p.Name), Path: join(path, p.Name),
				Message: fmt.Sprintf("null removes %q, but no lower layer sets it", p.Name),
				Hint:    "drop the line, or check the spelling of the field",
			})
		case p.Value.Kind == schema.Null:
			edit()
			fields = slices.Delete(fields, i, i+1)
		case i < 0:
			edit()
			fields = append(fields, p)
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

// clash finds the first field that two patches of one layer both set. Maps merge, so only leaves can clash.
func clash(a, b *schema.Node, path string) (x, y *schema.Field, at string, found bool) {
	for i := range a.Fields {
		fa := &a.Fields[i]
		fb := b.Field(fa.Name)
		if fb == nil || fa.Name == "id" {
			continue
		}
		if fa.Value.Kind != schema.Map || fb.Value.Kind != schema.Map {
			return fa, fb, join(path, fa.Name), true
		}
		if x, y, at, found = clash(fa.Value, fb.Value, join(path, fa.Name)); found {
			return x, y, at, true
		}
	}
	return nil, nil, "", false
}

// join spells the path of a field below another.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
