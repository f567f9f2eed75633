package shape

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Annotations that the generator adds to the exported document, beside the standard description, default and examples.
const (
	KeyType    = "x-type"
	KeyForm    = "x-form"
	KeyExample = "x-example" // as an author would write it; the standard examples would have to be of the field's type
)

// annotations carry no constraint.
var annotations = []string{"$schema", "$id", "$defs", "title", "description", "default", "examples", KeyType, KeyForm, KeyExample}

// Parse reads a JSON Schema document and returns the shapes of its definitions by name; root names the document itself.
func Parse(document []byte, root string) (map[string]*Shape, error) {
	var doc map[string]any
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("decode schema: %w", err)
	}
	defs, _ := doc["$defs"].(map[string]any)
	p := &parser{defs: defs, done: map[string]*Shape{}}
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		if _, err := p.definition(name); err != nil {
			return nil, err
		}
	}
	s, err := p.schema(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", root, err)
	}
	s.Name = root
	p.done[root] = s
	return p.done, nil
}

type parser struct {
	defs map[string]any
	done map[string]*Shape
}

func (p *parser) definition(name string) (*Shape, error) {
	if s, ok := p.done[name]; ok {
		return s, nil
	}
	m, ok := p.defs[name].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("definition %q does not exist", name)
	}
	s := &Shape{Name: name}
	p.done[name] = s // before its parts: a definition may refer to itself
	parsed, err := p.schema(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	*s = *parsed
	s.Name = name
	return s, nil
}

// schema reads one schema. Every keyword outside the subset is an error: a constraint that is not understood would be
// a constraint that is not kept.
func (p *parser) schema(m map[string]any) (*Shape, error) {
	if ref, ok := m["$ref"].(string); ok {
		return p.reference(m, ref)
	}
	s := &Shape{Doc: text(m["description"]), Type: text(m[KeyType]), Form: text(m[KeyForm]), Example: text(m[KeyExample])}
	k := keywords{m: m}
	if anyOf, ok := m["anyOf"].([]any); ok {
		k.used = append(k.used, "anyOf")
		if err := p.union(s, anyOf); err != nil {
			return nil, err
		}
		return s, k.leftovers()
	}
	switch kind := k.kind(); kind {
	case "boolean":
		s.Bool = true
	case "integer", "number":
		low, high := unbounded()
		s.Number = &Number{Integer: kind == "integer", Min: k.number("minimum", low), Max: k.number("maximum", high)}
	case "string":
		s.Text = k.text()
	case "array":
		s.List = &List{Min: int(k.number("minItems", 0)), Max: int(k.number("maxItems", -1)), Unique: k.flag("uniqueItems")}
		if err := p.elements(s.List, &k); err != nil {
			return nil, err
		}
	case "object":
		s.Map = &Map{}
		if err := p.object(s.Map, &k); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("type %q is outside the subset", kind)
	}
	return s, k.leftovers()
}

func (p *parser) reference(m map[string]any, ref string) (*Shape, error) {
	k := keywords{m: m, used: []string{"$ref"}}
	if err := k.leftovers(); err != nil {
		return nil, err
	}
	const prefix = "#/$defs/"
	if len(ref) <= len(prefix) || ref[:len(prefix)] != prefix {
		return nil, fmt.Errorf("reference %q leaves the document", ref)
	}
	return p.definition(ref[len(prefix):])
}

// union reads alternatives, which must differ in kind: only then does one mistake have one explanation.
func (p *parser) union(s *Shape, anyOf []any) error {
	for _, alt := range anyOf {
		m, ok := alt.(map[string]any)
		if !ok {
			return fmt.Errorf("anyOf holds %v", alt)
		}
		a, err := p.schema(m)
		if err != nil {
			return err
		}
		if s.Bool && a.Bool || s.Number != nil && a.Number != nil || s.Text != nil && a.Text != nil ||
			s.List != nil && a.List != nil || s.Map != nil && a.Map != nil {
			return fmt.Errorf("alternatives of one kind: %s", a)
		}
		s.Bool = s.Bool || a.Bool
		if a.Number != nil {
			s.Number = a.Number
		}
		if a.Text != nil {
			s.Text = a.Text
		}
		if a.List != nil {
			s.List = a.List
		}
		if a.Map != nil {
			s.Map = a.Map
		}
	}
	return nil
}

func (p *parser) elements(l *List, k *keywords) error {
	items, ok := k.take("items").(map[string]any)
	if !ok {
		return fmt.Errorf("a list without a schema for its elements")
	}
	var err error
	l.Elem, err = p.schema(items)
	return err
}

func (p *parser) object(m *Map, k *keywords) error {
	required, _ := k.take("required").([]any)
	props, _ := k.take("properties").(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		prop, ok := props[name].(map[string]any)
		if !ok {
			return fmt.Errorf("field %s accepts anything", name)
		}
		s, err := p.schema(prop)
		if err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
		m.Fields = append(m.Fields, Field{
			Name: name, Doc: text(prop["description"]), Example: text(prop[KeyExample]), Default: prop["default"],
			Required: slices.Contains(required, any(name)), Shape: s,
		})
	}
	patterns, _ := k.take("patternProperties").(map[string]any)
	switch rest := k.take("additionalProperties").(type) {
	case bool:
		if rest || len(patterns) > 1 || len(patterns) == 1 && len(m.Fields) > 0 {
			return fmt.Errorf("an open struct, or one with both fields and patterns")
		}
		for pattern, v := range patterns {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return fmt.Errorf("key pattern: %w", err)
			}
			m.Keys = re
			return p.values(m, v)
		}
		return nil
	case map[string]any:
		if len(patterns) > 0 || len(m.Fields) > 0 {
			return fmt.Errorf("a map with both fields and free keys")
		}
		return p.values(m, rest)
	}
	return fmt.Errorf("a struct that is not closed")
}

func (p *parser) values(m *Map, v any) error {
	schema, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("a map of anything")
	}
	var err error
	m.Value, err = p.schema(schema)
	return err
}

// keywords reads the keywords of one schema and remembers which it has understood.
type keywords struct {
	m    map[string]any
	used []string
}

func (k *keywords) take(name string) any {
	k.used = append(k.used, name)
	return k.m[name]
}

func (k *keywords) number(name string, absent float64) float64 {
	if n, ok := k.take(name).(float64); ok {
		return n
	}
	return absent
}

func (k *keywords) flag(name string) bool {
	b, _ := k.take(name).(bool)
	return b
}

// kind is the type, where constants and enumerations, which are strings in the subset, need not name theirs.
func (k *keywords) kind() string {
	if k.m["enum"] != nil || k.m["const"] != nil {
		k.used = append(k.used, "type")
		return "string"
	}
	return text(k.take("type"))
}

func (k *keywords) text() *Text {
	t := &Text{MinLen: int(k.number("minLength", 0)), MaxLen: int(k.number("maxLength", -1))}
	if c, ok := k.m["const"].(string); ok { // anything else stays among the leftovers, here and below
		k.used = append(k.used, "const")
		t.Enum = []string{c}
	}
	if values, ok := k.m["enum"].([]any); ok && !slices.ContainsFunc(values, func(v any) bool { return text(v) == "" }) {
		k.used = append(k.used, "enum")
		for _, v := range values {
			t.Enum = append(t.Enum, text(v))
		}
	}
	if pattern, ok := k.m["pattern"].(string); ok {
		if re, err := regexp.Compile(pattern); err == nil { // else it stays among the leftovers
			k.used = append(k.used, "pattern")
			t.Pattern = re
		}
	}
	return t
}

func (k *keywords) leftovers() error {
	for _, name := range slices.Sorted(maps.Keys(k.m)) {
		if !slices.Contains(k.used, name) && !slices.Contains(annotations, name) {
			return fmt.Errorf("keyword %q is outside the subset", name)
		}
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
