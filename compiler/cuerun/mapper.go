package cuerun

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/suuupra/gateway/schema/diag"
)

func diagCode(s string) diag.Code { return diag.Code(s) }

// maxMessage bounds a message of CUE, in runes.
const maxMessage = 300

// mapper finds the places in the files of a group that values and errors of CUE stand for, and collects what is wrong.
type mapper struct {
	files  map[string]int   // path to index
	lines  [][][]byte       // of each file
	named  map[wirePos]span // fields, by the place of their name
	valued map[wirePos]span // fields and literals, by the place of their value
	diags  []wireDiag
}

// span is what the source says at one place.
type span struct {
	name       string // of a field, as written
	key, value wirePos
	width      int // of the value
}

func newMapper(g group) *mapper {
	m := &mapper{files: map[string]int{}, named: map[wirePos]span{}, valued: map[wirePos]span{}}
	for i, f := range g.Files {
		m.files[f.Path] = i
		m.lines = append(m.lines, bytes.Split(f.Data, []byte("\n")))
	}
	return m
}

// pos converts a position: CUE counts columns in bytes.
func (m *mapper) pos(p token.Pos) wirePos {
	w, _ := m.known(p)
	return w
}

func (m *mapper) known(p token.Pos) (wirePos, bool) {
	if !p.IsValid() {
		return wirePos{}, false
	}
	at := p.Position()
	i, ok := m.files[at.Filename]
	if !ok {
		return wirePos{}, false
	}
	w := wirePos{File: i, Line: at.Line, Column: at.Column}
	if lines := m.lines[i]; at.Line >= 1 && at.Line <= len(lines) {
		line := lines[at.Line-1]
		w.Column = utf8.RuneCount(line[:min(max(at.Column-1, 0), len(line))]) + 1
	}
	return w, true
}

// index remembers where each field and each literal stands, by both the place of its name and that of its value: CUE
// gives the one or the other depending on how a value came about.
func (m *mapper) index(files []*ast.File) {
	for _, f := range files {
		ast.Walk(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.Field:
				if x.Value == nil {
					break
				}
				s := span{key: m.pos(x.Label.Pos()), value: m.pos(x.Value.Pos()), width: m.width(x.Value)}
				s.name, _, _ = ast.LabelName(x.Label)
				m.named[s.key] = s
				if _, seen := m.valued[s.value]; !seen {
					m.valued[s.value] = s
				}
			case ast.Expr:
				p := m.pos(x.Pos())
				if _, seen := m.valued[p]; !seen && p.Line > 0 {
					m.valued[p] = span{key: p, value: p, width: m.width(x)}
				}
			}
			return true
		}, nil)
	}
}

// width counts the runes of an expression on its first line.
func (m *mapper) width(x ast.Expr) int {
	from, to := x.Pos().Position(), x.End().Position()
	i, ok := m.files[from.Filename]
	if !ok || from.Line < 1 || from.Line > len(m.lines[i]) {
		return 0
	}
	line := bytes.TrimRight(m.lines[i][from.Line-1], "\r")
	end := len(line)
	if to.Line == from.Line {
		end = min(to.Column-1, end)
	}
	start := min(from.Column-1, end)
	if start < 0 {
		return 0
	}
	return utf8.RuneCount(line[start:end])
}

// place finds where the value of the field called name was written; name is "" for an item of a list. A value that several
// places agree on has the place CUE names first. In "a: b: 1" the value of a and the name of b stand in the same place.
func (m *mapper) place(v cue.Value, name string) span {
	p, ok := m.known(v.Pos())
	if !ok {
		return span{}
	}
	if s, ok := m.named[p]; ok && s.name == name {
		return s
	}
	if s, ok := m.valued[p]; ok {
		return s
	}
	return span{key: p, value: p}
}

// problems reports every error of an evaluation.
func (m *mapper) problems(root cue.Value, err error) {
	for _, e := range errors.Errors(err) {
		code := "GW1502"
		if text := e.Error(); strings.Contains(text, "incomplete value") || strings.Contains(text, "required but not present") || strings.Contains(text, "non-concrete") {
			code = "GW1505"
		}
		m.problemAt(e, code, root)
	}
}

func (m *mapper) problem(e errors.Error, code string) { m.problemAt(e, code, cue.Value{}) }

// problemAt reports one error of CUE at the first place it names in these files; the other places are notes.
func (m *mapper) problemAt(e errors.Error, code string, root cue.Value) {
	var places []wirePos
	for _, p := range append([]token.Pos{e.Position()}, e.InputPositions()...) {
		if w, ok := m.known(p); ok && !slices.Contains(places, w) {
			places = append(places, w)
		}
	}
	if path := e.Path(); len(places) == 0 && len(path) > 0 && root.Exists() {
		for n := len(path); n > 0 && len(places) == 0; n-- {
			if w, ok := m.known(root.LookupPath(cue.ParsePath(strings.Join(path[:n], "."))).Pos()); ok {
				places = append(places, w)
			}
		}
	}
	d := wireDiag{Code: diagCode(code), Message: strings.ReplaceAll(strings.TrimSpace(e.Error()), "\n", " "), Path: dotted(e.Path())}
	if rest, ok := strings.CutPrefix(d.Message, strings.Join(e.Path(), ".")+": "); ok {
		d.Message = d.Path + ": " + rest
	}
	if runes := []rune(d.Message); len(runes) > maxMessage {
		d.Message = string(runes[:maxMessage]) + " ..." // CUE prints whole disjunctions
	}
	if code == "GW1505" {
		d.Hint = "give it a concrete value, or hide it in a definition (#name) or a hidden field (_name)"
	}
	for i, p := range places {
		if i == 0 {
			d.Pos, d.Width = p, m.valued[p].width
		} else if i <= 8 {
			d.Notes = append(d.Notes, wireNote{Pos: p, Message: "takes part"})
		}
	}
	m.add(d)
}

// dotted writes a path of CUE as an author does.
func dotted(path []string) string {
	var b strings.Builder
	for i, p := range path {
		if _, err := strconv.Atoi(p); err == nil && i > 0 {
			b.WriteString("[" + p + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	return b.String()
}

func (m *mapper) add(d wireDiag) {
	if len(m.diags) < maxProblems {
		m.diags = append(m.diags, d)
	}
}
