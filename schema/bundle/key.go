package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Algorithm names a signature scheme as trust.json spells it.
type Algorithm string

// The algorithms. ES256 is for key services that have no Ed25519; its signatures are r and s, 32 bytes each, big-endian,
// with s in the lower half of the order, so that nobody can turn one valid signature into another.
const (
	Ed25519 Algorithm = "Ed25519"
	ES256   Algorithm = "ES256"
)

// signatureSize is the length of a signature in bytes, in either algorithm.
const signatureSize = 64

// maxKeyFile bounds a private key file.
const maxKeyFile = 16 << 10

// PublicKey is a verification key.
type PublicKey struct {
	id  string
	alg Algorithm
	key crypto.PublicKey // ed25519.PublicKey or *ecdsa.PublicKey on P-256
}

// NewPublicKey accepts an ed25519.PublicKey or an *ecdsa.PublicKey on P-256.
func NewPublicKey(key crypto.PublicKey) (PublicKey, error) {
	var jwk string // the required members of RFC 7638, in their order
	var alg Algorithm
	b64 := base64.RawURLEncoding
	switch k := key.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return PublicKey{}, errors.New("public key: wrong length for Ed25519")
		}
		alg, jwk = Ed25519, `{"crv":"Ed25519","kty":"OKP","x":"`+b64.EncodeToString(k)+`"}`
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return PublicKey{}, errors.New("public key: only the curve P-256 is accepted for ECDSA")
		}
		point, err := k.Bytes() // 0x04, x, y; fails for a point that is not on the curve
		if err != nil {
			return PublicKey{}, fmt.Errorf("public key: %w", err)
		}
		alg = ES256
		jwk = `{"crv":"P-256","kty":"EC","x":"` + b64.EncodeToString(point[1:33]) + `","y":"` + b64.EncodeToString(point[33:]) + `"}`
	default:
		return PublicKey{}, fmt.Errorf("public key: %T is neither Ed25519 nor ECDSA on P-256", key)
	}
	sum := sha256.Sum256([]byte(jwk))
	return PublicKey{id: b64.EncodeToString(sum[:]), alg: alg, key: key}, nil
}

// ParsePublicKey reads the base64 of a SubjectPublicKeyInfo, as trust.json holds it.
func ParsePublicKey(spki string) (PublicKey, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(spki)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	return NewPublicKey(key)
}

// ID returns the key id: the RFC 7638 thumbprint (SHA-256, base64url) of the key.
func (p PublicKey) ID() string { return p.id }

// Algorithm returns the scheme the key is for. A key is never used with another one.
func (p PublicKey) Algorithm() Algorithm { return p.alg }

// SPKI returns the base64 of the key's SubjectPublicKeyInfo.
func (p PublicKey) SPKI() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(p.key)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// Verify reports whether sig is this key's signature over message.
func (p PublicKey) Verify(message, sig []byte) bool {
	if len(sig) != signatureSize {
		return false
	}
	switch k := p.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, sig)
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		sum := sha256.Sum256(message)
		return s.Cmp(halfOrder()) <= 0 && ecdsa.Verify(k, sum[:], r, s)
	}
	return false
}

func halfOrder() *big.Int { return new(big.Int).Rsh(elliptic.P256().Params().N, 1) }

// Signer signs envelopes. PrivateKey is one; a key service is another.
type Signer interface {
	Public() PublicKey
	// Sign returns the 64 bytes of the signature over message (not over a digest of it).
	Sign(message []byte) ([]byte, error)
}

// PrivateKey is a signing key held in memory. It prints as its id, never as itself.
type PrivateKey struct {
	public PublicKey
	key    crypto.Signer
}

// GenerateKey makes a new key.
func GenerateKey(alg Algorithm) (*PrivateKey, error) {
	switch alg {
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate key: %w", err)
		}
		return newPrivateKey(key)
	case ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate key: %w", err)
		}
		return newPrivateKey(key)
	}
	return nil, fmt.Errorf("generate key: algorithm %q is neither %s nor %s", alg, Ed25519, ES256)
}

func newPrivateKey(key crypto.Signer) (*PrivateKey, error) {
	public, err := NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &PrivateKey{public: public, key: key}, nil
}

// ParsePrivateKey reads a key file: exactly one PEM block "PRIVATE KEY" (PKCS#8).
func ParsePrivateKey(file []byte) (*PrivateKey, error) {
	if len(file) > maxKeyFile {
		return nil, fmt.Errorf("private key: larger than %d bytes", maxKeyFile)
	}
	block, rest := pem.Decode(file)
	switch {
	case block == nil:
		return nil, errors.New("private key: no PEM block found; gwctl keygen writes one")
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("private key: encrypted keys are not read; decrypt it first, e.g. with openssl pkcs8")
	case block.Type != "PRIVATE KEY":
		return nil, fmt.Errorf("private key: PEM block is %q, must be \"PRIVATE KEY\" (PKCS#8)", block.Type)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("private key: the file holds more than one PEM block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("private key: the PEM block is not a PKCS#8 key") // the cause could quote the key
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key: %T cannot sign", key)
	}
	return newPrivateKey(signer)
}

// PEM encodes the key as a file, for a mode of 0600.
func (k *PrivateKey) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Public returns the verification key.
func (k *PrivateKey) Public() PublicKey { return k.public }

// String returns the key id.
func (k *PrivateKey) String() string { return "private key " + k.public.id }

// GoString is String, so that %#v does not print the key.
func (k *PrivateKey) GoString() string { return k.String() }

// Sign signs message. Both algorithms are deterministic here, so that signing the same bundle twice gives the same file.
func (k *PrivateKey) Sign(message []byte) ([]byte, error) {
	switch key := k.key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, message), nil
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(message)
		der, err := key.Sign(nil, sum[:], crypto.SHA256) // a nil source asks for RFC 6979
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		return RawES256(der)
	}
	return nil, fmt.Errorf("sign: %T is not a key for signatures", k.key)
}
