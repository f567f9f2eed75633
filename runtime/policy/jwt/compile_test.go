package jwt

import (
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
)

func TestCompile(t *testing.T) {
	const rest = `issuer: "https://i", audience: a`
	for _, tt := range []struct {
		name, jwt string
		tenant    bool
		want      []string
	}{
		{"nothing", "{}", false, []string{
			`error GW3042 policy.auth.jwt.jwksUri: nothing says where the issuer's keys are (add jwksUri, oidcDiscoveryUrl, or secretRef)`,
			`error GW3042 policy.auth.jwt.issuer: there is no issuer to take tokens from (add issuer: "https://...", exactly as the tokens have it in iss)`,
			`error GW3042 policy.auth.jwt.audience: without an audience, a token that was meant for any other service of the issuer would open this one (add audience: the name that this API has at the issuer)`,
		}},
		{"two places of keys", `{ ` + rest + `, jwksUri: "https://i/k", oidcDiscoveryUrl: "https://i/d" }`, false, []string{
			`error GW2034 policy.auth.jwt.oidcDiscoveryUrl: there are several of jwksUri, oidcDiscoveryUrl and secretRef, must be one of them`,
		}},
		{"audience twice", `{ ` + rest + `, audiences: [b], jwksUri: "https://i/k" }`, false, []string{
			`error GW2034 policy.auth.jwt.audiences: both audience and audiences are there, must be one of them`,
		}},
		{"in the clear", `{ ` + rest + `, jwksUri: "http://i:8080/k" }`, false, []string{
			`warning GW3061 policy.auth.jwt.jwksUri: keys come from i:8080 in the clear: whoever stands in between can make tokens (write https if the issuer speaks it)`,
		}},
		{"in the clear, of a tenant", `{ ` + rest + `, jwksUri: "http://i:8080/k" }`, true, []string{
			`error GW2104 policy.auth.jwt.jwksUri: jwksUri is "http://i:8080/k", must be an https URL (write https)`,
		}},
		{"credentials", `{ ` + rest + `, jwksUri: "https://u:p@i/k" }`, false, []string{
			`error GW2104 policy.auth.jwt.jwksUri: jwksUri holds credentials (take the part before "@" out of it)`,
		}},
		{"public keys as a secret", `{ ` + rest + `, jwksUri: "https://i/k", algorithms: [ES256, HS256] }`, false, []string{
			`error GW3040 policy.auth.jwt.algorithms[1]: algorithm HS256 cannot be used here: HS256, HS384 and HS512 need a secretRef: a public key is no secret`,
		}},
		{"a secret as a public key", `{ ` + rest + `, secretRef: "env:S", algorithms: [RS256] }`, false, []string{
			`error GW3040 policy.auth.jwt.algorithms[0]: algorithm RS256 cannot be used here: a shared secret verifies HS256, HS384 and HS512 only`,
		}},
		{"a secret that is fetched", `{ ` + rest + `, secretRef: "env:S", jwksCacheMaxAgeMs: 1 }`, false, []string{
			`warning GW3041 policy.auth.jwt.jwksCacheMaxAgeMs: a shared secret is not fetched (drop it)`,
		}},
		{"issuer beside issuers", `{ issuer: i, issuers: [{ ` + rest + `, jwksUri: "https://i/k" }] }`, false, []string{
			`error GW3040 policy.auth.jwt.issuer: issuer stands beside issuers, of which each has its own (write it in each element of issuers)`,
		}},
		{"an issuer twice", `{ issuers: [{ ` + rest + `, jwksUri: "https://i/k" }, { ` + rest + `, jwksUri: "https://i/l" }] }`, false, []string{
			`error GW3040 policy.auth.jwt.issuers[1].issuer: issuer "https://i" is there twice, so that it is open which one judges its tokens (merge the two)`,
		}},
		{"optional and required", `{ ` + rest + `, jwksUri: "https://i/k", optional: true, requiredRoles: [a] }`, false, []string{
			`error GW3040 policy.auth.jwt.optional: optional lets requests without a token pass, who have none of what is required (drop optional, or what is required)`,
		}},
		{"two places of the token", `{ ` + rest + `, jwksUri: "https://i/k", from: { header: X, cookie: c } }`, false, []string{
			`error GW2034 policy.auth.jwt.from: from has 2 of header, cookie and query, must have one of them`,
		}},
		{"a token in Cookie", `{ ` + rest + `, jwksUri: "https://i/k", from: { header: cookie } }`, false, []string{
			`error GW3040 policy.auth.jwt.from.header: the field Cookie holds more than a token (write from: { cookie: <name> })`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, said := policytest.Compile(t, Kind, policytest.Route{Policy: "auth: { jwt: " + tt.jwt + " }", Tenant: tt.tenant})
			if !slices.Equal(said, tt.want) {
				t.Errorf("said\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestPlan(t *testing.T) {
	got := policytest.MustCompile(t, Kind, policytest.Route{Policy: guide})
	const want = `{"issuer":"https://identity.suuupra.local","audiences":["suuupra-api"],"jwksUri":"https://identity.suuupra.local/.well-known/jwks.json",` +
		`"private":true,"algorithms":["ES256"],"clockSkewSeconds":60,"jwksCacheMaxAgeMs":600000,"requiredRoles":["user"],"requiredScopes":["user.read"],` +
		`"from":{"header":"Authorization","forward":true},"maxFailuresPerMinute":600}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestHostilePlans builds what a compiler would not have written.
func TestHostilePlans(t *testing.T) {
	w := newWorld(t)
	for plan, want := range map[string]string{
		`{"from":{"header":"Authorization"},"maxFailuresPerMinute":1}`:                                                                   "a name, an audience and an algorithm are needed",
		`{"issuer":"i","audiences":["a"],"algorithms":["HS256"],"jwksUri":"https://i/k","from":{"header":"A"},"maxFailuresPerMinute":1}`: "algorithm HS256 does not go with its keys",
		`{"issuer":"i","audiences":["a"],"algorithms":["ES256"],"secretRef":"env:S","from":{"header":"A"},"maxFailuresPerMinute":1}`:     "algorithm ES256 does not go with its keys",
		`{"issuer":"i","audiences":["a"],"algorithms":["ES256"],"jwksUri":"https://i/k","from":{},"maxFailuresPerMinute":1}`:             "from has 0 places, must have one",
		`{"issuer":"i","audiences":["a"],"algorithms":["ES256"],"jwksUri":"https://i/k","from":{"header":"A"},"x":1}`:                    "unknown field",
		`{"issuer":"i","audiences":["a"],"algorithms":["ES256"],"jwksUri":"https://i/k","from":{"header":"A"}}`:                          "maxFailuresPerMinute is 0, must be at least 1",
	} {
		if _, err := Kind.Build(t.Context(), &w.Env, []byte(plan)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", plan, err, want)
		}
	}
}
