package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestAccepted(t *testing.T) {
	w, r := newWorld()
	k := r.key(t, "test", func(k *policy.KeyRecord) { k.Tenant, k.Expires = "blue", w.Clock.Add(time.Second) })
	x := w.Exchange("GET", "/orders?sort=gw_name&key=gw_x", "Accept: */*", "x-api-KEY: "+k.Text(), "X-Other: 1")
	if got := policytest.Said(handlerOf(t, w, `{ requiredScopes: [read, write] }`).Decide(t.Context(), x)); got != "pass" {
		t.Fatal(got)
	}
	if got := fmt.Sprint(x.Request.Header.Fields); got != "[{Accept */*} {X-Other 1}]" {
		t.Errorf("upstream gets %s", got)
	}
	if x.Key == nil || x.Key.ID != k.ID || x.Key.Owner != "shop" || x.Key.Tenant != "blue" || !slices.Equal(x.Key.Scopes, []string{"read", "write"}) {
		t.Errorf("key %+v", x.Key)
	}
	if x.CallerTenant() != "blue" || !x.HasScope("write") || x.HasScope("admin") {
		t.Error("the key does not count for the caller")
	}
	if len(r.used) != 1 || !r.used[k.ID].Equal(w.Clock) || r.asked != 1 {
		t.Errorf("used %v, asked %d times", r.used, r.asked)
	}
	if got := w.Counts.All(); !slices.Equal(got, []string{"gw_api_key_verify_total{route=r,outcome=accepted} 1"}) {
		t.Errorf("counted %q", got)
	}
}

// TestRefused is every hostile input of the threat list for API keys that concerns one request.
func TestRefused(t *testing.T) {
	const challenge = `ApiKey realm="gateway", header="X-API-Key"`
	w, r := newWorld()
	w.Route.Tenant = "blue"
	good := r.key(t, "test", nil)
	other := r.key(t, "test", nil)
	gone := r.key(t, "test", func(k *policy.KeyRecord) { k.Revoked = w.Clock.Add(-time.Hour) })
	old := r.key(t, "test", func(k *policy.KeyRecord) { k.Expires = w.Clock.Add(-time.Second) })
	justNow := r.key(t, "test", func(k *policy.KeyRecord) { k.Expires = w.Clock })
	both := r.key(t, "test", func(k *policy.KeyRecord) { k.Revoked, k.Expires = w.Clock, w.Clock.Add(-time.Second) })
	foreign := r.key(t, "test", func(k *policy.KeyRecord) { k.Tenant = "green" })
	prod := r.key(t, "prod", nil)
	moved := r.key(t, "test", func(k *policy.KeyRecord) { k.Environment = "prod" })
	narrow := r.key(t, "test", func(k *policy.KeyRecord) { k.Scopes = []string{"write", "reader", "READ"} })
	bare := r.key(t, "test", func(k *policy.KeyRecord) { k.Scopes = nil })
	empty := r.key(t, "test", func(k *policy.KeyRecord) { k.Hashes = nil })
	broken := r.key(t, "test", func(k *policy.KeyRecord) { k.Hashes = []string{""} })
	replaced := r.key(t, "test", func(k *policy.KeyRecord) { k.Hashes = []string{apikey.Retire(k.Hashes[0], w.Clock)} })
	unknown, err := apikey.Generate("test", r.random)
	if err != nil {
		t.Fatal(err)
	}
	with := func(k apikey.Key, edit func(*apikey.Key)) string {
		edit(&k)
		return k.Text()
	}
	key := func(text string) []string { return []string{"X-API-Key: " + text} }

	for _, tt := range []struct {
		name    string
		fields  []string
		query   string
		want    string
		outcome string
		asked   int // calls of the state
	}{
		{"no key", nil, "", "401 key_missing", "missing", 0},
		{"in another header", []string{"Authorization: Bearer " + good.Text()}, "", "401 key_missing", "missing", 0},
		{"in the query alone", nil, "?api_key=" + good.Text(), "401 key_missing", "missing", 0},
		{"in the header and the query", key(good.Text()), "?a=b&api_key=" + good.Text(), "400 duplicate_credentials", "duplicate", 0},
		{"in the header, another in the query", key(good.Text()), "?api_key=" + other.Text(), "400 duplicate_credentials", "duplicate", 0},
		{"two headers with different keys", append(key(good.Text()), "x-api-key: "+other.Text()), "", "400 duplicate_credentials", "duplicate", 0},
		{"two headers with the same key", append(key(good.Text()), key(good.Text())...), "", "400 duplicate_credentials", "duplicate", 0},
		{"a good header and an empty one", append(key(good.Text()), "X-API-Key: "), "", "400 duplicate_credentials", "duplicate", 0},
		{"two keys in one header", key(good.Text() + ", " + other.Text()), "", "401 key_invalid", "malformed", 0},
		{"an empty header", key(""), "", "401 key_invalid", "malformed", 0},
		{"with a scheme", key("Bearer " + good.Text()), "", "401 key_invalid", "malformed", 0},
		{"right id, wrong secret", key(with(good, func(k *apikey.Key) { k.Secret = other.Secret })), "", "401 key_invalid", "invalid", 1},
		{"right secret, other id", key(with(good, func(k *apikey.Key) { k.ID = other.ID })), "", "401 key_invalid", "invalid", 1},
		{"an id that nobody has", key(unknown.Text()), "", "401 key_invalid", "invalid", 1},
		{"bad checksum", key(good.Text()[:len(good.Text())-1] + "-"), "", "401 key_invalid", "malformed", 0},
		{"one character changed", key(strings.Replace(good.Text(), good.Secret[:1], "z", 1)), "", "401 key_invalid", "malformed", 0},
		{"case changed", key(strings.ToUpper(good.Text())), "", "401 key_invalid", "malformed", 0},
		{"case of the secret changed", key(strings.Replace(good.Text(), good.Secret, strings.ToLower(good.Secret), 1)), "", "401 key_invalid", "malformed", 0},
		{"a space before", []string{"X-API-Key:  " + good.Text()}, "", "401 key_invalid", "malformed", 0},
		{"a space behind", key(good.Text() + " "), "", "401 key_invalid", "malformed", 0},
		{"an encoded NUL", key(good.Text() + "%00"), "", "401 key_invalid", "malformed", 0},
		{"NUL", key(good.Text() + "\x00"), "", "401 key_invalid", "malformed", 0},
		{"a megabyte", key(strings.Repeat("a", 1<<20)), "", "401 key_invalid", "malformed", 0},
		{"a star", key("*"), "", "401 key_invalid", "malformed", 0},
		{"a question mark", key("?"), "", "401 key_invalid", "malformed", 0},
		{"a pattern of Redis", key("gw:*"), "", "401 key_invalid", "malformed", 0},
		{"a command of Redis", key("\r\nDEL x"), "", "401 key_invalid", "malformed", 0},
		{"another environment", key(prod.Text()), "", "401 key_invalid", "invalid", 0},
		{"a record of another environment", key(moved.Text()), "", "401 key_invalid", "invalid", 1},
		{"another tenant", key(foreign.Text()), "", "401 key_invalid", "invalid", 1},
		{"revoked", key(gone.Text()), "", "401 key_revoked", "revoked", 1},
		{"revoked, with a wrong secret", key(with(gone, func(k *apikey.Key) { k.Secret = good.Secret })), "", "401 key_invalid", "invalid", 1},
		{"expired by a second", key(old.Text()), "", "401 key_expired", "expired", 1},
		{"expired this moment", key(justNow.Text()), "", "401 key_expired", "expired", 1},
		{"expired, with a wrong secret", key(with(old, func(k *apikey.Key) { k.Secret = good.Secret })), "", "401 key_invalid", "invalid", 1},
		{"revoked and expired", key(both.Text()), "", "401 key_revoked", "revoked", 1},
		{"a secret that was replaced", key(replaced.Text()), "", "401 key_invalid", "invalid", 1},
		{"a record without hashes", key(empty.Text()), "", "401 key_invalid", "invalid", 1},
		{"a record with an empty hash", key(broken.Text()), "", "401 key_invalid", "invalid", 1},
		{"scopes that only look alike", key(narrow.Text()), "", "403 scope_missing", "scope_missing", 1},
		{"no scopes", key(bare.Text()), "", "403 scope_missing", "scope_missing", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.Counts, r.asked, r.used = &policytest.Counts{}, 0, nil
			w.Metrics = w.Counts
			h := handlerOf(t, w, `{ requiredScopes: [read] }`)
			x := w.Exchange("GET", "/orders"+tt.query, tt.fields...)
			x.Principal = &policy.Principal{Subject: "a good token does not stand in for a key", Scopes: []string{"read"}}
			v := h.Decide(t.Context(), x)
			if got := policytest.Said(v); got != tt.want || r.asked != tt.asked {
				t.Fatalf("%s after %d calls of the state, want %s after %d", got, r.asked, tt.want, tt.asked)
			}
			want := []string{"gw_api_key_verify_total{route=r,outcome=" + tt.outcome + "} 1"}
			if tt.outcome == "scope_missing" {
				want = append(want, "gw_authz_denied_total{route=r,reason=scope} 1")
			}
			if got := w.Counts.All(); !slices.Equal(got, want) {
				t.Errorf("counted %q, want %q", got, want)
			}
			wantChallenge := ""
			if v.Reject.Status == 401 {
				wantChallenge = challenge
			}
			if got := header(v.Reject, "WWW-Authenticate"); got != wantChallenge {
				t.Errorf("challenge %q", got)
			}
			if len(r.used) > 0 || x.Key != nil && tt.outcome != "scope_missing" {
				t.Errorf("a refused key counts as used, or as the caller's: %v, %v", r.used, x.Key)
			}
		})
	}
}

func header(r *policy.Reject, name string) string {
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// TestRefusalsSayNothingMore holds the answer to an unknown id to that to a wrong secret, byte for byte.
func TestRefusalsSayNothingMore(t *testing.T) {
	w, r := newWorld()
	good := r.key(t, "test", nil)
	unknown, err := apikey.Generate("test", r.random)
	if err != nil {
		t.Fatal(err)
	}
	h := handlerOf(t, w, `{}`)
	answer := func(text string) string {
		return fmt.Sprintf("%+v", *h.Decide(t.Context(), w.Exchange("GET", "/", "X-API-Key: "+text)).Reject)
	}
	wrong := good
	wrong.Secret = unknown.Secret
	want := answer(wrong.Text())
	for name, text := range map[string]string{"an unknown id": unknown.Text(), "a bad checksum": good.Text() + "x", "nonsense": "x"} {
		if got := answer(text); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

func TestTenants(t *testing.T) {
	for _, tt := range []struct{ route, key, want string }{
		{"", "", "pass"},
		{"", "blue", "pass"},
		{"blue", "", "pass"},
		{"blue", "blue", "pass"},
		{"blue", "green", "401 key_invalid"},
		{"blue", "Blue", "401 key_invalid"},
		{"blue", "blues", "401 key_invalid"},
	} {
		w, r := newWorld()
		w.Route.Tenant = tt.route
		k := r.key(t, "test", func(k *policy.KeyRecord) { k.Tenant = tt.key })
		if got := policytest.Said(handlerOf(t, w, `{}`).Decide(t.Context(), w.Exchange("GET", "/", "X-API-Key: "+k.Text()))); got != tt.want {
			t.Errorf("key of %q on a route of %q: %s, want %s", tt.key, tt.route, got, tt.want)
		}
	}
}

// TestRotation has both secrets of a key good while one replaces the other.
func TestRotation(t *testing.T) {
	w, r := newWorld()
	old := r.key(t, "test", nil)
	fresh, err := apikey.Renew("test", old.ID, r.random)
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := apikey.NewHasher(pepper)
	if err != nil {
		t.Fatal(err)
	}
	record := r.keys[old.ID]
	record.Hashes = []string{hasher.Hash(fresh.ID, fresh.Secret), apikey.Retire(record.Hashes[0], w.Clock.Add(time.Hour))}
	h := handlerOf(t, w, `{}`)
	said := func(k apikey.Key) string {
		return policytest.Said(h.Decide(t.Context(), w.Exchange("GET", "/", "X-API-Key: "+k.Text())))
	}
	if a, b := said(old), said(fresh); a != "pass" || b != "pass" {
		t.Errorf("during the rotation: %s and %s", a, b)
	}
	w.Advance(time.Hour)
	if a, b := said(old), said(fresh); a != "401 key_invalid" || b != "pass" {
		t.Errorf("after it: %s and %s", a, b)
	}
}

func TestStateIsAway(t *testing.T) {
	w, r := newWorld()
	k := r.key(t, "test", nil)
	h := handlerOf(t, w, `{ maxFailuresPerMinute: 1 }`)
	ask := func(ctx context.Context) policy.Verdict {
		return h.Decide(ctx, w.Exchange("GET", "/", "X-API-Key: "+k.Text()))
	}
	r.fail = fmt.Errorf("ask: %w", policy.ErrStateAway)
	for range 3 { // a failure of ours is none of the client's
		if v := ask(t.Context()); policytest.Said(v) != "503 keys_unavailable" || header(v.Reject, "Retry-After") != "1" {
			t.Fatalf("%s, %+v", policytest.Said(v), v.Reject)
		}
	}
	if r.log.Len() > 0 {
		t.Errorf("logged for each request: %s", &r.log)
	}
	r.fail = errors.New("the record is broken")
	if got := policytest.Said(ask(t.Context())); got != "503 keys_unavailable" || !strings.Contains(r.log.String(), "the record is broken") || !strings.Contains(r.log.String(), k.ID) {
		t.Errorf("%s, logged %s", got, &r.log)
	}
	r.log.Reset()
	left, leave := context.WithCancel(t.Context())
	leave()
	if got := policytest.Said(ask(left)); got != "503 keys_unavailable" || r.log.Len() > 0 {
		t.Errorf("the client has left: %s, logged %s", got, &r.log)
	}
	r.fail = nil
	if got := policytest.Said(ask(t.Context())); got != "pass" {
		t.Errorf("when it is back: %s", got)
	}
}

// TestGuessing is ten thousand guesses from one address.
func TestGuessing(t *testing.T) {
	w, r := newWorld()
	good := r.key(t, "test", nil)
	wrong := good
	wrong.Secret = strings.Repeat("x", len(good.Secret))
	h := handlerOf(t, w, `{}`)
	said := func(address string, text string) (string, string) {
		x := w.Exchange("GET", "/", "X-API-Key: "+text)
		x.ClientIP = netip.MustParseAddr(address)
		v := h.Decide(t.Context(), x)
		if v.Reject == nil {
			return "pass", ""
		}
		return policytest.Said(v), header(v.Reject, "Retry-After")
	}
	w.Advance(20*time.Second + 1)
	verdicts := map[string]int{}
	for i := range 10_000 {
		text := wrong.Text()
		if i%2 == 1 {
			text = fmt.Sprint("nonsense ", i)
		}
		v, _ := said("192.0.2.1", text)
		verdicts[v]++
	}
	if got := fmt.Sprint(verdicts); got != "map[401 key_invalid:60 429 too_many_failures:9940]" || r.asked != 30 {
		t.Errorf("%s, %d calls of the state", got, r.asked)
	}
	for _, tt := range []struct{ name, address, text, want, retry string }{
		{"a good key from the same address", "192.0.2.1", good.Text(), "429 too_many_failures", "40"},
		{"the same address in IPv6", "::ffff:192.0.2.1", good.Text(), "429 too_many_failures", "40"},
		{"another address", "192.0.2.2", good.Text(), "pass", ""},
		{"the address read the other way round", "1.2.0.192", good.Text(), "pass", ""},
	} {
		if got, retry := said(tt.address, tt.text); got != tt.want || retry != tt.retry {
			t.Errorf("%s: %s, Retry-After %q", tt.name, got, retry)
		}
	}
	if v := h.Decide(t.Context(), w.Exchange("GET", "/")); policytest.Said(v) != "401 key_missing" {
		t.Errorf("without a key: %s", policytest.Said(v))
	}
	w.Advance(40 * time.Second)
	if got, _ := said("192.0.2.1", good.Text()); got != "pass" {
		t.Errorf("in the next minute: %s", got)
	}
}

func TestGuessingOverIPv6(t *testing.T) {
	w, r := newWorld()
	good := r.key(t, "test", nil)
	h := handlerOf(t, w, `{ maxFailuresPerMinute: 3 }`)
	said := func(address, text string) string {
		x := w.Exchange("GET", "/", "X-API-Key: "+text)
		x.ClientIP = netip.MustParseAddr(address)
		return policytest.Said(h.Decide(t.Context(), x))
	}
	for i := range 3 {
		if got := said(fmt.Sprintf("2001:db8:0:1:%x::1", i), "x"); got != "401 key_invalid" {
			t.Fatal(got)
		}
	}
	if got := said("2001:db8:0:1:ffff:ffff:ffff:ffff", good.Text()); got != "429 too_many_failures" {
		t.Errorf("from the same /64: %s", got)
	}
	if got := said("2001:db8:0:2::1", good.Text()); got != "pass" {
		t.Errorf("from the next /64: %s", got)
	}
}

// TestOnlyGuessesCount has one try left for whoever did not guess.
func TestOnlyGuessesCount(t *testing.T) {
	w, r := newWorld()
	good := r.key(t, "test", nil)
	gone := r.key(t, "test", func(k *policy.KeyRecord) { k.Revoked = w.Clock })
	old := r.key(t, "test", func(k *policy.KeyRecord) { k.Expires = w.Clock })
	bare := r.key(t, "test", func(k *policy.KeyRecord) { k.Scopes = nil })
	h := handlerOf(t, w, `{ maxFailuresPerMinute: 1, requiredScopes: [read] }`)
	for _, fields := range [][]string{
		nil,
		{"X-API-Key: " + gone.Text()},
		{"X-API-Key: " + old.Text()},
		{"X-API-Key: " + bare.Text()},
		{"X-API-Key: " + good.Text(), "X-API-Key: " + good.Text()},
		{"X-API-Key: " + good.Text()},
	} {
		if got := policytest.Said(h.Decide(t.Context(), w.Exchange("GET", "/", fields...))); strings.HasPrefix(got, "429") {
			t.Errorf("%q: %s", fields, got)
		}
	}
}

// TestNothingOfAKeyIsTold looks through everything that comes out of the policy for the key, its secret and its hash.
func TestNothingOfAKeyIsTold(t *testing.T) {
	w, r := newWorld()
	good := r.key(t, "test", nil)
	gone := r.key(t, "test", func(k *policy.KeyRecord) { k.Revoked = w.Clock })
	bare := r.key(t, "test", func(k *policy.KeyRecord) { k.Scopes = nil })
	wrong := good
	wrong.Secret = gone.Secret
	h := handlerOf(t, w, `{ requiredScopes: [read], maxFailuresPerMinute: 4 }`)
	var told strings.Builder
	ask := func(fields ...string) {
		x := w.Exchange("GET", "/", fields...)
		v := h.Decide(t.Context(), x)
		fmt.Fprintf(&told, "%+v %+v ", v, x.Key)
		if v.Reject != nil {
			fmt.Fprintf(&told, "%+v\n", *v.Reject)
		}
	}
	keys := []apikey.Key{good, gone, bare, wrong}
	for _, k := range keys {
		ask("X-API-Key: " + k.Text())
		ask("X-API-Key: "+k.Text(), "X-API-Key: "+k.Text())
		ask("X-API-Key: " + k.Text()[1:])
	}
	r.fail = errors.New("the record is broken")
	w.Advance(time.Minute)
	ask("X-API-Key: " + good.Text())
	fmt.Fprint(&told, w.Counts.All(), r.log.String(), r.used)
	for _, k := range keys {
		for what, secret := range map[string]string{"key": k.Text(), "secret": k.Secret, "hash": r.keys[k.ID].Hashes[0]} {
			if strings.Contains(told.String(), secret) {
				t.Errorf("the %s is told", what)
			}
		}
	}
	for _, want := range []string{"key_invalid", "key_revoked", "scope_missing", "duplicate_credentials", "too_many_failures", "keys_unavailable", "is broken"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%s was not provoked", want)
		}
	}
}

// A key of a tenant is good where the request is that tenant's, or nobody's, whether the route says so or the request.
func TestTenantOfRequest(t *testing.T) {
	w, r := newWorld()
	blue := r.key(t, "test", func(k *policy.KeyRecord) { k.Tenant = "blue" })
	operators := r.key(t, "test", func(*policy.KeyRecord) {})
	for _, tc := range []struct{ key, route, request, want string }{
		{"blue", "", "", "pass"},
		{"blue", "", "blue", "pass"},
		{"blue", "", "red", "401 key_invalid"},
		{"blue", "blue", "blue", "pass"},
		{"blue", "red", "red", "401 key_invalid"},
		{"blue", "red", "", "401 key_invalid"}, // the route's counts whatever the request says
		{"blue", "red", "blue", "401 key_invalid"},
		{"operator's", "", "red", "pass"},
		{"operator's", "red", "red", "pass"},
	} {
		w.Route.Tenant = tc.route
		text := blue.Text()
		if tc.key != "blue" {
			text = operators.Text()
		}
		x := w.Exchange("GET", "/", "X-API-Key: "+text)
		x.Tenant = tc.request
		if got := policytest.Said(handlerOf(t, w, `{}`).Decide(t.Context(), x)); got != tc.want {
			t.Errorf("key of %s on a route of %q, request of %q: %s, want %s", tc.key, tc.route, tc.request, got, tc.want)
		}
	}
}
