package authorization

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

const (
	jwt    = `auth: { jwt: { issuer: "https://i", audience: a, jwksUri: "https://i/k" } }`
	apiKey = `auth: { apiKey: {} }`
)

// ann is a caller with a token.
func ann() *policy.Principal {
	return &policy.Principal{
		Subject: "ann", Issuer: "https://i", Tenant: "acme", Roles: []string{"user", "editor"}, Scopes: []string{"read"}, Permissions: []string{"a.b"},
		Claims: map[string]any{
			"sub": "ann", "tenant": "acme", "level": json.Number("3"), "share": json.Number("0.5"), "big": json.Number("1e999"),
			"address": map[string]any{"country": "DE", "floors": []any{json.Number("1"), json.Number("2")}}, "groups": []any{"x", "y"}, "none": nil,
		},
	}
}

func TestGrants(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		caller       *policy.Principal
		key          *policy.Key
		want         string
	}{
		{"all of the roles", jwt + "\nauthorization: { roles: { all: [user, editor] } }", ann(), nil, "pass"},
		{"one of all is missing", jwt + "\nauthorization: { roles: { all: [user, admin] } }", ann(), nil, "403 role_missing"},
		{"any of the roles", jwt + "\nauthorization: { roles: { any: [admin, editor] } }", ann(), nil, "pass"},
		{"none of any", jwt + "\nauthorization: { roles: { any: [admin, owner] } }", ann(), nil, "403 role_missing"},
		{"all and any", jwt + "\nauthorization: { roles: { all: [user], any: [admin, editor] } }", ann(), nil, "pass"},
		{"another case", jwt + "\nauthorization: { roles: { all: [User] } }", ann(), nil, "403 role_missing"},
		{"scope", jwt + "\nauthorization: { scopes: { all: [write] } }", ann(), nil, "403 scope_missing"},
		{"scope of the key", jwt + "\nauthorization: { scopes: { all: [read, write] } }", ann(), &policy.Key{Scopes: []string{"write"}}, "pass"},
		{"scope of the key alone", apiKey + "\nauthorization: { scopes: { all: [write] } }", nil, &policy.Key{Scopes: []string{"write"}}, "pass"},
		{"permission", jwt + "\nauthorization: { permissions: { any: [a.c] } }", ann(), nil, "403 permission_missing"},
		{"nobody", jwt + "\nauthorization: { roles: { any: [user] } }", nil, nil, "401 token_missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := policytest.NewWorld()
			h := w.Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: tt.policy}))
			x := w.Exchange("GET", "/")
			x.Principal, x.Key = tt.caller, tt.key
			if got := policytest.Said(h.Decide(t.Context(), x)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	for _, tt := range []struct{ when, want string }{
		{"claims.tenant == params.tenant", "pass"},
		{"claims.tenant != params.tenant", "403 condition_failed"},
		{"claims.level >= 3 && claims.share < 0.6", "pass"},
		{"claims.level == 3.0", "pass"},
		{"claims.address.country in ['DE', 'AT']", "pass"},
		{"claims.address.floors.exists(f, f == 2)", "pass"},
		{"'x' in claims.groups", "pass"},
		{"claims.none == null", "pass"},
		{"has(claims.email)", "403 condition_failed"},
		{"!has(claims.email)", "pass"},
		{"claims.email == 'a@b'", "403 condition_failed"}, // what cannot be judged is not true
		{"claims.big > 1", "403 condition_failed"},
		{"claims.groups", "403 condition_failed"}, // known at run time only
		{"'editor' in principal.roles", "pass"},
		{"principal.subject == 'ann' && principal.issuer == 'https://i' && principal.tenant == 'acme'", "pass"},
		{"'read' in principal.scopes && 'a.b' in principal.permissions", "pass"},
		{"key.id == '' && key.owner == '' && key.tenant == '' && size(key.scopes) == 0", "pass"},
		{"request.method == 'GET' && request.path == '/t/acme' && request.host == 'api.example.com'", "pass"},
		{"request.query == 'a=1'", "pass"},
		{"request.headers['x-twice'] == 'a, b'", "pass"},
		{"request.headers['x-absent'] == ''", "403 condition_failed"},
		{"request.time > timestamp('2025-12-31T00:00:00Z') && request.time < timestamp('2026-02-01T00:00:00Z')", "pass"},
		{"client.ip == '192.0.2.1'", "pass"},
		{"request.path.matches('^/t/[a-z]+$')", "pass"},
		{"[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, a+b+c+d > 0))))", "403 condition_failed"}, // costs too much
	} {
		t.Run(tt.when, func(t *testing.T) {
			w := policytest.NewWorld()
			spec := jwt + "\nauthorization: { conditions: [{ id: c, when: " + quoted(tt.when) + " }] }"
			h := w.Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: spec}))
			x := w.Exchange("GET", "/t/acme?a=1", "X-Twice: a", "x-twice: b")
			x.Request.Host = "api.example.com"
			x.Principal, x.Params = ann(), []policy.Param{{Name: "tenant", Value: "acme"}}
			if got := policytest.Said(h.Decide(t.Context(), x)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestNobody asks conditions about somebody who is not there.
func TestNobody(t *testing.T) {
	w := policytest.NewWorld()
	spec := "authorization: { conditions: [{ id: c, when: \"principal.subject == '' && size(claims) == 0 && size(principal.roles) == 0\" }, { id: d, when: \"'ops' in claims.groups\" }] }"
	h := w.Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: spec}))
	if got := policytest.Said(h.Decide(t.Context(), w.Exchange("GET", "/"))); got != "403 condition_failed" {
		t.Error(got)
	}
}

func TestShadow(t *testing.T) {
	w := policytest.NewWorld()
	h := w.Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{
		Policy: jwt + "\nauthorization: { roles: { all: [admin] }, conditions: [{ id: c, when: \"false\" }], shadow: true }",
	}))
	x := w.Exchange("GET", "/")
	x.Principal = ann()
	if got := policytest.Said(h.Decide(t.Context(), x)); got != "pass" {
		t.Error(got)
	}
	x.Principal.Roles = []string{"admin"}
	if got := policytest.Said(h.Decide(t.Context(), x)); got != "pass" {
		t.Error(got)
	}
	want := []string{"gw_authz_denied_total{route=r,reason=shadow_condition} 1", "gw_authz_denied_total{route=r,reason=shadow_role} 1"}
	if got := w.Counts.All(); !slices.Equal(got, want) {
		t.Errorf("counted %q", got)
	}
}

func TestCompile(t *testing.T) {
	hint := " (known are " + known + ")"
	const capitals = `error GW3060 policy.authorization.conditions[0].when: condition "a": request.headers has names in small letters alone, and never "X-Foo" (write "x-foo")`
	for _, tt := range []struct {
		name, policy string
		want         []string
	}{
		{"nothing", jwt + "\nauthorization: {}", []string{
			"error GW3042 policy.authorization: authorization asks for nothing, so that it protects nothing (add roles, scopes, permissions or conditions)",
		}},
		{"grants of nobody", "authorization: { roles: { all: [a] } }", []string{
			"error GW3042 policy.authorization.roles: nobody has roles here: the route does not find out who calls (add auth.jwt)",
		}},
		{"roles of a key", apiKey + "\nauthorization: { roles: { all: [a] } }", []string{
			"error GW3042 policy.authorization.roles: nobody has roles here: the route does not find out who calls (add auth.jwt)",
		}},
		{"empty grants", jwt + "\nauthorization: { scopes: {}, roles: { any: [a] } }", []string{
			"error GW3042 policy.authorization.scopes: scopes names nothing (add all or any)",
		}},
		{"a condition twice", jwt + "\nauthorization: { conditions: [{ id: a, when: \"true\" }, { id: a, when: \"true\" }] }", []string{
			`error GW3040 policy.authorization.conditions[1].id: condition "a" is there twice (choose another name)`,
		}},
		{"an unknown name", jwt + "\nauthorization: { conditions: [{ id: a, when: \"claim.x == 'y'\" }] }", []string{
			`error GW3060 policy.authorization.conditions[0].when: condition "a": undeclared reference to 'claim' (column 1)` + hint,
		}},
		{"not a condition", jwt + "\nauthorization: { conditions: [{ id: a, when: \"request.path\" }] }", []string{
			`error GW3060 policy.authorization.conditions[0].when: condition "a": it is a string, must be true or false` + hint,
		}},
		{"types that do not go together", jwt + "\nauthorization: { conditions: [{ id: a, when: \"request.path == 1\" }] }", []string{
			`error GW3060 policy.authorization.conditions[0].when: condition "a": found no matching overload for '_==_' applied to '(string, int)' (column 14)` + hint,
		}},
		{"a header with capitals", jwt + "\nauthorization: { conditions: [{ id: a, when: \"request.headers['X-Foo'] == 'x'\" }] }", []string{capitals}},
		{"a header with capitals that may be absent", jwt + "\nauthorization: { conditions: [{ id: a, when: \"!('X-Foo' in request.headers)\" }] }", []string{capitals}},
		{"a header with capitals in a list", jwt + "\nauthorization: { conditions: [{ id: a, when: \"['a'].exists(v, v == request.headers['X-Foo'])\" }] }", []string{capitals}},
		{"a header with capitals as a field", jwt + "\nauthorization: { conditions: [{ id: a, when: \"has(request.headers.Foo)\" }] }", []string{
			`error GW3060 policy.authorization.conditions[0].when: condition "a": request.headers has names in small letters alone, and never "Foo" (write "foo")`,
		}},
		{"capitals that are no header's", jwt + "\nauthorization: { conditions: [{ id: a, when: \"claims['X-Foo'] == 'X-Foo' && 'X' in claims && request.headers['x-foo'] == 'X-Foo' && request.headers[params.Id] != ''\" }] }", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, said := policytest.Compile(t, Kind, policytest.Route{Policy: tt.policy})
			if !slices.Equal(said, tt.want) {
				t.Errorf("said\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	_, said := policytest.Compile(t, Kind, policytest.Route{Policy: jwt + "\nauthorization: { conditions: [{ id: a, when: \"claims.x ==\" }] }"})
	if len(said) != 1 || !strings.HasPrefix(said[0], `error GW3060 policy.authorization.conditions[0].when: condition "a": Syntax error`) {
		t.Errorf("said %q", said)
	}
	if _, err := Kind.Build(t.Context(), &policytest.NewWorld().Env, []byte(`{"conditions":[{"id":"a","when":"nonsense("}]}`)); err == nil {
		t.Error("a plan with nonsense is built")
	}
}

func BenchmarkCondition(b *testing.B) {
	w := policytest.NewWorld()
	h := w.Build(b, Kind, policytest.MustCompile(b, Kind, policytest.Route{
		Policy: jwt + "\nauthorization: { roles: { any: [admin, editor] }, conditions: [{ id: c, when: \"claims.tenant == params.tenant && request.method == 'GET'\" }] }",
	}))
	x := w.Exchange("GET", "/t/acme")
	x.Principal, x.Params = ann(), []policy.Param{{Name: "tenant", Value: "acme"}}
	b.ReportAllocs()
	for b.Loop() {
		if v := h.Decide(b.Context(), x); v.Reject != nil {
			b.Fatal(v.Reject)
		}
	}
}
