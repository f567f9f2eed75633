package hostile_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
)

// tokenInput is a token that wants to be taken for one of the issuer's, or for more than it is.
type tokenInput struct {
	name  string
	token func(m *mint) string
	at    string // the route; "": /es, which takes ES256
	is    outcome
	want  string // "": 200
	to    string // what reaches the upstream, if its path is another
	http2 string // the answer over HTTP/2, if it differs
}

func (in tokenInput) outcome() outcome { return in.is }

const (
	malformed = "401 token_malformed"
	invalid   = "401 token_invalid"
)

// head makes tokens of the issuer whose header says something else: a name and its value, again and again.
func head(change ...any) func(*mint) string {
	return func(m *mint) string { return by(m.es, pairs(change), nil) }
}

// claim makes tokens of the issuer whose claims say something else.
func claim(change ...any) func(*mint) string {
	return func(m *mint) string { return by(m.es, nil, pairs(change)) }
}

func pairs(list []any) map[string]any {
	out := map[string]any{}
	for i := 0; i < len(list); i += 2 {
		out[list[i].(string)] = list[i+1]
	}
	return out
}

// rawHead makes tokens of the issuer with a header as it stands.
func rawHead(text string) func(*mint) string {
	return func(m *mint) string { return raw256(m.es, text, object(claims(nil))) }
}

// rawClaims makes tokens of the issuer with a payload that begins with a text, in front of the claims of a good one.
func rawClaims(text string) func(*mint) string {
	return func(m *mint) string {
		return raw256(m.es, `{"alg":"ES256","kid":"es"}`, "{"+text+","+object(claims(nil))[1:])
	}
}

// date is a claim as a piece of JSON, in place of the one that a good token has.
func date(name, text string) func(*mint) string {
	return func(m *mint) string {
		return raw256(m.es, `{"alg":"ES256","kid":"es"}`, `{"`+name+`":`+text+","+object(claims(map[string]any{name: nil}))[1:])
	}
}

// soon is a date so many seconds from now.
func soon(seconds int64) json.Number { return json.Number(itoa(int(time.Now().Unix() + seconds))) }

// later makes tokens with a claim that is a time, so many seconds from when they are made.
func later(name string, seconds int64) func(*mint) string {
	return func(m *mint) string { return by(m.es, nil, map[string]any{name: soon(seconds)}) }
}

// text changes the text of a good token.
func text(change func(string) string) func(*mint) string {
	return func(m *mint) string { return change(m.good()) }
}

// fixed is always the same.
func fixed(token string) func(*mint) string { return func(*mint) string { return token } }

// unsigned is a good token's claims behind another header, and no signature.
func unsigned(head string) func(*mint) string {
	return func(*mint) string { return b64([]byte(head)) + "." + b64([]byte(object(claims(nil)))) + "." }
}

var tokenInputs = []tokenInput{
	{name: "good", is: normal, token: (*mint).good},

	// Algorithms (RFC 8725 sections 2.1 and 3.1).
	{name: "alg none, unsigned", token: unsigned(`{"alg":"none"}`), want: invalid},
	{name: "alg None, unsigned", token: unsigned(`{"alg":"None"}`), want: invalid},
	{name: "alg nOnE, unsigned", token: unsigned(`{"alg":"nOnE"}`), want: invalid},
	{name: "alg NONE, unsigned", token: unsigned(`{"alg":"NONE"}`), want: invalid},
	{name: "ALG none, unsigned", token: unsigned(`{"ALG":"none"}`), want: invalid},
	{name: "alg and Alg, unsigned", token: unsigned(`{"alg":"ES256","kid":"es","Alg":"none"}`), want: invalid},
	{name: "Alg and alg, unsigned", token: unsigned(`{"Alg":"none","alg":"ES256","kid":"es"}`), want: invalid},
	{name: "alg none, signed", token: head("alg", "none"), want: invalid},
	{name: "alg empty", token: head("alg", ""), want: malformed},
	{name: "alg missing", token: head("alg", nil), want: invalid},
	{name: "alg null", token: rawHead(`{"alg":null,"kid":"es"}`), want: malformed},
	{name: "alg a list", token: head("alg", []string{"ES256"}), want: malformed},
	{name: "alg with space", token: head("alg", "ES256 "), want: invalid},
	{name: "alg in small letters", token: head("alg", "es256"), want: invalid},
	{name: "alg ES256K", token: head("alg", "ES256K"), want: invalid},
	{name: "alg HS256 over a signature of the key", token: head("alg", "HS256"), want: invalid},
	{name: "alg twice", token: rawHead(`{"alg":"ES256","alg":"none","kid":"es"}`), want: malformed},
	{name: "alg with an escape, twice", token: rawHead(`{"alg":"ES256","\u0061lg":"none","kid":"es"}`), want: malformed},
	{name: "alg that the key has and the route does not take", token: func(m *mint) string { return by(m.rs, nil, nil) }, want: invalid},
	{name: "RS256 where it is taken", is: normal, at: "all", token: func(m *mint) string { return by(m.rs, nil, nil) }},
	{name: "Alg beside alg, signed", is: normal, token: rawHead(`{"alg":"ES256","kid":"es","Alg":"none"}`)}, // names have case: it is a member like any other

	// A public key as a secret.
	{name: "HS256 by the PEM of the RSA key", at: "all", token: func(m *mint) string { return m.confused(m.rs, publicPEM, nil) }, want: invalid},
	{name: "HS256 by the PEM of the EC key", at: "all", token: func(m *mint) string { return m.confused(m.es, publicPEM, nil) }, want: invalid},
	{name: "HS256 by the PEM without its line break", at: "all", token: func(m *mint) string {
		return m.confused(m.rs, func(k map[string]any) []byte { return bytes.TrimSpace(publicPEM(k)) }, nil)
	}, want: invalid},
	{name: "HS256 by the DER", at: "all", token: func(m *mint) string { return m.confused(m.rs, publicDER, nil) }, want: invalid},
	{name: "HS256 by the JWK", at: "all", token: func(m *mint) string {
		return m.confused(m.rs, func(k map[string]any) []byte { return []byte(object(k)) }, nil)
	}, want: invalid},
	{name: "HS256 by the modulus", at: "all", token: func(m *mint) string {
		return m.confused(m.rs, func(k map[string]any) []byte { return unb64(k["n"].(string)) }, nil)
	}, want: invalid},
	{name: "HS256 by the PEM, where secrets are taken", at: "hs", token: func(m *mint) string {
		return m.confused(m.rs, publicPEM, map[string]any{"iss": "https://secret.example"})
	}, want: invalid},
	{name: "HS256 by an empty secret", at: "hs", token: func(*mint) string {
		return by(jose.SecretSigner("HS256", nil), nil, map[string]any{"iss": "https://secret.example"})
	}, want: invalid},
	{name: "ES256 where secrets are taken", at: "hs", token: claim("iss", "https://secret.example"), want: invalid},
	{name: "HS384 where HS256 is taken", at: "hs", token: func(m *mint) string {
		return by(jose.SecretSigner("HS384", []byte(m.secret)), nil, map[string]any{"iss": "https://secret.example"})
	}, want: invalid},
	{name: "HS256 by the secret", is: normal, at: "hs", token: func(m *mint) string { return by(m.hs, nil, map[string]any{"iss": "https://secret.example"}) }},

	// Keys that are for something else.
	{name: "PS256 key for RS256", at: "all", token: func(m *mint) string { return by(m.ps, map[string]any{"alg": "RS256"}, nil) }, want: invalid},
	{name: "RS256 key for PS256", at: "all", token: func(m *mint) string { return by(m.rs, map[string]any{"alg": "PS256"}, nil) }, want: invalid},
	{name: "ES384 key for ES256", at: "all", token: func(m *mint) string { return by(m.es384, map[string]any{"alg": "ES256"}, nil) }, want: invalid},
	{name: "ES384 key that the set calls one for ES256", at: "all", token: func(m *mint) string {
		return by(m.es384, map[string]any{"kid": "mislabelled", "alg": "ES256"}, nil)
	}, want: invalid},
	{name: "Ed25519 key for ES256", at: "all", token: func(m *mint) string { return by(m.ed, map[string]any{"alg": "ES256"}, nil) }, want: invalid},
	{name: "ES256 key for EdDSA", at: "all", token: head("alg", "EdDSA"), want: invalid},
	{name: "key for encryption", token: func(m *mint) string { return by(m.thief, map[string]any{"kid": "for encryption"}, nil) }, want: invalid},
	{name: "key with the operation encrypt", token: func(m *mint) string { return by(m.thief, map[string]any{"kid": "for encrypting"}, nil) }, want: invalid},
	{name: "kid of two keys", token: func(m *mint) string { return by(m.thief, map[string]any{"kid": "twin"}, nil) }, want: invalid},
	{name: "kid of two keys, by the other", at: "all", token: func(m *mint) string { return by(m.rs, map[string]any{"kid": "twin"}, nil) }, want: invalid},
	{name: "point off the curve", token: func(m *mint) string { return by(m.thief, map[string]any{"kid": "off the curve"}, nil) }, want: invalid},
	{name: "point at infinity", token: func(m *mint) string { return by(m.thief, map[string]any{"kid": "infinity"}, nil) }, want: invalid},
	{name: "secret key in a published set", at: "all", token: func(m *mint) string { return by(m.hs, map[string]any{"kid": "oct"}, nil) }, want: invalid},
	{name: "RSA of 512 bits", at: "all", token: func(m *mint) string { return m.odd["512 bits"].token() }, want: invalid},
	{name: "RSA of 8,676 bits", at: "all", token: func(m *mint) string { return m.odd["8676 bits"].token() }, want: invalid},
	{name: "RSA with an even modulus", at: "all", token: func(m *mint) string { return m.odd["even"].token() }, want: invalid},
	{name: "RSA with the exponent 1", at: "all", token: func(m *mint) string { return m.odd["exponent 1"].token() }, want: invalid},
	{name: "key of another issuer", token: func(m *mint) string { return by(m.second, nil, nil) }, want: invalid},
	{name: "key of another issuer that is trusted too", at: "many", token: func(m *mint) string { return by(m.second, nil, nil) }, want: invalid},
	{name: "key of another issuer that is trusted too, without kid", at: "many", token: func(m *mint) string { return by(m.second, map[string]any{"kid": nil}, nil) }, want: invalid},
	{name: "issuer that is trusted elsewhere", token: func(m *mint) string { return by(m.second, nil, map[string]any{"iss": other}) }, want: invalid},
	{name: "each issuer with its own key", is: normal, at: "many", token: func(m *mint) string { return by(m.second, nil, map[string]any{"iss": other}) }},

	// What a header may not say.
	{name: "jwk: a key in the token", token: func(m *mint) string {
		jwk, _ := m.thief.Public()
		return by(m.thief, map[string]any{"jwk": jwk, "kid": nil}, nil)
	}, want: invalid},
	{name: "jwk under the kid of a good key", token: func(m *mint) string {
		jwk, _ := m.thief.Public()
		return by(m.thief, map[string]any{"jwk": jwk}, nil)
	}, want: invalid},
	{name: "jku to somebody's server", token: func(m *mint) string {
		return by(m.thief, map[string]any{"jku": "http://127.0.0.1:9/jwks"}, nil)
	}, want: invalid},
	{name: "x5u to somebody's server", token: func(m *mint) string {
		return by(m.thief, map[string]any{"x5u": "http://127.0.0.1:9/cert"}, nil)
	}, want: invalid},
	{name: "x5c that signs itself", token: func(m *mint) string {
		return by(m.thief, map[string]any{"x5c": []string{"MIIB"}}, nil)
	}, want: invalid},
	{name: "kid a path", token: head("kid", "../../dev/null"), want: invalid},
	{name: "kid a path, HS256 by nothing", at: "hs", token: func(*mint) string {
		return by(jose.SecretSigner("HS256", nil), map[string]any{"kid": "../../dev/null"}, map[string]any{"iss": "https://secret.example"})
	}, want: invalid},
	{name: "kid SQL", token: head("kid", "' UNION SELECT 'x"), want: invalid},
	{name: "kid a command", token: head("kid", "|id"), want: invalid},
	{name: "kid of 257 bytes", token: head("kid", strings.Repeat("k", 257)), want: malformed},
	{name: "kid of 1 MiB", token: head("kid", strings.Repeat("k", mebibyte)), want: headerTooLarge, http2: "GOAWAY COMPRESSION_ERROR"},
	{name: "kid a number", token: head("kid", 1), want: malformed},
	{name: "kid empty", token: head("kid", ""), want: malformed},
	{name: "kid NUL", token: head("kid", "\x00"), want: invalid},
	{name: "kid in capitals", token: head("kid", "ES"), want: invalid},
	{name: "no kid", is: normal, token: head("kid", nil)}, // one key is for ES256
	{name: "no kid where several keys fit", at: "all", token: func(m *mint) string { return by(m.rs, map[string]any{"kid": nil}, nil) }, want: invalid},
	{name: "crit b64", token: head("crit", []string{"b64"}, "b64", false), want: malformed},
	{name: "crit of something unknown", token: head("crit", []string{"x"}, "x", 1), want: malformed},
	{name: "crit empty", token: head("crit", []string{}), want: malformed},
	{name: "crit null", token: rawHead(`{"alg":"ES256","kid":"es","crit":null}`), want: malformed},
	{name: "b64 alone", token: head("b64", false), want: malformed},
	{name: "zip", token: head("zip", "DEF"), want: malformed},
	{name: "typ JWE", token: head("typ", "JWE"), want: invalid},
	{name: "typ a number", token: head("typ", 1), want: malformed},
	{name: "typ JWT where at+jwt is wanted", at: "at", token: (*mint).good, want: invalid},
	{name: "typ of an identity of the gateway where at+jwt is wanted", at: "at", token: head("typ", "gw-id+jwt"), want: invalid},
	{name: "no typ where at+jwt is wanted", at: "at", token: head("typ", nil), want: invalid},
	{name: "typ application/at+JWT", is: normal, at: "at", token: head("typ", "application/at+JWT")}, // RFC 9068 section 4
	{name: "cty JWT", token: head("cty", "JWT"), want: malformed},
	{name: "cty jwt", token: head("cty", "jwt"), want: malformed},
	{name: "header no object", token: rawHead(`["ES256"]`), want: malformed},
	{name: "header with something behind it", token: rawHead(`{"alg":"ES256","kid":"es"}{}`), want: malformed},
	{name: "header behind a byte order mark", token: rawHead("\xef\xbb\xbf" + `{"alg":"ES256","kid":"es"}`), want: malformed},
	{name: "header not UTF-8", token: rawHead(`{"alg":"ES256","kid":"es` + "\xff" + `"}`), want: malformed},
	{name: "header of 2,000 lists in each other", token: rawHead(`{"alg":"ES256","kid":"es","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`), want: malformed},

	// Signatures.
	{name: "no signature", token: (*mint).unsignedGood, want: invalid},
	{name: "r = s = 0", token: func(m *mint) string { return m.resigned(func([]byte) []byte { return make([]byte, 64) }) }, want: invalid}, // CVE-2022-21449
	{name: "r = n", token: func(m *mint) string { return m.number(0, func(*big.Int) *big.Int { return order }) }, want: invalid},
	{name: "s = n", token: func(m *mint) string { return m.number(1, func(*big.Int) *big.Int { return order }) }, want: invalid},
	{name: "r = s = n", token: func(m *mint) string {
		return m.resigned(func([]byte) []byte { return append(order.Bytes(), order.Bytes()...) })
	}, want: invalid},
	{name: "r = 0", token: func(m *mint) string { return m.number(0, func(*big.Int) *big.Int { return new(big.Int) }) }, want: invalid},
	{name: "s = 0", token: func(m *mint) string { return m.number(1, func(*big.Int) *big.Int { return new(big.Int) }) }, want: invalid},
	{name: "r = n - r", token: func(m *mint) string {
		return m.number(0, func(r *big.Int) *big.Int { return new(big.Int).Sub(order, r) })
	}, want: invalid},
	{name: "s = n - s", is: normal, token: func(m *mint) string {
		return m.number(1, func(s *big.Int) *big.Int { return new(big.Int).Sub(order, s) })
	}}, // valid by FIPS 186-5; nothing goes by the text of a token
	{name: "DER", token: func(m *mint) string { return m.resigned(der) }, want: invalid},
	{name: "63 bytes", token: func(m *mint) string { return m.resigned(func(s []byte) []byte { return s[:63] }) }, want: invalid},
	{name: "65 bytes", token: func(m *mint) string { return m.resigned(func(s []byte) []byte { return append(s, 0) }) }, want: invalid},
	{name: "65 bytes, zero in front", token: func(m *mint) string { return m.resigned(func(s []byte) []byte { return append([]byte{0}, s...) }) }, want: invalid},
	{name: "signature of another token", token: func(m *mint) string {
		signed, _ := parts(m.good())
		_, signature := parts(m.good())
		return signed + "." + b64(signature)
	}, want: invalid},
	{name: "claims of another token", token: func(m *mint) string {
		mine, hers := strings.Split(m.good(), "."), strings.Split(by(m.es, nil, map[string]any{"sub": "root"}), ".")
		return mine[0] + "." + hers[1] + "." + mine[2]
	}, want: invalid},
	{name: "one bit of the signature", token: func(m *mint) string { return m.resigned(func(s []byte) []byte { s[40] ^= 1; return s }) }, want: invalid},
	{name: "PS256 without salt", at: "all", token: func(m *mint) string { return m.salted(0) }, want: invalid},
	{name: "PS256 with a salt of 20 bytes", at: "all", token: func(m *mint) string { return m.salted(20) }, want: invalid},
	{name: "PS256 with a salt of 32 bytes", is: normal, at: "all", token: func(m *mint) string { return m.salted(32) }},

	// The form: one spelling (RFC 7515 section 2, RFC 4648 section 3.5).
	{name: "padding", token: text(func(s string) string { return s + "==" }), want: malformed},
	{name: "padding of the header", token: text(func(s string) string { return strings.Replace(s, ".", "=.", 1) }), want: malformed},
	{name: "the other alphabet", token: func(m *mint) string {
		return strings.NewReplacer("-", "+", "_", "/").Replace(m.resigned(func(s []byte) []byte { copy(s, "\xff\xff\xfe"); return s }))
	}, want: malformed},
	{name: "space within", token: text(func(s string) string { return s[:40] + " " + s[40:] }), want: malformed},
	{name: "tab within", token: text(func(s string) string { return s[:40] + "\t" + s[40:] }), want: malformed},
	{name: "CR LF within", token: text(func(s string) string { return s[:40] + "\r\n" + s[40:] }), want: badName, http2: reset},
	{name: "fold within", token: text(func(s string) string { return s[:40] + "\r\n " + s[40:] }), want: folded, http2: reset},
	{name: "NUL within", token: text(func(s string) string { return s[:40] + "\x00" + s[40:] }), want: badValue, http2: reset},
	{name: "spare bits", token: text(func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]+1) }), want: malformed}, // of 64 bytes, the last character has four: A, Q, g or w
	{name: "escaped dots", token: text(func(s string) string { return strings.ReplaceAll(s, ".", "%2E") }), want: malformed},
	{name: "one part", token: fixed(strings.Repeat("a", 40)), want: malformed},
	{name: "two parts", token: text(func(s string) string { return s[:strings.LastIndexByte(s, '.')] }), want: malformed},
	{name: "four parts", token: text(func(s string) string { return s + ".AAAA" }), want: malformed},
	{name: "dot in front", token: text(func(s string) string { return "." + s }), want: malformed},
	{name: "dot behind", token: text(func(s string) string { return s + "." }), want: malformed},
	{name: "dots alone", token: fixed(".."), want: malformed},
	{name: "8 MiB of dots", token: fixed(strings.Repeat(".", 8*mebibyte)), want: headerTooLarge, http2: unsaid},
	{name: "8 KiB and a byte", token: func(m *mint) string { return sized(m, 8<<10+1) }, want: malformed},
	{name: "17 KiB", token: claim("x", strings.Repeat("x", 13_000)), want: malformed},
	{name: "8 KiB", is: bounded, token: func(m *mint) string { return sized(m, 8<<10) }},
	{name: "JSON serialization", token: func(m *mint) string {
		p := strings.Split(m.good(), ".")
		return object(map[string]any{"protected": p[0], "payload": p[1], "signature": p[2]})
	}, want: malformed},
	{name: "byte order mark", token: text(func(s string) string { return "\xef\xbb\xbf" + s }), want: malformed},

	// Encrypted tokens are none that is taken, and cost nothing (RFC 7516).
	{name: "JWE", token: fixed(b64([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM"}`)) + ".AAAA.AAAA.AAAA.AAAA"), want: malformed},
	{name: "JWE with a bomb", token: fixed(b64([]byte(`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`)) + ".." + strings.Repeat("A.", 1) + strings.Repeat("A", 8000) + ".AAAA"), want: malformed},
	{name: "JWE with 2^31 rounds", token: fixed(b64([]byte(`{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":2147483648,"p2s":"AAAA"}`)) + ".AAAA.AAAA.AAAA.AAAA"), want: malformed},
	{name: "JWE by the public key as a secret", token: fixed(b64([]byte(`{"alg":"dir","enc":"A128CBC-HS256","kid":"es"}`)) + "..AAAA.AAAA.AAAA"), want: malformed},
	{name: "JWE in three parts", token: head("enc", "A256GCM"), want: malformed},
}

// unsignedGood is a good token whose signature was taken off.
func (m *mint) unsignedGood() string {
	signed, _ := parts(m.good())
	return signed + "."
}

// sized is a good token of so many bytes. Not each length is one of base64, so that both its header and its claims are filled up.
func sized(m *mint, n int) string {
	least := len(m.good())
	for fill := (n-least)*3/4 - 20; fill < n; fill++ {
		for pad := range 4 {
			token := by(m.es, map[string]any{"y": strings.Repeat("y", pad)}, map[string]any{"x": strings.Repeat("x", fill)})
			if len(token) == n {
				return token
			}
		}
	}
	return ""
}

// TestTokens sends each in the field Authorization, and wants the upstream to see those alone that are good.
func TestTokens(t *testing.T) {
	t.Parallel()
	w := newIdentity(t)
	for _, tt := range tokenInputs {
		w.try(t, tt.name, func() *attempt { return w.bearing(&tt) })
	}
	for _, tt := range claimInputs {
		w.try(t, tt.name, func() *attempt { return w.bearing(&tt) })
	}
	for _, tt := range bearerInputs {
		w.try(t, tt.name, func() *attempt { return tt.attempt(w) })
	}
	for _, s := range replays {
		t.Run(s.name, func(t *testing.T) { s.run(t, w) })
	}
}

// bearing is the request that a token comes with.
func (w *identity) bearing(in *tokenInput) *attempt {
	token := in.token(w.mint)
	w.keepToken(token)
	at := in.at
	if at == "" {
		at = "es"
	}
	a := &attempt{line: "GET /" + at + "/x", fields: []string{"Authorization: Bearer " + token}, want: in.want, http2: in.http2}
	if in.is != refused {
		a.to = a.line
		if in.to != "" {
			a.to = "GET " + in.to
		}
	}
	if a.want == "" {
		a.want = "200"
	}
	return a
}
