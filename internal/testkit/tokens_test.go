package testkit_test

import (
	"testing"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit"
)

func TestTokens(t *testing.T) {
	ours, err := testkit.NewTokens("ES256")
	if err != nil {
		t.Fatal(err)
	}
	others, err := testkit.NewTokens("ES256")
	if err != nil {
		t.Fatal(err)
	}
	text, err := ours.Sign(map[string]any{"sub": "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		keys []byte
		good bool
	}{"its own keys": {ours.KeySet(), true}, "those of others": {others.KeySet(), false}} {
		set, skipped, err := jose.ParseSet(test.keys)
		if err != nil || len(skipped) > 0 {
			t.Fatalf("%s: %v, skipped %v", name, err, skipped)
		}
		token, err := jose.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := token.Claims(set, []string{"ES256"})
		if good := err == nil && claims["sub"] == "ann"; good != test.good {
			t.Errorf("%s: claims %v, %v", name, claims, err)
		}
	}
	if _, err := testkit.NewTokens("HS256"); err == nil || err.Error() != `make key for tokens: no key is made for algorithm "HS256"` {
		t.Errorf("a secret has no key set: %v", err)
	}
}
