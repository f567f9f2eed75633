package match

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// randomRoutes makes routes from so small a vocabulary that they collide often.
func randomRoutes(rng *rand.Rand, n int, regexes bool) []ir.Route {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	out := make([]ir.Route, n)
	for i := range out {
		m := ir.Match{Host: pick("", "", "a.com", "*.a.com", "*.b.a.com")}
		var p strings.Builder
		for d := range rng.IntN(4) {
			p.WriteString(pick("/a", "/a", "/b", fmt.Sprintf("/{c%d}", d)))
		}
		p.WriteString(pick("", "", "/", "/*"))
		if m.Path = p.String(); m.Path == "" {
			m.Path = "/"
		}
		if regexes && rng.IntN(5) == 0 {
			m.Path, m.PathRegex = "", pick("/a/.*", "/a/[ab]", "/a", "/b/?", "/(a|b)/(a|b)", "(?i)/A/b", "/.*", "/a/b.+", "^/b$")
		}
		for _, method := range []string{"GET", "POST", "PROPFIND"} {
			if rng.IntN(4) == 0 {
				m.Methods = append(m.Methods, method)
			}
		}
		if rng.IntN(8) == 0 {
			m.Methods = slices.Clone(standardMethods)
		}
		for _, name := range []string{"x-a", "x-b"} {
			if rng.IntN(4) == 0 {
				m.Headers = append(m.Headers, ir.Pair{Name: name, Value: pick("1", "2", "*")})
			}
			if rng.IntN(6) == 0 {
				m.Query = append(m.Query, ir.Pair{Name: name, Value: pick("1", "2", "*")})
			}
		}
		out[i] = ir.Route{ID: fmt.Sprintf("r%03d", i), Match: m}
	}
	return out
}

func compileAll(t testing.TB, routes []ir.Route) []*Matcher {
	t.Helper()
	out := make([]*Matcher, len(routes))
	for i := range routes {
		m, err := Compile(&routes[i].Match)
		if err != nil {
			t.Fatalf("%+v: %v", routes[i].Match, err)
		}
		out[i] = m
	}
	return out
}

// TestConflictsAgainstEveryPair compares with the definition: a tie at every step, and a request that satisfies both.
func TestConflictsAgainstEveryPair(t *testing.T) {
	found := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		routes := randomRoutes(rng, 2+rng.IntN(120), false)
		if seed%6 == 0 { // one path, and too few ties to settle everything early
			for i := range routes {
				m := &routes[i].Match
				m.Host, m.Path = "", "/a"
				m.Headers, m.Query = []ir.Pair{{Name: "x-a", Value: fmt.Sprint(rng.IntN(90))}, {Name: "x-b", Value: fmt.Sprint(rng.IntN(90))}}, nil
				m.Headers[rng.IntN(2)].Value = "*"
				m.Methods = standardMethods[i%9 : i%9+1]
			}
		}
		ms := compileAll(t, routes)
		want := map[int]bool{}
		pairs := map[[2]int]bool{}
		for i := range ms {
			for j := i + 1; j < len(ms); j++ {
				if Compare(ms[i], ms[j]) == 0 && somethingMatchesBoth(ms[i], ms[j]) {
					want[i], want[j], pairs[[2]int{i, j}] = true, true, true
				}
			}
		}
		got := map[int]bool{}
		for _, c := range Conflicts(routes) {
			found++
			got[c.A], got[c.B] = true, true
			if !pairs[[2]int{c.A, c.B}] {
				t.Fatalf("seed %d: %d and %d do not tie:\n%+v\n%+v", seed, c.A, c.B, routes[c.A].Match, routes[c.B].Match)
			}
			if !ms[c.A].Matches(&c.Witness) || !ms[c.B].Matches(&c.Witness) {
				t.Fatalf("seed %d: witness %+v does not satisfy both\n%+v\n%+v", seed, c.Witness, routes[c.A].Match, routes[c.B].Match)
			}
		}
		for i := range want {
			if !got[i] {
				t.Fatalf("seed %d: the tie of route %d was missed: %+v", seed, i, routes[i].Match)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d routes in ties, want %d", seed, len(got), len(want))
		}
	}
	if found < 300 {
		t.Errorf("only %d ties in all: the vocabulary is too large for this test", found)
	}
}

// somethingMatchesBoth tries every request over the vocabulary that could satisfy two routes with the same host and path.
func somethingMatchesBoth(a, b *Matcher) bool {
	path := strings.NewReplacer("{c0}", "z", "{c1}", "z", "{c2}", "z", "{c3}", "z", "*", "z").Replace(a.Path.String())
	for _, method := range append([]string{"PROPFIND"}, standardMethods...) {
		if !a.takesMethod(method) || !b.takesMethod(method) {
			continue
		}
		for _, ha := range wantedValues(a, b, "x-a") {
			for _, hb := range wantedValues(a, b, "x-b") {
				for _, query := range []string{"", "x-a=1", "x-a=2", "x-b=1", "x-b=2", "x-a=1&x-b=1", "x-a=1&x-b=2", "x-a=2&x-b=1", "x-a=2&x-b=2"} {
					r := Request{Method: method, Host: sampleHost(a.Host), Path: path, RawQuery: query}
					if ha != "" {
						r.Headers = append(r.Headers, ir.Pair{Name: "X-A", Value: ha})
					}
					if hb != "" {
						r.Headers = append(r.Headers, ir.Pair{Name: "X-B", Value: hb})
					}
					if a.Matches(&r) && b.Matches(&r) {
						return true
					}
				}
			}
		}
	}
	return false
}

func wantedValues(a, b *Matcher, header string) []string {
	out := []string{"", "any"}
	for _, h := range slices.Concat(a.Headers, b.Headers) {
		if h.Name == header && h.Value != AnyValue {
			out = append(out, h.Value)
		}
	}
	return out
}

func routesOf(ms ...ir.Match) []ir.Route {
	out := make([]ir.Route, len(ms))
	for i, m := range ms {
		out[i] = ir.Route{ID: fmt.Sprintf("r%d", i), Match: m}
	}
	return out
}

// TestSearchCountsWays: two expressions with few states and many ways between them must not cost the square of those.
func TestSearchCountsWays(t *testing.T) {
	for _, expr := range []string{"/(a?){80}b", "/(a?){80}c"} {
		if _, err := ParseRegex(expr); err != nil {
			t.Fatalf("%s is no example, it is refused alone: %v", expr, err)
		}
	}
	w, cost, known := intersectCounted([]*automaton{mustAutomaton("/(a?){80}b"), mustAutomaton("/(a?){80}c")}, anyPath{}, maxProductStates)
	if w != "" || known || cost < maxProductStates {
		t.Errorf("got path %q, cost %d, known %v; want the search given up at %d", w, cost, known, maxProductStates)
	}
	if w, cost, known := intersectCounted([]*automaton{mustAutomaton("/users/[0-9]+"), mustAutomaton("/users/[a-f0-9]{8}")}, anyPath{}, maxProductStates); w == "" || !known || cost > 200 {
		t.Errorf("ordinary expressions: got path %q, cost %d, known %v", w, cost, known)
	}
}

func TestConflicts(t *testing.T) {
	h := func(kv ...string) (out []ir.Pair) {
		for i := 0; i < len(kv); i += 2 {
			out = append(out, ir.Pair{Name: kv[i], Value: kv[i+1]})
		}
		return out
	}
	for _, c := range []struct {
		name string
		a, b ir.Match
		tie  bool
	}{
		{"same path", ir.Match{Path: "/a"}, ir.Match{Path: "/a"}, true},
		{"names of captures", ir.Match{Path: "/a/{x}"}, ir.Match{Path: "/a/{y}"}, true},
		{"trailing slash", ir.Match{Path: "/a"}, ir.Match{Path: "/a/"}, false},
		{"end and subtree", ir.Match{Path: "/a"}, ir.Match{Path: "/a/*"}, false},
		{"crossing captures", ir.Match{Path: "/a/{x}"}, ir.Match{Path: "/{y}/b"}, false},
		{"hosts", ir.Match{Host: "a.com", Path: "/a"}, ir.Match{Path: "/a"}, false},
		{"case of hosts", ir.Match{Host: "a.com", Path: "/a"}, ir.Match{Host: "A.com", Path: "/a"}, true},
		{"method and none", ir.Match{Path: "/a", Methods: []string{"GET"}}, ir.Match{Path: "/a"}, false},
		{"methods apart", ir.Match{Path: "/a", Methods: []string{"GET"}}, ir.Match{Path: "/a", Methods: []string{"POST"}}, false},
		{"methods overlap", ir.Match{Path: "/a", Methods: []string{"GET", "PUT"}}, ir.Match{Path: "/a", Methods: []string{"POST", "PUT"}}, true},
		{"other headers", ir.Match{Path: "/a", Headers: h("x", "1")}, ir.Match{Path: "/a", Headers: h("y", "1")}, true},
		{"header values apart", ir.Match{Path: "/a", Headers: h("x", "1")}, ir.Match{Path: "/a", Headers: h("x", "2")}, false},
		{"header any value", ir.Match{Path: "/a", Headers: h("x", "1")}, ir.Match{Path: "/a", Headers: h("X", "*")}, true},
		{"more headers", ir.Match{Path: "/a", Headers: h("x", "1")}, ir.Match{Path: "/a", Headers: h("x", "1", "y", "2")}, false},
		{"query values apart", ir.Match{Path: "/a", Query: h("x", "1")}, ir.Match{Path: "/a", Query: h("x", "2")}, false},
		{"query encoded", ir.Match{Path: "/a", Query: h("x y", "&1")}, ir.Match{Path: "/a", Query: h("z", "*")}, true},
		{"query against header", ir.Match{Path: "/a", Query: h("x", "1")}, ir.Match{Path: "/a", Headers: h("x", "1")}, false},
		{"same regex", ir.Match{PathRegex: "/a+"}, ir.Match{PathRegex: "/a+"}, true},
		{"regexes overlap", ir.Match{PathRegex: "/a/.*c"}, ir.Match{PathRegex: "/a/b.*"}, true},
		{"regexes overlap at one path", ir.Match{PathRegex: "/(x|y)+z{3}[0-9]"}, ir.Match{PathRegex: "/yxyzz.7"}, true},
		{"regexes apart", ir.Match{PathRegex: "/a/[0-9]+"}, ir.Match{PathRegex: "/a/[a-z]+"}, false},
		{"regexes meet only in paths that cannot be", ir.Match{PathRegex: "/a/+b|/c"}, ir.Match{PathRegex: "/a//b|/d"}, false},
		{"regexes with escapes", ir.Match{PathRegex: "/caf%C3%A9/.+"}, ir.Match{PathRegex: "/caf%[0-9A-F]{2}%.*/menu"}, true},
		{"regex boundaries", ir.Match{PathRegex: `/a\b.*`}, ir.Match{PathRegex: `/ab.*`}, false},
		{"regex boundaries overlap", ir.Match{PathRegex: `/a\b.*`}, ir.Match{PathRegex: `/a.b`}, true},
		{"regexes with methods apart", ir.Match{PathRegex: "/a", Methods: []string{"GET"}}, ir.Match{PathRegex: "/[a]", Methods: []string{"PUT"}}, false},
		{"regex and path", ir.Match{PathRegex: "/a"}, ir.Match{Path: "/a"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes := routesOf(c.a, c.b)
			got := Conflicts(routes)
			if (len(got) > 0) != c.tie {
				t.Fatalf("got %+v, want a tie: %v", got, c.tie)
			}
			ms := compileAll(t, routes)
			for _, g := range got {
				if !ms[0].Matches(&g.Witness) || !ms[1].Matches(&g.Witness) {
					t.Errorf("witness %+v does not satisfy both", g.Witness)
				}
				if norm, reason := NormalizePath(g.Witness.Path); norm != g.Witness.Path {
					t.Errorf("witness path %q is not normal (%s)", g.Witness.Path, reason)
				}
			}
		})
	}
}

// vocabularyPaths are all the paths up to four segments over the words of randomRoutes and one that no route has.
func vocabularyPaths() []string {
	out := []string{"/"}
	level := []string{""}
	for range 5 {
		var next []string
		for _, p := range level {
			for _, s := range []string{"a", "b", "z"} {
				next = append(next, p+"/"+s)
				out = append(out, p+"/"+s, p+"/"+s+"/")
			}
		}
		level = next
	}
	return out
}

// TestShadowedAgainstRequests holds the proof to requests: every path and method over a small vocabulary, with exactly the
// conditions of the route. A route is listed if and only if none of them reaches it.
func TestShadowedAgainstRequests(t *testing.T) {
	paths := vocabularyPaths()
	methods := append([]string{"PROPFIND", "OTHER"}, standardMethods...)
	found := 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 2))
		routes := randomRoutes(rng, 2+rng.IntN(60), false)
		for i := range routes {
			m := &routes[i].Match
			m.Host = "a.com"
			if rng.IntN(2) == 0 {
				m.Headers, m.Query = nil, nil
			}
			if rng.IntN(2) == 0 {
				m.Methods = nil
			}
		}
		ms := compileAll(t, routes)
		byRoute := map[int]Shadow{}
		for _, s := range Shadowed(routes) {
			byRoute[s.Route] = s
			found++
			if !ms[s.Route].Matches(&s.Witness) {
				t.Fatalf("seed %d: witness %+v does not satisfy %+v", seed, s.Witness, routes[s.Route].Match)
			}
			if by := ms[s.By[0]]; !by.Matches(&s.Witness) || Compare(by, ms[s.Route]) >= 0 {
				t.Fatalf("seed %d: %+v does not take the witness %+v of %+v", seed, routes[s.By[0]].Match, s.Witness, routes[s.Route].Match)
			}
		}
		for i, m := range ms {
			s, listed := byRoute[i]
			reached := reachedBy(ms, i, paths, methods)
			standardOnly := reached == "PROPFIND" || reached == "OTHER"
			if listed != (reached == "" || standardOnly && len(m.Methods) == 0) || listed && s.StandardMethods != standardOnly {
				t.Fatalf("seed %d: route %d %+v: listed %+v (%v), but reached with %q", seed, i, routes[i].Match, s, listed, reached)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d shadowed routes in all: the vocabulary is too large for this test", found)
	}
}

// reachedBy returns a method with which a request with the conditions of a route alone reaches it, the standard ones
// first; "" if there is none. Routes that tie with it do not take requests from it.
func reachedBy(ms []*Matcher, i int, paths, methods []string) string {
	reached := ""
	for _, path := range paths {
		r := Request{Host: "a.com", Path: path}
		if !ms[i].Path.Matches(path) {
			continue
		}
		addConditions(&r, ms[i])
		for k, h := range ms[i].Headers { // a value that no other route asks for
			if h.Value == AnyValue {
				r.Headers[k].Value = "any"
			}
		}
		r.RawQuery = strings.ReplaceAll(r.RawQuery, "=x", "=any")
		for _, r.Method = range methods {
			if !ms[i].Matches(&r) {
				continue
			}
			if !slices.ContainsFunc(ms, func(o *Matcher) bool { return Compare(o, ms[i]) < 0 && o.Matches(&r) }) {
				if slices.Contains(standardMethods, r.Method) || len(ms[i].Methods) > 0 {
					return r.Method
				}
				reached = r.Method
			}
		}
	}
	return reached
}

func TestShadowed(t *testing.T) {
	get := []string{"GET"}
	for _, c := range []struct {
		name   string
		routes []ir.Match // the last is the one in question
		by     []int
	}{
		{"regex below a subtree", []ir.Match{{Path: "/api/*"}, {PathRegex: "/api/users/[0-9]+"}}, []int{0}},
		{"regex below a subtree with a capture", []ir.Match{{Path: "/{v}/users/*"}, {PathRegex: "/v1/users/.*"}}, []int{0}},
		{"regex beside a subtree", []ir.Match{{Path: "/api/*"}, {PathRegex: "/api.*"}}, nil},
		{"regex under a catch-all", []ir.Match{{Path: "/*"}, {PathRegex: ".*\\.php"}}, []int{0}},
		{"regex under a catch-all for GET", []ir.Match{{Path: "/*", Methods: get}, {PathRegex: ".*\\.php"}}, nil},
		{"GET regex under a catch-all for GET", []ir.Match{{Path: "/*", Methods: get}, {PathRegex: ".*\\.php", Methods: get}}, []int{0}},
		{"regex under a catch-all of another host", []ir.Match{{Host: "a.com", Path: "/*"}, {PathRegex: ".*\\.php"}}, nil},
		{"regex that is a literal", []ir.Match{{Path: "/a/{x}"}, {PathRegex: "/a/b"}}, []int{0}},
		{"regex that is a literal with a slash", []ir.Match{{Path: "/a/{x}"}, {PathRegex: "/a/b/"}}, nil},
		{"subtree by three", []ir.Match{{Path: "/a"}, {Path: "/a/"}, {Path: "/a/{x}/*"}, {Path: "/a/*"}}, []int{2, 1, 0}},
		{"subtree by two", []ir.Match{{Path: "/a"}, {Path: "/a/{x}/*"}, {Path: "/a/*"}}, nil},
		{"all methods listed", []ir.Match{{Path: "/a", Methods: standardMethods}, {Path: "/a"}}, []int{0}},
		{"literals never exhaust a capture", []ir.Match{{Path: "/a"}, {Path: "/b"}, {Path: "/{x}"}}, nil},
		{"conditions not implied", []ir.Match{{Path: "/*", Headers: []ir.Pair{{Name: "x", Value: "1"}}}, {PathRegex: ".+"}}, nil},
		{
			"conditions implied",
			[]ir.Match{{Path: "/*", Headers: []ir.Pair{{Name: "x", Value: "*"}}}, {PathRegex: ".+", Headers: []ir.Pair{{Name: "x", Value: "1"}}}},
			[]int{0},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			last := len(c.routes) - 1
			var by []int
			for _, s := range Shadowed(routesOf(c.routes...)) {
				if s.Route == last {
					by = s.By
				}
			}
			if !slices.Equal(by, c.by) {
				t.Errorf("by %v, want %v", by, c.by)
			}
		})
	}
}

func TestReserved(t *testing.T) {
	for _, c := range []struct{ path, regex, want string }{
		{path: "/health", want: "/health"},
		{path: "/health/*", want: "/health"},
		{path: "/health/db"},
		{path: "/health/"},
		{path: "/healthz"},
		{path: "/livez", want: "/livez"},
		{path: "/readyz", want: "/readyz"},
		{path: "/metrics", want: "/metrics"},
		{path: "/admin", want: "/admin"},
		{path: "/admin/", want: "/admin/**"},
		{path: "/admin/*", want: "/admin/**"},
		{path: "/admin/{x}/y", want: "/admin/**"},
		{path: "/administrator/*"},
		{path: "/Admin"},
		{path: "/api/admin/*"},
		{path: "/*"},
		{path: "/"},
		{path: "/{page}"},
		{path: "/{a}/{b}"},
		{regex: "/health", want: "/health"},
		{regex: "/(health|livez)", want: "/livez"},
		{regex: "/admin(/.*)?", want: "/admin"},
		{regex: "/admin/.*", want: "/admin/"},
		{regex: "/admin.*"},
		{regex: "/health/?"},
		{regex: "/[a-z]+"},
		{regex: "(?i)/admin"},
		{regex: ".*"},
	} {
		m, err := Compile(&ir.Match{Path: c.path, PathRegex: c.regex})
		if err != nil {
			t.Fatal(err)
		}
		if got := Reserved(m); got != c.want {
			t.Errorf("Reserved(%s%s) = %q, want %q", c.path, c.regex, got, c.want)
		}
	}
	for path, want := range map[string]bool{
		"/health": true, "/admin": true, "/admin/": true, "/admin/a/b": true, "/health/": false, "/adminx": false, "/": false,
	} {
		if IsReserved(path) != want {
			t.Errorf("IsReserved(%q) = %v", path, !want)
		}
	}
}

func TestSlowSearches(t *testing.T) {
	// Every way of writing twelve segments as a literal or a capture.
	var routes []ir.Route
	for n := range 1 << 12 {
		var p strings.Builder
		for i := range 12 {
			if n>>i&1 == 1 {
				p.WriteString("/a")
			} else {
				fmt.Fprintf(&p, "/{c%d}", i)
			}
		}
		routes = append(routes, ir.Route{Match: ir.Match{Host: "a.com", Path: p.String()}})
	}
	slow := SlowSearches(append(routesOf(ir.Match{Path: "/{a}/b"}, ir.Match{Path: "/a/{b}"}), routes...))
	if len(slow) != 1 || slow[0].Host.Name != "a.com" || slow[0].Visits != 1<<13-1 {
		t.Errorf("got %+v, want %d visits for a.com alone", slow, 1<<13-1)
	}
	var loose []ir.Match
	for i := range 150 {
		loose = append(loose, ir.Match{PathRegex: fmt.Sprintf("/api/svc%d/[0-9]+", i)}) // each in a place of its own
	}
	if slow := SlowSearches(routesOf(loose...)); slow != nil {
		t.Errorf("expressions with prefixes are slow: %+v", slow)
	}
	for i := range 120 {
		loose = append(loose, ir.Match{PathRegex: fmt.Sprintf("/api/.*/x%d", i)}, ir.Match{Host: "a.com", PathRegex: fmt.Sprintf("/api/.*/x%d", i)})
	}
	if slow := SlowSearches(routesOf(loose...)); slow != nil {
		t.Errorf("120 expressions in one place are slow: %+v", slow)
	}
	loose = append(loose, ir.Match{PathRegex: "/a.*"}, ir.Match{PathRegex: "/b.*"}, ir.Match{PathRegex: "/api/c.*"}, ir.Match{PathRegex: "/api/svc7/x/.*"},
		ir.Match{PathRegex: "/api/.*"}, ir.Match{PathRegex: ".*"}, ir.Match{PathRegex: "/api/d.*"})
	slow = SlowSearches(routesOf(loose...))
	if want := (127+1)*ExpressionVisits + 1; len(slow) != 1 || slow[0].Visits != want || !slow[0].Host.Any() || slow[0].Route < 0 {
		t.Errorf("got %+v, want %d steps without a host", slow, want)
	}
	if slow := SlowSearches(manyRoutes(1000)); slow != nil {
		t.Errorf("an ordinary table is slow: %+v", slow)
	}
}

func TestExplain(t *testing.T) {
	base := Request{Method: "GET", Host: "api.example.com", Path: "/v1/x/3", RawQuery: "q=1&r=1&r=2", Headers: []ir.Pair{{Name: "X-A", Value: "b"}}}
	for _, c := range []struct {
		m    ir.Match
		want string
	}{
		{ir.Match{Path: "/*"}, ""},
		{ir.Match{Host: "*.example.org", Path: "/*"}, "host: host is api.example.com, want *.example.org"},
		{ir.Match{Path: "/v1/users/{id}"}, `path: segment 2 is "x", want "users"`},
		{ir.Match{Path: "/v1/x"}, `path: path goes on with "3" after segment 2, want its end`},
		{ir.Match{Path: "/v1/x/{id}/"}, "path: path ends after segment 3, want a trailing slash next"},
		{ir.Match{Path: "/v1/x/{id}/{sub}/*"}, "path: path ends after segment 3, want a value for {sub} next"},
		{ir.Match{PathRegex: "/v[0-9]"}, `path: path "/v1/x/3" does not match "/v[0-9]"`},
		{ir.Match{Path: "/*", Methods: []string{"POST", "PUT"}}, "method: method GET not in [POST PUT]"},
		{ir.Match{Path: "/*", Headers: []ir.Pair{{Name: "x-b", Value: "*"}}}, "headers: header x-b absent"},
		{ir.Match{Path: "/*", Headers: []ir.Pair{{Name: "x-a", Value: "c"}}}, `headers: header x-a is "b", want "c"`},
		{ir.Match{Path: "/*", Query: []ir.Pair{{Name: "q", Value: "2"}}}, `query: query parameter q is "1", want "2"`},
		{ir.Match{Path: "/*", Query: []ir.Pair{{Name: "r", Value: "2"}}}, `query: query parameter r occurs 2 times with different values, want only "2"`},
		{ir.Match{Path: "/w", Methods: []string{"PUT"}}, `path: segment 1 is "v1", want "w"; method: method GET not in [PUT]`},
	} {
		m, err := Compile(&c.m)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range Explain(m, &base) {
			got = append(got, string(x.Step)+": "+x.Message)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%+v: %s; want %s", c.m, s, c.want)
		}
	}
	secret := Request{Path: "/", Headers: []ir.Pair{{Name: "Authorization", Value: "Bearer s3cret"}}}
	m, err := Compile(&ir.Match{Path: "/", Headers: []ir.Pair{{Name: "authorization", Value: "Bearer 0ther"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(Explain(m, &secret)); strings.Contains(got, "s3cret") || strings.Contains(got, "0ther") {
		t.Errorf("explanation holds a secret: %s", got)
	}
}

// TestExplainAgreesWithMatches: an explanation is empty exactly for a request that matches.
func TestExplainAgreesWithMatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	paths := vocabularyPaths()
	for _, m := range compileAll(t, randomRoutes(rng, 500, true)) {
		for range 20 {
			r := Request{
				Method: []string{"GET", "POST"}[rng.IntN(2)], Host: []string{"", "a.com", "x.a.com", "b.a.com", "x.b.a.com"}[rng.IntN(5)],
				Path: paths[rng.IntN(60)], RawQuery: []string{"", "x-a=1", "x-b=2&x-a=2", "x-a=1&x-a=2"}[rng.IntN(4)],
			}
			if rng.IntN(2) == 0 {
				r.Headers = []ir.Pair{{Name: "x-A", Value: "1"}}
			}
			if m.Matches(&r) != (len(Explain(m, &r)) == 0) {
				t.Fatalf("%+v, %+v: matches %v, explanation %v", m, r, m.Matches(&r), Explain(m, &r))
			}
		}
	}
}

// manyRoutes is a table as large sites have it: several hosts, collections with items and actions, a few methods.
func manyRoutes(n int) []ir.Route {
	out := make([]ir.Route, 0, n)
	for i := 0; len(out) < n; i++ {
		host := fmt.Sprintf("team%d.example.com", i%50)
		for _, path := range []string{"/api/v1/svc%d/items", "/api/v1/svc%d/items/{id}", "/api/v1/svc%d/items/{id}/actions/{action}", "/static/svc%d/*"} {
			out = append(out, ir.Route{ID: fmt.Sprintf("r%d", len(out)), Match: ir.Match{Host: host, Path: fmt.Sprintf(path, i), Methods: []string{"GET", "POST"}}})
		}
	}
	return out[:n]
}

func BenchmarkProofs(b *testing.B) {
	tables := map[string][]ir.Route{"ordinary": manyRoutes(100_000)}
	for i := range 100_000 {
		tables["header"] = append(tables["header"], ir.Route{Match: ir.Match{Path: "/", Headers: []ir.Pair{{Name: "x-tenant", Value: fmt.Sprint(i)}}}})
		tables["equal"] = append(tables["equal"], ir.Route{Match: ir.Match{Path: "/"}})
		tables["names"] = append(tables["names"], ir.Route{Match: ir.Match{Path: "/", Headers: []ir.Pair{{Name: fmt.Sprint("x-", i), Value: "1"}}}})
		if i < 2000 {
			tables["regex"] = append(tables["regex"], ir.Route{Match: ir.Match{PathRegex: fmt.Sprintf("/svc%d/items/[0-9]+(/.*)?", i)}})
			tables["regex-loose"] = append(tables["regex-loose"], ir.Route{Match: ir.Match{PathRegex: fmt.Sprintf("/.*/svc%d", i)}})
		}
	}
	for _, name := range []string{"ordinary", "header", "equal", "names", "regex", "regex-loose"} {
		b.Run("conflicts/"+name, func(b *testing.B) {
			for b.Loop() {
				Conflicts(tables[name])
			}
		})
		b.Run("shadowed/"+name, func(b *testing.B) {
			for b.Loop() {
				Shadowed(tables[name])
			}
		})
	}
}
