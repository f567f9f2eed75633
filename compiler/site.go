package compiler

import (
	"fmt"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// site is an object under judgement: it turns the names of fields, as the author spells them, into places.
type site struct {
	node  *schema.Node // nil where the author wrote nothing
	path  string
	diags *diag.List
}

// find returns the node of a field below the site, by a dotted name, or the innermost one on the way to it that exists.
func (s site) find(field string) *schema.Node {
	n := s.node
	for name := range strings.SplitSeq(field, ".") {
		next := n.Get(name)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// has reports whether the author wrote the field.
func (s site) has(field string) bool {
	n := s.node
	for name := range strings.SplitSeq(field, ".") {
		if n = n.Get(name); n == nil {
			return false
		}
	}
	return true
}

// report adds a diagnostic at a field; the note points at the fields it contradicts, those among them that were written.
func (s site) report(sev diag.Severity, code diag.Code, field, hint string, against []string, message string) {
	at := s.find(field)
	d := diag.Diagnostic{Severity: sev, Code: code, Pos: at.Pos, Width: max(at.Width, 1), Path: join(s.path, field), Message: message, Hint: hint}
	for _, other := range against {
		if s.has(other) {
			d.Notes = append(d.Notes, diag.Note{Pos: s.find(other).Pos, Message: other + " is here"})
		}
	}
	s.diags.Add(d)
}

// contradicts reports two settings that cannot both hold.
func (s site) contradicts(field, other, hint, format string, args ...any) {
	s.report(diag.Error, "GW3040", field, hint, []string{other}, fmt.Sprintf(format, args...))
}

// idle reports a setting that changes nothing.
func (s site) idle(field, other, hint, format string, args ...any) {
	s.report(diag.Warning, "GW3041", field, hint, []string{other}, fmt.Sprintf(format, args...))
}

// needs reports a setting that does nothing without another one.
func (s site) needs(field, hint, format string, args ...any) {
	s.report(diag.Error, "GW3042", field, hint, nil, fmt.Sprintf(format, args...))
}
