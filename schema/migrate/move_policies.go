package migrate

import (
	"strings"

	"github.com/suuupra/gateway/schema"
)

// holder is the map that holds a list of policies in v1beta1.
type holder struct {
	text  *text
	set   *shape
	node  *schema.Node
	inner bool // in v1 the policies stand under a field of their own: in a route
	flow  *flow
	spans []span // in block style

	list, timeout int // which fields these are, -1 if they are not there
}

// movePolicies makes fields of the elements of policies. In a route it moves them, and the timeout, under "policy".
func movePolicies(t *text, root *schema.Node, o *object) ([]byte, error) {
	h := holder{text: t, set: o.shape.policySet(), node: root, list: -1, timeout: -1}
	h.inner = h.set != nil && h.set != o.shape
	outer := root
	if h.set == nil { // the gateway has them in its defaults, others nowhere
		for _, f := range o.shape.fields {
			if f.shape.holdsPolicies() {
				h.set, h.node = f.shape, root.Get(f.name)
			}
		}
	}
	if h.set == nil || h.node == nil || h.node.Kind != schema.Map || len(h.node.Fields) == 0 {
		return t.data, nil
	}
	for i, f := range h.node.Fields {
		switch def := h.set.byName(f.Name); {
		case f.Name == fieldPolicies:
			h.list = i
		case h.inner && def != nil && !def.shape.closed:
			h.timeout = i
		}
	}
	if h.list < 0 && h.timeout < 0 {
		return t.data, nil
	}
	var err error
	if h.flow, err = t.flowOf(h.node); err != nil {
		return nil, err
	}
	if h.flow != nil {
		return h.moveInFlow()
	}
	if err := h.findSpans(outer); err != nil {
		return nil, err
	}
	return h.moveInBlock()
}

// findSpans finds the lines of the holder's fields: of the root, or of a field of it.
func (h *holder) findSpans(root *schema.Node) error {
	from, to := 0, h.text.rootEnd()
	if h.node != root {
		all, err := h.text.fieldSpans(root, from, to)
		if err != nil {
			return err
		}
		for i, f := range root.Fields {
			if f.Value == h.node {
				from, to = all[i].line+1, all[i].end
			}
		}
	}
	var err error
	h.spans, err = h.text.fieldSpans(h.node, from, to)
	return err
}

// typeOf finds the type of an element. Conversion has found no error, so there is one.
func (h *holder) typeOf(item *schema.Node) (*policyType, *schema.Field, error) {
	f := item.Field(markedType)
	if f != nil {
		for _, p := range h.set.policyTypes() {
			if p.old == f.Value.Text() {
				return &p, f, nil
			}
		}
	}
	return nil, nil, &rewriteError{item.Pos, "an alias stands for an element of policies"}
}

// entry is one policy as v1 has it, in text that is still to be placed.
type entry struct {
	at   []string // its fields, e.g. "auth", "jwt"
	body string   // in brackets: what comes after the name
	gap  string   // in brackets: what stood before it
	show func(b *block, name string, column int)
	item *schema.Node
}

// groupsOf lists entries by their first field, in the order in which these appear.
func groupsOf(all []entry) [][]entry {
	var out [][]entry
next:
	for _, e := range all {
		for i := range out {
			if out[i][0].at[0] == e.at[0] {
				out[i] = append(out[i], e)
				continue next
			}
		}
		out = append(out, []entry{e})
	}
	return out
}

// flowEntries reads the elements of a list in brackets.
func (h *holder) flowEntries(list *schema.Node, f *flow) ([]entry, error) {
	out := make([]entry, len(list.Items))
	for i, item := range list.Items {
		p, _, err := h.typeOf(item)
		if err != nil {
			return nil, err
		}
		inner, err := h.text.flowOf(item)
		if err != nil || inner == nil || inner.open != f.parts[i].start {
			return nil, &rewriteError{item.Pos, "an alias, a tag or an anchor stands for an element of policies"}
		}
		body, err := h.flowBody(item, inner)
		if err != nil {
			return nil, err
		}
		out[i] = entry{at: p.at, body: body, gap: f.gap(h.text, i), item: item}
	}
	return out, nil
}

// flowBody is the value of a policy in brackets: without its type, or null if it is removed.
func (h *holder) flowBody(item *schema.Node, f *flow) (string, error) {
	raw := string(h.text.data[f.open : f.close+1])
	for i, field := range item.Fields {
		switch field.Name {
		case deleteMark:
			if strings.Contains(raw, "#") {
				return "", &rewriteError{field.Pos, "a comment stands in a policy that is removed"}
			}
			return "null", nil
		case markedType:
			e, ok := f.without(h.text, i)
			if !ok {
				return "", &rewriteError{field.Pos, "a comment stands beside the type"}
			}
			raw = string(h.text.data[f.open:e.start]) + string(h.text.data[e.end:f.close+1])
		}
	}
	return raw, nil
}

// quote writes a name as the element at hand writes its own.
func (h *holder) quote(e entry, name string) string {
	at, _ := h.text.offset(e.item.Field(markedType).Pos)
	return h.text.quoteAs(at, name)
}

// inBrackets writes policies one after the other, with what stood between them.
func (h *holder) inBrackets(all []entry) (string, error) {
	var b strings.Builder
	first := map[string]bool{}
	for i, e := range all {
		if first[e.at[0]] { // stands beside the first of its group already
			if strings.Contains(e.gap, "#") {
				return "", &rewriteError{e.item.Pos, "a comment stands before a policy that has to move"}
			}
			continue
		}
		first[e.at[0]] = true
		if i > 0 {
			b.WriteString(e.gap)
		}
		b.WriteString(h.grouped(all, e))
	}
	return b.String(), nil
}

// grouped writes one policy, or all of its group.
func (h *holder) grouped(all []entry, e entry) string {
	if len(e.at) == 1 {
		return h.quote(e, e.at[0]) + ": " + e.body
	}
	var parts []string
	for _, o := range all {
		if o.at[0] == e.at[0] {
			parts = append(parts, h.quote(o, o.at[1])+": "+o.body)
		}
	}
	return h.quote(e, e.at[0]) + ": { " + strings.Join(parts, ", ") + " }"
}

// flowValue writes a list in brackets as the map in brackets that takes its place, with one more entry in front if there is one.
func (h *holder) flowValue(list *schema.Node, front string) (string, *flow, error) {
	f, err := h.text.flowOf(list)
	if err != nil {
		return "", nil, err
	}
	if f == nil {
		return "", nil, &rewriteError{list.Pos, "an alias, a tag or an anchor stands for policies"}
	}
	all, err := h.flowEntries(list, f)
	if err != nil {
		return "", nil, err
	}
	inside, err := h.inBrackets(all)
	if err != nil {
		return "", nil, err
	}
	if len(all) == 0 {
		if front != "" {
			front = " " + front + " "
		}
		return "{" + front + "}", f, nil
	}
	before, after := f.gap(h.text, 0), f.gap(h.text, len(all))
	if front != "" {
		sep := ", "
		if i := strings.LastIndexByte(before, '\n'); i >= 0 {
			sep = "," + h.text.eol + before[i+1:]
		}
		inside = front + sep + inside
		if before == "" {
			before, after = " ", " "
		}
	}
	return "{" + before + inside + after + "}", f, nil
}
