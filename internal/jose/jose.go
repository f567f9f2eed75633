// Package jose verifies signed tokens in the compact form of RFC 7515 with keys of RFC 7517. It stands between the gateway and its
// JOSE library, and is stricter than that and than the specifications: what has two readings is refused, and so is what no issuer of
// access tokens needs. It never takes a key, an address of keys or an algorithm from a token, does no I/O, and judges no claim.
package jose

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxToken is the length of the longest token, in bytes.
const MaxToken = 8 << 10

// Why a token is refused. The errors of this package wrap one of these, and never quote a token or a key.
var (
	ErrMalformed = errors.New("the token is malformed")
	ErrAlgorithm = errors.New("the token's algorithm is not allowed")
	ErrNoKey     = errors.New("no key of the issuer fits the token")
	ErrSignature = errors.New("the token's signature is wrong")
)

// Token is a token whose form was checked and whose signature was not.
type Token struct {
	Algorithm string // as the header says it; one of Algorithms
	KeyID     string // empty if the header names none
	Type      string // typ, as written; empty if the header has none
	payload   []byte
	claims    map[string]any // the payload, once it was read
	signed    string         // what the signature is over
	signature []byte
}

// Parse checks the form of a token: three parts in strict base64url, a header that is one JSON object without repeated members, and
// nothing that asks for special treatment (crit, b64, zip, nested tokens).
func Parse(token string) (*Token, error) {
	if len(token) > MaxToken {
		return nil, malformed("it is longer than %d bytes", MaxToken)
	}
	if strings.Count(token, ".") != 2 {
		return nil, malformed("it does not have three parts")
	}
	last := strings.LastIndexByte(token, '.')
	head, payload, _ := strings.Cut(token[:last], ".")
	rawHead, err := decode(head)
	if err != nil {
		return nil, malformed("the header is not base64url")
	}
	h, err := Object(rawHead)
	if err != nil {
		return nil, malformed("the header: %s", err)
	}
	t := &Token{signed: token[:last]}
	if t.payload, err = decode(payload); err != nil {
		return nil, malformed("the payload is not base64url")
	}
	if t.signature, err = decode(token[last+1:]); err != nil {
		return nil, malformed("the signature is not base64url")
	}
	return t, t.read(h)
}

// read takes what is needed from the header.
func (t *Token) read(h map[string]any) error {
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, there := h[name]; there {
			return malformed("its header has %s", name)
		}
	}
	for _, m := range []struct {
		name string
		into *string
	}{{"alg", &t.Algorithm}, {"kid", &t.KeyID}, {"typ", &t.Type}} {
		v, there := h[m.name]
		if !there {
			continue
		}
		s, ok := v.(string)
		if !ok || s == "" || len(s) > maxName {
			return malformed("%s in its header is no short text", m.name)
		}
		*m.into = s
	}
	if v, there := h["cty"]; there {
		if s, ok := v.(string); !ok || strings.EqualFold(s, "JWT") {
			return malformed("it holds another token")
		}
	}
	if !slices.Contains(Algorithms, t.Algorithm) {
		return fmt.Errorf("%w: none that is known", ErrAlgorithm)
	}
	return nil
}

// UnverifiedIssuer is what the token says of its issuer: good for choosing whose keys to verify it with, and for nothing else. Whoever
// does so compares the iss of the verified claims again.
func (t *Token) UnverifiedIssuer() (string, error) {
	claims, err := t.decoded()
	if err != nil {
		return "", err
	}
	issuer, ok := claims["iss"].(string)
	if !ok {
		return "", malformed("its iss is no text")
	}
	return issuer, nil
}

// maxName bounds names in headers and keys, in bytes.
const maxName = 256

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// decode takes base64url in its one spelling: no padding, no line breaks, no spare bits (RFC 7515 section 2, RFC 4648 section 3.5).
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which the decoder skips
		return nil, errors.New("line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// Claims verifies the token with a key of the set and returns the claims: a JSON object without repeated members, its numbers as
// json.Number. allowed are the algorithms that the caller accepts.
func (t *Token) Claims(keys *Set, allowed []string) (map[string]any, error) {
	if !slices.Contains(allowed, t.Algorithm) {
		return nil, fmt.Errorf("%w: %s", ErrAlgorithm, t.Algorithm)
	}
	key := keys.find(t.KeyID, t.Algorithm)
	if key == nil {
		return nil, ErrNoKey
	}
	if !key.verifies(t.Algorithm, []byte(t.signed), t.signature) {
		return nil, ErrSignature
	}
	return t.decoded()
}

// decoded is the payload, read once. Nobody has verified it.
func (t *Token) decoded() (map[string]any, error) {
	if t.claims != nil {
		return t.claims, nil
	}
	if !bytes.HasPrefix(t.payload, []byte("{")) {
		return nil, malformed("its claims are no JSON object")
	}
	claims, err := Object(t.payload)
	if err != nil {
		return nil, malformed("the claims: %s", err)
	}
	t.claims = claims
	return claims, nil
}
