package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestIdentityProvider goes with a certified OpenID provider through a change of its keys, as the guide describes it: publish the new
// key, sign with it, withdraw the old one.
func TestIdentityProvider(t *testing.T) {
	t.Parallel()
	provider := testkit.OIDC(t)
	s := newScene(t)
	s.commit("identity", map[string]string{"routes/users.yaml": apiVersion + `routes:
  - id: by-discovery
    matcher: { path: /api/users/*, methods: [GET] }
    target: { type: http, url: "` + s.app + `" }
    policy:
      auth:
        jwt:
          issuer: ` + provider.Issuer + `
          audience: suuupra-api
          oidcDiscoveryUrl: ` + provider.Issuer + `/.well-known/openid-configuration
          requiredRoles: [user]
          requiredScopes: [user.read]
          type: at+jwt
  - id: by-keys
    matcher: { path: /api/orders/* }
    target: { type: http, url: "` + s.app + `" }
    policy:
      auth: { jwt: { issuer: "` + provider.Issuer + `", audience: suuupra-api, jwksUri: "` + provider.Issuer + `/jwks", requiredPermissions: [user.read] } }
`})
	_, to := s.folder()
	s.apply(to)
	g := s.gwrun("--bundle", to)
	g.serves(1)

	// asks returns the statuses of both routes.
	asks := func(token string) [2]int {
		t.Helper()
		return [2]int{askWith(t, g.url+"/api/users/1", token), askWith(t, g.url+"/api/orders/1", token)}
	}
	pass, out := [2]int{200, 200}, [2]int{401, 401}
	first := provider.Token("ann", "user.read")
	if got := asks(first); got != pass {
		t.Fatalf("with a good token: %v\n%s", got, g.Output())
	}
	if got := asks(""); got != out {
		t.Errorf("without a token: %v", got)
	}
	if got := asks(first[:len(first)-4] + "AAAA"); got != out {
		t.Errorf("with a token that was tampered with: %v", got)
	}
	if got := asks(provider.Token("guest", "user.read")); got != [2]int{403, 200} {
		t.Errorf("with another role: %v", got)
	}
	if got := asks(provider.Token("ann", "user.write")); got != [2]int{403, 200} {
		t.Errorf("with another scope: %v", got)
	}

	provider.Keys("first", "second")
	if got := asks(provider.Token("ann", "user.read")); got != pass {
		t.Errorf("while a new key is published: %v", got)
	}
	provider.Keys("second", "first")
	second := provider.Token("ann", "user.read")
	if got := asks(second); got != pass {
		t.Errorf("signed with the new key: %v", got)
	}
	if got := asks(first); got != pass {
		t.Errorf("signed with the old key, which is still published: %v", got)
	}
	provider.Keys("third", "second")
	third := provider.Token("ann", "user.read")
	for end := time.Now().Add(2 * patience); asks(third) != pass; <-time.After(time.Second) { // an issuer is asked twice a minute at the most
		if time.Now().After(end) {
			t.Fatal("the next new key is not asked for")
		}
	}
	if got := asks(first); got != out {
		t.Errorf("signed with a key that was withdrawn: %v", got)
	}
	if got := asks(second); got != pass {
		t.Errorf("signed with a key that is still published: %v", got)
	}
	code, metrics, err := get(g.admin + "/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("metrics: %d %v", code, err)
	}
	for _, want := range []string{
		`gw_jwt_verify_success_total{route="by-discovery"}`, `gw_jwt_verify_error_total{reason="signature",route="by-keys"}`,
		`gw_authz_denied_total{reason="role",route="by-discovery"} 1`, `gw_authz_denied_total{reason="scope",route="by-discovery"} 1`,
		`gw_jwks_cache_hits_total{issuer="` + provider.Issuer + `"}`, `gw_jwks_cache_misses_total{issuer="` + provider.Issuer + `"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(g.Output(), first[:20]) || strings.Contains(metrics, first[:20]) {
		t.Error("a token is in the log or in the metrics")
	}
}

// askWith asks with a bearer token, and returns the status.
func askWith(t *testing.T, at, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}
