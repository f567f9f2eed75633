package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// reference writes the manual of the definitions.
func reference(m *model) []byte {
	var b bytes.Buffer
	b.WriteString(`# Configuration reference

<!-- Generated from schema/v1/*.cue by "go generate ./schema/v1"; edit the comments there. -->

Every field of a file with ` + "`apiVersion: gateway.suuupra.dev/v1`" + `. Files are YAML, JSON or CUE; unknown fields are errors. A file in
` + "`environments/<env>/` or `tenants/<tenant>/`" + ` may leave out required fields: only the merged object must be complete.

`)
	for _, d := range m.defs {
		if d.typ == nil {
			m.refStruct(&b, d)
		}
	}
	b.WriteString("## Values\n\n| name | meaning | allowed | example |\n| --- | --- | --- | --- |\n")
	for _, d := range m.defs {
		if d.typ != nil {
			fmt.Fprintf(&b, "| <a id=%q></a>%s | %s | %s | %s |\n", anchor(d.name), d.name, cell(d.doc), cell(allowed(d.typ, d.attrs)), code(d.attrs["example"]))
		}
	}
	b.WriteString("\n## Known, but not available in this version\n\nUsing one of these is an error that says so; none is ever ignored.\n\n| where | field or value | what |\n| --- | --- | --- |\n")
	for _, p := range m.planned {
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", p.where, p.name, cell(p.what))
	}
	return b.Bytes()
}

func (m *model) refStruct(b *bytes.Buffer, d *def) {
	fmt.Fprintf(b, "## %s\n\n%s\n\n| field | type | default | meaning | allowed |\n| --- | --- | --- | --- | --- |\n", d.name, d.doc)
	for _, f := range d.fields {
		def := code(m.authored(f.typ, f.attrs["default"]))
		switch {
		case f.required:
			def = "required"
		case f.attrs["absent"] != "":
			def = f.attrs["absent"]
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.name, m.typeName(f.typ, f.attrs), def, cell(f.doc), cell(allowed(f.typ, f.attrs)))
	}
	b.WriteString("\n")
}

// typeName names the type, with a link where there is more to say.
func (m *model) typeName(t *typ, a attrs) string {
	switch {
	case t.ref != "":
		return fmt.Sprintf("[%s](#%s)", t.ref, anchor(t.ref))
	case t.list != nil:
		return "list of " + m.typeName(t.elem, nil)
	case t.value != nil:
		return "map of " + m.typeName(t.value, nil)
	case t.bool:
		return "true or false"
	case a["type"] == "size":
		return "size"
	case a["type"] == "duration":
		return "duration"
	case t.number != nil && t.text != nil:
		return "whole number, or text"
	case t.number != nil && t.number.Integer:
		return "whole number"
	case t.number != nil:
		return "number"
	}
	return "text"
}

// allowed says in words what a value of the type may be.
func allowed(t *typ, a attrs) string {
	var parts []string
	if t.number != nil {
		switch {
		case !math.IsInf(t.number.Min, -1) && !math.IsInf(t.number.Max, 1):
			parts = append(parts, fmt.Sprintf("%s to %s", num(t.number.Min), num(t.number.Max)))
		case !math.IsInf(t.number.Min, -1):
			parts = append(parts, "at least "+num(t.number.Min))
		case !math.IsInf(t.number.Max, 1):
			parts = append(parts, "at most "+num(t.number.Max))
		}
	}
	if t.text != nil && t.text.Enum != nil {
		parts = append(parts, "`"+strings.Join(t.text.Enum, "`, `")+"`")
	}
	if t.text != nil && t.text.Pattern != nil && t.text.MaxLen >= 0 {
		parts = append(parts, fmt.Sprintf("up to %d characters", t.text.MaxLen))
	}
	if a["form"] != "" {
		parts = append(parts, a["form"])
	}
	if t.list != nil {
		if t.list.Unique {
			parts = append(parts, "no duplicates")
		}
		if t.list.Min > 0 {
			parts = append(parts, fmt.Sprintf("at least %d", t.list.Min))
		}
		if t.list.Max >= 0 {
			parts = append(parts, fmt.Sprintf("at most %d", t.list.Max))
		}
	}
	return strings.Join(parts, "; ")
}

func num(f float64) string { return fmt.Sprintf("%.15g", f) }

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func anchor(name string) string { return strings.ToLower(name) }
