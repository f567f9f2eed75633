package migrate

import (
	"bytes"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
)

// moveObject puts the fields of the object below the key that v1 has for its kind.
func moveObject(t *text, root *schema.Node, o *object) ([]byte, error) {
	f, err := t.flowOf(root)
	if err != nil {
		return nil, err
	}
	if f != nil {
		return moveFlowObject(t, f, root, o)
	}
	return moveBlockObject(t, root, o)
}

// order puts version and kind in front of the other fields, which keep their order.
func order(root *schema.Node) (version, kind int, rest []int) {
	for i, f := range root.Fields {
		switch f.Name {
		case fieldVersion:
			version = i
		case fieldKind:
			kind = i
		default:
			rest = append(rest, i)
		}
	}
	return version, kind, rest
}

// rootEnd is the line after the last one that belongs to the root: comments at the end of the file belong to nobody.
func (t *text) rootEnd() int {
	end := t.count()
	for end > 0 {
		line := t.raw(end - 1)
		if !blank(line) && line[0] != '#' && !bytes.HasPrefix(line, []byte("...")) {
			break
		}
		end--
	}
	return end
}

func moveBlockObject(t *text, root *schema.Node, o *object) ([]byte, error) {
	end := t.rootEnd()
	all, err := t.fieldSpans(root, 0, end)
	if err != nil {
		return nil, err
	}
	version, kind, rest := order(root)
	column := root.Fields[0].Pos.Col
	b := block{text: t}
	b.copy(0, all[0].lead, 0)
	b.copy(all[version].lead, all[version].end, 0)

	k := root.Fields[kind].Value
	b.copy(all[kind].lead, all[kind].line, 0)
	head := o.key + ":"
	switch {
	case len(rest) == 0 && o.list:
		head += " [{}]"
	case len(rest) == 0:
		head += " {}"
	}
	b.add(column, head+t.trailing(k))
	b.copy(all[kind].line+1, all[kind].end, 0)
	for i, r := range rest {
		s := all[r]
		if !o.list {
			b.copy(s.lead, s.end, 2)
			continue
		}
		if i > 0 {
			b.copy(s.lead, s.end, 4)
			continue
		}
		b.copy(s.lead, s.line, 2)
		first := string(t.raw(s.line))
		b.out = append(b.out, first[:column-1]+"  - "+first[column-1:])
		b.copy(s.line+1, s.end, 4)
	}
	b.copy(end, t.count(), 0)
	return t.finish(b.join()), nil
}

// finish puts the byte order mark back in front, and takes the end of the last line away if it had none.
func (t *text) finish(s string) []byte {
	out := append(slices.Clone(t.data[:t.lines[0]]), s...)
	if len(t.data) > 0 && t.data[len(t.data)-1] != '\n' {
		out = bytes.TrimRight(out, "\r\n")
	}
	return out
}

// moveFlowObject does the same with a file in brackets.
func moveFlowObject(t *text, f *flow, root *schema.Node, o *object) ([]byte, error) {
	version, kind, rest := order(root)
	sorted := slices.Concat([]int{version, kind}, rest)
	piece := func(i int) string { p := f.parts[sorted[i]]; return string(t.data[p.start:p.end]) }
	if !slices.IsSorted(sorted) {
		for i := range len(f.parts) + 1 {
			if strings.Contains(f.gap(t, i), "#") {
				return nil, &rewriteError{root.Fields[kind].Pos, "apiVersion and kind do not come first, and there are comments in between"}
			}
		}
	}
	var out strings.Builder
	out.Write(t.data[t.lines[0] : f.open+1])
	out.WriteString(f.gap(t, 0) + piece(0) + f.gap(t, 1) + t.quoteAs(f.parts[kind].start, o.key) + ":")
	open, closing := "{", "}"
	if o.list {
		open, closing = "[{", "}]"
	}
	var body strings.Builder
	for i := range rest {
		if i > 0 {
			body.WriteString(f.gap(t, i+2))
		}
		body.WriteString(piece(i + 2))
	}
	tail := f.gap(t, len(f.parts))
	out.WriteString(t.enclose(body.String(), f.gap(t, min(2, len(f.parts))), open, closing))
	out.WriteString(tail)
	out.Write(t.data[f.close:])
	return t.finish(strings.TrimSuffix(out.String(), t.eol) + t.eol), nil
}

// enclose puts brackets around the fields of an object. Gap is what stood before the first of them: it says whether they stand on
// lines of their own, and may hold comments, which stay in front.
func (t *text) enclose(body, gap, open, closing string) string {
	if body == "" {
		return " " + open + closing
	}
	comma := strings.IndexByte(gap, ',')
	gap = gap[comma+1:]
	newline := strings.LastIndexByte(gap, '\n')
	if newline < 0 {
		return " " + open + " " + body + " " + closing
	}
	in := gap[newline+1:]
	var b strings.Builder
	if strings.Contains(gap, "#") {
		b.WriteString(gap)
	} else {
		b.WriteByte(' ')
	}
	deeper := len(open) * 2
	for i := range len(open) {
		b.WriteString(open[i:i+1] + t.eol + in + strings.Repeat("  ", i+1))
	}
	for i, line := range strings.SplitAfter(body, "\n") {
		if i > 0 {
			line = shift([]byte(line), deeper)
		}
		b.WriteString(line)
	}
	for i := range len(closing) {
		b.WriteString(t.eol + in + strings.Repeat("  ", len(closing)-1-i) + closing[i:i+1])
	}
	return b.String()
}

// quoteAs writes a name in quotes if the one at an offset is.
func (t *text) quoteAs(at int, name string) string {
	if c := t.data[at]; c == '"' || c == '\'' {
		return string(c) + name + string(c)
	}
	return name
}
