package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

func routesOf(ms ...ir.Match) []ir.Route {
	out := make([]ir.Route, len(ms))
	for i, m := range ms {
		out[i] = ir.Route{ID: fmt.Sprintf("r%03d", i), Match: m}
	}
	return out
}

func pointers(routes []ir.Route) []*ir.Route {
	out := make([]*ir.Route, len(routes))
	for i := range routes {
		out[i] = &routes[i]
	}
	return out
}

func mustBuild(t testing.TB, routes []ir.Route) *Router {
	t.Helper()
	r, err := Build(pointers(routes))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func paths(ps ...string) []ir.Match {
	out := make([]ir.Match, len(ps))
	for i, p := range ps {
		if out[i].Path = p; p[0] != '/' {
			out[i] = ir.Match{PathRegex: p[1:]}
		}
	}
	return out
}

func TestLookupPaths(t *testing.T) {
	// "~" before a pattern makes it a pathRegex.
	patterns := []string{
		"/", "/a", "/a/", "/a/*", "/a/{x}", "/a/{x}/b", "/a/b/{y}", "/{v}/b", "/{v}/c/*", "/a/{x}/c/{z}", "~/re/[0-9]+", "~/re/.*", "~.*\\.php",
	}
	r := mustBuild(t, routesOf(paths(patterns...)...))
	for path, want := range map[string]string{
		"/":            "/",
		"/a":           "/a",
		"/a/":          "/a/",
		"/a/1":         "/a/{x} 1",
		"/a/b":         "/a/{x} b",
		"/a/1/b":       "/a/{x}/b 1",
		"/a/b/b":       "/a/b/{y} b",
		"/a/b/c":       "/a/b/{y} c",
		"/a/1/d":       "/a/*",
		"/a/1/":        "/a/*",
		"/a/b/c/d":     "/a/{x}/c/{z} b d",
		"/1/b":         "/{v}/b 1",
		"/1/c":         "/{v}/c/* 1",
		"/1/c/d/e":     "/{v}/c/* 1",
		"/re/12":       "~/re/.*", // no method, header or parameter tells them apart: the text does, and "." sorts before "["
		"/re/x":        "~/re/.*",
		"/x/index.php": "~.*\\.php",
		"/a/x.php/y":   "/a/*",
		"/1/d":         "",
		"/b":           "",
	} {
		res := r.Lookup("GET", "", path, "", nil, nil)
		got := ""
		if res.Outcome == Found {
			got = patterns[res.Index]
			for _, p := range res.Params {
				got += " " + p.Value
				if !strings.Contains(patterns[res.Index], "{"+p.Name+"}") {
					t.Errorf("%s: capture %q is not in %s", path, p.Name, patterns[res.Index])
				}
			}
		}
		if got != want {
			t.Errorf("%s goes to %q, want %q", path, got, want)
		}
	}
}

func TestLookupHosts(t *testing.T) {
	hosts := []string{"a.com", "*.a.com", "*.b.a.com", ""}
	var ms []ir.Match
	for _, h := range hosts {
		ms = append(ms, ir.Match{Host: h, Path: "/x"})
	}
	ms = append(ms, ir.Match{Path: "/any"}, ir.Match{Host: "*.a.com", Path: "/wild"}, ir.Match{Host: "[::1]", Path: "/*"})
	r := mustBuild(t, routesOf(ms...))
	for _, c := range []struct {
		host, path string
		want       int
	}{
		{"a.com", "/x", 0},
		{"w.a.com", "/x", 1},
		{"b.a.com", "/x", 1},
		{"w.b.a.com", "/x", 2},
		{"v.w.b.a.com", "/x", 2},
		{"xa.com", "/x", 3},
		{"", "/x", 3},
		{".a.com", "/x", 3},
		{strings.Repeat("x", 250) + ".a.com", "/x", 3},
		{"a.com", "/any", 4},
		{"w.b.a.com", "/any", 4},
		{"w.b.a.com", "/wild", 5},
		{"a.com", "/wild", -1},
		{"[::1]", "/wild", 6},
	} {
		if got := r.Lookup("GET", c.host, c.path, "", nil, nil).Index; got != c.want {
			t.Errorf("%s%s goes to %d, want %d", c.host, c.path, got, c.want)
		}
	}
}

func TestLookupMethodsAndConditions(t *testing.T) {
	pair := func(n, v string) []ir.Pair { return []ir.Pair{{Name: n, Value: v}} }
	r := mustBuild(t, routesOf(
		ir.Match{Path: "/a", Methods: []string{"GET"}},
		ir.Match{Path: "/{x}", Methods: []string{"POST", "PROPFIND"}},
		ir.Match{PathRegex: "/a.*", Methods: []string{"PUT"}},
		ir.Match{Path: "/h", Headers: pair("x-env", "beta")},
		ir.Match{Path: "/h"},
		ir.Match{Path: "/q/*", Query: pair("v", "2")},
		ir.Match{Path: "/q/*", Query: pair("v", "*"), Methods: []string{"GET"}},
		ir.Match{Path: "/only", Methods: []string{"GET"}, Headers: pair("x", "1")},
	))
	for _, c := range []struct {
		method, path, query string
		header              []httpmsg.Field
		want                int
		allow               string
	}{
		{"GET", "/a", "", nil, 0, ""},
		{"POST", "/a", "", nil, 1, ""}, // the best path does not take it, the next does
		{"PROPFIND", "/a", "", nil, 1, ""},
		{"PUT", "/a", "", nil, 2, ""},
		{"get", "/a", "", nil, -1, "GET, POST, PROPFIND, PUT"},
		{"DELETE", "/a", "", nil, -1, "GET, POST, PROPFIND, PUT"},
		{"HEAD", "/a", "", nil, -1, "GET, POST, PROPFIND, PUT"},
		{"GET", "/b", "", nil, -1, "POST, PROPFIND"},
		{"GET", "/b/c", "", nil, -1, ""},
		{"GET", "/h", "", nil, 4, ""},
		{"GET", "/h", "", []httpmsg.Field{{Name: "X-Env", Value: "beta"}}, 3, ""},
		{"GET", "/h", "", []httpmsg.Field{{Name: "X-Env", Value: "Beta"}}, 4, ""},
		{"GET", "/h", "", []httpmsg.Field{{Name: "X-Env", Value: "beta"}, {Name: "x-env", Value: "beta"}}, 3, ""},
		{"GET", "/h", "", []httpmsg.Field{{Name: "X-Env", Value: "beta"}, {Name: "x-env", Value: "prod"}}, 4, ""},
		{"PUT", "/q/1", "v=2", nil, 5, ""},
		{"PUT", "/q/1", "v=3", nil, -1, "GET"},
		{"PUT", "/q/1", "", nil, -1, ""},
		{"GET", "/q/1", "v=2", nil, 6, ""}, // a method list comes before parameters
		{"PUT", "/only", "", nil, -1, "POST, PROPFIND"},
		{"PUT", "/only", "", []httpmsg.Field{{Name: "x", Value: "1"}}, -1, "GET, POST, PROPFIND"},
	} {
		res := r.Lookup(c.method, "h", c.path, c.query, &httpmsg.Header{Fields: c.header}, nil)
		outcome := Found
		if c.want < 0 {
			outcome = NotFound
			if c.allow != "" {
				outcome = MethodNotAllowed
			}
		}
		if res.Index != c.want || res.Allow != c.allow || res.Outcome != outcome {
			t.Errorf("%s %s?%s %v: %s %d, Allow %q; want %s %d, Allow %q", c.method, c.path, c.query, c.header, res.Outcome, res.Index, res.Allow, outcome, c.want, c.allow)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	if _, err := Build(pointers(routesOf(ir.Match{Path: "/a"}, ir.Match{Path: "/a**"}))); err == nil || !strings.Contains(err.Error(), `build router: route "r001": path "/a**"`) {
		t.Errorf("got %v", err)
	}
	var ms []ir.Match
	for n := range 1 << 11 {
		p := ""
		for i := range 11 {
			p += []string{"/a", fmt.Sprintf("/{c%d}", i)}[n>>i&1]
		}
		ms = append(ms, ir.Match{Path: p})
	}
	if _, err := Build(pointers(routesOf(ms...))); err == nil || !strings.Contains(err.Error(), "may need 4095 steps for a lookup, the limit is 1024") {
		t.Errorf("got %v", err)
	}
	ms = nil
	for i := range 128 {
		ms = append(ms, ir.Match{PathRegex: fmt.Sprintf("/api/.*/%d", i)})
	}
	if _, err := Build(pointers(routesOf(ms...))); err == nil || !strings.Contains(err.Error(), "may need 1025 steps") {
		t.Errorf("got %v", err)
	}
}

func TestEmptyRouter(t *testing.T) {
	r := mustBuild(t, nil)
	if res := r.Lookup("GET", "a.b.c", "/", "", nil, nil); res.Outcome != NotFound || res.Index != -1 {
		t.Errorf("got %+v", res)
	}
}

// specification is design, section 3, word by word: all routes in the order of specificity, and the first that takes the
// request wins.
type specification struct {
	matchers []*match.Matcher
	order    []int
}

func newSpecification(t testing.TB, routes []ir.Route) *specification {
	t.Helper()
	s := &specification{}
	for i := range routes {
		m, err := match.Compile(&routes[i].Match)
		if err != nil {
			t.Fatalf("%+v: %v", routes[i].Match, err)
		}
		s.matchers = append(s.matchers, m)
		s.order = append(s.order, i)
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return match.Compare(s.matchers[a], s.matchers[b]) })
	return s
}

func (s *specification) lookup(r *match.Request) Result {
	var methods []string
	for _, i := range s.order {
		m := s.matchers[i]
		if m.Matches(r) {
			return Result{Index: i, Outcome: Found, Params: captures(m.Path, r.Path)}
		}
		if m.MatchesExceptMethod(r) {
			methods = append(methods, m.Methods...)
		}
	}
	if methods == nil {
		return Result{Index: -1}
	}
	slices.Sort(methods)
	return Result{Index: -1, Outcome: MethodNotAllowed, Allow: strings.Join(slices.Compact(methods), ", ")}
}

func captures(p match.Path, path string) []policy.Param {
	var out []policy.Param
	segs := strings.Split(path[1:], "/")
	for i, s := range p.Segments {
		if s.Capture {
			out = append(out, policy.Param{Name: s.Text, Value: segs[i]})
		}
	}
	return out
}

func randomMatch(rng *rand.Rand) ir.Match {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	m := ir.Match{Host: pick("", "", "a.com", "*.a.com", "*.b.a.com", "b.a.com")}
	for d := range rng.IntN(5) {
		m.Path += pick("/a", "/b", "/c", fmt.Sprintf("/{c%d}", d), fmt.Sprintf("/{d%d}", d))
	}
	if m.Path += pick("", "", "/", "/*"); m.Path == "" {
		m.Path = "/"
	}
	if rng.IntN(6) == 0 {
		m.Path, m.PathRegex = "", pick("/a/.*", "/a/[ab]", "/a/b", "/b/?", "/(a|b)/(a|b)", "(?i)/A/b", "/.*", "/a/b/.+", "^/b$", "/a/b.*/c")
	}
	for _, method := range []string{"GET", "POST", "PROPFIND"} {
		if rng.IntN(4) == 0 {
			m.Methods = append(m.Methods, method)
		}
	}
	for _, name := range []string{"x-a", "x-b"} {
		if rng.IntN(4) == 0 {
			m.Headers = append(m.Headers, ir.Pair{Name: name, Value: pick("1", "2", "*")})
		}
		if rng.IntN(5) == 0 {
			m.Query = append(m.Query, ir.Pair{Name: name, Value: pick("1", "2", "*")})
		}
	}
	return m
}

func randomRequest(rng *rand.Rand) match.Request {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	r := match.Request{
		Method:   pick("GET", "POST", "PUT", "PROPFIND", "OTHER"),
		Host:     pick("", "a.com", "x.a.com", "b.a.com", "x.b.a.com", "y.x.b.a.com", "c.com", ".a.com"),
		RawQuery: pick("", "", "x-a=1", "x-a=1&x-a=2", "x-b=2&%78-a=1", "x-a&x-b=1"),
	}
	for range rng.IntN(5) {
		r.Path += pick("/a", "/b", "/c", "/d", "/A")
	}
	if r.Path += pick("", "", "/"); r.Path == "" {
		r.Path = "/"
	}
	for range rng.IntN(3) {
		r.Headers = append(r.Headers, ir.Pair{Name: pick("x-a", "X-A", "X-b"), Value: pick("1", "1", "2", "3")})
	}
	return r
}

func compareWithSpecification(t *testing.T, rng *rand.Rand, routeCount, requests int) (found, refused int) {
	t.Helper()
	routes := make([]ir.Route, routeCount)
	crowded := rng.IntN(4) == 0
	for i := range routes {
		m := randomMatch(rng)
		if crowded { // few paths, so that leaves are divided
			m.Host, m.PathRegex, m.Path = "", "", []string{"/a", "/{c}/*"}[rng.IntN(2)]
		}
		routes[i] = ir.Route{ID: fmt.Sprintf("r%03d", i), Match: m}
	}
	router, spec := mustBuild(t, routes), newSpecification(t, routes)
	if crowded && routeCount > 100 && len(router.divisions) == 0 {
		t.Fatal("no leaf was divided: nothing tests that")
	}
	var params [match.MaxCaptures]policy.Param
	for range requests {
		req := randomRequest(rng)
		header := &httpmsg.Header{}
		for _, h := range req.Headers {
			header.Add(h.Name, h.Value)
		}
		got := router.Lookup(req.Method, req.Host, req.Path, req.RawQuery, header, params[:0])
		want := spec.lookup(&req)
		if got.Index != want.Index || got.Outcome != want.Outcome || got.Allow != want.Allow || !slices.Equal(got.Params, want.Params) {
			var detail strings.Builder
			for _, i := range []int{got.Index, want.Index} {
				if i >= 0 {
					fmt.Fprintf(&detail, "\n%d: %+v", i, routes[i].Match)
				}
			}
			t.Fatalf("%+v\ngot  %+v\nwant %+v%s", req, got, want, detail.String())
		}
		switch got.Outcome {
		case Found:
			found++
		case MethodNotAllowed:
			refused++
		}
	}
	return found, refused
}

func TestLookupAgainstSpecification(t *testing.T) {
	var found, refused, total int
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 7))
		f, r := compareWithSpecification(t, rng, 1+rng.IntN(150), 200)
		found, refused, total = found+f, refused+r, total+200
	}
	if found < total/4 || refused < total/100 || total-found-refused < total/20 {
		t.Errorf("of %d requests %d were taken and %d met another method: the vocabulary does not test much", total, found, refused)
	}
}

func FuzzLookup(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, seed*3, uint8(1<<seed))
	}
	f.Fuzz(func(t *testing.T, a, b uint64, n uint8) {
		compareWithSpecification(t, rand.New(rand.NewPCG(a, b)), 1+int(n), 20)
	})
}

// FuzzLookupPath looks up any path at all, also ones that NormalizePath would not return.
func FuzzLookupPath(f *testing.F) {
	for _, s := range []string{"/", "", "a", "/a//b", "/a/b/", "//", "/a/b/c/d/e"} {
		f.Add(s, "x.a.com")
	}
	routes := routesOf(paths("/", "/a", "/a/", "/{x}", "/{x}/b/*", "/a/{y}/{z}", "~/a/b/.*", "~/[a-z]+")...)
	routes = append(routes, ir.Route{Match: ir.Match{Host: "*.a.com", Path: "/{a}/{b}"}}, ir.Route{Match: ir.Match{Host: "a.com", Path: "/*"}})
	router, spec := mustBuild(f, routes), newSpecification(f, routes)
	f.Fuzz(func(t *testing.T, path, host string) {
		got := router.Lookup("GET", host, path, "", nil, nil)
		norm, reason := match.NormalizePath(path)
		if reason != "" || norm != path {
			return // it must not panic
		}
		want := spec.lookup(&match.Request{Method: "GET", Host: host, Path: path})
		if got.Index != want.Index || got.Outcome != want.Outcome || !slices.Equal(got.Params, want.Params) {
			t.Fatalf("%q %q: got %+v, want %+v", host, path, got, want)
		}
	})
}
