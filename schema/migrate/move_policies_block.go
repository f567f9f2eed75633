package migrate

import (
	"bytes"
	"strings"

	"github.com/suuupra/gateway/schema"
)

// moveInBlock does the work where the holder is in block style.
func (h *holder) moveInBlock() ([]byte, error) {
	b := block{text: h.text}
	at := h.list
	if at < 0 {
		at = h.timeout
	}
	first, last := h.spans[0], h.spans[len(h.spans)-1]
	b.copy(0, first.lead, 0)
	for i, s := range h.spans {
		switch {
		case i == at && h.list < 0:
			b.add(h.column(), routePolicy+":")
			b.copy(s.lead, s.end, 2)
		case i == at:
			if err := h.moveList(&b, s); err != nil {
				return nil, err
			}
		case i == h.timeout: // moves to the list
		default:
			b.copy(s.lead, s.end, 0)
		}
	}
	b.copy(last.end, h.text.count(), 0)
	return h.text.finish(b.join()), nil
}

func (h *holder) column() int { return h.node.Fields[0].Pos.Col }

// moveList writes what becomes of the list of policies.
func (h *holder) moveList(b *block, s span) error {
	field := &h.node.Fields[h.list]
	b.copy(s.lead, s.line, 0)
	at, ok := h.text.offset(field.Value.Pos)
	switch {
	case ok && field.Value.Kind == schema.List && h.text.data[at] == '-':
		return h.moveBlockList(b, s)
	case h.inner:
		return h.renameList(b, s)
	}
	return h.spreadList(b, s)
}

// spreadList writes the elements of a list in brackets as entries beside it, each on a line of its own.
func (h *holder) spreadList(b *block, s span) error {
	field := &h.node.Fields[h.list]
	f, err := h.text.flowOf(field.Value)
	if err != nil || f == nil {
		return &rewriteError{field.Pos, "an alias, a tag or an anchor stands for policies"}
	}
	all, err := h.flowEntries(field.Value, f)
	if err != nil {
		return err
	}
	last := h.lineOf(f.close)
	b.note(h.column(), h.text.commentIn(f.close+1, h.text.lines[last+1]))
	for _, g := range groupsOf(all) {
		for _, e := range g {
			h.notes(b, e.gap)
		}
		b.add(h.column(), h.grouped(g, g[0]))
	}
	h.notes(b, f.gap(h.text, len(f.parts)))
	b.copy(last+1, s.end, 0)
	return nil
}

// notes keeps the comments that stood between the elements of a list in brackets.
func (h *holder) notes(b *block, gap string) {
	for line := range strings.SplitSeq(gap, "\n") {
		if i := strings.IndexByte(line, '#'); i >= 0 {
			b.note(h.column(), line[i:])
		}
	}
}

// lineOf is the line of an offset, counted from 0.
func (h *holder) lineOf(at int) int { return bytes.Count(h.text.data[:at], []byte{'\n'}) }

// renameList calls the list "policy" where it is in brackets or null, and puts the timeout into it. Comments of the timeout stay in
// front.
func (h *holder) renameList(b *block, s span) error {
	field := &h.node.Fields[h.list]
	front := ""
	if h.timeout >= 0 {
		t, f := h.spans[h.timeout], &h.node.Fields[h.timeout]
		start, _ := h.text.offset(f.Pos)
		comment := h.text.trailing(f.Value)
		front = strings.TrimRight(string(h.text.data[start:h.text.lines[t.line+1]]), " \t\r\n")
		front = strings.TrimSpace(strings.TrimSuffix(front, comment))
		b.copy(t.lead, t.line, 0)
		b.note(h.column(), comment)
		b.copy(t.line+1, t.end, 0)
	}
	start, end := h.text.lines[s.line], h.text.lines[s.end]
	name, after := h.nameSpan(field)
	head := string(h.text.data[start:name]) + routePolicy
	if field.Value.Kind == schema.Null {
		b.out = append(b.out, head+string(h.text.data[after:end]))
		return nil
	}
	value, f, err := h.flowValue(field.Value, front)
	if err != nil {
		return err
	}
	b.out = append(b.out, head+string(h.text.data[after:f.open])+value+string(h.text.data[f.close+1:end]))
	return nil
}

// nameSpan is where the name of the list begins and ends, quotes included.
func (h *holder) nameSpan(f *schema.Field) (start, end int) {
	start, _ = h.text.offset(f.Pos)
	return start, start + len(h.text.quoteAs(start, f.Name))
}

// moveBlockList writes the elements of a list in block style as entries of a map.
func (h *holder) moveBlockList(b *block, s span) error {
	field := &h.node.Fields[h.list]
	list := field.Value
	items, err := h.text.itemSpans(list, s.line+1, s.end)
	if err != nil {
		return err
	}
	column := h.column()
	start, next := h.text.lines[s.line], h.text.lines[s.line+1]
	name, after := h.nameSpan(field)
	if h.inner {
		b.out = append(b.out, string(h.text.data[start:name])+routePolicy+string(h.text.data[after:next]))
		if column = list.Pos.Col; column == h.column() { // dashes need no indentation, entries do
			column += 2
		}
		if h.timeout >= 0 {
			t := h.spans[h.timeout]
			b.copy(t.lead, t.end, column-h.column())
		}
	} else if i := bytes.IndexByte(h.text.data[after:next], '#'); i >= 0 {
		b.note(column, string(h.text.data[after+i:next]))
	}
	b.copy(s.line+1, items[0].lead, column-list.Pos.Col)
	all := make([]entry, len(items))
	for i, item := range list.Items {
		p, _, err := h.typeOf(item)
		if err != nil {
			return err
		}
		show, err := h.blockEntry(item, items[i], list.Pos.Col)
		if err != nil {
			return err
		}
		all[i] = entry{at: p.at, item: item, show: show}
	}
	for _, g := range groupsOf(all) {
		if len(g[0].at) == 1 {
			g[0].show(b, g[0].at[0], column)
			continue
		}
		b.add(column, g[0].at[0]+":")
		for _, e := range g {
			e.show(b, e.at[1], column+2)
		}
	}
	return nil
}

// blockEntry prepares one element, which stands at a column, to be shown as an entry at another.
func (h *holder) blockEntry(item *schema.Node, s span, from int) (func(b *block, name string, column int), error) {
	if at, ok := h.text.offset(item.Pos); !ok || h.text.data[at] == '&' || h.text.data[at] == '!' {
		return nil, &rewriteError{item.Pos, "a tag or an anchor stands before an element of policies"}
	}
	f, err := h.text.flowOf(item)
	if err != nil {
		return nil, err
	}
	if f != nil {
		body, err := h.flowBody(item, f)
		if err != nil {
			return nil, err
		}
		rest := string(h.text.data[f.close+1 : h.text.lines[s.end]])
		return func(b *block, name string, column int) {
			b.copy(s.lead, s.line, column-from)
			for i, line := range strings.SplitAfter(body+rest, "\n") {
				if i == 0 {
					b.out = append(b.out, strings.Repeat(" ", column-1)+name+": "+line)
				} else if line != "" {
					b.out = append(b.out, shift([]byte(line), column-from))
				}
			}
		}, nil
	}
	fields, err := h.text.fieldSpans(item, s.line, s.end)
	if err != nil {
		return nil, err
	}
	return func(b *block, name string, column int) { h.showEntry(b, item, s, fields, name, column, column-from) }, nil
}

// showEntry writes an element in block style.
func (h *holder) showEntry(b *block, item *schema.Node, s span, fields []span, name string, column, by int) {
	b.copy(s.lead, s.line, by)
	inner := item.Fields[0].Pos.Col + by
	head, comments := name+":", []string{}
	body := 0
	for _, f := range item.Fields {
		switch f.Name {
		case markedType, deleteMark:
			if c := h.text.trailing(f.Value); c != "" {
				comments = append(comments, c)
			}
			if f.Name == deleteMark {
				head += " null"
			}
		default:
			body++
		}
	}
	if body == 0 && !strings.HasSuffix(head, "null") {
		head += " {}"
	}
	if s.line != fields[0].line { // the dash stands alone, perhaps with a comment
		raw := h.text.raw(s.line)
		if c := h.text.commentIn(h.text.lines[s.line]+indent(raw)+1, h.text.lines[s.line+1]); c != "" {
			comments = append([]string{c}, comments...)
		}
	}
	if len(comments) > 0 {
		head += comments[0]
	}
	b.add(column, head)
	for _, c := range comments[min(1, len(comments)):] {
		b.note(inner, c)
	}
	if s.line != fields[0].line {
		b.copy(s.line+1, fields[0].lead, by)
	}
	for i, f := range item.Fields {
		line := fields[i].line
		switch {
		case f.Name == markedType || f.Name == deleteMark:
			if i > 0 || s.line != line {
				b.copy(fields[i].lead, line, by)
			}
			b.copy(line+1, fields[i].end, by)
		case line == s.line: // the dash goes
			raw := string(h.text.raw(line))
			b.out = append(b.out, strings.Repeat(" ", inner-1)+raw[item.Fields[0].Pos.Col-1:])
			b.copy(line+1, fields[i].end, by)
		default:
			b.copy(fields[i].lead, fields[i].end, by)
		}
	}
}
