package redisstate

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

func record(id string) *policy.KeyRecord {
	return &policy.KeyRecord{
		ID: id, Environment: "prod", Owner: "billing", Tenant: "acme", Scopes: []string{"read", "write"},
		Hashes: []string{strings.Repeat("ab", 32)}, Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Expires: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestKeysAreStored(t *testing.T) {
	server := testkit.Redis(t)
	c, db := open(t, server.URL, Options{Budget: generous}), direct(t, server.URL)
	ctx := t.Context()
	for _, id := range []string{"c", "a", "e", "b", "d"} {
		r := record(id)
		r.LastUsed = time.Now() // is not stored
		if err := c.PutKey(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.PutKey(ctx, record("a")); !errors.Is(err, keystore.ErrKeyExists) {
		t.Errorf("the same id again: %v", err)
	}
	if err := c.PutKey(ctx, record("a b")); err == nil || err.Error() != `an API key's id is 1 to 64 letters, digits, "-" and "."` {
		t.Errorf("no id: %v", err)
	}
	if r, err := c.StoredKey(ctx, "a"); err != nil || !reflect.DeepEqual(r, record("a")) {
		t.Errorf("stored %+v, %v", r, err)
	}
	if r, err := c.Key(ctx, "a"); err != nil || !reflect.DeepEqual(r, record("a")) {
		t.Errorf("cached %+v, %v", r, err)
	}
	for _, id := range []string{"z", "a\r\nDEL x", ""} {
		if r, err := c.StoredKey(ctx, id); err != nil || r != nil {
			t.Errorf("absent %q: %+v, %v", id, r, err)
		}
		if r, err := c.Key(ctx, id); err != nil || r != nil {
			t.Errorf("absent %q: %+v, %v", id, r, err)
		}
	}
	// An id that is listed and has no record is what a failure in the middle of PutKey leaves.
	if err := db.Del(ctx, "gw:key:c").Err(); err != nil {
		t.Fatal(err)
	}
	var pages []string
	for after := ""; ; {
		page, next, err := c.Keys(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		ids := ""
		for _, r := range page {
			ids += r.ID
		}
		pages = append(pages, ids)
		if after = next; next == "" {
			break
		}
	}
	if want := []string{"ab", "d", "e"}; !slices.Equal(pages, want) {
		t.Errorf("pages %q, want %q", pages, want)
	}
	if err := c.PutKey(ctx, record("c")); err != nil {
		t.Errorf("put again what failed: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	server := testkit.Redis(t)
	c, other := open(t, server.URL, Options{Budget: generous}), open(t, server.URL, Options{Budget: generous})
	ctx := t.Context()
	if err := c.PutKey(ctx, record("a")); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	for _, tt := range []struct {
		name, id string
		edit     func(*policy.KeyRecord) error
		want     string
	}{
		{"absent", "b", func(*policy.KeyRecord) error { return nil }, keystore.ErrNoKey.Error()},
		{"the edit says no", "a", func(*policy.KeyRecord) error { return no }, "no"},
		{"another id", "a", func(r *policy.KeyRecord) error { r.ID = "z"; return nil }, "API key a: an edit cannot change the id"},
		{"no hash left", "a", func(r *policy.KeyRecord) error { r.Hashes = nil; return nil }, "API key a has 0 hashes; 1 to 64 are allowed"},
		{"others are always faster", "a", func(*policy.KeyRecord) error {
			_, err := other.UpdateKey(ctx, "a", func(r *policy.KeyRecord) error { r.Owner += "."; return nil })
			return err
		}, keystore.ErrContended.Error()},
	} {
		if r, err := c.UpdateKey(ctx, tt.id, tt.edit); err == nil || err.Error() != tt.want || r != nil {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
	}
	var wg sync.WaitGroup
	for n := range 4 {
		from := []*Client{c, other}[n%2]
		wg.Go(func() {
			for i := range 5 {
				for {
					_, err := from.UpdateKey(context.Background(), "a", func(r *policy.KeyRecord) error {
						r.Scopes = append(r.Scopes, fmt.Sprintf("%d-%d", n, i))
						return nil
					})
					if err == nil {
						break
					}
					if !errors.Is(err, keystore.ErrContended) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	r, err := c.StoredKey(ctx, "a")
	if err != nil || len(r.Scopes) != 22 || len(slices.Compact(slices.Sorted(slices.Values(r.Scopes)))) != 22 {
		t.Errorf("an update was lost: %+v, %v", r, err)
	}
}

// TestRevocationIsTold revokes a key that another gateway has in its cache, and would have for a minute.
func TestRevocationIsTold(t *testing.T) {
	server := testkit.Redis(t)
	admin := open(t, server.URL, Options{Budget: generous})
	c := newRig(t, server.URL, Options{Budget: generous}).calm(t)
	ctx := t.Context()
	for n := range 20 {
		id := fmt.Sprint("k", n)
		if r, err := c.Key(ctx, id); err != nil || r != nil { // that there is none is cached too
			t.Fatalf("%+v, %v", r, err)
		}
		if err := admin.PutKey(ctx, record(id)); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the new key is known", func() bool { r, err := c.Key(ctx, id); return err == nil && r != nil })
		misses := c.counts.Of("gw_state_key_cache_total{outcome=miss}")
		if r, err := c.Key(ctx, id); err != nil || !r.Revoked.IsZero() || c.counts.Of("gw_state_key_cache_total{outcome=miss}") != misses {
			t.Errorf("it is not from the cache: %+v, %v", r, err)
		}
		if _, err := admin.UpdateKey(ctx, id, func(r *policy.KeyRecord) error { r.Revoked = time.Now(); return nil }); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the revocation is known", func() bool { r, err := c.Key(ctx, id); return err == nil && !r.Revoked.IsZero() })
	}
}

// TestRevocationIsNotTold cuts the subscription in the worst way: nothing comes over it any more, and nobody is told. The cache must
// notice by itself.
func TestRevocationIsNotTold(t *testing.T) {
	server := testkit.Redis(t)
	admin := open(t, server.URL, Options{Budget: generous})
	wire := newWire(t)
	wire.to.Store(&server.Addr)
	c := newRig(t, "redis://"+wire.addr, Options{Budget: generous}).calm(t)
	ctx := t.Context()
	ids := []string{"k", "later"}
	for _, id := range ids {
		if err := admin.PutKey(ctx, record(id)); err != nil {
			t.Fatal(err)
		}
	}
	put := c.elapsed()
	testkit.Eventually(t, "it was told of the new keys", func() bool { return c.keys.told.Load() > int64(put+pingHolds) })
	for _, id := range ids {
		if r, err := c.Key(ctx, id); err != nil || r == nil {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	wire.deaf.Store(true)
	for _, id := range ids {
		if _, err := admin.UpdateKey(ctx, id, func(r *policy.KeyRecord) error { r.Revoked = time.Now(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if r, err := c.Key(ctx, "k"); err != nil || !r.Revoked.IsZero() {
		t.Fatalf("the scene is not set: %+v, %v", r, err)
	}
	testkit.Eventually(t, "the revocation is known", func() bool { r, err := c.Key(ctx, "k"); return err == nil && !r.Revoked.IsZero() })
	if took := time.Since(start); took > untrusted+slack {
		t.Errorf("it took %s", took)
	}
	wire.deaf.Store(false)
	testkit.Eventually(t, "changes are told again", func() bool { return c.keys.told.Load() > int64(c.elapsed()) })
	if r, err := c.Key(ctx, "later"); err != nil || r.Revoked.IsZero() {
		t.Errorf("what was read before is good again: %+v, %v", r, err)
	}
}

// TestOneQuestion lets many ask for the same key at the same time: Redis is asked once.
func TestOneQuestion(t *testing.T) {
	server := testkit.Redis(t)
	c := newRig(t, server.URL, Options{Budget: generous}).calm(t)
	if err := c.PutKey(t.Context(), record("k")); err != nil {
		t.Fatal(err)
	}
	resume := hang(t, server.URL)
	t.Cleanup(resume)
	calls := c.counts.Of("gw_state_calls_total{call=key}")
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if r, err := c.Key(context.Background(), "k"); err != nil || r == nil {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	testkit.Eventually(t, "all are waiting", func() bool { return c.counts.Of("gw_state_key_cache_total{outcome=miss}") >= 50 })
	resume()
	wg.Wait()
	if got := c.counts.Of("gw_state_calls_total{call=key}") - calls; got > 2 {
		t.Errorf("Redis was asked %g times", got)
	}
}

// TestKeysWhileAway uses what is known for as long as it may be, and fails after.
func TestKeysWhileAway(t *testing.T) {
	server := testkit.Redis(t)
	clock := testkit.NewClock(time.Now())
	ctx := t.Context()
	// Put before the client listens: being told of the key would make it forget what it has read.
	if err := open(t, server.URL, Options{Budget: generous}).PutKey(ctx, record("k")); err != nil {
		t.Fatal(err)
	}
	c := newRig(t, server.URL, Options{Budget: generous, Now: clock.Now}).calm(t)
	if r, err := c.Key(ctx, "k"); err != nil || r == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	server.Stop()
	if r, err := c.Key(ctx, "k"); err != nil || r == nil {
		t.Errorf("what was just read: %+v, %v", r, err)
	}
	clock.Advance(untrusted)
	if r, err := c.Key(ctx, "k"); !errors.Is(err, policy.ErrStateAway) || r != nil {
		t.Errorf("what was read two seconds ago: %+v, %v", r, err)
	}
}

func TestRecordsThatAreNone(t *testing.T) {
	server := testkit.Redis(t)
	c, db := open(t, server.URL, Options{Budget: generous}), direct(t, server.URL)
	for _, tt := range []struct{ name, raw, want string }{
		{"no JSON", "{", "API key k: decode its record: unexpected end of JSON input"},
		{"of another", `{"id":"other"}`, "API key k: its record is of another key"},
		{"too large", strings.Repeat(" ", maxRecord+1), "API key k: its record has 65537 bytes; 65536 are allowed"},
	} {
		if err := db.Set(t.Context(), "gw:key:k", tt.raw, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if r, err := c.Key(t.Context(), "k"); err == nil || err.Error() != tt.want || r != nil {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		if r, err := c.StoredKey(t.Context(), "k"); err == nil || err.Error() != tt.want || r != nil {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
	}
}

func TestKeyUsed(t *testing.T) {
	server := testkit.Redis(t)
	c, other := newRig(t, server.URL, Options{Budget: generous}).calm(t), open(t, server.URL, Options{Budget: generous})
	ctx := t.Context()
	if err := c.PutKey(ctx, record("k")); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	c.KeyUsed("k", at)
	c.KeyUsed("k", at.Add(59*time.Second))
	c.KeyUsed("not an id", at)
	if n := len(c.usage.noted); n != 1 {
		t.Errorf("%d are noted", n)
	}
	c.flushUsage(ctx)
	used := func() time.Time {
		r, err := other.StoredKey(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		page, _, err := other.Keys(ctx, "", 0)
		if err != nil || len(page) != 1 || !page[0].LastUsed.Equal(r.LastUsed) {
			t.Errorf("listed %+v, %v; alone it is %s", page, err, r.LastUsed)
		}
		return r.LastUsed
	}
	if got := used(); !got.Equal(at) {
		t.Errorf("used at %s, want %s", got, at)
	}
	if r, err := other.UpdateKey(ctx, "k", func(r *policy.KeyRecord) error { r.Owner = "x"; return nil }); err != nil || !r.LastUsed.Equal(at) {
		t.Errorf("after an update: %+v, %v", r, err)
	}
	c.KeyUsed("k", at.Add(time.Minute))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := used(); !got.Equal(at.Add(time.Minute)) {
		t.Errorf("what was pending when it was closed: %s", got)
	}
}

func TestUsageIsBounded(t *testing.T) {
	server := testkit.Redis(t)
	c, db := newRig(t, server.URL, Options{Budget: generous}).calm(t), direct(t, server.URL)
	for i := range maxUsage + 100 {
		c.KeyUsed(fmt.Sprint("k", i), time.Now())
	}
	c.usage.mu.Lock()
	noted, pending := len(c.usage.noted), len(c.usage.pending)
	c.usage.mu.Unlock()
	if noted > maxUsage || pending > maxUsage {
		t.Errorf("%d noted, %d pending", noted, pending)
	}
	c.flushUsage(t.Context())
	if n := db.HLen(t.Context(), usedKey).Val(); n != maxUsage {
		t.Errorf("%d were written down", n)
	}
}

func TestReplicas(t *testing.T) {
	server := testkit.Redis(t)
	a, db := newRig(t, server.URL, Options{Budget: generous, Environment: "prod", Instance: "a"}).calm(t), direct(t, server.URL)
	b := newRig(t, server.URL, Options{Budget: generous, Environment: "prod"}).calm(t)
	newRig(t, server.URL, Options{Budget: generous, Environment: "test"}).calm(t)
	if !a.beat(t.Context()) || a.Replicas() != 2 || b.Replicas() != 2 || a.counts.Of("gw_state_replicas{}") != 2 {
		t.Errorf("a counts %d, b %d", a.Replicas(), b.Replicas())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	// One that ended without a word is counted for 15 seconds.
	long := float64(time.Now().Add(-beatCounts - time.Second).UnixMilli())
	for name, score := range map[string]float64{"gone": long, "just now": long + 5000} {
		if err := db.Do(t.Context(), "ZADD", "gw:instances:prod", score, name).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if !a.beat(t.Context()) || a.Replicas() != 2 {
		t.Errorf("a counts %d: itself, and one that was there just now", a.Replicas())
	}
	server.Stop()
	if a.beat(t.Context()) || a.Replicas() != 2 || a.Status().Replicas != 2 {
		t.Errorf("without Redis a counts %d", a.Replicas())
	}
}
