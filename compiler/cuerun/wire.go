package cuerun

import (
	"fmt"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// The child gets one request on its standard input and answers with one event a line. The first is a greeting: without
// it the program is not one that calls Child.

// request is everything a child is told.
type request struct {
	Limits Limits  `json:"limits"`
	Groups []group `json:"groups"`
}

// event is one line of a child's answer.
type event struct {
	Hello string     `json:"hello,omitempty"`
	Start bool       `json:"start,omitempty"` // the next group begins
	Limit string     `json:"limit,omitempty"` // the current group asked for too much: "cpu", "memory", "output"
	Done  bool       `json:"done,omitempty"`  // the current group has ended, with a root or with problems
	Root  *wireNode  `json:"root,omitempty"`
	Diags []wireDiag `json:"diags,omitempty"`
}

const hello = "gateway-cue/1"

// wirePos is a place: file is an index into the group's files.
type wirePos struct {
	File   int `json:"f"`
	Line   int `json:"l,omitempty"`
	Column int `json:"c,omitempty"`
}

type wireNode struct {
	Kind   schema.Kind `json:"k,omitempty"`
	Pos    wirePos     `json:"p"`
	Width  int         `json:"w,omitempty"`
	Bool   bool        `json:"b,omitempty"`
	Int    int64       `json:"i,omitempty"`
	Float  float64     `json:"d,omitempty"`
	Str    string      `json:"s,omitempty"`
	Items  []*wireNode `json:"a,omitempty"`
	Fields []wireField `json:"m,omitempty"`
}

type wireField struct {
	Name  string    `json:"n"`
	Pos   wirePos   `json:"p"`
	Value *wireNode `json:"v"`
}

type wireDiag struct {
	Code    diag.Code  `json:"code"`
	Pos     wirePos    `json:"pos"`
	Width   int        `json:"width,omitempty"`
	Path    string     `json:"path,omitempty"`
	Message string     `json:"message"`
	Hint    string     `json:"hint,omitempty"`
	Notes   []wireNote `json:"notes,omitempty"`
}

type wireNote struct {
	Pos     wirePos `json:"pos"`
	Message string  `json:"message"`
}

func (g group) place(p wirePos) diag.Pos {
	if p.File < 0 || p.File >= len(g.Files) {
		return g.pos()
	}
	return diag.Pos{File: g.Files[p.File].Path, Line: max(p.Line, 0), Col: max(p.Column, 0)}
}

func (g group) diagnostic(w wireDiag) diag.Diagnostic {
	d := diag.Diagnostic{Code: w.Code, Pos: g.place(w.Pos), Width: w.Width, Path: w.Path, Message: w.Message, Hint: w.Hint}
	for _, n := range w.Notes {
		d.Notes = append(d.Notes, diag.Note{Pos: g.place(n.Pos), Message: n.Message})
	}
	return d
}

// node rebuilds what the child sent, which is not trusted more than a file.
func (g group) node(w *wireNode, depth int, diags *diag.List) (*schema.Node, error) {
	if w == nil || w.Kind > schema.Map || depth > yamlpos.MaxDepth+1 {
		return nil, fmt.Errorf("evaluate CUE: the child sent a value of kind %v, %d deep", w, depth)
	}
	n := &schema.Node{Kind: w.Kind, Pos: g.place(w.Pos), Width: w.Width, Bool: w.Bool, Int: w.Int, Float: w.Float, Str: w.Str}
	if n.Kind == schema.String {
		yamlpos.CheckValue(n, diags)
	}
	for _, it := range w.Items {
		c, err := g.node(it, depth+1, diags)
		if err != nil {
			return nil, err
		}
		n.Items = append(n.Items, c)
	}
	for _, f := range w.Fields {
		c, err := g.node(f.Value, depth+1, diags)
		if err != nil {
			return nil, err
		}
		n.Fields = append(n.Fields, schema.Field{Name: f.Name, Pos: g.place(f.Pos), Value: c})
	}
	return n, nil
}
