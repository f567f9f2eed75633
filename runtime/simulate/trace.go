package simulate

import (
	"slices"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

// verdictStep is what one policy decided about a request.
type verdictStep struct {
	policy string
	said   string // "pass", "answer", or the code of its refusal
}

// trace is what became of the exchange under way, beside its answer.
type trace struct {
	route    string
	upstream string
	code     string // of the refusal; "" if there was none, or if it came before a route was looked for
	answered bool   // by a policy, or by an upstream
	steps    []verdictStep
}

func (t *trace) reset() { *t = trace{steps: t.steps[:0]} }

// passes notes that a request passes through a route.
func (w *world) passes(route string) {
	w.trace.route = route
	w.marks.mark(w.points.route(route), markPassed)
}

// decided notes what a policy decided.
func (w *world) decided(kind string, point int, v policy.Verdict) {
	said, mark := "pass", markAsked|markPassed
	switch {
	case v.Reject != nil:
		said, mark = v.Reject.Code, markAsked|markRefused
		w.trace.code = said
	case v.Response != nil:
		said, mark = "answer", markAsked|markRefused
		w.trace.answered = true
	}
	w.trace.steps = append(w.trace.steps, verdictStep{kind, said})
	w.marks.mark(point, mark)
}

// served notes what became of a request at its target.
func (w *world) served(x *policy.Exchange, reject *policy.Reject) {
	w.trace.upstream = x.Upstream
	if w.trace.answered = reject == nil; reject != nil {
		w.trace.code = reject.Code
	}
}

// What happened at a point, as bits.
const (
	markAsked = 1 << iota
	markPassed
	markRefused
)

// points numbers everything that tests can reach: the routes, and the policies of each.
type points struct {
	all []point
	of  map[point]int
}

// point is a route, or one of its policies.
type point struct{ route, policy string }

func pointsOf(p *ir.Program) *points {
	out := &points{of: map[point]int{}}
	add := func(pt point) {
		out.of[pt] = len(out.all)
		out.all = append(out.all, pt)
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		add(point{r.ID, ""})
		for j := range r.Policies {
			add(point{r.ID, r.Policies[j].Kind})
		}
	}
	return out
}

func (p *points) len() int { return len(p.all) }

func (p *points) route(id string) int { return p.policy(id, "") }

// policy is the number of a policy; -1 if there is none.
func (p *points) policy(route, kind string) int {
	if at, ok := p.of[point{route, kind}]; ok {
		return at
	}
	return -1
}

// marks are what happened at each point in a case. Only what was touched is looked at between cases.
type marks struct {
	bits    []uint8
	touched []int
}

func newMarks(n int) marks { return marks{bits: make([]uint8, n)} }

func (m *marks) mark(at, bits int) {
	if at < 0 {
		return
	}
	if m.bits[at] == 0 {
		m.touched = append(m.touched, at)
	}
	m.bits[at] |= uint8(bits)
}

func (m *marks) reset() {
	for _, at := range m.touched {
		m.bits[at] = 0
	}
	m.touched = m.touched[:0]
}

// reach is one touched point of a case.
type reach struct {
	at   int
	bits uint8
}

// taken returns what was touched, in order.
func (m *marks) taken() []reach {
	out := make([]reach, len(m.touched))
	for i, at := range m.touched {
		out[i] = reach{at, m.bits[at]}
	}
	slices.SortFunc(out, func(a, b reach) int { return a.at - b.at })
	return out
}
