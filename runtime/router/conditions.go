package router

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// conditions are what few routes have besides host, path and standard methods.
type conditions struct {
	methods []string // those without a bit
	headers []ir.Pair
	query   []ir.Pair
}

func newConditions(m *match.Matcher) *conditions {
	c := &conditions{headers: m.Headers, query: m.Query}
	for _, method := range m.Methods {
		if methodBit(method) == 0 {
			c.methods = append(c.methods, method)
		}
	}
	if c.methods == nil && len(c.headers) == 0 && len(c.query) == 0 {
		return nil
	}
	return c
}

// request is what a lookup compares entries with.
type request struct {
	method   string
	bit      methodSet
	rawQuery string
	header   *httpmsg.Header
}

func (e *entry) takesMethod(r *request) bool {
	if e.methods&(r.bit|anyMethod) != 0 {
		return true
	}
	return e.more != nil && r.bit == 0 && slices.Contains(e.more.methods, r.method)
}

// takesRest reports whether headers and query fit. The query is read only if a route asks for it.
func (e *entry) takesRest(r *request) bool {
	if e.more == nil {
		return true
	}
	for i := range e.more.headers {
		if !headerMatches(r.header, &e.more.headers[i]) {
			return false
		}
	}
	for _, q := range e.more.query {
		if !match.QueryMatches(r.rawQuery, q) {
			return false
		}
	}
	return true
}

// headerMatches is the rule of package match on the runtime's header list: present, and every line has the value.
func headerMatches(h *httpmsg.Header, want *ir.Pair) bool {
	if h == nil {
		return false
	}
	found := false
	for i := range h.Fields {
		f := &h.Fields[i]
		if len(f.Name) != len(want.Name) || !strings.EqualFold(f.Name, want.Name) {
			continue
		}
		if want.Value == match.AnyValue {
			return true
		}
		if f.Value != want.Value {
			return false
		}
		found = true
	}
	return found
}
