package diff

import (
	"reflect"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// taker is a route, ready to be asked which requests it takes.
type taker struct {
	route   *ir.Route
	matcher *match.Matcher
	guarded bool // it asks for a credential
}

// takers are the routes of one side by the one host they are for; "" stands for several.
type takers map[string][]taker

func takersOf(p *ir.Program) takers {
	out := takers{}
	if p == nil {
		return out
	}
	for i := range p.Routes {
		route := &p.Routes[i]
		m, err := match.Compile(&route.Match)
		if err != nil {
			continue // it is reported where it is compiled
		}
		host := ""
		if oneHost(route.Match.Host) {
			host = route.Match.Host
		}
		out[host] = append(out[host], taker{route, m, len(mechanisms(route)) > 0})
	}
	return out
}

// oneHost reports whether a matcher is for a single host.
func oneHost(host string) bool { return host != "" && !strings.HasPrefix(host, "*") }

// of is the route that takes a request, the most specific one; nil: none does.
func (t takers) of(r *match.Request) *taker {
	var best *taker
	hosts := []string{""}
	if r.Host != "" {
		hosts = append(hosts, r.Host)
	}
	for _, host := range hosts {
		for i := range t[host] {
			if g := &t[host][i]; g.matcher.Matches(r) && (best == nil || match.Compare(g.matcher, best.matcher) < 0) {
				best = g
			}
		}
	}
	return best
}

// takersBefore are those of the old side, takersNow those of the new one.
func (d *differ) takersBefore() takers {
	if d.before == nil {
		d.before = takersOf(d.a.program)
	}
	return d.before
}

func (d *differ) takersNow() takers {
	if d.now == nil {
		d.now = takersOf(d.b.program)
	}
	return d.now
}

// carvedOut looks for requests that a new route takes and that a route of the old side took before, which asked for a credential. It
// tries requests that the new route is for: with each of its methods, at the path itself and below it.
func (d *differ) carvedOut(m *ir.Match) (from *ir.Route, request string) {
	now, err := match.Compile(m)
	if err != nil {
		return nil, "" // it is reported where it is compiled
	}
	for _, r := range samples(m) {
		if !now.Matches(&r) {
			continue
		}
		if was := d.takersBefore().of(&r); was != nil && was.guarded && !d.stillGuarded(&r) {
			return was.route, r.Method + " " + r.Host + r.Path
		}
	}
	return d.overtaken(m, now)
}

// overtaken looks the other way: for a guarded route of the old side that the new route goes before, such as one for any host before one
// of a single host with every path. It tries requests that the old route is for, under the host and the conditions of the new one.
func (d *differ) overtaken(m *ir.Match, now *match.Matcher) (from *ir.Route, request string) {
	olds := d.takersBefore()[""]
	if oneHost(m.Host) {
		olds = slices.Concat(d.takersBefore()[m.Host], olds)
	}
	for i := range olds {
		g := &olds[i]
		if !g.guarded || match.Compare(now, g.matcher) >= 0 {
			continue
		}
		asked := g.route.Match
		if oneHost(m.Host) || asked.Host == "" {
			asked.Host = m.Host
		}
		if len(m.Methods) > 0 {
			asked.Methods = m.Methods
		}
		asked.Headers, asked.Query = slices.Concat(asked.Headers, m.Headers), slices.Concat(asked.Query, m.Query)
		for _, r := range samples(&asked) {
			if !now.Matches(&r) {
				continue
			}
			if was := d.takersBefore().of(&r); was != nil && was.route == g.route && !d.stillGuarded(&r) {
				return g.route, r.Method + " " + r.Host + r.Path
			}
		}
	}
	return nil, ""
}

// stillGuarded reports whether a request needs a credential on the new side, whichever route takes it there.
func (d *differ) stillGuarded(r *match.Request) bool {
	now := d.takersNow().of(r)
	return now != nil && now.guarded
}

// fallen looks for requests that a guarded route took, that it does not take any more, and that now fall to another one which asks for no
// credential: whoever narrows a guard, or takes it away, may open what is below it.
func (d *differ) fallen(x delta) (to *ir.Route, request string) {
	if len(mechanisms(x.old)) == 0 || x.new != nil && reflect.DeepEqual(x.old.Match, x.new.Match) {
		return nil, ""
	}
	for _, r := range samples(&x.old.Match) {
		was, now := d.takersBefore().of(&r), d.takersNow().of(&r)
		if was == nil || was.route.ID != x.old.ID || now == nil || now.guarded || x.new != nil && now.route.ID == x.new.ID {
			continue
		}
		return now.route, r.Method + " " + r.Host + r.Path
	}
	return nil, ""
}

// samples are requests that a route may be for.
func samples(m *ir.Match) []match.Request {
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
	for _, h := range m.Headers {
		value := h.Value
		if value == match.AnyValue {
			value = "x"
		}
		headers = append(headers, ir.Pair{Name: h.Name, Value: value})
	}
	var query []string
	for _, q := range m.Query {
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
