package migrate

import (
	"bytes"
	"strings"

	"github.com/suuupra/gateway/schema"
)

// flow is a map or a list in brackets: JSON, or the flow style of YAML.
type flow struct {
	open, close int // offsets of the brackets
	parts       []part
}

// part is one entry or element, without the blanks, comments and the comma around it.
type part struct{ start, end int }

// flowAt reads the collection whose bracket is at an offset. It reports false if there is none, or it does not end.
func (t *text) flowAt(at int) (*flow, bool) {
	if at >= len(t.data) || t.data[at] != '{' && t.data[at] != '[' {
		return nil, false
	}
	s := flowScanner{data: t.data, at: at, out: flow{open: at}}
	for s.at < len(s.data) {
		if s.step(); s.done {
			return &s.out, true
		}
	}
	return nil, false
}

type flowScanner struct {
	data   []byte
	at     int
	depth  int
	fresh  bool // a scalar may begin here, and with it a quote
	quoted bool // what came last was in quotes
	inPart bool
	done   bool
	out    flow
}

func (s *flowScanner) step() {
	c := s.data[s.at]
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		s.at++
	case c == '#' && s.at > 0 && strings.IndexByte(" \t\r\n", s.data[s.at-1]) >= 0:
		if i := bytes.IndexByte(s.data[s.at:], '\n'); i >= 0 {
			s.at += i
		} else {
			s.at = len(s.data)
		}
	case c == '{' || c == '[':
		if s.depth++; s.depth > 1 {
			s.take(1)
		} else {
			s.at++
		}
		s.fresh, s.quoted = true, false
	case c == '}' || c == ']':
		if s.depth--; s.depth == 0 {
			s.out.close, s.done = s.at, true
			return
		}
		s.take(1)
		s.fresh, s.quoted = false, true // as after a quote: {a: {}:...} does not matter
	case c == ',' && s.depth == 1:
		s.inPart, s.fresh, s.quoted = false, true, false
		s.at++
	case c == ',':
		s.take(1)
		s.fresh, s.quoted = true, false
	case (c == '"' || c == '\'') && s.fresh:
		s.take(quoteEnd(s.data[s.at:]))
		s.fresh, s.quoted = false, true
	case (c == '&' || c == '!') && s.fresh: // a value in quotes may follow
		n := bytes.IndexAny(s.data[s.at:], " \t\r\n,]}")
		s.take(max(n, 1))
	case c == ':':
		next := byte(' ')
		if s.at+1 < len(s.data) {
			next = s.data[s.at+1]
		}
		s.fresh = s.quoted || strings.IndexByte(" \t\r\n,[]{}", next) >= 0
		s.quoted = false
		s.take(1)
	default:
		s.take(1)
		s.fresh, s.quoted = false, false
	}
}

// take counts n bytes to the current part.
func (s *flowScanner) take(n int) {
	if !s.inPart {
		s.out.parts = append(s.out.parts, part{start: s.at})
		s.inPart = true
	}
	s.at = min(s.at+n, len(s.data))
	s.out.parts[len(s.out.parts)-1].end = s.at
}

// quoteEnd is the length of the quoted text at the start of data.
func quoteEnd(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch {
		case data[i] == '\\' && data[0] == '"':
			i++
		case data[i] != data[0]:
		case data[0] == '\'' && i+1 < len(data) && data[i+1] == '\'':
			i++
		default:
			return i + 1
		}
	}
	return len(data)
}

// flowOf reads the collection of a node in brackets, whose parts are its fields or items in their order. It returns nil for one in
// block style, and an error where bytes and nodes do not agree.
func (t *text) flowOf(n *schema.Node) (*flow, error) {
	at, ok := t.offset(n.Pos)
	if !ok {
		return nil, &rewriteError{n.Pos, "the value cannot be found"}
	}
	for t.data[at] == '&' || t.data[at] == '!' { // an anchor stays in front
		skip := bytes.IndexAny(t.data[at:], " \t")
		if skip < 0 {
			return nil, nil
		}
		at += skip + len(t.data[at+skip:]) - len(bytes.TrimLeft(t.data[at+skip:], " \t"))
		if at >= len(t.data) {
			return nil, nil
		}
	}
	f, ok := t.flowAt(at)
	if !ok {
		return nil, nil
	}
	if len(f.parts) != len(n.Fields)+len(n.Items) {
		return nil, &rewriteError{n.Pos, "its entries cannot be told apart"}
	}
	for i := range n.Fields {
		if at, ok := t.offset(n.Fields[i].Pos); !ok || at != f.parts[i].start {
			return nil, &rewriteError{n.Fields[i].Pos, "a tag or an anchor stands before the name"}
		}
	}
	return f, nil
}

// gap is what stands before a part: blanks, comments and the comma.
func (f *flow) gap(t *text, i int) string {
	from := f.open + 1
	if i > 0 {
		from = f.parts[i-1].end
	}
	to := f.close
	if i < len(f.parts) {
		to = f.parts[i].start
	}
	return string(t.data[from:to])
}

// without is the span whose removal takes a part away, and one comma with it. It reports false if a comment would be lost.
func (f *flow) without(t *text, i int) (edit, bool) {
	e := edit{start: f.open + 1, end: f.close}
	switch {
	case i+1 < len(f.parts):
		e.start, e.end = f.parts[i].start, f.parts[i+1].start
	case i > 0:
		e.start, e.end = f.parts[i-1].end, f.parts[i].end
	}
	outside := append(append([]byte{}, t.data[e.start:max(e.start, f.parts[i].start)]...), t.data[f.parts[i].end:e.end]...)
	return e, bytes.IndexByte(outside, '#') < 0
}
