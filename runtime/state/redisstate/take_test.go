package redisstate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/memstate"
)

// rounded takes the microseconds that pass during a test out of results.
func rounded(taken []policy.Taken) []policy.Taken {
	out := slices.Clone(taken)
	for i := range out {
		out[i].Reset, out[i].Retry = out[i].Reset.Round(time.Minute), out[i].Retry.Round(time.Minute)
	}
	return out
}

// TestLikeMemory asks Redis and the state in memory the same, and wants the same answers.
func TestLikeMemory(t *testing.T) {
	server := testkit.Redis(t)
	states := []policy.State{open(t, server.URL, Options{Budget: generous}), memstate.New(memstate.Options{})}
	r := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "b", "c", "", "a\r\nDEL x", "{a}", "*", "\x00", strings.Repeat("long", 1000)}
	for step := range 500 {
		var ask []policy.Bucket
		for _, at := range r.Perm(len(names))[:r.IntN(5)] {
			ask = append(ask, policy.Bucket{Name: names[at], Every: time.Hour, Burst: 20, Cost: r.Int64N(4)})
		}
		var got [2][]policy.Taken
		for i, s := range states {
			taken, err := s.Take(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			got[i] = rounded(taken)
		}
		if !reflect.DeepEqual(got[0], got[1]) {
			t.Fatalf("step %d: asked %+v\n Redis:  %+v\n memory: %+v", step, ask, got[0], got[1])
		}
	}
}

// TestScriptIsTheAlgorithm runs the script with a clock that the test sets, and holds it to the algorithm in Go: the same answers,
// the same number kept, for as long as it means anything.
func TestScriptIsTheAlgorithm(t *testing.T) {
	db := direct(t, testkit.Redis(t).URL)
	text := takeText
	// The time is the test's; and nothing expires by the server's own, but is kept beside.
	for from, to := range map[string]string{
		"local clock = redis.call('TIME')\nlocal now = clock[1] * 1000000 + clock[2]\n": "local now = tonumber(ARGV[#ARGV])\n",
		", 'PX', ": ") redis.call('SET', KEYS[i] .. ' ttl', ",
	} {
		if strings.Count(text, from) != 1 {
			t.Fatalf("the script does not say %q once", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	if strings.Contains(text, "TIME") {
		t.Fatal("the script reads the clock once more")
	}
	script := redis.NewScript(text)
	r := rand.New(rand.NewPCG(5, 6))
	shapes := []gcra.Bucket{{Every: 1_000_000, Burst: 10}, {Every: 1, Burst: 1_000_000_000}, {Every: 86_400_000_000, Burst: 3}, {Every: 7, Burst: 1 << 40}}
	now, full := int64(1_790_000_000_000_000), make([]int64, len(shapes))
	for step := range 4000 {
		switch at := r.IntN(len(shapes)); r.IntN(20) {
		case 0:
			now -= r.Int64N(3_600_000_000) // somebody sets the clock back
		case 1:
			shapes[at].Burst = max(1, shapes[at].Burst/2) // or makes a limit smaller
		default:
			now += r.Int64N(2 * shapes[at].Every)
		}
		var keys []string
		var args []any
		var asked []int
		var costs []int64
		for i, b := range shapes {
			if r.IntN(2) == 0 {
				continue
			}
			cost := r.Int64N(min(b.Burst, 1000) + 1)
			asked, costs, keys, args = append(asked, i), append(costs, cost), append(keys, fmt.Sprint("bucket", i)), append(args, b.Burst*b.Every, cost*b.Every)
		}
		answer, err := script.Run(t.Context(), db, keys, append(args, now)...).Int64Slice()
		if err != nil {
			t.Fatal(err)
		}
		all := true
		for j, i := range asked {
			all = all && shapes[i].Take(full[i], now, costs[j]).Granted
		}
		for j, i := range asked {
			b, look := shapes[i], shapes[i].Take(full[i], now, 0)
			want := b.Take(full[i], now, costs[j])
			if (answer[2*j] == 1) != want.Granted || answer[2*j+1] != look.Full-now {
				t.Fatalf("step %d: bucket %+v at %d, full at %d, for %d: answered %v, want %+v", step, b, now, full[i], costs[j], answer[2*j:2*j+2], want)
			}
			if !all || costs[j] == 0 {
				continue
			}
			full[i] = want.Full
			kept, err := db.Get(t.Context(), keys[j]).Int64()
			if err != nil || kept != want.Full {
				t.Fatalf("step %d: kept %d, %v; want %d", step, kept, err, want.Full)
			}
			ttl, err := db.Get(t.Context(), keys[j]+" ttl").Int64()
			if least := (want.Full-now+999)/1000 + 1000; err != nil || ttl != least {
				t.Fatalf("step %d: is kept for %d ms, %v; want %d", step, ttl, err, least)
			}
		}
	}
}

// TestResults is what Go makes of the script's answers, for numbers that are no whole microseconds too.
func TestResults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		b       policy.Bucket
		granted bool
		missing int64
		want    policy.Taken
	}{
		{"full", policy.Bucket{Every: time.Second, Burst: 10, Cost: 1}, true, 0, policy.Taken{Granted: true, Remaining: 9, Reset: time.Second}},
		{"look", policy.Bucket{Every: time.Second, Burst: 10}, true, 2_500_000, policy.Taken{Granted: true, Remaining: 7, Reset: 2500 * time.Millisecond}},
		{"refused", policy.Bucket{Every: time.Second, Burst: 10, Cost: 2}, false, 8_500_000, policy.Taken{Remaining: 1, Reset: 8500 * time.Millisecond, Retry: 500 * time.Millisecond}},
		{"less than a microsecond a token", policy.Bucket{Every: 10, Burst: 1_000_000, Cost: 1000}, true, 0, policy.Taken{Granted: true, Remaining: 999_000, Reset: 10 * time.Microsecond}},
		{"rounded up", policy.Bucket{Every: 333, Burst: 3, Cost: 1}, true, 0, policy.Taken{Granted: true, Remaining: 0, Reset: time.Microsecond}},
		{"all of an odd one", policy.Bucket{Every: 1500, Burst: 3, Cost: 3}, true, 0, policy.Taken{Granted: true, Remaining: 0, Reset: 5 * time.Microsecond}},
		{"an odd one is full", policy.Bucket{Every: 999, Burst: 1}, true, 0, policy.Taken{Granted: true, Remaining: 1}},
	} {
		a := ask{size: micros(tt.b.Burst, tt.b.Every), want: micros(tt.b.Cost, tt.b.Every), granted: tt.granted, missing: tt.missing}
		if granted := a.want <= a.size-a.missing; granted != tt.granted {
			t.Errorf("%s: the script would say %t", tt.name, granted)
		}
		if got := results([]policy.Bucket{tt.b}, []ask{a}); got[0] != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got[0], tt.want)
		}
	}
}

func TestTakeRefusesNonsense(t *testing.T) {
	c := open(t, testkit.Redis(t).URL, Options{Budget: generous})
	for _, tt := range []struct {
		name string
		b    policy.Bucket
		want string
	}{
		{"as everywhere", policy.Bucket{Every: time.Second, Burst: 1, Cost: 2}, "bucket 1 of 1: cost 2 is more than its burst of 1"},
		{
			"not exact in floating point",
			policy.Bucket{Every: time.Nanosecond, Burst: 1<<61 - 1},
			"bucket 1 of 1: burst 2305843009213693951, one token each 1ns, takes longer than 71 years to fill",
		},
	} {
		if _, err := c.Take(t.Context(), []policy.Bucket{tt.b}); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if got, err := c.Take(t.Context(), []policy.Bucket{{Every: time.Microsecond, Burst: 1 << 51, Cost: 1 << 51}}); err != nil || !got[0].Granted || got[0].Remaining != 0 {
		t.Errorf("the largest: %+v, %v", got, err)
	}
}

// TestOneRoundTrip counts what a server is asked: one command for each Take, whatever the number of buckets, and whole scripts only
// where they are not known.
func TestOneRoundTrip(t *testing.T) {
	server := testkit.Redis(t)
	c, db := newRig(t, server.URL, Options{Budget: generous}).calm(t), direct(t, server.URL)
	three := slices.Concat(one("a", 5, 1), one("b", 5, 1), one("c", 5, 0))
	take := func() {
		t.Helper()
		if _, err := c.Take(t.Context(), three); err != nil {
			t.Fatal(err)
		}
	}
	take()
	commands(t, db)
	take()
	got := commands(t, db)
	delete(got, "ping") // of the subscription
	want := map[string]int{"evalsha": 1, "time": 1, "get": 3, "set": 2, "config|resetstat": 1}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a known script: %v, want %v", got, want)
	}
	if err := db.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	commands(t, db)
	take()
	if got := commands(t, db); got["evalsha"] != 1 || got["eval"] != 1 {
		t.Errorf("an unknown script: %v", got)
	}
	if got, err := c.Take(t.Context(), three); err != nil || got[0].Remaining != 1 {
		t.Errorf("four were taken of five: %+v, %v", got, err)
	}
	if _, err := c.First(t.Context(), "x", time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := commands(t, db); got["evalsha"] != 1 || got["set"] != 3 {
		t.Errorf("after all: %v", got)
	}
}

// TestFlushedMidway forgets the scripts again and again while many ask: exactly what the bucket holds is granted.
func TestFlushedMidway(t *testing.T) {
	server := testkit.Redis(t)
	c, other, db := open(t, server.URL, Options{Budget: generous}), open(t, server.URL, Options{Budget: generous}), direct(t, server.URL)
	var granted atomic.Int64
	var wg sync.WaitGroup
	for _, from := range []*Client{c, other, c, other} {
		wg.Go(func() {
			for range 100 {
				got, err := from.Take(context.Background(), one("b", 123, 1))
				if err != nil {
					t.Error(err)
				} else if got[0].Granted {
					granted.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for flushing := true; flushing; {
		select {
		case <-done:
			flushing = false
		default:
			if err := db.ScriptFlush(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		}
	}
	if granted.Load() != 123 {
		t.Errorf("granted %d of 123 tokens", granted.Load())
	}
}

// TestClockSetBack finds a bucket that is full far in the future: it is empty, no more, and fills as it should.
func TestClockSetBack(t *testing.T) {
	server := testkit.Redis(t)
	c, db := open(t, server.URL, Options{Budget: generous}), direct(t, server.URL)
	far := time.Now().Add(1000 * time.Hour).UnixMicro()
	if err := db.Set(t.Context(), c.key('b', "a"), far, 0).Err(); err != nil {
		t.Fatal(err)
	}
	want := policy.Taken{Reset: 10 * time.Hour, Retry: time.Hour}
	if got, err := c.Take(t.Context(), one("a", 10, 1)); err != nil || got[0] != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := db.Set(t.Context(), c.key('b', "b"), "no number", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Take(t.Context(), one("b", 10, 1)); err == nil {
		t.Errorf("what is no number is no full bucket: %+v", got)
	}
}

// TestNamesAreOnlyNames stores what clients may send; what reaches Redis is a digest.
func TestNamesAreOnlyNames(t *testing.T) {
	server := testkit.Redis(t)
	c, db := newRig(t, server.URL, Options{Budget: generous, Environment: "prod"}).calm(t), direct(t, server.URL)
	names := []string{"", "a\r\nFLUSHALL\r\n", "*", "{}", "{a}b", "gw:keys", "\x00", "\xff\xfe", strings.Repeat("x", 1<<20)}
	for _, name := range names {
		if got, err := c.Take(t.Context(), one(name, 2, 1)); err != nil || got[0].Remaining != 1 {
			t.Errorf("bucket %.10q: %+v, %v", name, got, err)
		}
		if got, err := c.First(t.Context(), name, time.Minute); err != nil || !got {
			t.Errorf("name %.10q: %t, %v", name, got, err)
		}
	}
	keys := db.Keys(t.Context(), "*").Val()
	form := regexp.MustCompile(`^gw:[bo]:[A-Za-z0-9_-]{22}$|^gw:instances:prod$`)
	for _, k := range keys {
		if !form.MatchString(k) {
			t.Errorf("there is a key %q", k)
		}
		if ttl := db.PTTL(t.Context(), k).Val(); ttl <= 0 || ttl > 2*time.Hour {
			t.Errorf("%s is kept for %s", k, ttl)
		}
	}
	if want := 2*len(names) + 1; len(keys) != want {
		t.Errorf("there are %d keys, want %d", len(keys), want)
	}
}

func TestEnvironmentsAreApart(t *testing.T) {
	server := testkit.Redis(t)
	prod, test := open(t, server.URL, Options{Budget: generous, Environment: "prod"}), open(t, server.URL, Options{Budget: generous, Environment: "test"})
	for _, c := range []*Client{prod, test} {
		if got, err := c.Take(t.Context(), one("a", 1, 1)); err != nil || !got[0].Granted {
			t.Errorf("%s: %+v, %v", c.env, got, err)
		}
		if got, err := c.First(t.Context(), "a", time.Minute); err != nil || !got {
			t.Errorf("%s: %t, %v", c.env, got, err)
		}
	}
}

func TestFirst(t *testing.T) {
	server := testkit.Redis(t)
	c, db := open(t, server.URL, Options{Budget: generous}), direct(t, server.URL)
	var firsts atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			first, err := c.First(context.Background(), "token", time.Hour)
			if err != nil {
				t.Error(err)
			}
			if first {
				firsts.Add(1)
			}
		})
	}
	if wg.Wait(); firsts.Load() != 1 {
		t.Errorf("%d were the first", firsts.Load())
	}
	if first, err := c.First(t.Context(), "short", 1); err != nil || !first {
		t.Errorf("less than a millisecond: %t, %v", first, err)
	}
	testkit.Eventually(t, "it is forgotten", func() bool { return db.Exists(t.Context(), c.key('o', "short")).Val() == 0 })
	if _, err := c.First(t.Context(), "x", -1); err == nil || err.Error() != "remember a name for -1ns: it must be for longer than nothing" {
		t.Errorf("no time to live: %v", err)
	}
}

func BenchmarkTake(b *testing.B) {
	server := testkit.Redis(b)
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("buckets=%d", n), func(b *testing.B) {
			c := open(b, server.URL, Options{Budget: generous})
			var ask []policy.Bucket
			for i := range n {
				ask = append(ask, policy.Bucket{Name: fmt.Sprint("prod\x00users\x00user:alice\x00", i), Every: time.Microsecond, Burst: 1 << 40, Cost: 1})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Take(context.Background(), ask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("buckets=1/parallel", func(b *testing.B) {
		c := open(b, server.URL, Options{Budget: generous})
		b.ReportAllocs()
		b.SetParallelism(16) // as many clients ask at a time, not as many CPUs
		b.RunParallel(func(p *testing.PB) {
			ask := []policy.Bucket{{Name: "a", Every: time.Microsecond, Burst: 1 << 40, Cost: 1}}
			for p.Next() {
				if _, err := c.Take(context.Background(), ask); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
