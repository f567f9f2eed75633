package apikeys

import (
	"log/slog"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	kind "github.com/suuupra/gateway/runtime/policy/apikey"
	"github.com/suuupra/gateway/runtime/state/redisstate"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// TestTwoGateways has one gateway hand a key out and revoke it, and another judge it, with a Redis between them.
func TestTwoGateways(t *testing.T) {
	const told = 2 * time.Second // how long a change may take to be known everywhere
	redis := testkit.Redis(t)
	gateway := func() *redisstate.Client {
		c, err := redisstate.Open(redis.URL, redisstate.Options{
			Log: slog.New(slog.DiscardHandler), Metrics: &policytest.Counts{}, Now: time.Now, Environment: "test", Budget: 5 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	here, there := gateway(), gateway()
	h := newHouse(t, func(o *Options) { o.Store, o.Now = here, time.Now })
	judge := judgeOf(t, there)

	r, first := h.create(t, Order{Owner: "a", Scopes: []string{"read"}})
	if got := judge(first); got != "pass" {
		t.Fatalf("the key: %s", got)
	}
	_, second := h.rotate(t, r.ID, time.Hour, false)
	start := time.Now()
	testkit.Eventually(t, "the new secret is good on the other gateway", func() bool { return judge(second) == "pass" })
	if got := judge(first); got != "pass" {
		t.Errorf("the old secret: %s", got)
	}
	if _, err := h.Finish(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the old secret has ended on the other gateway", func() bool { return judge(first) == "401 key_invalid" })
	if _, err := h.Revoke(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the key is revoked on the other gateway", func() bool { return judge(second) == "401 key_revoked" })
	if took := time.Since(start); took > 3*told {
		t.Errorf("three changes took %s to be known, more than %s each", took, told)
	}

	// What the other gateway has at hand grows old without the server, and then nobody passes.
	_, kept := h.create(t, Order{Owner: "b"})
	if got := judge(kept); got != "pass" {
		t.Fatalf("another key: %s", got)
	}
	redis.Stop()
	testkit.Eventually(t, "the other gateway stops to go by a record it cannot renew", func() bool { return judge(kept) == "503 keys_unavailable" })
	redis.Restart()
	testkit.Eventually(t, "it asks again when the server is back", func() bool { return judge(kept) == "401 key_invalid" }) // the server came back empty
}

// judgeOf is what the policy of a gateway says of a key.
func judgeOf(t *testing.T, state policy.State) func(text string) string {
	w := policytest.NewWorld()
	w.State, w.Pepper, w.Now = state, pepper, time.Now
	handler := w.Build(t, kind.Kind, policytest.MustCompile(t, kind.Kind, policytest.Route{Policy: "auth: { apiKey: { maxFailuresPerMinute: 100000 } }"}))
	return func(text string) string {
		return policytest.Said(handler.Decide(t.Context(), w.Exchange("GET", "/", "X-API-Key: "+text)))
	}
}
