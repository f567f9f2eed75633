package hostile_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
)

// keyServer is where issuers publish their keys. It counts who asks.
type keyServer struct {
	URL string

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   map[string]int
}

func newKeyServer(t *testing.T) *keyServer {
	t.Helper()
	k := &keyServer{answers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.asked[r.URL.Path]++
		answer := k.answers[r.URL.Path]
		k.mu.Unlock()
		if answer == nil {
			http.NotFound(w, r)
			return
		}
		answer(w, r)
	}))
	k.URL = s.URL
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return k
}

// set has a path answered by f from now on.
func (k *keyServer) set(path string, f http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers[path] = f
}

// publish has a path answered with a text.
func (k *keyServer) publish(path, text string) {
	k.set(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
}

// count is how often a path was asked for.
func (k *keyServer) count(path string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked[path]
}

const (
	issuer   = "https://identity.example"
	other    = "https://other.example"
	audience = "suuupra-api"
)

// mint makes tokens: those of the issuer, and those that others would like to be taken for them.
type mint struct {
	es, es384, rs, ps, ed *jose.Signer // keys of the issuer
	second                *jose.Signer // a key of another issuer that is trusted too
	thief                 *jose.Signer // a key of somebody's
	hs                    *jose.Signer // the secret that is shared with a third issuer
	secret                string

	pss *rsa.PrivateKey // kid "pss", without an algorithm
	odd map[string]weak // keys that no issuer should have, by their kid
}

// weak is an RSA key that can be computed, and a token that was signed with it.
type weak struct {
	n, e, d *big.Int
	token   func() string
}

func newMint(t *testing.T) *mint {
	t.Helper()
	signer := func(algorithm, id string) *jose.Signer {
		s, err := jose.NewSigner(algorithm, id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	m := &mint{
		es: signer("ES256", "es"), es384: signer("ES384", "es384"), rs: signer("RS256", "rs"), ps: signer("PS256", "ps"), ed: signer("EdDSA", "ed"),
		second: signer("ES256", "second"), thief: signer("ES256", "es"), secret: rand.Text() + rand.Text(),
	}
	m.hs = jose.SecretSigner("HS256", []byte(m.secret))
	var err error
	if m.pss, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	// Mersenne primes spare the search for large ones.
	mersenne := func(bits uint) *big.Int {
		return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(1))
	}
	m.odd = map[string]weak{}
	for _, k := range []struct {
		id   string
		p, q *big.Int
		e    int64
	}{
		{"512 bits", mersenne(127), prime(t, 385), 65537},
		{"8676 bits", mersenne(4253), mersenne(4423), 65537},
		{"even", big.NewInt(2), mersenne(2203), 65537},
		{"exponent 1", mersenne(1279), prime(t, 1024), 1},
	} {
		m.odd[k.id] = newWeak(k.id, k.p, k.q, k.e)
	}
	return m
}

func prime(t *testing.T, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newWeak makes a key of two primes that signs as RS256 does (RFC 8017 section 8.2).
func newWeak(id string, p, q *big.Int, e int64) weak {
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	k := weak{n: new(big.Int).Mul(p, q), e: big.NewInt(e)}
	k.d = new(big.Int).ModInverse(k.e, phi)
	k.token = sync.OnceValue(func() string {
		signed := b64([]byte(object(map[string]any{"alg": "RS256", "kid": id}))) + "." + b64([]byte(object(claims(nil))))
		sum := sha256.Sum256([]byte(signed))
		size := (k.n.BitLen() + 7) / 8
		digest := "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20" + string(sum[:])
		em := new(big.Int).SetBytes([]byte("\x00\x01" + strings.Repeat("\xff", size-3-len(digest)) + "\x00" + digest))
		return signed + "." + b64(em.Exp(em, k.d, k.n).FillBytes(make([]byte, size)))
	})
	return k
}

func b64(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }

func unb64(s string) []byte {
	p, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return p
}

// keys is the issuer's key set, with keys in it that must never verify anything.
func (m *mint) keys(t *testing.T) string {
	t.Helper()
	var keys []map[string]any
	public := func(s *jose.Signer, change map[string]any) {
		k, err := s.Public()
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(k, change)
		keys = append(keys, k)
	}
	for _, s := range []*jose.Signer{m.es, m.es384, m.rs, m.ps, m.ed} {
		public(s, nil)
	}
	public(m.thief, map[string]any{"kid": "for encryption", "use": "enc"})
	public(m.thief, map[string]any{"kid": "for encrypting", "use": "sig", "key_ops": []string{"encrypt"}})
	public(m.thief, map[string]any{"kid": "twin"})
	public(m.rs, map[string]any{"kid": "twin"})
	public(m.thief, map[string]any{"kid": "off the curve", "y": b64(make([]byte, 32))})
	public(m.thief, map[string]any{"kid": "infinity", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})
	public(m.es384, map[string]any{"kid": "mislabelled", "alg": "ES256"})
	keys = append(
		keys, map[string]any{"kty": "oct", "kid": "oct", "k": b64([]byte(m.secret))},
		map[string]any{"kty": "RSA", "kid": "pss", "use": "sig", "n": b64(m.pss.N.Bytes()), "e": "AQAB"},
		map[string]any{"kty": "OKP", "kid": "x25519", "crv": "X25519", "x": b64(make([]byte, 32))},
	)
	for id, k := range m.odd {
		keys = append(keys, map[string]any{"kty": "RSA", "kid": id, "n": b64(k.n.Bytes()), "e": b64(k.e.Bytes())})
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// claims are those of a good token, with changes; nil takes one out.
func claims(change map[string]any) map[string]any {
	c := map[string]any{
		"a":   rand.Text(), // each begins with something of its own
		"iss": issuer, "aud": audience, "sub": "ann", "exp": time.Now().Unix() + 300, "iat": time.Now().Unix(), "jti": rand.Text(),
		"roles": []string{"user"}, "scope": "user.read user.write", "perms": []string{"orders.write"}, "tenant": "blue",
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// by signs with a key.
func by(s *jose.Signer, head, change map[string]any) string {
	token, err := s.Sign(head, claims(change))
	if err != nil {
		panic(err)
	}
	return token
}

// good is a token that there is nothing wrong with.
func (m *mint) good() string { return by(m.es, nil, nil) }

// object is JSON.
func object(v map[string]any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// raw signs a header and a payload as they are.
func raw256(s *jose.Signer, head, payload string) string {
	token, err := s.SignRaw([]byte(head), []byte(payload))
	if err != nil {
		panic(err)
	}
	return token
}

// parts takes a token apart.
func parts(token string) (signed string, signature []byte) {
	at := strings.LastIndexByte(token, '.')
	return token[:at], unb64(token[at+1:])
}

// resigned is a good token with another signature.
func (m *mint) resigned(change func(signature []byte) []byte) string {
	signed, signature := parts(m.good())
	return signed + "." + b64(change(signature))
}

// number has one of the two numbers of an ES256 signature say something else.
func (m *mint) number(which int, change func(*big.Int) *big.Int) string {
	return m.resigned(func(sig []byte) []byte {
		half := sig[32*which : 32*which+32]
		change(new(big.Int).SetBytes(half)).FillBytes(half)
		return sig
	})
}

// otherS is the signature that is as good as one (FIPS 186-5): s and n - s both fit.
func otherS(sig []byte) []byte {
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(order, s).FillBytes(sig[32:])
	return sig
}

var order = elliptic.P256().Params().N

// der is the signature in the form of X.509.
func der(sig []byte) []byte {
	out, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
	if err != nil {
		panic(err)
	}
	return out
}

// salted is a token for PS256 whose salt is not as long as the hash.
func (m *mint) salted(length int) string {
	head := b64([]byte(`{"alg":"PS256","kid":"pss"}`)) + "." + b64([]byte(object(claims(nil))))
	sum := sha256.Sum256([]byte(head))
	sig, err := rsa.SignPSS(rand.Reader, m.pss, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: length})
	if err != nil {
		panic(err)
	}
	return head + "." + b64(sig)
}

// confused is a token whose HMAC was made with the text of a public key, which everybody has.
func (m *mint) confused(s *jose.Signer, encode func(jwk map[string]any) []byte, change map[string]any) string {
	jwk, err := s.Public()
	if err != nil {
		panic(err)
	}
	return by(jose.SecretSigner("HS256", encode(jwk)), map[string]any{"kid": s.KeyID}, change)
}

// publicPEM is a public key as files hold it.
func publicPEM(jwk map[string]any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(jwk)})
}

func publicDER(jwk map[string]any) []byte {
	if jwk["kty"] == "RSA" {
		return pkix(&rsa.PublicKey{N: new(big.Int).SetBytes(unb64(jwk["n"].(string))), E: 65537})
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, unb64(jwk["x"].(string))...), unb64(jwk["y"].(string))...))
	if err != nil {
		panic(err)
	}
	return pkix(key)
}

func pkix(key any) []byte {
	out, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return out
}
