package match

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// Shadow is a route that no request can reach, because more specific routes of the same host take everything it matches.
type Shadow struct {
	Route   int
	By      []int   // those routes; the first is one that takes the witness from Route
	Witness Request // satisfies Route
	// StandardMethods is set if Route takes any method and the others only list all the standard ones between them: a
	// request with a method of its own invention would still reach it.
	StandardMethods bool
}

// Shadowed returns the unreachable routes of a set, in its order. For path patterns the answer is complete: a route is
// listed exactly if the paths, methods and conditions of more specific routes leave nothing over (routes that only tie are
// Conflicts' business). A pathRegex is listed if a subtree pattern takes everything below its literal prefix, or if it is a
// plain literal that a pattern takes.
//
// A pattern without "/*" can only be shadowed on its own path: whatever is more specific elsewhere has a literal where it
// has a capture, and no number of literals exhausts a capture.
func Shadowed(routes []ir.Route) []Shadow {
	t := newTable(routes)
	places := t.places()
	var out []Shadow
	for i, m := range t.matchers {
		if m == nil {
			continue
		}
		c := cover{table: t, places: places, route: i, m: m}
		by, standard := c.takers()
		if by == nil {
			continue
		}
		s := Shadow{Route: i, Witness: t.sample(i), StandardMethods: standard}
		slices.SortFunc(by, func(a, b int) int {
			takes := func(i int) int { return boolRank(!t.matchers[i].Matches(&s.Witness)) }
			return cmp.Or(cmp.Compare(takes(a), takes(b)), Compare(t.matchers[a], t.matchers[b]))
		})
		s.By = by
		out = append(out, s)
	}
	return out
}

// cover asks whether more specific routes take all that one route matches.
type cover struct {
	*table
	places map[place]int
	route  int
	m      *Matcher
	// demandSets is what demandsBelow returns, once it was asked.
	demandSets []string
	ownLeaf    bool // routes at the route's own place that list methods count as more specific
}

// otherMethod stands for a method that no route lists.
const otherMethod = ""

// takers returns the routes that cover the route, nil if they do not.
func (c *cover) takers() (by []int, standard bool) {
	if len(c.m.Methods) > 0 {
		return c.allMethods(c.m.Methods), false
	}
	if by = c.allMethods([]string{otherMethod}); by != nil {
		return by, false
	}
	c.ownLeaf = true
	return c.allMethods(standardMethods), true
}

func (c *cover) allMethods(methods []string) []int {
	var by []int
	for _, method := range methods {
		more, ok := c.method(method)
		if !ok {
			return nil
		}
		for _, i := range more {
			if !slices.Contains(by, i) {
				by = append(by, i)
			}
		}
	}
	return by
}

// method returns the routes that take all of the route's paths with one method.
func (c *cover) method(method string) ([]int, bool) {
	n := c.node[c.route]
	switch {
	case c.m.Regex != nil:
		i := c.prefix(n, LiteralPrefix(c.m.Pattern), method)
		return []int{i}, i >= 0
	case c.ownLeaf:
		if i := c.takes(n, c.m.Path.Subtree, method); i >= 0 {
			return []int{i}, true
		}
	}
	if !c.m.Path.Subtree {
		return nil, false
	}
	return c.below(n, method)
}

// below returns the routes that take, between them, the path that ends at a node, the same with a trailing slash, and
// everything under it.
func (c *cover) below(n Node, method string) ([]int, bool) {
	end, slash := c.takes(n, false, method), -1
	if child := c.tree.Literal(n, ""); child != 0 {
		slash = c.takes(child, false, method)
	}
	capture := c.tree.Capture(n)
	if n == c.roots[c.m.Host] {
		end = slash // no path ends before its first slash
	}
	if end < 0 || slash < 0 || capture == 0 {
		return nil, false
	}
	if i := c.takes(capture, true, method); i >= 0 {
		return []int{i, end, slash}, true
	}
	rest, ok := c.below(capture, method)
	return append(rest, end, slash), ok
}

// takes returns a route at a leaf that takes every request like the route's with a method, or -1. Such a route demands
// nothing that the route does not, so it is found by looking up what it may demand instead of trying all that are there.
func (c *cover) takes(n Node, subtree bool, method string) int {
	own := n == c.node[c.route] && subtree == c.m.Path.Subtree && c.m.Regex == nil // asked only if the route lists no methods
	for _, demands := range c.demandsBelow() {
		if i, ok := c.places[place{n, subtree, method, demands}]; ok && !(own && len(c.matchers[i].Methods) == 0) {
			return i
		}
		if i, ok := c.places[place{n, subtree, otherMethod, demands}]; ok && !own {
			return i
		}
	}
	return -1
}

// place is where a route stands, to the last of its demands. Of several at one place any is as good as another: they tie.
type place struct {
	node    Node
	subtree bool
	method  string // otherMethod for a route that takes any
	demands string
}

// places returns the routes with a path pattern by place.
func (t *table) places() map[place]int {
	out := make(map[place]int, len(t.matchers))
	for i, m := range t.matchers {
		if m == nil || m.Regex != nil {
			continue
		}
		p := place{node: t.node[i], subtree: m.Path.Subtree, demands: demandText(m.Headers, m.Query)}
		if len(m.Methods) == 0 {
			out[p] = i
		}
		for _, p.method = range m.Methods {
			out[p] = i
		}
	}
	return out
}

func demandText(headers, query []ir.Pair) string {
	if len(headers)+len(query) == 0 {
		return ""
	}
	parts := make([]string, 0, len(headers)+len(query))
	for _, h := range headers {
		parts = append(parts, demandPart("h", h))
	}
	for _, q := range query {
		parts = append(parts, demandPart("q", q))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func demandPart(kind string, p ir.Pair) string {
	return kind + strconv.Quote(p.Name) + strconv.Quote(p.Value)
}

// maxDemands bounds the combinations that demandsBelow makes: three to the power of it.
const maxDemands = 6

// demandsBelow returns the texts of all sets of demands that the route's own imply: each of them is there, or there for any
// value, or not there. Beyond maxDemands, what is left over is taken as not there or as it is, all together; so a route
// with that many conditions may be called reachable when it is not, never the reverse.
func (c *cover) demandsBelow() []string {
	if c.demandSets == nil {
		sets := [][]string{nil}
		var rest []string
		add := func(kind string, p ir.Pair, n int) {
			exact, anyValue := demandPart(kind, p), demandPart(kind, ir.Pair{Name: p.Name, Value: AnyValue})
			if n >= maxDemands {
				rest = append(rest, exact)
				return
			}
			for _, set := range sets {
				sets = append(sets, append(slices.Clip(set), exact))
				if exact != anyValue {
					sets = append(sets, append(slices.Clip(set), anyValue))
				}
			}
		}
		for n, h := range c.m.Headers {
			add("h", h, n)
		}
		for n, q := range c.m.Query {
			add("q", q, len(c.m.Headers)+n)
		}
		if rest != nil {
			for _, set := range sets {
				sets = append(sets, slices.Concat(set, rest))
			}
		}
		for _, set := range sets {
			slices.Sort(set)
			c.demandSets = append(c.demandSets, strings.Join(set, ","))
		}
	}
	return c.demandSets
}

// prefix looks for a subtree that holds every path which starts with a literal prefix.
func (c *cover) prefix(n Node, prefix, method string) int {
	if i := c.takes(n, true, method); i >= 0 {
		return i
	}
	segment, rest, whole := strings.Cut(strings.TrimPrefix(prefix, "/"), "/")
	if !whole || !strings.HasPrefix(prefix, "/") {
		if path, all := wholeLiteral(c.m.Pattern); all && strings.HasSuffix(path, prefix) {
			return c.last(n, segment, method)
		}
		return -1
	}
	for _, child := range c.children(n, segment) {
		if i := c.prefix(child, "/"+rest, method); i >= 0 {
			return i
		}
	}
	return -1
}

// last is prefix for the last segment of an expression that is a plain literal.
func (c *cover) last(n Node, segment, method string) int {
	for _, child := range c.children(n, segment) {
		for _, subtree := range []bool{false, true} {
			if i := c.takes(child, subtree, method); i >= 0 {
				return i
			}
		}
	}
	return -1
}

// children returns the nodes that a segment leads to, the more specific first.
func (t *table) children(n Node, segment string) []Node {
	var out []Node
	if child := t.tree.Literal(n, segment); child != 0 {
		out = append(out, child)
	}
	if child := t.tree.Capture(n); child != 0 && segment != "" {
		out = append(out, child)
	}
	return out
}
