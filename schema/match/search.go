package match

import (
	"cmp"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// SlowSearch is a host whose path patterns and expressions would make the router's search too long for some paths.
type SlowSearch struct {
	Host   Host
	Visits int // steps a lookup may take in the worst case; more than MaxVisits
	Route  int // a route of that host with the most captures; one of its pathRegex routes if those are too many
}

// SlowSearches returns the hosts whose tree exceeds MaxVisits. The router refuses to be built from such a set, so the
// compiler refuses it first.
func SlowSearches(routes []ir.Route) []SlowSearch {
	t := newTable(routes)
	hosts := make([]Host, 0, len(t.roots))
	for h := range t.roots {
		hosts = append(hosts, h)
	}
	slices.SortFunc(hosts, compareHosts)
	roots := make([]Node, len(hosts))
	for i, h := range hosts {
		roots[i] = t.roots[h]
	}
	var out []SlowSearch
	expressions := t.expressions()
	for i, visits := range t.tree.Visits(roots) {
		n, route := WorstExpressions(expressions[hosts[i]])
		switch cost := n * ExpressionVisits; {
		case visits > MaxVisits:
			out = append(out, SlowSearch{Host: hosts[i], Visits: visits + cost, Route: t.mostCaptures(hosts[i])})
		case visits+cost > MaxVisits:
			out = append(out, SlowSearch{Host: hosts[i], Visits: visits + cost, Route: route})
		}
	}
	return out
}

// ExpressionVisits is how many steps running one pathRegex counts as.
const ExpressionVisits = 8

// ExpressionPlace returns the part of a literal prefix that the router files an expression under: its whole segments.
func ExpressionPlace(prefix string) string { return prefix[:strings.LastIndexByte(prefix, '/')+1] }

// WorstExpressions returns how many pathRegex routes of a host one path may have to be matched against, and one of them.
// routes are theirs by ExpressionPlace; a path meets those of all places that it starts with.
func WorstExpressions(routes map[string][]int) (n, route int) {
	route = -1
	for place, here := range routes {
		sum := 0
		for i := 0; i <= len(place); i++ {
			if i == 0 || place[i-1] == '/' {
				sum += len(routes[place[:i]])
			}
		}
		if sum > n || sum == n && here[0] < route {
			n, route = sum, here[0]
		}
	}
	return n, route
}

// expressions returns the pathRegex routes of each host by place.
func (t *table) expressions() map[Host]map[string][]int {
	out := map[Host]map[string][]int{}
	for i, m := range t.matchers {
		if m == nil || m.Regex == nil {
			continue
		}
		if out[m.Host] == nil {
			out[m.Host] = map[string][]int{}
		}
		place := ExpressionPlace(LiteralPrefix(m.Pattern))
		out[m.Host][place] = append(out[m.Host][place], i)
	}
	return out
}

func (t *table) mostCaptures(h Host) int {
	best, most := -1, -1
	for i, m := range t.matchers {
		if m == nil || m.Host != h {
			continue
		}
		n := 0
		for _, s := range m.Path.Segments {
			n += boolRank(s.Capture)
		}
		if cmp.Compare(n, most) > 0 {
			best, most = i, n
		}
	}
	return best
}
