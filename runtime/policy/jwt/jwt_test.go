package jwt

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestGuide(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, guide)
	good := w.token(t, map[string]any{"tenant": "acme", "perms": []string{"user.read"}})
	got, x := w.ask(t, h, good)
	if got != "pass" {
		t.Fatal(got)
	}
	p := x.Principal
	if p.Subject != "ann" || p.Issuer != issuerName || p.Tenant != "acme" || !slices.Equal(p.Scopes, []string{"user.read", "user.write"}) ||
		!slices.Equal(p.Permissions, []string{"user.read"}) || !p.Expires.Equal(w.Clock.Add(time.Hour)) {
		t.Errorf("principal %+v", p)
	}
	if x.Request.Header.Get("Authorization") == "" {
		t.Error("the token does not go upstream")
	}
	for _, tt := range []struct{ name, token, want, header string }{
		{"tampered", tamper(good), "401 token_invalid", `Bearer realm="gateway", error="invalid_token", error_description="the token is not valid here"`},
		{"no role", w.token(t, map[string]any{"roles": []string{"guest"}}), "403 role_missing", `Bearer realm="gateway", error="insufficient_scope"`},
		{"no scope", w.token(t, map[string]any{"scope": "user.write"}), "403 scope_missing", `Bearer realm="gateway", error="insufficient_scope"`},
	} {
		x := w.Exchange("GET", "/api/users/1", "Authorization: Bearer "+tt.token)
		v := h.Decide(t.Context(), x)
		if got := policytest.Said(v); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			continue
		}
		if got := v.Reject.Header[0].Value; got != tt.header {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	x = w.Exchange("GET", "/api/users/1")
	if v := h.Decide(t.Context(), x); policytest.Said(v) != "401 token_missing" || v.Reject.Header[0].Value != `Bearer realm="gateway"` {
		t.Errorf("no token: %+v", v.Reject)
	}
	want := []string{
		"gw_authz_denied_total{route=r,reason=role} 1", "gw_authz_denied_total{route=r,reason=scope} 1",
		"gw_jwt_verify_error_total{route=r,reason=missing} 1", "gw_jwt_verify_error_total{route=r,reason=signature} 1",
		"gw_jwt_verify_success_total{route=r} 3",
	}
	if got := w.Counts.All(); !slices.Equal(got, want) {
		t.Errorf("counted\n%s", strings.Join(got, "\n"))
	}
}

// tamper makes the token that of somebody else.
func tamper(token string) string {
	parts := strings.Split(token, ".")
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		panic(err)
	}
	changed := strings.Replace(string(claims), `"ann"`, `"bob"`, 1)
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + parts[2]
}

// TestClaims is what tokens say of themselves, one deviation at a time.
func TestClaims(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, guide)
	now := w.Clock.Unix()
	many := make([]string, 600)
	for i := range many {
		many[i] = fmt.Sprint("r", i)
	}
	for _, tt := range []struct {
		name    string
		changes map[string]any
		want    string
	}{
		{"no exp", map[string]any{"exp": nil}, "401 token_invalid"},
		{"exp a text", map[string]any{"exp": "9999999999"}, "401 token_invalid"},
		{"exp negative", map[string]any{"exp": -1}, "401 token_invalid"},
		{"exp 2^63", map[string]any{"exp": uint64(1) << 63}, "401 token_invalid"},
		{"exp with a fraction", map[string]any{"exp": float64(now) + 100.5}, "pass"},
		{"exp within the skew", map[string]any{"exp": now - 59}, "pass"},
		{"exp at the end of the skew", map[string]any{"exp": now - 60}, "401 token_expired"},
		{"exp beyond the skew", map[string]any{"exp": now - 61}, "401 token_expired"},
		{"nbf within the skew", map[string]any{"nbf": now + 60}, "pass"},
		{"nbf beyond the skew", map[string]any{"nbf": now + 61}, "401 token_not_yet_valid"},
		{"nbf a text", map[string]any{"nbf": "now"}, "401 token_invalid"},
		{"iat tomorrow", map[string]any{"iat": now + 86400}, "401 token_not_yet_valid"},
		{"no iss", map[string]any{"iss": nil}, "401 token_malformed"},
		{"iss with a slash", map[string]any{"iss": issuerName + "/"}, "401 token_invalid"},
		{"iss in capitals", map[string]any{"iss": strings.ToUpper(issuerName)}, "401 token_invalid"},
		{"iss longer", map[string]any{"iss": issuerName + ".evil.io"}, "401 token_invalid"},
		{"iss a list", map[string]any{"iss": []string{issuerName}}, "401 token_malformed"},
		{"no aud", map[string]any{"aud": nil}, "401 token_invalid"},
		{"aud longer", map[string]any{"aud": "suuupra-api-evil"}, "401 token_invalid"},
		{"aud of another", map[string]any{"aud": []string{"x"}}, "401 token_invalid"},
		{"aud among others", map[string]any{"aud": []string{"x", "suuupra-api"}}, "pass"},
		{"aud empty", map[string]any{"aud": []string{}}, "401 token_invalid"},
		{"aud an object", map[string]any{"aud": map[string]any{}}, "401 token_invalid"},
		{"aud nested", map[string]any{"aud": []any{[]string{"suuupra-api"}}}, "401 token_invalid"},
		{"sub a number", map[string]any{"sub": 1}, "401 token_invalid"},
		{"no sub", map[string]any{"sub": nil}, "pass"},
		{"no roles", map[string]any{"roles": nil}, "403 role_missing"},
		{"roles a text", map[string]any{"roles": "user"}, "403 role_missing"},
		{"roles an object", map[string]any{"roles": map[string]any{"user": 1}}, "403 role_missing"},
		{"roles with a prefix", map[string]any{"roles": []string{"ROLE_user"}}, "403 role_missing"},
		{"roles joined", map[string]any{"roles": []string{"user,admin"}}, "403 role_missing"},
		{"roles not all names", map[string]any{"roles": []any{"user", 1}}, "403 role_missing"},
		{"many roles", map[string]any{"roles": append(many, "user")}, "pass"},
		{"scope longer", map[string]any{"scope": "user.readx"}, "403 scope_missing"},
		{"scope with tabs", map[string]any{"scope": "user.write\tuser.read"}, "403 scope_missing"},
		{"scope with a no-break space", map[string]any{"scope": "user.write\u00a0user.read"}, "403 scope_missing"},
		{"scope a list", map[string]any{"scope": []string{"user.read"}}, "pass"},
		{"scp in its place", map[string]any{"scope": nil, "scp": "user.read"}, "pass"},
		{"jti very long", map[string]any{"jti": strings.Repeat("x", 2000)}, "401 token_invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, x := w.ask(t, h, w.token(t, tt.changes)); got != tt.want || (got[0] == '4') != (x.Principal == nil) && got[:3] == "401" {
				t.Errorf("%s, want %s; principal %+v", got, tt.want, x.Principal)
			}
		})
	}
	for name, payload := range map[string]string{
		"exp 1e400":   `{"iss":"` + issuerName + `","aud":"suuupra-api","exp":1e400}`,
		"exp NaN":     `{"iss":"` + issuerName + `","aud":"suuupra-api","exp":NaN}`,
		"roles twice": `{"iss":"` + issuerName + `","aud":"suuupra-api","exp":9999999999,"roles":[],"roles":["user"],"scope":"user.read"}`,
		"sub twice":   `{"iss":"` + issuerName + `","aud":"suuupra-api","exp":9999999999,"sub":"a","sub":"b"}`,
		"deep":        `{"iss":"` + issuerName + `","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`,
		"no object":   `[]`,
	} {
		text, err := w.signer.SignRaw([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := w.ask(t, h, text); got[:3] != "401" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestTransport is how a token comes.
func TestTransport(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, guide)
	good := w.token(t, nil)
	for _, tt := range []struct {
		name string
		send []string
		want string
	}{
		{"as usual", []string{"Authorization: Bearer " + good}, "pass"},
		{"scheme in another case", []string{"authorization: bearer " + good}, "pass"},
		{"more spaces", []string{"Authorization: Bearer   " + good}, "pass"},
		{"none", nil, "401 token_missing"},
		{"no token", []string{"Authorization: Bearer"}, "401 token_malformed"},
		{"empty token", []string{"Authorization: Bearer  "}, "401 token_malformed"},
		{"another scheme", []string{"Authorization: Basic YTpi"}, "401 token_missing"},
		{"two fields", []string{"Authorization: Bearer " + good, "Authorization: Bearer " + good}, "400 duplicate_credentials"},
		{"two in one field", []string{"Authorization: Bearer " + good + ", Bearer " + good}, "401 token_malformed"},
		{"with NUL", []string{"Authorization: Bearer " + good + "\x00"}, "401 token_malformed"},
		{"in the query", nil, "401 token_missing"},
		{"17 KiB", []string{"Authorization: Bearer " + strings.Repeat("a", 17<<10)}, "401 token_malformed"},
		{"8 MiB of dots", []string{"Authorization: Bearer " + strings.Repeat(".", 8<<20)}, "401 token_malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := w.Exchange("GET", "/?access_token="+good, tt.send...)
			if got := policytest.Said(h.Decide(t.Context(), x)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestPlaces takes tokens from elsewhere, and off the request.
func TestPlaces(t *testing.T) {
	w := newWorld(t)
	good := w.token(t, nil)
	const base = `auth: { jwt: { issuer: "` + issuerName + `", audience: suuupra-api, jwksUri: "` + issuerName + `/k", from: %s } }`
	for _, tt := range []struct {
		name, from, target string
		send               []string
		want               string
		query              string
		left               []string
	}{
		{"header", "{ header: X-Token }", "/", []string{"X-Token: " + good, "A: b"}, "pass", "", []string{"A: b"}},
		{"header, kept", "{ header: X-Token, forward: true }", "/", []string{"X-Token: " + good}, "pass", "", []string{"X-Token: " + good}},
		{"Authorization, dropped", "{ header: authorization, forward: false }", "/", []string{"Authorization: Bearer " + good}, "pass", "", nil},
		{"header twice", "{ header: X-Token }", "/", []string{"X-Token: " + good, "x-token: " + good}, "400 duplicate_credentials", "", nil},
		{"cookie", "{ cookie: session }", "/", []string{"Cookie: a=b; session=" + good + "; c=d"}, "pass", "", []string{"Cookie: a=b; c=d"}},
		{"only cookie", "{ cookie: session }", "/", []string{"Cookie: session=\"" + good + "\""}, "pass", "", nil},
		{"cookie twice", "{ cookie: session }", "/", []string{"Cookie: session=" + good, "Cookie: session=x"}, "400 duplicate_credentials", "", nil},
		{"cookie of another case", "{ cookie: session }", "/", []string{"Cookie: Session=" + good}, "401 token_missing", "", nil},
		{"query", "{ query: access_token }", "/?a=1&access_token=" + good + "&b=%2f", nil, "pass", "a=1&b=%2f", nil},
		{"query, escaped name", "{ query: access_token }", "/?access%5Ftoken=" + good, nil, "pass", "", nil},
		{"query twice", "{ query: access_token }", "/?access_token=" + good + "&access%5Ftoken=x", nil, "400 duplicate_credentials", "", nil},
		{"query, empty", "{ query: access_token }", "/?access_token=", nil, "401 token_malformed", "", nil},
		{"query, not asked in the header", "{ query: access_token }", "/", []string{"Authorization: Bearer " + good}, "401 token_missing", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := w.policyOf(t, fmt.Sprintf(base, tt.from))
			x := w.Exchange("GET", tt.target, tt.send...)
			if got := policytest.Said(h.Decide(t.Context(), x)); got != tt.want {
				t.Fatalf("%s, want %s", got, tt.want)
			}
			if tt.want != "pass" {
				return
			}
			var left []string
			for _, f := range x.Request.Header.Fields {
				left = append(left, f.Name+": "+f.Value)
			}
			if !slices.Equal(left, tt.left) || x.RawQuery != tt.query {
				t.Errorf("left %q, query %q", left, x.RawQuery)
			}
		})
	}
}

// TestKeys is who signed.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	other, rs := signer(t, "ES256", "k1"), signer(t, "RS256", "k2")
	w.keys.set.Store(setOf(t, w.signer, rs))
	h := w.policyOf(t, guide)
	sign := func(s *jose.Signer, header map[string]any) string {
		text, err := s.Sign(header, w.claims(nil))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	public, err := w.signer.Public()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, token, want string }{
		{"as usual", sign(w.signer, nil), "pass"},
		{"no kid, one key fits", sign(w.signer, map[string]any{"kid": nil}), "pass"},
		{"another's key of the same name", sign(other, nil), "401 token_invalid"},
		{"an algorithm that is not allowed", sign(rs, nil), "401 token_invalid"},
		{"unknown kid", sign(w.signer, map[string]any{"kid": "nobody"}), "401 token_invalid"},
		{"kid a path", sign(w.signer, map[string]any{"kid": "../../dev/null"}), "401 token_invalid"},
		{"kid a query", sign(w.signer, map[string]any{"kid": "' UNION SELECT 'x"}), "401 token_invalid"},
		{"kid a command", sign(w.signer, map[string]any{"kid": "|id"}), "401 token_invalid"},
		{"kid a number", sign(w.signer, map[string]any{"kid": 1}), "401 token_malformed"},
		{"kid NUL", sign(w.signer, map[string]any{"kid": "\x00"}), "401 token_invalid"},
		{"kid long", sign(w.signer, map[string]any{"kid": strings.Repeat("k", 4000)}), "401 token_malformed"},
		{"brings its key", sign(other, map[string]any{"jwk": public, "kid": nil}), "401 token_invalid"},
		{"brings an address of keys", sign(other, map[string]any{"jku": "https://evil.example.com/jwks"}), "401 token_invalid"},
		{"brings certificates", sign(other, map[string]any{"x5c": []string{"MIIB"}, "x5u": "https://evil.example.com/"}), "401 token_invalid"},
		{"crit b64", sign(w.signer, map[string]any{"crit": []string{"b64"}, "b64": false}), "401 token_malformed"},
		{"crit unknown", sign(w.signer, map[string]any{"crit": []string{"x"}}), "401 token_malformed"},
		{"crit empty", sign(w.signer, map[string]any{"crit": []string{}}), "401 token_malformed"},
		{"typ JWE", sign(w.signer, map[string]any{"typ": "JWE"}), "401 token_invalid"},
		{"cty JWT", sign(w.signer, map[string]any{"cty": "JWT"}), "401 token_malformed"},
		{"alg none", sign(w.signer, map[string]any{"alg": "none"}), "401 token_invalid"},
		{"alg nOnE", sign(w.signer, map[string]any{"alg": "nOnE"}), "401 token_invalid"},
		{"alg empty", sign(w.signer, map[string]any{"alg": ""}), "401 token_malformed"},
		{"alg missing", sign(w.signer, map[string]any{"alg": nil}), "401 token_invalid"},
		{"alg a list", sign(w.signer, map[string]any{"alg": []string{"ES256"}}), "401 token_malformed"},
		{"alg with a space", sign(w.signer, map[string]any{"alg": "ES256 "}), "401 token_invalid"},
		{"alg in small letters", sign(w.signer, map[string]any{"alg": "es256"}), "401 token_invalid"},
		{"alg ES256K", sign(w.signer, map[string]any{"alg": "ES256K"}), "401 token_invalid"},
		{"alg HS256, signed with the public key", hmacWith(t, w, public), "401 token_invalid"},
		{"ALG", sign(w.signer, map[string]any{"alg": nil, "ALG": "none"}), "401 token_invalid"},
		{"alg and Alg", sign(w.signer, map[string]any{"Alg": "none"}), "pass"}, // names are told apart by their case: Alg means nothing
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := w.ask(t, h, tt.token); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func hmacWith(t *testing.T, w *world, public map[string]any) string {
	t.Helper()
	text, err := jose.SecretSigner("HS256", fmt.Append(nil, public["x"], public["y"])).Sign(map[string]any{"kid": "k1"}, w.claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestRememberedTokens asks with the same token again: its issuer's keys are not asked for, and what made it good must still hold.
func TestRememberedTokens(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, guide)
	token := w.token(t, nil)
	for range 3 {
		if got, _ := w.ask(t, h, token); got != "pass" {
			t.Fatal(got)
		}
	}
	if n := w.keys.asked.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	w.Advance(time.Hour + 59*time.Second)
	if got, _ := w.ask(t, h, token); got != "pass" {
		t.Errorf("within the skew: %s", got)
	}
	w.Advance(time.Second)
	if got, _ := w.ask(t, h, token); got != "401 token_expired" {
		t.Errorf("beyond the skew: %s", got)
	}
	token = w.token(t, nil)
	if got, _ := w.ask(t, h, token); got != "pass" {
		t.Fatal(got)
	}
	w.keys.set.Store(setOf(t, signer(t, "ES256", "k2"))) // the key is withdrawn
	if got, _ := w.ask(t, h, token); got != "401 token_invalid" {
		t.Errorf("after its key was withdrawn: %s", got)
	}
	w.keys.set.Store(nil) // too old to be used
	w.keys.err = policy.ErrKeysAway
	if got, _ := w.ask(t, h, token); got != "503 token_unverifiable" {
		t.Errorf("without keys: %s", got)
	}
}

// TestMemoryIsBounded verifies more tokens than are remembered.
func TestMemoryIsBounded(t *testing.T) {
	v := newVerdicts()
	for i := range 60_000 {
		v.put(digestOf(fmt.Sprint(i)), &known{}, 1000)
	}
	total, entries := 0, 0
	for i := range v.shards {
		total += v.shards[i].weight
		entries += len(v.shards[i].all)
	}
	if total > 16*shardWeight || entries*(512+6000) != total || entries < 9000 {
		t.Errorf("%d tokens of weight %d", entries, total)
	}
}

func TestSeveralIssuers(t *testing.T) {
	w := newWorld(t)
	secret := "0123456789abcdef0123456789abcdef"
	w.SetSecret("env:OLD", []byte(secret+"\n"))
	h := w.policyOf(t, `auth: { jwt: { issuers: [
  { issuer: "`+issuerName+`", audience: suuupra-api, jwksUri: "`+issuerName+`/k" },
  { issuer: legacy, audiences: [one, two], secretRef: "env:OLD", clockSkewSeconds: 0 } ] } }`)
	hs := jose.SecretSigner("HS256", []byte(secret))
	legacy := func(s *jose.Signer, changes map[string]any) string {
		c := w.claims(map[string]any{"iss": "legacy", "aud": "two"})
		for k, v := range changes {
			c[k] = v
		}
		text, err := s.Sign(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, tt := range []struct{ name, token, want string }{
		{"of the first", w.token(t, nil), "pass"},
		{"of the second", legacy(hs, nil), "pass"},
		{"of the second, skew of the first", legacy(hs, map[string]any{"exp": w.Clock.Unix() - 1}), "401 token_expired"},
		{"of the second for the first's audience", legacy(hs, map[string]any{"aud": "suuupra-api"}), "401 token_invalid"},
		{"says the second, signed by the first", legacy(w.signer, nil), "401 token_invalid"},
		{"says the first, signed by the second", legacy(hs, map[string]any{"iss": issuerName, "aud": "suuupra-api"}), "401 token_invalid"},
		{"of a third", legacy(hs, map[string]any{"iss": "third"}), "401 token_invalid"},
	} {
		if got, _ := w.ask(t, h, tt.token); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	token := legacy(hs, nil)
	w.SetSecret("env:OLD", []byte(strings.Repeat("n", 32)))
	if got, _ := w.ask(t, h, token); got != "401 token_invalid" {
		t.Errorf("after the secret was changed: %s", got)
	}
	w.SetSecret("env:OLD", []byte("short"))
	if got, _ := w.ask(t, h, token); got != "503 token_unverifiable" {
		t.Errorf("with a secret that is too short: %s", got)
	}
}

func TestOptional(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, `auth: { jwt: { issuer: "`+issuerName+`", audience: suuupra-api, jwksUri: "`+issuerName+`/k", optional: true } }`)
	x := w.Exchange("GET", "/")
	if got := policytest.Said(h.Decide(t.Context(), x)); got != "pass" || x.Principal != nil {
		t.Errorf("without a token: %s", got)
	}
	if got, x := w.ask(t, h, w.token(t, nil)); got != "pass" || x.Principal == nil {
		t.Errorf("with a token: %s", got)
	}
	if got, _ := w.ask(t, h, tamper(w.token(t, nil))); got != "401 token_invalid" {
		t.Errorf("with a bad token: %s", got)
	}
}

func TestType(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, `auth: { jwt: { issuer: "`+issuerName+`", audience: suuupra-api, jwksUri: "`+issuerName+`/k", type: at+JWT } }`)
	for typ, want := range map[string]string{"at+jwt": "pass", "AT+JWT": "pass", "application/at+jwt": "pass", "JWT": "401 token_invalid", "": "401 token_malformed"} {
		text, err := w.signer.Sign(map[string]any{"typ": typ}, w.claims(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := w.ask(t, h, text); got != want {
			t.Errorf("typ %q: %s, want %s", typ, got, want)
		}
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	m := &memory{}
	w.State = m
	h := w.policyOf(t, `auth: { jwt: { issuer: "`+issuerName+`", audience: suuupra-api, jwksUri: "`+issuerName+`/k", replayProtection: true } }`)
	first := w.token(t, map[string]any{"jti": "1"})
	for _, tt := range []struct{ name, token, want string }{
		{"first", first, "pass"},
		{"again", first, "401 token_replayed"},
		{"another token with the same jti", w.token(t, map[string]any{"jti": "1", "sub": "bob"}), "401 token_replayed"},
		{"another jti", w.token(t, map[string]any{"jti": "2"}), "pass"},
		{"no jti", w.token(t, nil), "401 token_invalid"},
		{"a jti that is no text", w.token(t, map[string]any{"jti": 5}), "401 token_invalid"},
	} {
		if got, _ := w.ask(t, h, tt.token); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for name, ttl := range m.seen {
		if ttl != time.Hour+61*time.Second || len(name) > 100 {
			t.Errorf("%s is kept for %s", name, ttl)
		}
	}
	m.err = errAway
	if got, _ := w.ask(t, h, w.token(t, map[string]any{"jti": "3"})); got != "503 token_unverifiable" {
		t.Errorf("without state: %s", got)
	}
	w.State = nil
	plan := policytest.MustCompile(t, Kind, policytest.Route{Policy: `auth: { jwt: { issuer: i, audience: a, jwksUri: "https://i/k", replayProtection: true } }`})
	if _, err := Kind.Build(t.Context(), &w.Env, plan); err == nil || !strings.Contains(err.Error(), "start gwrun with --redis") {
		t.Errorf("built without state: %v", err)
	}
}
