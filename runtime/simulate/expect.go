package simulate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// Mismatch is one expectation that was not met.
type Mismatch struct {
	Pos      diag.Pos `json:"pos"`
	Field    string   `json:"field"` // below expect, such as "status" or "headers.Retry-After"
	Expected string   `json:"expected"`
	Got      string   `json:"got"`
}

// judge compares what came of the last exchange with what a step expects.
type judge struct {
	w     *world
	c     *Case
	step  int // whose expectation it is
	found []Mismatch
}

// at is the path of a field of the expectation.
func (j *judge) at(field string) string { return fmt.Sprintf("requests[%d].expect%s", j.step, field) }

// judge returns what a step expected in vain.
func (w *world) judge(c *Case, step int) []Mismatch {
	j := &judge{w: w, c: c, step: step}
	e, out := &c.spec.Requests[step].Expect, &w.out
	if e.Status != nil {
		from, to := e.Status.Span()
		if s := int64(out.status); s < from || s > to {
			j.miss("status", string(*e.Status), strconv.Itoa(out.status))
		}
	}
	j.text("code", e.Code, w.trace.code)
	j.text("route", e.Route, w.trace.route)
	j.text("upstream", e.Upstream, w.trace.upstream)
	j.headers("", e.Headers, e.Absent, out.values)
	if e.Body != "" {
		j.text("body", e.Body, string(out.body))
	}
	j.reached(e)
	return j.found
}

func (j *judge) miss(field, expected, got string) {
	j.found = append(j.found, Mismatch{Pos: j.place(field), Field: field, Expected: expected, Got: got})
}

// place is where a field of the expectation stands. A name with a dot in it is found by its parent.
func (j *judge) place(field string) diag.Pos {
	n := j.c.node.At(j.at(""))
	for part, rest, more := strings.Cut(field, "."); n.Get(part) != nil; part, rest, more = strings.Cut(rest, ".") {
		if n = n.Get(part); !more {
			break
		}
		if f := n.Field(rest); f != nil { // the name of a header may have dots
			return f.Value.Pos
		}
	}
	return n.Pos
}

// absent is how a report says that there is nothing.
const absent = "nothing"

// text compares a text that is expected, if one is.
func (j *judge) text(field, want, got string) {
	if want == "" || want == got {
		return
	}
	shown := absent
	if got != "" {
		shown = quote(got)
	}
	j.miss(field, quote(want), shown)
}

// quote shows a text in a report, shortened.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q and %d bytes more", s[:most], len(s)-most)
	}
	return strconv.Quote(s)
}

// headers compares fields; values returns those of a name.
func (j *judge) headers(prefix string, want map[string]string, unwanted []string, values func(name string) []string) {
	for _, name := range sortedKeys(want) {
		have := values(name)
		switch v := want[name]; {
		case len(have) == 0:
			expected := quote(v)
			if v == "*" {
				expected = "any value"
			}
			j.miss(prefix+"headers."+name, expected, absent)
		case v != "*" && !slices.Contains(have, v):
			shown := make([]string, len(have))
			for i := range have {
				shown[i] = quote(have[i])
			}
			j.miss(prefix+"headers."+name, quote(v), strings.Join(shown, " and "))
		}
	}
	for i, name := range unwanted {
		if have := values(name); len(have) > 0 {
			j.found = append(j.found, Mismatch{
				Pos: j.c.place(j.at(fmt.Sprintf(".%sabsent[%d]", prefix, i))), Field: prefix + "absent", Expected: "no " + name, Got: quote(have[0]),
			})
		}
	}
}

// reached compares what an upstream got.
func (j *judge) reached(e *v1.TestExpectation) {
	n := j.w.network
	n.mu.Lock()
	defer n.mu.Unlock()
	got := &n.got
	if e.Reached != nil && *e.Reached != (got.attempts > 0) {
		j.miss("reached", strconv.FormatBool(*e.Reached), strconv.FormatBool(got.attempts > 0))
	}
	f := e.Forwarded
	if f == nil {
		return
	}
	if got.attempts == 0 {
		j.miss("forwarded", "a request that reaches an upstream", absent)
		return
	}
	h := &got.head
	j.text("forwarded.method", f.Method, h.Method)
	j.text("forwarded.host", f.Host, h.Authority)
	if f.Path != "" {
		path := h.Target
		if !strings.Contains(f.Path, "?") {
			path = pathOf(path)
		}
		if path != strings.TrimSuffix(f.Path, "?") {
			j.miss("forwarded.path", quote(f.Path), quote(path))
		}
	}
	fields := httpmsg.Header{Fields: h.Fields}
	j.headers("forwarded.", f.Headers, f.Absent, fields.Values)
	if f.Body != "" {
		j.text("forwarded.body", f.Body, string(got.body))
	}
}
