package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/encoding/jsonschema"

	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// schemaID names the document. Nothing is ever fetched from it.
const schemaID = "https://gateway.suuupra.dev/schema/v1.json"

// exportSchema has CUE export the definitions, adds what the export leaves out and carries no constraint (descriptions of
// references, defaults, names of meanings), and checks that no constraint went missing.
func exportSchema(dir string, m *model) ([]byte, error) {
	insts := load.Instances([]string{"."}, &load.Config{Dir: dir})
	if len(insts) != 1 || insts[0].Err != nil {
		return nil, fmt.Errorf("load definitions: %w", insts[0].Err)
	}
	ctx := cuecontext.New()
	v := ctx.BuildInstance(insts[0])
	if err := v.Err(); err != nil {
		return nil, fmt.Errorf("build definitions: %w", err)
	}
	expr, err := jsonschema.Generate(v.LookupPath(cue.MakePath(cue.Def(rootDef))), nil)
	if err != nil {
		return nil, fmt.Errorf("export JSON Schema: %w", err)
	}
	raw, err := json.Marshal(ctx.BuildExpr(expr))
	if err != nil {
		return nil, fmt.Errorf("encode JSON Schema: %w", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("decode JSON Schema: %w", err)
	}
	flatten(doc)
	doc["$id"] = schemaID
	if err := annotate(doc, m); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode JSON Schema: %w", err)
	}
	return append(out, '\n'), compare(out, m)
}

// flatten writes what the export says in two ways in one: it merges the members of every allOf into their parent (int is
// exported as a number that is also an integer, and each member costs a step at validation), and writes the constant {} as
// the closed struct without fields that it is. A conflict stays as it is, for shape.Parse to refuse.
func flatten(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			flatten(e)
		}
	case map[string]any:
		for _, e := range v {
			flatten(e)
		}
		if c, ok := v["const"].(map[string]any); ok && len(c) == 0 { // the export of a struct without fields
			delete(v, "const")
			v["type"], v["additionalProperties"] = "object", false
		}
		all, ok := v["allOf"].([]any)
		if !ok {
			return
		}
		merged := maps.Clone(v)
		delete(merged, "allOf")
		for _, e := range all {
			part, ok := e.(map[string]any)
			if !ok || !mergeInto(merged, part) {
				return
			}
		}
		clear(v)
		maps.Copy(v, merged)
	}
}

func mergeInto(into, part map[string]any) bool {
	for key, val := range part {
		old, exists := into[key]
		switch {
		case !exists, key == "type" && old == "number" && val == "integer":
			into[key] = val
		case key == "type" && old == "integer" && val == "number", key == "type" && old == val:
		default:
			return false
		}
	}
	return true
}

// annotate writes the documentation and the attributes of the model into the document.
func annotate(doc map[string]any, m *model) error {
	defs, _ := doc["$defs"].(map[string]any)
	for _, d := range m.defs {
		s, ok := defs[d.name].(map[string]any)
		if d.name == rootDef {
			s, ok = doc, true
		}
		if !ok {
			return fmt.Errorf("#%s is not reachable from #%s: the export left it out", d.name, rootDef)
		}
		describe(s, d.doc, d.attrs)
		props, _ := s["properties"].(map[string]any)
		for _, f := range d.fields {
			p, ok := props[f.name].(map[string]any)
			if !ok {
				return fmt.Errorf("the export lost field %s of #%s", f.name, d.name)
			}
			describe(p, f.doc, f.attrs)
			if text, ok := f.attrs["default"]; ok {
				p["default"] = m.defaultValue(f.typ, text)
			}
		}
	}
	return nil
}

func describe(s map[string]any, doc string, a attrs) {
	s["description"] = doc
	for attr, key := range map[string]string{"type": shape.KeyType, "form": shape.KeyForm, "example": shape.KeyExample} {
		if a[attr] != "" {
			s[key] = a[attr]
		}
	}
}

// resolve follows a reference to a definition that is no struct.
func (m *model) resolve(t *typ) *typ {
	for t.ref != "" {
		d := m.def(t.ref)
		if d.typ == nil {
			return t
		}
		t = d.typ
	}
	return t
}

// defaultValue reads the text of a @default as the JSON value it stands for.
func (m *model) defaultValue(t *typ, text string) any {
	if words, ok := listDefault(text); ok && t.list != nil {
		return words
	}
	t = m.resolve(t)
	if t.bool {
		return text == "true"
	}
	if t.number != nil {
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return text
}

// compare holds the exported document against the syntax it came from, constraint by constraint.
func compare(document []byte, m *model) error {
	shapes, err := shape.Parse(document, rootDef)
	if err != nil {
		return fmt.Errorf("the export is outside the subset: %w", err)
	}
	var errs []error
	for _, d := range m.defs {
		want := (&shape.Shape{Map: &shape.Map{}})
		if d.typ != nil {
			want = shapeOf(d.typ)
		}
		for _, f := range d.fields {
			want.Map.Fields = append(want.Map.Fields, shape.Field{Name: f.name, Required: f.required, Shape: shapeOf(f.typ)})
		}
		if want.Map != nil {
			slices.SortFunc(want.Map.Fields, func(a, b shape.Field) int { return compareNames(a.Name, b.Name) })
		}
		if got := shapes[d.name]; got == nil || got.String() != want.String() {
			errs = append(errs, fmt.Errorf("#%s: the export says\n  %v\nand the definition\n  %v", d.name, got, want))
		}
		delete(shapes, d.name)
	}
	for name := range shapes {
		errs = append(errs, fmt.Errorf("the export has #%s, which no file defines", name))
	}
	return errors.Join(errs...)
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
