package balance

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

const ms = time.Millisecond

func TestLoadIsAPeakEWMA(t *testing.T) {
	cases := []struct {
		name string
		feed []time.Duration // an answer of so long each second; 0: none
		wait time.Duration
		want float64 // milliseconds
	}{
		{"nothing", nil, time.Hour, 0},
		{"one", []time.Duration{100 * ms}, 0, 100},
		{"a peak at once", []time.Duration{10 * ms, 10 * ms, 500 * ms}, 0, 500},
		// 100 e^(-1/10) + 20 (1 - e^(-1/10))
		{"slowly down", []time.Duration{100 * ms, 20 * ms}, 0, 100*math.Exp(-0.1) + 20*(1-math.Exp(-0.1))},
		{"what did not answer does not count", []time.Duration{100 * ms, 0, 0}, 0, 100 * math.Exp(-0.2)},
		{"a third of it after ten seconds", []time.Duration{100 * ms}, 10 * time.Second, 100 / math.E},
		{"nothing of it after an hour", []time.Duration{100 * ms}, time.Hour, 0},
		{"one that never answers", []time.Duration{0, 0, 0}, 0, 1000 * math.Exp(-0.2)},
		{"one that answers at last", []time.Duration{0, 2000 * ms}, 0, 2000},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Load
				for i, d := range c.feed {
					if i > 0 {
						time.Sleep(time.Second)
					}
					l.Begin()
					l.End(d)
				}
				time.Sleep(c.wait)
				if got := float64(l.Latency(time.Now())) / float64(ms); math.Abs(got-c.want) > 1e-5 {
					t.Errorf("is %v ms, want %v", got, c.want)
				}
				if n := l.Active(); n != 0 {
					t.Errorf("%d under way", n)
				}
			})
		})
	}
}

// A clock that was read earlier than the last answer came does not make the average grow.
func TestLoadLatencyOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := time.Now()
		time.Sleep(time.Minute)
		var l Load
		l.Begin()
		l.End(10 * ms)
		if got := l.Latency(before); got != 10*ms {
			t.Errorf("is %s", got)
		}
	})
}

// clients send one request after another, for as long, and count whom they sent it to. latency says how long a host takes.
func clients(n int, last time.Duration, b Balancer, hosts []Host, latency func(host int) time.Duration) []int {
	counts := make([]int, len(hosts))
	var mu sync.Mutex
	var all sync.WaitGroup
	until := time.Now().Add(last)
	for range n {
		all.Go(func() {
			for time.Now().Before(until) {
				i := b.Pick(Key{}, nil)
				mu.Lock()
				counts[i]++
				mu.Unlock()
				hosts[i].Load.Begin()
				took := latency(i)
				time.Sleep(took)
				hosts[i].Load.End(took)
			}
		})
	}
	all.Wait()
	return counts
}

func TestLeastLatencyAvoidsASlowHostAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := pool(alike(4)...)
		b := New(&ir.Balance{Strategy: ir.BalanceLeastLatency}, hosts, Env{})
		share := func(slow time.Duration, last time.Duration) float64 {
			counts := clients(8, last, b, hosts, func(i int) time.Duration {
				if i == 0 {
					return slow
				}
				return 10 * ms
			})
			all := 0
			for _, n := range counts {
				all += n
			}
			return float64(counts[0]) / float64(all)
		}
		if got := share(10*ms, 30*time.Second); math.Abs(got-0.25) > 0.05 {
			t.Errorf("of four alike one gets %.3f of the requests", got)
		}
		// It is 50 times as slow: it takes ten seconds times ln 50, 39 seconds, until it is tried again.
		if got := share(500*ms, 30*time.Second); got > 0.01 {
			t.Errorf("a slow host gets %.3f of the requests", got)
		}
		if got := share(500*ms, 2*time.Minute); got > 0.01 {
			t.Errorf("a host that stays slow gets %.3f of the requests", got)
		}
		share(10*ms, time.Minute) // it is well again: within a minute somebody finds out
		if got := share(10*ms, time.Minute); math.Abs(got-0.25) > 0.05 {
			t.Errorf("a host that is well again gets %.3f of the requests", got)
		}
	})
}

// A new host is tried at once, by one request; the others wait for what comes of it.
func TestLeastLatencyTriesTheUnknownOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := pool(1, 1)
		b := New(&ir.Balance{Strategy: ir.BalanceLeastLatency}, hosts, Env{})
		hosts[0].Load.Begin()
		hosts[0].Load.End(10 * ms)
		if i := b.Pick(Key{}, nil); i != 1 {
			t.Fatalf("picks %d, want the new one", i)
		}
		hosts[1].Load.Begin()
		for range 100 {
			if i := b.Pick(Key{}, nil); i != 0 {
				t.Fatalf("picks %d before the new one has answered", i)
			}
			hosts[0].Load.Begin()
		}
		hosts[1].Load.End(5 * ms)
		if i := b.Pick(Key{}, nil); i != 1 {
			t.Errorf("picks %d, want the faster one", i)
		}
	})
}

func TestLeastLatencyIsNotDrawnToWhatOnlyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := pool(1, 1, 1)
		b := New(&ir.Balance{Strategy: ir.BalanceLeastLatency}, hosts, Env{})
		failed := 0
		for range 1000 {
			i := b.Pick(Key{}, nil)
			hosts[i].Load.Begin()
			if i == 0 {
				failed++
				hosts[i].Load.End(0)
				continue
			}
			time.Sleep(10 * ms)
			hosts[i].Load.End(10 * ms)
		}
		if failed > 2 {
			t.Errorf("%d of 1000 requests in 10 s went to a host that only fails", failed)
		}
	})
}

// All are new: exchanges spread by their number until the first answers.
func TestLeastLatencyAmongTheUnknown(t *testing.T) {
	hosts := pool(alike(10)...)
	b := New(&ir.Balance{Strategy: ir.BalanceLeastLatency}, hosts, seeded(1))
	for range 100 {
		hosts[b.Pick(Key{}, nil)].Load.Begin()
	}
	for i := range hosts {
		if n := hosts[i].Load.Active(); n < 8 || n > 12 {
			t.Errorf("host %d has %d of 100 exchanges", i, n)
		}
	}
}

func TestLeastLatencyByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := pool(3, 1)
		for i := range hosts {
			hosts[i].Load.Begin()
			hosts[i].Load.End(10 * ms)
		}
		b := New(&ir.Balance{Strategy: ir.BalanceLeastLatency}, hosts, seeded(1))
		for range 400 {
			hosts[b.Pick(Key{}, nil)].Load.Begin()
		}
		if n := hosts[0].Load.Active(); n < 297 || n > 303 {
			t.Errorf("the host of weight 3 has %d of 400 exchanges", n)
		}
	})
}
