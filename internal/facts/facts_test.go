package facts_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/jose"
)

func claims(t testing.TB, text string) map[string]any {
	t.Helper()
	out, err := jose.Object([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestClaim(t *testing.T) {
	const token = `{"sub":"u1","org":{"id":"o1","a.b":{"c":2},"none":null},"https://example.com/roles":["x"],
		"https://example.com/org.v2":{"id":"o2"},"a":{"b":{"c":"deep"}},"a.b":"shadows","dot.":1}`
	for path, want := range map[string]string{
		"sub":                            "u1",
		"org.id":                         "o1",
		"org":                            "map[a.b:map[c:2] id:o1 none:<nil>]",
		"org.a.b.c":                      "2",
		"https://example.com/roles":      "[x]",
		"https://example.com/org.v2.id":  "o2",
		"a.b":                            "shadows", // the longest name that is there
		"a.b.c":                          "<nil>",   // and no other way after it
		"org.none":                       "<nil>",
		"org.other":                      "<nil>",
		"sub.length":                     "<nil>",
		"https://example.com/org.v2.id.": "<nil>",
		"Sub":                            "<nil>",
		"":                               "<nil>",
		".":                              "<nil>",
		".sub":                           "<nil>",
		"org..id":                        "<nil>",
	} {
		if got := fmt.Sprint(facts.Claim(claims(t, token), path)); got != want {
			t.Errorf("%q is %s, want %s", path, got, want)
		}
	}
	if got := facts.Claim(nil, "sub"); got != nil {
		t.Errorf("a claim of nobody is %v", got)
	}
}

func TestText(t *testing.T) {
	for token, want := range map[string]string{
		`"a b"`: "a b", `""`: "", `null`: "", `true`: "true", `false`: "false", `12`: "12", `-1.50e3`: "-1.50e3",
		`9007199254740993`: "9007199254740993", `["a","b"]`: "a,b", `[]`: "", `["a",1,true]`: "a,1,true", `["a b"]`: "a b",
		`["a,b"]`: "no", `["a\"b"]`: "no", `[""]`: "no", `["a",""]`: "no", `[" a"]`: "no", `["a\t"]`: "no", `[null]`: "no",
		`[["a"]]`: "no", `[{}]`: "no", `{}`: "no", `{"a":1}`: "no",
	} {
		got, ok := facts.Text(claims(t, `{"c":`+token+`}`)["c"])
		if !ok {
			got = "no"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", token, got, want)
		}
	}
	if _, ok := facts.Text(1.5); ok {
		t.Error("a float is text, though nobody knows how it was written")
	}
}

func TestCheck(t *testing.T) {
	const claimRule = `is no path of a claim: names of letters, digits, "_", "-", ":" and "/", with dots in between`
	const all = "client.ip, request.host, request.id, request.method, request.path, route.id, tenant, and claims.<path>"
	const none = `: the route's matcher has no captures (captures are written in path, such as "/users/{id}")`
	for _, tc := range []struct{ pattern, name, want string }{
		{"/", "request.id", ""},
		{"/", "client.ip", ""},
		{"/", "tenant", ""},
		{"/", "claims.sub", ""},
		{"/", "claims.https://example.com/roles", ""},
		{"/", "claims.", `"" ` + claimRule},
		{"/", "claims.a..b", `"a..b" ` + claimRule},
		{"/", "claims.a b", `"a b" ` + claimRule},
		{"/", "claims." + strings.Repeat("a", 257), `"` + strings.Repeat("a", 257) + `" ` + claimRule},
		{"/", "request.Id", `"request.Id" is not known; there are ` + all + ` (did you mean "request.id")`},
		{"/{id}", "header.x", `"header.x" is not known; there are params.id, ` + all},
		{"/", "", `"" is not known; there are ` + all},
		{"/{id}/{to}/*", "params.id", ""},
		{"/{id}/{to}/*", "params.rest", ""},
		{"/{id}/{to}", "params.rest", `"params.rest" is not known here; the route's path has params.id, params.to`},
		{"/{user}", "params.usr", `"params.usr" is not known here; the route's path has params.user (did you mean "params.user")`},
		{"/{rest}/*", "params.rest", `"params.rest" could be the capture {rest} or what "/*" stands for (give the capture another name)`},
		{"/{rest}/x", "params.rest", ""},
		{"/a", "params.id", `"params.id" is not known` + none},
		{"", "params.id", `"params.id" is not known` + none},
		{"/(a|b)", "params.a", `"params.a" is not known` + none},
	} {
		got, hint := facts.Of(tc.pattern).Check(tc.name)
		if hint != "" {
			got += " (" + hint + ")"
		}
		if got != tc.want {
			t.Errorf("%s, %s: %s\nwant %s", tc.pattern, tc.name, got, tc.want)
		}
	}
}

func request(t testing.TB, pattern, path string, captures ...string) *facts.Request {
	return &facts.Request{
		Names: facts.Of(pattern), Route: "r", ID: "req-1", Method: "GET", Host: "api.example.com", Path: path,
		Client: netip.MustParseAddr("::ffff:192.0.2.1"), Tenant: "acme", Claims: claims(t, `{"sub":"u1","n":7,"roles":["a","b"],"o":{}}`),
		Captures: pairs(captures),
	}
}

// pairs are names of captures, each before its value.
type pairs []string

func (p pairs) Param(name string) (string, bool) {
	for i := 0; i < len(p); i += 2 {
		if p[i] == name {
			return p[i+1], true
		}
	}
	return "", false
}

func TestValue(t *testing.T) {
	for _, tc := range []struct{ pattern, path, name, want string }{
		{"/", "/", "client.ip", "192.0.2.1"},
		{"/", "/", "request.host", "api.example.com"},
		{"/", "/", "request.id", "req-1"},
		{"/", "/", "request.method", "GET"},
		{"/", "/a%20b", "request.path", "/a%20b"},
		{"/", "/", "route.id", "r"},
		{"/", "/", "tenant", "acme"},
		{"/", "/", "claims.sub", "u1"},
		{"/", "/", "claims.n", "7"},
		{"/", "/", "claims.roles", "a,b"},
		{"/", "/", "claims.none", ""},
		{"/", "/", "claims.o", "none"},
		{"/{id}", "/a%20b", "params.id", "a%20b"},
		{"/{id}", "/a%20b", "params.other", "none"},
		{"/", "/", "params.rest", "none"},
		{"/", "/", "request.body", "none"},
		{"/*", "/", "params.rest", ""},
		{"/*", "/a/b", "params.rest", "a/b"},
		{"/api/users/*", "/api/users", "params.rest", ""},
		{"/api/users/*", "/api/users/", "params.rest", ""},
		{"/api/users/*", "/api/users/a", "params.rest", "a"},
		{"/api/users/*", "/api/users/a/b/", "params.rest", "a/b/"},
		{"/api/{x}/*", "/api/%2Ba/b%20c", "params.rest", "b%20c"},
		{"/api/users/*", "/", "params.rest", ""},
		{"/api/users/*", "", "params.rest", ""},
	} {
		got, ok := request(t, tc.pattern, tc.path, "id", "a%20b").Value(tc.name)
		if !ok {
			got = "none"
		}
		if got != tc.want {
			t.Errorf("%s of %s under %s is %q, want %q", tc.name, tc.path, tc.pattern, got, tc.want)
		}
	}
	nobody := &facts.Request{Names: facts.Of("/")}
	for _, name := range []string{"client.ip", "claims.sub", "request.id", "tenant"} {
		if got, ok := nobody.Value(name); got != "" || !ok {
			t.Errorf("%s of nothing is %q, %t", name, got, ok)
		}
	}
}

// FuzzClaim looks up any path in any claims. What is found is there: it has a way to it whose names, joined with dots, are the path.
func FuzzClaim(f *testing.F) {
	for _, s := range [][2]string{
		{`{"a.b":{"c":1},"a":{"b":2}}`, "a.b.c"}, {`{"":{"":1}}`, "."}, {`{"a":[{"b":1}]}`, "a.b"}, {`{"a.":1,".a":2,".":3}`, "a."},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, token, path string) {
		all, err := jose.Object([]byte(token))
		if err != nil {
			return
		}
		got := facts.Claim(all, path)
		if got != nil && !reachable(all, path, got) {
			t.Errorf("%s has %v at %q", token, got, path)
		}
		_, _ = facts.Text(got)
	})
}

func reachable(in any, path string, want any) bool {
	o, _ := in.(map[string]any)
	for name, v := range o {
		after, ok := strings.CutPrefix(path, name+".")
		if name != "" && (name == path && same(v, want) || ok && reachable(v, after, want)) {
			return true
		}
	}
	return false
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func BenchmarkClaim(b *testing.B) {
	c := claims(b, `{"sub":"u1","https://example.com/org":{"id":"o1"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if facts.Claim(c, "https://example.com/org.id") != "o1" {
			b.Fatal("not found")
		}
	}
}
