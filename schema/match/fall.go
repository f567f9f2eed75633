package match

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// Fall is what becomes of requests that a route would take, but for their method: a more general route takes them.
type Fall struct {
	Route, To int
	Witness   Request // as To takes it
}

// commonMethods are the methods that Falls tries; those that change something come first.
var commonMethods = []string{"POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"}

// maxFallSteps bounds the routes that all searches for falls may look at together: a second or two.
const maxFallSteps = 2_000_000

// Falls returns, for each of some routes of a set, the more general routes that take its requests where they come with a common method
// that it does not list. Of one other route only the first such method is returned. A route of the very same path that lists the method
// is no fall: whoever wrote it had that path in mind. It looks at one path of each route, and not at routes with a pathRegex.
func Falls(routes []ir.Route, of []int) []Fall {
	f := faller{table: newTable(routes)}
	f.regexes = f.expressions()
	var out []Fall
	for _, i := range of {
		m := f.matchers[i]
		if m == nil || m.Regex != nil || len(m.Methods) == 0 || f.steps > maxFallSteps {
			continue
		}
		r := f.sample(i)
		takers := f.takers(&r)
		if f.first(takers, r.Method) != i {
			continue // others take this path before it
		}
		var seen []int
		for _, r.Method = range commonMethods {
			if to := f.first(takers, r.Method); to >= 0 && !slices.Contains(seen, to) && f.isGeneral(to, i) {
				seen = append(seen, to)
				out = append(out, Fall{i, to, r})
			}
		}
	}
	return out
}

// faller finds the routes that could take a request.
type faller struct {
	*table
	regexes map[Host]map[string][]int
	steps   int
}

// takers returns the routes that take a request if its method is theirs, the most specific first.
func (f *faller) takers(r *Request) []int {
	hosts := []Host{{}}
	if r.Host != "" {
		hosts = append(hosts, Host{Name: r.Host})
	}
	for i := 1; i < len(r.Host); i++ {
		if r.Host[i] == '.' {
			hosts = append(hosts, Host{Name: r.Host[i+1:], Wildcard: true})
		}
	}
	var out []int
	for _, h := range hosts {
		root, ok := f.roots[h]
		if !ok {
			continue
		}
		out = f.below(out, root, strings.Split(r.Path[1:], "/"), r)
		for place, here := range f.regexes[h] {
			if strings.HasPrefix(r.Path, place) {
				for _, i := range here {
					out = f.take(out, i, r)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b int) int { return Compare(f.matchers[a], f.matchers[b]) })
	return out
}

// below appends the takers at a node and under it; segments are what is left of the path.
func (f *faller) below(out []int, n Node, segments []string, r *Request) []int {
	out = f.leaf(out, n, true, r)
	if len(segments) == 0 {
		return f.leaf(out, n, false, r)
	}
	for _, child := range f.children(n, segments[0]) {
		out = f.below(out, child, segments[1:], r)
	}
	return out
}

func (f *faller) leaf(out []int, n Node, subtree bool, r *Request) []int {
	for at := *f.tree.Leaf(n, subtree); at != 0; at = f.next[at-1] {
		out = f.take(out, int(at-1), r)
	}
	return out
}

func (f *faller) take(out []int, i int, r *Request) []int {
	if f.steps++; f.matchers[i].MatchesExceptMethod(r) {
		return append(out, i)
	}
	return out
}

// first returns the first of some routes that takes a method, -1 if none does.
func (f *faller) first(takers []int, method string) int {
	if i := slices.IndexFunc(takers, func(i int) bool { return f.matchers[i].takesMethod(method) }); i >= 0 {
		return takers[i]
	}
	return -1
}

// isGeneral reports whether a route is more general than another, and does not just list other methods of the same path.
func (f *faller) isGeneral(i, than int) bool {
	a, b := f.matchers[i], f.matchers[than]
	same := a.Host == b.Host && comparePaths(a, b) == 0
	return Compare(b, a) < 0 && !(same && len(a.Methods) > 0)
}
