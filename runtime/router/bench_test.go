package router

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// table makes n routes as a large site has them, under one host for every perHost routes.
func table(n, perHost int) []ir.Route {
	shapes := []string{"/api/v1/svc%d/items", "/api/v1/svc%d/items/{id}", "/api/v1/svc%d/items/{id}/actions/{action}", "/static/svc%d/*"}
	out := make([]ir.Route, n)
	for i := range out {
		out[i] = ir.Route{ID: fmt.Sprintf("route-%06d", i), Match: ir.Match{
			Host: fmt.Sprintf("h%d.example.com", i/perHost), Path: fmt.Sprintf(shapes[i%4], i/4), Methods: []string{"GET", "POST"},
		}}
	}
	return out
}

// requestFor returns a host and a path that route i of such a table takes.
func requestFor(routes []ir.Route, i int) (host, path string) {
	m := routes[i].Match
	return m.Host, strings.NewReplacer("{id}", "4711", "{action}", "cancel", "*", "css/site.css").Replace(m.Path)
}

func TestLookupDoesNotAllocate(t *testing.T) {
	routes := table(1000, 100)
	routes = append(routes, ir.Route{ID: "wild", Match: ir.Match{Host: "*.example.org", Path: "/{a}/*"}},
		ir.Route{ID: "cond", Match: ir.Match{Path: "/c", Headers: []ir.Pair{{Name: "x-a", Value: "1"}}, Query: []ir.Pair{{Name: "q", Value: "a b"}}}})
	r := mustBuild(t, routes)
	header := &httpmsg.Header{Fields: []httpmsg.Field{{Name: "Accept", Value: "*/*"}, {Name: "X-A", Value: "1"}}}
	var params [match.MaxCaptures]policy.Param
	for _, c := range []struct {
		host, path, query string
		want              Outcome
	}{
		{"h3.example.com", "/api/v1/svc75/items", "", Found},
		{"h3.example.com", "/api/v1/svc75/items/9", "", Found},
		{"h3.example.com", "/api/v1/svc75/items/9/actions/x", "", Found},
		{"h3.example.com", "/static/svc75/a/b/c", "", Found},
		{"x.y.example.org", "/p/q/r", "", Found},
		{"other", "/c", "z=1&q=a+b", Found},
		{"h3.example.com", "/nothing/here", "", NotFound},
		{"", "/" + strings.Repeat("a/", 4000), "", NotFound},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if res := r.Lookup("GET", c.host, c.path, c.query, header, params[:0]); res.Outcome != c.want {
				t.Fatalf("%s%.40s: %v, want %v", c.host, c.path, res.Outcome, c.want)
			}
		}); n != 0 {
			t.Errorf("%s%.40s allocates %v times", c.host, c.path, n)
		}
	}
}

// TestMemoryPerRoute keeps the router within its share of the budget of design, section 8: 600 bytes for a route.
func TestMemoryPerRoute(t *testing.T) {
	const n = 100_000
	routes := table(n, 1000)
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	r := mustBuild(t, routes)
	perRoute := float64(used()-before) / n
	t.Logf("%.0f bytes a route, %d hosts", perRoute, len(r.exact))
	runtime.KeepAlive(routes)
	if perRoute > 600 {
		t.Errorf("%.0f bytes a route, want at most 600", perRoute)
	}
	runtime.KeepAlive(r)
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		routes := table(n, 1000)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustBuild(b, routes)
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	var params [match.MaxCaptures]policy.Param
	header := &httpmsg.Header{}
	for _, c := range []struct {
		name       string
		n, perHost int
		miss       bool
	}{
		{"1", 1, 1, false},
		{"100", 100, 100, false},
		{"10k", 10_000, 10_000, false},
		{"100k", 100_000, 100_000, false},
		{"100k-hosts", 100_000, 4, false},
		{"100k-miss", 100_000, 100_000, true},
	} {
		routes := table(c.n, c.perHost)
		r := mustBuild(b, routes)
		type request struct{ host, path string }
		var requests [1024]request // spread over the table, so that caches see it all
		for i := range requests {
			q := &requests[i]
			q.host, q.path = requestFor(routes, i*7919%c.n)
			if c.miss {
				q.path = strings.Replace(q.path, "svc", "none", 1)
			}
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				q := &requests[i&1023]
				i++
				if res := r.Lookup("GET", q.host, q.path, "", header, params[:0]); (res.Outcome == Found) == c.miss {
					b.Fatalf("%s%s: %v", q.host, q.path, res.Outcome)
				}
			}
		})
	}
}

// BenchmarkLookupWorst walks the slowest table that Build accepts, with a path that every way fits to the last segment.
func BenchmarkLookupWorst(b *testing.B) {
	var routes []ir.Route
	for n := range 1 << 8 {
		p := ""
		for i := range 8 {
			p += []string{"/a", fmt.Sprintf("/{c%d}", i)}[n>>i&1]
		}
		routes = append(routes, ir.Route{ID: fmt.Sprint(n), Match: ir.Match{Path: p + "/end"}})
	}
	r := mustBuild(b, routes)
	var params [match.MaxCaptures]policy.Param
	b.ReportAllocs()
	for b.Loop() {
		if res := r.Lookup("GET", "", "/a/a/a/a/a/a/a/a/other", "", nil, params[:0]); res.Outcome != NotFound {
			b.Fatal(res)
		}
	}
}

// BenchmarkLookupTenants finds one of many routes on one path, told apart by a header.
func BenchmarkLookupTenants(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		routes := make([]ir.Route, n)
		for i := range routes {
			routes[i] = ir.Route{Match: ir.Match{Path: "/graphql", Headers: []ir.Pair{{Name: "x-tenant", Value: fmt.Sprint(i)}}}}
		}
		r := mustBuild(b, routes)
		header := &httpmsg.Header{Fields: []httpmsg.Field{{Name: "Accept", Value: "*/*"}, {Name: "X-Tenant", Value: fmt.Sprint(n / 2)}}}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if res := r.Lookup("GET", "", "/graphql", "", header, nil); res.Index != n/2 {
					b.Fatal(res)
				}
			}
		})
	}
}
