package migrate

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// text is the bytes of a file and the way from a position to one of them.
type text struct {
	data  []byte
	lines []int // offset of each line, and of the end
	eol   string
	near  cursor
}

// cursor is a place that was asked for.
type cursor struct{ line, col, at int }

// bom is not counted by positions, and stays in front of whatever becomes of the file.
var bom = []byte("\xef\xbb\xbf")

func newText(data []byte) *text {
	t := &text{data: data, eol: "\n"}
	start := 0
	if bytes.HasPrefix(data, bom) {
		start = len(bom)
	}
	t.lines = append(t.lines, start)
	for i := start; i < len(data); i++ {
		if data[i] == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	if i := bytes.IndexByte(data, '\n'); i > 0 && data[i-1] == '\r' {
		t.eol = "\r\n"
	}
	if t.lines[len(t.lines)-1] != len(data) {
		t.lines = append(t.lines, len(data)) // the last line has no end
	}
	return t
}

// count is the number of lines.
func (t *text) count() int { return len(t.lines) - 1 }

// raw is a line, counted from 0, with its end.
func (t *text) raw(i int) []byte { return t.data[t.lines[i]:t.lines[i+1]] }

// offset is the byte at a position, whose column counts runes. It reports false for a position outside the text. It goes on from
// where it was last, so that a long line with many values is walked once and not once per value.
func (t *text) offset(p diag.Pos) (int, bool) {
	if p.Line < 1 || p.Line > t.count() || p.Col < 1 {
		return 0, false
	}
	start, end := t.lines[p.Line-1], t.lines[p.Line]
	if t.near.line != p.Line {
		t.near = cursor{line: p.Line, col: 1, at: start}
	}
	for t.near.col > p.Col {
		_, size := utf8.DecodeLastRune(t.data[start:t.near.at])
		t.near.col--
		t.near.at -= size
	}
	for t.near.col < p.Col && t.near.at < end {
		_, size := utf8.DecodeRune(t.data[t.near.at:end])
		t.near.col++
		t.near.at += size
	}
	return t.near.at, t.near.col == p.Col && t.near.at < end
}

// indent is how many blanks a line begins with.
func indent(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// blank reports whether a line holds nothing.
func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// shift indents a line by more or fewer blanks. Lines without any text stay as they are; those which have fewer blanks than are to
// be taken lose what they have.
func shift(line []byte, by int) string {
	switch {
	case len(bytes.TrimRight(line, "\r\n")) == 0:
		return string(line)
	case by >= 0:
		return strings.Repeat(" ", by) + string(line)
	}
	return string(line[min(-by, indent(line)):])
}

// edit replaces a span of bytes.
type edit struct {
	start, end int
	with       string
}

// edits collects what a conversion changes in place: names and scalars. Nothing is collected by a nil one.
type edits struct {
	text *text
	all  []edit
	err  error // the first thing that was not where it should be
}

// rewriteError says why a file cannot be rewritten in place, although it can be read.
type rewriteError struct {
	pos diag.Pos
	why string
}

func (e *rewriteError) Error() string { return fmt.Sprintf("%s: %s", e.pos, e.why) }

func (e *edits) fail(pos diag.Pos, format string, args ...any) {
	if e.err == nil {
		e.err = &rewriteError{pos, fmt.Sprintf(format, args...)}
	}
}

// rename replaces the name of a field, in the quotes it has.
func (e *edits) rename(f *schema.Field, name string) {
	if e == nil || f.Name == name {
		return
	}
	at, ok := e.text.offset(f.Pos)
	if ok {
		rest := e.text.data[at:]
		if len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'') {
			at, rest = at+1, rest[1:]
		}
		ok = bytes.HasPrefix(rest, []byte(f.Name))
	}
	if !ok {
		e.fail(f.Pos, "the name %s is written with escapes", f.Name)
		return
	}
	e.all = append(e.all, edit{at, at + len(f.Name), name})
}

// set replaces a scalar that stands on one line.
func (e *edits) set(n *schema.Node, with string) {
	if e == nil {
		return
	}
	at, ok := e.text.offset(n.Pos)
	if !ok || n.Width < 1 {
		e.fail(n.Pos, "the value cannot be found")
		return
	}
	end := at
	for range n.Width {
		_, size := utf8.DecodeRune(e.text.data[end:])
		end += size
	}
	e.all = append(e.all, edit{at, end, with})
}

// replace puts other text in place of what a string says, in the quotes it has.
func (e *edits) replace(n *schema.Node, old, with string) {
	if e == nil {
		return
	}
	at, ok := e.text.offset(n.Pos)
	if ok {
		rest := e.text.data[at:]
		if len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'') {
			at, rest = at+1, rest[1:]
		}
		ok = bytes.HasPrefix(rest, []byte(old))
	}
	if !ok {
		e.fail(n.Pos, "the value %s is written with escapes or over several lines", old)
		return
	}
	e.all = append(e.all, edit{at, at + len(old), with})
}

// apply makes the edits. One that is asked for twice, by an alias, is made once; two that differ are an error.
func (e *edits) apply() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	slices.SortFunc(e.all, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	var out []byte
	at := 0
	for i, ed := range e.all {
		if i > 0 && ed == e.all[i-1] {
			continue
		}
		if ed.start < at {
			return nil, &rewriteError{why: "an alias gives one value two meanings"}
		}
		out = append(append(out, e.text.data[at:ed.start]...), ed.with...)
		at = ed.end
	}
	return append(out, e.text.data[at:]...), nil
}
