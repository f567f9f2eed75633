package keyset_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/keyset"
	"github.com/suuupra/gateway/runtime/policy"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// issuer answers for an issuer of tokens, without a network: time is the test's own.
type issuer struct {
	mu     sync.Mutex
	body   []byte
	header http.Header
	err    error
	asked  []time.Time
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, time.Now())
	if i.err != nil {
		return nil, i.err
	}
	h := i.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(strings.NewReader(string(i.body))), Request: r}, nil
}

// set makes the issuer answer with keys of these names.
func (i *issuer) set(t testing.TB, ids ...string) {
	t.Helper()
	signers := make([]*jose.Signer, len(ids))
	for n, id := range ids {
		var err error
		if signers[n], err = jose.NewSigner("ES256", id); err != nil {
			t.Fatal(err)
		}
	}
	text, err := jose.EncodeSet(signers...)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body, i.err = text, nil
}

func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func (i *issuer) fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// since is the time between the last two fetches.
func (i *issuer) since() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.asked)
	return i.asked[n-1].Sub(i.asked[n-2])
}

func open(i *issuer) (*keyset.Sets, *policytest.Counts) {
	counts := &policytest.Counts{}
	return keyset.New(keyset.Env{
		Log: slog.New(slog.DiscardHandler), Metrics: counts, Now: time.Now, Client: func(bool) *http.Client { return &http.Client{Transport: i} },
	}), counts
}

var source = policy.KeySource{Issuer: "https://id", JWKSURI: "https://id/jwks"}

func hold(t testing.TB, s *keyset.Sets, src policy.KeySource) policy.KeySet {
	t.Helper()
	k, err := s.Hold(src)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func has(t testing.TB, k policy.KeySet, id string) bool {
	t.Helper()
	set, err := k.Keys(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return set.Has(id)
}

// TestOneFetcher holds one source three times.
func TestOneFetcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.set(t, "a")
		sets, counts := open(i)
		first, second := hold(t, sets, source), hold(t, sets, source)
		if !has(t, first, "a") || !has(t, second, "a") || first.Current() == nil || first.Current() != second.Current() {
			t.Error("not the same keys")
		}
		_ = first.Close()
		_ = first.Close() // twice is once
		third := hold(t, sets, source)
		time.Sleep(time.Minute)
		if !has(t, third, "a") || i.fetches() != 1 {
			t.Errorf("%d fetches", i.fetches())
		}
		_ = second.Close()
		_ = third.Close()
		time.Sleep(time.Hour)
		if i.fetches() != 1 {
			t.Error("fetches after the last holder is gone")
		}
		if hits, misses := counts.Of("gw_jwks_cache_hits_total{issuer=https://id}"), counts.Of("gw_jwks_cache_misses_total{issuer=https://id}"); hits+misses != 3 {
			t.Errorf("%v hits, %v misses", hits, misses)
		}
	})
}

// TestAhead fetches before keys are too old, by what the answer says within bounds.
func TestAhead(t *testing.T) {
	for _, tt := range []struct {
		name, cache, age string
		configured       time.Duration
		want             time.Duration // how long the answer is kept
	}{
		{"says nothing", "", "", 0, 10 * time.Minute},
		{"configured", "", "", time.Hour, time.Hour},
		{"configured too short", "", "", time.Second, 5 * time.Minute},
		{"says an hour", "public, max-age=3600", "", 0, time.Hour},
		{"says an hour, half of it over", "max-age=3600", "1800", 0, 30 * time.Minute},
		{"says a second", "max-age=1", "", 0, 5 * time.Minute},
		{"says not to", "no-store", "", 0, 5 * time.Minute},
		{"says a year", "max-age=31536000", "", 0, 24 * time.Hour},
		{"says nonsense", "max-age=-5", "", 0, 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{header: http.Header{}}
				if tt.cache != "" {
					i.header.Set("Cache-Control", tt.cache)
				}
				if tt.age != "" {
					i.header.Set("Age", tt.age)
				}
				i.set(t, "a")
				sets, _ := open(i)
				src := source
				src.MaxAge = tt.configured
				k := hold(t, sets, src)
				defer func() { _ = k.Close() }()
				for n := 2; n < 6; n++ {
					for i.fetches() < n {
						time.Sleep(time.Second)
					}
					if got := i.since(); got < tt.want*7/10 || got > tt.want*8/10 {
						t.Errorf("fetched again after %s, want 70 to 80 percent of %s", got, tt.want)
					}
				}
			})
		})
	}
}

// TestRotation has the issuer change its keys.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.set(t, "old")
		sets, _ := open(i)
		k := hold(t, sets, source)
		defer func() { _ = k.Close() }()
		if !has(t, k, "old") {
			t.Fatal("no keys")
		}
		before := k.Current()
		time.Sleep(31 * time.Minute) // fetched again, with the same keys
		if k.Current() != before || i.fetches() < 3 {
			t.Error("the same keys are another set")
		}
		i.set(t, "old", "new")
		if !has(t, k, "new") {
			t.Error("a new key is not found when a token names it")
		}
		i.set(t, "new")
		time.Sleep(11 * time.Minute)
		if has(t, k, "old") {
			t.Error("a key that was withdrawn is still there")
		}
	})
}

// TestUnknownKeys makes up key ids: the issuer is asked no more than twice a minute for it.
func TestUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{header: http.Header{"Cache-Control": {"max-age=86400"}}}
		i.set(t, "a")
		sets, _ := open(i)
		k := hold(t, sets, source)
		defer func() { _ = k.Close() }()
		if !has(t, k, "a") {
			t.Fatal("no keys")
		}
		const minutes = 10
		for n := range 10_000 {
			if has(t, k, fmt.Sprint("made-up-", n)) {
				t.Fatal("found")
			}
			time.Sleep(minutes * time.Minute / 10_000)
		}
		if n := i.fetches(); n > 1+2*minutes || n < minutes {
			t.Errorf("%d fetches in %d minutes", n, minutes)
		}
		time.Sleep(2 * time.Minute)
		has(t, k, "again")
		before := i.fetches()
		time.Sleep(45 * time.Second) // long enough for another id, not for this one
		has(t, k, "again")
		if i.fetches() != before {
			t.Error("an id that is known to be unknown was asked for again")
		}
	})
}

// TestConcurrentUnknown is many tokens with one new key at a time.
func TestConcurrentUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.set(t, "a")
		sets, _ := open(i)
		k := hold(t, sets, source)
		defer func() { _ = k.Close() }()
		has(t, k, "a")
		time.Sleep(time.Minute)
		i.set(t, "a", "b")
		before := i.fetches()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if set, err := k.Keys(t.Context(), "b"); err != nil {
					t.Error(err)
				} else {
					_ = set
				}
			})
		}
		all.Wait()
		if i.fetches() != before+1 || !has(t, k, "b") {
			t.Errorf("%d fetches", i.fetches()-before)
		}
	})
}

// TestIssuerAway takes the issuer away for two days.
func TestIssuerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.set(t, "a")
		sets, counts := open(i)
		k := hold(t, sets, source)
		defer func() { _ = k.Close() }()
		has(t, k, "a")
		i.fail(errors.New("connection refused"))
		time.Sleep(23 * time.Hour)
		if !has(t, k, "a") || k.Current() == nil {
			t.Error("the last good keys are gone")
		}
		has(t, k, "unknown") // asks nobody: the issuer is away
		if n := i.fetches(); n > 1+23*60/2+100 || n < 23*60/6 {
			t.Errorf("%d fetches in 23 hours", n)
		}
		time.Sleep(2 * time.Hour)
		if _, err := k.Keys(t.Context(), "a"); !errors.Is(err, policy.ErrKeysAway) || k.Current() != nil {
			t.Errorf("after a day: %v", err)
		}
		i.set(t, "b")
		time.Sleep(6 * time.Minute)
		if !has(t, k, "b") {
			t.Error("not back")
		}
		if counts.Of("gw_jwks_fetches_total{issuer=https://id,outcome=failure}") == 0 {
			t.Error("failures are not counted")
		}
	})
}

// TestNeverThere starts while the issuer is away.
func TestNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{err: errors.New("no route to host")}
		sets, _ := open(i)
		k := hold(t, sets, source)
		defer func() { _ = k.Close() }()
		if _, err := k.Keys(t.Context(), "a"); !errors.Is(err, policy.ErrKeysAway) {
			t.Errorf("%v", err)
		}
		time.Sleep(20 * time.Minute)
		began := time.Now()
		if _, err := k.Keys(t.Context(), "a"); !errors.Is(err, policy.ErrKeysAway) || time.Since(began) > 0 {
			t.Errorf("%v after %s: a request must not wait for an issuer that is away", err, time.Since(began))
		}
		i.set(t, "a")
		time.Sleep(34 * time.Second)
		if !has(t, k, "a") {
			t.Error("not found when it came")
		}
	})
}

// TestImpatience gives up waiting for keys.
func TestImpatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		sets := keyset.New(keyset.Env{Log: slog.New(slog.DiscardHandler), Metrics: &policytest.Counts{}, Now: time.Now, Client: func(bool) *http.Client {
			return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				select {
				case <-r.Context().Done():
				case <-hang:
				}
				return nil, r.Context().Err()
			})}
		}})
		k := hold(t, sets, source)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Keys(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		began := time.Now()
		if _, err := k.Keys(t.Context(), ""); !errors.Is(err, policy.ErrKeysAway) || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		_ = k.Close()
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
