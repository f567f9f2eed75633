package jose_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/jose"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

var secret = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

// hs256 signs any header and payload with the secret.
func hs256(header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(signed))
	return signed + "." + b64(string(h.Sum(nil)))
}

func claimsOf(t *testing.T, keys *jose.Set, token string, allowed ...string) (map[string]any, error) {
	t.Helper()
	parsed, err := jose.Parse(token)
	if err != nil {
		return nil, err
	}
	return parsed.Claims(keys, allowed)
}

// TestHostileTokens signs what is wrong with the right key, so that the signature is no reason to refuse it.
func TestHostileTokens(t *testing.T) {
	keys, err := jose.Secret(secret)
	if err != nil {
		t.Fatal(err)
	}
	const head, claims = `{"alg":"HS256"}`, `{"sub":"a"}`
	good := hs256(head, claims)
	if got, err := claimsOf(t, keys, good, "HS256"); err != nil || got["sub"] != "a" {
		t.Fatalf("the good token: %v, %v", got, err)
	}
	h, rest, _ := strings.Cut(good, ".")
	p, sig, _ := strings.Cut(rest, ".")
	deep := strings.Repeat(`{"a":`, 8) + "1" + strings.Repeat("}", 8)
	for name, tt := range map[string]struct {
		token string
		want  error
	}{
		"empty":                      {"", jose.ErrMalformed},
		"one part":                   {h, jose.ErrMalformed},
		"two parts":                  {h + "." + p, jose.ErrMalformed},
		"four parts":                 {good + ".x", jose.ErrMalformed},
		"five parts, as JWE":         {good + ".x.x", jose.ErrMalformed},
		"leading dot":                {"." + good, jose.ErrMalformed},
		"dots":                       {strings.Repeat(".", 8<<20), jose.ErrMalformed},
		"too long":                   {h + "." + strings.Repeat("A", jose.MaxToken) + "." + sig, jose.ErrMalformed},
		"BOM":                        {"\ufeff" + good, jose.ErrMalformed},
		"padding":                    {good + "=", jose.ErrMalformed},
		"standard base64":            {h + "." + p + ".+/+/", jose.ErrMalformed},
		"line break":                 {h + "." + p + "\n." + sig, jose.ErrMalformed},
		"carriage return":            {h + "." + p + ".\r" + sig, jose.ErrMalformed},
		"space":                      {good + " ", jose.ErrMalformed},
		"escaped dot":                {h + "%2E" + p + "." + sig, jose.ErrMalformed},
		"spare bits":                 {h + "." + p + "." + sig[:len(sig)-1] + "B", jose.ErrMalformed},
		"no signature":               {h + "." + p + ".", jose.ErrSignature},
		"cut signature":              {h + "." + p + "." + sig[:len(sig)-3], jose.ErrSignature},
		"longer signature":           {h + "." + p + ".AAAA" + sig, jose.ErrSignature},
		"another's signature":        {h + "." + p + "." + hs256(head, `{"sub":"b"}`)[len(good)-len(sig):], jose.ErrSignature},
		"alg twice":                  {hs256(`{"alg":"HS256","alg":"none"}`, claims), jose.ErrMalformed},
		"ALG alone":                  {hs256(`{"ALG":"HS256"}`, claims), jose.ErrAlgorithm},
		"header in an array":         {hs256(`[{"alg":"HS256"}]`, claims), jose.ErrMalformed},
		"header and more":            {hs256(head+`{}`, claims), jose.ErrMalformed},
		"header not UTF-8":           {hs256("{\"alg\":\"HS256\",\"x\":\"\xff\"}", claims), jose.ErrMalformed},
		"crit":                       {hs256(`{"alg":"HS256","crit":["b64"],"b64":false}`, claims), jose.ErrMalformed},
		"crit, empty":                {hs256(`{"alg":"HS256","crit":[]}`, claims), jose.ErrMalformed},
		"b64":                        {hs256(`{"alg":"HS256","b64":true}`, claims), jose.ErrMalformed},
		"zip":                        {hs256(`{"alg":"HS256","zip":"DEF"}`, claims), jose.ErrMalformed},
		"nested":                     {hs256(`{"alg":"HS256","cty":"jwt"}`, claims), jose.ErrMalformed},
		"kid is a number":            {hs256(`{"alg":"HS256","kid":1}`, claims), jose.ErrMalformed},
		"kid is empty":               {hs256(`{"alg":"HS256","kid":""}`, claims), jose.ErrMalformed},
		"kid is long":                {hs256(`{"alg":"HS256","kid":"`+strings.Repeat("k", 257)+`"}`, claims), jose.ErrMalformed},
		"typ is null":                {hs256(`{"alg":"HS256","typ":null}`, claims), jose.ErrMalformed},
		"another known algorithm":    {hs256(`{"alg":"HS512"}`, claims), jose.ErrAlgorithm},
		"claims are a list":          {hs256(head, `["a"]`), jose.ErrMalformed},
		"claims behind a space":      {hs256(head, ` {"a":1}`), jose.ErrMalformed},
		"claims are empty":           {hs256(head, ``), jose.ErrMalformed},
		"a claim twice":              {hs256(head, `{"sub":"a","sub":"b"}`), jose.ErrMalformed},
		"a claim twice within":       {hs256(head, `{"a":{"b":1,"b":2}}`), jose.ErrMalformed},
		"claims of depth 9":          {hs256(head, `{"a":`+deep+`}`), jose.ErrMalformed},
		"JSON serialisation":         {`{"protected":"` + h + `","payload":"` + p + `","signature":"` + sig + `"}`, jose.ErrMalformed},
		"alg none, and no signature": {b64(`{"alg":"none"}`) + "." + p + ".", jose.ErrAlgorithm},
	} {
		if _, err := claimsOf(t, keys, tt.token, "HS256"); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	for _, alg := range []string{`"none"`, `"None"`, `"nOnE"`, `"NONE"`, `""`, `null`, `["HS256"]`, `"HS256 "`, `"hs256"`, `"ES256K"`, `256`} {
		if _, err := claimsOf(t, keys, hs256(`{"alg":`+alg+`}`, claims), "HS256", "none", "None", ""); err == nil {
			t.Errorf("alg %s is accepted", alg)
		}
	}
	if _, err := claimsOf(t, keys, hs256(head, deep), "HS256"); err != nil {
		t.Errorf("claims of depth 8: %v", err)
	}
}

// TestConfusion signs with what everybody knows of an asymmetric key.
func TestConfusion(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"k","x":%q,"y":%q}`, b64(string(point[1:33])), b64(string(point[33:])))
	set, skipped, err := jose.ParseSet([]byte(`{"keys":[` + jwk + `]}`))
	if err != nil || set.Len() != 1 || !set.Has("k") {
		t.Fatalf("%v, %v, %v", set, skipped, err)
	}
	signed := b64(`{"alg":"HS256","kid":"k"}`) + "." + b64(`{}`)
	for _, secret := range []string{jwk, string(point), "", string(point[1:33])} {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(signed))
		if _, err := claimsOf(t, set, signed+"."+b64(string(h.Sum(nil))), jose.Algorithms...); !errors.Is(err, jose.ErrNoKey) {
			t.Errorf("HS256 by the public key: %v", err)
		}
	}
	// A good one, and the same number written otherwise.
	signed = b64(`{"alg":"ES256","kid":"k"}`) + "." + b64(`{"sub":"a"}`)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	raw := func(r, s *big.Int) string {
		return string(r.FillBytes(make([]byte, 32))) + string(s.FillBytes(make([]byte, 32)))
	}
	if _, err := claimsOf(t, set, signed+"."+b64(raw(r, s)), "ES256"); err != nil {
		t.Errorf("the good signature: %v", err)
	}
	der, err := ec.Sign(rand.Reader, digest[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	zero := new(big.Int)
	for name, sig := range map[string]string{
		"DER": string(der), "zeros": raw(zero, zero), "n": raw(n, n), "r negated": raw(new(big.Int).Sub(n, r), s),
		"63 bytes": raw(r, s)[:63], "65 bytes": raw(r, s) + "\x00", "leading zero": "\x00" + raw(r, s),
	} {
		if _, err := claimsOf(t, set, signed+"."+b64(sig), "ES256"); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := claimsOf(t, set, signed+"."+b64(raw(r, s)), "RS256"); !errors.Is(err, jose.ErrAlgorithm) {
		t.Errorf("an algorithm that is not allowed: %v", err)
	}
	other := strings.Replace(jwk, `"k"`, `"other"`, 1)
	if set, _, err = jose.ParseSet([]byte(`{"keys":[` + other + `]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := claimsOf(t, set, signed+"."+b64(raw(r, s)), "ES256"); !errors.Is(err, jose.ErrNoKey) {
		t.Errorf("another kid: %v", err)
	}
}

// TestSets says which keys of a set are used, and what is no set at all.
func TestSets(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	n := b64(string(key.N.Bytes()))
	rsaKey := func(edit map[string]any) string {
		m := map[string]any{"kty": "RSA", "n": n, "e": "AQAB", "kid": "r"}
		maps.Copy(m, edit)
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
		raw, _ := json.Marshal(m)
		return string(raw)
	}
	edit := func(name string, value any) string { return rsaKey(map[string]any{name: value}) }
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	for name, tt := range map[string]struct {
		keys []string
		used int
	}{
		"rsa":                       {[]string{rsaKey(nil)}, 1},
		"without a kid":             {[]string{edit("kid", nil)}, 1},
		"two without a kid":         {[]string{edit("kid", nil), edit("kid", nil)}, 2},
		"two kids":                  {[]string{rsaKey(nil), edit("kid", "s")}, 2},
		"one kid twice":             {[]string{rsaKey(nil), edit("alg", "RS512")}, 0},
		"beside one for encrypting": {[]string{rsaKey(nil), edit("use", "enc")}, 1},
		"for signatures":            {[]string{edit("use", "sig")}, 1},
		"use is a list":             {[]string{edit("use", []string{"sig"})}, 0},
		"to verify":                 {[]string{edit("key_ops", []string{"verify"})}, 1},
		"to encrypt":                {[]string{edit("key_ops", []string{"encrypt"})}, 0},
		"key_ops is a text":         {[]string{edit("key_ops", "verify")}, 0},
		"an algorithm":              {[]string{edit("alg", "PS256")}, 1},
		"another type's algorithm":  {[]string{edit("alg", "ES256")}, 0},
		"exponent 1":                {[]string{edit("e", "AQ")}, 0},
		"exponent 2":                {[]string{edit("e", "Ag")}, 0},
		"even modulus":              {[]string{edit("n", b64(string(new(big.Int).Lsh(key.N, 1).Bytes())))}, 0},
		"1024 bits":                 {[]string{edit("n", b64(string(new(big.Int).SetBit(new(big.Int).Rsh(key.N, 1024), 0, 1).Bytes())))}, 0},
		"16384 bits":                {[]string{edit("n", b64(strings.Repeat("\xff", 2048)))}, 0},
		"kid is a number":           {[]string{edit("kid", 1)}, 0},
		"kid is long":               {[]string{edit("kid", strings.Repeat("k", 257))}, 0},
		"secret":                    {[]string{`{"kty":"oct","k":"` + b64(string(secret)) + `"}`}, 0},
		"none of ours":              {[]string{`{"kty":"OKP","crv":"X25519","x":"` + b64(string(public)) + `"}`, `{"kty":"EC","crv":"secp256k1"}`, `{}`, `1`, `null`}, 0},
		"ed25519":                   {[]string{`{"kty":"OKP","crv":"Ed25519","x":"` + b64(string(public)) + `"}`}, 1},
		"ed25519, short":            {[]string{`{"kty":"OKP","crv":"Ed25519","x":"` + b64(string(public[1:])) + `"}`}, 0},
		"off the curve":             {[]string{`{"kty":"EC","crv":"P-256","x":"` + b64(strings.Repeat("\x01", 32)) + `","y":"` + b64(strings.Repeat("\x01", 32)) + `"}`}, 0},
		"point at infinity":         {[]string{`{"kty":"EC","crv":"P-256","x":"` + b64(strings.Repeat("\x00", 32)) + `","y":"` + b64(strings.Repeat("\x00", 32)) + `"}`}, 0},
	} {
		set, skipped, err := jose.ParseSet([]byte(`{"keys":[` + strings.Join(tt.keys, ",") + `]}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if set.Len() != tt.used || len(skipped) != len(tt.keys)-tt.used {
			t.Errorf("%s: %d used, %v skipped", name, set.Len(), skipped)
		}
	}
	many := slices.Repeat([]string{`{}`}, jose.MaxKeys+1)
	for name, doc := range map[string]string{
		"empty": "", "HTML": "<html>", "a list": "[]", "no keys": "{}", "keys is an object": `{"keys":{}}`, "keys twice": `{"keys":[],"keys":[]}`,
		"too many": `{"keys":[` + strings.Join(many, ",") + `]}`, "too long": `{"keys":[],"x":"` + strings.Repeat("x", jose.MaxSet) + `"}`,
		"cut": `{"keys":[`, "two": `{"keys":[]}{}`,
	} {
		if _, _, err := jose.ParseSet([]byte(doc)); err == nil {
			t.Errorf("%s is taken for a key set", name)
		}
	}
	for size, want := range map[int]string{31: "", 32: "HS256", 47: "HS256", 48: "HS256 HS384", 64: "HS256 HS384 HS512"} {
		set, err := jose.Secret(secret[:size])
		if (err != nil) != (want == "") {
			t.Errorf("a secret of %d bytes: %v", size, err)
		}
		_ = set
	}
}

// FuzzToken takes any token with any key set: nothing panics, and what is accepted is still so when it is read again.
func FuzzToken(f *testing.F) {
	keys, err := jose.Secret(secret)
	if err != nil {
		f.Fatal(err)
	}
	good := hs256(`{"alg":"HS256","typ":"JWT"}`, `{"sub":"a","n":[1,2.5,{"x":null}]}`)
	f.Add(good, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Add(good+"=", `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`)
	f.Add(b64(`{"alg":"none"}`)+"..", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}, 1]}`)
	f.Fuzz(func(t *testing.T, token, set string) {
		if published, _, err := jose.ParseSet([]byte(set)); err == nil && published.Len() > jose.MaxKeys {
			t.Errorf("%d keys", published.Len())
		}
		parsed, err := jose.Parse(token)
		if err != nil {
			if !errors.Is(err, jose.ErrMalformed) && !errors.Is(err, jose.ErrAlgorithm) {
				t.Errorf("an error of its own kind: %v", err)
			}
			return
		}
		if _, err := parsed.Claims(keys, jose.Algorithms); err == nil && parsed.Algorithm[:2] != "HS" {
			t.Errorf("%s is verified by a secret", parsed.Algorithm)
		}
	})
}
