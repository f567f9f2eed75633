package match

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// Shadow is a route that no request can reach, because more specific routes of the same host take everything it matches.
type Shadow struct {
	Route   int
	By      []int   // those routes; the first takes the witness
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
	var out []Shadow
	for i, m := range t.matchers {
		if m == nil {
			continue
		}
		c := cover{table: t, route: i, m: m}
		by, standard := c.takers()
		if by == nil {
			continue
		}
		s := Shadow{Route: i, Witness: t.sample(i), StandardMethods: standard}
		s.By = by
		if w := t.winner(&s.Witness, t.roots[m.Host]); w >= 0 {
			s.By = append([]int{w}, slices.DeleteFunc(by, func(o int) bool { return o == w })...)
		}
		out = append(out, s)
	}
	return out
}

// cover asks whether more specific routes take all that one route matches.
type cover struct {
	*table
	route   int
	m       *Matcher
	ownLeaf bool // routes at the route's own place that list methods count as more specific
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
	end := c.takes(n, false, method)
	slash := -1
	if child := c.tree.Literal(n, ""); child != 0 {
		slash = c.takes(child, false, method)
	}
	capture := c.tree.Capture(n)
	if end < 0 || slash < 0 || capture == 0 {
		return nil, false
	}
	if i := c.takes(capture, true, method); i >= 0 {
		return []int{i, end, slash}, true
	}
	rest, ok := c.below(capture, method)
	return append(rest, end, slash), ok
}

// takes returns a route at a leaf that takes every request like the route's with a method, or -1.
func (c *cover) takes(n Node, subtree bool, method string) int {
	found := -1
	c.leaf(n, subtree, func(i int) bool {
		o := c.matchers[i]
		own := n == c.node[c.route] && subtree == c.m.Path.Subtree && c.m.Regex == nil
		if own && (len(o.Methods) == 0 || len(c.m.Methods) > 0) {
			return true // the route itself, one it ties with, or one less specific
		}
		takesMethod := len(o.Methods) == 0 || method != otherMethod && slices.Contains(o.Methods, method)
		if takesMethod && implies(c.m.Headers, o.Headers) && implies(c.m.Query, o.Query) {
			found = i
		}
		return found < 0
	})
	return found
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

// winner returns the route with a path pattern of one host that takes a request, or -1.
func (t *table) winner(r *Request, root Node) int {
	var walk func(n Node, rest string, more bool) int
	walk = func(n Node, rest string, more bool) int {
		if more {
			segment, rest, more := strings.Cut(rest, "/")
			for _, child := range t.children(n, segment) {
				if i := walk(child, rest, more); i >= 0 {
					return i
				}
			}
		} else if i := t.bestAt(n, false, r); i >= 0 {
			return i
		}
		return t.bestAt(n, true, r)
	}
	return walk(root, strings.TrimPrefix(r.Path, "/"), true)
}

func (t *table) bestAt(n Node, subtree bool, r *Request) int {
	best := -1
	t.leaf(n, subtree, func(i int) bool {
		if t.matchers[i].Matches(r) && (best < 0 || Compare(t.matchers[i], t.matchers[best]) < 0) {
			best = i
		}
		return true
	})
	return best
}
