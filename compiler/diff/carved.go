package diff

import (
	"strings"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// taker is a route of the old side, ready to be asked which requests it took.
type taker struct {
	route   *ir.Route
	matcher *match.Matcher
}

// carvedOut looks for requests that a new route takes and that a route of the old side took before, which asked for a credential. It
// tries requests that the new route is for: with each of its methods, at the path itself and below it.
func (d *differ) carvedOut(m *ir.Match) (from *ir.Route, request string) {
	now, err := match.Compile(m)
	if err != nil {
		return nil, "" // it is reported where it is compiled
	}
	for _, r := range samples(m, now) {
		if !now.Matches(&r) {
			continue
		}
		if was := d.tookBefore(&r); was != nil && len(mechanisms(was)) > 0 {
			return was, r.Method + " " + r.Host + r.Path
		}
	}
	return nil, ""
}

// tookBefore is the route of the old side that took a request, the most specific one.
func (d *differ) tookBefore(r *match.Request) *ir.Route {
	if d.a.program == nil {
		return nil
	}
	if d.before == nil {
		d.before = []taker{}
		for i := range d.a.program.Routes {
			route := &d.a.program.Routes[i]
			if m, err := match.Compile(&route.Match); err == nil {
				d.before = append(d.before, taker{route, m})
			}
		}
	}
	var best *taker
	for i := range d.before {
		g := &d.before[i]
		if g.matcher.Matches(r) && (best == nil || match.Compare(g.matcher, best.matcher) < 0) {
			best = g
		}
	}
	if best == nil {
		return nil
	}
	return best.route
}

// samples are requests that a route may be for.
func samples(m *ir.Match, now *match.Matcher) []match.Request {
	methods := m.Methods
	if len(methods) == 0 {
		methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	}
	host := strings.Replace(m.Host, "*", "www", 1)
	var paths []string
	base, subtree := strings.CutSuffix(m.Path, "/*")
	var b strings.Builder
	for segment := range strings.SplitSeq(strings.TrimPrefix(base, "/"), "/") {
		b.WriteByte('/')
		if strings.HasPrefix(segment, "{") {
			segment = "x"
		}
		b.WriteString(segment)
	}
	if m.Path != "" {
		paths = append(paths, b.String())
		if subtree {
			paths = append(paths, strings.TrimSuffix(b.String(), "/")+"/x")
		}
	}
	var headers []ir.Pair
	for _, h := range now.Headers {
		value := h.Value
		if value == match.AnyValue {
			value = "x"
		}
		headers = append(headers, ir.Pair{Name: h.Name, Value: value})
	}
	var query []string
	for _, q := range now.Query {
		value := q.Value
		if value == match.AnyValue {
			value = "x"
		}
		query = append(query, q.Name+"="+value)
	}
	var out []match.Request
	for _, path := range paths {
		for _, method := range methods {
			out = append(out, match.Request{Method: method, Host: host, Path: path, RawQuery: strings.Join(query, "&"), Headers: headers})
		}
	}
	return out
}
