package v1

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

const goldenMistakes = "testdata/mistakes.golden"

// TestGoldenMistakes compares what authors are told with what a reviewer has found good; GOLDEN_UPDATE=1 rewrites it.
func TestGoldenMistakes(t *testing.T) {
	var b strings.Builder
	for _, m := range mistakes() {
		var l diag.List
		Validate(m.def, parse(t, m.doc), strings.TrimPrefix(lowerFirst(m.def), "file"), &l)
		fmt.Fprintf(&b, "# %s (%s)\n", m.name, m.def)
		for i, line := range strings.Split(m.doc, "\n") {
			fmt.Fprintf(&b, "%3d | %s\n", i+1, line)
		}
		for _, line := range lines(&l) {
			fmt.Fprintf(&b, "    > %s\n", line)
		}
		b.WriteString("\n")
	}
	if os.Getenv("GOLDEN_UPDATE") != "" {
		if err := os.WriteFile(goldenMistakes, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenMistakes)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(b.String(), "\n# ")
	old := strings.Split(string(want), "\n# ")
	for i := range max(len(got), len(old)) {
		switch {
		case i >= len(got):
			t.Errorf("gone:\n%s", old[i])
		case i >= len(old):
			t.Errorf("new:\n%s", got[i])
		case got[i] != old[i]:
			t.Errorf("got:\n%s\nwant:\n%s", got[i], old[i])
		}
	}
}

func TestGuideExamples(t *testing.T) {
	tests := []struct {
		name, def, doc string
		want           []string
	}{
		{"a protected route", "Route", `{ "id": "users-api",
 "matcher": { "path": "/api/users/*", "methods": ["GET"] },
 "target": { "type": "http", "url": "http://users:8080" },
 "policy": {
  "auth": { "jwt": { "issuer": "https://identity.suuupra.local", "audience": "suuupra-api",
   "jwksUri": "https://identity.suuupra.local/.well-known/jwks.json", "requiredRoles": ["user"],
   "requiredScopes": ["user.read"], "clockSkewSeconds": 60 } } } }`, nil},
		{"discovery and a limit", "RoutePolicy", `auth: { jwt: { issuer: "https://identity.suuupra.local", jwksCacheMaxAgeMs: 600000 } }
rateLimit: { enabled: true, tokensPerInterval: 60, intervalMs: 60000 }
timeout: 10000`, nil},
		{"the admin switches", "Gateway", `name: shop
admin: { apiEnabled: true, hotReloadEnabled: true, secretsManagementEnabled: true, dashboardUiEnabled: false }`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l diag.List
			Validate(tt.def, parse(t, tt.doc), "x", &l)
			if got := lines(&l); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got:\n%q\nwant:\n%q", got, tt.want)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	tests := []struct{ root, def, doc, want string }{
		{"routes[3]", "Route", "id: a\nmatcher: { path: /, methods: [get] }\ntarget: { type: http, upstream: u }", "routes[3].matcher.methods[0]"},
		{"routes[3]", "Route", "id: a\nmatcher: { path: /, headers: { \"x y\": a } }\ntarget: { type: http, upstream: u }", `routes[3].matcher.headers["x y"]`},
		{"routes[3]", "Route", "id: a\nmatcher: { path: /, headers: { x-y: 1 } }\ntarget: { type: http, upstream: u }", `routes[3].matcher.headers.x-y`},
		{"", "File", "apiVersion: gateway.suuupra.dev/v1\nroutes: [{ id: a b }]", "routes[0].id"},
		{"gateway", "Gateway", "name: shop\nlimits: { maxHeaderFields: 0 }", "gateway.limits.maxHeaderFields"},
	}
	for _, tt := range tests {
		var l diag.List
		Validate(tt.def, parse(t, tt.doc), tt.root, &l)
		if got := l.Sorted(); len(got) != 1 || got[0].Path != tt.want {
			t.Errorf("%s: got %+v, want one diagnostic at %s", tt.doc, got, tt.want)
		}
	}
}

// TestMessagesAreBounded gives every diagnostic something long to quote.
func TestMessagesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	docs := map[string]string{
		"Route": `{ id: a, matcher: { path: /, headers: { LONG: "a\nb" }, LONG: 1, methods: [LONG] }, target: { type: LONG, url: "http://a/?LONG" } }`,
		"File":  `{ apiVersion: gateway.suuupra.dev/v1, routes: [{ id: a }, LONG], LONG: 1, gateway: LONG }`,
	}
	for def, doc := range docs {
		n := parse(t, doc)
		stretch(n, long)
		var l diag.List
		Validate(def, n, "", &l)
		if l.Len() < 3 {
			t.Errorf("%s: only %q", def, lines(&l))
		}
		for _, d := range l.Sorted() {
			if n := len(d.Message) + len(d.Hint) + len(d.Path); n > 1000 {
				t.Errorf("%s: %s has %d bytes: %.200s", def, d.Code, n, d.Message)
			}
		}
	}
}

// stretch writes long in place of LONG, in names and values.
func stretch(n *schema.Node, long string) {
	n.Str = strings.ReplaceAll(n.Str, "LONG", long)
	for _, item := range n.Items {
		stretch(item, long)
	}
	for i := range n.Fields {
		n.Fields[i].Name = strings.ReplaceAll(n.Fields[i].Name, "LONG", long)
		stretch(n.Fields[i].Value, long)
	}
}

// TestNoSecretIsPrinted looks for the values of the secrets among the mistakes, in every field of every diagnostic, and
// wants every line that holds one marked.
func TestNoSecretIsPrinted(t *testing.T) {
	secrets := []string{"hunter22", "PRIVATE KEY", "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJub25lIn0", "correcthorse", "staple-battery", "pa55word"}
	found := map[string]bool{}
	for _, m := range mistakes() {
		root := parse(t, m.doc)
		var l diag.List
		Validate(m.def, root, "", &l)
		docLines := strings.Split(m.doc, "\n")
		for _, d := range l.Sorted() {
			for _, secret := range secrets {
				if strings.Contains(d.Message+d.Hint+d.Path+fmt.Sprint(d.Notes), secret) {
					t.Errorf("%s: a diagnostic shows %q: %+v", m.name, secret, d)
				}
				if strings.Contains(docLines[d.Pos.Line-1], secret) {
					found[secret] = true
					if !d.Redact {
						t.Errorf("%s: %+v points at a line with %q and is not marked", m.name, d, secret)
					}
				}
			}
		}
	}
	for _, secret := range secrets {
		if !found[secret] {
			t.Errorf("%q is not found", secret)
		}
	}
}

// TestEveryCodeIsShown holds the codes of this package, their explanations and the golden mistakes together.
func TestEveryCodeIsShown(t *testing.T) {
	golden, err := os.ReadFile(goldenMistakes)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range diag.Explanations() {
		if strings.HasPrefix(string(e.Code), "GW2") && !strings.Contains(string(golden), string(e.Code)) {
			t.Errorf("no mistake shows %s (%s)", e.Code, e.Title)
		}
	}
	for _, m := range mistakes() {
		var l diag.List
		Validate(m.def, parse(t, m.doc), strings.TrimPrefix(lowerFirst(m.def), "file"), &l)
		for _, d := range l.Sorted() {
			if !explained(d.Code) {
				t.Errorf("%s: %s has no explanation", m.name, d.Code)
			}
			if d.Pos.Line == 0 || d.Width < 1 || d.Message == "" || strings.HasSuffix(d.Message, ".") {
				t.Errorf("%s: %+v", m.name, d)
			}
		}
	}
}

func explained(code diag.Code) bool {
	for _, e := range diag.Explanations() {
		if e.Code == code {
			return e.Why != "" && e.Fix != ""
		}
	}
	return false
}

// FuzzValidate looks for trees that make a definition panic, or the walker and the JSON Schema disagree.
func FuzzValidate(f *testing.F) {
	for _, m := range mistakes() {
		f.Add(m.def, m.doc)
	}
	f.Add("Route", usersRoute)
	f.Fuzz(func(t *testing.T, def, doc string) {
		n := tryParse(doc)
		if n == nil || shapes()[def] == nil {
			t.Skip()
		}
		var shapeOnly, all diag.List
		w := walker{diags: &shapeOnly, shapeOnly: true}
		sound := w.value(shapes()[def], n, &loc{name: "x", index: -1})
		if bySchema := Verdict(def, n) == nil; bySchema != sound && !hasWholeFloat(n) {
			t.Errorf("the walker says %v, the schema %v: %q", sound, bySchema, lines(&shapeOnly))
		}
		if Validate(def, n, "x", &all); !sound && def != "File" && !all.HasErrors() {
			t.Errorf("the schema refuses what Validate accepts")
		}
		if into := newOf(def); into != nil && sound {
			var l diag.List
			if Decode(n, "x", into, &l); l.Len() > 0 {
				t.Errorf("what is sound does not decode: %q", lines(&l))
			}
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	n := parse(b, usersRoute)
	b.Run("validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var l diag.List
			if Validate("Route", n, "routes[0]", &l); l.Len() > 0 {
				b.Fatal(lines(&l))
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var l diag.List
			var r Route
			Decode(n, "routes[0]", &r, &l)
		}
	})
	b.Run("jsonschema", func(b *testing.B) { // what the verdict would cost without the walker
		b.ReportAllocs()
		for b.Loop() {
			if err := Verdict("Route", n); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("envelope", func(b *testing.B) {
		file := &schema.Node{Kind: schema.Map, Fields: []schema.Field{
			{Name: "apiVersion", Value: &schema.Node{Kind: schema.String, Str: APIVersion}},
			{Name: "routes", Value: &schema.Node{Kind: schema.List, Items: []*schema.Node{n}}},
		}}
		b.ReportAllocs()
		for b.Loop() {
			var l diag.List
			Validate("File", file, "", &l)
		}
	})
}
