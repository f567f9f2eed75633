package match

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// TestFallsAgainstRequests holds what is found to what the predicates say of the same requests, tried on every route.
func TestFallsAgainstRequests(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	found := 0
	for range 3000 {
		routes := randomRoutes(rng, 2+rng.IntN(8), true)
		if len(Conflicts(routes)) > 0 {
			continue
		}
		ms := compileAll(t, routes)
		table := newTable(routes)
		best := func(r Request, method string) int {
			r.Method = method
			best := -1
			for i, m := range ms {
				if m.Matches(&r) && (best < 0 || Compare(m, ms[best]) < 0) {
					best = i
				}
			}
			return best
		}
		type fall struct{ route, to int }
		var want []fall
		var all []int
		for i, m := range ms {
			all = append(all, i)
			if m.Regex != nil || len(m.Methods) == 0 {
				continue
			}
			r := table.sample(i)
			if best(r, r.Method) != i {
				continue
			}
			for _, method := range commonMethods {
				to := best(r, method)
				if to < 0 || to == i || Compare(ms[to], m) < 0 || slices.Contains(want, fall{i, to}) {
					continue
				}
				if same := ms[to].Host == m.Host && ms[to].Regex == nil && comparePaths(ms[to], m) == 0; !same || len(ms[to].Methods) == 0 {
					want = append(want, fall{i, to})
				}
			}
		}
		var got []fall
		for _, f := range Falls(routes, all) {
			got = append(got, fall{f.Route, f.To})
			if best(f.Witness, f.Witness.Method) != f.To || !ms[f.Route].MatchesExceptMethod(&f.Witness) {
				t.Fatalf("%+v: %+v shows nothing", routes, f)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: %v, want %v", routes, got, want)
		}
		found += len(got)
	}
	if found < 100 {
		t.Errorf("only %d falls were met", found)
	}
}

func TestFalls(t *testing.T) {
	get := []string{"GET"}
	for _, tt := range []struct {
		name string
		to   ir.Match
		want string // the request that falls
	}{
		{"a more general path", ir.Match{Path: "/*"}, "POST /a/x"},
		{"which lists methods", ir.Match{Path: "/*", Methods: []string{"HEAD"}}, "HEAD /a/x"},
		{"the same path with any method", ir.Match{Path: "/a/*"}, "POST /a/x"},
		{"the same path with other methods", ir.Match{Path: "/a/*", Methods: []string{"POST"}}, ""},
		{"the same methods", ir.Match{Path: "/*", Methods: get}, ""},
		{"methods that nobody means", ir.Match{Path: "/*", Methods: []string{"OPTIONS"}}, ""},
		{"a more specific path", ir.Match{Path: "/a/{id}", Methods: []string{"POST"}}, ""},
		{"another path", ir.Match{Path: "/b/*"}, ""},
		{"a condition of its own", ir.Match{Path: "/*", Headers: []ir.Pair{{Name: "x-a", Value: "1"}}}, ""},
		{"an expression", ir.Match{PathRegex: "/a/.+"}, "POST /a/x"},
	} {
		got := ""
		for _, f := range Falls(routesOf(ir.Match{Path: "/a/*", Methods: get}, tt.to), []int{0}) {
			got = f.Witness.Method + " " + f.Witness.Path
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
