package migrate

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/v1"
)

// Downgrade writes a v1 file as v1beta1 files, one for each object. It fails on what v1beta1 cannot say.
func Downgrade(root *schema.Node) (docs []*schema.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			docs, err = nil, fmt.Errorf("%v", p)
		}
	}()
	for _, o := range objects() {
		n := root.Get(o.key)
		if n == nil {
			continue
		}
		items := []*schema.Node{n}
		if o.list {
			items = n.Items
		}
		for _, item := range items {
			if item.Kind != schema.Map {
				panic(o.kind + " is no map")
			}
			doc := mapOf(fieldVersion, text1(V1Beta1), fieldKind, text1(o.kind))
			doc.Fields = append(doc.Fields, down(o.shape, item).Fields...)
			docs = append(docs, doc)
		}
	}
	for _, f := range root.Fields {
		if f.Name != fieldVersion && definitions()["File"].byName(f.Name) == nil {
			panic("unknown field " + f.Name)
		}
	}
	return docs, nil
}

func text1(s string) *schema.Node { return &schema.Node{Kind: schema.String, Str: s} }

func mapOf(pairs ...any) *schema.Node {
	out := &schema.Node{Kind: schema.Map}
	for i := 0; i < len(pairs); i += 2 {
		out.Fields = append(out.Fields, schema.Field{Name: pairs[i].(string), Value: pairs[i+1].(*schema.Node)})
	}
	return out
}

func down(s *shape, n *schema.Node) *schema.Node {
	switch {
	case n.Kind == schema.Null:
		return n
	case s.closed && n.Kind == schema.Map:
		return downStruct(s, n)
	case s.closed:
		panic("a struct is " + n.Kind.String())
	case n.Kind == schema.List && s.item != nil:
		out := &schema.Node{Kind: schema.List}
		for _, item := range n.Items {
			out.Items = append(out.Items, down(s.item, item))
		}
		return out
	case n.Kind == schema.Map && s.values != nil:
		out := &schema.Node{Kind: schema.Map}
		for _, f := range n.Fields {
			out.Fields = append(out.Fields, schema.Field{Name: f.Name, Value: down(s.values, f.Value)})
		}
		return out
	case s.time:
		return downMillis(n)
	case s.kind && n.Kind == schema.String:
		if f := definitions()[defRoutePolicy].byName(n.Str); f != nil {
			return text1(f.old)
		}
	}
	return n
}

func downMillis(n *schema.Node) *schema.Node {
	switch {
	case n.Kind == schema.Int && n.Int%1000 == 0:
		return &schema.Node{Kind: schema.Int, Int: n.Int / 1000}
	case n.Kind == schema.Int:
		return &schema.Node{Kind: schema.Float, Float: float64(n.Int) / 1000}
	}
	return n
}

func downStruct(s *shape, n *schema.Node) *schema.Node {
	out, list := &schema.Node{Kind: schema.Map}, &schema.Node{Kind: schema.List}
	fill := func(set *shape, n *schema.Node) {
		for _, f := range n.Fields {
			def := set.byName(f.Name)
			switch {
			case f.Name == deleteMark:
				out.Fields = append(out.Fields, f)
			case def == nil:
				panic("unknown field " + f.Name)
			case set.holdsPolicies() && def.shape.closed:
				list.Items = append(list.Items, downPolicy(def, f.Value)...)
			case s.name == defRoute && f.Name == routePolicy:
				panic("nested")
			case def.whole:
				out.Fields = append(out.Fields, schema.Field{Name: def.old, Value: downMillis(f.Value)})
			default:
				out.Fields = append(out.Fields, schema.Field{Name: def.old, Value: down(def.shape, f.Value)})
			}
		}
	}
	inner := n.Get(routePolicy)
	if s.name != defRoute || inner == nil {
		fill(s, n)
	} else {
		rest := *n
		rest.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f schema.Field) bool { return f.Name == routePolicy })
		fill(s, &rest)
		if inner.Kind == schema.Null {
			list = inner
			out.Fields = append(out.Fields, schema.Field{Name: fieldPolicies, Value: inner})
		} else if fill(s.byName(routePolicy).shape, inner); len(inner.Fields) == 0 {
			out.Fields = append(out.Fields, schema.Field{Name: fieldPolicies, Value: list})
		}
	}
	if len(list.Items) > 0 {
		out.Fields = append(out.Fields, schema.Field{Name: fieldPolicies, Value: list})
	}
	return out
}

func downPolicy(def *field, n *schema.Node) []*schema.Node {
	removed := func(old string) *schema.Node {
		return mapOf(fieldType, text1(old), deleteMark, &schema.Node{Kind: schema.Bool, Bool: true})
	}
	switch {
	case n.Kind == schema.Null:
		return []*schema.Node{removed(def.old)}
	case n.Kind != schema.Map || def.name == grouped && len(n.Fields) == 0:
		panic("a policy is " + n.Kind.String())
	case def.name == grouped:
		var out []*schema.Node
		for _, f := range n.Fields {
			g := def.shape.byName(f.Name)
			if g == nil {
				panic("unknown field " + f.Name)
			}
			out = append(out, downPolicy(g, f.Value)...)
		}
		return out
	}
	out := mapOf(fieldType, text1(def.old))
	out.Fields = append(out.Fields, down(def.shape, n).Fields...)
	return []*schema.Node{out}
}

// EachField hands out v1 documents which together have every field of every definition, each with the path of a field that
// it shows. Values have the kind that the definition asks for, and no more sense than that.
func EachField(show func(path string, root *schema.Node)) {
	for _, o := range objects() {
		everyField(o.shape, o.kind, map[string]int{}, func(path string, n *schema.Node) {
			if o.list {
				n = &schema.Node{Kind: schema.List, Items: []*schema.Node{n}}
			}
			show(path, mapOf(fieldVersion, text1(v1.APIVersion), o.key, n))
		})
	}
}

func everyField(s *shape, path string, open map[string]int, show func(string, *schema.Node)) {
	if s.name != "" {
		if open[s.name]++; open[s.name] > 1 {
			open[s.name]--
			return
		}
		defer func() { open[s.name]-- }()
	}
	switch {
	case s.closed && len(s.fields) == 0:
		show(path, &schema.Node{Kind: schema.Map})
	case s.closed:
		for _, f := range s.fields {
			everyField(f.shape, path+"."+f.name, open, func(path string, n *schema.Node) {
				if f.whole {
					n = &schema.Node{Kind: schema.Int, Int: 61_500}
				}
				show(path, mapOf(f.name, n))
			})
		}
	case s.item != nil:
		everyField(s.item, path+"[]", open, func(path string, n *schema.Node) {
			show(path, &schema.Node{Kind: schema.List, Items: []*schema.Node{n, n}})
		})
	case s.values != nil:
		everyField(s.values, path+".camelCase", open, func(path string, n *schema.Node) { show(path, mapOf("camelCase", n)) })
	case s.time:
		show(path, &schema.Node{Kind: schema.Int, Int: 2500})
		show(path, text1("1m30s"))
	case s.kind:
		show(path, text1("rateLimit"))
	default:
		show(path, text1("x"))
	}
}

// SchemaFields names the fields of all definitions that a file can hold.
func SchemaFields() (names []string) {
	seen := map[*shape]bool{}
	var walk func(s *shape, path string)
	walk = func(s *shape, path string) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		walk(s.item, path)
		walk(s.values, path)
		for _, f := range s.fields {
			names = append(names, s.name+"."+f.name)
			walk(f.shape, path)
		}
	}
	walk(definitions()["File"], "")
	return names
}

// RandomDocument makes a v1 file with objects of random fields, as a patch may have them: null removes one here and there.
func RandomDocument(rng *rand.Rand) *schema.Node {
	o := objects()[rng.IntN(len(objects()))]
	n := randomValue(rng, o.shape, 6)
	if o.list {
		n = &schema.Node{Kind: schema.List, Items: []*schema.Node{n}}
	}
	return mapOf(fieldVersion, text1(v1.APIVersion), o.key, n)
}

func randomValue(rng *rand.Rand, s *shape, depth int) *schema.Node {
	words := []string{"a", "users-api", "https://id.example.com/x?y=1#z", "it's", "5", "- dash", "two words", "ends with: ", "ünïcode 🙂", "{brace}", "a # b", "type", "null"}
	switch {
	case s.closed:
		out := &schema.Node{Kind: schema.Map}
		for _, f := range s.fields {
			chance := 30 + 10*depth
			if depth == 0 || rng.IntN(100) >= chance/2 && f.name != "id" {
				continue
			}
			v := randomValue(rng, f.shape, depth-1)
			switch {
			case f.whole:
				v = &schema.Node{Kind: schema.Int, Int: rng.Int64N(9_000_000)}
			case f.name == grouped && (len(v.Fields) == 0):
				continue // v1beta1 has no empty auth
			case rng.IntN(20) == 0:
				v = &schema.Node{Kind: schema.Null}
			}
			out.Fields = append(out.Fields, schema.Field{Name: f.name, Value: v})
		}
		return out
	case s.item != nil:
		out := &schema.Node{Kind: schema.List}
		for range rng.IntN(4) {
			out.Items = append(out.Items, randomValue(rng, s.item, depth-1))
		}
		return out
	case s.values != nil:
		return mapOf("X-Header_Name", randomValue(rng, s.values, depth-1), "camelCase", randomValue(rng, s.values, depth-1))
	case s.time && rng.IntN(2) == 0:
		return text1([]string{"10s", "1m30s", "500ms"}[rng.IntN(3)])
	case s.time:
		return &schema.Node{Kind: schema.Int, Int: rng.Int64N(3) * rng.Int64N(90_000)}
	case s.kind:
		return text1([]string{"rateLimit", "cors", "bodyLimit"}[rng.IntN(3)])
	case rng.IntN(5) == 0:
		return &schema.Node{Kind: schema.Bool, Bool: rng.IntN(2) == 0}
	}
	return text1(words[rng.IntN(len(words))])
}

// ChangedNames are the v1beta1 names of fields that are spelt or valued otherwise in v1.
func ChangedNames() map[string]bool {
	out := map[string]bool{fieldVersion: true, fieldKind: true, fieldPolicies: true, fieldType: true, deleteMark: true}
	for _, s := range definitions() {
		for _, f := range s.fields {
			if f.old != f.name || f.whole || f.shape.time || s.holdsPolicies() {
				out[f.old] = true
			}
		}
	}
	return out
}
