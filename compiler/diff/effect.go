package diff

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// Effect is what a change does to the requests of one route. It is derived from that route alone: which other route takes
// the requests that this one lets go is not its subject.
type Effect struct {
	Route       string `json:"route"`
	Op          Op     `json:"op"`
	Requests    string `json:"requests"`              // the class of requests, e.g. "GET api.example.com/users/*"
	OldRequests string `json:"oldRequests,omitempty"` // if the route took another class before
	Before      string `json:"before"`
	After       string `json:"after"`

	facets []facet // what Before and After tell, apart; none for a route as a whole
}

// facet is one thing that differs in the way a route serves its requests.
type facet struct{ name, before, after string } // no name: both speak for themselves

// elsewhere is what happens to a request that a route does not take.
const elsewhere = "another route, or 404"

// maxFacets bounds what one line tells; the changes themselves are in the report.
const maxFacets = 5

// effect describes one route; a route that is only renamed has none.
func (d *differ) effect(x delta) []Effect {
	e := Effect{Route: x.obj.ID, Op: x.obj.Op}
	switch x.obj.Op {
	case Renamed:
		return nil
	case Added:
		e.Requests, e.Before, e.After = requests(&x.new.Match), elsewhere, whole(x.new)
	case Removed:
		e.Requests, e.Before, e.After = requests(&x.old.Match), whole(x.old), elsewhere
	default:
		e.Requests = requests(&x.new.Match)
		if old := requests(&x.old.Match); old != e.Requests {
			e.OldRequests = old
		}
		e.facets = facets(x)
		e.Before, e.After = sentence(e.facets)
		if e.Before == "" && e.After == "" { // only the matcher differs
			e.Before, e.After = whole(x.old), whole(x.new)
		}
	}
	return []Effect{e}
}

// requests names the class of requests a matcher takes.
func requests(m *ir.Match) string {
	var b strings.Builder
	if len(m.Methods) == 0 {
		b.WriteString("ANY")
	} else {
		methods := make([]string, len(m.Methods))
		for i, s := range m.Methods {
			methods[i] = bare(s)
		}
		slices.Sort(methods)
		b.WriteString(strings.Join(methods, ","))
	}
	b.WriteByte(' ')
	if m.Host != "" {
		b.WriteString(bare(m.Host))
	}
	if m.PathRegex != "" {
		b.WriteString(" ~ " + bare(m.PathRegex))
	} else {
		b.WriteString(bare(m.Path))
	}
	for _, c := range []struct {
		what  string
		pairs []ir.Pair
	}{{"header", m.Headers}, {"query", m.Query}} {
		list := make([]string, len(c.pairs))
		for i, p := range c.pairs {
			list[i] = " with " + c.what + " " + bare(p.Name) + "=" + bare(p.Value)
		}
		slices.Sort(list)
		b.WriteString(strings.Join(list, ""))
	}
	return strings.ReplaceAll(b.String(), "  ", " ")
}

// whole sums up what a route does with its requests.
func whole(r *ir.Route) string { return targetWords(r) + ", " + authWords(r) }

func targetWords(r *ir.Route) string {
	var b strings.Builder
	if r.Target.Type != "http" {
		b.WriteString(bare(r.Target.Type) + " ")
	}
	if inline(r.Target.Upstream) {
		b.WriteString(bare(urlOf(r.Target.Upstream, r.Tenant)))
	} else {
		b.WriteString("upstream " + bare(r.Target.Upstream))
	}
	return b.String()
}

func authWords(r *ir.Route) string {
	list := mechanisms(r)
	if len(list) == 0 {
		return "auth none"
	}
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = bare(m.name)
	}
	return "auth " + strings.Join(names, "+")
}

// facets says what differs in the way a route serves its requests.
func facets(x delta) []facet {
	var out []facet
	if a, b := targetWords(x.old), targetWords(x.new); a != b {
		out = append(out, facet{before: a, after: b})
	}
	auth := false
	if a, b := authWords(x.old), authWords(x.new); a != b {
		auth = true
		out = append(out, facet{before: a, after: b})
	}
	for i := range x.obj.Changes {
		c := &x.obj.Changes[i]
		switch {
		case c.keys[0] == "matcher":
			continue
		case c.keys[0] == "target" && len(c.keys) == 2 && (c.keys[1] == "url" || c.keys[1] == "upstream" || c.keys[1] == "type"):
			continue
		case auth && c.keys[0] == "policy" && len(c.keys) > 1 && classes[plain(c.keys[1])] == authenticate && c.Op != Changed:
			continue
		case len(out) == maxFacets:
			return append(out, facet{before: andMore, after: andMore})
		}
		a, b := showBoth(c.Old, c.New)
		out = append(out, facet{strings.TrimPrefix(c.Path, "policy."), a, b})
	}
	return out
}

// andMore stands for the facets that are left out.
const andMore = "and more"

// sentence tells each side of the facets in one line.
func sentence(facets []facet) (before, after string) {
	was, now := make([]string, len(facets)), make([]string, len(facets))
	for i, f := range facets {
		was[i], now[i] = strings.TrimSpace(f.name+" "+f.before), strings.TrimSpace(f.name+" "+f.after)
	}
	return strings.Join(was, ", "), strings.Join(now, ", ")
}

func (f facet) String() string {
	switch {
	case f.before == f.after:
		return f.after
	case f.name == "":
		return f.before + " -> " + f.after
	}
	return f.name + ": " + f.before + " -> " + f.after
}

// class names the requests, and those the route took before if they were others.
func (e *Effect) class() string {
	if e.OldRequests != "" {
		return e.OldRequests + " => " + e.Requests
	}
	return e.Requests
}

// String is the effect in one line.
func (e *Effect) String() string {
	class := e.class()
	if e.Before == e.After {
		return class + " : " + e.After
	}
	return class + " : " + e.Before + " -> " + e.After
}
