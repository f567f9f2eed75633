package migrate

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// V1Beta1 is the version before v1. A file holds one object: its kind, and its fields beside it. Names are in snake_case,
// spans of time are in seconds, and policies are a list of maps that each say their type.
const V1Beta1 = "gateway.suuupra.dev/v1beta1"

// The fields that v1beta1 has and v1 has not.
const (
	fieldVersion  = "apiVersion"
	fieldKind     = "kind"
	fieldPolicies = "policies"
	fieldType     = "type"
	deleteMark    = "$delete"
)

func convertV1Beta1(f schema.File, diags *diag.List) *schema.Node {
	if path.Ext(f.Path) == ".cue" {
		version := f.Root.Get(fieldVersion)
		diags.Add(diag.Diagnostic{
			Code: "GW1202", Pos: version.Pos, Width: version.Width, Path: fieldVersion,
			Message: "a CUE file is written for " + V1Beta1 + ", which is read as YAML and JSON only",
			Hint:    "export it with `cue export --out yaml`, migrate the YAML file, and take it in place of this one",
		})
		return f.Root
	}
	c := converter{diags: diags}
	return c.root(f.Root)
}

// converter walks a v1beta1 tree beside the v1 definitions.
type converter struct {
	diags *diag.List
	edits *edits // nil if only the nodes are wanted
}

// trail is where a value stands, as a chain up to the root. It becomes text only for a diagnostic.
type trail struct {
	up    *trail
	name  string
	index int // of an element of a list, if name is ""
}

func (t *trail) field(name string) *trail { return &trail{up: t, name: name} }
func (t *trail) item(i int) *trail        { return &trail{up: t, index: i} }

func (t *trail) String() string {
	switch {
	case t == nil:
		return ""
	case t.name == "":
		return t.up.String() + "[" + strconv.Itoa(t.index) + "]"
	case t.up == nil:
		return t.name
	}
	return t.up.String() + "." + t.name
}

// short names the value within a sentence.
func (t *trail) short() string {
	switch {
	case t == nil:
		return "the file"
	case t.name == "":
		return t.up.short() + "[" + strconv.Itoa(t.index) + "]"
	}
	return t.name
}

// root converts a file: {apiVersion, kind, ...} becomes {apiVersion, routes: [{...}]}.
func (c *converter) root(root *schema.Node) *schema.Node {
	version, kind := root.Field(fieldVersion), root.Field(fieldKind)
	if kind == nil && c.isV1(root) {
		return root
	}
	o := c.kind(root, kind)
	if o == nil {
		return root
	}
	body := &schema.Node{Kind: schema.Map, Pos: kind.Value.Pos, Width: kind.Value.Width}
	for _, f := range root.Fields {
		if f.Name != fieldVersion && f.Name != fieldKind {
			body.Fields = append(body.Fields, f)
		}
	}
	value := c.value(o.shape, body, nil)
	if o.list {
		value = &schema.Node{Kind: schema.List, Pos: kind.Value.Pos, Width: kind.Value.Width, Items: []*schema.Node{value}}
	}
	name := *version.Value
	name.Str = v1.APIVersion
	c.edits.replace(version.Value, V1Beta1, v1.APIVersion)
	return &schema.Node{Kind: schema.Map, Pos: root.Pos, Width: root.Width, Fields: []schema.Field{
		{Name: fieldVersion, Pos: version.Pos, Value: &name},
		{Name: o.key, Pos: kind.Pos, Value: value},
	}}
}

// isV1 reports the lists of objects that only a v1 file has.
func (c *converter) isV1(root *schema.Node) (found bool) {
	for i := range root.Fields {
		found = c.v1Key(&root.Fields[i]) || found
	}
	return found
}

func (c *converter) v1Key(f *schema.Field) bool {
	for _, o := range objects() {
		if o.key == f.Name {
			c.v1Spelling(f, nil, fmt.Sprintf("a file holds one object: write kind: %s, with the fields of the object beside it", o.kind))
			return true
		}
	}
	return false
}

func (c *converter) kind(root *schema.Node, kind *schema.Field) *object {
	var known []string
	for _, o := range objects() {
		known = append(known, o.kind)
	}
	allowed := "known kinds: " + strings.Join(known, ", ")
	if kind == nil {
		d := diag.Diagnostic{Code: "GW1203", Pos: root.Pos, Width: root.Width, Path: fieldKind, Message: "the file has no kind", Hint: allowed}
		for _, f := range root.Fields {
			if diag.Suggest(f.Name, []string{fieldKind}) != "" {
				d.Pos, d.Width, d.Hint = f.Pos, runes(f.Name), fmt.Sprintf("%q is probably meant to be kind", f.Name)
			}
		}
		c.diags.Add(d)
		return nil
	}
	for i, o := range objects() {
		if kind.Value.Text() == o.kind {
			return &objects()[i]
		}
	}
	d := diag.Diagnostic{
		Code: "GW1203", Pos: kind.Value.Pos, Width: kind.Value.Width, Path: fieldKind,
		Message: fmt.Sprintf("kind is %s, must be one of %s", kind.Value.Describe(), strings.Join(known, ", ")),
	}
	if near := diag.Suggest(kind.Value.Text(), known); near != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.diags.Add(d)
	return nil
}

// value converts a value. One that is not of the kind its definition has stays as it is: to say so is the business of v1.
func (c *converter) value(s *shape, n *schema.Node, at *trail) *schema.Node {
	switch {
	case n.Kind == schema.List && s.item != nil:
		out := *n
		out.Items = make([]*schema.Node, len(n.Items))
		for i, item := range n.Items {
			out.Items[i] = c.value(s.item, item, at.item(i))
		}
		return &out
	case n.Kind == schema.Map && s.values != nil:
		out := *n
		out.Fields = slices.Clone(n.Fields)
		for i, f := range n.Fields {
			out.Fields[i].Value = c.value(s.values, f.Value, at.field(f.Name))
		}
		return &out
	case n.Kind == schema.Map && s.closed:
		out := *n
		out.Fields = c.fields(s, n, at)
		return &out
	case n.Kind == schema.String && s.kind:
		return c.kindName(n)
	case s.time:
		return c.seconds(n, at, false)
	}
	return n
}

// fields converts the fields of a struct. In a route, those that are policies move under one of their own.
func (c *converter) fields(s *shape, n *schema.Node, at *trail) []schema.Field {
	var out []schema.Field
	set := s.policySet()
	var moved *schema.Node // the policy of a route
	add := func(f *schema.Field, fields ...schema.Field) {
		if set == s {
			out = append(out, fields...)
			return
		}
		if moved == nil {
			moved = &schema.Node{Kind: schema.Map, Pos: f.Value.Pos, Width: f.Value.Width}
			out = append(out, schema.Field{Name: routePolicy, Pos: f.Pos, Value: moved})
		}
		moved.Fields = append(moved.Fields, fields...)
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		switch own := s.byOld(f.Name); {
		case f.Name == deleteMark:
			out = append(out, *f)
		case set != nil && f.Name == fieldPolicies && f.Value.Kind == schema.Null && set != s:
			out = append(out, schema.Field{Name: routePolicy, Pos: f.Pos, Value: f.Value})
			c.aloneWithNull(set, n, f, at)
		case set != nil && f.Name == fieldPolicies:
			add(f, c.policies(set, f, at.field(f.Name))...)
		case own != nil && own.shape != set && !(set == s && own.shape.closed):
			out = append(out, c.field(own, f, at))
		case set != nil && set != s && set.byOld(f.Name) != nil && !set.byOld(f.Name).shape.closed:
			add(f, c.field(set.byOld(f.Name), f, at))
		default:
			if known := c.unknown(s, f, at); known != nil {
				out = append(out, *known)
			}
		}
	}
	return out
}

// policySet is the definition whose fields are the policies of an object of this definition, or nil.
func (s *shape) policySet() *shape {
	switch {
	case s.holdsPolicies():
		return s
	case s.name == defRoute:
		return s.byName(routePolicy).shape
	}
	return nil
}

func (c *converter) field(def *field, f *schema.Field, at *trail) schema.Field {
	c.edits.rename(f, def.name)
	out := schema.Field{Name: def.name, Pos: f.Pos}
	if def.whole {
		out.Value = c.seconds(f.Value, at.field(f.Name), true)
	} else {
		out.Value = c.value(def.shape, f.Value, at.field(f.Name))
	}
	return out
}

// aloneWithNull refuses "policies: null" beside another field that is a policy in v1: null takes away all of them.
func (c *converter) aloneWithNull(set *shape, n *schema.Node, null *schema.Field, at *trail) {
	for i := range n.Fields {
		f := &n.Fields[i]
		if def := set.byOld(f.Name); def != nil && !def.shape.closed {
			c.diags.Add(diag.Diagnostic{
				Code: "GW3040", Pos: null.Pos, Width: runes(null.Name), Path: at.field(null.Name).String(),
				Message: fmt.Sprintf("policies: null removes %s too, which is set beside it", f.Name),
				Notes:   []diag.Note{{Pos: f.Pos, Message: f.Name + " is here"}},
				Hint:    "remove single policies, with { type: ..., $delete: true }, or drop " + f.Name,
			})
		}
	}
}

// seconds converts a span of time; whole is set where v1 takes a number of milliseconds and no text.
func (c *converter) seconds(n *schema.Node, at *trail, whole bool) *schema.Node {
	var ms int64
	switch {
	case n.Kind == schema.Int && n.Int > math.MaxInt64/1000:
		ms = math.MaxInt64 // far beyond every bound, as v1 will say
	case n.Kind == schema.Int && n.Int < math.MinInt64/1000:
		ms = math.MinInt64
	case n.Kind == schema.Int:
		ms = n.Int * 1000
	case n.Kind == schema.Float:
		exact := n.Float * 1000
		if ms = int64(math.Round(exact)); !(math.Abs(exact) < 1<<52) || math.Abs(exact-float64(ms)) > 1e-6 {
			c.diags.Add(diag.Diagnostic{
				Code: "GW2111", Pos: n.Pos, Width: n.Width, Path: at.String(),
				Message: fmt.Sprintf(`%s is %s seconds, must be whole milliseconds, or text such as "10s" or "500ms"`, at.short(), n.Describe()),
			})
			return n
		}
	case n.Kind == schema.String && whole:
		d, err := v1.ParseDuration(n.Str)
		if err != nil {
			c.diags.Add(diag.Diagnostic{
				Code: "GW2111", Pos: n.Pos, Width: n.Width, Path: at.String(),
				Message: fmt.Sprintf(`%s is %s, must be seconds, or text such as "10s", "500ms" or "1m30s"`, at.short(), n.Describe()),
			})
			return n
		}
		ms = int64(d)
	default:
		return n
	}
	out := &schema.Node{Kind: schema.Int, Pos: n.Pos, Width: n.Width, Int: ms}
	c.edits.set(n, strconv.FormatInt(ms, 10))
	return out
}

// kindName converts the name of a policy where a tenant is granted it.
func (c *converter) kindName(n *schema.Node) *schema.Node {
	for _, f := range definitions()[defRoutePolicy].fields {
		if f.old == n.Str && f.name != f.old {
			out := *n
			out.Str = f.name
			c.edits.replace(n, n.Str, f.name)
			return &out
		}
	}
	return n
}
