package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestKeysOfAFleet has two gateways of different peppers on one Redis, and asks for keys of tenants that there are and are not.
func TestKeysOfAFleet(t *testing.T) {
	s, redis := newScene(t), testkit.Redis(t)
	s.commit("a tenant", map[string]string{
		"tenants/blue/tenant.yaml":   apiVersion + "tenant: { hosts: [blue.test], policyKinds: [auth], allowPrivateAddresses: true }\n",
		"tenants/blue/routes/k.yaml": apiVersion + fmt.Sprintf("routes:\n  - id: blue\n    matcher: { host: blue.test, path: /k }\n    target: { type: http, url: %q }\n", s.app),
		"routes/k.yaml":              apiVersion + fmt.Sprintf("routes:\n  - id: k\n    matcher: { path: /k }\n    target: { type: http, url: %q }\n    policy: { auth: { apiKey: {} } }\n", s.app),
	})
	_, to := s.folder()
	s.apply(to)
	start := func(pepper string) *gateway {
		s.extra = []string{"GWRUN_REDIS=" + redis.URL, "GWRUN_API_KEY_PEPPER=" + strings.Repeat(pepper, 32)}
		g := s.gwrun("--bundle", to)
		g.serves(1)
		return g
	}
	a := start("a")
	testkit.Eventually(t, "the first gateway says which pepper it is", func() bool { return strings.HasPrefix(redis.Do("GET", "gw:pepper:prod"), "$16") })
	b := start("b")

	key := strings.TrimSpace(s.ok("keys", "create", "--gateway", a.admin, "--owner", "shop", "--tenant", "blue").out)
	said := s.exits(64, "keys", "create", "--gateway", a.admin, "--owner", "shop", "--tenant", "bleu").err
	if want := `there is no tenant "bleu" in this environment; there are blue`; !strings.Contains(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	for g, want := range map[*gateway]int{a: 200, b: 401} { // which is why it must not go unnoticed
		if code, body, err := get(g.url+"/k", "X-API-Key", key); code != want || err != nil {
			t.Errorf("a key of the first: %d %s %v, want %d", code, body, err, want)
		}
	}
	testkit.Eventually(t, "the second says that its pepper differs", func() bool { return b.status().SharedState.OtherPepper })
	b.WaitLine(`"level":"ERROR","msg":"the pepper of API keys is not that of the other gateways`)
	if said := s.exits(5, "keys", "create", "--gateway", b.admin, "--owner", "shop").err; !strings.Contains(said, "GWRUN_API_KEY_PEPPER") {
		t.Errorf("said %q", said)
	}
	if a.status().SharedState.OtherPepper {
		t.Error("the first gateway says it of itself")
	}
}
