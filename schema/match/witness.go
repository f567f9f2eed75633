package match

import (
	"net/url"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// sample returns a request that satisfies a route, and no other of its host that does not take every request like it: the
// values of captures and below a subtree are none of the literals written there.
func (t *table) sample(i int) Request {
	m := t.matchers[i]
	r := Request{Method: "GET", Host: sampleHost(m.Host)}
	if len(m.Methods) > 0 {
		r.Method = m.Methods[0]
	}
	if m.Regex != nil {
		r.Path, _ = intersect([]*automaton{mustAutomaton(m.Pattern)}, anyPath{}, maxProductStates)
	} else {
		r.Path = t.samplePath(m.Path, t.roots[m.Host])
	}
	addConditions(&r, m)
	return r
}

func sampleHost(h Host) string {
	switch {
	case h.Any():
		return "example.com"
	case h.Wildcard:
		return "www." + h.Name
	}
	return h.Name
}

func (t *table) samplePath(p Path, n Node) string {
	var b strings.Builder
	for _, s := range p.Segments {
		b.WriteByte('/')
		if s.Capture {
			b.WriteString(t.fresh(n))
			n = t.tree.Capture(n)
		} else {
			b.WriteString(s.Text)
			n = t.tree.Literal(n, s.Text)
		}
	}
	if p.Subtree {
		b.WriteString("/" + t.fresh(n))
	}
	return b.String()
}

// fresh returns a segment that no literal child of a node is written as.
func (t *table) fresh(n Node) string {
	s := "x"
	for t.tree.Literal(n, s) != 0 {
		s += "x"
	}
	return s
}

// addConditions adds the headers and parameters a matcher asks for, unless the request has them.
func addConditions(r *Request, m *Matcher) {
	for _, h := range m.Headers {
		value := h.Value
		at := slices.IndexFunc(r.Headers, func(o ir.Pair) bool { return o.Name == h.Name })
		if value == AnyValue {
			value = "x"
		}
		switch {
		case at < 0:
			r.Headers = append(r.Headers, ir.Pair{Name: h.Name, Value: value})
		case h.Value != AnyValue:
			r.Headers[at].Value = value
		}
	}
	query, err := url.ParseQuery(r.RawQuery)
	if err != nil || len(m.Query) == 0 { // RawQuery is this function's own work
		return
	}
	for _, q := range m.Query {
		switch {
		case q.Value != AnyValue:
			query[q.Name] = []string{q.Value}
		case query[q.Name] == nil:
			query[q.Name] = []string{"x"}
		}
	}
	r.RawQuery = query.Encode()
}
