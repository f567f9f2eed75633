package hostile_test

import (
	"bufio"
	"io"
	"net"
	"strings"
)

// edgeInput is a request that says something about where it comes from, or who sends it.
type edgeInput struct {
	name    string
	at      string // path and query
	line    string // method; "": GET
	from    string // "": 127.0.0.1, which nobody trusts; proxy is trusted
	fields  []string
	claims  map[string]any // of a token that comes with it; nil: none does
	body    string
	trailer []string
	before  string
	is      outcome
	want    string // "": 200
	http2   string
	to      string // what reaches the upstream, "": at
	sees    []string
	without []string
	says    []string
	mute    []string
}

func (in edgeInput) outcome() outcome { return in.is }

const (
	proxy   = "127.0.0.5"
	denied  = "403 ip_denied"
	inside  = "/in/x"  // for 10.0.0.0/8 and 2001:db8::/32 alone
	outside = "/out/x" // for all but 10.0.0.0/8 and 127.0.0.6
)

// forwarded is a chain as a proxy writes it.
func forwarded(chain ...string) []string {
	return []string{"X-Forwarded-For: " + strings.Join(chain, ", ")}
}

var addressInputs = []edgeInput{
	{name: "address that is not allowed", at: inside, want: denied},
	{name: "address that is denied", at: outside, from: "127.0.0.6", want: denied},
	{name: "address that is not denied", is: normal, at: outside, sees: []string{"X-Forwarded-For: 127.0.0.1"}},

	// Of somebody whose word does not count.
	{name: "X-Forwarded-For", at: inside, fields: forwarded("10.0.0.1"), want: denied},
	{name: "X-Forwarded-For in small letters", at: inside, fields: []string{"x-forwarded-for: 10.0.0.1"}, want: denied},
	{name: "X_Forwarded_For", at: inside, fields: []string{"X_Forwarded_For: 10.0.0.1"}, want: denied},
	{name: "X-Forwarded-For twice", at: inside, fields: []string{"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.1"}, want: denied},
	{name: "X-Forwarded-For of 1,000", at: inside, fields: forwarded(strings.Split(strings.Repeat("10.0.0.1 ", 999)+"10.0.0.1", " ")...), want: denied},
	{name: "X-Forwarded-For that names the proxy", at: inside, fields: forwarded("10.0.0.1", proxy), want: denied},
	{name: "X-Real-IP", at: inside, fields: []string{"X-Real-IP: 10.0.0.1"}, want: denied},
	{name: "Forwarded", at: inside, fields: []string{"Forwarded: for=10.0.0.1"}, want: denied},
	{name: "Forwarded, mapped", at: inside, fields: []string{`Forwarded: for="[::ffff:10.0.0.1]"`}, want: denied},
	{name: "X-Client-IP", at: inside, fields: []string{"X-Client-IP: 10.0.0.1"}, want: denied},
	{name: "True-Client-IP", at: inside, fields: []string{"True-Client-IP: 10.0.0.1"}, want: denied},
	{name: "CF-Connecting-IP", at: inside, fields: []string{"CF-Connecting-IP: 10.0.0.1"}, want: denied},
	{name: "X-Cluster-Client-IP", at: inside, fields: []string{"X-Cluster-Client-IP: 10.0.0.1"}, want: denied},
	{name: "X-Originating-IP", at: inside, fields: []string{"X-Originating-IP: [10.0.0.1]"}, want: denied},
	{name: "Client-IP", at: inside, fields: []string{"Client-IP: 10.0.0.1"}, want: denied},
	{name: "denied, X-Forwarded-For of another", at: outside, from: "127.0.0.6", fields: forwarded("8.8.8.8"), want: denied},
	{name: "fields that are not believed go no further", is: normal, at: outside, fields: []string{
		"X-Forwarded-For: 10.0.0.1", "X_Forwarded_For: 10.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Real-IP: 10.0.0.1", "Forwarded: for=10.0.0.1",
	}, sees: []string{"X-Forwarded-For: 127.0.0.1"}, without: []string{"10.0.0.1", "evil"}},
	{name: "id of the request", is: normal, at: outside, fields: []string{"X-Request-Id: mine", "X_Request_Id: mine"}, without: []string{"mine"}},
	{name: "PROXY header where none is taken", at: inside, before: "PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n", want: badVersion},
	{name: "PROXY header of version 2 where none is taken", at: inside, before: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02", want: badLine},

	// By way of a proxy whose word counts.
	{name: "proxy itself", at: inside, from: proxy, want: denied},
	{name: "client of the proxy", is: normal, at: inside, from: proxy, fields: forwarded("10.0.0.1")},
	{name: "denied client of the proxy", at: outside, from: proxy, fields: forwarded("10.0.0.1"), want: denied},
	{name: "client that claims another address", at: inside, from: proxy, fields: forwarded("10.0.0.1", "8.8.8.8"), want: denied},
	{name: "client that claims another address, in a field of its own", at: inside, from: proxy, fields: []string{"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 8.8.8.8"}, want: denied},
	{name: "denied client that claims another address", at: outside, from: proxy, fields: forwarded("8.8.8.8", "10.0.0.1"), want: denied},
	{name: "client by way of two proxies", is: normal, at: inside, from: proxy, fields: forwarded("10.0.0.1", proxy)},
	{name: "client that claims to come by way of a proxy", at: inside, from: proxy, fields: forwarded("10.0.0.1", "8.8.8.8", proxy), want: denied},
	{name: "client that claims to be the proxy", at: inside, from: proxy, fields: forwarded("10.0.0.1", "8.8.8.8", "::ffff:127.0.0.5"), want: denied},
	{name: "chain of 1,000 proxies", at: inside, from: proxy, fields: forwarded("10.0.0.1", strings.TrimSuffix(strings.Repeat(proxy+", ", 999), ", ")), want: denied},
	{name: "chain of 60 proxies", is: bounded, at: inside, from: proxy, fields: forwarded("10.0.0.1", strings.TrimSuffix(strings.Repeat(proxy+", ", 60), ", "))},
	{name: "mapped", is: normal, at: inside, from: proxy, fields: forwarded("::ffff:10.0.0.1")},
	{name: "mapped, denied", at: outside, from: proxy, fields: forwarded("::ffff:10.0.0.1"), want: denied},
	{name: "mapped, in hex, denied", at: outside, from: proxy, fields: forwarded("::ffff:a00:1"), want: denied},
	{name: "mapped, in long form, denied", at: outside, from: proxy, fields: forwarded("0:0:0:0:0:ffff:0a00:0001"), want: denied},
	{name: "mapped, in brackets, denied", at: outside, from: proxy, fields: forwarded("[::ffff:10.0.0.1]:443"), want: denied},
	{name: "with a port", is: normal, at: inside, from: proxy, fields: forwarded("10.0.0.1:8080")},
	{name: "IPv6 that is allowed", is: normal, at: inside, from: proxy, fields: forwarded("2001:db8::1")},
	{name: "6to4 of an allowed address", at: inside, from: proxy, fields: forwarded("2002:a00:1::"), want: denied},
	{name: "NAT64 of an allowed address", at: inside, from: proxy, fields: forwarded("64:ff9b::a00:1"), want: denied},
	{name: "compatible form of an allowed address", at: inside, from: proxy, fields: forwarded("::10.0.0.1"), want: denied},
	{name: "with a zone", at: inside, from: proxy, fields: forwarded("2001:db8::1%eth0"), want: denied},
	{name: "in hex", at: inside, from: proxy, fields: forwarded("0x0a.0.0.1"), want: denied},
	{name: "in octal", at: inside, from: proxy, fields: forwarded("012.0.0.1"), want: denied},
	{name: "with a zero in front", at: inside, from: proxy, fields: forwarded("10.0.0.01"), want: denied},
	{name: "short", at: inside, from: proxy, fields: forwarded("10.1"), want: denied},
	{name: "as one number", at: inside, from: proxy, fields: forwarded("167772161"), want: denied},
	{name: "with a dot behind", at: inside, from: proxy, fields: forwarded("10.0.0.1."), want: denied},
	{name: "with a mask", at: inside, from: proxy, fields: forwarded("10.0.0.1/8"), want: denied},
	{name: "in brackets that are none of IPv4's", at: inside, from: proxy, fields: forwarded("[10.0.0.1]"), want: denied},
	{name: "with a port that is none", at: inside, from: proxy, fields: forwarded("10.0.0.1:x"), want: denied},
	{name: "in full-width digits", at: inside, from: proxy, fields: forwarded("\uff11\uff10.0.0.1"), want: denied},
	{name: "unknown", at: inside, from: proxy, fields: forwarded("10.0.0.1", "unknown"), want: denied},
	{name: "hidden", at: inside, from: proxy, fields: forwarded("10.0.0.1", "_hidden"), want: denied},
	{name: "empty", at: inside, from: proxy, fields: forwarded("10.0.0.1", ""), want: denied},
	{name: "two in an entry", at: inside, from: proxy, fields: forwarded("10.0.0.1 8.8.8.8"), want: denied},
	{name: "behind a semicolon", at: inside, from: proxy, fields: forwarded("10.0.0.1;8.8.8.8"), want: denied},
	{name: "id of the request that is none", is: normal, at: outside, from: proxy, fields: []string{"X-Forwarded-For: 8.8.8.8", `X-Request-Id: mine","evil":"`}, without: []string{"mine"}},
	{name: "id of the request of 10 KiB", is: normal, at: outside, from: proxy, fields: []string{"X-Forwarded-For: 8.8.8.8", "X-Request-Id: " + strings.Repeat("mine", 2560)}, without: []string{"mine"}},
	{name: "X-Real-IP of the proxy", at: inside, from: proxy, fields: []string{"X-Real-IP: 10.0.0.1"}, want: denied},
	{name: "Forwarded beside X-Forwarded-For", at: inside, from: proxy, fields: []string{"Forwarded: for=10.0.0.1", "X-Forwarded-For: 8.8.8.8"}, want: denied},
	{name: "chain that Connection names", at: inside, from: proxy, fields: []string{"X-Forwarded-For: 10.0.0.1, 8.8.8.8", "Connection: close, X-Forwarded-For"}, want: denied, http2: notOnTheLine},
}

const (
	originDenied = "403 cors_origin_denied"
	methodDenied = "403 cors_method_denied"
	headerDenied = "403 cors_header_denied"
	preflightEnd = "204"
	goodOrigin   = "Origin: https://app.good.test"
	noOrigin     = "access-control-allow-origin"
)

// preflight asks whether a page may use a method.
func preflight(origin string, more ...string) []string {
	return append([]string{"Origin: " + origin, "Access-Control-Request-Method: PUT"}, more...)
}

// originInputs are about pages of other origins. Whether one may read an answer is for browsers to see to, so that a request which is no
// preflight passes, without a permission.
var originInputs = []edgeInput{
	{name: "preflight of an origin", is: normal, line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test"), want: preflightEnd, to: unsaid, says: []string{"Access-Control-Allow-Origin: https://app.good.test"}},
	{name: "preflight of a subdomain", is: normal, line: "OPTIONS", at: "/cors/x", fields: preflight("https://a.b.wild.test"), want: preflightEnd, to: unsaid, says: []string{"Access-Control-Allow-Origin: https://a.b.wild.test"}},
	{name: "preflight where a token is wanted", is: normal, line: "OPTIONS", at: "/cors-token/x", fields: preflight("https://app.good.test"), want: preflightEnd, to: unsaid},
	{name: "null", line: "OPTIONS", at: "/cors/x", fields: preflight("null"), want: originDenied, mute: []string{noOrigin}},
	{name: "star", line: "OPTIONS", at: "/cors/x", fields: preflight("*"), want: originDenied, mute: []string{noOrigin}},
	{name: "something behind it", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test.evil.io"), want: originDenied, mute: []string{noOrigin}},
	{name: "something in front of it", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evilapp.good.test"), want: originDenied, mute: []string{noOrigin}},
	{name: "subdomain of one that has none", line: "OPTIONS", at: "/cors/x", fields: preflight("https://x.app.good.test"), want: originDenied},
	{name: "domain itself where its subdomains are allowed", line: "OPTIONS", at: "/cors/x", fields: preflight("https://wild.test"), want: originDenied},
	{name: "domain with something in front", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evilwild.test"), want: originDenied},
	{name: "domain with something behind", line: "OPTIONS", at: "/cors/x", fields: preflight("https://a.wild.test.evil.io"), want: originDenied},
	{name: "http", line: "OPTIONS", at: "/cors/x", fields: preflight("http://app.good.test"), want: originDenied},
	{name: "port", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test:8443"), want: originDenied},
	{name: "port of https", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test:443"), want: originDenied}, // no browser writes it
	{name: "capitals", line: "OPTIONS", at: "/cors/x", fields: preflight("https://APP.good.test"), want: originDenied},
	{name: "slash", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test/"), want: originDenied},
	{name: "dot behind", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test."), want: originDenied},
	{name: "user name", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evil.io@a.wild.test"), want: originDenied},
	{name: "path", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evil.io/.wild.test"), want: originDenied},
	{name: "fragment", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evil.io#.wild.test"), want: originDenied},
	{name: "query", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evil.io?.wild.test"), want: originDenied},
	{name: "backslash", line: "OPTIONS", at: "/cors/x", fields: preflight(`https://evil.io\.wild.test`), want: originDenied},
	{name: "escape", line: "OPTIONS", at: "/cors/x", fields: preflight("https://evil.io%2f.wild.test"), want: originDenied},
	{name: "empty label", line: "OPTIONS", at: "/cors/x", fields: preflight("https://.wild.test"), want: originDenied},
	{name: "empty label within", line: "OPTIONS", at: "/cors/x", fields: preflight("https://a..wild.test"), want: originDenied},
	{name: "another script", line: "OPTIONS", at: "/cors/x", fields: preflight("https://\u0430pp.good.test"), want: originDenied},
	{name: "space", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test https://evil.io"), want: originDenied},
	{name: "comma", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test, https://evil.io"), want: originDenied},
	{name: "two origins", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test", "Origin: https://evil.io"), want: originDenied},
	{name: "origin of 8 KiB", line: "OPTIONS", at: "/cors/x", fields: preflight("https://" + strings.Repeat("a.", 4<<10) + "wild.test"), want: originDenied},
	{name: "method that is not allowed", line: "OPTIONS", at: "/cors/x", fields: []string{goodOrigin, "Access-Control-Request-Method: DELETE"}, want: methodDenied},
	{name: "method in small letters", line: "OPTIONS", at: "/cors/x", fields: []string{goodOrigin, "Access-Control-Request-Method: put"}, want: methodDenied},
	{name: "two methods", line: "OPTIONS", at: "/cors/x", fields: []string{goodOrigin, "Access-Control-Request-Method: PUT", "Access-Control-Request-Method: DELETE"}, want: methodDenied},
	{name: "methods in a list", line: "OPTIONS", at: "/cors/x", fields: []string{goodOrigin, "Access-Control-Request-Method: PUT, DELETE"}, want: methodDenied},
	{name: "header that is not allowed", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test", "Access-Control-Request-Headers: content-type, x-evil"), want: headerDenied},
	{name: "header that is not allowed, in a field of its own", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test", "Access-Control-Request-Headers: content-type", "Access-Control-Request-Headers: x-evil"), want: headerDenied},
	{name: "star as a header", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test", "Access-Control-Request-Headers: *"), want: headerDenied},
	{name: "65 headers", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test", "Access-Control-Request-Headers: "+strings.TrimSuffix(strings.Repeat("content-type,", 65), ",")), want: headerDenied},
	{name: "header name with a quote", line: "OPTIONS", at: "/cors/x", fields: preflight("https://app.good.test", `Access-Control-Request-Headers: "><script>`), want: headerDenied},
	{name: "OPTIONS without a method, where a token is wanted", line: "OPTIONS", at: "/cors-token/x", fields: []string{goodOrigin}, want: noToken},
	{name: "OPTIONS with an empty method, where a token is wanted", line: "OPTIONS", at: "/cors-token/x", fields: []string{goodOrigin, "Access-Control-Request-Method:"}, want: "403 cors_method_denied"},
	{name: "OPTIONS without an origin, where a token is wanted", line: "OPTIONS", at: "/cors-token/x", fields: []string{"Access-Control-Request-Method: PUT"}, want: noToken},
	{name: "GET that says it is a preflight, where a token is wanted", at: "/cors-token/x", fields: preflight("https://app.good.test"), want: noToken},
	{name: "preflight from an address that is not allowed", line: "OPTIONS", at: "/cors-in/x", fields: preflight("https://app.good.test"), want: denied, mute: []string{noOrigin}},
	{name: "refusal for a page that may read it", at: "/cors-token/x", fields: []string{goodOrigin}, want: noToken, says: []string{"Access-Control-Allow-Origin: https://app.good.test", "Access-Control-Allow-Credentials: true"}},
	{name: "refusal for a page that may not", at: "/cors-token/x", fields: []string{"Origin: https://evil.io"}, want: noToken, mute: []string{noOrigin, "access-control-allow-credentials"}},
	{name: "GET of a page that may read it", is: normal, at: "/cors/x", fields: []string{goodOrigin}, says: []string{"Access-Control-Allow-Origin: https://app.good.test", "Vary: Origin"}},
	{name: "GET of a page that may not", is: normal, at: "/cors/x", fields: []string{"Origin: https://evil.io"}, says: []string{"Vary: Origin"}, mute: []string{noOrigin, "access-control-allow-credentials"}},
	{name: "GET of two pages", is: normal, at: "/cors/x", fields: []string{goodOrigin, "Origin: https://evil.io"}, mute: []string{noOrigin}},
	{name: "GET of a page that may not, from an upstream that lets all in", is: normal, at: "/cors/star", fields: []string{"Origin: https://evil.io"}, mute: []string{noOrigin, "access-control-allow-credentials"}},
	{name: "GET of null, from an upstream that lets all in", is: normal, at: "/cors/star", fields: []string{"Origin: null"}, mute: []string{noOrigin}},

	// Media types that a page can send without asking first.
	{name: "text where JSON is wanted", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: text/plain"}, want: "415 unsupported_media_type"},
	{name: "form where JSON is wanted", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: application/x-www-form-urlencoded"}, want: "415 unsupported_media_type"},
	{name: "no type where JSON is wanted", line: "POST", at: "/json/x", body: "{}", want: "415 unsupported_media_type"},
	{name: "empty type where JSON is wanted", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type:"}, want: "415 unsupported_media_type"},
	{name: "two types in a list", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: application/json, text/plain"}, want: "415 unsupported_media_type"},
	{name: "two types in two fields", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: application/json", "Content-Type: text/plain"}, want: "400 bad_content_type"},
	{name: "JSON as a parameter", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: text/plain; application/json"}, want: "415 unsupported_media_type"},
	{name: "longer type", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: application/jsonx"}, want: "415 unsupported_media_type"},
	{name: "type with spaces", line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: application / json"}, want: "415 unsupported_media_type"},
	{name: "no type, in chunks", line: "POST", at: "/json/x", body: "{}", trailer: []string{"X: y"}, want: "415 unsupported_media_type"},
	{name: "type in capitals", is: normal, line: "POST", at: "/json/x", body: "{}", fields: []string{"Content-Type: APPLICATION/JSON;charset=utf-8"}},

	{name: "upstream that lets itself be framed", is: normal, at: "/safe/frame", says: []string{"X-Frame-Options: DENY", "X-Content-Type-Options: nosniff"}},
	{name: "refusal with the fields that keep browsers careful", at: "/safe-in/x", want: denied, says: []string{"X-Frame-Options: DENY", "X-Content-Type-Options: nosniff"}},
}

const edgeRoutes = `routes:
  - id: in
    matcher: { path: /in/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { ip: { allow: [10.0.0.0/8, "2001:db8::/32"] } }
  - id: out
    matcher: { path: /out/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { ip: { deny: [10.0.0.0/8, 127.0.0.6/32] } }
  - id: cors
    matcher: { path: /cors/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      cors:
        allowOrigins: ["https://app.good.test", "https://*.wild.test"]
        allowMethods: [GET, PUT]
        allowHeaders: [Content-Type]
        allowCredentials: true
  - id: cors-token
    matcher: { path: /cors-token/* }
    target: { type: http, url: "http://{guarded}" }
    policy:
      cors: { allowOrigins: ["https://app.good.test"], allowMethods: [GET, PUT], allowCredentials: true }
      auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "{keys}/keys" } }
  - id: cors-in
    matcher: { path: /cors-in/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { ip: { allow: [10.0.0.0/8] }, cors: { allowOrigins: ["https://app.good.test"], allowMethods: [GET, PUT] } }
  - id: json
    matcher: { path: /json/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { contentType: { allow: [application/json] } }
  - id: safe
    matcher: { path: /safe/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { securityHeaders: {} }
  - id: safe-in
    matcher: { path: /safe-in/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { securityHeaders: {}, ip: { allow: [10.0.0.0/8] } }
`

// edge is a site that judges where requests come from, and tells the upstream who sends them.
type edge struct {
	*site
	*mint
}

// edgeScripts are upstreams that say what the gateway has to say.
func edgeScripts(path string) script {
	head := map[string]string{
		"/cors/star":  "Access-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n",
		"/safe/frame": "X-Frame-Options: ALLOWALL\r\nx-content-type-options: sniff\r\n",
	}[path]
	if head == "" {
		return nil
	}
	return func(c net.Conn, _ *bufio.Reader) bool {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"Content-Length: 2\r\n\r\nok")
		return err == nil
	}
}

// attempt is the request, with a token if it needs one.
func (e *edge) attempt(in *edgeInput) *attempt {
	method := in.line
	if method == "" {
		method = "GET"
	}
	a := &attempt{
		line: method + " " + in.at, from: in.from, fields: append([]string(nil), in.fields...), body: in.body, trailer: in.trailer, before: in.before,
		want: in.want, http2: in.http2, sees: in.sees, without: in.without, says: in.says, mute: in.mute,
	}
	if in.claims != nil {
		token := by(e.es, nil, in.claims)
		e.keepToken(token)
		a.fields = append(a.fields, "Authorization: Bearer "+token)
	}
	if in.is == refused {
		return a
	}
	if a.want == "" {
		a.want = "200"
	}
	switch in.to {
	case "":
		a.to = a.line
	case unsaid:
	default:
		a.to = method + " " + in.to
	}
	return a
}
