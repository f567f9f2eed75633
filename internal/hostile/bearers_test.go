package hostile_test

import (
	"strings"
)

// bearerInput is a way to hand a token over.
type bearerInput struct {
	name    string
	method  string // "": GET
	at      string // path and query; {token} stands for a good token
	fields  []string
	is      outcome
	want    string // "": 200
	http2   string
	to      string // path and query that reach the upstream; "": those of at
	without []string
}

const (
	noToken   = "401 token_missing"
	two       = "400 duplicate_credentials"
	unchecked = "503 token_unverifiable"
	bearer    = "Authorization: Bearer {token}"
)

var bearerInputs = []bearerInput{
	{name: "no token", at: "/es/x", want: noToken},
	{name: "no token, by HEAD", method: "HEAD", at: "/es/x", want: "401"},
	{name: "no token, by OPTIONS", method: "OPTIONS", at: "/es/x", want: noToken},
	{name: "no token, by OPTIONS like a preflight", method: "OPTIONS", at: "/es/x", fields: []string{"Origin: https://a.test", "Access-Control-Request-Method: GET"}, want: noToken},
	{name: "no token, by a method of somebody's", method: "PROPFIND", at: "/es/x", want: noToken},
	{name: "no token, by another method in a field", method: "POST", at: "/es/x", fields: []string{"X-HTTP-Method-Override: OPTIONS"}, want: noToken},
	{name: "no token, to switch protocols", at: "/es/x", fields: []string{"Connection: Upgrade, close", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, want: noToken, http2: notOnTheLine},
	{name: "no token, by gRPC", method: "POST", at: "/es/x", fields: []string{"Content-Type: application/grpc"}, want: noToken, http2: "200"}, // the refusal is in its header
	{name: "bearer in small letters", is: normal, at: "/es/x", fields: []string{"authorization: bearer {token}"}},
	{name: "two spaces", is: normal, at: "/es/x", fields: []string{"Authorization: Bearer  {token}"}},
	{name: "spaces around", is: normal, at: "/es/x", fields: []string{"Authorization:   Bearer {token}   "}, http2: unsaid},
	{name: "Bearer alone", at: "/es/x", fields: []string{"Authorization: Bearer"}, want: malformed},
	{name: "Bearer and a space", at: "/es/x", fields: []string{"Authorization: Bearer "}, want: malformed},
	{name: "Authorization empty", at: "/es/x", fields: []string{"Authorization:"}, want: noToken},
	{name: "tab behind Bearer", at: "/es/x", fields: []string{"Authorization: Bearer\t{token}"}, want: noToken},
	{name: "no-break space behind Bearer", at: "/es/x", fields: []string{"Authorization: Bearer\u00a0{token}"}, want: noToken},
	{name: "token alone", at: "/es/x", fields: []string{"Authorization: {token}"}, want: noToken},
	{name: "Basic", at: "/es/x", fields: []string{"Authorization: Basic {token}"}, want: noToken},
	{name: "Bearer twice in a field", at: "/es/x", fields: []string{"Authorization: Bearer {token}, Bearer {token}"}, want: malformed},
	{name: "two tokens in a field", at: "/es/x", fields: []string{"Authorization: Bearer {token} {token}"}, want: malformed},
	{name: "two fields", at: "/es/x", fields: []string{bearer, "Authorization: Bearer x"}, want: two},
	{name: "two fields, the good one last", at: "/es/x", fields: []string{"Authorization: Bearer x", bearer}, want: two},
	{name: "two equal fields", at: "/es/x", fields: []string{bearer, bearer}, want: two},
	{name: "two fields, one of another scheme", at: "/es/x", fields: []string{bearer, "Authorization: Basic eDp5"}, want: two},
	{name: "two fields, one in small letters", at: "/es/x", fields: []string{bearer, "authorization: Bearer x"}, want: two},
	{name: "token in another field", at: "/es/x", fields: []string{"X-Authorization: Bearer {token}"}, want: noToken},
	{name: "token in Proxy-Authorization", at: "/es/x", fields: []string{"Proxy-Authorization: Bearer {token}"}, want: noToken},
	{name: "token in the query", at: "/es/x?access_token={token}", want: noToken},
	{name: "token in a cookie", at: "/es/x", fields: []string{"Cookie: access_token={token}"}, want: noToken},
	{name: "token in the path", at: "/es/{stray}", want: noToken},
	{name: "token in a field that Connection names", at: "/es/x", fields: []string{bearer, "Connection: close, Authorization"}, want: noToken, http2: notOnTheLine},

	{name: "token in a field of its own", is: normal, at: "/header/x", fields: []string{"X-Access-Token: {token}"}, without: []string{"x-access-token"}},
	{name: "field of its own with Bearer", at: "/header/x", fields: []string{"X-Access-Token: Bearer {token}"}, want: malformed},
	{name: "field of its own twice", at: "/header/x", fields: []string{"X-Access-Token: {token}", "X-Access-Token: x"}, want: two},
	{name: "field of its own and Authorization", is: normal, at: "/header/x", fields: []string{"X-Access-Token: {token}", "Authorization: Bearer x"}, without: []string{"x-access-token"}},
	{name: "Authorization where a field of its own is wanted", at: "/header/x", fields: []string{bearer}, want: noToken},
	{name: "field of its own with underscores", at: "/header/x", fields: []string{"X_Access_Token: {token}"}, want: noToken},

	{name: "token in the cookie", is: normal, at: "/cookie/x", fields: []string{"Cookie: a=b; session={token}; c=d"}, without: []string{"session"}},
	{name: "cookie in quotes", is: normal, at: "/cookie/x", fields: []string{`Cookie: session="{token}"`}, without: []string{"session"}},
	{name: "cookie twice", at: "/cookie/x", fields: []string{"Cookie: session={token}; session=x"}, want: two},
	{name: "cookie twice in two fields", at: "/cookie/x", fields: []string{"Cookie: session={token}", "Cookie: session=x"}, want: two},
	{name: "cookie in capitals", at: "/cookie/x", fields: []string{"Cookie: SESSION={token}"}, want: noToken},
	{name: "cookie with space before =", at: "/cookie/x", fields: []string{"Cookie: session ={token}"}, want: noToken},
	{name: "cookie empty", at: "/cookie/x", fields: []string{"Cookie: session="}, want: noToken},
	{name: "cookie with a comma", at: "/cookie/x", fields: []string{"Cookie: a=b, session={token}"}, want: noToken},

	{name: "token in the parameter", is: normal, at: "/query/x?a=b&access_token={token}&c=d", to: "/query/x?a=b&c=d"},
	{name: "parameter with an escape in its name", is: normal, at: "/query/x?%61ccess_token={token}", to: "/query/x"},
	{name: "parameter twice", at: "/query/x?access_token={token}&access_token=x", want: two},
	{name: "parameter twice, once with an escape", at: "/query/x?access_token={token}&%61ccess%5Ftoken=x", want: two},
	{name: "parameter empty", at: "/query/x?access_token=", want: malformed},
	{name: "parameter without value", at: "/query/x?access_token", want: malformed},
	{name: "parameter with an escape in its value", at: "/query/x?access_token=%65{token}", want: malformed},
	{name: "parameter behind a semicolon", at: "/query/x?a=b;access_token={token}", want: noToken},
	{name: "parameter in capitals", at: "/query/x?ACCESS_TOKEN={token}", want: noToken},
	{name: "Authorization where a parameter is wanted", at: "/query/x", fields: []string{bearer}, want: noToken},

	{name: "nobody where a token is optional", is: normal, at: "/optional/x"},
	{name: "bad token where one is optional", at: "/optional/x", fields: []string{"Authorization: Bearer x"}, want: malformed},
	{name: "Bearer alone where a token is optional", at: "/optional/x", fields: []string{"Authorization: Bearer"}, want: malformed},
	{name: "two where a token is optional", at: "/optional/x", fields: []string{bearer, "Authorization: Bearer x"}, want: two},
	{name: "nobody where roles are asked for", at: "/grants/x", want: noToken},

	// The issuer's keys are away, and there never were any (the kind of CVE-2025-64527).
	{name: "keys away", at: "/away/x", fields: []string{"Authorization: Bearer {away}"}, want: unchecked},
	{name: "keys away, no token", at: "/away/x", want: noToken},
	{name: "keys away, two fields", at: "/away/x", fields: []string{"Authorization: Bearer {away}", "Authorization: Bearer {away}"}, want: two},
	{name: "keys away, several tokens in a field", at: "/away/x", fields: []string{"Authorization: Bearer {away}, Bearer {away}, Bearer {token}"}, want: malformed},
	{name: "keys away, token of an issuer that is there", at: "/away/x", fields: []string{bearer}, want: invalid},
	{name: "keys of one of two away", at: "/away-and-not/x", fields: []string{"Authorization: Bearer {away}"}, want: unchecked},
	{name: "keys of one of two away, two fields", at: "/away-and-not/x", fields: []string{"Authorization: Bearer {away}", bearer}, want: two},
	{name: "keys of one of two away, token of the other", is: normal, at: "/away-and-not/x", fields: []string{bearer}},
	{name: "keys away, unsigned", at: "/away/x", fields: []string{"Authorization: Bearer {unsigned}"}, want: invalid},
}

// attempt is the request with tokens in place of their names. One that strays into a path is in the access log: nobody can know it there.
func (in *bearerInput) attempt(w *identity) *attempt {
	good, away := w.good(), by(w.thief, nil, map[string]any{"iss": "https://away.example"})
	none := unsigned(`{"alg":"none"}`)(w.mint)
	for _, token := range []string{good, away} {
		w.keepToken(token)
	}
	put := strings.NewReplacer("{token}", good, "{away}", away, "{unsigned}", none, "{stray}", w.good())
	method := in.method
	if method == "" {
		method = "GET"
	}
	a := &attempt{line: method + " " + put.Replace(in.at), want: in.want, http2: in.http2, without: in.without}
	for _, f := range in.fields {
		a.fields = append(a.fields, put.Replace(f))
	}
	if in.is == refused {
		return a
	}
	a.to = a.line
	if in.to != "" {
		a.to = "GET " + in.to
	}
	if a.want == "" {
		a.want = "200"
	}
	return a
}
