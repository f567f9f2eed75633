package simulate_test

import (
	"slices"
	"testing"
)

// TestFormat has each field of a test decide: what holds, and what does not.
func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		name, requests, beside string
		want                   []string // of what fails; nothing: the test passes
	}{
		{"status", `{ send: { url: /open/a }, expect: { status: 200 } }`, "", nil},
		{"another status", `{ send: { url: /open/a }, expect: { status: 201 } }`, "", []string{"5:53 request 1/1 status: expected 201, got 200"}},
		{"a range of statuses", `{ send: { url: /open/a }, expect: { status: "200-204" } }`, "", nil},
		{"outside of the range", `{ send: { url: /open/a }, expect: { status: "201-204" } }`, "", []string{"5:53 request 1/1 status: expected 201-204, got 200"}},
		{"code", `{ send: { url: /nowhere }, expect: { status: 404, code: no_route } }`, "", nil},
		{"another code", `{ send: { url: /nowhere }, expect: { code: method_not_allowed } }`, "", []string{`5:52 request 1/1 code: expected "method_not_allowed", got "no_route"`}},
		{"no code", `{ send: { url: /open/a }, expect: { code: no_route } }`, "", []string{`5:51 request 1/1 code: expected "no_route", got nothing`}},
		{
			"a problem of the upstream's is no code", `{ send: { url: /open/a }, expect: { status: 403, code: theirs } }`,
			"    upstream: { status: 403, headers: { Content-Type: application/problem+json }, body: '{\"code\":\"theirs\"}' }",
			[]string{`5:64 request 1/1 code: expected "theirs", got nothing`},
		},
		{"route and upstream", `{ send: { url: /open/a }, expect: { route: open, upstream: plain } }`, "", nil},
		{"another route and upstream", `{ send: { url: /open/a }, expect: { route: users, upstream: secure } }`, "", []string{
			`5:52 request 1/1 route: expected "users", got "open"`, `5:69 request 1/1 upstream: expected "secure", got "plain"`,
		}},
		{"upstream of a url", `{ send: { url: "http://api.example.com/prefixed/a" }, expect: { upstream: "http://backend:8080" } }`, "", nil},
		{
			"headers", `{ send: { url: /open/a }, expect: { headers: { x-a: one, X-B: "*", Content-Length: "2", Date: "Thu, 01 Jan 2026 12:00:00 GMT" } } }`,
			"    upstream: { headers: { X-A: one, X-B: two }, body: ok }", nil,
		},
		{"other headers", `{ send: { url: /open/a }, expect: { headers: { X-A: two, X-C: "*" } } }`, "    upstream: { headers: { X-A: one } }", []string{
			`5:61 request 1/1 headers.X-A: expected "two", got "one"`, "5:71 request 1/1 headers.X-C: expected any value, got nothing",
		}},
		{"absent", `{ send: { url: /open/a }, expect: { absent: [X-B] } }`, "    upstream: { headers: { X-A: one } }", nil},
		{"not absent", `{ send: { url: /open/a }, expect: { absent: [X-B, x-a] } }`, "    upstream: { headers: { X-A: one } }", []string{
			`5:59 request 1/1 absent: expected no x-a, got "one"`,
		}},
		{"body", `{ send: { url: /open/a }, expect: { body: ok } }`, "    upstream: { body: ok }", nil},
		{"another body", `{ send: { url: /open/a }, expect: { body: ok } }`, "", []string{`5:51 request 1/1 body: expected "ok", got nothing`}},
		{"reached", `{ send: { url: /open/a }, expect: { reached: true } }` + "\n" + `{ send: { url: /nowhere }, expect: { reached: false } }`, "", nil},
		{"not reached", `{ send: { url: /nowhere }, expect: { reached: true } }`, "", []string{"5:55 request 1/1 reached: expected true, got false"}},
		{"reached in vain", `{ send: { url: /open/a }, expect: { reached: false } }`, "", []string{"5:54 request 1/1 reached: expected false, got true"}},
		{"forwarded", `{ send: { method: POST, url: "http://api.example.com/prefixed/a?b=1", headers: { X-A: one }, body: hello }, ` +
			`expect: { forwarded: { method: POST, host: api.example.com, path: "/v2/prefixed/a?b=1", headers: { X-A: one, X-Forwarded-For: 192.0.2.1 }, absent: [X-B], body: hello } } }`, "", nil},
		{"forwarded otherwise", `{ send: { url: /open/a, headers: { X-A: one } }, expect: { forwarded: { method: PUT, host: h, path: /b, headers: { X-A: two }, absent: [X-Nothing-At, X-Forwarded-For], body: x } } }`, "", []string{
			`5:89 request 1/1 forwarded.method: expected "PUT", got "GET"`, `5:100 request 1/1 forwarded.host: expected "h", got "plain.internal"`,
			`5:109 request 1/1 forwarded.path: expected "/b", got "/open/a"`, `5:129 request 1/1 forwarded.headers.X-A: expected "two", got "one"`,
			`5:159 request 1/1 forwarded.absent: expected no X-Forwarded-For, got "192.0.2.1"`, `5:183 request 1/1 forwarded.body: expected "x", got nothing`,
		}},
		{"forwarded to nobody", `{ send: { url: /nowhere }, expect: { forwarded: { method: GET } } }`, "", []string{
			"5:57 request 1/1 forwarded: expected a request that reaches an upstream, got nothing",
		}},
		{"path without the query", `{ send: { url: "/open/a?b=1" }, expect: { forwarded: { path: /open/a } } }`, "", nil},
		{"path and no query", `{ send: { url: "/open/a?b=1" }, expect: { forwarded: { path: "/open/a?" } } }`, "", []string{
			`5:70 request 1/1 forwarded.path: expected "/open/a?", got "/open/a?b=1"`,
		}},
		{"from", `{ send: { url: /inside, from: 10.1.1.1 }, expect: { status: 200 } }` + "\n" + `{ send: { url: /inside }, expect: { status: 403, code: ip_denied } }`, "", nil},
		{"from a proxy", `{ send: { url: /inside, from: 198.51.100.7, headers: { X-Forwarded-For: 10.1.1.1 } }, expect: { status: 200 } }`, "", nil},
		{"times", `{ send: { url: /limited }, times: 10, expect: { status: 200 } }` + "\n" + `{ send: { url: /limited }, expect: { status: 429, headers: { Retry-After: "6" } } }`, "", nil},
		{"one time too many", `{ send: { url: /limited }, times: 12, expect: { status: 200 } }`, "", []string{"5:65 request 1/11 status: expected 200, got 429"}},
		{"after", `{ send: { url: /limited }, times: 10, expect: { status: 200 } }` + "\n" + `{ send: { url: /limited }, after: 12s, times: 2, expect: { status: 200 } }` +
			"\n" + `{ send: { url: /limited }, expect: { status: 429 } }`, "", nil},
		{
			"at", `{ send: { url: /users/a, token: { claims: { roles: [user], exp: 1798804801 } } }, expect: { status: 200, headers: { Date: "Fri, 01 Jan 2027 12:00:00 GMT" } } }`,
			"    at: 2027-01-01T13:00:00+01:00", nil,
		},
		{
			"upstream of a request", `{ send: { url: /open/a }, upstream: { status: 204 }, expect: { status: 204 } }` + "\n" + `{ send: { url: /open/a }, expect: { status: 500 } }`,
			"    upstream: { status: 500 }", nil,
		},
		{"connect fails", `{ send: { url: /open/a }, expect: { status: 502, code: upstream_connect_failed, reached: false } }`, "    upstream: { fails: connect }", nil},
		{"reset", `{ send: { url: /open/a }, expect: { status: 502, code: upstream_reset, reached: true } }`, "    upstream: { fails: reset }", nil},
		{"timeout", `{ send: { url: /open/a }, expect: { status: 504, code: upstream_timeout, reached: true } }`, "    upstream: { fails: timeout }", nil},
		{"method", `{ send: { method: DELETE, url: /pages }, expect: { status: 405, headers: { Allow: "GET, PUT" } } }`, "", nil},
		{"HEAD", `{ send: { method: HEAD, url: /open/a }, expect: { status: 200, headers: { Content-Length: "2" }, forwarded: { method: HEAD } } }`, "    upstream: { body: ok }", nil},
		{"body size", `{ send: { method: POST, url: /upload, bodySize: 1KiB }, expect: { status: 200, reached: true } }` + "\n" +
			`{ send: { method: POST, url: /upload, bodySize: 1025 }, expect: { status: 413, code: body_too_large, reached: false } }`, "", nil},
		{"a body of 10 MiB", `{ send: { method: POST, url: /large, bodySize: 10MiB }, expect: { status: 200, forwarded: { headers: { Content-Length: "10485760" } } } }`, "", nil},
		{"a scheme", `{ send: { url: "https://a.example.com/careful" }, expect: { headers: { Strict-Transport-Security: "*" } } }` + "\n" +
			`{ send: { url: "http://a.example.com/careful" }, expect: { absent: [Strict-Transport-Security] } }`, "", nil},
		{"another environment", `{ send: { url: /nowhere }, expect: { status: 200 } }`, "    environments: [prod]", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := said(newRig(t, site, one(tt.requests, tt.beside)).run()); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// TestCredentials has each way in which a request can prove itself, as the route wants it and otherwise.
func TestCredentials(t *testing.T) {
	const ok, none = `expect: { status: 200 } }`, `expect: { status: 401, code: token_invalid, reached: false } }`
	for _, tt := range []struct {
		name, requests, beside string
	}{
		{"a token", `{ send: { url: /users/a, token: { claims: { roles: [user] } } }, ` + ok, ""},
		{"a token without a role", `{ send: { url: /users/a, token: {} }, expect: { status: 403, code: role_missing } }`, ""},
		{"no token", `{ send: { url: /users/a }, expect: { status: 401, code: token_missing } }`, ""},
		{"what is no token", `{ send: { url: /users/a, headers: { Authorization: "Bearer <a.b>" } }, expect: { status: 401, code: token_malformed } }`, ""},
		{"claims", `{ send: { url: /users/a, token: { claims: { roles: [user], sub: ann, realm: { org: acme } } }, headers: { X-Org: "evil" } }, ` +
			`expect: { forwarded: { headers: { X-User-Id: ann, X-Org: acme, X-Gateway-Identity: "*" } } } }`, ""},
		{"without an audience", `{ send: { url: /users/a, token: { claims: { roles: [user] }, without: [aud] } }, ` + none, ""},
		{"another audience", `{ send: { url: /users/a, token: { claims: { roles: [user], aud: other } } }, ` + none, ""},
		{"tampered", `{ send: { url: /users/a, token: { claims: { roles: [user] }, tampered: true } }, ` + none, ""},
		{"expired", `{ send: { url: /users/a, token: { claims: { roles: [user] }, expired: true } }, expect: { status: 401, code: token_expired } }`, ""},
		{"expires within the skew", `{ send: { url: /users/a, token: { claims: { roles: [user] }, expiresIn: 1s } }, after: 1h, ` + ok, ""},
		{"another issuer", `{ send: { url: /users/a, token: { claims: { roles: [user] }, issuer: "https://evil.example.com" } }, ` + none, ""},
		{
			"another issuer that names the right one",
			`{ send: { url: /users/a, token: { claims: { roles: [user], iss: "https://id.example.com" }, issuer: "https://evil.example.com" } }, ` + none, "",
		},
		{"another algorithm", `{ send: { url: /users/a, token: { claims: { roles: [user] }, algorithm: EdDSA } }, ` + none, ""},
		{"a public key as a secret", `{ send: { url: /users/a, token: { claims: { roles: [user] }, algorithm: HS256 } }, ` + none, ""},
		{"the first of several issuers", `{ send: { url: /several/a, token: {} }, ` + ok, ""},
		{"the second of several issuers, by a secret", `{ send: { url: /several/a, token: { issuer: "https://two.example.com" } }, ` + ok, ""},
		{"a token in a cookie", `{ send: { url: /cookie, headers: { Cookie: "a=b" }, token: {} }, expect: { status: 200, forwarded: { headers: { Cookie: "a=b" } } } }`, ""},
		{"a token in the query", `{ send: { url: "/stream?a=b", token: {} }, expect: { status: 200, forwarded: { path: "/stream?a=b" } } }`, ""},
		{"a token in a field", `{ send: { url: /header, token: {} }, expect: { status: 200, forwarded: { absent: [X-Token] } } }`, ""},
		{"a token where none is asked for", `{ send: { url: /open/a, token: {} }, expect: { forwarded: { headers: { Authorization: "*" } } } }`, ""},
		{"a token used twice", `{ send: { url: /once, token: {} }, ` + ok + "\n" + `{ send: { url: /once, token: {} }, times: 1, ` + ok, ""},
		{"the same token twice", `{ send: { url: /once, token: { claims: { jti: a } } }, ` + ok + "\n" +
			`{ send: { url: /once, token: { claims: { jti: a } } }, expect: { status: 401, code: token_replayed } }`, ""},

		{"an API key", `{ send: { url: /keyed/a, apiKey: { scopes: [read] } }, expect: { status: 200, forwarded: { absent: [X-Partner-Key] } } }`, ""},
		{"an API key without a scope", `{ send: { url: /keyed/a, apiKey: {} }, expect: { status: 403, code: scope_missing } }`, ""},
		{"no API key", `{ send: { url: /keyed/a }, expect: { status: 401, code: key_missing } }`, ""},
		{"an unknown API key", `{ send: { url: /keyed/a, apiKey: { scopes: [read], unknown: true } }, expect: { status: 401, code: key_invalid } }`, ""},
		{"a revoked API key", `{ send: { url: /keyed/a, apiKey: { scopes: [read], revoked: true } }, expect: { status: 401, code: key_revoked } }`, ""},
		{"an expired API key", `{ send: { url: /keyed/a, apiKey: { scopes: [read], expired: true } }, expect: { status: 401, code: key_expired } }`, ""},

		{"a signature", `{ send: { url: "/signed/a?b=1", signed: {} }, expect: { status: 200, forwarded: { path: "/signed/a?b=1" } } }`, ""},
		{"no signature", `{ send: { url: /signed/a }, expect: { status: 403, code: signature_missing } }`, ""},
		{"by the second key", `{ send: { url: /signed/a, signed: { key: k2 } }, ` + ok, ""},
		{"by a key that is not the route's", `{ send: { url: /signed/a, signed: { key: k3 } }, expect: { status: 403, code: signature_invalid } }`, ""},
		{"a forged signature", `{ send: { url: /signed/a, signed: { tampered: true } }, expect: { status: 403, code: signature_invalid } }`, ""},
		{"an expired signature", `{ send: { url: /signed/a, signed: { expired: true } }, expect: { status: 403, code: signature_expired } }`, ""},
		{"a signature for too long", `{ send: { url: /signed/a, signed: { expiresIn: 1h } }, expect: { status: 403, code: signature_too_long } }`, ""},
		{"a prefix", `{ send: { url: /signed/a, signed: { prefix: /signed } }, ` + ok, ""},
		{"methods", `{ send: { method: PUT, url: /signed/a, signed: { methods: [PUT] } }, ` + ok + "\n" +
			`{ send: { method: PUT, url: /signed/a, signed: {} }, expect: { status: 403, code: signature_method } }`, ""},
		{"an address", `{ send: { url: /signed/a, signed: { ip: 192.0.2.1 } }, ` + ok + "\n" +
			`{ send: { url: /signed/a, signed: { ip: 192.0.2.2 } }, expect: { status: 403, code: signature_ip } }`, ""},

		{"no state, counted locally", `{ send: { url: /limited }, times: 10, ` + ok + "\n" + `{ send: { url: /limited }, expect: { status: 429 } }`, "    away: [state]"},
		{"no state, closed", `{ send: { url: /closed }, expect: { status: 503, code: limit_unavailable } }`, "    away: [state]"},
		{"no state, and keys", `{ send: { url: /keyed/a, apiKey: { scopes: [read] } }, expect: { status: 503, code: keys_unavailable } }`, "    away: [state]"},
		{"no state, and used tokens", `{ send: { url: /once, token: {} }, expect: { status: 503, code: token_unverifiable } }`, "    away: [state]"},
		{"no keys", `{ send: { url: /users/a, token: { claims: { roles: [user] } } }, expect: { status: 503, code: token_unverifiable } }`, "    away: [keys]"},
		{"no secrets", `{ send: { url: /signed/a, signed: {} }, expect: { status: 503 } }`, "    away: [secrets]"},
		{"no secrets, and a shared one", `{ send: { url: /several/a, token: { issuer: "https://two.example.com" } }, expect: { status: 503 } }`, "    away: [secrets]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := said(newRig(t, site, one(tt.requests, tt.beside)).run()); len(got) > 0 {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestPipeline has what only the real pipeline does: the same code serves traffic.
func TestPipeline(t *testing.T) {
	for _, tt := range []struct{ name, requests, beside string }{
		{"a path is normalised", `{ send: { url: "/open/x/../a//b" }, expect: { route: open, forwarded: { path: /open/a/b } } }`, ""},
		{"an encoded slash is refused", `{ send: { url: "/open/a%2fb" }, expect: { status: 400, code: path_encoded_slash } }`, ""},
		{"a long URL is refused", `{ send: { url: "/open/` + string(slices.Repeat([]byte("a"), 3000)) + `" }, expect: { status: 414 } }`, ""},
		{"many fields are refused", `{ send: { url: /open/a, headers: { A: x, B: x, C: x, D: x, E: x, F: x, G: x, H: x, I: x, J: x, K: x, L: x, M: x, N: x, O: x, P: x, Q: x, R: x, S: x, T: x } }, expect: { status: 431 } }`, ""},
		{"a host that is none", `{ send: { url: "http://a_b..c/open/a" }, expect: { status: 400 } }`, ""},
		{"a body over the gateway's limit", `{ send: { method: POST, url: /open/a, bodySize: 40KiB }, expect: { status: 413, code: body_too_large } }`, ""},
		{"a claim to come from elsewhere is dropped", `{ send: { url: /open/a, headers: { X-Forwarded-For: 10.1.1.1 } }, expect: { forwarded: { headers: { X-Forwarded-For: 192.0.2.1 } } } }`, ""},
		{"a preflight request", `{ send: { method: OPTIONS, url: /pages, headers: { Origin: "https://shop.example.com", Access-Control-Request-Method: PUT } }, ` +
			`expect: { status: 204, route: pages, reached: false, headers: { Access-Control-Allow-Origin: "https://shop.example.com" } } }`, ""},
		{"a preflight request of another page", `{ send: { method: OPTIONS, url: /pages, headers: { Origin: "https://evil.example.com", Access-Control-Request-Method: PUT } }, ` +
			`expect: { status: 403, code: cors_origin_denied } }`, ""},
		{"retries, and their count", `{ send: { url: /retried }, expect: { status: 503, headers: { X-Gateway-Attempts: "3" } } }`, "    upstream: { status: 503 }"},
		{"a breaker opens and closes", `{ send: { url: /broken }, times: 5, upstream: { status: 500 }, expect: { status: 500 } }` + "\n" +
			`{ send: { url: /broken }, expect: { status: 503, code: breaker_open, reached: false, headers: { Retry-After: "*" } } }` + "\n" +
			`{ send: { url: /broken }, after: 10s, expect: { status: 200 } }`, ""},
		{"a server with TLS and HTTP/2", `{ send: { url: /secure }, times: 20, expect: { status: 200, upstream: secure } }`, ""},
		{"servers that are found", `{ send: { url: /found }, expect: { status: 200, upstream: found } }`, ""},
		{"a rewritten path", `{ send: { url: "/old/a%20b?debug=1&x=2" }, expect: { forwarded: { path: "/new/a%20b?x=2" } } }`, ""},
		{
			"compression", `{ send: { url: /careful, headers: { Accept-Encoding: gzip } }, expect: { headers: { Content-Encoding: gzip } } }`,
			"    upstream: { headers: { Content-Type: text/plain }, body: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }",
		},
		{
			"fields are removed", `{ send: { url: /users/a, token: { claims: { roles: [user] } }, headers: { X-Internal: "1" } }, expect: { absent: [Server], forwarded: { absent: [X-Internal] } } }`,
			"    upstream: { headers: { Server: x } }",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := said(newRig(t, site, one(tt.requests, tt.beside)).run()); len(got) > 0 {
				t.Errorf("%q", got)
			}
		})
	}
}
