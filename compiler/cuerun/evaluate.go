package cuerun

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/parser"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
)

// imports are the builtin packages a file may use. They compute and have no other effect.
var imports = []string{
	"crypto/sha256", "encoding/base64", "encoding/hex", "encoding/json", "list", "math", "math/bits", "net", "path", "regexp",
	"strconv", "strings", "struct", "time",
}

// refusedAttributes would read files, the environment or the command line.
var refusedAttributes = []string{"embed", "extern", "if", "ignore", "inject", "tag"}

// maxProblems bounds how many problems of one group are reported.
const maxProblems = 50

// evaluate evaluates one group. It runs in the child.
func evaluate(g group, l Limits) (*wireNode, []wireDiag) {
	m := newMapper(g)
	files := parse(g, m)
	if len(m.diags) > 0 {
		return nil, m.diags
	}
	inst := build.NewContext().NewInstance("", nil)
	inst.PkgName = g.Package
	for _, f := range files {
		if err := inst.AddSyntax(f); err != nil {
			m.problem(err, "GW1501")
			return nil, m.diags
		}
	}
	m.index(files)
	v := cuecontext.New().BuildInstance(inst)
	if err := v.Err(); err != nil {
		m.problems(v, err)
		return nil, m.diags
	}
	if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
		m.problems(v, err)
		return nil, m.diags
	}
	e := exporter{mapper: m, left: l.Nodes}
	root := e.node(v, "", 0)
	if len(m.diags) > 0 {
		return nil, m.diags
	}
	return root, nil
}

// parse reads the files of a group and refuses what would reach outside them.
func parse(g group, m *mapper) []*ast.File {
	var files []*ast.File
	for _, wf := range g.Files {
		f, err := parser.ParseFile(wf.Path, wf.Data, parser.ParseComments)
		if err != nil {
			for _, e := range errors.Errors(err) {
				m.problem(e, "GW1501")
			}
			continue
		}
		if name := f.PackageName(); name != g.Package && name != "_" {
			m.add(wireDiag{
				Code: "GW1501", Pos: m.pos(f.Pos()), Message: fmt.Sprintf("the package clause names %q in a place where it is not looked for", name),
				Hint: "write it on the first line that is not a comment",
			})
		}
		checkImports(f, m)
		checkAttributes(f, m)
		files = append(files, f)
	}
	return files
}

func checkImports(f *ast.File, m *mapper) {
	for spec := range f.ImportSpecs() {
		name := strings.Trim(spec.Path.Value, `"`)
		if slices.Contains(imports, name) {
			continue
		}
		m.add(wireDiag{
			Code: "GW1503", Pos: m.pos(spec.Path.Pos()), Width: len(spec.Path.Value),
			Message: fmt.Sprintf("the import %q is not allowed", name),
			Hint:    "packages which only compute are: " + strings.Join(imports, ", "),
		})
	}
}

func checkAttributes(f *ast.File, m *mapper) {
	ast.Walk(f, func(n ast.Node) bool {
		a, ok := n.(*ast.Attribute)
		if !ok {
			return true
		}
		if name, _ := a.Split(); slices.Contains(refusedAttributes, name) {
			m.add(wireDiag{
				Code: "GW1504", Pos: m.pos(a.Pos()), Width: len(name) + 1,
				Message: "the attribute @" + name + " is not allowed, it would read something other than this file",
				Hint:    "write the value into the file",
			})
		}
		return true
	}, nil)
}

// exporter turns a validated value into nodes.
type exporter struct {
	*mapper
	left int // how many more nodes there may be
}

func (e *exporter) node(v cue.Value, name string, depth int) *wireNode {
	if e.left--; e.left < 0 {
		e.once(wireDiag{Code: "GW1507", Message: "the file makes too many values", Hint: "split it"})
		return nil
	}
	if d, ok := v.Default(); ok {
		v = d
	}
	p := e.place(v, name)
	n := &wireNode{Pos: p.value, Width: p.width}
	if depth > yamlpos.MaxDepth {
		e.once(wireDiag{Code: "GW1112", Pos: n.Pos, Message: fmt.Sprintf("values are nested more than %d deep", yamlpos.MaxDepth)})
		return nil
	}
	var err error
	switch v.Kind() {
	case cue.NullKind:
		n.Kind = schema.Null
	case cue.BoolKind:
		n.Kind = schema.Bool
		n.Bool, err = v.Bool()
	case cue.IntKind:
		n.Kind = schema.Int
		if n.Int, err = v.Int64(); err != nil {
			e.refuse(v, n, "GW1104", "the number is out of range, whole numbers must fit 64 bits")
		}
		return n
	case cue.FloatKind, cue.NumberKind:
		n.Kind = schema.Float
		if n.Float, err = v.Float64(); err != nil && !isRounding(n.Float) {
			e.refuse(v, n, "GW1104", "the number is out of range, numbers must fit 64 bits")
		}
		return n
	case cue.StringKind:
		n.Kind = schema.String
		n.Str, err = v.String()
	case cue.ListKind:
		e.list(v, n, depth)
	case cue.StructKind:
		e.fields(v, n, depth)
	default:
		e.refuse(v, n, "GW1506", fmt.Sprintf("config cannot hold a value of type %s", v.Kind()))
	}
	if err != nil {
		e.refuse(v, n, "GW1506", err.Error())
	}
	return n
}

// isRounding reports whether a conversion lost digits only, which is what a float does.
func isRounding(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) && f != 0 }

func (e *exporter) list(v cue.Value, n *wireNode, depth int) {
	n.Kind = schema.List
	it, err := v.List()
	if err != nil {
		e.refuse(v, n, "GW1506", err.Error())
		return
	}
	for it.Next() && e.left >= 0 {
		n.Items = append(n.Items, e.node(it.Value(), "", depth+1))
	}
}

func (e *exporter) fields(v cue.Value, n *wireNode, depth int) {
	n.Kind = schema.Map
	it, err := v.Fields()
	if err != nil {
		e.refuse(v, n, "GW1506", err.Error())
		return
	}
	for it.Next() && e.left >= 0 {
		name := it.Selector().Unquoted()
		n.Fields = append(n.Fields, wireField{Name: name, Pos: e.place(it.Value(), name).key, Value: e.node(it.Value(), name, depth+1)})
	}
}

func (e *exporter) refuse(v cue.Value, n *wireNode, code, message string) {
	e.add(wireDiag{Code: diagCode(code), Pos: n.Pos, Width: n.Width, Path: spell(v.Path().Selectors()), Message: message})
}

// once reports what makes further work pointless.
func (e *exporter) once(d wireDiag) {
	if e.left >= 0 || len(e.diags) == 0 {
		e.add(d)
	}
	e.left = -1
}

// spell writes the way to a value as an author does: routes[3].matcher.path.
func spell(path []cue.Selector) string {
	var b strings.Builder
	for _, s := range path {
		switch {
		case s.LabelType() == cue.IndexLabel:
			fmt.Fprintf(&b, "[%d]", s.Index())
		case b.Len() > 0:
			b.WriteString("." + s.String())
		default:
			b.WriteString(s.String())
		}
	}
	return b.String()
}
