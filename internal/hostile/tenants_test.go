package hostile_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
)

const (
	noTenant     = "403 tenant_unknown"
	othersTenant = "403 tenant_mismatch"
)

// tenantInput is a request that would like to be another tenant's. Tenants are found by the host, by what the proxy says, by the token
// and by the API key, which have to agree.
type tenantInput struct {
	name    string
	at      string // "": /who/x
	host    string
	from    string // "": somebody whom nobody trusts
	fields  []string
	claims  map[string]any // of a token; nil: there is none
	key     string         // the tenant of an API key; "": there is none
	trailer []string
	want    string // "": 200
	is      string // the tenant that the upstream is told of; "": nobody
	http2   string
}

func of(tenant any) map[string]any { return map[string]any{"tenant": tenant} }

var tenantInputs = []tenantInput{
	{name: "host", host: "red.shop.test", is: "red"},
	{name: "host in capitals", host: "RED.Shop.TEST", is: "red"},
	{name: "host with a dot and a port", host: "red.shop.test.:8080", is: "red"},
	{name: "host of nobody", host: "green.shop.test", want: noTenant},
	{name: "host with another tenant's label before it", host: "blue.red.shop.test", want: noTenant},
	{name: "host in another script that looks alike", host: "xn--rd-hmc.shop.test", want: noTenant},
	{name: "host with an escape", host: "%72ed.shop.test", want: "400 bad_host"},
	{name: "host that ends alike", host: "red.notshop.test"},
	{name: "two hosts", host: "red.shop.test\r\nHost: blue.shop.test", want: "400 bad_host", http2: unsaid},
	{name: "host that the target contradicts", at: "http://blue.shop.test/who/x", host: "red.shop.test", want: "400 host_mismatch", http2: unsaid},
	{name: "host that a client forwards", host: "red.shop.test", fields: []string{"X-Forwarded-Host: blue.shop.test"}, is: "red"},

	{name: "header", fields: []string{"X-Tenant: red"}},
	{name: "header beside another host", host: "blue.shop.test", fields: []string{"X-Tenant: red"}, is: "blue"},
	{name: "header with underscores", fields: []string{"X_Tenant: red"}},
	{name: "header with a dot", fields: []string{"X.Tenant: red"}},
	{name: "header twice", fields: []string{"X-Tenant: red", "X-Tenant: blue"}},
	{name: "header behind the body", trailer: []string{"X-Tenant: red"}},
	{name: "header that Connection names", fields: []string{"X-Tenant: red", "Connection: close, X-Tenant"}, http2: notOnTheLine},
	{name: "header of the proxy", from: proxy, fields: []string{"X-Tenant: red"}, is: "red"},
	{name: "header of the proxy, and another one with underscores", from: proxy, fields: []string{"X_Tenant: blue", "X-Tenant: red"}, is: "red"},
	{name: "underscores alone, through the proxy", from: proxy, fields: []string{"X_Tenant: blue"}},
	{name: "header twice, through the proxy", from: proxy, fields: []string{"X-Tenant: red", "x-tenant: red"}, want: noTenant},
	{name: "header with two, through the proxy", from: proxy, fields: []string{"X-Tenant: red, blue"}, want: noTenant},
	{name: "header of the proxy, and another host", from: proxy, host: "blue.shop.test", fields: []string{"X-Tenant: red"}, want: othersTenant},
	{name: "header behind the body, through the proxy", from: proxy, fields: []string{"X-Tenant: red"}, trailer: []string{"X-Tenant: blue"}, is: "red"},

	{name: "token", at: "/token/x", claims: of("red"), is: "red"},
	{name: "token and its host", at: "/token/x", host: "red.shop.test", claims: of("red"), is: "red"},
	{name: "token on another's host", at: "/token/x", host: "blue.shop.test", claims: of("red"), want: othersTenant},
	{name: "token of nobody", at: "/token/x", claims: of("green"), want: noTenant},
	{name: "token in capitals", at: "/token/x", claims: of("RED"), want: noTenant},
	{name: "token of two", at: "/token/x", claims: of([]string{"red", "blue"}), want: noTenant},
	{name: "token without a tenant", at: "/token/x", claims: of(nil)},
	{name: "token without a tenant, on a host", at: "/token/x", host: "red.shop.test", claims: of(nil), is: "red"},
	{name: "token on its tenant's own route", at: "/who/x", host: "red.test", claims: of("red"), is: "red"},
	{name: "token on another tenant's own route", at: "/who/x", host: "red.test", claims: of("blue"), want: othersTenant},

	{name: "key", at: "/key/x", key: "red", is: "red"},
	{name: "key on another's host", at: "/key/x", host: "blue.shop.test", key: "red", want: badKey},
	{name: "key on another's host in capitals", at: "/key/x", host: "BLUE.SHOP.TEST.", key: "red", want: badKey},
	{name: "key beside another's token", at: "/both/x", key: "red", claims: of("blue"), want: othersTenant},
	{name: "key beside its own token", at: "/both/x", key: "red", claims: of("red"), is: "red"},

	{name: "condition on the tenant", at: "/red/x", host: "red.shop.test", is: "red"},
	{name: "condition on another tenant", at: "/red/x", host: "blue.shop.test", want: "403 condition_failed"},
	{name: "condition on the tenant, asked by nobody", at: "/red/x", fields: []string{"X-Tenant: red"}, want: "403 condition_failed"},
	{name: "condition on the tenant, by an escape", at: "/%72ed/x", host: "blue.shop.test", want: "403 condition_failed"},
}

const tenantSettings = `  trustedProxies: [127.0.0.5/32]
  tenancy:
    from: [{ host: "*.shop.test" }, { header: X-Tenant }, { claim: tenant }, { apiKey: true }]
    agree: true
`

const sharedRoutes = `policies:
  - id: told
    headers: { request: { set: { X-Who: "${tenant}" } } }
routes:
  - { id: who, matcher: { path: /who/* }, target: { type: http, url: "http://{guarded}" }, use: [told] }
  - id: token
    matcher: { path: /token/* }
    target: { type: http, url: "http://{guarded}" }
    use: [told]
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } } }
  - id: key
    matcher: { path: /key/* }
    target: { type: http, url: "http://{guarded}" }
    use: [told]
    policy: { auth: { apiKey: { maxFailuresPerMinute: 100000 } } }
  - id: both
    matcher: { path: /both/* }
    target: { type: http, url: "http://{guarded}" }
    use: [told]
    policy:
      auth:
        apiKey: { maxFailuresPerMinute: 100000 }
        jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" }
  - id: red
    matcher: { path: /red/* }
    target: { type: http, url: "http://{guarded}" }
    use: [told]
    policy: { authorization: { conditions: [{ id: red, when: 'tenant == "red"' }] } }
  - id: limit
    matcher: { path: /limit/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { tokensPerInterval: 2, intervalMs: 86400000, key: [tenant], onError: closed } }
  - id: once
    matcher: { path: /once/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", replayProtection: true } } }
`

// ownRoutes are those of a tenant, which calls its limits and scopes as all others do. Its issuer has the name of the base's, but keys of
// its own.
const ownRoutes = `routes:
  - id: %[1]s-who
    matcher: { host: %[1]s.test, path: /who/* }
    target: { type: http, url: "http://{guarded}" }
    use: [told]
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } } }
  - id: %[1]s-limit
    matcher: { host: %[1]s.test, path: /limit/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rateLimit: { onError: closed, limits: [{ id: default, tokensPerInterval: 2, intervalMs: 86400000, key: [ip], scope: all }] } }
  - id: %[1]s-once
    matcher: { host: %[1]s.test, path: /once/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/%[1]s", replayProtection: true } } }
`

// shop is a site whose routes two tenants share, and where each has some of its own.
type shop struct {
	*site
	*mint
	keys map[string]string // API keys by tenant
}

func newShop(t *testing.T) *shop {
	t.Helper()
	server := newKeyServer(t)
	s := &shop{mint: newMint(t), keys: map[string]string{}}
	server.publish("/keys", s.mint.keys(t))
	second, err := publicSet(s.second)
	if err != nil {
		t.Fatal(err)
	}
	server.publish("/red", second)
	server.publish("/blue", s.mint.keys(t))
	files := map[string]string{"routes/shared.yaml": sharedRoutes}
	for _, tenant := range []string{"red", "blue"} {
		files["tenants/"+tenant+"/tenant.yaml"] = fmt.Sprintf("tenant: { hosts: [%s.test], policyKinds: [auth, rateLimit], allowPrivateAddresses: true }\n", tenant)
		files["tenants/"+tenant+"/own.yaml"] = fmt.Sprintf(ownRoutes, tenant)
	}
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, "{keys}", server.URL)
	}
	s.site = startSite(t, plan{settings: tenantSettings, files: files})
	for _, tenant := range []string{"red", "blue"} {
		s.keys[tenant], _ = s.create(t, admin.NewKey{Owner: "hostile", Tenant: tenant})
	}
	return s
}

func (s *shop) attempt(in *tenantInput) *attempt {
	a := &attempt{line: "GET /who/x", host: in.host, from: in.from, fields: slices.Clone(in.fields), trailer: in.trailer, want: in.want, http2: in.http2}
	if in.at != "" {
		a.line = "GET " + in.at
	}
	if in.claims != nil {
		token := by(s.es, nil, in.claims)
		s.keepToken(token)
		a.fields = append(a.fields, "Authorization: Bearer "+token)
	}
	if in.key != "" {
		a.fields = append(a.fields, "X-API-Key: "+s.keys[in.key])
	}
	if a.want == "" {
		a.want, a.to = "200", a.line
	}
	if a.sees = []string{"X-Who: " + in.is}; in.is == "" {
		a.sees, a.without = nil, []string{"x-who", "x-tenant", "x_tenant", "x.tenant"}
	}
	return a
}

func TestTenants(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for _, in := range tenantInputs {
		s.try(t, in.name, func() *attempt { return s.attempt(&in) })
	}
	t.Run("limits of the base are each tenant's", func(t *testing.T) { s.limits(t) })
	t.Run("scopes of the same name", func(t *testing.T) {
		s.usesUp(t, &attempt{line: "GET /limit/x", host: "red.test"}, &attempt{line: "GET /limit/x", host: "blue.test"}, "200")
	})
	t.Run("tokens used once", func(t *testing.T) { s.once(t) })
	t.Run("what is told of tenants", func(t *testing.T) { s.told(t) })
}

// usesUp has a limit of two used up, and asks again another way.
func (s *shop) usesUp(t *testing.T, first, then *attempt, want string) {
	t.Helper()
	testkit.Eventually(t, "two have passed, and nothing was taken beside them", func() bool {
		s.redis.Do("FLUSHALL")
		once, twice := s.ask(t, ways[0], first), s.ask(t, ways[0], first)
		return once.status == "200" && twice.status == "200"
	})
	again := *first
	again.want = limited
	s.send(t, ways[0], &again)
	if then.want = want; want == "200" {
		then.to = then.line
	}
	s.send(t, ways[0], then)
}

func (s *shop) limits(t *testing.T) {
	red := func() *attempt { return &attempt{line: "GET /limit/x", host: "red.shop.test"} }
	for _, tc := range []struct {
		name string
		then *attempt
		want string
	}{
		{"the same from elsewhere", &attempt{host: "red.shop.test", from: "127.0.0.7"}, limited},
		{"the same host in capitals, with a dot and a port", &attempt{host: "RED.SHOP.TEST.:80"}, limited},
		{"the same host with what a client says", &attempt{host: "red.shop.test", fields: []string{"X-Tenant: blue"}}, limited},
		{"the other tenant", &attempt{host: "blue.shop.test"}, "200"},
		{"nobody", &attempt{host: "shop.test"}, "200"},
	} {
		tc.then.line = "GET /limit/x"
		t.Run(tc.name, func(t *testing.T) { s.usesUp(t, red(), tc.then, tc.want) })
	}
}

// once uses tokens twice. A tenant that has keys of its own for the name of another's issuer can neither use up that one's tokens, nor have
// its own taken elsewhere.
func (s *shop) once(t *testing.T) {
	send := func(t *testing.T, host, token, want string) {
		t.Helper()
		a := &attempt{line: "GET /once/x", host: host, fields: []string{"Authorization: Bearer " + token}, want: want}
		if want == "200" {
			a.to = a.line
		}
		s.send(t, ways[0], a)
	}
	for name, hosts := range map[string][]string{
		"on the base's routes, by another's host": {"red.shop.test", "blue.shop.test"},
		"on a tenant's route":                     {"blue.test", "blue.test"},
	} {
		t.Run(name, func(t *testing.T) {
			token := by(s.es, nil, of(nil))
			s.keepToken(token)
			send(t, hosts[0], token, "200")
			send(t, hosts[1], token, "401 token_replayed")
		})
	}
	t.Run("by a tenant with keys of its own", func(t *testing.T) {
		claims := maps.Clone(of(nil))
		claims["jti"] = "the same for both"
		own, good := by(s.second, nil, claims), by(s.es, nil, claims)
		s.keepToken(own)
		s.keepToken(good)
		send(t, "red.test", own, "200")
		send(t, "h", own, invalid) // though it is remembered as a good one, by red
		send(t, "blue.test", own, invalid)
		send(t, "h", good, "200") // the same name, and nobody has used it up
		send(t, "blue.test", good, "200")
	})
}

// told looks at metrics and records: of tenants that there are not, there is no series.
func (s *shop) told(t *testing.T) {
	for _, host := range []string{"red.shop.test", "green.shop.test"} {
		s.ask(t, ways[0], &attempt{line: "GET /who/x", host: host})
	}
	testkit.Eventually(t, "the request is recorded", func() bool {
		return strings.Contains(s.process.Output(), `"route":"who","pattern":"/who/*","tenant":"red"`)
	})
	if s.metric(t, `gw_tenant_requests_total{class="2xx",tenant="red"}`) == 0 {
		t.Error("requests of red do not count as its own")
	}
	for line := range strings.Lines(s.metrics(t)) {
		if _, labels, ok := strings.Cut(line, "gw_tenant_requests_total{"); ok && !strings.Contains(labels, `tenant="red"`) && !strings.Contains(labels, `tenant="blue"`) {
			t.Errorf("there is a series of somebody else: %s", line)
		}
	}
}
