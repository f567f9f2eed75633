package v1

import (
	"fmt"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// envelope judges what must hold of every file before overlays are applied: a version, no unknown top-level key, lists
// and maps where they belong, an id on every object, and no secret anywhere.
func (w *walker) envelope(n *schema.Node, root *loc) {
	file := shapes()["File"]
	if n.Kind != schema.Map {
		d := at("GW2101", n, root, "the file is %s, must be a map", shown(n))
		d.Hint = "begin it with apiVersion: " + APIVersion
		w.diags.Add(d)
		return
	}
	if v := n.Get("apiVersion"); CheckAPIVersion(n, []string{APIVersion}, w.diags) == "" && v != nil {
		CheckSecrets(n, root.name, w.diags)
		return // another version has other keys
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		field := file.Map.Field(f.Name)
		here := &loc{up: root, def: file.Name, name: f.Name, index: -1}
		switch {
		case f.Name == "apiVersion":
		case f.Name == "tests":
			w.misplacedTests(f, here)
		case field == nil:
			if closest(f.Name, []string{"apiVersion"}) == "" || n.Get("apiVersion") != nil { // else said already
				w.unknownField(file, n, f, root)
			}
		case field.Shape.List != nil && f.Value.Kind == schema.List:
			for i, item := range f.Value.Items {
				w.identified(field.Shape.List.Elem, item, &loc{up: here, index: i})
			}
		case field.Shape.Map != nil && f.Value.Kind == schema.Map:
		default:
			w.wrongKind(field.Shape, f.Value, here)
		}
	}
	CheckSecrets(n, root.name, w.diags)
}

// identified wants a map with an id: by it a patch finds its object.
func (w *walker) identified(s *shape.Shape, n *schema.Node, where *loc) {
	if n.Kind != schema.Map {
		w.wrongKind(s, n, where)
		return
	}
	id := s.Map.Field("id")
	if v := n.Get("id"); v != nil {
		w.value(id.Shape, v, &loc{up: where, def: s.Name, name: "id", index: -1})
		return
	}
	for i := range n.Fields { // a misspelt id is one mistake
		if f := &n.Fields[i]; s.Map.Field(f.Name) == nil && closest(f.Name, []string{"id"}) != "" {
			w.unknownField(s, n, f, where)
			return
		}
	}
	w.missing(s, n, id, where, nil)
}

// CheckAPIVersion reports a missing or unknown apiVersion; known lists the versions there are, newest first. It returns
// the version, or "" after an error.
func CheckAPIVersion(root *schema.Node, known []string, diags *diag.List) string {
	where := &loc{up: &loc{index: -1}, name: "apiVersion", index: -1}
	v := root.Get("apiVersion")
	if v == nil {
		d := at("GW2001", root, where, "the file has no apiVersion")
		d.Hint = "add apiVersion: " + known[0]
		if root.Kind == schema.Map {
			for i := range root.Fields {
				if f := &root.Fields[i]; closest(f.Name, []string{"apiVersion"}) != "" {
					d.Pos, d.Width, d.Hint = f.Pos, width(f.Name), fmt.Sprintf("%s is probably meant to be apiVersion", quoted(f.Name))
				}
			}
		}
		diags.Add(d)
		return ""
	}
	for _, k := range known {
		if v.Kind == schema.String && v.Str == k {
			return k
		}
	}
	d := at("GW2002", v, where, "apiVersion is %s, known: %s", shown(v), strings.Join(known, ", "))
	if best := closest(v.Text(), known); best != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", best)
	} else {
		d.Hint = "write apiVersion: " + known[0]
	}
	diags.Add(d)
	return ""
}
