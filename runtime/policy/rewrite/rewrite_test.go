package rewrite

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// jwt stands beside the policy under test.
const jwt = `auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/jwks" } }` + "\n"

// meet compiles and builds the policy of a route with a path, and lets a request for target meet it.
func meet(t testing.TB, pattern, text, target string) (policy.Handler, *policy.Exchange) {
	t.Helper()
	w := policytest.NewWorld()
	plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: jwt + "rewrite: " + text, Match: ir.Match{Path: pattern}})
	for _, s := range said {
		if !strings.HasPrefix(s, "warning") {
			t.Fatal(s)
		}
	}
	w.Route.Pattern = pattern
	h := w.Build(t, Kind, plan)
	x := w.Exchange("GET", target)
	x.Request.Host = "api.example.com"
	x.Params = capturesOf(pattern, x.Path)
	return h, x
}

// capturesOf are the captures as the router finds them.
func capturesOf(pattern, path string) []policy.Param {
	var out []policy.Param
	segments := strings.Split(path[1:], "/")
	for i, s := range strings.Split(pattern[1:], "/") {
		if strings.HasPrefix(s, "{") && i < len(segments) {
			out = append(out, policy.Param{Name: strings.Trim(s, "{}"), Value: segments[i]})
		}
	}
	return out
}

// target is what the upstream is asked for, or the refusal.
func target(t testing.TB, h policy.Handler, x *policy.Exchange) string {
	t.Helper()
	if v := h.Decide(t.Context(), x); v.Reject != nil {
		return policytest.Said(v) + ": " + v.Reject.Detail
	}
	path, query := x.Forwarded()
	if query == "" {
		return path
	}
	return path + "?" + query
}

func TestPath(t *testing.T) {
	for _, tc := range []struct{ pattern, policy, request, want string }{
		{"/*", `{ stripPrefix: /api }`, "/api/users", "/users"},
		{"/*", `{ stripPrefix: /api }`, "/api/users/", "/users/"},
		{"/*", `{ stripPrefix: /api }`, "/api", "/"},
		{"/*", `{ stripPrefix: /api }`, "/api/", "/"},
		{"/*", `{ stripPrefix: /api/ }`, "/api/users", "/users"},
		{"/*", `{ stripPrefix: /api }`, "/apix/users", "/apix/users"},
		{"/*", `{ stripPrefix: /api }`, "/API/users", "/API/users"},
		{"/*", `{ stripPrefix: /api }`, "/", "/"},
		{"/*", `{ stripPrefix: /api }`, "/api/api/x", "/api/x"},
		{"/*", `{ stripPrefix: /a/b }`, "/a/b/c", "/c"},
		{"/*", `{ stripPrefix: /a/b }`, "/a/c", "/a/c"},
		{"/*", `{ stripPrefix: "/a%20b" }`, "/a%20b/c", "/c"},
		{"/*", `{ addPrefix: /v2 }`, "/users", "/v2/users"},
		{"/*", `{ addPrefix: /v2/ }`, "/", "/v2/"},
		{"/*", `{ stripPrefix: /api, addPrefix: /v2 }`, "/api/users", "/v2/users"},
		{"/*", `{ stripPrefix: /api, addPrefix: /v2 }`, "/api", "/v2"},
		{"/*", `{ stripPrefix: /api, addPrefix: /v2 }`, "/api/", "/v2/"},
		{"/*", `{ stripPrefix: /api, addPrefix: /v2 }`, "/other", "/v2/other"},
		{"/users/{id}", `{ path: "/v2/people/${params.id}/x" }`, "/users/7", "/v2/people/7/x"},
		{"/users/{id}", `{ path: "/p-${params.id}" }`, "/users/a%2Cb%20c", "/p-a%2Cb%20c"},
		{"/{a}/{b}", `{ path: "/${params.b}/${params.a}" }`, "/1/2", "/2/1"},
		{"/{a}/{b}", `{ path: "/${params.a}${params.b}" }`, "/%E2%82%AC/2", "/%E2%82%AC2"},
		{"/users/{id}/*", `{ path: "/v2/${params.id}/${params.rest}" }`, "/users/7/x/y/", "/v2/7/x/y/"},
		{"/users/{id}/*", `{ path: "/v2/${params.id}/${params.rest}" }`, "/users/7", "/v2/7/"},
		{"/users/{id}/*", `{ path: "/v2/${params.id}/${params.rest}" }`, "/users/7/", "/v2/7/"},
		{"/*", `{ path: "/fixed" }`, "/a/b?c=d", "/fixed?c=d"},
		{"/*", `{ path: "/v1/${params.rest}", addPrefix: /in }`, "/a/b", "/in/v1/a/b"},
		{"/*", `{ addPrefix: /v2 }`, "/" + strings.Repeat("a", 16<<10), "400 rewrite_unsafe: the path that the upstream would see is not one the gateway forwards"},
	} {
		h, x := meet(t, tc.pattern, tc.policy, tc.request)
		if got := target(t, h, x); got != tc.want {
			t.Errorf("%s of %s becomes %s, want %s", tc.request, tc.policy, got, tc.want)
		}
	}
}

func TestQuery(t *testing.T) {
	const hidden = `400 rewrite_unsafe: the query holds a parameter of the gateway's own next to a ";", which some servers take for a separator`
	for _, tc := range []struct{ policy, request, want string }{
		{`{ remove: [a] }`, "/?a=1&b=2&a=3&a", "/?b=2"},
		{`{ remove: [a] }`, "/?a=1", "/"},
		{`{ remove: [a] }`, "/", "/"},
		{`{ remove: [a] }`, "/?b=%zz&&c=+&=d&B%3D=e", "/?b=%zz&&c=+&=d&B%3D=e"},
		{`{ remove: [a] }`, "/?&a&", "/?&"},
		{`{ remove: [a] }`, "/?%61=1&A=2&a%=3&aa=4", "/?A=2&a%=3&aa=4"},
		{`{ remove: ["a b"] }`, "/?a+b=1&a%20b=2&ab=3", "/?ab=3"},
		{`{ remove: ["%"] }`, "/?%=1&%25=2&%2=3", "/?%2=3"},
		{`{ remove: ["a=b"] }`, "/?a=b&a%3Db=1", "/?a=b"},
		{`{ set: { a: "1" } }`, "/", "/?a=1"},
		{`{ set: { a: "1" } }`, "/?b=2&a=evil&c=3&%61=evil", "/?b=2&c=3&a=1"},
		{`{ set: { b: "2", a: "" } }`, "/?c", "/?c&a=&b=2"},
		{`{ set: { "a b": "x&y=z #%?+ä" } }`, "/", "/?a%20b=x%26y%3Dz%20%23%25%3F%2B%C3%A4"},
		{`{ remove: [c], set: { id: "${params.id}", sub: "${claims.sub}", r: "${claims.roles}" } }`, "/a%20b?c=1&d", "/a%20b?d&id=a%2520b&r=a%2Cb&sub=u%261"},
		{`{ set: { sub: "${claims.none}", x: "<${claims.none}>" } }`, "/?sub=evil", "/?x=%3C%3E"},
		{`{ set: { x: "${claims.utf}" } }`, "/", "/?x=Zo%C3%AB%0D%0A"},
		{`{ set: { x: "${claims.org}" } }`, "/", "403 claim_unusable: the claim org of the token cannot be passed on"},
		{`{ set: { tenant: t } }`, "/?q=1;tenant=evil", hidden},
		{`{ set: { tenant: t } }`, "/?tenant;q=1", hidden},
		{`{ set: { tenant: t } }`, "/?tenant=evil;q=1&c=3", hidden},
		{`{ remove: [debug] }`, "/?debug=1;b=2&c=3", hidden},
		{`{ remove: [debug] }`, "/?debug=1;", hidden},
		{`{ remove: [debug] }`, "/?q=1;%64ebug", hidden},
		{`{ remove: [debug] }`, "/?q=1;x=debug;debugger=1", "/?q=1;x=debug;debugger=1"},
		{`{ set: { a: "${request.path}${request.path}" } }`, "/" + strings.Repeat("a", 9000), "400 rewrite_unsafe: the query that the upstream would see is too long"},
	} {
		h, x := meet(t, "/{id}/*", "{ query: "+tc.policy+" }", tc.request)
		claims, err := jose.Object([]byte(`{"sub":"u&1","roles":["a","b"],"org":{},"utf":"Zo\u00eb\r\n"}`))
		if err != nil {
			t.Fatal(err)
		}
		x.Principal = &policy.Principal{Claims: claims}
		if got := target(t, h, x); got != tc.want {
			t.Errorf("%s with %s becomes %s, want %s", tc.request, tc.policy, got, tc.want)
		}
	}
}

func TestCompile(t *testing.T) {
	for _, tc := range []struct{ policy, plan string }{
		{`{ path: "/v2/${params.rest}" }`, `{"path":"/v2/${params.rest}"}`},
		{`{ stripPrefix: /api/, addPrefix: / , query: {} }`, `{"stripPrefix":"/api"}`},
		{`{ addPrefix: /a, query: { remove: [b, a], set: { c: d } } }`, `{"addPrefix":"/a","query":{"remove":["a","b"],"set":{"c":"d"}}}`},
	} {
		plan, _ := policytest.Compile(t, Kind, policytest.Route{Policy: "rewrite: " + tc.policy, Match: ir.Match{Path: "/api/*"}})
		if string(plan) != tc.plan {
			t.Errorf("%s: plan %s\nwant %s", tc.policy, plan, tc.plan)
		}
	}
}

func TestCompileReports(t *testing.T) {
	const at = "policy.rewrite"
	const nothing = "warning GW3041 policy.rewrite: rewrite changes nothing (add path, stripPrefix, addPrefix or query)"
	const never = " (write a prefix of the matcher's path)"
	for _, tc := range []struct{ name, pattern, policy, want string }{
		{"nothing", "/*", `{}`, nothing},
		{"nothing in it", "/*", `{ query: { remove: [] } }`, nothing},
		{
			"path and stripPrefix", "/*", `{ path: /a, stripPrefix: /b }`,
			"error GW3040 " + at + ".stripPrefix: rewrite has both path and stripPrefix, and nothing of the request's path is left to strip (keep one of them; ${params.rest} in path is what /* stands for)",
		},
		{"the root stripped", "/*", `{ stripPrefix: / }`, "warning GW3041 " + at + ".stripPrefix: stripPrefix of / changes nothing (leave it out)"},
		{"the root added", "/*", `{ addPrefix: /, path: /a }`, "warning GW3041 " + at + ".addPrefix: addPrefix of / changes nothing (leave it out)"},
		{"another prefix", "/users/*", `{ stripPrefix: /api }`, "warning GW3041 " + at + ".stripPrefix: no path that the route takes (/users/*) is under /api" + never},
		{"a longer prefix", "/api", `{ stripPrefix: /api/v1 }`, "warning GW3041 " + at + ".stripPrefix: no path that the route takes (/api) is under /api/v1" + never},
		{"half a segment", "/apix/*", `{ stripPrefix: /api }`, "warning GW3041 " + at + ".stripPrefix: no path that the route takes (/apix/*) is under /api" + never},
		{"the prefix itself", "/api", `{ stripPrefix: /api }`, ""},
		{"under a subtree", "/api/*", `{ stripPrefix: /api/v1 }`, ""},
		{"under a capture", "/{a}/x/*", `{ stripPrefix: /api/x/y }`, ""},
		{"an expression", "", `{ stripPrefix: /api }`, ""},
		{
			"dots", "/*", `{ path: /a/../b }`,
			"error GW2104 " + at + `.path: "/a/../b" is not in the form in which paths are matched and forwarded (write "/b")`,
		},
		{"slashes", "/*", `{ addPrefix: //a }`, "error GW2104 " + at + `.addPrefix: "//a" is not in the form in which paths are matched and forwarded (write "/a")`},
		{"lower case", "/*", `{ stripPrefix: "/a%c3%a4" }`, "error GW2104 " + at + `.stripPrefix: "/a%c3%a4" is not in the form in which paths are matched and forwarded (write "/a%C3%A4")`},
		{"an escaped slash", "/*", `{ path: "/a%2Fb" }`, "error GW2104 " + at + `.path: "/a%2Fb" is no path that the gateway forwards (path_encoded_slash)`},
		{"outside ASCII", "/*", `{ path: "/ä" }`, "error GW2104 " + at + `.path: "/ä" is no path that the gateway forwards (path_not_ascii)`},
		{"a literal brace", "/*", `{ path: "/$${a}" }`, "error GW2104 " + at + `.path: "/${a}" is not in the form in which paths are matched and forwarded (write "/$%7Ba%7D")`},
		{"a template in a prefix", "/{a}/*", `{ addPrefix: "/${params.a}" }`, "error GW2104 " + at + ".addPrefix: a prefix is plain text (only path may hold ${...})"},
		{"half an escape", "/{a}", `{ path: "/%2${params.a}" }`, "error GW2104 " + at + `.path: with x for each ${...}: "/%2x" is no path that the gateway forwards (path_bad_escape)`},
		{
			"the rest within", "/a/*", `{ path: "/b/${params.rest}/c" }`,
			"error GW2104 " + at + `.path: where /* stands for nothing, the path would be "/b//c", which the gateway does not forward (put ${params.rest} at the end, after a slash)`,
		},
		{
			"the rest after a dot", "/a/*", `{ path: "/b/.${params.rest}" }`,
			"error GW2104 " + at + `.path: where /* stands for nothing, the path would be "/b/.", which the gateway does not forward (put ${params.rest} at the end, after a slash)`,
		},
		{"a fact in the path", "/{a}", `{ path: "/${claims.sub}" }`, "error GW2104 " + at + `.path: column 2: "claims.sub" is not known here; the route's path has params.a`},
		{"no rest", "/{a}", `{ path: "/${params.rest}" }`, "error GW2104 " + at + `.path: column 2: "params.rest" is not known here; the route's path has params.a`},
		{"no captures", "", `{ path: "/${params.a}" }`, "error GW2104 " + at + `.path: column 2: "params.a" is not known: the route's matcher has no captures (captures are written in path, such as "/users/{id}")`},
		{"not closed", "/{a}", `{ query: { set: { b: "x${params.a" } } }`, "error GW2104 " + at + `.query.set.b: column 2: "${" is not closed by "}" (for a literal "${" write "$${")`},
		{"a claim of nobody", "/{a}", `{ query: { set: { b: "${claims.sub}" } } }`, "error GW3042 " + at + ".query.set.b: the claim sub is known only with auth.jwt beside rewrite (add auth.jwt)"},
		{
			"removed and set", "/", `{ query: { remove: [a, b], set: { b: c } } }`,
			"warning GW3041 " + at + `.query.remove[1]: the parameter "b" is set too, in place of those that are there (leave it out of remove)`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := ir.Match{Path: tc.pattern}
			if tc.pattern == "" {
				m.PathRegex = "/a+"
			}
			_, said := policytest.Compile(t, Kind, policytest.Route{Policy: "rewrite: " + tc.policy, Match: m})
			if got := strings.Join(said, "\n"); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{"path":"/a","stripPrefix":"/b"}`:         "there are both a path and a prefix to strip",
		`{"path":"/../a"}`:                         "is no path that the gateway forwards (path_above_root)",
		`{"path":"a"}`:                             "(path_not_absolute)",
		`{"path":"/${params.a}"}`:                  `"params.a" is not known`,
		`{"path":"/${claims.a}"}`:                  `"claims.a" is not known`,
		`{"stripPrefix":"a"}`:                      "(path_not_absolute)",
		`{"stripPrefix":"/"}`:                      "ends with a slash",
		`{"addPrefix":"/a/"}`:                      `the prefix "/a/" ends with a slash`,
		`{"addPrefix":"/a b"}`:                     "(path_space)",
		`{"addPrefix":"/a\r\nHost: b"}`:            "(path_control)",
		`{"query":{"set":{"a":"${"}}}`:             `query: "a": column 1`,
		`{"query":{"remove":[""]}}`:                "query: a parameter has no name",
		`{"query":{"set":{"a":"${params.rest}"}}}`: `"params.rest" is not known`,
		`{"other":1}`:                              "unknown field",
	} {
		w := policytest.NewWorld()
		w.Route.Pattern = "/x"
		if _, err := Kind.Build(t.Context(), &w.Env, []byte(plan)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
}

// TestCapturesGone meets a request without the captures that its route has, which only a defect could bring about.
func TestCapturesGone(t *testing.T) {
	h, x := meet(t, "/{a}", `{ path: "/${params.a}" }`, "/1")
	x.Params = nil
	if got := target(t, h, x); !strings.HasPrefix(got, "400 rewrite_unsafe") || x.Path != "/1" {
		t.Errorf("%s, path %s", got, x.Path)
	}
	h, x = meet(t, "/{a}", `{ query: { set: { b: "${params.a}" } } }`, "/1")
	x.Params = nil
	if got := target(t, h, x); got != "400 rewrite_unsafe: a parameter that the upstream would see cannot be filled in" {
		t.Error(got)
	}
}

// TestExample compiles what the README shows.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\npolicy:\n(.*?)```").FindSubmatch(text)
	if example == nil {
		t.Fatal("the README has no example")
	}
	policytest.NewWorld().Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: string(example[1]), Match: ir.Match{Path: "/api/*"}}))
}

// FuzzPath rewrites any path that the gateway takes. What goes upstream is a path in normal form, under the prefix that was asked for,
// with the captures in their place.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a/b/c", "/.x/..y", "/%2E%2E/a", "/a%2Cb/%C3%A4/", "/a", "/...", "/a/b//c/./d/../e", "/$/{x}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		path, reason := match.NormalizePath(path)
		if reason != "" || strings.HasPrefix(path, "//") || path == "/" {
			return
		}
		h, x := meet(t, "/{first}/*", `{ path: "/v2/${params.first}.x/${params.rest}", addPrefix: /in }`, path)
		first, rest, _ := strings.Cut(path[1:], "/")
		want := "/in/v2/" + first + ".x/" + rest
		if got := target(t, h, x); got != want && len(want) <= maxTarget {
			t.Errorf("%q becomes %q, want %q", path, got, want)
		}
		h, x = meet(t, "/*", `{ stripPrefix: /a }`, path)
		if got := target(t, h, x); normal(got) != nil || strings.TrimPrefix(path, "/a") != got && path != got && path != "/a" {
			t.Errorf("%q without /a is %q", path, got)
		}
	})
}

// FuzzQuery edits any query. Read as matchers read it, what was set has its one value, what was removed is gone, and every other pair
// stands as it stood.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "%61=1&b", "a;b=1", "&&a&=", "a%=1&%a=2&a%6", "tenant=x&c+d=1&c%20d", "\xff=1&a%00=2"} {
		f.Add(s, "t&1=ä")
	}
	edited := map[string]string{"a": "", "c d": "", "tenant": "set"}
	f.Fuzz(func(t *testing.T, raw, value string) {
		w := policytest.NewWorld()
		plan, err := json.Marshal(&Plan{Query: &Query{Remove: []string{"a", "c d"}, Set: map[string]string{"tenant": "<${claims.v}>"}}})
		if err != nil {
			t.Fatal(err)
		}
		x := w.Exchange("GET", "/")
		x.RawQuery, x.Principal = raw, &policy.Principal{Claims: map[string]any{"v": value}}
		if v := w.Build(t, Kind, plan).Decide(t.Context(), x); v.Reject != nil {
			if !strings.Contains(raw, ";") && len(raw)+3*len(value) < maxTarget/2 {
				t.Errorf("%q: %s", raw, v.Reject.Detail)
			}
			return
		}
		_, got := x.Forwarded()
		if match.QueryMatches(got, ir.Pair{Name: "a", Value: "*"}) || match.QueryMatches(got, ir.Pair{Name: "c d", Value: "*"}) ||
			!match.QueryMatches(got, ir.Pair{Name: "tenant", Value: "<" + value + ">"}) {
			t.Fatalf("%q becomes %q", raw, got)
		}
		var kept []string
		for pair := range strings.SplitSeq(raw, "&") {
			if raw != "" && !slices.ContainsFunc(slices.Collect(maps.Keys(edited)), func(name string) bool {
				return match.QueryMatches(pair, ir.Pair{Name: name, Value: "*"})
			}) {
				kept = append(kept, pair)
			}
		}
		pairs := strings.Split(got, "&")
		if fmt.Sprint(kept) != fmt.Sprint(pairs[:len(pairs)-1]) {
			t.Errorf("%q becomes %q, which does not keep %q", raw, got, kept)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for name, text := range map[string]string{
		"strip":  `{ stripPrefix: /api }`,
		"add":    `{ stripPrefix: /api, addPrefix: /internal }`,
		"path":   `{ path: "/v2/${params.id}/${params.rest}" }`,
		"remove": `{ query: { remove: [debug, trace] } }`,
		"set":    `{ query: { remove: [debug], set: { route: "${route.id}" } } }`,
	} {
		b.Run(name, func(b *testing.B) {
			h, x := meet(b, "/api/{id}/*", text, "/api/7/x/y?page=1&sort=name&q=a%20b")
			path, query := x.Path, x.RawQuery
			b.ReportAllocs()
			for b.Loop() {
				x.Path, x.RawQuery = path, query
				if v := h.Decide(b.Context(), x); v.Reject != nil {
					b.Fatal(v.Reject)
				}
			}
		})
	}
}
