package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math/big"
	"strings"
)

// Signer makes tokens with one key. It is what tests and offline runs stand in for an issuer with.
type Signer struct {
	Algorithm string
	KeyID     string
	key       crypto.Signer // nil: secret
	secret    []byte
}

// NewSigner generates a key for an algorithm other than those of secrets.
func NewSigner(algorithm, id string) (*Signer, error) {
	s := &Signer{Algorithm: algorithm, KeyID: id}
	var err error
	switch algorithm {
	case "ES256":
		s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		s.key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		s.key, err = rsa.GenerateKey(rand.Reader, minRSABits)
	case "EdDSA":
		_, s.key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("no key is made for algorithm %q", algorithm)
	}
	return s, err
}

// SecretSigner signs with a secret: HS256, HS384 or HS512.
func SecretSigner(algorithm string, secret []byte) *Signer {
	return &Signer{Algorithm: algorithm, secret: secret}
}

// Public is the key for verifying, as a JSON Web Key (RFC 7517).
func (s *Signer) Public() (map[string]any, error) {
	jwk := map[string]any{"use": "sig", "alg": s.Algorithm, "kid": s.KeyID}
	switch k := s.key.(type) {
	case *ecdsa.PrivateKey:
		point, err := k.PublicKey.Bytes() // 0x04, X, Y
		if err != nil {
			return nil, err
		}
		half := (len(point) - 1) / 2
		jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", k.Curve.Params().Name, text64(point[1:1+half]), text64(point[1+half:])
	case *rsa.PrivateKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", text64(k.N.Bytes()), text64(big.NewInt(int64(k.E)).Bytes())
	case ed25519.PrivateKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", text64(k.Public().(ed25519.PublicKey))
	default:
		return nil, errors.New("a secret has no public key")
	}
	return jwk, nil
}

func text64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Sign makes a token. header adds to alg, kid and typ, or replaces them; nil takes a member out.
func (s *Signer) Sign(header, claims map[string]any) (string, error) {
	h := map[string]any{"alg": s.Algorithm, "typ": "JWT"}
	if s.KeyID != "" {
		h["kid"] = s.KeyID
	}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("encode header: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	return s.SignRaw(head, payload)
}

// SignRaw makes a token of a header and a payload as they are.
func (s *Signer) SignRaw(head, payload []byte) (string, error) {
	signed := text64(head) + "." + text64(payload)
	signature, err := s.signature([]byte(signed))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return signed + "." + text64(signature), nil
}

func (s *Signer) signature(signed []byte) ([]byte, error) {
	sum, name := crypto.SHA256, sha256.New
	switch {
	case strings.HasSuffix(s.Algorithm, "384"):
		sum, name = crypto.SHA384, sha512.New384
	case strings.HasSuffix(s.Algorithm, "512"):
		sum, name = crypto.SHA512, sha512.New
	}
	digest := hashed(name, signed)
	switch k := s.key.(type) {
	case *ecdsa.PrivateKey:
		r, v, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			return nil, err
		}
		size := (k.Curve.Params().BitSize + 7) / 8 // RFC 7518 section 3.4
		return append(r.FillBytes(make([]byte, size)), v.FillBytes(make([]byte, size))...), nil
	case *rsa.PrivateKey:
		if strings.HasPrefix(s.Algorithm, "PS") {
			return rsa.SignPSS(rand.Reader, k, sum, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, k, sum, digest)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, signed), nil
	}
	mac := hmac.New(name, s.secret)
	mac.Write(signed)
	return mac.Sum(nil), nil
}

func hashed(name func() hash.Hash, p []byte) []byte {
	h := name()
	h.Write(p)
	return h.Sum(nil)
}

// EncodeSet writes the public keys of signers as a JSON Web Key Set.
func EncodeSet(signers ...*Signer) ([]byte, error) {
	keys := make([]map[string]any, 0, len(signers))
	for _, s := range signers {
		k, err := s.Public()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return json.Marshal(map[string]any{"keys": keys})
}
