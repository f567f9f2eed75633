package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
)

// model is what the CUE files say, read from their syntax: evaluation would lose comments, order and attributes.
type model struct {
	defs    []*def
	planned []planned
}

// def is a definition, or a hidden struct (its name begins with "_") that definitions embed.
type def struct {
	name   string // without "#"
	doc    string
	fields []*field // of a struct
	typ    *typ     // of anything else
	attrs  attrs
	embeds []string
}

type field struct {
	name     string
	doc      string
	required bool
	typ      *typ
	attrs    attrs
}

// planned is one name the gateway knows and does not have.
type planned struct{ where, name, what string }

// attrs holds the attributes of a field or a definition by name: default, absent, type, form, example, go. A field with
// absent is a struct that is not filled in where the author left it out; the attribute says in words what holds then.
type attrs map[string]string

var knownAttrs = []string{"default", "absent", "type", "form", "example", "go"}

func (m *model) def(name string) *def {
	if i := slices.IndexFunc(m.defs, func(d *def) bool { return d.name == name }); i >= 0 {
		return m.defs[i]
	}
	return nil
}

// lint collects everything in the files that is outside the subset.
type lint struct{ errs []string }

func (l *lint) errorf(n ast.Node, format string, args ...any) {
	pos := n.Pos()
	l.errs = append(l.errs, fmt.Sprintf("%s:%d:%d: %s", filepath.Base(pos.Filename()), pos.Line(), pos.Column(), fmt.Sprintf(format, args...)))
}

// readModel parses the files and refuses what the export to JSON Schema would not keep.
func readModel(files []string) (*model, error) {
	m := &model{}
	l := &lint{}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		f, err := parser.ParseFile(name, src, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parse definitions: %w", err)
		}
		for _, d := range f.Decls {
			m.decl(l, d)
		}
	}
	m.link(l)
	if len(l.errs) > 0 {
		return nil, fmt.Errorf("outside the subset:\n%s", strings.Join(l.errs, "\n"))
	}
	return m, nil
}

func (m *model) decl(l *lint, d ast.Decl) {
	switch d := d.(type) {
	case *ast.Package, *ast.ImportDecl, *ast.CommentGroup:
		return
	case *ast.Field:
		name, _, err := ast.LabelName(d.Label)
		switch {
		case err != nil:
			l.errorf(d, "a label that is not a name")
		case name == "_planned":
			m.readPlanned(l, d)
		case strings.HasPrefix(name, "#"), strings.HasPrefix(name, "_"):
			m.defs = append(m.defs, readDef(l, name, d))
		default:
			l.errorf(d, "%s: only definitions and hidden structs may stand at the top", name)
		}
	default:
		l.errorf(d, "%T at the top", d)
	}
}

func readDef(l *lint, name string, d *ast.Field) *def {
	out := &def{name: strings.TrimPrefix(name, "#"), doc: docOf(d), attrs: readAttrs(l, d)}
	if out.doc == "" {
		l.errorf(d, "%s has no comment", name)
	}
	st, ok := d.Value.(*ast.StructLit)
	if !ok {
		out.typ = readType(l, d.Value)
		if out.typ.text != nil && out.typ.text.Pattern != nil && out.attrs["form"] == "" && out.attrs["type"] == "" {
			l.errorf(d, "%s has a pattern and no @form that says it in words", name)
		}
		return out
	}
	for _, e := range st.Elts {
		switch e := e.(type) {
		case *ast.Field:
			if f := readField(l, e); f != nil {
				out.fields = append(out.fields, f)
			}
		case *ast.EmbedDecl:
			id, ok := e.Expr.(*ast.Ident)
			if !ok || !strings.HasPrefix(id.Name, "_") {
				l.errorf(e, "%s: only hidden structs may be embedded; the export closes the struct over an embedded definition", name)
				continue
			}
			out.embeds = append(out.embeds, id.Name)
		case *ast.CommentGroup:
		default:
			l.errorf(e, "%s: %T in a struct (no if, no for, no let, no \"...\")", name, e)
		}
	}
	return out
}

func readField(l *lint, f *ast.Field) *field {
	name, _, err := ast.LabelName(f.Label)
	if err != nil {
		l.errorf(f, "a label that is not a name; maps are written {[string]: ...}")
		return nil
	}
	out := &field{name: name, doc: docOf(f), attrs: readAttrs(l, f), typ: readType(l, f.Value)}
	switch f.Constraint.String() {
	case "!":
		out.required = true
	case "?":
	default:
		l.errorf(f, "%s is neither optional (?) nor required (!)", name)
	}
	if out.doc == "" {
		l.errorf(f, "%s has no comment", name)
	}
	if out.required && out.attrs["default"] != "" {
		l.errorf(f, "%s is required and has a default", name)
	}
	if out.attrs["absent"] != "" && (out.required || out.attrs["default"] != "" || out.typ.ref == "") {
		l.errorf(f, "%s: @absent belongs to an optional struct without a default", name)
	}
	if out.typ.ref != "" && (out.attrs["type"] != "" || out.attrs["form"] != "" || out.attrs["go"] != "") {
		l.errorf(f, "%s: @type, @form and @go belong to the definition it names", name)
	}
	if bounds := out.typ.list; bounds != nil && bounds.Unique && bounds.Max < 0 {
		l.errorf(f, "%s has unique elements and no list.MaxItems: comparing them would have no bound", name)
	}
	if out.typ.patterned() && out.attrs["form"] == "" && out.attrs["type"] == "" {
		l.errorf(f, "%s has a pattern and no @form that says it in words", name)
	}
	return out
}

func readAttrs(l *lint, f *ast.Field) attrs {
	out := attrs{}
	for _, a := range f.Attrs {
		name, body := a.Split()
		if !slices.Contains(knownAttrs, name) {
			l.errorf(a, "unknown attribute @%s", name)
		}
		if strings.HasPrefix(body, `"`) {
			s, err := literal.Unquote(body)
			if err != nil {
				l.errorf(a, "@%s: %v", name, err)
			}
			body = s
		}
		out[name] = body
	}
	return out
}

func (m *model) readPlanned(l *lint, d *ast.Field) {
	for _, group := range structFields(l, d.Value) {
		where, _, _ := ast.LabelName(group.Label)
		for _, f := range structFields(l, group.Value) {
			name, _, _ := ast.LabelName(f.Label)
			lit, ok := f.Value.(*ast.BasicLit)
			if !ok {
				l.errorf(f, "%s: say in a string what it is", name)
				continue
			}
			what, err := literal.Unquote(lit.Value)
			if err != nil {
				l.errorf(f, "%s: %v", name, err)
			}
			m.planned = append(m.planned, planned{where: strings.TrimPrefix(where, "#"), name: name, what: what})
		}
	}
}

func structFields(l *lint, e ast.Expr) []*ast.Field {
	st, ok := e.(*ast.StructLit)
	if !ok {
		l.errorf(e, "not a struct")
		return nil
	}
	var out []*ast.Field
	for _, d := range st.Elts {
		if f, ok := d.(*ast.Field); ok {
			out = append(out, f)
		}
	}
	return out
}

// docOf joins the comment above a field to one line.
func docOf(f *ast.Field) string {
	var lines []string
	for _, g := range ast.Comments(f) {
		if !g.Doc {
			continue
		}
		for _, c := range g.List {
			lines = append(lines, strings.TrimSpace(strings.TrimPrefix(c.Text, "//")))
		}
	}
	return strings.Join(lines, " ")
}

// link resolves embeddings, spreads planned names over the definitions that embed their struct, and checks references.
func (m *model) link(l *lint) {
	var all []planned
	for _, p := range m.planned {
		all = append(all, p)
		for _, d := range m.defs {
			if slices.Contains(d.embeds, p.where) {
				all = append(all, planned{where: d.name, name: p.name, what: p.what})
			}
		}
	}
	m.planned = slices.DeleteFunc(all, func(p planned) bool { return strings.HasPrefix(p.where, "_") })
	for _, d := range m.defs {
		for _, name := range d.embeds {
			if e := m.def(name); e != nil {
				d.fields = append(d.fields, e.fields...)
			} else {
				l.errs = append(l.errs, fmt.Sprintf("%s embeds %s, which does not exist", d.name, name))
			}
		}
	}
	m.defs = slices.DeleteFunc(m.defs, func(d *def) bool { return strings.HasPrefix(d.name, "_") })
	for _, p := range m.planned {
		where, _, _ := strings.Cut(p.where, ".")
		d := m.def(where)
		if d == nil || where == p.where && slices.ContainsFunc(d.fields, func(f *field) bool { return f.name == p.name }) {
			l.errs = append(l.errs, fmt.Sprintf("_planned: %s.%s is built, or its definition does not exist", p.where, p.name))
		}
	}
	for _, d := range m.defs {
		for _, f := range d.fields {
			m.checkRefs(l, d.name+"."+f.name, f.typ)
		}
		if d.typ != nil {
			m.checkRefs(l, d.name, d.typ)
		}
	}
}

func (m *model) checkRefs(l *lint, where string, t *typ) {
	if t.ref != "" && m.def(t.ref) == nil {
		l.errs = append(l.errs, fmt.Sprintf("%s: #%s does not exist", where, t.ref))
	}
	for _, e := range []*typ{t.elem, t.value} {
		if e != nil {
			m.checkRefs(l, where, e)
		}
	}
}
