package simulate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/simulate"
)

// TestCasesAreAlone runs cases that would disturb one another if anything was left of the one before: of counters, used tokens, API
// keys, breakers, or clocks.
func TestCasesAreAlone(t *testing.T) {
	var b strings.Builder
	b.WriteString("tests:\n")
	for i := range 3 {
		fmt.Fprintf(&b, `  - name: case %d
    at: 202%d-01-01T00:00:00Z
    requests:
      - { send: { url: /limited }, times: 10, expect: { status: 200 } }
      - { send: { url: /limited }, expect: { status: 429 } }
      - { send: { url: /once, token: { claims: { jti: a } } }, expect: { status: 200 } }
      - { send: { url: /keyed/a, apiKey: { unknown: true } }, times: 60, expect: { status: 401 } }
      - { send: { url: /keyed/a, apiKey: { unknown: true } }, expect: { status: 429 } }
      - { send: { url: /broken }, times: 5, upstream: { fails: connect }, expect: { status: 502 } }
      - { send: { url: /broken }, expect: { status: 503 } }
`, i, 7-3*i)
	}
	r := newRig(t, site, b.String())
	s := r.suite()
	for range 2 {
		results, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := said(results); len(got) > 0 || len(results) != 3 || results[0].Requests != 79 {
			t.Errorf("%q, %d requests", got, results[0].Requests)
		}
	}
}

// TestMisfits has tests that do not go with the configuration: they fail, and say what is wrong with them.
func TestMisfits(t *testing.T) {
	for _, tt := range []struct{ name, request, want string }{
		{
			"a signature without a key", `{ send: { url: /open/a, signed: {} }, expect: { status: 200 } }`,
			"5:17 request 0/0 send: expected a request that can be made, got there is no key to sign the URL with: route open has no policy.signedUrl",
		},
		{
			"a signature without a route", `{ send: { url: /nowhere, signed: {} }, expect: { status: 200 } }`,
			"5:17 request 0/0 send: expected a request that can be made, got there is nothing to sign the URL for: no route takes the request",
		},
		{
			"a signature of a path that is none", `{ send: { url: /signed/a, signed: { prefix: /other } }, expect: { status: 200 } }`,
			`5:17 request 0/0 send: expected a request that can be made, got the path "/signed/a" does not lie under the prefix "/other"`,
		},
		{
			"a path of the gateway's own", `{ send: { url: /admin/../health }, expect: { status: 200 } }`,
			"5:17 request 0/0 send: expected a request that can be made, got /health is a path that the gateway answers itself, before any route; it cannot be tested here",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			results := newRig(t, site, one(tt.request, "")).run()
			if got := said(results); !slices.Equal(got, []string{tt.want}) {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

const failing = `tests:
  - name: a user without a role is refused
    requests:
      - { send: { url: /limited }, times: 10, expect: { status: 200 } }
      - send: { url: /users/1, from: 10.0.0.1, token: { claims: { roles: [admin] } } }
        times: 2
        expect: { status: 200, headers: { X-A: b }, forwarded: { headers: { X-User-Id: test } } }
  - name: nobody is asked
    requests: [{ send: { url: /nowhere }, expect: { status: 200 } }]
  - name: an upstream fails
    upstream: { fails: reset }
    requests: [{ send: { url: /open/a }, expect: { status: 200 } }]
  - name: cannot be signed
    requests: [{ send: { url: /open/a, signed: {} }, expect: { status: 200 } }]
  - name: passes
    requests: [{ send: { url: /open/a }, expect: { status: 200 } }]
`

var took = regexp.MustCompile(`in [0-9.]+(µs|ms|s)|"tookMillis": [0-9.]+`)

// TestGoldenReports holds the formats: text is read by people, the others by programs that know them.
func TestGoldenReports(t *testing.T) {
	const config = `
upstreams: [{ id: plain, targets: [{ url: "http://plain:8080" }] }]
routes:
  - { id: open, matcher: { path: "/open/*" }, target: { type: http, upstream: plain } }
  - id: users
    matcher: { path: "/users/*" }
    target: { type: http, upstream: plain }
    policy:
      auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/keys", requiredRoles: [user] } }
      headers: { request: { remove: [X-Internal] } }
  - { id: limited, matcher: { path: /limited }, target: { type: http, upstream: plain }, policy: { rateLimit: { tokensPerInterval: 10, intervalMs: 60000 } } }
  - { id: inside, matcher: { path: /inside }, target: { type: http, upstream: plain }, policy: { ip: { allow: [10.0.0.0/8], deny: [10.6.6.0/24] } } }
`
	ran := func(tests string) (*simulate.Report, *simulate.Suite) {
		s := newRig(t, config, tests).suite()
		results, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return &simulate.Report{Results: results, Coverage: s.Coverage(results)}, s
	}
	failed, _ := ran(failing)
	passed, s := ran(one(`{ send: { url: /limited }, times: 10, expect: { status: 200 } }
{ send: { url: /users/a, token: { claims: { roles: [user] } } }, expect: { status: 200 } }`, ""))
	var err error
	if passed.Mutation, err = s.Mutate(t.Context(), passed.Results); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*simulate.Report{"failed": failed, "passed": passed} {
		for format, print := range map[string]func(io.Writer) error{"txt": r.Text, "json": r.JSON, "xml": r.JUnit} {
			var b strings.Builder
			if err := print(&b); err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, "testdata/"+name+"."+format, []byte(took.ReplaceAllString(b.String(), "<took>")))
		}
	}
}

// TestDeterminism runs everything again and again: what is said must not depend on chance, on the order of maps, or on how many
// goroutines there are.
func TestDeterminism(t *testing.T) {
	print := func() string {
		r := newRig(t, site, failing+strings.Replace(protecting, "tests:\n", "", 1))
		s := r.suite()
		results, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		report := &simulate.Report{Results: results, Coverage: s.Coverage(results)}
		r.cases = slices.DeleteFunc(r.cases, func(c *simulate.Case) bool { return c.Pos.Line < 20 })
		s = r.suite()
		if results, err = s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if report.Mutation, err = s.Mutate(t.Context(), results); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := errors.Join(report.Text(&b), report.JSON(&b), report.JUnit(&b)); err != nil {
			t.Fatal(err)
		}
		return took.ReplaceAllString(b.String(), "<took>")
	}
	first := print()
	for range 3 {
		if again := print(); again != first {
			t.Fatalf("first\n%s\nthen\n%s", first, again)
		}
	}
}

// TestInterrupted ends a run that would take long.
func TestInterrupted(t *testing.T) {
	r := newRig(t, site, one(`{ send: { url: /open/a }, times: 100000, expect: { status: 200 } }`, ""))
	s := r.suite()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// BenchmarkRun is requests through routes without and with policies.
func BenchmarkRun(b *testing.B) {
	for name, request := range map[string]string{
		"plain":     `{ send: { url: /open/a }, times: 1000, expect: { status: 200 } }`,
		"token":     `{ send: { url: /users/a, token: { claims: { roles: [user] } } }, times: 1000, expect: { status: 200, forwarded: { headers: { X-User-Id: test } } } }`,
		"rateLimit": `{ send: { url: /closed }, times: 1000, expect: { status: 200 } }`,
	} {
		b.Run(name, func(b *testing.B) {
			s := newRig(b, site, one(request, "")).suite()
			b.ReportAllocs()
			for b.Loop() {
				results, err := s.Run(b.Context())
				if err != nil || results[0].Failed != nil {
					b.Fatal(err, said(results))
				}
			}
			b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// FuzzSend sends odd requests: whatever a test says, it must end, and never in a panic of the gateway or of its stand-ins.
func FuzzSend(f *testing.F) {
	f.Add("GET", "/users/1", "X-A", "b", "")
	f.Add("POST", "http://[::1]:8080//a/../%2e%2e/signed/?gw_sig=&a=%zz#b", "Cookie", "session=;session", "body")
	f.Add("OPTIONS", "HTTPS://a.example.com?x", "Origin", "null", "")
	f.Add("PUT", "/upload", "X-Forwarded-For", "10.0.0.1, \t,", strings.Repeat("x", 20_000))
	f.Fuzz(func(t *testing.T, method, url, name, value, body string) {
		text := func(s string) string {
			raw, err := json.Marshal(strings.ToValidUTF8(s, "?"))
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
		request := fmt.Sprintf("method: %s, url: %s, headers: { %s: %s }, token: { claims: { sub: %s } }, apiKey: {}", text(method), text(url), text(name), text(value), text(value))
		if body != "" {
			request += ", body: " + text(body)
		}
		r, ok := tryRig(t, site, one("{ send: { "+request+" }, times: 2, expect: { status: 599 } }", ""))
		if !ok {
			return
		}
		for _, res := range r.run() {
			switch f := res.Failed; {
			case f == nil:
				t.Error("599")
			case f.Step != 0 && (f.Status < 200 || f.Code == "internal_error" || f.Code == "no_response"):
				t.Errorf("%s: %d %s", f.Request, f.Status, f.Code)
			}
		}
	})
}
