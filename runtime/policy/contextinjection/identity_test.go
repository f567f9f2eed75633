package contextinjection

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key, pkcs8(t, key)
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// published is the key as upstreams would have it, in a key set.
func published(t testing.TB, key *ecdsa.PrivateKey, id string) *jose.Set {
	t.Helper()
	point, err := key.PublicKey.Bytes() // 4, then both coordinates
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	set := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":%q,"alg":"ES256","use":"sig","x":%q,"y":%q}]}`,
		id, enc(point[1:33]), enc(point[33:]))
	s, skipped, err := jose.ParseSet([]byte(set))
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
	}
	return s
}

// identityPlan is a plan with an identity token alone.
func identityPlan(t testing.TB, edit func(*IdentityToken)) []byte {
	t.Helper()
	token := &IdentityToken{Header: "X-Id", SecretRef: "env:K", Lifetime: 60000}
	if edit != nil {
		edit(token)
	}
	raw, err := json.Marshal(&Plan{IdentityToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// verified asks the policy about a request, and verifies the token that it sends.
func verified(t *testing.T, h policy.Handler, x *policy.Exchange, keys *jose.Set, algorithm string) (*jose.Token, string) {
	t.Helper()
	if v := h.Decide(t.Context(), x); v.Reject != nil {
		t.Fatal(policytest.Said(v), v.Reject.Detail)
	}
	token, err := jose.Parse(x.Request.Header.Get("X-Id"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := token.Claims(keys, []string{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token, string(raw)
}

func TestIdentityToken(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), 32)
	shared, err := jose.Secret(secret)
	if err != nil {
		t.Fatal(err)
	}
	key, text := newKey(t)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	for _, tc := range []struct {
		name, algorithm string
		secret          []byte
		keys            *jose.Set
	}{
		{"HS256", "HS256", secret, shared},
		{"PKCS#8", "ES256", text, published(t, key, "k1")},
		{"SEC1", "ES256", sec1, published(t, key, "k1")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := policytest.NewWorld()
			w.SetSecret("env:K", tc.secret)
			h := w.Build(t, Kind, identityPlan(t, func(p *IdentityToken) { p.KeyID = "k1" }))
			for range 600 { // one signature in 128 has a number with a leading zero byte
				x := w.Exchange("GET", "/", "X-Id: evil")
				x.Principal = caller(t, `{"sub":"u1"}`)
				token, claims := verified(t, h, x, tc.keys, tc.algorithm)
				if token.Type != "gw-id+jwt" || token.KeyID != "k1" || token.Algorithm != tc.algorithm {
					t.Fatalf("header %+v", token)
				}
				want := `{"aud":"users","exp":1767268860,"iat":1767268800,"iss":"gateway:test","jti":"req-1","orig_iss":"https://id.example.com","sub":"u1"}`
				if claims != want {
					t.Fatalf("claims %s\nwant %s", claims, want)
				}
			}
		})
	}
}

func TestPayload(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), 32)
	keys, err := jose.Secret(secret)
	if err != nil {
		t.Fatal(err)
	}
	full := &policy.Principal{
		Subject: "u<1>\u00eb", Issuer: "i", Tenant: "t1", Roles: []string{"r"}, Scopes: []string{"a", "b"}, Permissions: []string{"p"},
		Claims: map[string]any{"email": "not passed on"},
	}
	key := &policy.Key{ID: "k1", Owner: "batch", Tenant: "t2", Scopes: []string{"b", "c"}}
	for _, tc := range []struct {
		name      string
		principal *policy.Principal
		key       *policy.Key
		want      string
	}{
		{"token", full, nil, `"orig_iss":"i","permissions":["p"],"roles":["r"],"scopes":["a","b"],"sub":"u\u003c1\u003eë","tenant":"t1"`},
		{"key", nil, key, `"key_id":"k1","key_owner":"batch","scopes":["b","c"],"tenant":"t2"`},
		{
			"both", full, key,
			`"key_id":"k1","key_owner":"batch","orig_iss":"i","permissions":["p"],"roles":["r"],"scopes":["a","b","c"],"sub":"u\u003c1\u003eë","tenant":"t1"`,
		},
		{"a token that says nothing", &policy.Principal{}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := policytest.NewWorld()
			w.Route.Tenant = "route"
			w.SetSecret("env:K", secret)
			h := w.Build(t, Kind, identityPlan(t, func(p *IdentityToken) { p.Audience, p.Lifetime = "api", 1500 }))
			x := w.Exchange("GET", "/")
			x.Principal, x.Key = tc.principal, tc.key
			token, claims := verified(t, h, x, keys, "HS256")
			if token.KeyID != "" {
				t.Errorf("kid %q, without a keyId", token.KeyID)
			}
			want := `{"aud":"api","exp":1767268801,"iat":1767268800,"iss":"gateway:test","jti":"req-1"`
			for _, part := range []string{"key_id", "key_owner", "orig_iss", "permissions", "roles", "scopes", "sub", "tenant"} {
				if !strings.Contains(tc.want, `"`+part+`"`) && strings.Contains(claims, `"`+part+`"`) {
					t.Errorf("%s is in %s", part, claims)
				}
			}
			if tc.want != "" {
				want += "," + tc.want
			}
			if want += "}"; claims != want {
				t.Errorf("claims %s\nwant   %s", claims, want)
			}
		})
	}
	if got := fmt.Sprint(full.Scopes, key.Scopes); got != "[a b] [b c]" {
		t.Errorf("the caller's scopes were changed: %s", got)
	}
}

func TestKeyUnavailable(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, good := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, tc := range []struct {
		name, logged string
		secret       []byte
	}{
		{"absent", "secret env:K: is not there", nil},
		{"short", "the key has 31 bytes, HS256 needs 32", bytes.Repeat([]byte("s"), 31)},
		{"public key", "there is no private key in the PEM text", block("PUBLIC KEY", public)},
		{"P-384", "the private key is none of P-256, which ES256 needs", pkcs8(t, p384)},
		{"RSA", "the private key is none of P-256, which ES256 needs", pkcs8(t, rsaKey)},
		{"RSA, PKCS#1", `the key is a "RSA PRIVATE KEY", ES256 needs a plain private key of P-256`, block("RSA PRIVATE KEY", []byte("x"))},
		{"encrypted", `the key is a "ENCRYPTED PRIVATE KEY", ES256 needs a plain private key of P-256`, block("ENCRYPTED PRIVATE KEY", []byte("x"))},
		{"garbage", "the private key cannot be read", block("PRIVATE KEY", []byte("garbage"))},
		{"cut off", "there is no private key in the PEM text", good[:len(good)-10]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log strings.Builder
			w := policytest.NewWorld()
			w.Log = slog.New(slog.NewTextHandler(&log, nil))
			w.SetSecret("env:K", tc.secret)
			h := w.Build(t, Kind, identityPlan(t, nil))
			for range 3 {
				x := w.Exchange("GET", "/", "X-Id: evil")
				x.Principal = caller(t, `{"sub":"u1"}`)
				v := h.Decide(t.Context(), x)
				if got := policytest.Said(v); got != "503 identity_key_unavailable" {
					t.Fatal(got)
				}
				if v.Reject.Detail != "the gateway cannot tell the upstream who the caller is" {
					t.Errorf("detail %q", v.Reject.Detail)
				}
				if x.Request.Header.Has("X-Id") {
					t.Error("the client's field stayed")
				}
			}
			if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), tc.logged) {
				t.Errorf("logged %q, want one line with %q", got, tc.logged)
			}
			x := w.Exchange("GET", "/", "X-Id: evil")
			if got := policytest.Said(h.Decide(t.Context(), x)); got != "pass" || x.Request.Header.Has("X-Id") {
				t.Errorf("nobody: %s, %v", got, x.Request.Header)
			}
		})
	}
}

// TestKeyChanges follows a secret that comes late, is replaced by rubbish, and comes back.
func TestKeyChanges(t *testing.T) {
	var log strings.Builder
	w := policytest.NewWorld()
	w.Log = slog.New(slog.NewTextHandler(&log, nil))
	h := w.Build(t, Kind, identityPlan(t, nil))
	ask := func() (string, *policy.Exchange) {
		x := w.Exchange("GET", "/")
		x.Principal = caller(t, `{"sub":"u1"}`)
		return policytest.Said(h.Decide(t.Context(), x)), x
	}
	key, text := newKey(t)
	for i, step := range []struct {
		secret []byte
		want   string
		lines  int // logged so far
	}{
		{nil, "503 identity_key_unavailable", 1},
		{text, "pass", 1},
		{[]byte("rubbish"), "503 identity_key_unavailable", 2},
		{text, "pass", 2},
		{bytes.Repeat([]byte("s"), 40), "pass", 2},
	} {
		w.SetSecret("env:K", step.secret)
		for range 2 {
			if got, _ := ask(); got != step.want {
				t.Errorf("step %d: %s, want %s", i, got, step.want)
			}
		}
		if got := strings.Count(log.String(), "\n"); got != step.lines {
			t.Errorf("step %d: %d lines are logged, want %d:\n%s", i, got, step.lines, log.String())
		}
	}
	w.SetSecret("env:K", text)
	x := w.Exchange("GET", "/")
	x.Principal = caller(t, `{"sub":"u1"}`)
	verified(t, h, x, published(t, key, "k1"), "ES256")
}

// TestKeyChangesUnderLoad changes the secret while requests are signed: each is signed with a key that was in force, or refused.
func TestKeyChangesUnderLoad(t *testing.T) {
	w := policytest.NewWorld()
	h := w.Build(t, Kind, identityPlan(t, nil))
	principal := caller(t, `{"sub":"u1"}`)
	_, text := newKey(t)
	secrets := [][]byte{bytes.Repeat([]byte("s"), 32), text, nil, []byte("rubbish")}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 100 {
				x := w.Exchange("GET", "/")
				x.Principal = principal
				got := policytest.Said(h.Decide(t.Context(), x))
				if _, err := jose.Parse(x.Request.Header.Get("X-Id")); (got != "pass" || err != nil) && got != "503 identity_key_unavailable" {
					t.Errorf("%s, %v", got, err)
				}
			}
		})
	}
	for i := range 400 {
		w.SetSecret("env:K", secrets[i%len(secrets)])
	}
	clients.Wait()
}

// TestFirstVersion follows a secret that is not there at first, and counts its versions from 0.
func TestFirstVersion(t *testing.T) {
	secret := &late{}
	k := &keeper{secret: secret, log: slog.New(slog.DiscardHandler)}
	if _, err := k.signer(); err == nil || err.Error() != "not yet" {
		t.Errorf("without a secret: %v", err)
	}
	secret.value = bytes.Repeat([]byte("s"), 32)
	if s, err := k.signer(); s == nil || err != nil {
		t.Errorf("with a secret: %v", err)
	}
}

// late is a secret that is not there until it has a value.
type late struct{ value []byte }

func (l *late) Value() ([]byte, uint64, error) {
	if l.value == nil {
		return nil, 0, errors.New("not yet")
	}
	return l.value, 0, nil
}

func (*late) Close() error { return nil }

// TestClose gives the secret back, also of a policy that was never asked.
func TestClose(t *testing.T) {
	w := policytest.NewWorld()
	s := &counted{}
	w.Secrets = s
	h, err := Kind.Build(t.Context(), &w.Env, identityPlan(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.held != 1 {
		t.Errorf("%d secrets are held", s.held)
	}
	if err := h.(*handler).Close(); err != nil || s.held != 0 {
		t.Errorf("after Close %d secrets are held: %v", s.held, err)
	}
}

// counted counts the secrets that are held.
type counted struct{ held int }

func (c *counted) Hold(string) (policy.Secret, error) {
	c.held++
	return c, nil
}

func (c *counted) Value() ([]byte, uint64, error) { return bytes.Repeat([]byte("s"), 32), 1, nil }

func (c *counted) Close() error {
	c.held--
	return nil
}
