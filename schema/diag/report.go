package diag

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Report is what a renderer prints.
type Report struct {
	Diagnostics []Diagnostic             // in the order in which they are shown
	Source      func(path string) []byte // the bytes of a file, nil if it cannot be had; may be nil
	Version     string                   // of the program that reports
	Files       int                      // how many files were looked at
}

// Errors counts the diagnostics that stop the compilation.
func (r *Report) Errors() int { return r.count(Error) }

// Warnings counts the others.
func (r *Report) Warnings() int { return r.count(Warning) }

func (r *Report) count(s Severity) int {
	n := 0
	for i := range r.Diagnostics {
		if r.Diagnostics[i].Severity == s {
			n++
		}
	}
	return n
}

// line returns the source line a diagnostic points at, without its end.
func (r *Report) line(d *Diagnostic) (string, bool) {
	if r.Source == nil || d.Pos.Line < 1 || d.Redact {
		return "", false
	}
	data := bytes.TrimPrefix(r.Source(d.Pos.File), []byte("\xef\xbb\xbf"))
	for range d.Pos.Line - 1 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return "", false
		}
		data = data[i+1:]
	}
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		data = data[:i]
	}
	return strings.TrimSuffix(string(data), "\r"), len(data) > 0
}

// plain makes text safe to print: what could move a cursor, colour a terminal, reorder what follows or end a line is
// written as an escape. Tabs become one space, so that carets stay below what they mean.
func plain(s string) string {
	if strings.IndexFunc(s, unsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case unsafe(r):
			b.WriteString(escape(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unsafe(r rune) bool {
	return r == utf8.RuneError || !unicode.IsPrint(r) && r != ' '
}

func escape(r rune) string {
	const hex = "0123456789abcdef"
	if r == utf8.RuneError {
		return "?"
	}
	if r < 0x10000 {
		return `\u` + string([]byte{hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]})
	}
	return `\U` + string([]byte{hex[r>>28&15], hex[r>>24&15], hex[r>>20&15], hex[r>>16&15], hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]})
}
