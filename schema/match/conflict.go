package match

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// Conflict is two routes that tie at every step, and a request that satisfies both.
type Conflict struct {
	A, B    int // indexes of the routes, A < B
	Witness Request
}

// Conflicts returns the ties in a set of routes, ordered by A and B. Every route that is in a tie takes part in at least
// one of them; of a large group that all tie, not every pair is listed, so that the answer is never longer than about the
// input. Routes that do not compile are left out.
//
// Different regular expressions tie if some path matches both, which is decided exactly (see automaton). Should a set hold
// so many overlapping-looking expressions that this would take too long, the remaining pairs count as different, and
// Compare tells them apart by their text.
func Conflicts(routes []ir.Route) []Conflict {
	f := &finder{table: newTable(routes), reported: make([]bool, len(routes)), budget: conflictBudget}
	for _, group := range f.ties() {
		if f.matchers[group[0]].Regex != nil {
			f.regexes(group)
			continue
		}
		f.path = ""
		f.within(f.items(group))
	}
	slices.SortFunc(f.out, func(a, b Conflict) int { return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B)) })
	return f.out
}

// conflictBudget bounds the states that all searches for overlapping expressions may visit together: a second or two.
const conflictBudget = 2_000_000

// finder looks for pairs with compatible conditions among routes of equal rank. It divides by the values that are asked for
// instead of comparing every pair, so that many routes on one path, told apart by a header, stay cheap.
type finder struct {
	*table
	out      []Conflict
	reported []bool // by route
	path     string // the path of the witness, "" to take one from the pattern
	budget   int
}

// item is a route with one of its methods, as a list of demands.
type item struct {
	route   int
	method  string
	demands []demand
}

// demand is a name that must have one value. "Any value" demands nothing here: it is compatible with every other demand.
type demand struct {
	name  string // "m", or "h" or "q" and the name
	value string
}

func (f *finder) items(group []int) []item {
	var out []item
	for _, i := range group {
		m := f.matchers[i]
		var demands []demand
		for _, h := range m.Headers {
			if h.Value != AnyValue {
				demands = append(demands, demand{"h" + h.Name, h.Value})
			}
		}
		for _, q := range m.Query {
			if q.Value != AnyValue {
				demands = append(demands, demand{"q" + q.Name, q.Value})
			}
		}
		if len(m.Methods) == 0 {
			out = append(out, item{i, "", demands})
		}
		for _, method := range m.Methods {
			out = append(out, item{i, method, append(slices.Clip(demands), demand{"m", method})})
		}
	}
	return out
}

const fewItems = 8 // below which comparing every pair is cheapest

// settled reports whether every route of the items is in a reported tie, so that nothing is left to find among them.
func (f *finder) settled(items []item) bool {
	return !slices.ContainsFunc(items, func(it item) bool { return !f.reported[it.route] })
}

// within reports compatible pairs among items.
func (f *finder) within(items []item) {
	if len(items) <= fewItems {
		for i := range items {
			f.every(items[i:i+1], items[i+1:])
		}
		return
	}
	// Where demands have little in common, nearly every pair ties: neighbours settle most of it.
	for i := 1; i < len(items); i++ {
		f.pair(items[i-1], items[i])
	}
	if f.settled(items) {
		return
	}
	name := commonest(items, items)
	if name == "" {
		f.every(items[:1], items[1:])
		return
	}
	groups, rest := divide(items, name)
	var all []item
	for _, value := range sortedKeys(groups) {
		f.within(groups[value])
		all = append(all, groups[value]...)
	}
	f.within(rest)
	f.across(all, rest)
}

// across reports compatible pairs of an item of a with one of b.
func (f *finder) across(a, b []item) {
	if len(a) == 0 || len(b) == 0 || f.settled(a) && f.settled(b) {
		return
	}
	name := commonest(a, b)
	if len(a)*len(b) <= fewItems*fewItems || name == "" {
		f.every(a, b)
		return
	}
	ga, restA := divide(a, name)
	gb, restB := divide(b, name)
	var allA []item
	for _, value := range sortedKeys(ga) {
		f.across(ga[value], gb[value])
		allA = append(allA, ga[value]...)
	}
	var allB []item
	for _, value := range sortedKeys(gb) {
		allB = append(allB, gb[value]...)
	}
	f.across(allA, restB)
	f.across(restA, allB)
	f.across(restA, restB)
}

// every compares all of a with all of b when they are few; otherwise they are known to be compatible, and each route is
// paired with the first of the other side.
func (f *finder) every(a, b []item) {
	if len(a)*len(b) <= fewItems*fewItems {
		for _, x := range a {
			for _, y := range b {
				f.pair(x, y)
			}
		}
		return
	}
	for _, y := range b {
		f.pair(a[0], y)
	}
	for _, x := range a[1:] {
		f.pair(x, b[0])
	}
}

func (f *finder) pair(x, y item) {
	if x.route == y.route || f.reported[x.route] && f.reported[y.route] || !compatible(f.matchers[x.route], f.matchers[y.route]) {
		return
	}
	if x.method != y.method {
		return
	}
	f.reported[x.route], f.reported[y.route] = true, true
	a, b := min(x.route, y.route), max(x.route, y.route)
	f.out = append(f.out, Conflict{A: a, B: b, Witness: f.witness(a, b, x.method)})
}

func (f *finder) witness(a, b int, method string) Request {
	r := f.sample(a)
	if f.path != "" {
		r.Path = f.path
	}
	r.Method = cmp.Or(method, r.Method)
	addConditions(&r, f.matchers[b])
	return r
}

// compatible reports whether one request can satisfy the headers and parameters of both.
func compatible(a, b *Matcher) bool { return agree(a.Headers, b.Headers) && agree(a.Query, b.Query) }

func agree(a, b []ir.Pair) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Name == y.Name && x.Value != y.Value && x.Value != AnyValue && y.Value != AnyValue {
				return false
			}
		}
	}
	return true
}

// commonest returns the name that most items of both sides have a demand for, "" if no name is on both sides.
func commonest(a, b []item) string {
	ca, cb := countNames(a), countNames(b)
	best := ""
	for name, n := range ca {
		if w := min(n, cb[name]); w > 0 && (best == "" || w > min(ca[best], cb[best]) || w == min(ca[best], cb[best]) && name < best) {
			best = name
		}
	}
	return best
}

func countNames(items []item) map[string]int {
	out := map[string]int{}
	for _, it := range items {
		for _, d := range it.demands {
			out[d.name]++
		}
	}
	return out
}

// divide splits items by the value they demand of a name, and drops the demand.
func divide(items []item, name string) (byValue map[string][]item, rest []item) {
	byValue = map[string][]item{}
	for _, it := range items {
		at := slices.IndexFunc(it.demands, func(d demand) bool { return d.name == name })
		if at < 0 {
			rest = append(rest, it)
			continue
		}
		value := it.demands[at].value
		it.demands = slices.Concat(it.demands[:at], it.demands[at+1:])
		byValue[value] = append(byValue[value], it)
	}
	return byValue, rest
}

func sortedKeys(m map[string][]item) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// expression is the routes of one group that have the same pathRegex.
type expression struct {
	text, prefix string
	routes       []int
	automaton    *automaton
}

// regexes reports ties among routes with a pathRegex: within each expression, and between expressions that overlap. Only
// those whose literal prefixes agree can; sorted by prefix they stand next to each other.
func (f *finder) regexes(group []int) {
	byText := map[string]*expression{}
	var all []*expression
	for _, i := range group {
		text := f.matchers[i].Pattern
		e := byText[text]
		if e == nil {
			e = &expression{text: text, prefix: LiteralPrefix(text)}
			byText[text] = e
			all = append(all, e)
		}
		e.routes = append(e.routes, i)
	}
	slices.SortFunc(all, func(a, b *expression) int {
		return cmp.Or(strings.Compare(a.prefix, b.prefix), strings.Compare(a.text, b.text))
	})
	for i, a := range all {
		if len(a.routes) > 1 {
			f.path, _ = f.overlap(a, a)
			f.within(f.items(a.routes))
		}
		for _, b := range all[i+1:] {
			if !strings.HasPrefix(b.prefix, a.prefix) || f.budget <= 0 {
				break
			}
			if f.path, _ = f.overlap(a, b); f.path != "" {
				f.across(f.items(a.routes), f.items(b.routes))
			}
		}
	}
}

func (f *finder) overlap(a, b *expression) (string, bool) {
	for _, e := range []*expression{a, b} {
		if e.automaton == nil {
			e.automaton = mustAutomaton(e.text)
		}
	}
	w, states, known := intersectCounted([]*automaton{a.automaton, b.automaton}, anyPath{}, min(maxProductStates, f.budget))
	f.budget -= states
	if w != "" && !(regexp.MustCompile(anchored(a.text)).MatchString(w) && regexp.MustCompile(anchored(b.text)).MatchString(w)) {
		return "", false // the engine has the last word
	}
	return w, known
}

// mustAutomaton is for expressions that ParseRegex has accepted.
func mustAutomaton(text string) *automaton {
	prog, err := compileProgram(text)
	if err != nil {
		prog = &syntax.Prog{Inst: []syntax.Inst{{Op: syntax.InstFail}}}
	}
	return newAutomaton(prog)
}
