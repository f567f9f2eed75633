package health

import (
	"context"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Pauses are even over the interval give or take the jitter: none beyond, and each tenth of the range as often as any other.
func TestJitter(t *testing.T) {
	for name, test := range map[string]struct{ percent, least, most int64 }{
		"20 %":  {20, 2400, 3600},
		"1 %":   {1, 2970, 3030},
		"100 %": {100, 0, 6000},
	} {
		t.Run(name, func(t *testing.T) {
			c := every3s()
			c.JitterPercent = test.percent
			h := &Host{c: HostConfig{Check: c, Rand: seeded(3)}}
			least, most := ms(test.least), ms(test.most)
			const n = 10000
			var tenths [10]int
			sum := 0.0
			for range n {
				p := h.pause()
				if p < least || p > most {
					t.Fatalf("%s is not from %s to %s", p, least, most)
				}
				share := float64(p-least) / float64(most-least)
				tenths[min(int(share*10), 9)]++
				sum += share
			}
			// The mean of 10,000 even shares has a deviation of 1 / sqrt(12) / 100 = 0.0029, the count of a tenth one of
			// sqrt(10000 x 0.1 x 0.9) = 30: five of them each.
			if mean := sum / n; math.Abs(mean-0.5) > 0.0145 {
				t.Errorf("the mean is %v of the range", mean)
			}
			for i, k := range tenths {
				if k < n/10-150 || k > n/10+150 {
					t.Errorf("%d in tenth %d, want about %d", k, i, n/10)
				}
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		c := every3s()
		c.JitterPercent = 0
		h := &Host{c: HostConfig{Check: c, Rand: seeded(3)}}
		for range 100 {
			if p := h.pause(); p != 3*time.Second {
				t.Fatal(p)
			}
		}
	})
	t.Run("the longest interval there is", func(t *testing.T) {
		h := &Host{c: HostConfig{Check: &ir.Health{Interval: math.MaxInt64, JitterPercent: 100}, Rand: seeded(3)}}
		for range 100 {
			if p := h.pause(); p < time.Millisecond {
				t.Fatal(p)
			}
		}
	})
}

// Hosts that are made in one moment are not asked in one, neither the first time nor later.
func TestChecksSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		lamps := make([]*lamp, 200)
		for i := range lamps {
			lamps[i] = &lamp{}
			newHost(t, HostConfig{Address: name(i), Check: every3s(), Dial: lamps[i].dial, Rand: seeded(uint64(i))})
		}
		time.Sleep(time.Minute)
		var first, tenth [10]int
		for _, l := range lamps {
			asked := l.times()
			// 60 seconds are 19 intervals of three on the average, and from 16 to 25 of 2.4 to 3.6.
			if len(asked) < 17 || len(asked) > 26 || asked[0].Sub(begin) > firstCheck {
				t.Fatalf("%d checks, the first after %s", len(asked), asked[0].Sub(begin))
			}
			for i := 1; i < len(asked); i++ {
				if d := asked[i].Sub(asked[i-1]); d < 2400*time.Millisecond || d > 3600*time.Millisecond {
					t.Fatalf("%s between two checks", d)
				}
			}
			first[min(asked[0].Sub(begin)*10/firstCheck, 9)]++
			tenth[asked[9].Sub(begin)%(3*time.Second)*10/(3*time.Second)]++
		}
		for i := range 10 { // 20 each, with a deviation of sqrt(200 x 0.1 x 0.9) = 4.2
			if first[i] == 0 || first[i] > 42 {
				t.Errorf("%d of 200 are first asked in tenth %d of %s", first[i], i, firstCheck)
			}
			if tenth[i] > 80 { // the sum of ten pauses is no longer even, but far from a moment
				t.Errorf("%d of 200 are asked in tenth %d of an interval", tenth[i], i)
			}
		}
	})
}

// A short interval bounds the first check too.
func TestFirstCheckWithinInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := every3s()
		c.Interval = 100
		for i := range 50 {
			l := &lamp{}
			newHost(t, HostConfig{Address: name(i), Check: c, Dial: l.dial, Rand: seeded(uint64(i))})
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if len(l.times()) == 0 {
				t.Fatal("no check within the interval")
			}
		}
	})
}

// silent connects to somebody who takes everything and says nothing. It counts those who are still connected.
type silent struct{ open atomic.Int64 }

func (s *silent) dial(context.Context, string) (net.Conn, error) {
	here, there := net.Pipe()
	s.open.Add(1)
	go func() {
		defer s.open.Add(-1)
		_, _ = io.Copy(io.Discard, there)
		_ = there.Close()
	}()
	return here, nil
}

func TestTimeout(t *testing.T) {
	for _, kind := range []string{"http", "grpc"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := every3s()
				c.Type = kind
				s := &silent{}
				h := &Host{c: HostConfig{Address: "a:1", Check: c, Dial: s.dial}}
				h.c.fill()
				begin := time.Now()
				failure := h.check(t.Context())
				if took := time.Since(begin); failure == nil || failure.reason != CheckTimeout || failure.detail() != "no answer within 1s" || took != time.Second {
					t.Errorf("after %s: %+v", took, failure)
				}
				synctest.Wait()
				if n := s.open.Load(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
	t.Run("connecting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := &Host{c: HostConfig{Address: "a:1", Check: every3s(), Dial: hang}}
			h.c.fill()
			begin := time.Now()
			if failure := h.check(t.Context()); failure == nil || failure.reason != CheckTimeout || time.Since(begin) != time.Second {
				t.Errorf("after %s: %+v", time.Since(begin), failure)
			}
		})
	})
}

// hang connects to nobody for as long as it may.
func hang(ctx context.Context, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Close ends what is under way, at once, and leaves nothing behind: a goroutine that stayed would fail the bubble. What is cut
// off says nothing about the endpoint.
func TestCloseStopsChecks(t *testing.T) {
	s := &silent{}
	for name, dial := range map[string]func(context.Context, string) (net.Conn, error){
		"between two checks": (&lamp{}).dial, "while it connects": hang, "while it waits for the answer": s.dial,
	} {
		for _, kind := range []string{"http", "grpc"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := every3s()
					c.Type, c.Timeout, c.Unhealthy = kind, 60_000, 1
					log := &journal{}
					outcomes := 0
					h := newHost(t, HostConfig{Address: "a:1", Check: c, Dial: dial, OnEvent: log.add, OnCheck: func(bool) { outcomes++ }})
					time.Sleep(time.Second)
					synctest.Wait()
					log.take()
					outcomes = 0
					begin := time.Now()
					var all sync.WaitGroup
					for range 3 {
						all.Go(func() { closed(t, h.Close) })
					}
					all.Wait()
					if took := time.Since(begin); took != 0 {
						t.Errorf("closing took %s", took)
					}
					time.Sleep(time.Hour)
					if events := log.take(); len(events) != 0 || outcomes != 0 {
						t.Errorf("after closing: %v, %d outcomes", kinds(events), outcomes)
					}
				})
			})
		}
	}
	t.Run("before the first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &lamp{}
			h := newHost(t, HostConfig{Address: "a:1", Check: every3s(), Dial: l.dial, Rand: func() uint64 { return uint64(firstCheck) }})
			closed(t, h.Close)
			time.Sleep(time.Hour)
			if n := len(l.times()); n != 0 {
				t.Errorf("%d checks", n)
			}
		})
	})
}

// Checks wait for their turn, and can be closed while they do.
func TestChecksTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lamp{}
		turns := make(chan struct{}, 1)
		make1 := func() *checker {
			k := &checker{host: newHost(t, HostConfig{Address: "a:1", Dial: l.dial}), turns: turns, timer: time.NewTimer(time.Hour)}
			k.host.c.Check = every3s()
			k.ctx, k.cancel = context.WithCancel(t.Context())
			return k
		}
		turns <- struct{}{}
		waits, closes := make1(), make1()
		go waits.run()
		go closes.run()
		synctest.Wait()
		closes.close()
		if n := len(l.times()); n != 0 {
			t.Fatalf("%d checks while it was not their turn", n)
		}
		<-turns
		synctest.Wait()
		if n := len(l.times()); n != 1 || len(turns) != 0 {
			t.Errorf("%d checks, %d turns taken", n, len(turns))
		}
		waits.close()
	})
}
