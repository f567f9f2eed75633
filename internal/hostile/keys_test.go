package hostile_test

import (
	"strings"
	"testing"
)

// keyInput is a request with something in the place of an API key. In its texts, {name} stands for a key of the ring.
type keyInput struct {
	name    string
	at      string // path and query; "": /k/x
	host    string
	fields  []string // "X-API-Key: " and key, if there are none
	key     string
	trailer []string
	is      outcome
	want    string // "": 200
	http2   string
}

const (
	noKey      = "401 key_missing"
	badKey     = "401 key_invalid"
	keysAway   = "503 keys_unavailable"
	guessed    = "429 too_many_failures"
	keyRevoked = "401 key_revoked"
	keyExpired = "401 key_expired"
)

// both are a token and a key.
func both(token, key string) []string {
	return []string{"Authorization: Bearer " + token, "X-API-Key: " + key}
}

var keyInputs = []keyInput{
	{name: "good key", is: normal, key: "{good}"},
	{name: "header in small letters", is: normal, fields: []string{"x-api-key: {good}"}},
	{name: "spaces around the key", is: normal, fields: []string{"X-API-Key:  \t{good}\t "}},
	{name: "no key", fields: []string{"X: y"}, want: noKey},
	{name: "key empty", key: "", want: badKey},
	{name: "right id, another's secret", key: "{wrong secret}", want: badKey},
	{name: "right secret, another's id", key: "{wrong id}", want: badKey},
	{name: "id that nobody has", key: "{unknown}", want: badKey},
	{name: "checksum of another key", key: "{wrong checksum}", want: badKey},
	{name: "last character missing", key: "{short}", want: badKey},
	{name: "a character more", key: "{good}x", want: badKey},
	{name: "key in capitals", key: "{capitals}", want: badKey},
	{name: "key in small letters", key: "{small}", want: badKey},
	{name: "id in capitals, checksum right", key: "{capital id}", want: badKey},
	{name: "escaped NUL behind it", key: "{good}%00", want: badKey},
	{name: "NUL behind it", key: "{good}\x00", want: badValue, http2: reset},
	{name: "key in quotes", key: `"{good}"`, want: badKey},
	{name: "key behind Bearer", key: "Bearer {good}", want: badKey},
	{name: "key in Authorization", fields: []string{"Authorization: ApiKey {good}"}, want: noKey},
	{name: "key in a cookie", fields: []string{"Cookie: X-API-Key={good}"}, want: noKey},
	{name: "key in a trailer", fields: []string{"X: y"}, trailer: []string{"X-API-Key: {good}"}, want: noKey},
	{name: "key in the query", at: "/k/x?api_key={good}", fields: []string{"X: y"}, want: noKey},
	{name: "key in the query under the header's name", at: "/k/x?X-API-Key={good}", fields: []string{"X: y"}, want: noKey},
	{name: "key in the header and in the query", at: "/k/x?api_key={good}", key: "{good}", want: two},
	{name: "key in the header, another in the query", at: "/k/x?a=b&c={second}", key: "{good}", want: two},
	{name: "key in the header, another in the query with an escape", at: "/k/x?c=gw%5F{second tail}", key: "{good}", want: two},
	{name: "two headers with different keys", fields: []string{"X-API-Key: {good}", "X-API-Key: {second}"}, want: two},
	{name: "two headers with one key", fields: []string{"X-API-Key: {good}", "X-API-Key: {good}"}, want: two},
	{name: "two headers, one empty", fields: []string{"X-API-Key:", "X-API-Key: {good}"}, want: two},
	{name: "two headers in two spellings", fields: []string{"X-API-Key: {good}", "x-api-key: {second}"}, want: two},
	{name: "two keys in a header", key: "{good}, {second}", want: badKey},
	{name: "header with underscores", fields: []string{"X_API_Key: {good}"}, want: noKey},
	{name: "header that Connection names", fields: []string{"X-API-Key: {good}", "Connection: close, X-API-Key"}, want: noKey, http2: notOnTheLine},
	{name: "header of another route", at: "/other/x", key: "{good}", want: noKey},
	{name: "header of its own", is: normal, at: "/other/x", fields: []string{"X-Other-Key: {good}"}},
	{name: "key of another environment", key: "{other environment}", want: badKey},
	{name: "key of an environment in capitals", key: "{capital environment}", want: badKey},
	{name: "key of an environment of 64 letters", key: "{long environment}", want: badKey},
	{name: "key of another product", key: "sk_live_0123456789abcdef0123456789abcdef", want: badKey},
	{name: "the admin token", key: adminToken, want: badKey},
	{name: "key of 8 KiB", key: strings.Repeat("k", 8<<10), want: badKey},
	{name: "key of 1 MiB", key: strings.Repeat("k", mebibyte), want: headerTooLarge, http2: "GOAWAY COMPRESSION_ERROR"},
	{name: "star", key: "*", want: badKey},
	{name: "question mark", key: "?", want: badKey},
	{name: "pattern of all keys", key: "gw:key:*", want: badKey},
	{name: "pattern behind the environment", key: "gw_prod_*", want: badKey},
	{name: "id of stars, checksum right", key: "{star id}", want: badKey},
	{name: "id that leads to the index, checksum right", key: "{index id}", want: badKey},
	{name: "id with a line break, escaped, checksum right", key: "{escaped id}", want: badKey},
	{name: "command behind a line break", key: "{good}\r\nDEL gw:keys", want: badName, http2: reset},
	{name: "command of Redis", key: "*2\r\n$3\r\nDEL\r\n", want: badName, http2: reset},
	{name: "bytes that are no text", key: "gw_prod_\xff\xfe", want: badKey},
	{name: "digits of another script", key: "gw_prod_\u0661\u0662\u0663", want: badKey},

	{name: "revoked key", key: "{revoked}", want: keyRevoked},
	{name: "revoked key with a wrong secret", key: "{revoked wrong}", want: badKey},
	{name: "expired key", key: "{expired}", want: keyExpired},
	{name: "expired key with a wrong secret", key: "{expired wrong}", want: badKey},
	{name: "old secret while a new one takes its place", is: normal, key: "{rotated old}"},
	{name: "new secret while it takes the place of an old one", is: normal, key: "{rotated new}"},
	{name: "old secret when that is over", key: "{finished old}", want: badKey},
	{name: "new secret when that is over", is: normal, key: "{finished new}"},

	{name: "tenant's key on its route", is: normal, host: "red.test", key: "{red}"},
	{name: "tenant's key on another's route", host: "blue.test", key: "{red}", want: badKey},
	{name: "tenant's key on another's route, host in capitals", host: "BLUE.test", key: "{red}", want: badKey},
	{name: "tenant's key on another's route, host with a dot", host: "blue.test.", key: "{red}", want: badKey},
	{name: "tenant's key on another's route, host with a port", host: "blue.test:80", key: "{red}", want: badKey},
	{name: "tenant's key on nobody's route", is: normal, key: "{red}"},
	{name: "operator's key on a tenant's route", is: normal, host: "red.test", key: "{good}"},
	{name: "tenant's revoked key on another's route", host: "blue.test", key: "{red revoked}", want: badKey},

	{name: "key without the scope", at: "/scoped/x", key: "{good}", want: noScope},
	{name: "key with the scope", is: normal, at: "/scoped/x", key: "{scoped}"},
	{name: "key with a longer scope", at: "/scoped/x", key: "{scopedx}", want: noScope},
	{name: "no key where a scope is wanted", at: "/scoped/x", fields: []string{"X: y"}, want: noKey},

	{name: "token and key", is: normal, at: "/both/x", fields: both("{token}", "{good}")},
	{name: "token alone", at: "/both/x", fields: []string{"Authorization: Bearer {token}"}, want: noKey},
	{name: "key alone", at: "/both/x", key: "{good}", want: noToken},
	{name: "neither", at: "/both/x", fields: []string{"X: y"}, want: noToken},
	{name: "token and a wrong key", at: "/both/x", fields: both("{token}", "{wrong secret}"), want: badKey},
	{name: "wrong token and a key", at: "/both/x", fields: both("{forged}", "{good}"), want: invalid},
	{name: "token in the place of the key", at: "/both/x", fields: both("{token}", "{token}"), want: badKey},
	{name: "key in the place of the token", at: "/both/x", fields: both("{good}", "{good}"), want: malformed},
	{name: "scopes of both together", is: normal, at: "/together/x", fields: both("{token}", "{scoped}")},
	{name: "scopes of one of the two", at: "/together/x", fields: both("{token}", "{good}"), want: noScope},

	// What somebody has written into the store who has no pepper.
	{name: "record with the hash of another key", key: "{stolen hash}", want: badKey},
	{name: "record without hashes", key: "{no hash}", want: badKey},
	{name: "record with an empty hash", key: "{empty hash}", want: badKey},
	{name: "record with the secret as its hash", key: "{plain hash}", want: badKey},
	{name: "record with a hash without the pepper", key: "{other pepper}", want: badKey},
	{name: "record of another environment", key: "{stolen environment}", want: badKey},
	{name: "record of another id", key: "{stolen id}", want: keysAway},
	{name: "record that is no JSON", key: "{no record}", want: keysAway},
	{name: "record that is a list", key: "{list record}", want: keysAway},
	{name: "record of 1 MiB", key: "{large record}", want: keysAway},
}

// attempt is the request with keys in place of their names.
func (r *ring) attempt(in *keyInput) *attempt {
	put := func(text string) string {
		for name, key := range r.texts {
			text = strings.ReplaceAll(text, "{"+name+"}", key)
		}
		return text
	}
	at := in.at
	if at == "" {
		at = "/k/x"
	}
	a := &attempt{line: "GET " + put(at), host: in.host, want: in.want, http2: in.http2}
	if in.trailer != nil {
		a.line = "POST " + at
	}
	for _, f := range in.trailer {
		a.trailer = append(a.trailer, put(f))
	}
	fields := in.fields
	if fields == nil {
		fields = []string{"X-API-Key: " + in.key}
	}
	for _, f := range fields {
		a.fields = append(a.fields, put(f))
	}
	if in.is != refused {
		a.want, a.to, a.without = "200", a.line, []string{"x-api-key", "x-other-key", "gw_prod_"}
	}
	return a
}

// TestKeys sends each, and wants the upstream to see those alone that are good, and never a key.
func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	for _, in := range keyInputs {
		r.try(t, in.name, func() *attempt { return r.attempt(&in) })
	}
	for _, s := range keyStories {
		t.Run(s.name, func(t *testing.T) { s.run(t, r) })
	}
	r.stored(t)
}
