package contextinjection

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/suuupra/gateway/runtime/policy"
)

// keeper has the key that is in force, read anew when its secret changes. A key that cannot be used is no reason to go on with the one
// before it: who replaces a key may have had to.
type keeper struct {
	secret policy.Secret
	id     string // of the key, for the header
	log    *slog.Logger

	mu      sync.Mutex // held while a version is looked at for the first time
	current atomic.Pointer[version]
}

// version is what became of one version of the secret.
type version struct {
	number  uint64
	missing bool // there was no value
	signer  *signer
	err     error
}

// signer returns the key in force, or why there is none. That is logged once for each version of the secret.
func (k *keeper) signer() (*signer, error) {
	value, number, err := k.secret.Value()
	if v := k.current.Load(); v.is(number, err) {
		return v.signer, v.err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.current.Load()
	if v.is(number, err) {
		return v.signer, v.err
	}
	v = &version{number: number, missing: err != nil, err: err}
	if err == nil {
		v.signer, v.err = newSigner(value, k.id)
	}
	if v.err != nil {
		k.log.Error("the key of the identity token cannot be used; known callers are answered 503", slog.Any("error", v.err))
	}
	k.current.Store(v)
	return v.signer, v.err
}

// is reports whether v is what became of a version. A secret that is not there yet has a number too.
func (v *version) is(number uint64, err error) bool {
	return v != nil && v.number == number && v.missing == (err != nil)
}

// signer makes tokens with one key.
type signer struct {
	head string // the token's header, encoded, with the dot after it
	sign func(dst, message []byte) ([]byte, error)
}

// errDER is said of a key that would otherwise become a secret in silence, of which upstreams know nothing.
var errDER = errors.New("the key is in DER; write it in PEM: openssl pkcs8 -topk8 -nocrypt -inform DER")

// minSecret is the length of the shortest secret for HS256, in bytes (RFC 7518 section 3.2).
const minSecret = 32

// newSigner takes a private key in PEM for ES256, and anything else as a secret for HS256. What looks like PEM is never taken as a
// secret: a public key, put there by mistake, is one that everybody knows (RFC 8725 section 2.1).
func newSigner(key []byte, id string) (*signer, error) {
	if !bytes.Contains(key, []byte("-----BEGIN ")) {
		if _, err := x509.ParsePKCS8PrivateKey(key); err == nil {
			return nil, errDER
		}
		if _, err := x509.ParseECPrivateKey(key); err == nil {
			return nil, errDER
		}
		if len(key) < minSecret {
			return nil, fmt.Errorf("the key has %d bytes, HS256 needs %d", len(key), minSecret)
		}
		return withHeader("HS256", id, hs256(bytes.Clone(key)))
	}
	private, err := parsePEM(key)
	if err != nil {
		return nil, err
	}
	return withHeader("ES256", id, es256(private))
}

func withHeader(algorithm, id string, sign func(dst, message []byte) ([]byte, error)) (*signer, error) {
	head, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{algorithm, tokenType, id})
	if err != nil {
		return nil, err
	}
	return &signer{head: base64.RawURLEncoding.EncodeToString(head) + ".", sign: sign}, nil
}

// parsePEM finds the private key among the blocks (openssl puts the parameters of the curve before it).
func parsePEM(data []byte) (*ecdsa.PrivateKey, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch {
		case block.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case block.Type == "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("the key is a %q, ES256 needs a plain private key of P-256", block.Type)
		default:
			continue
		}
		if err != nil {
			return nil, errors.New("the private key cannot be read")
		}
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok || private.Curve != elliptic.P256() {
			return nil, errors.New("the private key is none of P-256, which ES256 needs")
		}
		return private, nil
	}
	return nil, errors.New("there is no private key in the PEM text")
}

// token makes the compact form (RFC 7515 section 7.1).
func (s *signer) token(payload []byte) (string, error) {
	encoding := base64.RawURLEncoding
	const longest = sha256.Size * 2 // of the signatures
	out := make([]byte, 0, len(s.head)+encoding.EncodedLen(len(payload))+len(".")+encoding.EncodedLen(longest))
	out = encoding.AppendEncode(append(out, s.head...), payload)
	var room [longest]byte
	signature, err := s.sign(room[:0], out)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return string(encoding.AppendEncode(append(out, '.'), signature)), nil
}

// hs256 signs with HS256 (RFC 7518 section 3.2).
func hs256(key []byte) func(dst, message []byte) ([]byte, error) {
	pool := sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	return func(dst, message []byte) ([]byte, error) {
		mac := pool.Get().(hash.Hash)
		defer pool.Put(mac)
		mac.Reset()
		mac.Write(message)
		return mac.Sum(dst), nil
	}
}

// es256 signs with ES256: both numbers in all their 32 bytes, one after the other (RFC 7518 section 3.4).
func es256(key *ecdsa.PrivateKey) func(dst, message []byte) ([]byte, error) {
	return func(dst, message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			return nil, err
		}
		const size = 32
		var both [2 * size]byte
		r.FillBytes(both[:size])
		s.FillBytes(both[size:])
		return append(dst, both[:]...), nil
	}
}
