package jwt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

const issuerName = "https://identity.suuupra.local"

// world is a policy of the guide, with an issuer behind it.
type world struct {
	*policytest.World
	signer *jose.Signer
	keys   *keys
}

// keys stands in for the fetchers: what they do is tested where they are.
type keys struct {
	set   atomic.Pointer[jose.Set]
	asked atomic.Int64
	err   error
}

func (k *keys) Hold(policy.KeySource) (policy.KeySet, error) { return k, nil }
func (k *keys) Current() *jose.Set                           { return k.set.Load() }
func (k *keys) Close() error                                 { return nil }

func (k *keys) Keys(context.Context, string) (*jose.Set, error) {
	k.asked.Add(1)
	if k.err != nil {
		return nil, k.err
	}
	return k.set.Load(), nil
}

func setOf(t testing.TB, signers ...*jose.Signer) *jose.Set {
	t.Helper()
	text, err := jose.EncodeSet(signers...)
	if err != nil {
		t.Fatal(err)
	}
	set, skipped, err := jose.ParseSet(text)
	if err != nil || len(skipped) > 0 {
		t.Fatal(err, skipped)
	}
	return set
}

func signer(t testing.TB, algorithm, id string) *jose.Signer {
	t.Helper()
	s, err := jose.NewSigner(algorithm, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: policytest.NewWorld(), signer: signer(t, "ES256", "k1"), keys: &keys{}}
	w.keys.set.Store(setOf(t, w.signer))
	w.KeySets = w.keys
	return w
}

// claims are those of a token that is good for the policy of the guide; changes with nil take one out.
func (w *world) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": issuerName, "aud": "suuupra-api", "sub": "ann", "iat": w.Clock.Unix(), "exp": w.Clock.Add(time.Hour).Unix(),
		"roles": []string{"user"}, "scope": "user.read user.write",
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (w *world) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	text, err := w.signer.Sign(nil, w.claims(changes))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const guide = `auth: { jwt: { issuer: "` + issuerName + `", audience: suuupra-api, jwksUri: "` + issuerName + `/.well-known/jwks.json",
  requiredRoles: [user], requiredScopes: [user.read], clockSkewSeconds: 60 } }`

// policyOf builds the policy in text.
func (w *world) policyOf(t testing.TB, text string) policy.Handler {
	t.Helper()
	return w.Build(t, Kind, policytest.MustCompile(t, Kind, policytest.Route{Policy: text}))
}

// ask sends a token the usual way.
func (w *world) ask(t testing.TB, h policy.Handler, token string) (string, *policy.Exchange) {
	t.Helper()
	x := w.Exchange("GET", "/api/users/1", "Authorization: Bearer "+token)
	return policytest.Said(h.Decide(t.Context(), x)), x
}

// memory is state enough for replays.
type memory struct {
	policy.State
	seen map[string]time.Duration
	err  error
}

func (m *memory) First(_ context.Context, name string, ttl time.Duration) (bool, error) {
	if m.err != nil {
		return false, m.err
	}
	if _, there := m.seen[name]; there {
		return false, nil
	}
	if m.seen == nil {
		m.seen = map[string]time.Duration{}
	}
	m.seen[name] = ttl
	return true, nil
}

var errAway = fmt.Errorf("%w: connection refused", errors.Join(policy.ErrStateAway))
