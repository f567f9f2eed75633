package memstate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/keystore"
)

var (
	_ policy.State   = (*State)(nil)
	_ keystore.Store = (*State)(nil)
)

func newState() (*State, *testkit.Clock) {
	clock := testkit.NewClock(time.Time{})
	return New(Options{Now: clock.Now}), clock
}

// TestTake is ten tokens a minute beside three an hour, asked for together.
func TestTake(t *testing.T) {
	s, clock := newState()
	minute := policy.Bucket{Name: "minute", Every: 6 * time.Second, Burst: 10, Cost: 1}
	hour := policy.Bucket{Name: "hour", Every: 20 * time.Minute, Burst: 3, Cost: 1}
	look := policy.Bucket{Name: "minute", Every: 6 * time.Second, Burst: 10}
	for _, tt := range []struct {
		name  string
		after time.Duration
		ask   []policy.Bucket
		want  []policy.Taken
	}{
		{"first", 0, []policy.Bucket{minute, hour}, []policy.Taken{
			{Granted: true, Remaining: 9, Reset: 6 * time.Second}, {Granted: true, Remaining: 2, Reset: 20 * time.Minute},
		}},
		{"second", 0, []policy.Bucket{minute, hour}, []policy.Taken{
			{Granted: true, Remaining: 8, Reset: 12 * time.Second}, {Granted: true, Remaining: 1, Reset: 40 * time.Minute},
		}},
		{"third", 6 * time.Second, []policy.Bucket{minute, hour}, []policy.Taken{
			{Granted: true, Remaining: 8, Reset: 12 * time.Second}, {Granted: true, Remaining: 0, Reset: time.Hour - 6*time.Second},
		}},
		{"one refuses: none is changed", 0, []policy.Bucket{minute, hour}, []policy.Taken{
			{Granted: true, Remaining: 8, Reset: 12 * time.Second},
			{Remaining: 0, Reset: time.Hour - 6*time.Second, Retry: 20*time.Minute - 6*time.Second},
		}},
		{"a look", 0, []policy.Bucket{look}, []policy.Taken{{Granted: true, Remaining: 8, Reset: 12 * time.Second}}},
		{"clock set back: never longer than it takes to fill", -time.Hour, []policy.Bucket{minute}, []policy.Taken{
			{Reset: time.Minute, Retry: 6 * time.Second},
		}},
		{"forgotten", 2 * time.Hour, []policy.Bucket{minute}, []policy.Taken{{Granted: true, Remaining: 9, Reset: 6 * time.Second}}},
		{"nothing", 0, nil, nil},
	} {
		clock.Advance(tt.after)
		got, err := s.Take(t.Context(), tt.ask)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

// TestLikeOneBucket holds a single bucket to the algorithm it is made of.
func TestLikeOneBucket(t *testing.T) {
	s, clock := newState()
	r := rand.New(rand.NewPCG(1, 2))
	shape, full := gcra.Bucket{Every: int64(7 * time.Millisecond), Burst: 13}, int64(0)
	for range 5000 {
		clock.Advance(time.Duration(r.Int64N(int64(20 * time.Millisecond))))
		cost := r.Int64N(shape.Burst + 1)
		now := clock.Now().UnixNano()
		want := shape.Take(full, now, cost)
		full = want.Full
		got, err := s.Take(t.Context(), []policy.Bucket{{Name: "b", Every: time.Duration(shape.Every), Burst: shape.Burst, Cost: cost}})
		if err != nil {
			t.Fatal(err)
		}
		if g := got[0]; g.Granted != want.Granted || g.Remaining != want.Remaining || int64(g.Retry) != want.Retry || int64(g.Reset) != want.Full-now {
			t.Fatalf("cost %d: %+v, want %+v", cost, g, want)
		}
	}
}

func TestTakeRefusesNonsense(t *testing.T) {
	s, _ := newState()
	good := policy.Bucket{Name: "a", Every: time.Second, Burst: 10, Cost: 1}
	for _, tt := range []struct {
		name string
		ask  []policy.Bucket
		want string
	}{
		{"no time", []policy.Bucket{good, {Name: "b", Burst: 1}}, "bucket 2 of 2: burst 1, one token each 0s and cost 0 cannot be calculated with"},
		{"no burst", []policy.Bucket{{Name: "b", Every: 1}}, "bucket 1 of 1: burst 0, one token each 1ns and cost 0 cannot be calculated with"},
		{"negative cost", []policy.Bucket{{Name: "b", Every: 1, Burst: 1, Cost: -1}}, "bucket 1 of 1: burst 1, one token each 1ns and cost -1 cannot be calculated with"},
		{"overflow", []policy.Bucket{{Name: "b", Every: 1 << 40, Burst: 1 << 30}}, "bucket 1 of 1: burst 1073741824, one token each 18m19.511627776s and cost 0 cannot be calculated with"},
		{"cost over burst", []policy.Bucket{{Name: "b", Every: 1, Burst: 2, Cost: 3}}, "bucket 1 of 1: cost 3 is more than its burst of 2"},
		{"twice", []policy.Bucket{good, good}, "buckets 1 and 2 of 2 are the same"},
		{"too many", make([]policy.Bucket, 65), "take from 65 buckets at once: at most 64 can be asked"},
	} {
		if got, err := s.Take(t.Context(), tt.ask); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

// TestConcurrent lets many ask at once; exactly what the bucket holds is granted.
func TestConcurrent(t *testing.T) {
	s, _ := newState()
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				got, err := s.Take(t.Context(), []policy.Bucket{{Name: "b", Every: time.Second, Burst: 123, Cost: 1}})
				if err != nil {
					t.Error(err)
				} else if got[0].Granted {
					granted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if granted.Load() != 123 {
		t.Errorf("granted %d of 123 tokens", granted.Load())
	}
}

// TestBounded fills the state; buckets and names that mean nothing any more make room, others do not.
func TestBounded(t *testing.T) {
	s, clock := newState()
	s.buckets.most, s.once.most = 2000, 2000
	take := func(i int) error {
		_, err := s.Take(t.Context(), []policy.Bucket{{Name: fmt.Sprint(i), Every: time.Second, Burst: 1, Cost: 1}})
		return err
	}
	first := func(i int) error {
		_, err := s.First(t.Context(), fmt.Sprint(i), time.Second)
		return err
	}
	for name, put := range map[string]func(int) error{"buckets": take, "names": first} {
		for i := range 2000 {
			if err := put(i); err != nil {
				t.Fatalf("%s: %d: %v", name, i, err)
			}
		}
		if err := put(2000); !errors.Is(err, policy.ErrStateAway) {
			t.Errorf("%s: one too many: %v", name, err)
		}
		if err := put(0); err != nil {
			t.Errorf("%s: a known one: %v", name, err)
		}
		clock.Advance(2 * time.Second)
		if err := put(2000); err != nil {
			t.Errorf("%s: after all have expired: %v", name, err)
		}
	}
	if n := len(s.buckets.until); n > 2 {
		t.Errorf("%d buckets are kept", n)
	}
}

func TestFirst(t *testing.T) {
	s, clock := newState()
	for _, tt := range []struct {
		name  string
		after time.Duration
		ask   string
		want  bool
	}{
		{"new", 0, "a", true},
		{"again", 0, "a", false},
		{"another", 0, "A", true},
		{"nearly over", time.Minute - 1, "a", false},
		{"over", 1, "a", true},
		{"and again", 0, "a", false},
	} {
		clock.Advance(tt.after)
		if got, err := s.First(t.Context(), tt.ask, time.Minute); err != nil || got != tt.want {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
	}
	if _, err := s.First(t.Context(), "x", 0); err == nil || err.Error() != "remember a name for 0s: it must be for longer than nothing" {
		t.Errorf("no time to live: %v", err)
	}
}

func record(id string) *policy.KeyRecord {
	return &policy.KeyRecord{
		ID: id, Environment: "prod", Owner: "billing", Scopes: []string{"read"}, Hashes: []string{strings.Repeat("ab", 32)},
		Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestKeys(t *testing.T) {
	s, clock := newState()
	ctx := t.Context()
	for _, id := range []string{"c", "a", "e", "b", "d"} {
		if err := s.PutKey(ctx, record(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutKey(ctx, record("a")); !errors.Is(err, keystore.ErrKeyExists) {
		t.Errorf("the same id again: %v", err)
	}
	var ids []string
	for after := ""; ; {
		page, next, err := s.Keys(ctx, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			ids = append(ids, r.ID)
		}
		if after = next; next == "" {
			break
		}
	}
	if got := strings.Join(ids, ""); got != "abcde" {
		t.Errorf("listed %s", got)
	}
	before, _ := s.Key(ctx, "b")
	got, err := s.UpdateKey(ctx, "b", func(r *policy.KeyRecord) error {
		r.Revoked, r.Scopes[0], r.LastUsed = clock.Now(), "none", clock.Now()
		return nil
	})
	if err != nil || got.Revoked.IsZero() || !got.LastUsed.IsZero() {
		t.Errorf("update: %+v, %v", got, err)
	}
	if !before.Revoked.IsZero() || before.Scopes[0] != "read" {
		t.Error("an update changed a record that was handed out")
	}
	if now, _ := s.Key(ctx, "b"); now.Revoked.IsZero() || now.Scopes[0] != "none" {
		t.Errorf("after the update: %+v", now)
	}
}

func TestUpdateRefused(t *testing.T) {
	s, _ := newState()
	ctx := t.Context()
	if err := s.PutKey(ctx, record("a")); err != nil {
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
	} {
		if got, err := s.UpdateKey(ctx, tt.id, tt.edit); err == nil || err.Error() != tt.want || got != nil {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	if r, _ := s.StoredKey(ctx, "a"); !reflect.DeepEqual(r, record("a")) {
		t.Errorf("it was changed all the same: %+v", r)
	}
}

func TestKeyUsed(t *testing.T) {
	s, clock := newState()
	ctx := t.Context()
	if err := s.PutKey(ctx, record("a")); err != nil {
		t.Fatal(err)
	}
	used := func() time.Time {
		r, err := s.StoredKey(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		return r.LastUsed
	}
	first := clock.Now()
	s.KeyUsed("a", first)
	s.KeyUsed("unknown", first)
	s.KeyUsed("a", first.Add(59*time.Second))
	if got := used(); !got.Equal(first) {
		t.Errorf("noted more than once a minute: %s", got)
	}
	s.KeyUsed("a", first.Add(time.Minute))
	if got := used(); !got.Equal(first.Add(time.Minute)) {
		t.Errorf("a minute later: %s", got)
	}
	if len(s.keys.used) != 1 {
		t.Errorf("uses of keys that are not there are kept: %d", len(s.keys.used))
	}
}

func BenchmarkTake(b *testing.B) {
	s := New(Options{})
	ask := []policy.Bucket{{Name: "prod\x00users\x00user:alice", Every: time.Microsecond, Burst: 1 << 30, Cost: 1}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Take(context.Background(), ask); err != nil {
			b.Fatal(err)
		}
	}
}
