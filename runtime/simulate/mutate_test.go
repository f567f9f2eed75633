package simulate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/simulate"
)

// protecting has a test for each protection of these routes.
const protecting = `tests:
  - name: users are known by their tokens
    requests:
      - { send: { url: /users/a, token: { claims: { roles: [user] } }, headers: { X-User-Id: evil, X-Org: evil, X-Internal: evil } }, expect: { status: 200, absent: [Server], forwarded: { headers: { X-User-Id: test }, absent: [X-Org, X-Internal] } }, upstream: { headers: { Server: x } } }
      - { send: { url: /users/a, token: {} }, expect: { status: 403 } }
      - { send: { url: /users/a }, expect: { status: 401 } }
      - { send: { url: /users/a, token: { claims: { roles: [user], aud: other } } }, expect: { status: 401 } }
      - { send: { url: /users/a, token: { claims: { roles: [user] }, expired: true } }, expect: { status: 401 } }
      - { send: { url: /users/a, token: { claims: { roles: [user] }, type: JWT } }, expect: { status: 401 } }
      - { send: { url: /users/a, token: { claims: { roles: [user] }, issuer: "https://evil.example.com" } }, expect: { status: 401 } }
  - name: partners are known by their keys
    requests:
      - { send: { url: /keyed/a, apiKey: { scopes: [read] } }, expect: { status: 200 } }
      - { send: { url: /keyed/a, apiKey: {} }, expect: { status: 403 } }
      - { send: { url: /keyed/a }, expect: { status: 401 } }
  - name: requests are counted
    requests:
      - { send: { url: /limited }, times: 10, expect: { status: 200 } }
      - { send: { url: /limited }, expect: { status: 429 } }
  - name: addresses are judged
    requests:
      - { send: { url: /inside, from: 10.0.0.1 }, expect: { status: 200 } }
      - { send: { url: /inside, from: 10.6.6.6 }, expect: { status: 403 } }
      - { send: { url: /inside, from: 11.0.0.1 }, expect: { status: 403 } }
  - name: pages are judged
    requests:
      - { send: { url: /pages, headers: { Origin: "https://shop.example.com" } }, expect: { headers: { Access-Control-Allow-Origin: "https://shop.example.com" } } }
      - { send: { url: /pages, headers: { Origin: "https://evil.example.com" } }, expect: { absent: [Access-Control-Allow-Origin] } }
  - name: bodies are bounded
    requests:
      - { send: { method: POST, url: /upload, bodySize: 2KiB }, expect: { status: 413 } }
  - name: addresses are signed
    requests:
      - { send: { url: /signed/a, signed: {} }, expect: { status: 200 } }
      - { send: { url: /signed/a }, expect: { status: 403 } }
      - { send: { url: /signed/a, signed: { expiresIn: 1h } }, expect: { status: 403 } }
`

// survivors runs the tests and returns the weakenings of some routes that they do not notice, as "route: change".
func survivors(t *testing.T, tests string, routes ...string) (out []string, m *simulate.Mutation) {
	t.Helper()
	s := newRig(t, site, tests).suite()
	results, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m, err = s.Mutate(t.Context(), results); err != nil {
		t.Fatal(err)
	}
	for _, mutant := range m.Survived() {
		if slices.Contains(routes, mutant.Route) {
			note := ""
			if !mutant.Tested {
				note = " (untested)"
			}
			out = append(out, mutant.Route+": "+mutant.Change+note)
		}
	}
	return out, m
}

// TestMutation takes away one test after the other, and has what it protected survive.
func TestMutation(t *testing.T) {
	routes := []string{"users", "keyed", "limited", "inside", "pages", "upload", "signed"}
	got, m := survivors(t, protecting, routes...)
	if len(got) > 0 {
		t.Errorf("survived all tests: %q", got)
	}
	if m.Noticed()+len(m.Survived()) != len(m.Mutants) || m.Noticed() < 20 || m.Requests < int64(m.Noticed()) {
		t.Errorf("%d of %d, %d requests", m.Noticed(), len(m.Mutants), m.Requests)
	}
	for _, tt := range []struct {
		name, without string // a line of the tests
		want          []string
	}{
		{"what the upstream gets", `X-User-Id: evil`, []string{
			"users: contextInjection is taken out (untested)", "users: the client's own X-Org reaches the upstream (untested)", "users: the client's own X-User-Id reaches the upstream (untested)",
			"users: headers is taken out (untested)", "users: the request field X-Internal is not removed (untested)", "users: the response field Server is not removed (untested)",
		}},
		{"a role", `token: {} }`, []string{"users: the role user is not asked for"}},
		{"no token", `url: /users/a }`, []string{"users: requests without a token pass"}},
		{"another audience", `aud: other`, []string{"users: tokens for any audience are taken"}},
		{"another type", `type: JWT`, []string{"users: tokens of any type are taken"}},
		{"an expired token", `expired: true`, []string{"users: tokens that have expired are taken"}},
		{"a scope", `apiKey: {} }`, []string{"keyed: the scope read is not asked for"}},
		{"the limit", `expect: { status: 429 }`, []string{"limited: rateLimit is taken out", "limited: the limit default is a hundred times as high"}},
		{"a denied address", `from: 10.6.6.6`, []string{"inside: 10.6.6.0/24 is not denied"}},
		{"an address that is not allowed", `from: 11.0.0.1`, []string{"inside: every address is allowed that is not denied"}},
		{"another page", `Origin: "https://evil`, []string{"pages: pages of every origin are allowed"}},
		{"a body", `bodySize: 2KiB`, []string{"upload: bodyLimit is taken out (untested)"}},
		{"no signature", `url: /signed/a }`, nil}, // the one that is good for too long notices too
		{"a signature for an hour", `expiresIn: 1h`, []string{"signed: signatures may be good for any time"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lines []string
			for line := range strings.Lines(protecting) {
				if !strings.Contains(line, tt.without) {
					lines = append(lines, line)
				}
			}
			tests := strings.Join(lines, "")
			if tt.name == "a body" { // a test needs a request
				tests = strings.Replace(tests, "  - name: bodies are bounded\n    requests:\n", "", 1)
			}
			if tests == protecting {
				t.Fatal("there is no such line")
			}
			if got, _ := survivors(t, tests, routes...); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// TestMutationNeedsPassingTests refuses to judge by tests that fail anyway.
func TestMutationNeedsPassingTests(t *testing.T) {
	s := newRig(t, site, failing).suite()
	results, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mutate(t.Context(), results); err == nil || err.Error() != "tests fail that can therefore notice nothing" {
		t.Errorf("%v", err)
	}
}

// TestMutationsTogether adds up two environments: what is noticed in one is noticed.
func TestMutationsTogether(t *testing.T) {
	_, m := survivors(t, protecting)
	_, other := survivors(t, one(`{ send: { url: /once, token: {} }, expect: { status: 200 } }`+"\n"+`{ send: { url: /once }, expect: { status: 401 } }`, ""))
	all, before, requests := len(m.Mutants), m.Noticed(), m.Requests
	m.Add(other)
	if len(m.Mutants) != all || m.Noticed() != before+other.Noticed() || other.Noticed() == 0 || m.Requests != requests+other.Requests {
		t.Errorf("%d mutants, %d noticed; before %d and %d; the other %d", len(m.Mutants), m.Noticed(), all, before, other.Noticed())
	}
}

// TestCoverage says what tests reach.
func TestCoverage(t *testing.T) {
	s := newRig(t, site, one(`{ send: { url: /inside, from: 10.0.0.1 }, expect: { status: 200 } }
{ send: { url: /limited }, times: 11, expect: { status: "200-429" } }
{ send: { url: /users/a }, expect: { status: 401 } }
{ send: { url: /careful }, expect: { status: 200 } }
{ send: { method: POST, url: /upload, bodySize: 2KiB }, expect: { status: 413 } }`, "")).suite()
	results, err := s.Run(t.Context())
	if err != nil || said(results) != nil {
		t.Fatal(err, said(results))
	}
	var got []string
	c := s.Coverage(results)
	for _, r := range c.Routes {
		if !r.Matched {
			continue
		}
		line := r.Route
		for _, p := range r.Policies {
			line += " " + p.Policy + map[bool]string{true: "+"}[p.Passed] + map[bool]string{true: "-"}[p.Refused] + map[bool]string{false: "!"}[p.Refuses]
		}
		got = append(got, line)
	}
	want := []string{
		"careful securityHeaders+! compression+!", "inside ip+", "limited rateLimit+-", "upload bodyLimit-", "users auth.jwt- contextInjection! headers!",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	points, covered := c.Points, c.Covered
	if covered != 12 {
		t.Errorf("%d of %d", covered, points)
	}
	other := newRig(t, site, one(`{ send: { url: /inside }, expect: { status: 403 } }`, "")).suite()
	if results, err = other.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.Add(other.Coverage(results)); c.Points != points || c.Covered != covered+1 || c.Percent() != 100*13/points {
		t.Errorf("together %d of %d, %d%%", c.Covered, c.Points, c.Percent())
	}
}

// TestEveryKindIsClassed has whoever adds a kind of policy say whether it can refuse a request, and how it is weakened.
func TestEveryKindIsClassed(t *testing.T) {
	refusing := []string{"ip", "cors", "bodyLimit", "signedUrl", "contentType", "auth.jwt", "auth.apiKey", "authorization", "rateLimit"}
	editing := []string{"securityHeaders", "compression", "contextInjection", "headers", "rewrite"}
	for _, k := range all.Kinds() {
		if refuses := simulate.Refuses(k.Name, []byte("{}")); refuses != slices.Contains(refusing, k.Name) || refuses == slices.Contains(editing, k.Name) {
			t.Errorf("%s: is it one that refuses requests? add it here, to edits in coverage.go if it does not, and to weaken in mutants.go", k.Name)
		}
	}
	if simulate.Refuses("rateLimit", []byte(`{"shadow": true}`)) {
		t.Error("what only counts refuses nobody")
	}
}
