package headers

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// jwt stands beside the policy under test.
const jwt = `auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/jwks" } }` + "\n"

// newHandler compiles and builds the policy of a route with a path.
func newHandler(t testing.TB, w *policytest.World, path, text string) policy.Handler {
	t.Helper()
	plan := policytest.MustCompile(t, Kind, policytest.Route{Policy: jwt + "headers: " + text, Match: ir.Match{Path: path}})
	w.Route.Pattern = path
	return w.Build(t, Kind, plan)
}

func fieldsOf(h *httpmsg.Header) string {
	var out []string
	for _, f := range h.Fields {
		out = append(out, f.Name+": "+f.Value)
	}
	return strings.Join(out, " | ")
}

// meet lets a request meet the policy of the route /users/{id}/*.
func meet(t testing.TB, text string, lines ...string) (policy.Handler, *policy.Exchange) {
	t.Helper()
	w := policytest.NewWorld()
	h := newHandler(t, w, "/users/{id}/*", text)
	x := w.Exchange("GET", "/users/a%20b/x/y", lines...)
	x.Request.Host = "api.example.com"
	x.Params = []policy.Param{{Name: "id", Value: "a%20b"}}
	claims, err := jose.Object([]byte(`{"sub":"u1","n":7,"roles":["a","b"],"org":{"id":"o1"},"crlf":"a\r\nX-Admin: 1","nul":"\u0000",
		"utf":"Zo\u00eb","edge":"a ","long":"` + strings.Repeat("a", 5000) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	x.Principal = &policy.Principal{Subject: "u1", Claims: claims}
	return h, x
}

func TestRequest(t *testing.T) {
	for _, tc := range []struct {
		name, policy string
		lines        []string
		want         string
	}{
		{"remove", `{ request: { remove: [X-A] } }`, []string{"X-A: 1", "B: 2", "x_a: 3", "X.A: 4", "X-Ab: 5"}, "B: 2 | X-Ab: 5"},
		{"set", `{ request: { set: { X-A: new } } }`, []string{"x_a: 1", "B: 2", "X-A: 3"}, "B: 2 | X-A: new"},
		{"add", `{ request: { add: { X-A: new } } }`, []string{"x-a: 1", "B: 2"}, "x-a: 1 | B: 2 | X-A: new"},
		{
			"in this order", `{ request: { add: { A: a2, C: c1 }, set: { A: a1, B: b1 }, remove: [C] } }`,
			[]string{"A: 0", "C: 0", "D: 0"},
			"D: 0 | A: a1 | B: b1 | A: a2 | C: c1",
		},
		{"literal", `{ request: { set: { X-A: "$${a} $5 {b}", X-B: "" } } }`, nil, "X-A: ${a} $5 {b} | X-B: "},
		{
			"facts", `{ request: { set: { A: "${request.method} ${request.host} ${request.path}", B: "${client.ip}", C: "${route.id}/${request.id}" } } }`, nil,
			"A: GET api.example.com /users/a%20b/x/y | B: 192.0.2.1 | C: r/req-1",
		},
		{"captures", `{ request: { set: { A: "${params.id}", B: "<${params.rest}>" } } }`, nil, "A: a%20b | B: <x/y>"},
		{"claims", `{ request: { set: { A: "${claims.sub}", B: "${claims.n}-${claims.org.id}", C: "${claims.roles}" } } }`, nil, "A: u1 | B: 7-o1 | C: a,b"},
		{"absent", `{ request: { set: { A: "${claims.none}", B: "Bearer ${claims.none}", C: "<${claims.none}>" } } }`, []string{"A: evil"}, "B: Bearer | C: <>"},
		{"authorization", `{ request: { set: { Authorization: "Bearer ${claims.sub}" } } }`, []string{"authorization: Basic x"}, "Authorization: Bearer u1"},
		{"line break", `{ request: { set: { A: "${claims.crlf}" } } }`, nil, "403 claim_unusable: the claim crlf of the token cannot be passed on"},
		{"within text", `{ request: { set: { A: "a ${claims.sub} ${claims.nul} b" } } }`, nil, "403 claim_unusable: the claim nul of the token cannot be passed on"},
		{"outside ASCII", `{ request: { add: { A: "<${claims.utf}>" } } }`, nil, "403 claim_unusable: the claim utf of the token cannot be passed on"},
		{"spaces at the ends", `{ request: { add: { A: "<${claims.edge}>" } } }`, nil, "403 claim_unusable: the claim edge of the token cannot be passed on"},
		{"an object", `{ request: { add: { A: "<${claims.org}>" } } }`, nil, "403 claim_unusable: the claim org of the token cannot be passed on"},
		{"too long", `{ request: { set: { A: "${claims.long}${claims.long}" } } }`, nil, "400 header_unusable: the field A cannot be filled in for this request"},
		{"long enough", `{ request: { set: { A: "${claims.sub}${claims.org.id}" }, remove: [X] } }`, nil, "A: u1o1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, x := meet(t, tc.policy, tc.lines...)
			v := h.Decide(t.Context(), x)
			got := fieldsOf(&x.Request.Header)
			if v.Reject != nil {
				got = policytest.Said(v) + ": " + v.Reject.Detail
			}
			if got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestNobody(t *testing.T) {
	h, x := meet(t, `{ request: { set: { X-User: "${claims.sub}" } } }`, "X-User: evil", "x_user: evil", "B: 1")
	x.Principal = nil
	if v := h.Decide(t.Context(), x); v.Reject != nil || fieldsOf(&x.Request.Header) != "B: 1" {
		t.Errorf("%s, %s", policytest.Said(v), fieldsOf(&x.Request.Header))
	}
	if _, edits := h.(policy.ResponseHandler); edits {
		t.Error("a policy without response edits is asked about responses")
	}
}

func TestResponse(t *testing.T) {
	h, x := meet(t, `{ response: { remove: [server], set: { X-Request-Id: "${request.id}", X-User: "${claims.crlf}" }, add: { Via: gw, X-Big: "${claims.long}${claims.long}" } } }`)
	var log strings.Builder
	h.(*both).log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if v := h.Decide(t.Context(), x); v.Reject != nil {
		t.Fatal(policytest.Said(v))
	}
	for range 2 {
		r := &httpmsg.Response{Status: 200, Header: httpmsg.Header{Fields: []httpmsg.Field{
			{Name: "Server", Value: "x"}, {Name: "x-request-id", Value: "theirs"}, {Name: "X-User", Value: "theirs"}, {Name: "Via", Value: "up"},
		}}}
		h.(policy.ResponseHandler).Respond(t.Context(), x, r)
		if got, want := fieldsOf(&r.Header), "Via: up | X-Request-Id: req-1 | Via: gw"; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	const said = `msg="a response field cannot be filled in and is left out; only the first time is a warning" field=`
	var got []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, "level=")
		got = append(got, strings.TrimSpace(line))
	}
	want := []string{"WARN " + said + "X-User", "DEBUG " + said + "X-Big", "DEBUG " + said + "X-User", "DEBUG " + said + "X-Big"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRefusedBefore lets the policy edit the answer to a request that nothing is known of.
func TestRefusedBefore(t *testing.T) {
	h, x := meet(t, `{ response: { set: { X-User: "u-${claims.sub}", X-Nobody: "${claims.sub}" } } }`)
	x.Principal = nil
	r := &httpmsg.Response{Status: 401}
	h.(policy.ResponseHandler).Respond(t.Context(), x, r)
	if got := fieldsOf(&r.Header); got != "X-User: u-" {
		t.Error(got)
	}
}

func TestCompile(t *testing.T) {
	text := jwt + `headers: { request: { remove: [X-B, X-A], set: { X-C: "${claims.sub}" } }, response: { add: { X-D: d }, remove: [] } }`
	want := `{"request":{"remove":["X-A","X-B"],"set":{"X-C":"${claims.sub}"}},"response":{"add":{"X-D":"d"}}}`
	if got := policytest.MustCompile(t, Kind, policytest.Route{Policy: text}); string(got) != want {
		t.Errorf("plan %s\nwant %s", got, want)
	}
}

func TestCompileReports(t *testing.T) {
	const at = "policy.headers."
	const nothing = "warning GW3041 policy.headers: headers changes nothing (add remove, set or add to request or response)"
	const ascii = ": the value must be ASCII, without control characters, and without spaces at its ends"
	const connection = `" belongs to the connection, which the gateway looks after itself (leave it out)`
	for _, tc := range []struct{ name, policy, want string }{
		{"nothing", `headers: {}`, nothing},
		{"nothing in it", `headers: { request: { remove: [] }, response: {} }`, nothing},
		{"length", `headers: { request: { set: { Content-Length: "1" } } }`, "error GW3040 " + at + `request.set.Content-Length: the field "Content-Length` + connection},
		{"length of a response", `headers: { response: { add: { content_length: "1" } } }`, "error GW3040 " + at + `response.add.content_length: the field "content_length` + connection},
		{"trailer", `headers: { response: { remove: [X-A, Trailer] } }`, "error GW3040 " + at + `response.remove[1]: the field "Trailer` + connection},
		{"host", `headers: { request: { set: { host: "a" } } }`, "error GW3040 " + at + "request.set.host: Host says whom the request is for, and is written by the gateway itself (set host of the upstream)"},
		{
			"forwarding", `headers: { request: { remove: [X-Forwarded-For] } }`,
			"error GW3040 " + at + `request.remove[0]: the field "X-Forwarded-For" is written by the gateway itself, and says where the request came from (use a field of another name)`,
		},
		{"forwarding of a response", `headers: { response: { set: { X-Request-Id: "${request.id}" } } }`, ""},
		{
			"removed and set", `headers: { request: { remove: [X_A], set: { X-A: a } } }`,
			"warning GW3041 " + at + `request.remove[0]: the field "X-A" is set too, in place of those that are there (leave it out of remove)`,
		},
		{"removed and added", `headers: { request: { remove: [X-A], add: { X-A: a } } }`, ""},
		{
			"one variable", `headers: { request: { set: { X-A: a, x_a: b } } }`,
			"error GW3040 " + at + `request.set.x_a: the field "x_a" is set as "X-A" too: many servers take both names for one (keep one of them)`,
		},
		{"a claim of nobody", `headers: { request: { set: { X-A: "${claims.sub}" } } }`, "error GW3042 " + at + "request.set.X-A: the claim sub is known only with auth.jwt beside headers (add auth.jwt)"},
		{"a claim", jwt + `headers: { request: { set: { X-A: "${claims.https://x.org/a.b}" } } }`, ""},
		{
			"unknown capture", `headers: { request: { set: { X-A: "a ${params.usr}" } } }`,
			"error GW2104 " + at + `request.set.X-A: column 3: "params.usr" is not known here; the route's path has params.user, params.rest (did you mean "params.user")`,
		},
		{
			"unknown name", `headers: { response: { add: { X-A: "${request.id2}" } } }`,
			"error GW2104 " + at + `response.add.X-A: column 1: "request.id2" is not known; there are params.user, params.rest, client.ip, request.host, request.id, request.method, request.path, route.id, tenant, and claims.<path> (did you mean "request.id")`,
		},
		{"not closed", `headers: { request: { set: { X-A: "${params.user" } } }`, "error GW2104 " + at + `request.set.X-A: column 1: "${" is not closed by "}" (for a literal "${" write "$${")`},
		{"outside ASCII", `headers: { response: { set: { X-A: "Grüße" } } }`, "error GW2104 " + at + "response.set.X-A" + ascii},
		{"space at the end", `headers: { request: { set: { X-A: "${params.user} " } } }`, "error GW2104 " + at + "request.set.X-A" + ascii},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, said := policytest.Compile(t, Kind, policytest.Route{Policy: tc.policy, Match: ir.Match{Path: "/{user}/*"}})
			if got := strings.Join(said, "\n"); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{"request":{"set":{"X":"${"}}}`:             `request: X: column 1: "${" is not closed`,
		`{"request":{"set":{"X":"${params.a}"}}}`:    `"params.a" is not known`,
		`{"request":{"set":{"X":"a\r\nX-Y: 1"}}}`:    "the value must be ASCII",
		`{"request":{"set":{"X: 1\r\nY":"a"}}}`:      "is no name of a field",
		`{"request":{"remove":[""]}}`:                `request: "" is no name of a field`,
		`{"request":{"add":{"Host":"a"}}}`:           "request: Host says whom",
		`{"response":{"add":{"upgrade":"a"}}}`:       `response: the field "upgrade" belongs to the connection`,
		`{"response":{"remove":["Content-Length"]}}`: "belongs to the connection",
		`{"other":{}}`: "unknown field",
	} {
		w := policytest.NewWorld()
		w.Route.Pattern = "/"
		if _, err := Kind.Build(t.Context(), &w.Env, []byte(plan)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
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
	policytest.NewWorld().Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: string(example[1])}))
}

// FuzzDecide lets requests with any path and claim meet a policy: what is written is a field, and the client's own is gone.
func FuzzDecide(f *testing.F) {
	for _, s := range [][2]string{{"/a/b/c", `"x"`}, {"/%C3%A4/", `"\r\n"`}, {"/a", `["a,b"]`}, {"//a/../b", `{"a":1}`}, {"/a/b", `" "`}} {
		f.Add(s[0], s[1], "x_user")
	}
	f.Fuzz(func(t *testing.T, path, claim, name string) {
		claims, err := jose.Object([]byte(`{"c":` + claim + `}`))
		path, reason := match.NormalizePath(path)
		if err != nil || reason != "" || path == "/" || !headerfield.IsName(name) {
			return
		}
		w := policytest.NewWorld()
		h := newHandler(t, w, "/{first}/*", `{ request: { set: { X-User: "${params.first} ${claims.c} ${params.rest}" } } }`)
		x := w.Exchange("GET", path, name+": evil")
		first, _, _ := strings.Cut(path[1:], "/")
		x.Params = []policy.Param{{Name: "first", Value: first}}
		x.Principal = &policy.Principal{Claims: claims}
		v := h.Decide(t.Context(), x)
		if v.Reject != nil {
			if got := policytest.Said(v); got != "403 claim_unusable" && got != "400 header_unusable" {
				t.Error(got)
			}
			return
		}
		var values []string
		for _, f := range x.Request.Header.Fields {
			if headerfield.Among(f.Name, []string{"x-user"}) {
				values = append(values, f.Value)
			}
		}
		if len(values) != 1 || !headerfield.IsValue(values[0]) || !strings.HasPrefix(values[0], first) {
			t.Errorf("%q and %s make %q", path, claim, values)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for name, text := range map[string]string{
		"remove":   `{ request: { remove: [X-A, X-B, X-C] } }`,
		"one fact": `{ request: { set: { X-User: "${claims.sub}", X-Id: "${params.id}", X-R: r } } }`,
		"text":     `{ request: { set: { X-User: "user=${claims.sub}; id=${params.id}" } } }`,
	} {
		b.Run(name, func(b *testing.B) {
			h, x := meet(b, text, "Accept: */*", "User-Agent: x", "Accept-Encoding: gzip", "Authorization: Bearer x", "Cookie: a=b")
			head := x.Request.Header.Fields
			b.ReportAllocs()
			for b.Loop() {
				x.Request.Header.Fields = head[:5]
				if v := h.Decide(b.Context(), x); v.Reject != nil {
					b.Fatal(v.Reject)
				}
				head = x.Request.Header.Fields
			}
		})
	}
}

func BenchmarkRespond(b *testing.B) {
	h, x := meet(b, `{ response: { remove: [Server], set: { X-Request-Id: "${request.id}" } } }`)
	r := &httpmsg.Response{}
	head := make([]httpmsg.Field, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		r.Header.Fields = append(head[:0], httpmsg.Field{Name: "Server", Value: "x"}, httpmsg.Field{Name: "Content-Type", Value: "text/plain"})
		h.(policy.ResponseHandler).Respond(b.Context(), x, r)
	}
}
