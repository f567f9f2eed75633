// Package diag is the voice in which the compiler speaks about what people wrote: positions, stable codes and
// diagnostics, and the renderers that print them. It must not know what a route is, nor read a file.
package diag

import (
	"cmp"
	"fmt"
	"slices"
)

// Pos is a place in an authored file. Line and Col count from 1, Col in runes; the zero Pos means "nowhere in particular".
type Pos struct {
	File string `json:"file,omitempty"` // slash-separated, relative to the root of the config repository
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// IsValid reports whether p names at least a file.
func (p Pos) IsValid() bool { return p.File != "" }

// String renders file:line:col, leaving out what is not known.
func (p Pos) String() string {
	switch {
	case p.File == "":
		return "-"
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Compare orders positions by file, line and column.
func (p Pos) Compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Severity says whether a diagnostic stops the compilation.
type Severity uint8

// The severities. Error is the zero value: a diagnostic somebody forgot to grade stops the build.
const (
	Error Severity = iota
	Warning
)

// String names the severity as it is printed.
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Code is a stable identifier such as "GW2103". Its meaning never changes; docs/errors.md explains every one.
// 1xxx syntax, 2xxx schema, 3xxx references and overlays, 4xxx semantics across routes, 5xxx policy, 6xxx trust, 7xxx sync.
type Code string

// Note is a further place which takes part in a diagnostic.
type Note struct {
	Pos     Pos
	Message string
}

// Diagnostic is one thing that is wrong, or doubtful, in what somebody wrote.
type Diagnostic struct {
	Severity Severity
	Code     Code
	Pos      Pos
	Width    int    // runes the caret underlines, at least 1
	Path     string // the field as the author spells it, e.g. "routes[3].matcher.path"
	Message  string // what was found and what is allowed; lower case, no final period
	Notes    []Note
	Hint     string // the likely meaning, or how to mend it
	Env      string // the environment in which it shows, empty when it is in the base
	Redact   bool   // the line holds what must not be shown: renderers do not quote it
}

// List is what a stage has to say. The zero value is ready to use.
type List struct{ all []Diagnostic }

// Add appends a diagnostic.
func (l *List) Add(d Diagnostic) { l.all = append(l.all, d) }

// Errorf appends an error without notes or hint.
func (l *List) Errorf(code Code, pos Pos, path, format string, args ...any) {
	l.Add(Diagnostic{Code: code, Pos: pos, Path: path, Message: fmt.Sprintf(format, args...)})
}

// Merge appends everything m holds.
func (l *List) Merge(m List) { l.all = append(l.all, m.all...) }

// Len counts the diagnostics of every severity.
func (l *List) Len() int { return len(l.all) }

// HasErrors reports whether one of them stops the compilation.
func (l *List) HasErrors() bool {
	return slices.ContainsFunc(l.all, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sorted returns them in the order of the files, each thing once.
func (l *List) Sorted() []Diagnostic {
	out := slices.Clone(l.all)
	slices.SortStableFunc(out, func(a, b Diagnostic) int {
		return cmp.Or(a.Pos.Compare(b.Pos), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(out, func(a, b Diagnostic) bool {
		return a.Pos == b.Pos && a.Code == b.Code && a.Message == b.Message
	})
}
