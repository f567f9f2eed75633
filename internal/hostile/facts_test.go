package hostile_test

import (
	"crypto/rand"
	"io"
	"strings"
	"testing"
)

const (
	unusable = "403 claim_unusable"
	tooMuch  = "403 claims_too_large"
)

// spoof is what a client says of itself.
var spoof = []string{"X-User-Id: root", "X-Roles: admin", "X-Note: x", "X-Gateway-Identity: eyJhbGciOiJub25lIn0.e30."}

// factInputs are about what the gateway tells the upstream of its callers, and what callers would like it to believe.
var factInputs = []edgeInput{
	{name: "caller", is: normal, at: "/facts/x", claims: map[string]any{}, sees: []string{"X-User-Id: ann", "X-Roles: user"}},
	{name: "caller with fields of its own", is: normal, at: "/facts/x", claims: map[string]any{}, fields: spoof, sees: []string{"X-User-Id: ann", "X-Roles: user"}, without: []string{"root", "admin", "x-note"}},
	{name: "nobody with fields of its own", is: normal, at: "/facts/x", fields: spoof, without: []string{"x-user-id", "x-roles", "x-note"}},
	{name: "fields on a route that asks nobody", is: normal, at: "/open-facts/x", fields: spoof, without: []string{"x-user-id"}},
	{name: "field in small letters", is: normal, at: "/facts/x", fields: []string{"x-user-id: root"}, without: []string{"x-user-id"}},
	{name: "field in capitals", is: normal, at: "/facts/x", fields: []string{"X-USER-ID: root"}, without: []string{"x-user-id"}},
	{name: "field with underscores", is: normal, at: "/facts/x", fields: []string{"x_user_id: root", "X_User_Id: root"}, without: []string{"x_user_id"}},
	{name: "field with dots", is: normal, at: "/facts/x", fields: []string{"X.User.Id: root", "X-User.Id: root"}, without: []string{"user.id"}},
	{name: "field with other characters", is: normal, at: "/facts/x", fields: []string{"X!User~Id: root", "X*User|Id: root", "X+User'Id: root"}, without: []string{"root"}},
	{name: "field twice", is: normal, at: "/facts/x", claims: map[string]any{}, fields: []string{"X-User-Id: root", "X-User-Id: root"}, sees: []string{"X-User-Id: ann"}, without: []string{"root"}},
	{name: "field empty", is: normal, at: "/facts/x", fields: []string{"X-User-Id:"}, without: []string{"x-user-id"}},
	{name: "field with a space behind its name", at: "/facts/x", fields: []string{"X-User-Id : root"}, want: badName, http2: reset},
	{name: "field with a tab behind its name", at: "/facts/x", fields: []string{"X-User-Id\t: root"}, want: badName, http2: reset},
	{name: "field in a fold", at: "/facts/x", fields: []string{"X: y\r\n X-User-Id: root"}, want: folded, http2: reset},
	{name: "field behind a bare CR", at: "/facts/x", fields: []string{"X: y\rX-User-Id: root"}, want: badValue, http2: reset},
	{name: "field in a trailer", is: normal, line: "POST", at: "/facts/x", body: "x", trailer: []string{"X-User-Id: root"}, claims: map[string]any{}, sees: []string{"X-User-Id: ann"}, without: []string{"root"}},
	{name: "field in a trailer, with underscores", is: normal, line: "POST", at: "/facts/x", body: "x", trailer: []string{"x_user_id: root"}, without: []string{"root"}},
	{name: "field that Connection names", is: normal, at: "/facts/x", claims: map[string]any{}, fields: []string{"Connection: close, X-User-Id, X-Roles"}, sees: []string{"X-User-Id: ann", "X-Roles: user"}, http2: notOnTheLine},
	{name: "fields of a caller who switches protocols", is: normal, at: "/facts/x", claims: map[string]any{}, fields: append([]string{"Connection: close, Upgrade", "Upgrade: websocket"}, spoof...), sees: []string{"X-User-Id: ann", "X-Roles: user"}, without: []string{"root", "admin"}, http2: notOnTheLine},
	{name: "identity token that Connection names", is: normal, at: "/identity/x", claims: map[string]any{}, fields: []string{"Connection: close, X-Gateway-Identity", "X-Gateway-Identity: x.y.z"}, without: []string{"x.y.z"}, http2: notOnTheLine},
	{name: "identity token of somebody's", is: normal, at: "/identity/x", fields: []string{"X-Gateway-Identity: x.y.z"}, without: []string{"x-gateway-identity"}},
	{name: "identity token without its key", at: "/identity-lost/x", claims: map[string]any{}, want: "503 identity_key_unavailable"},
	{name: "nobody where the key of identities is lost", is: normal, at: "/identity-lost/x"},

	// Claims that would be more than they are. The issuer has signed them all.
	{name: "claim with CR LF", at: "/facts/x", claims: map[string]any{"sub": "ann\r\nX-Roles: admin"}, want: unusable},
	{name: "claim with LF", at: "/facts/x", claims: map[string]any{"sub": "ann\nX-Roles: admin"}, want: unusable},
	{name: "claim with CR", at: "/facts/x", claims: map[string]any{"sub": "ann\rX-Roles: admin"}, want: unusable},
	{name: "claim with a request in it", at: "/facts/x", claims: map[string]any{"sub": "ann\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"}, want: unusable},
	{name: "claim with NUL", at: "/facts/x", claims: map[string]any{"sub": "ann\x00"}, want: unusable},
	{name: "claim with DEL", at: "/facts/x", claims: map[string]any{"sub": "ann\x7f"}, want: unusable},
	{name: "claim beyond ASCII", at: "/facts/x", claims: map[string]any{"sub": "\u00e4nn"}, want: unusable},
	{name: "claim that becomes a line break in other encodings", at: "/facts/x", claims: map[string]any{"sub": "ann\u560d\u560aX-Roles: admin"}, want: unusable},
	{name: "claim with a separator of lines", at: "/facts/x", claims: map[string]any{"sub": "ann\u2028"}, want: unusable},
	{name: "claim with a space in front", at: "/facts/x", claims: map[string]any{"sub": " ann"}, want: unusable},
	{name: "claim with a tab behind", at: "/facts/x", claims: map[string]any{"sub": "ann\t"}, want: unusable},
	{name: "claim an object", at: "/facts/x", claims: map[string]any{"note": map[string]any{"a": 1}}, want: unusable},
	{name: "list with a comma", at: "/facts/x", claims: map[string]any{"roles": []string{"user,admin"}}, want: unusable},
	{name: "list with a quote", at: "/facts/x", claims: map[string]any{"roles": []string{`"user`}}, want: unusable},
	{name: "list with an empty element", at: "/facts/x", claims: map[string]any{"roles": []string{"user", ""}}, want: unusable},
	{name: "list with a list", at: "/facts/x", claims: map[string]any{"roles": []any{[]string{"admin"}}}, want: unusable},
	{name: "list with CR LF", at: "/facts/x", claims: map[string]any{"roles": []string{"user\r\nX-User-Id: root"}}, want: unusable},
	{name: "claims of more than 8 KiB", at: "/facts/x", claims: map[string]any{"note": strings.Repeat("n", 4200)}, want: tooMuch}, // it goes into two fields
	{name: "claims of 6 KiB", is: bounded, at: "/facts/x", claims: map[string]any{"note": strings.Repeat("n", 3000)}},
	{name: "claim null", is: normal, at: "/facts/x", claims: map[string]any{"note": []any(nil)}, fields: spoof, without: []string{"x-note: x"}},
	{name: "claim that is not there", is: normal, at: "/facts/x", claims: map[string]any{"roles": nil}, fields: spoof, without: []string{"x-roles"}},
	{name: "claim with a tab within", is: normal, at: "/facts/x", claims: map[string]any{"note": "a\tb"}, sees: []string{"X-Note: a\tb"}},
	{name: "claim with a quote", is: normal, at: "/facts/x", claims: map[string]any{"note": `a", X-Roles: admin`}, sees: []string{`X-Note: a", X-Roles: admin`, "X-Roles: user"}},

	// Templates.
	{name: "claim with CR LF in a template", at: "/edit/1", claims: map[string]any{"note": "a\r\nX-Admin: 1"}, want: unusable},
	{name: "claim beyond ASCII in a template", at: "/edit/1", claims: map[string]any{"note": "\u00e4"}, want: unusable},
	{name: "claim with a template in it", is: normal, at: "/edit/1", claims: map[string]any{"note": "${client.ip}"}, to: "/v2/1", sees: []string{"X-Of: ${client.ip} 1"}},
	{name: "capture with CR LF", at: "/edit/1%0d%0aX-Admin:%201", claims: map[string]any{"note": "n"}, want: pathControl},
	{name: "capture with a slash", at: "/edit/..%2f..%2fadmin", claims: map[string]any{"note": "n"}, want: encodedSlash},
	{name: "capture with dots, escaped twice", is: normal, at: "/edit/%252e%252e", claims: map[string]any{"note": "n"}, to: "/v2/%252e%252e"},
	{name: "capture with a question mark", is: normal, at: "/edit/1%3frole=admin", claims: map[string]any{"note": "n"}, to: "/v2/1%3Frole=admin", sees: []string{"X-Of: n 1%3Frole=admin"}},
	{name: "capture with a template in it", is: normal, at: "/edit/$%7Bclaims.sub%7D", claims: map[string]any{"note": "n"}, to: "/v2/$%7Bclaims.sub%7D"},
	{name: "field that is removed, in every spelling", is: normal, at: "/edit/1", claims: map[string]any{"note": "n"}, fields: []string{"X-Debug: 1", "x_debug: 1", "X.Debug: 1", "X-OF: root", "x_of: root"}, to: "/v2/1", sees: []string{"X-Of: n 1"}, without: []string{"debug", "root"}},
	{name: "field that is removed, in a trailer", is: normal, line: "POST", at: "/edit/1", body: "x", claims: map[string]any{"note": "n"}, trailer: []string{"X-Of: root"}, to: "/v2/1", without: []string{"root"}},
	{name: "parameter that is set", is: normal, at: "/search/x?role=admin&a=b", to: "/search/x?a=b&role=user"},
	{name: "parameter that is set, with an escape", is: normal, at: "/search/x?r%6fle=admin&a=b", to: "/search/x?a=b&role=user"},
	{name: "parameter that is set, without a value", is: normal, at: "/search/x?role&a=b", to: "/search/x?a=b&role=user"},
	{name: "parameter that is set, behind a semicolon", at: "/search/x?a=b;role=admin", want: "400 rewrite_unsafe"},
	{name: "parameter that is set, in front of a semicolon", at: "/search/x?role=admin;a=b", want: "400 rewrite_unsafe"},
	{name: "parameter that is set, with half an escape behind it", is: normal, at: "/search/x?role=admin%", to: "/search/x?role=user"},
	{name: "prefix that is cut off, from a path that goes round it", is: normal, at: "/strip/x/../y", to: "/y"},
	{name: "prefix that is cut off, and another host behind it", is: normal, at: "/strip//evil.io/x", to: "/evil.io/x"},
}

const factRoutes = `
  - id: facts
    matcher: { path: /facts/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", optional: true } }
      contextInjection: { claims: { X-User-Id: sub, X-Roles: roles, X-Note: note, X-Note-2: note } }
  - id: open-facts
    matcher: { path: /open-facts/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { contextInjection: { claims: { X-User-Id: sub } } }
  - id: identity
    matcher: { path: /identity/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", optional: true } }
      contextInjection: { identityToken: { secretRef: "env:HOSTILE_IDENTITY" } }
  - id: identity-lost
    matcher: { path: /identity-lost/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys", optional: true } }
      contextInjection: { identityToken: { secretRef: "env:HOSTILE_IDENTITY_LOST" } }
  - id: edit
    matcher: { path: "/edit/{id}" }
    target: { type: http, url: "http://{guarded}" }
    policy:
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } }
      headers: { request: { remove: [X-Debug], set: { X-Of: "${claims.note} ${params.id}" } } }
      rewrite: { path: "/v2/${params.id}" }
  - id: search
    matcher: { path: /search/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rewrite: { query: { set: { role: user } } } }
  - id: strip
    matcher: { path: /strip/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { rewrite: { stripPrefix: /strip } }
`

func newEdge(t *testing.T) *edge {
	t.Helper()
	server := newKeyServer(t)
	e := &edge{mint: newMint(t)}
	server.publish("/keys", e.mint.keys(t))
	secret := rand.Text() + rand.Text()
	e.site = startSite(t, plan{
		listeners: "    - { id: third, address: \"{third}\", proxyProtocol: { from: [127.0.0.5/32] } }\n",
		settings:  "  trustedProxies: [127.0.0.5/32]\n",
		files:     map[string]string{"routes/edge.yaml": strings.ReplaceAll(edgeRoutes+factRoutes, "{keys}", server.URL)},
		scripts:   edgeScripts,
		env:       []string{"HOSTILE_IDENTITY=" + secret},
	})
	e.keep("the key of identities", secret)
	return e
}

// TestEdge sends each. What the client says of where it comes from, and of whom it is, is worth nothing.
func TestEdge(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for _, in := range addressInputs {
		e.try(t, in.name, func() *attempt { return e.attempt(&in) })
	}
	for _, in := range originInputs {
		e.try(t, in.name, func() *attempt { return e.attempt(&in) })
	}
	for _, in := range factInputs {
		e.try(t, in.name, func() *attempt { return e.attempt(&in) })
	}
	for _, in := range balancedInputs {
		t.Run(in.name, func(t *testing.T) { e.balance(t, &in) })
	}
}

// balancedInput is the beginning of a connection to a listener that is behind a load balancer at 127.0.0.5.
type balancedInput struct {
	name, from, bytes string
	is                outcome
	want              string // "": the connection ends without an answer
}

// The PROXY protocol, version 2: its signature, PROXY, TCP over IPv4, 12 bytes, from 10.0.0.1:1 to 127.0.0.1:2.
const proxy2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02"

var balancedInputs = []balancedInput{
	{name: "PROXY header of the balancer", is: normal, from: proxy, bytes: "PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n", want: "200"},
	{name: "PROXY header of version 2 of the balancer", is: normal, from: proxy, bytes: proxy2, want: "200"},
	{name: "PROXY header of another client of the balancer", from: proxy, bytes: "PROXY TCP4 8.8.8.8 127.0.0.1 1 2\r\n", want: denied},
	{name: "PROXY header of the balancer, mapped", is: normal, from: proxy, bytes: "PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n", want: "200"},
	{name: "PROXY header of somebody", bytes: "PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n", want: badVersion},
	{name: "PROXY header of version 2 of somebody", bytes: proxy2, want: badLine},
	{name: "no PROXY header of the balancer", from: proxy, bytes: ""},
	{name: "PROXY header twice", from: proxy, bytes: "PROXY TCP4 8.8.8.8 127.0.0.1 1 2\r\nPROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n", want: badVersion},
	{name: "PROXY header of nobody known", from: proxy, bytes: "PROXY UNKNOWN\r\n", want: denied},
	{name: "PROXY header with an address in hex", from: proxy, bytes: "PROXY TCP4 0x0a.0.0.1 127.0.0.1 1 2\r\n"},
	{name: "PROXY header with another family", from: proxy, bytes: "PROXY TCP6 10.0.0.1 127.0.0.1 1 2\r\n"},
	{name: "PROXY header with a port too many", from: proxy, bytes: "PROXY TCP4 10.0.0.1 127.0.0.1 1 99999\r\n"},
	{name: "PROXY header without end", from: proxy, bytes: "PROXY TCP4 " + strings.Repeat("1", 200)},
	{name: "PROXY header in small letters", from: proxy, bytes: "proxy TCP4 10.0.0.1 127.0.0.1 1 2\r\n"},
	{name: "PROXY header of version 2 with 64 KiB behind it", from: proxy, bytes: proxy2[:14] + "\xff\xff" + strings.Repeat("\x00", 0xffff)},
}

// balance begins a connection, and asks for what only 10.0.0.0/8 may have.
func (e *edge) balance(t *testing.T, in *balancedInput) {
	t.Helper()
	before := e.moment()
	c := (&gateway{t: t, plain: e.third}).dialFrom(t, "in the clear", "", in.from)
	a := &attempt{line: "GET " + inside}
	go func() { _, _ = io.WriteString(c, in.bytes+a.http1()) }()
	if got, err := c.answers(); got != in.want || err != nil {
		t.Errorf("answered %q, %v, want %q", got, err, in.want)
	}
	to := ""
	if in.is != refused {
		to = a.line
	}
	e.judge(t, before, "", to)
}
