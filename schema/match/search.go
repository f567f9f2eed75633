package match

import (
	"cmp"
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// SlowSearch is a host whose path patterns would make the router's search too long for some paths.
type SlowSearch struct {
	Host   Host
	Visits int // nodes a lookup may visit in the worst case; more than MaxVisits
	Route  int // a route of that host with the most captures
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
	for i, visits := range t.tree.Visits(roots) {
		if visits > MaxVisits {
			out = append(out, SlowSearch{Host: hosts[i], Visits: visits, Route: t.mostCaptures(hosts[i])})
		}
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
