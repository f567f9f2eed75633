package apikey

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestCompile(t *testing.T) {
	const mend = " (give the key a header of its own, such as X-API-Key)"
	for _, tt := range []struct {
		name, policy, plan string
		said               []string
	}{
		{"defaults", `auth: { apiKey: {} }`, `{"header":"X-API-Key","maxFailuresPerMinute":60}`, nil},
		{"switched off", `auth: { apiKey: { enabled: false, requiredScopes: [a] } }`, ``, nil},
		{
			"everything", `auth: { apiKey: { enabled: true, header: x-key, requiredScopes: [write, read], maxFailuresPerMinute: 5 } }`,
			`{"header":"x-key","requiredScopes":["read","write"],"maxFailuresPerMinute":5}`, nil,
		},
		{"Authorization, alone", `auth: { apiKey: { header: Authorization } }`, `{"header":"Authorization","maxFailuresPerMinute":60}`, nil},
		{
			"Authorization, beside a token", `auth: { jwt: {}, apiKey: { header: authorization } }`, ``,
			[]string{`error GW3040 policy.auth.apiKey.header: header is authorization, where the token of auth.jwt stands; a request must have both` + mend},
		},
		{
			"the token's own header", `auth: { jwt: { from: { header: X-Token } }, apiKey: { header: x-token } }`, ``,
			[]string{`error GW3040 policy.auth.apiKey.header: header is x-token, where the token of auth.jwt stands; a request must have both` + mend},
		},
		{
			"Authorization, beside a token in a cookie", `auth: { jwt: { from: { cookie: t } }, apiKey: { header: Authorization } }`,
			`{"header":"Authorization","maxFailuresPerMinute":60}`, nil,
		},
		{
			"the cookies", `auth: { apiKey: { header: cookie } }`, ``,
			[]string{`error GW3040 policy.auth.apiKey.header: header is cookie, which holds more than a key, and would not reach the upstream` + mend},
		},
		{
			"the length", `auth: { apiKey: { header: Content-Length } }`, ``,
			[]string{`error GW3040 policy.auth.apiKey.header: header is Content-Length, which says how long the body is` + mend},
		},
		{
			"a forwarding field", `auth: { apiKey: { header: X-Forwarded-Key } }`, ``,
			[]string{`error GW3040 policy.auth.apiKey.header: header is X-Forwarded-Key, which is taken off requests that no trusted proxy sends` + mend},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: tt.policy})
			if !slices.Equal(said, tt.said) {
				t.Errorf("said %q\nwant %q", said, tt.said)
			}
			if len(tt.said) == 0 && string(plan) != tt.plan {
				t.Errorf("plan %s\nwant %s", plan, tt.plan)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	const plan = `{"header":"X-API-Key","maxFailuresPerMinute":60}`
	for _, tt := range []struct {
		name, plan string
		change     func(*policytest.World)
		want       string
	}{
		{"no state", plan, func(w *policytest.World) { w.State = nil }, "it needs state that gateways share: start gwrun with --redis"},
		{"no pepper", plan, func(w *policytest.World) { w.Pepper = nil }, "start gwrun with GWRUN_API_KEY_PEPPER"},
		{"a short pepper", plan, func(w *policytest.World) { w.Pepper = []byte("hunter2") }, "GWRUN_API_KEY_PEPPER: the pepper has 7 bytes, must have at least 32"},
		{"an environment without a name", plan, func(w *policytest.World) { w.Environment = "" }, `the environment is "", which no API key can be for`},
		{"no header", `{"header":"","maxFailuresPerMinute":60}`, nil, `header is "", must be a header name`},
		{"a header that ends the header", `{"header":"X\r\nY","maxFailuresPerMinute":60}`, nil, `header is "X\r\nY", must be a header name`},
		{"no failures", `{"header":"X","maxFailuresPerMinute":0}`, nil, "maxFailuresPerMinute is 0, must be at least 1"},
		{"negative failures", `{"header":"X","maxFailuresPerMinute":-1}`, nil, "maxFailuresPerMinute is -1, must be at least 1"},
		{"a failure and a half", `{"header":"X","maxFailuresPerMinute":1.5}`, nil, "cannot unmarshal"},
		{"an unknown field", `{"header":"X","maxFailuresPerMinute":1,"off":true}`, nil, "unknown field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := newWorld()
			if tt.change != nil {
				tt.change(w)
			}
			h, err := Kind.Build(t.Context(), &w.Env, []byte(tt.plan))
			if h != nil || err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
			if noState := tt.name == "no state"; noState != errors.Is(err, policy.ErrNoState) {
				t.Errorf("ErrNoState: %t", !noState)
			}
		})
	}
}

// TestREADME holds the manual to what it shows: the example compiles, and the pattern for scanners is that of the keys.
func TestREADME(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(raw)
	_, example, _ := strings.Cut(readme, "```yaml\npolicy:\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("there is no example")
	}
	policytest.MustCompile(t, Kind, policytest.Route{Policy: example})
	if !strings.Contains(readme, "```text\n"+apikey.Pattern+"\n```") {
		t.Error("the pattern is not that of package apikey")
	}
	for o := range outcomes {
		if !strings.Contains(readme, "`"+o.String()+"`") || !strings.Contains(verified.Help, o.String()) {
			t.Errorf("the outcome %s is not explained", o)
		}
	}
	all := refusals(&Plan{})
	for _, r := range append(all[:], tooMany(0)) {
		if r != nil && !strings.Contains(readme, "`"+r.Code+"`") {
			t.Errorf("the code %s is not explained", r.Code)
		}
	}
}
