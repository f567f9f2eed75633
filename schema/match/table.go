package match

import (
	"cmp"
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// table is a set of routes laid out for the proofs about it: by host, and by path within a host.
type table struct {
	matchers []*Matcher // by index of the route; nil for one that does not compile, which has an error of its own
	tree     *Tree
	roots    map[Host]Node
	node     []Node   // where the route's pattern ends; the root of its host for a pathRegex
	next     []uint32 // the next entry of the same leaf, as index + 1
}

func newTable(routes []ir.Route) *table {
	t := &table{
		matchers: make([]*Matcher, len(routes)),
		tree:     NewTree(len(routes)),
		roots:    map[Host]Node{},
		node:     make([]Node, len(routes)),
		next:     make([]uint32, len(routes)),
	}
	for i := range routes {
		m, err := Compile(&routes[i].Match)
		if err != nil {
			continue
		}
		t.matchers[i] = m
		root, ok := t.roots[m.Host]
		if !ok {
			root = t.tree.NewRoot()
			t.roots[m.Host] = root
		}
		t.node[i] = root
		if m.Regex == nil {
			t.node[i] = t.tree.Insert(root, m.Path)
			leaf := t.tree.Leaf(t.node[i], m.Path.Subtree)
			t.next[i], *leaf = *leaf, uint32(i+1)
		}
	}
	return t
}

// rank is all that decides between two routes before their conditions are compared name by name: routes of equal rank tie.
type rank struct {
	node               Node
	regex, subtree     bool
	anyMethod          bool
	headers, parameter int
}

func (t *table) rank(i int) rank {
	m := t.matchers[i]
	return rank{t.node[i], m.Regex != nil, m.Path.Subtree, len(m.Methods) == 0, len(m.Headers), len(m.Query)}
}

func (a rank) compare(b rank) int {
	return cmp.Or(
		cmp.Compare(a.node, b.node),
		cmp.Compare(boolRank(a.regex), boolRank(b.regex)),
		cmp.Compare(boolRank(a.subtree), boolRank(b.subtree)),
		cmp.Compare(boolRank(a.anyMethod), boolRank(b.anyMethod)),
		cmp.Compare(a.headers, b.headers),
		cmp.Compare(a.parameter, b.parameter),
	)
}

// ties returns the groups of at least two routes of equal rank, each in the order of the routes.
func (t *table) ties() [][]int {
	type entry struct {
		rank
		index int
	}
	entries := make([]entry, 0, len(t.matchers))
	for i, m := range t.matchers {
		if m != nil {
			entries = append(entries, entry{t.rank(i), i})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.compare(b.rank), cmp.Compare(a.index, b.index)) })
	var out [][]int
	for start := 0; start < len(entries); {
		end := start + 1
		for end < len(entries) && entries[end].rank == entries[start].rank {
			end++
		}
		if end-start > 1 {
			group := make([]int, 0, end-start)
			for _, e := range entries[start:end] {
				group = append(group, e.index)
			}
			out = append(out, group)
		}
		start = end
	}
	return out
}
