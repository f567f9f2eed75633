package retry

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	cases := []struct {
		name                        string
		active                      int
		percent, least, most, allow int64
	}{
		{"a fifth", 100, 20, 3, 256, 20},
		{"rounded down", 99, 20, 3, 256, 19},
		{"at least", 5, 20, 3, 256, 3},
		{"at least, without requests", 0, 20, 3, 256, 3},
		{"at most", 100, 20, 3, 7, 7},
		{"the bound holds for the least too", 1, 20, 10, 2, 2},
		{"none", 100, 0, 0, 256, 0},
		{"no room at all", 100, 50, 3, 0, 0},
		{"all of them", 10, 100, 0, 256, 10},
		{"more than all of them", 10, 1000, 0, 256, 100},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var b Budget
			for range c.active {
				b.Begin()
			}
			for range c.allow {
				if !b.TryRetry(c.percent, c.least, c.most) {
					t.Fatalf("refuses retry %d, want %d", b.Retries()+1, c.allow)
				}
			}
			if b.TryRetry(c.percent, c.least, c.most) {
				t.Fatalf("allows retry %d", b.Retries())
			}
			if c.allow > 0 {
				b.EndRetry()
				if !b.TryRetry(c.percent, c.least, c.most) {
					t.Error("refuses a retry in the place of one that ended")
				}
			}
			for range c.active {
				b.End()
			}
			for range c.allow {
				b.EndRetry()
			}
			if b.Active() != 0 || b.Retries() != 0 {
				t.Errorf("%d requests and %d retries at the end", b.Active(), b.Retries())
			}
		})
	}
}

// Requests that end take room from the retries that come, not from those under way.
func TestBudgetShrinks(t *testing.T) {
	var b Budget
	for range 100 {
		b.Begin()
	}
	for range 20 {
		b.TryRetry(20, 3, 256)
	}
	for range 50 {
		b.End()
	}
	for range 11 {
		if b.TryRetry(20, 3, 256) {
			t.Fatalf("allows a retry beside %d, with 50 requests", b.Retries()-1)
		}
		b.EndRetry()
	}
	if !b.TryRetry(20, 3, 256) || b.TryRetry(20, 3, 256) {
		t.Error("does not allow ten of 50")
	}
}

// However many ask at once, exactly as many are allowed as there are places.
func TestBudgetIsExactConcurrently(t *testing.T) {
	for range 200 {
		var b Budget
		for range 80 {
			b.Begin()
		}
		var allowed atomic.Int64
		var all, asked sync.WaitGroup
		asked.Add(64)
		for range 64 {
			all.Go(func() {
				ok := b.TryRetry(20, 3, 256)
				asked.Done()
				asked.Wait() // nobody gives a place back before all have asked
				if ok {
					allowed.Add(1)
					b.EndRetry()
				}
			})
		}
		all.Wait()
		if allowed.Load() != 16 || b.Retries() != 0 {
			t.Fatalf("%d of 64 were allowed, want 16; %d are left", allowed.Load(), b.Retries())
		}
	}
}

func TestBackoffBounds(t *testing.T) {
	const ms = time.Millisecond
	cases := []struct {
		name        string
		base, limit time.Duration
		attempt     int
		top         time.Duration
	}{
		{"the first", 25 * ms, 250 * ms, 1, 25 * ms},
		{"the second", 25 * ms, 250 * ms, 2, 50 * ms},
		{"the fourth", 25 * ms, 250 * ms, 4, 200 * ms},
		{"at most", 25 * ms, 250 * ms, 5, 250 * ms},
		{"for ever", 25 * ms, 250 * ms, math.MaxInt, 250 * ms},
		{"before the first", 25 * ms, 250 * ms, 0, 25 * ms},
		{"long before the first", 25 * ms, 250 * ms, math.MinInt, 25 * ms},
		{"a limit below the base", 25 * ms, 10 * ms, 1, 10 * ms},
		{"a limit of nothing", 25 * ms, 0, 3, 0},
		{"a base of nothing", 0, 250 * ms, 3, 0},
		{"a base of nothing, for ever", 0, 250 * ms, 100, 0},
		{"both negative", -1, -1, 3, 0},
		{"the greatest", 1, math.MaxInt64, 64, math.MaxInt64},
		{"nearly the greatest", 1, math.MaxInt64, 63, 1 << 62},
		{"a great base", math.MaxInt64 / 2, math.MaxInt64, 2, math.MaxInt64 - 1},
		{"a greater base", math.MaxInt64/2 + 1, math.MaxInt64, 2, math.MaxInt64},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Backoff(c.base, c.limit, c.attempt, func() uint64 { return uint64(c.top) }); got != c.top {
				t.Errorf("waits %d at the most, want %d", got, c.top)
			}
			if got := Backoff(c.base, c.limit, c.attempt, func() uint64 { return 0 }); got != 0 {
				t.Errorf("waits %d at the least", got)
			}
			r := rand.New(rand.NewPCG(1, 2))
			for range 1000 {
				if got := Backoff(c.base, c.limit, c.attempt, r.Uint64); got < 0 || got > c.top {
					t.Fatalf("waits %d, want 0 to %d", got, c.top)
				}
			}
		})
	}
}

// Full jitter is uniform. In ten classes of 10,000 draws chi-square has nine degrees of freedom; more than 50 has a chance of
// one in ten millions.
func TestBackoffIsUniform(t *testing.T) {
	const draws, classes = 10_000, 10
	var counts [classes]float64
	r := rand.New(rand.NewPCG(3, 4))
	for range draws {
		counts[min(Backoff(100, 100*time.Second, 21, r.Uint64)*classes/(100<<20), classes-1)]++
	}
	chi := 0.0
	for _, n := range counts {
		chi += (n - draws/classes) * (n - draws/classes) / (draws / classes)
	}
	if chi > 50 {
		t.Errorf("counts are %v, chi-square %.1f", counts, chi)
	}
}

func TestAfter(t *testing.T) {
	now := time.Date(2026, 11, 6, 8, 49, 37, 0, time.FixedZone("", 3600)) // 07:49:37 GMT
	const limit = 20 * time.Minute
	cases := []struct {
		name, value string
		want        time.Duration
		ok          bool
	}{
		{"seconds", "120", 2 * time.Minute, true},
		{"none", "0", 0, true},
		{"leading zeros", "00005", 5 * time.Second, true},
		{"spaces and tabs around", " \t7 ", 7 * time.Second, true},
		{"the limit", "1200", limit, true},
		{"beyond it", "1201", limit, true},
		{"ten years", "315360000", limit, true},
		{"beyond what a duration holds", "9223372037", limit, true},
		{"beyond 64 bits", "18446744073709551616", limit, true},
		{"a thousand digits", strings.Repeat("9", 1000), limit, true},
		{"a thousand zeros", strings.Repeat("0", 1000), 0, true},

		{"a date", "Fri, 06 Nov 2026 07:50:37 GMT", time.Minute, true},
		{"of RFC 850", "Friday, 06-Nov-26 07:50:37 GMT", time.Minute, true},
		{"of asctime", "Fri Nov  6 07:50:37 2026", time.Minute, true},
		{"now", "Fri, 06 Nov 2026 07:49:37 GMT", 0, true},
		{"the past", "Sun, 06 Nov 1994 08:49:37 GMT", 0, true},
		{"the past of RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", 0, true},
		{"the past of asctime", "Sun Nov  6 08:49:37 1994", 0, true},
		{"the far future", "Fri, 31 Dec 9999 23:59:59 GMT", limit, true},
		{"44 years ahead, not 56 ago", "Thursday, 06-Nov-70 08:49:37 GMT", limit, true},
		{"50 years ahead at most", "Friday, 06-Nov-76 07:49:37 GMT", limit, true},
		{"49 years ago rather than 51 ahead", "Sunday, 06-Nov-77 08:49:37 GMT", 0, true},
		{"a leap day of this century", "Tuesday, 29-Feb-00 00:00:00 GMT", 0, true},
		{"the year zero", "Sat, 01 Jan 0000 00:00:00 GMT", 0, true},

		{"empty", "", 0, false},
		{"spaces", "  ", 0, false},
		{"negative", "-5", 0, false},
		{"signed", "+5", 0, false},
		{"a fraction", "1.5", 0, false},
		{"an exponent", "1e3", 0, false},
		{"hexadecimal", "0x10", 0, false},
		{"other digits", "٣", 0, false},
		{"a unit", "5s", 0, false},
		{"a list", "5, 10", 0, false},
		{"a space between", "1 0", 0, false},
		{"another zone", "Fri, 06 Nov 2026 07:50:37 CET", 0, false},
		{"another zone in RFC 850", "Friday, 06-Nov-26 07:50:37 EST", 0, false},
		{"an offset", "Fri, 06 Nov 2026 07:50:37 +0000", 0, false},
		{"ISO 8601", "2026-11-06T07:50:37Z", 0, false},
		{"no such day", "Fri, 31 Feb 2026 07:50:37 GMT", 0, false},
		{"no such hour", "Fri, 06 Nov 2026 24:50:37 GMT", 0, false},
		{"something behind", "Fri, 06 Nov 2026 07:50:37 GMT; x", 0, false},
		{"garbage", "soon", 0, false},
		{"a zero byte", "5\x00", 0, false},
		{"a line break", "5\n", 0, false},
		{"a million letters", strings.Repeat("x", 1_000_000), 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := After(c.value, now, limit); got != c.want || ok != c.ok {
				t.Errorf("is %s, %t, want %s, %t", got, ok, c.want, c.ok)
			}
		})
	}
	if got, ok := After("5", now, -time.Second); got != 0 || !ok {
		t.Errorf("under a negative limit it is %s, %t", got, ok)
	}
}

// Whatever an upstream sends, the answer is within bounds.
func FuzzAfter(f *testing.F) {
	for _, s := range []string{"120", "Fri, 06 Nov 2026 07:50:37 GMT", "Friday, 06-Nov-26 07:50:37 GMT", "Fri Nov  6 07:50:37 2026", "-1", ""} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 6, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		got, ok := After(value, now, time.Hour)
		if got < 0 || got > time.Hour || !ok && got != 0 {
			t.Errorf("%q is %s, %t", value, got, ok)
		}
	})
}
