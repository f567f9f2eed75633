package testkit

import (
	"fmt"

	"github.com/suuupra/gateway/internal/jose"
)

// Tokens signs bearer tokens with a key of its own, for tests and benchmarks that need many of them. For how a real provider hands them
// out there is OIDC.
type Tokens struct {
	signer *jose.Signer
	keys   []byte
}

// NewTokens makes a key for an algorithm other than those of secrets, e.g. "ES256".
func NewTokens(algorithm string) (*Tokens, error) {
	signer, err := jose.NewSigner(algorithm, "first")
	if err != nil {
		return nil, fmt.Errorf("make key for tokens: %w", err)
	}
	keys, err := jose.EncodeSet(signer)
	if err != nil {
		return nil, fmt.Errorf("encode keys for tokens: %w", err)
	}
	return &Tokens{signer, keys}, nil
}

// KeySet is what verifies the tokens, as a JSON Web Key Set (RFC 7517).
func (t *Tokens) KeySet() []byte { return t.keys }

// Sign makes a token in compact form. It may be called by several goroutines at a time.
func (t *Tokens) Sign(claims map[string]any) (string, error) { return t.signer.Sign(nil, claims) }
