package gcra_test

import (
	"math/rand/v2"
	"testing"
	"testing/quick"

	"github.com/suuupra/gateway/internal/gcra"
)

// TestSequence is ten tokens for each sixty seconds, asked for one at a time.
func TestSequence(t *testing.T) {
	b := gcra.Bucket{Every: 6, Burst: 10}
	full := int64(0)
	for i := range int64(10) {
		got := b.Take(full, 1000, 1)
		if !got.Granted || got.Remaining != 9-i {
			t.Fatalf("call %d: %+v", i+1, got)
		}
		full = got.Full
	}
	for _, tt := range []struct {
		now, cost int64
		want      gcra.Taken
	}{
		{1000, 1, gcra.Taken{Full: 1060, Retry: 6}},
		{1005, 1, gcra.Taken{Full: 1060, Retry: 1}},
		{1006, 1, gcra.Taken{Full: 1066, Granted: true}},
		{1006, 0, gcra.Taken{Full: 1060, Granted: true, Remaining: 1}},
		{1030, 6, gcra.Taken{Full: 1060, Remaining: 5, Retry: 6}},
		{1030, 11, gcra.Taken{Full: 1060, Remaining: 5, Retry: -1}},
		{5000, 10, gcra.Taken{Full: 5060, Granted: true}},
	} {
		if got := b.Take(full, tt.now, tt.cost); got != tt.want {
			t.Errorf("at %d for %d: %+v, want %+v", tt.now, tt.cost, got, tt.want)
		}
	}
}

// TestSmallerBucket shrinks a bucket that is empty: it is empty, no more.
func TestSmallerBucket(t *testing.T) {
	if got := (gcra.Bucket{Every: 1, Burst: 5}).Take(1000, 0, 1); got.Full != 5 || got.Retry != 1 {
		t.Errorf("%+v", got)
	}
}

// TestNeverMoreThanItHolds holds what is granted in any span of time to what the bucket may hold and gets.
func TestNeverMoreThanItHolds(t *testing.T) {
	check := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		b := gcra.Bucket{Every: 1 + r.Int64N(20), Burst: 1 + r.Int64N(20)}
		now, full, granted := int64(0), int64(0), int64(0)
		for range 300 {
			now += r.Int64N(2 * b.Every)
			cost := r.Int64N(b.Burst + 2)
			got := b.Take(full, now, cost)
			if got.Granted {
				granted += cost
			} else if got.Retry > 0 && !b.Take(got.Full, now+got.Retry, cost).Granted {
				return false // it said when
			}
			full = got.Full
			if granted > b.Burst+now/b.Every || got.Remaining < 0 || got.Remaining > b.Burst {
				return false
			}
		}
		return true
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
}

func TestFits(t *testing.T) {
	for _, tt := range []struct {
		b    gcra.Bucket
		cost int64
		want bool
	}{
		{gcra.Bucket{Every: 86_400_000_000_000, Burst: 1}, 1, true},
		{gcra.Bucket{Every: 1, Burst: 1_000_000_000}, 1_000_000, true},
		{gcra.Bucket{Every: 0, Burst: 1}, 1, false},
		{gcra.Bucket{Every: 1, Burst: 0}, 1, false},
		{gcra.Bucket{Every: 1, Burst: 1}, -1, false},
		{gcra.Bucket{Every: 1 << 40, Burst: 1 << 30}, 1, false},
		{gcra.Bucket{Every: 1 << 40, Burst: 1}, 1 << 30, false},
	} {
		if got := tt.b.Fits(tt.cost); got != tt.want {
			t.Errorf("%+v for %d: %v", tt.b, tt.cost, got)
		}
	}
}
