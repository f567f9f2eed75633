package ratelimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/quick"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/snapshot"
)

const leasing = "{ tokensPerInterval: 100, intervalMs: 60000, localPercent: 10, key: [ip] }" // one token each 600 ms, blocks of 10

// TestLease asks once for ten requests, and refuses what it knows to be gone without a question.
func TestLease(t *testing.T) {
	r := newRig(t, leasing)
	one := func() *policy.Exchange { return r.from("192.0.2.1") }
	if got := r.burst(25, one); got != 25 {
		t.Fatalf("%d of 25 pass", got)
	}
	if got := r.state.costs(); !slices.Equal(got, []int64{10, 10, 10}) {
		t.Errorf("asked for %v", got)
	}
	if _, h := r.send(one()); h.Get("RateLimit") != `"default";r=74;t=1` { // as if nothing had been taken ahead
		t.Errorf("RateLimit: %s", h.Get("RateLimit"))
	}
	if got := r.burst(1000, one); got != 74 {
		t.Errorf("%d pass, want 74", got)
	}
	if got := r.state.costs(); !slices.Equal(got, []int64{10, 10, 10, 10, 10, 10, 10}) {
		t.Errorf("asked for %v", got)
	}
	said, h := r.send(one())
	want := "Retry-After: 1\nRateLimit-Policy: \"default\";q=100;w=60\nRateLimit: \"default\";r=0;t=1\n"
	if said != "429 rate_limited" || lines(h) != want {
		t.Errorf("%s\n%s", said, lines(h))
	}
	r.Advance(600*time.Millisecond - 1)
	if got := r.burst(1, one); got != 0 {
		t.Error("a token too early")
	}
	r.Advance(1)
	if got := r.burst(10, one); got != 1 {
		t.Errorf("%d pass for one token", got)
	}
	if got := r.state.costs(); !slices.Equal(got, []int64{1}) { // not for ten, which are known not to be there
		t.Errorf("asked for %v", got)
	}
}

// TestLeaseOfTheRest asks for what it needs when the block is refused, because another gateway has used the bucket.
func TestLeaseOfTheRest(t *testing.T) {
	r := newRig(t, leasing)
	other := newRig(t, "{ tokensPerInterval: 100, intervalMs: 60000, key: [ip] }")
	other.h.(*handler).state = r.state
	if got := other.burst(95, func() *policy.Exchange { return other.from("192.0.2.1") }); got != 95 {
		t.Fatalf("%d pass", got)
	}
	r.state.costs()
	if got := r.burst(20, func() *policy.Exchange { return r.from("192.0.2.1") }); got != 5 {
		t.Errorf("%d pass, want 5", got)
	}
	if got := r.state.costs(); !slices.Equal(got, []int64{10, 1, 1, 1, 1, 1}) {
		t.Errorf("asked for %v", got)
	}
}

// TestLeaseEnds gives up tokens that lie there: bit by bit as the bucket fills up without them, and all after ten seconds.
func TestLeaseEnds(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		after      time.Duration
		asked      []int64 // for ten requests after that
	}{
		{"soon", leasing, 599 * time.Millisecond, nil},
		{"half is back", leasing, 3 * second, []int64{10}}, // five are left
		{"all is back", leasing, 6 * second, []int64{10}},
		{"slow, within ten seconds", "{ tokensPerInterval: 100, intervalMs: 86400000, localPercent: 20, key: [ip] }", 10*second - 1, nil},
		{"slow, after ten seconds", "{ tokensPerInterval: 100, intervalMs: 86400000, localPercent: 20, key: [ip] }", 10 * second, []int64{20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.yaml)
			one := func() *policy.Exchange { return r.from("192.0.2.1") }
			r.burst(1, one)
			r.state.costs()
			r.Advance(tt.after)
			if got := r.burst(9, one); got != 9 {
				t.Errorf("%d pass, want 9", got)
			}
			if got := r.state.costs(); !slices.Equal(got, tt.asked) {
				t.Errorf("asked for %v, want %v", got, tt.asked)
			}
		})
	}
}

// TestLeasesNeverExceedTheLimit holds what several gateways let pass, with requests that cost more and less and answers that take
// their time, to a single bucket.
func TestLeasesNeverExceedTheLimit(t *testing.T) {
	check := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		l := Limit{
			ID: "a", TokensPerInterval: 1 + r.Int64N(50), IntervalMs: 10000, Burst: 20 + r.Int64N(40), Key: []string{"ip"}, Scope: "s",
			LocalPercent: 20 + r.Int64N(31),
		}
		single, full, granted := l.bucket(), int64(0), 0
		lag := r.Int64N(3) * single.Every
		w, s := world()
		s.pause = func() { w.Advance(time.Duration(r.Int64N(1 + lag))) }
		gateways := twiceThree(t, w, s, l, func() int64 { return 1 + r.Int64N(9) })
		for range 3000 {
			if w.Advance(time.Duration(r.Int64N(single.Every))); r.IntN(8) == 0 { // a crowd has gone by
				w.Advance(time.Duration(r.Int64N(l.Burst * single.Every)))
			}
			g := gateways[r.IntN(len(gateways))]
			s.answered = w.Now() // unless the state is asked
			if said, _ := g.send(g.from("192.0.2.1")); said != "pass" {
				continue
			}
			cost := g.h.(*handler).limits[0].cost
			in := single.Take(full, s.answered.UnixNano(), cost)
			if full = in.Full; !in.Granted {
				t.Logf("seed %d: request %d, for %d tokens, is over the limit", seed, granted+1, cost)
				return false
			}
			granted++
		}
		return granted > 100
	}
	// These have caught: tokens that stay good too long after a later answer, a rest that is kept beside a new block, and a clock that
	// is read after the answer.
	for _, seed := range []uint64{1326515706516008105, 329827244530263471, 14880707555960268853} {
		if !check(seed) {
			t.Errorf("seed %d", seed)
		}
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 100}); err != nil {
		t.Error(err)
	}
}

// twiceThree are three gateways with two routes each that count in one bucket.
func twiceThree(t *testing.T, w *policytest.World, s *shared, l Limit, cost func() int64) (out []*rig) {
	for range 3 {
		w.Shared = snapshot.NewShared() // of another process
		for range 2 {
			l.Cost = cost()
			h, err := build(t.Context(), &w.Env, &Plan{Limits: []Limit{l}, OnError: "closed", Replicas: 1, Headers: "none"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = h.(*handler).Close() })
			out = append(out, &rig{w, s, h})
		}
	}
	return out
}

// TestLeaseOutlivesTheState hands out what was taken before the state went away, then turns to the share of this gateway.
func TestLeaseOutlivesTheState(t *testing.T) {
	r := newRig(t, leasing)
	one := func() *policy.Exchange { return r.from("192.0.2.1") }
	r.burst(1, one)
	r.state.leave()
	r.state.replicas = 50
	if got := r.burst(30, one); got != 9+2 {
		t.Errorf("%d pass, want 11", got)
	}
}

// TestOneQuestionForAll lets many requests at once wait for one answer.
func TestOneQuestionForAll(t *testing.T) {
	for _, tt := range []struct {
		name    string
		percent int
		answer  error
		said    string
		more    int // questions at the most, after the first
	}{
		{"enough", 10, nil, "pass", 0},
		{"not enough", 2, nil, "pass", 8}, // the first had two; nobody asks twice
		{"away", 10, policy.ErrStateAway, "503 limit_unavailable", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, fmt.Sprintf("{ tokensPerInterval: 100, intervalMs: 60000, localPercent: %d, onError: closed, key: [ip] }", tt.percent))
				r.state.hold, r.state.away = make(chan struct{}), tt.answer
				var mu sync.Mutex
				var all sync.WaitGroup
				said := map[string]int{}
				for range 10 {
					all.Go(func() {
						got := policytest.Said(r.h.Decide(t.Context(), r.from("192.0.2.1")))
						mu.Lock()
						defer mu.Unlock()
						said[got]++
					})
				}
				synctest.Wait()
				if got := r.state.costs(); len(got) != 1 {
					t.Errorf("%d questions at once", len(got))
				}
				close(r.state.hold)
				all.Wait()
				if said[tt.said] != 10 {
					t.Errorf("%v, want %s of all", said, tt.said)
				}
				if got := r.state.costs(); len(got) > tt.more {
					t.Errorf("also asked for %v", got)
				}
			})
		})
	}
}

// TestWhoGoesDoesNotMatterToOthers has the request gone whose question others wait for, and then one of those who wait.
func TestWhoGoesDoesNotMatterToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, leasing)
		r.state.hold = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var said [3]string
		var all sync.WaitGroup
		ask := func(i int, ctx context.Context) {
			all.Go(func() { said[i] = policytest.Said(r.h.Decide(ctx, r.from("192.0.2.1"))) })
			synctest.Wait()
		}
		ask(0, ctx)
		ask(1, ctx)
		ask(2, t.Context())
		cancel()
		synctest.Wait()
		close(r.state.hold)
		all.Wait()
		if want := [3]string{"pass", "499 client_closed", "pass"}; said != want {
			t.Errorf("%q, want %q", said, want)
		}
	})
}

// bomb is a state that panics.
type bomb struct{ *shared }

func (b bomb) Take(context.Context, []policy.Bucket) ([]policy.Taken, error) {
	<-b.hold
	panic("boom")
}

// TestPanicFreesThoseWhoWait does not let a defect of the state hang requests for ever.
func TestPanicFreesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, leasing)
		r.state.hold = make(chan struct{})
		r.h.(*handler).state = bomb{r.state}
		var all sync.WaitGroup
		panics := make(chan any, 3)
		for range 3 {
			all.Go(func() {
				defer func() { panics <- recover() }()
				r.h.Decide(t.Context(), r.from("192.0.2.1"))
			})
		}
		synctest.Wait()
		close(r.state.hold)
		all.Wait()
		for range 3 {
			if v := <-panics; v != "boom" {
				t.Errorf("panic %v", v)
			}
		}
	})
}

// TestNoRoomForLeases asks for each request when there is no room to take ahead, and makes room of leases that are over.
func TestNoRoomForLeases(t *testing.T) {
	r := newRig(t, leasing)
	s := &r.h.(*handler).local.leases
	for i := range maxBuckets {
		s.all[fmt.Sprint(i)] = &lease{ends: int64(5 * second)}
	}
	r.burst(2, func() *policy.Exchange { return r.from("192.0.2.1") })
	if got := r.state.costs(); !slices.Equal(got, []int64{1, 1}) || len(s.all) != maxBuckets {
		t.Errorf("asked for %v, %d leases", got, len(s.all))
	}
	r.Advance(5 * second)
	r.burst(2, func() *policy.Exchange { return r.from("192.0.2.1") })
	if got := r.state.costs(); !slices.Equal(got, []int64{10}) || len(s.all) > maxBuckets {
		t.Errorf("asked for %v, %d leases", got, len(s.all))
	}
}
