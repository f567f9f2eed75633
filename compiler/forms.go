package compiler

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema"
)

// underneath is what a patch is laid over: an object without what the patch says in another form. at leads to the policies in it.
func underneath(kinds []policy.Kind, below, above *schema.Node, at ...string) *schema.Node {
	if below == nil || above == nil {
		return below
	}
	if len(at) == 0 {
		return otherForms(kinds, below, above)
	}
	under := below.Get(at[0])
	next := underneath(kinds, under, above.Get(at[0]), at[1:]...)
	if next == under {
		return below
	}
	out := *below
	out.Fields = slices.Clone(below.Fields)
	for i := range out.Fields {
		if out.Fields[i].Name == at[0] {
			out.Fields[i].Value = next
		}
	}
	return &out
}

// otherForms takes out of a policy what the one that is laid over it says in another way.
func otherForms(kinds []policy.Kind, below, above *schema.Node) *schema.Node {
	for _, kind := range kinds {
		over, under := above.At(kind.Name), below.At(kind.Name)
		if over == nil || under == nil {
			continue
		}
		var gone []string
		for _, forms := range kind.Forms {
			used := slices.IndexFunc(forms, func(fields []string) bool {
				return slices.ContainsFunc(fields, func(f string) bool { return over.Get(f) != nil })
			})
			for i, fields := range forms {
				if used >= 0 && i != used && !slices.ContainsFunc(fields, func(f string) bool { return over.Get(f) != nil }) {
					gone = append(gone, fields...)
				}
			}
		}
		if len(gone) > 0 {
			below = without(below, strings.Split(kind.Name, "."), gone)
		}
	}
	return below
}

// without is a node without some fields of what is at a path below it.
func without(n *schema.Node, path, fields []string) *schema.Node {
	if n == nil {
		return nil
	}
	out := *n
	if len(path) == 0 {
		out.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f schema.Field) bool { return slices.Contains(fields, f.Name) })
		return &out
	}
	out.Fields = slices.Clone(n.Fields)
	for i := range out.Fields {
		if out.Fields[i].Name == path[0] {
			out.Fields[i].Value = without(out.Fields[i].Value, path[1:], fields)
		}
	}
	return &out
}
