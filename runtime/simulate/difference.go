package simulate

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Way is how a decision differs between what serves and what might.
type Way string

// The ways, gravest first.
const (
	DenyToAllow   Way = "deny_to_allow"  // it was refused, and would pass
	AllowToDeny   Way = "allow_to_deny"  // it passed, and would be refused
	OtherUpstream Way = "other_upstream" // it would go elsewhere
	OtherRequest  Way = "other_request"  // the upstream would see another path or query
	OtherLimit    Way = "other_limit"    // it would be counted otherwise
	OtherRefusal  Way = "other_refusal"  // it would be refused otherwise
)

// Ways are all of them, gravest first.
func Ways() []Way {
	return []Way{DenyToAllow, AllowToDeny, OtherUpstream, OtherRequest, OtherLimit, OtherRefusal}
}

// ShadowReport is what a Shadow has found.
type ShadowReport struct {
	Since    time.Time         `json:"since"`
	Requests int64             `json:"requests"` // that were judged
	Dropped  int64             `json:"dropped"`  // that came faster than they could be
	Ways     map[Way]int64     `json:"ways"`     // how many differ, by the way they do
	Routes   []RouteDifference `json:"routes"`   // that differ, by id
}

// Differences is how many requests differ in any way.
func (r *ShadowReport) Differences() int64 {
	var n int64
	for _, count := range r.Ways {
		n += count
	}
	return n
}

// RouteDifference is what differs on one route: the one that serves the request, or would if none does.
type RouteDifference struct {
	Route     string        `json:"route"` // empty: none takes them
	Ways      map[Way]int64 `json:"ways"`
	Witnesses []Difference  `json:"witnesses"` // some of the requests
}

// Difference is one request that would be decided otherwise. Its query and header are not kept: there may be secrets in them.
type Difference struct {
	Way    Way       `json:"way"`
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Host   string    `json:"host"`
	Path   string    `json:"path"`
	Before Outcome   `json:"before"`
	After  Outcome   `json:"after"`
}

// Outcome is what one side makes of a request.
type Outcome struct {
	Text  string   `json:"text"`           // e.g. "401 token_missing by auth.jwt on route users"
	Route string   `json:"route"`          //
	Pos   diag.Pos `json:"pos,omitzero"`   // of what decided, where somebody wrote it
	Code  string   `json:"code,omitempty"` // of the refusal
}

// wayOf compares two decisions; empty: they are the same.
func wayOf(a, b *runtime.Decision) Way {
	allowed := func(d *runtime.Decision) bool { return d.Status < 400 }
	switch {
	case allowed(a) && !allowed(b):
		return AllowToDeny
	case !allowed(a) && allowed(b):
		return DenyToAllow
	case !allowed(a):
		if a.Status != b.Status || a.Code != b.Code {
			return OtherRefusal
		}
	case a.Own != b.Own || a.Upstream != b.Upstream || a.Status != b.Status:
		return OtherUpstream
	case a.Path != b.Path, a.Target != b.Target:
		return OtherRequest
	case !slices.EqualFunc(a.Limits, b.Limits, sameLimit):
		return OtherLimit
	}
	return ""
}

// sameLimit compares what a request is counted in, not how much of it is left.
func sameLimit(a, b policy.Limited) bool {
	return a.ID == b.ID && a.Quota == b.Quota && a.Window == b.Window
}

// differ notes a request.
func (s *Shadow) differ(way Way, g *glimpse, d *[2]runtime.Decision) {
	id := cmp.Or(d[0].Route, d[1].Route)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routes[id]
	if r == nil {
		r = &RouteDifference{Route: id, Ways: map[Way]int64{}}
		s.routes[id] = r
	}
	if r.Ways[way]++; r.Ways[way] > shadowWitness {
		return
	}
	path, _, _ := strings.Cut(g.request.Target, "?")
	r.Witnesses = append(r.Witnesses, Difference{
		Way: way, Time: g.request.Received.UTC(), Method: short(g.request.Method), Host: short(g.request.Host), Path: short(path),
		Before: s.sides[0].outcome(&d[0]), After: s.sides[1].outcome(&d[1]),
	})
}

// short bounds what a client has sent, and keeps it printable.
func short(text string) string {
	if len(text) > shadowText {
		text = text[:shadowText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, text)
}

func (s *side) outcome(d *runtime.Decision) Outcome {
	out := Outcome{Route: d.Route, Code: d.Code, Pos: behind(s.program, d)}
	switch {
	case d.Own:
		out.Text = "answered by the gateway itself"
	case d.Status == 0:
		out.Text = "to " + d.Upstream
	case d.Code != "":
		out.Text = fmt.Sprintf("%d %s", d.Status, d.Code)
	default:
		out.Text = fmt.Sprintf("%d %s", d.Status, http.StatusText(d.Status))
	}
	if d.Policy != "" {
		out.Text += " by " + d.Policy
	}
	if d.Route != "" {
		out.Text += " on route " + d.Route
	}
	return out
}

// behind is the line behind a decision: of the policy that took it, or of the route.
func behind(p *ir.Program, d *runtime.Decision) diag.Pos {
	root := "routes/" + d.Route
	for at := "policy." + d.Policy; d.Policy != "" && at != "policy"; at = at[:strings.LastIndexByte(at, '.')] {
		if pos, ok := p.Origins[root+"/"+at]; ok {
			return pos
		}
	}
	if pos, ok := p.Origins[root]; ok {
		return pos
	}
	return p.Origins[root+"/"]
}

// Report is what was found until now.
func (s *Shadow) Report() *ShadowReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &ShadowReport{Since: s.report.Since, Requests: s.seen.Load(), Dropped: s.dropped.Load(), Ways: map[Way]int64{}, Routes: []RouteDifference{}}
	for _, r := range s.routes {
		copied := RouteDifference{Route: r.Route, Ways: map[Way]int64{}, Witnesses: slices.Clone(r.Witnesses)}
		for way, n := range r.Ways {
			copied.Ways[way] = n
			out.Ways[way] += n
		}
		out.Routes = append(out.Routes, copied)
	}
	slices.SortFunc(out.Routes, func(a, b RouteDifference) int { return cmp.Compare(a.Route, b.Route) })
	return out
}
