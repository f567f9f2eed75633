package main

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// typ is the type of a field or a definition. Either ref names a definition, or the members say what is allowed in each
// kind, as in shape.Shape.
type typ struct {
	ref    string
	bool   bool
	number *shape.Number
	text   *shape.Text
	elem   *typ // of a list
	list   *shape.List
	keys   *regexp.Regexp // of a map
	value  *typ
}

func (t *typ) patterned() bool { return t.text != nil && t.text.Pattern != nil || t.keys != nil }

// readType reads an expression of the subset.
func readType(l *lint, e ast.Expr) *typ {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return readType(l, e.X)
	case *ast.Ident:
		return readIdent(l, e)
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			if s, err := literal.Unquote(e.Value); err == nil {
				return &typ{text: &shape.Text{Enum: []string{s}, MaxLen: -1}}
			}
		}
	case *ast.UnaryExpr:
		return readBound(l, e)
	case *ast.CallExpr:
		return readCall(l, e)
	case *ast.ListLit:
		if len(e.Elts) == 1 {
			if rest, ok := e.Elts[0].(*ast.Ellipsis); ok && rest.Type != nil {
				return &typ{elem: readType(l, rest.Type), list: &shape.List{Max: -1}}
			}
		}
	case *ast.StructLit:
		return readMap(l, e)
	case *ast.BinaryExpr:
		a, b := readType(l, e.X), readType(l, e.Y)
		switch e.Op {
		case token.AND:
			return both(l, e, a, b)
		case token.OR:
			return either(l, e, a, b)
		}
	}
	l.errorf(e, "an expression the export does not keep (see the comment on package v1)")
	return &typ{}
}

func readIdent(l *lint, e *ast.Ident) *typ {
	low, high := math.Inf(-1), math.Inf(1)
	switch {
	case strings.HasPrefix(e.Name, "#"):
		return &typ{ref: e.Name[1:]}
	case e.Name == "bool":
		return &typ{bool: true}
	case e.Name == "int", e.Name == "number":
		return &typ{number: &shape.Number{Integer: e.Name == "int", Min: low, Max: high}}
	case e.Name == "string":
		return &typ{text: &shape.Text{MaxLen: -1}}
	}
	l.errorf(e, "%s is not a type of the subset", e.Name)
	return &typ{}
}

func readBound(l *lint, e *ast.UnaryExpr) *typ {
	lit, ok := e.X.(*ast.BasicLit)
	if !ok {
		l.errorf(e, "a bound that is not a literal")
		return &typ{}
	}
	switch e.Op {
	case token.MAT:
		s, err := literal.Unquote(lit.Value)
		if err == nil {
			var re *regexp.Regexp
			if re, err = regexp.Compile(s); err == nil {
				return &typ{text: &shape.Text{Pattern: re, MaxLen: -1}}
			}
		}
		l.errorf(e, "pattern: %v", err)
	case token.GEQ, token.LEQ:
		n, err := strconv.ParseFloat(strings.ReplaceAll(lit.Value, "_", ""), 64)
		if err != nil {
			l.errorf(e, "bound: %v", err)
		}
		b := &shape.Number{Min: math.Inf(-1), Max: math.Inf(1)}
		if e.Op == token.GEQ {
			b.Min = n
		} else {
			b.Max = n
		}
		return &typ{number: b}
	default:
		l.errorf(e, "%s: only >=, <= and =~ are kept alike by both sides", e.Op)
	}
	return &typ{}
}

func readCall(l *lint, e *ast.CallExpr) *typ {
	name := ""
	if sel, ok := e.Fun.(*ast.SelectorExpr); ok {
		pkg, _ := sel.X.(*ast.Ident)
		fn, _, _ := ast.LabelName(sel.Sel)
		if pkg != nil {
			name = pkg.Name + "." + fn
		}
	}
	n := -1
	if len(e.Args) == 1 {
		if lit, ok := e.Args[0].(*ast.BasicLit); ok {
			n, _ = strconv.Atoi(lit.Value)
		}
	}
	switch {
	case name == "list.UniqueItems" && len(e.Args) == 0:
		return &typ{list: &shape.List{Max: -1, Unique: true}}
	case n < 0:
	case name == "strings.MinRunes":
		return &typ{text: &shape.Text{MinLen: n, MaxLen: -1}}
	case name == "strings.MaxRunes":
		return &typ{text: &shape.Text{MaxLen: n}}
	case name == "list.MinItems":
		return &typ{list: &shape.List{Min: n, Max: -1}}
	case name == "list.MaxItems":
		return &typ{list: &shape.List{Max: n}}
	}
	l.errorf(e, "a call outside the subset")
	return &typ{}
}

func readMap(l *lint, e *ast.StructLit) *typ {
	if len(e.Elts) == 1 {
		if f, ok := e.Elts[0].(*ast.Field); ok {
			if list, ok := f.Label.(*ast.ListLit); ok && len(list.Elts) == 1 {
				keys := readType(l, list.Elts[0])
				if keys.text != nil && keys.text.MinLen == 0 && keys.text.MaxLen < 0 && keys.text.Enum == nil {
					return &typ{keys: keys.text.Pattern, value: readType(l, f.Value)}
				}
			}
		}
	}
	l.errorf(e, "a struct in place: give it a definition, so that its type has a name")
	return &typ{}
}

// both reads a conjunction: constraints on one kind.
func both(l *lint, e ast.Expr, a, b *typ) *typ {
	switch {
	case a.ref != "" || b.ref != "" || a.value != nil || b.value != nil || a.bool || b.bool:
	case a.number != nil && b.number != nil && a.text == nil && b.text == nil:
		n := &shape.Number{
			Integer: a.number.Integer || b.number.Integer,
			Min:     math.Max(a.number.Min, b.number.Min), Max: math.Min(a.number.Max, b.number.Max),
		}
		if n.Min > n.Max {
			l.errorf(e, "bounds between which no value lies")
		}
		return &typ{number: n}
	case a.text != nil && b.text != nil && a.number == nil && b.number == nil && a.text.Enum == nil && b.text.Enum == nil:
		if a.text.Pattern != nil && b.text.Pattern != nil {
			break // two patterns have no single explanation
		}
		t := &shape.Text{Pattern: a.text.Pattern, MinLen: max(a.text.MinLen, b.text.MinLen), MaxLen: lower(a.text.MaxLen, b.text.MaxLen)}
		if t.Pattern == nil {
			t.Pattern = b.text.Pattern
		}
		return &typ{text: t}
	case a.list != nil && b.list != nil && (a.elem == nil || b.elem == nil):
		t := &typ{elem: a.elem, list: &shape.List{
			Min: max(a.list.Min, b.list.Min), Max: lower(a.list.Max, b.list.Max), Unique: a.list.Unique || b.list.Unique,
		}}
		if t.elem == nil {
			t.elem = b.elem
		}
		return t
	}
	l.errorf(e, "a conjunction outside the subset: only bounds of one kind may be joined")
	return &typ{}
}

func lower(a, b int) int {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// either reads a union: an enumeration of strings, or types that differ in kind.
func either(l *lint, e ast.Expr, a, b *typ) *typ {
	switch {
	case a.text != nil && b.text != nil && a.text.Enum != nil && b.text.Enum != nil:
		return &typ{text: &shape.Text{Enum: append(a.text.Enum, b.text.Enum...), MaxLen: -1}}
	case a.ref == "" && b.ref == "" && a.kinds()&b.kinds() == 0:
		u := &typ{bool: a.bool || b.bool, number: cmp.Or(a.number, b.number), text: cmp.Or(a.text, b.text)}
		u.list, u.elem = a.list, a.elem
		if b.list != nil {
			u.list, u.elem = b.list, b.elem
		}
		u.keys, u.value = a.keys, a.value
		if b.value != nil {
			u.keys, u.value = b.keys, b.value
		}
		return u
	}
	l.errorf(e, "a union outside the subset: strings, or types that differ in kind")
	return &typ{}
}

// kinds says which kinds a value may be of, a bit for each.
func (t *typ) kinds() (set int) {
	for i, is := range []bool{t.bool, t.number != nil, t.text != nil, t.list != nil, t.value != nil} {
		if is {
			set |= 1 << i
		}
	}
	return set
}

// shapeOf says in terms of package shape what the syntax says; the export must say the same.
func shapeOf(t *typ) *shape.Shape {
	if t.ref != "" {
		return &shape.Shape{Name: t.ref}
	}
	s := &shape.Shape{Bool: t.bool, Number: t.number, Text: t.text}
	if t.list != nil {
		l := *t.list
		l.Elem = shapeOf(t.elem)
		s.List = &l
	}
	if t.value != nil {
		s.Map = &shape.Map{Keys: t.keys, Value: shapeOf(t.value)}
	}
	return s
}
