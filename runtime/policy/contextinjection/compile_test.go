package contextinjection

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// jwt stands beside the policy under test.
const jwt = `auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/jwks" } }` + "\n"

func TestCompile(t *testing.T) {
	for _, tc := range []struct{ name, policy, plan string }{
		{"claims", `contextInjection: { claims: { X-User: sub, X-Org: "org.id" } }`, `{"claims":{"X-Org":"org.id","X-User":"sub"},"lists":"comma"}`},
		{"lists", `contextInjection: { claims: { X-Roles: roles }, lists: json }`, `{"claims":{"X-Roles":"roles"},"lists":"json"}`},
		{
			"identity token", `contextInjection: { identityToken: { secretRef: "env:KEY" } }`,
			`{"identityToken":{"header":"X-Gateway-Identity","secretRef":"env:KEY","lifetime":60000}}`,
		},
		{
			"all of it", `contextInjection: { identityToken: { secretRef: "env:KEY", header: X-Id, keyId: k1, audience: a, lifetime: 1s } }`,
			`{"identityToken":{"header":"X-Id","secretRef":"env:KEY","keyId":"k1","audience":"a","lifetime":1000}}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := policytest.MustCompile(t, Kind, policytest.Route{Policy: jwt + tc.policy}); string(got) != tc.plan {
				t.Errorf("plan %s\nwant %s", got, tc.plan)
			}
		})
	}
}

func TestCompileReports(t *testing.T) {
	const at = "policy.contextInjection"
	const own = ` (use a field of its own, such as "X-User-Id")`
	const connection = `" belongs to the connection, not to the request` + own
	const forwarding = `" is written by the gateway itself, and says where the request came from` + own
	const credential = `" holds what the client proves itself by, and would be removed from every request` + own
	for _, tc := range []struct{ name, policy, want string }{
		{"nothing", jwt + `contextInjection: {}`, "warning GW3041 " + at + ": contextInjection injects nothing (add claims or identityToken)"},
		{
			"lists of nothing", jwt + `contextInjection: { lists: json, identityToken: { secretRef: "env:K" } }`,
			"warning GW3041 " + at + ".lists: lists says how claims are written, and there are none (add claims, or leave lists out)",
		},
		{
			"one variable", jwt + `contextInjection: { claims: { X-User: sub, x_user: name } }`,
			"error GW3040 " + at + `.claims.x_user: the field "x_user" is injected as "X-User" too: many servers take both names for one (give it another name)`,
		},
		{
			"one variable with the token", jwt + `contextInjection: { claims: { X-Id: sub }, identityToken: { secretRef: "env:K", header: x-id } }`,
			"error GW3040 " + at + `.identityToken.header: the field "x-id" is injected as "X-Id" too: many servers take both names for one (give it another name)`,
		},
		{"framing", jwt + `contextInjection: { claims: { Content_Length: sub } }`, "error GW3040 " + at + `.claims.Content_Length: the field "Content_Length` + connection},
		{"trailers", jwt + `contextInjection: { claims: { Trailer: sub } }`, "error GW3040 " + at + `.claims.Trailer: the field "Trailer` + connection},
		{
			"host", jwt + `contextInjection: { identityToken: { secretRef: "env:K", header: Host } }`,
			"error GW3040 " + at + ".identityToken.header: who the caller is cannot stand in Host, which says whom the request is for" + own,
		},
		{"forwarded for", jwt + `contextInjection: { claims: { X-Forwarded-User: sub } }`, "error GW3040 " + at + `.claims.X-Forwarded-User: the field "X-Forwarded-User` + forwarding},
		{"request id", jwt + `contextInjection: { claims: { x_request_id: sub } }`, "error GW3040 " + at + `.claims.x_request_id: the field "x_request_id` + forwarding},
		{"authorization", jwt + `contextInjection: { claims: { Authorization: sub } }`, "error GW3040 " + at + `.claims.Authorization: the field "Authorization` + credential},
		{"cookie", jwt + `contextInjection: { claims: { Cookie: sub } }`, "error GW3040 " + at + `.claims.Cookie: the field "Cookie` + credential},
		{
			"too short a life", jwt + `contextInjection: { identityToken: { secretRef: "env:K", lifetime: 999ms } }`,
			"error GW2103 " + at + ".identityToken.lifetime: is 999ms, must be at least 1s (write 1m, which is the default)",
		},
		{
			"nobody is known", `contextInjection: { claims: { X-User: sub } }`,
			"warning GW3041 " + at + ": callers are never known here: the fields are removed from requests, and never written (add auth.jwt; or leave it, if the fields are only to be kept from the upstream)",
		},
		{
			"keys are switched off", `{ auth: { apiKey: { enabled: false } }, contextInjection: { identityToken: { secretRef: "env:K" } } }`,
			"warning GW3041 " + at + ": callers are never known here: the fields are removed from requests, and never written (add auth.jwt; or leave it, if the fields are only to be kept from the upstream)",
		},
		{
			"keys have no claims", `{ auth: { apiKey: {} }, contextInjection: { claims: { X-User: sub } } }`,
			"warning GW3041 " + at + ".claims: an API key has no claims: the fields are removed from requests, and never written (add auth.jwt, or use identityToken, which tells the upstream whose key it was)",
		},
		{"keys have owners", `{ auth: { apiKey: {} }, contextInjection: { identityToken: { secretRef: "env:K" } } }`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, said := policytest.Compile(t, Kind, policytest.Route{Policy: tc.policy})
			if got := strings.Join(said, "\n"); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for plan, want := range map[string]string{
		`{"claims":{"X":"a"},"lists":"xml"}`:                                        `lists is "xml", must be comma, json or base64`,
		`{"claims":{"X":"a"}}`:                                                      `lists is "", must be comma, json or base64`,
		`{"claims":{"X":"a","x":"b"},"lists":"json"}`:                               "is injected twice",
		`{"claims":{"":"a"},"lists":"json"}`:                                        `the field "" is no name`,
		`{"claims":{"X:\r\nY":"a"},"lists":"json"}`:                                 "is no name",
		`{"claims":{"Host":"a"},"lists":"json"}`:                                    "cannot stand in Host",
		`{"claims":{"te":"a"},"lists":"json"}`:                                      `"te" belongs to the connection`,
		`{"identityToken":{"header":"X","secretRef":"env:K","lifetime":0}}`:         "lifetime is 0 ms, must be from 1s to 24h0m0s",
		`{"identityToken":{"header":"X","secretRef":"env:K","lifetime":-1}}`:        "lifetime is -1 ms",
		`{"identityToken":{"header":"X","secretRef":"env:K","lifetime":864000000}}`: "lifetime is 864000000 ms",
		`{"identityToken":{"header":"","secretRef":"env:K","lifetime":1000}}`:       `the field "" is no name`,
		`{"claims":{},"other":1}`:                                                   "unknown field",
	} {
		w := policytest.NewWorld()
		if _, err := Kind.Build(t.Context(), &w.Env, []byte(plan)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Build(%s) = %v, want an error with %q", plan, err, want)
		}
	}
	w := policytest.NewWorld()
	w.Upstream = ""
	plan := []byte(`{"identityToken":{"header":"X","secretRef":"env:K","lifetime":1000}}`)
	if _, err := Kind.Build(t.Context(), &w.Env, plan); err == nil || err.Error() != "identityToken: there is neither an audience nor an upstream" {
		t.Errorf("a token for everybody: %v", err)
	}
	w = policytest.NewWorld()
	w.Secrets = refusing{}
	if _, err := Kind.Build(t.Context(), &w.Env, plan); err == nil || err.Error() != "identityToken: secret env:K: malformed" {
		t.Errorf("a reference that cannot be followed: %v", err)
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
	plan := policytest.MustCompile(t, Kind, policytest.Route{Policy: string(example[1])})
	w := policytest.NewWorld()
	w.Build(t, Kind, plan)
}

var _ policy.Secrets = refusing{}
