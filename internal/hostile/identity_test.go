package hostile_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// identity is a site that asks who its callers are.
type identity struct {
	*site
	*mint
	keys *keyServer
}

// identityRoutes are those of the site, all of them before the guarded upstream. {keys} stands for the server of keys. Every attack comes
// from one address, so that a route which counted them as usual would soon answer 429 to all.
const identityRoutes = `routes:
  - id: es
    matcher: { path: /es/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } } }
  - id: all
    matcher: { path: /all/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", algorithms: [ES256, ES384, RS256, PS256, EdDSA] } } }
  - id: hs
    matcher: { path: /hs/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://secret.example", audience: suuupra-api, secretRef: "env:HOSTILE_SECRET" } } }
  - id: many
    matcher: { path: /many/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth:
        jwt:
          maxFailuresPerMinute: 100000
          issuers:
            - { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" }
            - { issuer: "https://other.example", audience: suuupra-api, jwksUri: "{keys}/others" }
  - id: at
    matcher: { path: /at/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", type: at+jwt } } }
  - id: need
    matcher: { path: /need/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth:
        jwt:
          maxFailuresPerMinute: 100000
          issuer: https://identity.example
          audience: suuupra-api
          jwksUri: "{keys}/keys"
          requiredRoles: [user]
          requiredScopes: [user.read]
          requiredPermissions: [orders.write]
  - id: own
    matcher: { path: "/own/{tenant}/x" }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } }
      authorization: { conditions: [{ id: own-tenant, when: claims.tenant == params.tenant }] }
  - id: header
    matcher: { path: /header/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", from: { header: X-Access-Token } } } }
  - id: cookie
    matcher: { path: /cookie/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", from: { cookie: session } } } }
  - id: query
    matcher: { path: /query/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", from: { query: access_token } } } }
  - id: once
    matcher: { path: /once/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", replayProtection: true } } }
  - id: optional
    matcher: { path: /optional/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", optional: true } } }
  - id: grants
    matcher: { path: /grants/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", optional: true } }
      authorization: { roles: { any: [admin, support] } }
  - id: away
    matcher: { path: /away/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://away.example", audience: suuupra-api, jwksUri: "http://127.0.0.1:1/keys" } } }
  - id: away-and-not
    matcher: { path: /away-and-not/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth:
        jwt:
          maxFailuresPerMinute: 100000
          issuers:
            - { issuer: "https://away.example", audience: suuupra-api, jwksUri: "http://127.0.0.1:1/keys" }
            - { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" }
`

func newIdentity(t *testing.T) *identity {
	t.Helper()
	w := &identity{mint: newMint(t), keys: newKeyServer(t)}
	w.keys.publish("/keys", w.mint.keys(t))
	others, err := publicSet(w.second)
	if err != nil {
		t.Fatal(err)
	}
	w.keys.publish("/others", others)
	w.site = startSite(t, plan{
		files: map[string]string{"routes/identity.yaml": strings.ReplaceAll(identityRoutes, "{keys}", w.keys.URL)},
		env:   []string{"HOSTILE_SECRET=" + w.secret},
	})
	w.keep("the secret of an issuer", w.secret)
	return w
}

// keepToken notes that a token, its claims and its signature must not show.
func (s *site) keepToken(token string) {
	for part := range strings.SplitSeq(token[:min(len(token), 32<<10)], ".") {
		if !strings.HasPrefix(part, b64([]byte(`{"alg"`))[:8]) { // headers are alike, and no secret
			s.keep("a part of a token", part)
		}
	}
}

// replays are tokens that were used before.
var replays = []story[*identity]{
	{name: "token twice", run: func(t *testing.T, w *identity) {
		token := w.good()
		w.once(t, w.site, token, "200")
		w.once(t, w.site, token, replayed)
	}},
	{name: "token twice, at two gateways", run: func(t *testing.T, w *identity) {
		o, token := w.another(t), w.good()
		w.once(t, w.site, token, "200")
		w.once(t, o, token, replayed)
	}},
	{name: "another token with the same jti", run: func(t *testing.T, w *identity) {
		w.once(t, w.site, by(w.es, nil, map[string]any{"jti": "the same", "x": 1}), "200")
		w.once(t, w.site, by(w.es, nil, map[string]any{"jti": "the same", "x": 2}), replayed)
	}},
	{name: "token with the other s of its signature", run: func(t *testing.T, w *identity) {
		token := w.good()
		signed, signature := parts(token)
		w.once(t, w.site, token, "200")
		w.once(t, w.site, signed+"."+b64(otherS(signature)), replayed)
	}},
	{name: "token without jti", run: func(t *testing.T, w *identity) { w.once(t, w.site, by(w.es, nil, map[string]any{"jti": nil}), invalid) }},
	{name: "token with an empty jti", run: func(t *testing.T, w *identity) { w.once(t, w.site, by(w.es, nil, map[string]any{"jti": ""}), invalid) }},
	{name: "token with a number as its jti", run: func(t *testing.T, w *identity) { w.once(t, w.site, by(w.es, nil, map[string]any{"jti": 1}), invalid) }},
	{name: "token with a jti of 2 KiB", run: func(t *testing.T, w *identity) {
		w.once(t, w.site, by(w.es, nil, map[string]any{"jti": strings.Repeat("j", 2<<10)}), invalid)
	}},
	{name: "jti with a command of Redis", is: bounded, run: func(t *testing.T, w *identity) {
		token := by(w.es, nil, map[string]any{"jti": "x\r\nFLUSHALL\r\n"})
		w.once(t, w.site, token, "200")
		w.once(t, w.site, token, replayed)
	}},
	{name: "forged token with the jti of one to come", is: bounded, run: func(t *testing.T, w *identity) {
		jti := map[string]any{"jti": "to come"}
		w.once(t, w.site, by(w.thief, nil, jti), invalid)
		w.once(t, w.site, by(w.es, nil, jti), "200")
	}},
	{name: "token that expires while it is remembered", run: func(t *testing.T, w *identity) {
		token := by(w.es, nil, map[string]any{"exp": soon(-58)})
		w.keepToken(token)
		a := &attempt{line: "GET /es/x", fields: []string{"Authorization: Bearer " + token}}
		if got := w.ask(t, ways[0], a).status; got != "200" {
			t.Errorf("before: %q", got)
		}
		testkit.Eventually(t, "the token has expired", func() bool { return w.ask(t, ways[0], a).status == expired })
		a.want = expired
		w.send(t, ways[0], a)
	}},
	{name: "token twenty times at once", run: atOnce},
}

const replayed = "401 token_replayed"

// once asks for what takes each token once.
func (w *identity) once(t *testing.T, s *site, token, want string) {
	t.Helper()
	w.keepToken(token)
	a := &attempt{line: "GET /once/x", fields: []string{"Authorization: Bearer " + token}, want: want}
	if want == "200" {
		a.to = a.line
	}
	s.send(t, ways[0], a)
}

// atOnce has twenty clients come with one token. One gets in.
func atOnce(t *testing.T, w *identity) {
	token := w.good()
	w.keepToken(token)
	text := (&attempt{line: "GET /once/x", fields: []string{"Authorization: Bearer " + token}}).kept()
	before := w.moment()
	var in atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		c := w.asker(t, "")
		all.Go(func() {
			_, _ = io.WriteString(c, text)
			switch got, _, err := c.response(http.MethodGet); got {
			case "200":
				in.Add(1)
			case replayed, unchecked:
			default:
				t.Errorf("answered %q, %v", got, err)
			}
		})
	}
	all.Wait()
	if seen, _ := w.guarded.since(t, before.guarded); in.Load() > 1 || len(seen) != int(in.Load()) {
		t.Errorf("%d got in, and the upstream saw %d", in.Load(), len(seen))
	}
}
