package migrate

import (
	"strings"

	"github.com/suuupra/gateway/schema"
)

// moveInFlow does the work where the holder is in brackets: its list is too.
func (h *holder) moveInFlow() ([]byte, error) {
	e := edits{text: h.text}
	var front string
	if h.timeout >= 0 {
		p := h.flow.parts[h.timeout]
		front = string(h.text.data[p.start:p.end])
		if h.list < 0 {
			e.all = append(e.all, edit{p.start, p.end, h.text.quoteAs(p.start, routePolicy) + ": { " + front + " }"})
			return e.apply()
		}
		if err := h.drop(&e, h.timeout); err != nil {
			return nil, err
		}
	}
	field := &h.node.Fields[h.list]
	p := h.flow.parts[h.list]
	start, end := h.nameSpan(field)
	rename := edit{start, end, h.text.quoteAs(start, routePolicy)}
	if field.Value.Kind == schema.Null {
		e.all = append(e.all, rename)
		return e.apply()
	}
	value, f, err := h.flowValue(field.Value, front)
	if err != nil {
		return nil, err
	}
	switch {
	case h.inner:
		e.all = append(e.all, rename, edit{f.open, f.close + 1, value})
	case len(field.Value.Items) == 0:
		if err := h.drop(&e, h.list); err != nil {
			return nil, err
		}
	default:
		inside := strings.Trim(value[1:len(value)-1], " \t\r\n,")
		if strings.Contains(f.gap(h.text, 0)+f.gap(h.text, len(f.parts)), "#") {
			return nil, &rewriteError{field.Pos, "a comment stands at the edge of policies"}
		}
		e.all = append(e.all, edit{p.start, p.end, inside})
	}
	return e.apply()
}

// drop takes away a field of the holder.
func (h *holder) drop(e *edits, i int) error {
	gone, ok := h.flow.without(h.text, i)
	if !ok {
		return &rewriteError{h.node.Fields[i].Pos, "a comment stands beside a field that has to move"}
	}
	e.all = append(e.all, gone)
	return nil
}
