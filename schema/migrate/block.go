package migrate

import (
	"bytes"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// span is the lines of one entry of a map, or one element of a list, in block style, counted from 0. What stands between two entries
// belongs to the first, but for the comments right above the second.
type span struct {
	lead int // the first comment right above
	line int // the entry itself
	end  int // after its last line
}

// spans finds the lines of entries that begin on the given lines at a column, in a part of the text.
func (t *text) spans(begin []int, column, from, to int) []span {
	out := make([]span, len(begin))
	for i, line := range begin {
		out[i] = span{lead: line, line: line, end: to}
		if i > 0 {
			from = begin[i-1] + 1
		}
		for out[i].lead > from && t.comment(out[i].lead-1, column) {
			out[i].lead--
		}
		if i > 0 {
			out[i-1].end = out[i].lead
		}
	}
	return out
}

// comment reports whether a line is a comment that begins at a column.
func (t *text) comment(line, column int) bool {
	raw := t.raw(line)
	in := indent(raw)
	return in == column-1 && in < len(raw) && raw[in] == '#'
}

// fieldSpans finds the lines of the fields of a map in block style. The first may stand behind something else on its line.
func (t *text) fieldSpans(n *schema.Node, from, to int) ([]span, error) {
	begin := make([]int, len(n.Fields))
	for i := range n.Fields {
		f := &n.Fields[i]
		begin[i] = f.Pos.Line - 1
		at, ok := t.offset(f.Pos)
		if !ok || i > 0 && (f.Pos.Col != n.Fields[0].Pos.Col || !blank(t.data[t.lines[begin[i]]:at])) {
			return nil, &rewriteError{f.Pos, "a tag or an anchor stands before the name"}
		}
	}
	return t.spans(begin, n.Fields[0].Pos.Col, from, to), nil
}

// itemSpans finds the lines of the elements of a list in block style, each of which begins with a dash.
func (t *text) itemSpans(n *schema.Node, from, to int) ([]span, error) {
	begin := make([]int, len(n.Items))
	for i, item := range n.Items {
		at, ok := t.offset(item.Pos)
		if !ok {
			return nil, &rewriteError{item.Pos, "the value cannot be found"}
		}
		line := item.Pos.Line - 1
		before := t.data[t.lines[line]:at]
		for line > from && (blank(before) || bytes.TrimSpace(before)[0] == '#') {
			line--
			before = t.raw(line)
		}
		in := indent(before)
		if rest := bytes.TrimSpace(before); in != n.Pos.Col-1 || len(rest) == 0 || rest[0] != '-' || len(rest) > 1 && t.commentIn(t.lines[line]+in+1, t.lines[line+1]) == "" {
			return nil, &rewriteError{item.Pos, "an alias, a tag or an anchor stands for an element of the list"}
		}
		begin[i] = line
	}
	return t.spans(begin, n.Pos.Col, from, to), nil
}

// trailing is the comment behind a plain or quoted word, with the blanks before it, or "".
func (t *text) trailing(n *schema.Node) string {
	last, ok := t.offset(diag.Pos{Line: n.Pos.Line, Col: n.Pos.Col + n.Width - 1})
	if !ok || n.Width < 1 {
		return ""
	}
	return t.commentIn(last+1, t.lines[n.Pos.Line])
}

// commentIn is a comment that is all there is in a part of a line, with the blanks before it, or "".
func (t *text) commentIn(from, to int) string {
	rest := bytes.TrimRight(t.data[from:to], " \t\r\n")
	if comment := bytes.TrimLeft(rest, " \t"); len(comment) == 0 || comment[0] != '#' || len(comment) == len(rest) {
		return ""
	}
	return string(rest)
}

// block builds lines.
type block struct {
	text *text
	out  []string
}

// copy adds lines of the text, shifted.
func (b *block) copy(from, to, by int) {
	for i := from; i < to; i++ {
		b.out = append(b.out, shift(b.text.raw(i), by))
	}
}

// add adds a line at a column.
func (b *block) add(column int, s string) {
	b.out = append(b.out, strings.Repeat(" ", column-1)+s+b.text.eol)
}

// note keeps a comment whose line goes away.
func (b *block) note(column int, comment string) {
	if comment = strings.TrimSpace(comment); comment != "" {
		b.add(column, comment)
	}
}

// join makes text of lines, each of which ends, but for the last if the whole text did not.
func (b *block) join() string {
	var s strings.Builder
	for _, line := range b.out {
		s.WriteString(line)
		if !strings.HasSuffix(line, "\n") {
			s.WriteString(b.text.eol)
		}
	}
	return s.String()
}
