package jose_test

import (
	"testing"

	"github.com/suuupra/gateway/internal/jose"
)

// TestSignedTokensVerify signs and verifies with every algorithm.
func TestSignedTokensVerify(t *testing.T) {
	for _, algorithm := range jose.Algorithms {
		t.Run(algorithm, func(t *testing.T) {
			var s *jose.Signer
			var set *jose.Set
			var err error
			if algorithm[:2] == "HS" {
				secret := make([]byte, 64)
				s = jose.SecretSigner(algorithm, secret)
				set, err = jose.Secret(secret)
			} else {
				if s, err = jose.NewSigner(algorithm, "k1"); err != nil {
					t.Fatal(err)
				}
				var text []byte
				if text, err = jose.EncodeSet(s); err != nil {
					t.Fatal(err)
				}
				set, _, err = jose.ParseSet(text)
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := s.Sign(nil, map[string]any{"iss": "https://id.example.com", "sub": "ann"})
			if err != nil {
				t.Fatal(err)
			}
			token, err := jose.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := token.UnverifiedIssuer(); got != "https://id.example.com" || err != nil {
				t.Errorf("issuer %q, %v", got, err)
			}
			claims, err := token.Claims(set, []string{algorithm})
			if err != nil || claims["sub"] != "ann" {
				t.Errorf("claims %v, %v", claims, err)
			}
		})
	}
}
