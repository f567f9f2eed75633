package signedurl

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/match"
)

const (
	secret1 = "for tests only: thirty-two bytes, one"
	secret2 = "for tests only: thirty-two bytes, two"
)

const twoKeys = `signedUrl: { keys: [{ id: k1, secretRef: "env:ONE" }, { id: k2, secretRef: "env:TWO" }] }`

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name, policy, plan string
		said               []string
	}{
		{
			"defaults", `signedUrl: { keys: [{ id: k1, secretRef: "env:ONE" }] }`,
			`{"keys":[{"id":"k1","secretRef":"env:ONE"}],"clockSkewSeconds":30}`, nil,
		},
		{
			"everything, sorted",
			`signedUrl: { keys: [{ id: k2, secretRef: "file:/two" }, { id: k1, secretRef: "env:ONE" }], clockSkewSeconds: 0, maxLifetime: 1h }`,
			`{"keys":[{"id":"k1","secretRef":"env:ONE"},{"id":"k2","secretRef":"file:/two"}],"clockSkewSeconds":0,"maxLifetimeMs":3600000}`, nil,
		},
		{"switched off", `signedUrl: { enabled: false, keys: [{ id: k1, secretRef: "env:ONE" }, { id: k1, secretRef: "env:TWO" }] }`, ``, nil},
		{
			"one id twice", `signedUrl: { keys: [{ id: k1, secretRef: "env:ONE" }, { id: k1, secretRef: "env:TWO" }] }`, "-",
			[]string{`error GW3040 policy.signedUrl.keys[1].id: two keys have the id "k1", so that a signature does not say which of them made it (give the new key an id of its own, and sign with that)`},
		},
		{
			"a lifetime below a second", `signedUrl: { keys: [{ id: k1, secretRef: "env:ONE" }], maxLifetime: 999ms }`, "-",
			[]string{`error GW2103 policy.signedUrl.maxLifetime: maxLifetime is 999ms, must be at least 1s: signatures expire on whole seconds (write 1h, or leave it out for any lifetime)`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: tt.policy})
			if !slices.Equal(said, tt.said) {
				t.Errorf("said %q, want %q", said, tt.said)
			}
			if tt.plan != "-" && string(plan) != tt.plan {
				t.Errorf("plan %s, want %s", plan, tt.plan)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	const key = `{"id":"k1","secretRef":"env:ONE"}`
	for _, tt := range []struct{ plan, want string }{
		{`{"keys":[],"clockSkewSeconds":0}`, "keys has 0 elements, must have 1 or 2"},
		{`{"keys":[` + key + `,` + key + `,` + key + `],"clockSkewSeconds":0}`, "keys has 3 elements, must have 1 or 2"},
		{`{"keys":[` + key + `,` + key + `],"clockSkewSeconds":0}`, "keys must have different ids, and be sorted by them"},
		{`{"keys":[{"id":"","secretRef":"env:ONE"}],"clockSkewSeconds":0}`, `"" is no id of a key`},
		{`{"keys":[{"id":"k.1","secretRef":"env:ONE"}],"clockSkewSeconds":0}`, `"k.1" is no id of a key`},
		{`{"keys":[` + key + `],"clockSkewSeconds":-1}`, "clockSkewSeconds is -1, must be from 0 to 60"},
		{`{"keys":[` + key + `],"clockSkewSeconds":61}`, "clockSkewSeconds is 61, must be from 0 to 60"},
		{`{"keys":[` + key + `],"clockSkewSeconds":0,"maxLifetimeMs":-1}`, "maxLifetimeMs is -1, must be from 0 to 86400000"},
		{`{"keys":[` + key + `],"clockSkewSeconds":0,"maxLifetimeMs":9223372036854775807}`, "maxLifetimeMs is 9223372036854775807, must be from 0 to 86400000"},
	} {
		_, err := Kind.Build(t.Context(), &policytest.NewWorld().Env, json.RawMessage(tt.plan))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.plan, err, tt.want)
		}
	}
}

// vault hands out secrets, and counts those that are held.
type vault struct {
	policy.Secrets
	held int
	bad  string
}

func (v *vault) Hold(ref string) (policy.Secret, error) {
	if ref == v.bad {
		return nil, errors.New("is malformed")
	}
	s, err := v.Secrets.Hold(ref)
	v.held++
	return heldSecret{s, v}, err
}

type heldSecret struct {
	policy.Secret
	v *vault
}

func (s heldSecret) Close() error { s.v.held--; return nil }

func TestSecretsAreLetGo(t *testing.T) {
	w := policytest.NewWorld()
	v := &vault{Secrets: w.Secrets, bad: "env:TWO"}
	w.Secrets = v
	plan := policytest.MustCompile(t, Kind, policytest.Route{Policy: twoKeys})
	if _, err := Kind.Build(t.Context(), &w.Env, plan); err == nil || err.Error() != `key "k2": is malformed` || v.held != 0 {
		t.Errorf("%v, %d secrets are held", err, v.held)
	}
	v.bad = ""
	h, err := Kind.Build(t.Context(), &w.Env, plan)
	if err != nil || v.held != 2 {
		t.Fatalf("%v, %d secrets are held", err, v.held)
	}
	if err := h.(*handler).Close(); err != nil || v.held != 0 {
		t.Errorf("%v, %d secrets are held", err, v.held)
	}
}

// site is a route with two keys.
type site struct {
	*policytest.World
	h policy.Handler
}

func newSite(tb testing.TB, settings string) *site {
	tb.Helper()
	s := &site{World: policytest.NewWorld()}
	s.SetSecret("env:ONE", []byte(secret1))
	s.SetSecret("env:TWO", []byte(secret2+"\n"))
	s.h = s.Build(tb, Kind, policytest.MustCompile(tb, Kind, policytest.Route{Policy: settings}))
	return s
}

// sign signs with a key of the site, for an hour unless the grant says otherwise.
func (s *site) sign(tb testing.TB, raw, secret string, g signedurl.Grant) string {
	tb.Helper()
	k, err := signedurl.NewKey([]byte(secret))
	if err != nil {
		tb.Fatal(err)
	}
	if g.KeyID == "" {
		g.KeyID = "k1"
	}
	if g.Expires.IsZero() {
		g.Expires = s.Now().Add(time.Hour)
	}
	signed, err := signedurl.Sign(raw, &g, k)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}

// exchange is a request as the gateway shows it to policies. It is refused before with reason if its path is not one to forward.
func (s *site) exchange(method, raw string) (x *policy.Exchange, reason match.Reason) {
	_, rest, _ := strings.Cut(raw, "://")
	authority, target, _ := strings.Cut(rest, "/")
	x = s.Exchange(method, "/"+target)
	x.Request.Authority = authority
	x.Path, reason = match.NormalizePath(x.Path)
	return x, reason
}

// ask says what becomes of a request, and what goes upstream as its query.
func (s *site) ask(tb testing.TB, method, raw string) (said, query string) {
	tb.Helper()
	x, reason := s.exchange(method, raw)
	if reason != "" {
		return "400 " + string(reason), ""
	}
	return policytest.Said(s.h.Decide(tb.Context(), x)), x.RawQuery
}

func TestPermissionGoesNowhereElse(t *testing.T) {
	s := newSite(t, twoKeys)
	signed := s.sign(t, "https://api.example.com/a?x=%2f+1&&y&x=2", secret1, signedurl.Grant{Client: netip.MustParseAddr("192.0.2.1")})
	if said, query := s.ask(t, "GET", signed); said != "pass" || query != "x=%2f+1&&y&x=2" {
		t.Errorf("%s, with %q", said, query)
	}
	// A refused request stays what it was: it goes nowhere.
	if said, query := s.ask(t, "GET", signed+"&z=1"); said != "403 signature_invalid" || !strings.Contains(query, "gw_sig") {
		t.Errorf("%s, with %q", said, query)
	}
}

// TestKeys is the life of two keys: what one of them has signed does not depend on the other.
func TestKeys(t *testing.T) {
	var log bytes.Buffer
	s := &site{World: policytest.NewWorld()}
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	s.SetSecret("env:ONE", []byte(secret1+"\n"))
	plan := policytest.MustCompile(t, Kind, policytest.Route{Policy: twoKeys})
	s.h = s.Build(t, Kind, plan)
	one := s.sign(t, "https://a/", secret1, signedurl.Grant{})
	two := s.sign(t, "https://a/", secret2, signedurl.Grant{KeyID: "k2"})
	const gone = "503 signing_key_unavailable"
	for _, step := range []struct {
		name     string
		change   func()
		one, two string
		log      string
	}{
		{
			"the second is not there", func() {}, "pass", gone,
			`level=ERROR msg="a key of signed URLs cannot be used; what it has signed is answered 503" key=k2 error="secret env:TWO: is not there"` + "\n",
		},
		{
			"it is too short", func() { s.SetSecret("env:TWO", []byte("thirty-one bytes and a newline\n\n")) }, "pass", gone,
			`level=ERROR msg="a key of signed URLs cannot be used; what it has signed is answered 503" key=k2 error="the key has 31 bytes, must have at least 32; ` + "`openssl rand -base64 32`" + ` makes one"` + "\n",
		},
		{
			"it is there", func() { s.SetSecret("env:TWO", []byte(secret2)) }, "pass", "pass",
			`level=INFO msg="a key of signed URLs can be used again" key=k2` + "\n",
		},
		{"the first is another", func() { s.SetSecret("env:ONE", []byte(secret2)) }, "403 signature_invalid", "pass", ""},
		{"and what it was", func() { s.SetSecret("env:ONE", []byte(secret1)) }, "pass", "pass", ""},
		{
			"the first is gone", func() { s.SetSecret("env:ONE", nil) }, gone, "pass",
			`level=ERROR msg="a key of signed URLs cannot be used; what it has signed is answered 503" key=k1 error="secret env:ONE: is not there"` + "\n",
		},
	} {
		step.change()
		for range 3 { // said once for each change
			if got, _ := s.ask(t, "GET", one); got != step.one {
				t.Errorf("%s: one: %s, want %s", step.name, got, step.one)
			}
			if got, _ := s.ask(t, "GET", two); got != step.two {
				t.Errorf("%s: two: %s, want %s", step.name, got, step.two)
			}
			if got, _ := s.ask(t, "GET", strings.Replace(one, "k1", "k3", 1)); got != "403 signature_invalid" {
				t.Errorf("%s: an id that there is not: %s", step.name, got)
			}
		}
		if log.String() != step.log {
			t.Errorf("%s: logged\n%swant\n%s", step.name, log.String(), step.log)
		}
		log.Reset()
	}
}

// TestKeyChangesUnderLoad replaces a key while it is used. A request is judged by one of the two, and never by half of each.
func TestKeyChangesUnderLoad(t *testing.T) {
	s := newSite(t, twoKeys)
	old := s.sign(t, "https://a/?x=1", secret1, signedurl.Grant{})
	next := s.sign(t, "https://a/?x=1", secret2, signedurl.Grant{})
	stop := make(chan struct{})
	var clients, keeper sync.WaitGroup
	keeper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.SetSecret("env:ONE", []byte([]string{secret1, secret2}[i%2]))
			}
		}
	})
	for range 4 {
		clients.Go(func() {
			for range 500 {
				for _, raw := range []string{old, next} {
					if got, _ := s.ask(t, "GET", raw); got != "pass" && got != "403 signature_invalid" {
						t.Errorf("%s: %s", raw, got)
					}
				}
				if got, _ := s.ask(t, "GET", old+"x"); got != "403 signature_malformed" {
					t.Error(got)
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	keeper.Wait()
	s.SetSecret("env:ONE", []byte(secret2))
	if got, _ := s.ask(t, "GET", next); got != "pass" {
		t.Errorf("in the end: %s", got)
	}
}

func BenchmarkDecide(b *testing.B) {
	s := newSite(b, twoKeys)
	for _, bb := range []struct{ name, raw, want string }{
		{"path", s.sign(b, "https://api.example.com/reports/7", secret1, signedurl.Grant{}), "pass"},
		{"query", s.sign(b, "https://api.example.com/reports/7?year=2026&month=01", secret1, signedurl.Grant{}), "pass"},
		{"prefix", s.sign(b, "https://api.example.com/videos/1.ts", secret2, signedurl.Grant{KeyID: "k2", Prefix: "/videos/"}), "pass"},
		{"unknown key", s.sign(b, "https://api.example.com/reports/7", secret1, signedurl.Grant{KeyID: "k9"}), "403 signature_invalid"},
		{"wrong signature", s.sign(b, "https://api.example.com/reports/7", secret2, signedurl.Grant{}), "403 signature_invalid"},
		{"unsigned", "https://api.example.com/reports/7?year=2026", "403 signature_missing"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			x, _ := s.exchange("GET", bb.raw)
			query := x.RawQuery
			if got := policytest.Said(s.h.Decide(b.Context(), x)); got != bb.want {
				b.Fatal(got)
			}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				x.RawQuery = query
				s.h.Decide(ctx, x)
			}
		})
	}
}
