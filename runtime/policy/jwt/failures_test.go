package jwt

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// few is the policy of a route on which a client may send two forgeries in a minute.
const few = `auth: { jwt: { issuer: "` + issuerName + `", audience: suuupra-api, jwksUri: "` + issuerName + `/k", maxFailuresPerMinute: 2 } }`

// from asks from an address.
func (w *world) from(t *testing.T, h policy.Handler, address, token string) (said, retry string) {
	t.Helper()
	x := w.Exchange("GET", "/", "Authorization: Bearer "+token)
	x.ClientIP = netip.MustParseAddr(address)
	v := h.Decide(t.Context(), x)
	if v.Reject != nil && v.Reject.Status == 429 {
		retry = v.Reject.Header[0].Value
	}
	return policytest.Said(v), retry
}

// TestForgeries is a thousand forged tokens from one address. The signatures of two are computed.
func TestForgeries(t *testing.T) {
	w := newWorld(t)
	h := w.policyOf(t, few)
	known, fresh := w.token(t, nil), w.token(t, map[string]any{"sub": "bob"})
	if got, _ := w.from(t, h, "192.0.2.1", known); got != "pass" {
		t.Fatal(got)
	}
	w.Advance(20*time.Second + 1)
	verdicts := map[string]int{}
	for i := range 1000 {
		forged := w.token(t, map[string]any{"jti": fmt.Sprint(i)})
		got, _ := w.from(t, h, "192.0.2.1", tamper(forged))
		verdicts[got]++
	}
	if got := fmt.Sprint(verdicts); got != "map[401 token_invalid:2 429 too_many_failures:998]" || w.keys.asked.Load() != 3 {
		t.Errorf("%s; the keys were asked for %d times", got, w.keys.asked.Load())
	}
	for _, tt := range []struct{ name, address, token, want, retry string }{
		{"a token that was good before", "192.0.2.1", known, "pass", ""},
		{"one that was not seen before", "192.0.2.1", fresh, "429 too_many_failures", "40"},
		{"a long one", "192.0.2.1", strings.Repeat("a", jose.MaxToken+1), "429 too_many_failures", "40"},
		{"the same address in IPv6", "::ffff:192.0.2.1", fresh, "429 too_many_failures", "40"},
		{"another address", "192.0.2.2", fresh, "pass", ""},
	} {
		if got, retry := w.from(t, h, tt.address, tt.token); got != tt.want || retry != tt.retry {
			t.Errorf("%s: %s, Retry-After %q", tt.name, got, retry)
		}
	}
	if got := policytest.Said(h.Decide(t.Context(), w.Exchange("GET", "/"))); got != "401 token_missing" {
		t.Errorf("without a token: %s", got)
	}
	if got := strings.Join(w.Counts.All(), "\n"); !strings.Contains(got, "gw_jwt_verify_error_total{route=r,reason=throttled} 1001") {
		t.Errorf("counted\n%s", got)
	}
	w.Advance(40 * time.Second)
	if got, _ := w.from(t, h, "192.0.2.1", w.token(t, map[string]any{"sub": "eve"})); got != "pass" {
		t.Errorf("in the next minute: %s", got)
	}
}

// TestWhatCountsAsForged sends a token twice, and says whether that used up both tries.
func TestWhatCountsAsForged(t *testing.T) {
	w := newWorld(t)
	other := signer(t, "ES256", "k1")
	now := w.Clock.Unix()
	sign := func(s *jose.Signer, header, changes map[string]any) string {
		text, err := s.Sign(header, w.claims(changes))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, tt := range []struct {
		name, token, said string
		counts            bool
	}{
		{"no token at all", "x", "401 token_malformed", true},
		{"too long", strings.Repeat("a", jose.MaxToken+1), "401 token_malformed", true},
		{"another's signature", sign(other, nil, nil), "401 token_invalid", true},
		{"an unknown key", sign(w.signer, map[string]any{"kid": "nobody"}, nil), "401 token_invalid", true},
		{"another algorithm", sign(w.signer, map[string]any{"alg": "none"}, nil), "401 token_invalid", true},
		{"another type", sign(w.signer, map[string]any{"typ": "JWE"}, nil), "401 token_invalid", true},
		{"another issuer", w.token(t, map[string]any{"iss": "https://evil.example"}), "401 token_invalid", true},
		{"no issuer", w.token(t, map[string]any{"iss": nil}), "401 token_malformed", true},
		{"expired", w.token(t, map[string]any{"exp": now - 3600}), "401 token_expired", false},
		{"expired, of another's signature", sign(other, nil, map[string]any{"exp": now - 3600}), "401 token_invalid", true},
		{"not yet valid", w.token(t, map[string]any{"nbf": now + 3600}), "401 token_not_yet_valid", false},
		{"for somebody else", w.token(t, map[string]any{"aud": "x"}), "401 token_invalid", false},
		{"a claim of the wrong type", w.token(t, map[string]any{"sub": 1}), "401 token_invalid", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := w.policyOf(t, few)
			for range 2 {
				if got, _ := w.from(t, h, "192.0.2.1", tt.token); got != tt.said {
					t.Fatalf("%s, want %s", got, tt.said)
				}
			}
			if got, _ := w.from(t, h, "192.0.2.1", w.token(t, map[string]any{"jti": tt.name})); (got == "429 too_many_failures") != tt.counts {
				t.Errorf("afterwards: %s", got)
			}
		})
	}
	t.Run("used before", func(t *testing.T) {
		w.State = &memory{}
		h := w.policyOf(t, strings.Replace(few, "maxFailures", "replayProtection: true, maxFailures", 1))
		for i := range 4 {
			if got, _ := w.from(t, h, "192.0.2.1", w.token(t, map[string]any{"jti": "1"})); i > 0 && got != "401 token_replayed" {
				t.Errorf("try %d: %s", i, got)
			}
		}
	})
	t.Run("keys away", func(t *testing.T) {
		h := w.policyOf(t, few)
		w.keys.err = policy.ErrKeysAway
		for i := range 4 {
			if got, _ := w.from(t, h, "192.0.2.1", w.token(t, map[string]any{"jti": fmt.Sprint("away ", i)})); got != "503 token_unverifiable" {
				t.Errorf("try %d: %s", i, got)
			}
		}
	})
}

// TestForgeriesOverASwap has two generations of the policy share what is known of a client.
func TestForgeriesOverASwap(t *testing.T) {
	w := newWorld(t)
	shared := &held{values: map[string]any{}}
	w.Shared = shared
	before := w.policyOf(t, few)
	for range 2 {
		w.ask(t, before, "x")
	}
	w.Route = policy.Route{ID: "another"}
	after := w.policyOf(t, strings.Replace(few, "suuupra-api", "another", 1))
	if err := before.(*handler).Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.ask(t, after, "x"); got != "429 too_many_failures" {
		t.Errorf("on another route after a swap: %s", got)
	}
	if err := after.(*handler).Close(); err != nil || shared.refs != 0 {
		t.Errorf("%v, %d values are held", err, shared.refs)
	}
}

// held shares what is made once.
type held struct {
	values map[string]any
	refs   int
}

// Get implements policy.Shared.
func (h *held) Get(key string, create func() (any, error)) (any, func(), error) {
	var err error
	if h.values[key] == nil {
		h.values[key], err = create()
	}
	h.refs++
	return h.values[key], func() { h.refs-- }, err
}

// TestREADME holds the manual to what it shows: the example compiles, and each answer and each reason is there.
func TestREADME(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(raw)
	_, example, _ := strings.Cut(readme, "```yaml\npolicy:\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("there is no example")
	}
	policytest.MustCompile(t, Kind, policytest.Route{Policy: example})
	for why, r := range refusals {
		if !strings.Contains(readme, "`"+r.Code+"`") || !strings.Contains(failed.Help, string(why)) {
			t.Errorf("%s, %s: one of them is not explained", why, r.Code)
		}
	}
	if code := tooMany(0).Code; !strings.Contains(readme, "| 429 | `"+code+"` |") || !strings.Contains(failed.Help, string(reasonThrottled)) {
		t.Errorf("%s is not explained", code)
	}
	_, row, _ := strings.Cut(readme, "| 401 | `token_malformed` |")
	if row, _, _ = strings.Cut(row, "\n"); !strings.Contains(row, "`iss`") { // see TestClaims
		t.Errorf("a token without iss is malformed; the manual has: %s", row)
	}
}
