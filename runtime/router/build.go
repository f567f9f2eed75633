package router

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// Build makes a Router. It fails for a matcher that does not compile and for patterns whose search would be too long
// (match.SlowSearches); ties are the compiler's business, and here the earlier route wins, so that every gateway decides
// alike. The Router keeps strings of the routes, not the routes.
func Build(routes []*ir.Route) (*Router, error) {
	b := builder{
		Router: &Router{
			tree:     match.NewTree(len(routes)),
			exact:    map[string]*hostTable{},
			wildcard: map[string]*hostTable{},
			entries:  make([]entry, 1, len(routes)+1),
			names:    [][]string{nil},
		},
		nameSets: map[string]uint32{},
		compiled: map[string]*regexp.Regexp{},
		crowded:  map[leafAt]int{},
	}
	// Each leaf is a list that grows at its head, so routes go in from the least specific to the most.
	for _, i := range leafOrder(routes) {
		if err := b.add(i, routes[i]); err != nil {
			return nil, fmt.Errorf("build router: route %q: %w", routes[i].ID, err)
		}
	}
	if err := b.checkSearch(); err != nil {
		return nil, fmt.Errorf("build router: %w", err)
	}
	b.divide()
	for _, t := range b.tables() {
		if t.regexes != nil {
			t.regexes.finish()
		}
	}
	return b.Router, nil
}

type builder struct {
	*Router
	nameSets map[string]uint32
	compiled map[string]*regexp.Regexp
	crowded  map[leafAt]int // entries of the leaves that have more than one
	path     []byte
}

// leafOrder returns the indexes of routes so that, of two on the same path, the less specific comes first. match.Compare
// decides the same by all its steps; on one path only these are left.
func leafOrder(routes []*ir.Route) []int {
	order := make([]int, len(routes))
	for i := range order {
		order[i] = len(order) - 1 - i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &routes[i].Match, &routes[j].Match
		hasList := func(m *ir.Match) int { return min(len(m.Methods), 1) }
		return cmp.Or(
			cmp.Compare(hasList(a), hasList(b)),
			cmp.Compare(len(a.Headers), len(b.Headers)),
			cmp.Compare(len(a.Query), len(b.Query)),
			strings.Compare(b.PathRegex, a.PathRegex),
		)
	})
	return order
}

func (b *builder) add(i int, route *ir.Route) error {
	m, err := match.Compile(&route.Match)
	if err != nil {
		return err
	}
	t := b.table(m.Host)
	e := entry{index: uint32(i), methods: anyMethod, more: newConditions(m)}
	if len(m.Methods) > 0 {
		e.methods = 0
		for _, method := range m.Methods {
			e.methods |= methodBit(method)
		}
	}
	at := uint32(len(b.entries))
	if m.Regex != nil {
		if t.regexes == nil {
			t.regexes = newRegexTable()
		}
		re, ok := b.compiled[m.Pattern]
		if !ok {
			re = m.Regex
			b.compiled[m.Pattern] = re
		}
		t.regexes.add(m.Pattern, re, at)
	} else {
		e.names = b.nameSet(m.Path)
		node := b.tree.Insert(t.root, m.Path)
		leaf := b.tree.Leaf(node, m.Path.Subtree)
		if e.next, *leaf = *leaf, at; e.next != 0 {
			b.crowded[leafAt{node, m.Path.Subtree}]++
		}
	}
	b.entries = append(b.entries, e)
	return nil
}

// table returns the routes of a host pattern, empty at first.
func (b *builder) table(h match.Host) *hostTable {
	if h.Any() {
		if b.any == nil {
			b.any = &hostTable{root: b.tree.NewRoot()}
		}
		return b.any
	}
	set := b.exact
	if h.Wildcard {
		set = b.wildcard
		if b.minSuffix == 0 || len(h.Name) < b.minSuffix {
			b.minSuffix = len(h.Name)
		}
		b.maxSuffix = max(b.maxSuffix, len(h.Name))
	}
	t := set[h.Name]
	if t == nil {
		t = &hostTable{root: b.tree.NewRoot()}
		set[h.Name] = t
	}
	return t
}

func (b *builder) tables() []*hostTable {
	var out []*hostTable
	for _, t := range b.exact {
		out = append(out, t)
	}
	for _, t := range b.wildcard {
		out = append(out, t)
	}
	if b.any != nil {
		out = append(out, b.any)
	}
	return out
}

// nameSet returns the number of a pattern's list of capture names, sharing equal lists.
func (b *builder) nameSet(p match.Path) uint32 {
	b.path = b.path[:0]
	for _, s := range p.Segments {
		if s.Capture {
			b.path = append(append(b.path, s.Text...), '/')
		}
	}
	if len(b.path) == 0 {
		return 0
	}
	if n, ok := b.nameSets[string(b.path)]; ok {
		return n
	}
	var names []string
	for _, s := range p.Segments {
		if s.Capture {
			names = append(names, s.Text)
		}
	}
	n := uint32(len(b.names))
	b.names = append(b.names, names)
	b.nameSets[string(b.path)] = n
	return n
}

func (b *builder) checkSearch() error {
	tables := b.tables()
	roots := make([]match.Node, len(tables))
	for i, t := range tables {
		roots[i] = t.root
	}
	for i, visits := range b.tree.Visits(roots) {
		if t := tables[i]; t.regexes != nil {
			visits += t.regexes.worst() * match.ExpressionVisits
		}
		if visits > match.MaxVisits {
			return fmt.Errorf("path patterns of one host may need %d steps for a lookup, the limit is %d", visits, match.MaxVisits)
		}
	}
	return nil
}
