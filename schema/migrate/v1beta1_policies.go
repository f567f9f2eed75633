package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// policies converts a list of policies to the fields v1 has for them.
func (c *converter) policies(set *shape, list *schema.Field, at *trail) []schema.Field {
	if list.Value.Kind != schema.List {
		d := diag.Diagnostic{
			Code: "GW2101", Pos: list.Value.Pos, Width: list.Value.Width, Path: at.String(),
			Message: fmt.Sprintf("policies is %s, must be a list", list.Value.Describe()),
			Hint:    "write a list of maps that each have a type, such as { type: jwt, issuer: ... }",
		}
		if list.Value.Kind == schema.Null {
			d.Hint = "remove single policies, with { type: ..., $delete: true }"
		}
		c.diags.Add(d)
		return nil
	}
	var out []schema.Field
	seen := map[string]*schema.Node{}
	for i, item := range list.Value.Items {
		p, typ := c.policyType(set, item, at.item(i))
		if p == nil {
			continue
		}
		if first := seen[p.old]; first != nil {
			c.diags.Add(diag.Diagnostic{
				Code: "GW2106", Pos: typ.Pos, Width: typ.Width, Path: at.item(i).field(fieldType).String(),
				Message: fmt.Sprintf("%q stands in policies twice", p.old),
				Notes:   []diag.Note{{Pos: first.Pos, Message: "the first one is here"}},
				Hint:    "keep one of them: the order of policies is the product's, and each is there once",
			})
			continue
		}
		seen[p.old] = typ
		c.edits.rename(item.Field(fieldType), markedType) // the policy may have a field of that name in v1
		out = c.place(out, p, typ, c.policy(p, item, at.item(i)), at.item(i))
	}
	return out
}

// place adds a policy at its place; those of a group join the first of them.
func (c *converter) place(out []schema.Field, p *policyType, typ, value *schema.Node, at *trail) []schema.Field {
	top := fieldOf(out, p.at[0])
	if len(p.at) == 1 && top == nil {
		return append(out, schema.Field{Name: p.at[0], Pos: typ.Pos, Value: value})
	}
	if top != nil && (len(p.at) == 1 || top.Value.Kind != schema.Map) {
		c.diags.Add(diag.Diagnostic{
			Code: "GW3040", Pos: typ.Pos, Width: typ.Width, Path: at.field(fieldType).String(),
			Message: fmt.Sprintf("%s is removed as a whole and set in part", p.at[0]),
			Notes:   []diag.Note{{Pos: top.Pos, Message: "the other one"}},
			Hint:    "drop one of the two",
		})
		return out
	}
	if top == nil {
		out = append(out, schema.Field{Name: p.at[0], Pos: typ.Pos, Value: &schema.Node{Kind: schema.Map, Pos: typ.Pos, Width: typ.Width}})
		top = &out[len(out)-1]
	}
	top.Value.Fields = append(top.Value.Fields, schema.Field{Name: p.at[1], Pos: typ.Pos, Value: value})
	return out
}

func fieldOf(fields []schema.Field, name string) *schema.Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

// policyType reads the type of an element of policies. It returns nil after an error.
func (c *converter) policyType(set *shape, item *schema.Node, at *trail) (*policyType, *schema.Node) {
	types := set.policyTypes()
	var known []string
	for _, p := range types {
		if !p.only {
			known = append(known, p.old)
		}
	}
	slices.Sort(known)
	typ := item.Get(fieldType)
	bad := func(code diag.Code, n *schema.Node, at *trail, hint, format string, args ...any) (*policyType, *schema.Node) {
		c.diags.Add(diag.Diagnostic{
			Code: code, Pos: n.Pos, Width: n.Width, Path: at.String(), Message: fmt.Sprintf(format, args...), Hint: hint,
		})
		return nil, nil
	}
	switch {
	case item.Kind != schema.Map:
		return bad("GW2101", item, at, "write a map with a type, such as { type: jwt, issuer: ... }", "%s is %s, must be a map", at.short(), item.Describe())
	case typ == nil:
		return bad("GW2032", item, at.field(fieldType), "known types: "+strings.Join(known, ", "), "%s has no type", at.short())
	}
	for i, p := range types {
		if p.old == typ.Text() && (!p.only || item.Field(deleteMark) != nil) {
			return &types[i], typ
		}
	}
	for i, p := range types {
		if name := p.at[len(p.at)-1]; name == typ.Text() {
			hint := "write " + p.old
			if p.only {
				hint = "write jwt or api_key"
			}
			return bad("GW1204", typ, at.field(fieldType), hint, "%s is a name of v1, this file is written for %s", types[i].at[len(p.at)-1], V1Beta1)
		}
	}
	if name := planned(set.name, typ.Text()); name != "" { // v1 says that it knows it, and does not have it
		return &policyType{old: typ.Str, at: []string{name}, shape: &shape{}}, typ
	}
	hint := ""
	if near := diag.Suggest(typ.Text(), known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	described := typ.Describe()
	if typ.Kind == schema.String {
		described = strconv.Quote(short(typ.Str))
	}
	return bad("GW2102", typ, at.field(fieldType), hint, "type is %s, must be one of %s", described, strings.Join(known, ", "))
}

// policy converts one element of policies: the value it has in v1, null if it removes the policy.
func (c *converter) policy(p *policyType, item *schema.Node, at *trail) *schema.Node {
	rest := *item
	rest.Fields = nil
	for _, f := range item.Fields {
		if f.Name != fieldType {
			rest.Fields = append(rest.Fields, f)
		}
	}
	mark := rest.Field(deleteMark)
	if mark == nil {
		return c.value(p.shape, &rest, at)
	}
	d := diag.Diagnostic{Code: "GW3003", Pos: mark.Pos, Width: runes(deleteMark), Path: at.field(deleteMark).String()}
	switch {
	case mark.Value.Kind != schema.Bool || !mark.Value.Bool:
		d.Message = fmt.Sprintf("$delete is %s, the only allowed value is true", mark.Value.Describe())
		d.Hint = "drop the line to keep the policy"
		c.diags.Add(d)
	case len(rest.Fields) > 1:
		d.Message = fmt.Sprintf("$delete removes the policy %q, so no other field may stand beside it", p.old)
		d.Hint = "keep only type and $delete"
		c.diags.Add(d)
	}
	return &schema.Node{Kind: schema.Null, Pos: mark.Value.Pos, Width: mark.Value.Width}
}
