package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/quick"
	"time"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// TestShare gives each gateway its part of the limit, by as many as there are known to be.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		name           string
		yaml           string
		live           int
		first, refills int // at once, and then in one interval
	}{
		{"alone", "{ tokensPerInterval: 100, intervalMs: 60000, key: [ip] }", 1, 100, 100},
		{"one of four that are there", "{ tokensPerInterval: 100, intervalMs: 60000, key: [ip] }", 4, 25, 25},
		{"one of four that are said to be there", "{ tokensPerInterval: 100, intervalMs: 60000, replicas: 4, key: [ip] }", 1, 25, 25},
		{"the larger number", "{ tokensPerInterval: 100, intervalMs: 60000, replicas: 4, key: [ip] }", 10, 10, 10},
		{"less than one for each", "{ tokensPerInterval: 2, intervalMs: 60000, key: [ip] }", 10, 1, 0},
		{"requests that cost more than a share", "{ tokensPerInterval: 10, intervalMs: 60000, cost: 5, key: [ip] }", 4, 1, 0},
		{"more than anybody has", "{ tokensPerInterval: 10, intervalMs: 60000, key: [ip] }", 1 << 40, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.yaml)
			r.state.leave()
			r.state.replicas = tt.live
			one := func() *policy.Exchange { return r.from("192.0.2.1") }
			if got := r.burst(200, one); got != tt.first {
				t.Errorf("%d pass at once, want %d", got, tt.first)
			}
			passed := 0
			for range 600 { // a minute
				r.Advance(100 * time.Millisecond)
				passed += r.burst(1, one)
			}
			if passed != tt.refills {
				t.Errorf("%d pass in an interval, want %d", passed, tt.refills)
			}
		})
	}
}

// TestSharesAddUp holds the shares of all gateways together to the limit, but for one request each.
func TestSharesAddUp(t *testing.T) {
	check := func(tokens, interval, burst, cost, replicas uint32) bool {
		l := Limit{
			TokensPerInterval: 1 + int64(tokens)%maxTokens, IntervalMs: minIntervalMs + int64(interval)%(maxIntervalMs-minIntervalMs),
			Burst: 1 + int64(burst)%maxTokens, Cost: 1 + int64(cost)%maxCost,
		}
		b, n := l.bucket(), 1+int64(replicas)%maxReplicas
		if l.Cost = min(l.Cost, l.Burst); !b.Fits(l.Cost) {
			return true
		}
		s := share(b, l.Cost, n)
		slower := s.Every / b.Every
		return s.Fits(l.Cost) && s.Burst >= l.Cost && s.Burst <= max(b.Burst/slower, l.Cost) &&
			(slower == n || slower < n && s.Every*l.Cost > most/2) // or a request takes longer than anybody lives
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 20000}); err != nil {
		t.Error(err)
	}
	if got := share(gcra.Bucket{Every: 86_400_000_000_000, Burst: 20000}, 20000, maxReplicas); !got.Fits(20000) {
		t.Errorf("%+v does not fit", got)
	}
}

// TestAloneAllOrNothing takes from no bucket if another one refuses.
func TestAloneAllOrNothing(t *testing.T) {
	r := newRig(t, `{ limits: [
	  { id: burst, tokensPerInterval: 3, intervalMs: 1000, key: [ip] }, { id: day, tokensPerInterval: 5, intervalMs: 86400000, key: [ip] } ] }`)
	r.state.leave()
	one := func() *policy.Exchange { return r.from("192.0.2.1") }
	if got := r.burst(50, one); got != 3 {
		t.Errorf("%d pass, want 3", got)
	}
	r.Advance(10 * second)
	if got := r.burst(50, one); got != 2 {
		t.Errorf("%d pass, want 2", got)
	}
	said, h := r.send(one())
	if want := "Retry-After: 17270\n"; said != "429 rate_limited" || lines(h) != want { // and no word of how much is left
		t.Errorf("%s\n%s", said, lines(h))
	}
	if got := r.count("day", "ip", "degraded_limited"); got != 49 {
		t.Errorf("day has refused %g", got)
	}
}

// TestComingAndGoing opens no full buckets each time the state goes away.
func TestComingAndGoing(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 10, intervalMs: 86400000, key: [ip] }")
	one := func() *policy.Exchange { return r.from("192.0.2.1") }
	passed := 0
	for range 20 {
		r.state.leave()
		passed += r.burst(20, one)
		r.state.back()
		passed += r.burst(20, one)
	}
	if passed != 20 { // what the state has, and once the share
		t.Errorf("%d pass, want 20", passed)
	}
}

// TestSwap keeps what was counted when a new configuration takes over, and forgets it with the last one.
func TestSwap(t *testing.T) {
	for _, yaml := range []string{
		"{ tokensPerInterval: 10, intervalMs: 86400000, burst: 10, key: [ip] }",
		"{ tokensPerInterval: 10, intervalMs: 86400000, burst: 20, localPercent: 50, key: [ip] }",
	} {
		r := newRig(t, yaml)
		one := func() *policy.Exchange { return r.from("192.0.2.1") }
		r.state.leave()
		if got := r.burst(30, one); got == 0 {
			t.Fatal("none passes")
		}
		old := r.h.(*handler)
		r.h = r.Build(t, Kind, plan(t, yaml))
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		if got := r.burst(30, one); got != 0 {
			t.Errorf("%d pass after the swap", got)
		}
	}
	r := newRig(t, "{ tokensPerInterval: 10, intervalMs: 86400000, key: [ip] }")
	r.Route.Tenant = "acme"
	other := r.Build(t, Kind, plan(t, "{ tokensPerInterval: 10, intervalMs: 86400000, key: [ip] }"))
	if r.h.(*handler).local == other.(*handler).local {
		t.Error("two tenants have one memory")
	}
}

// TestOverflow lets nobody pass uncounted who comes when there is no room, and gives room to new callers as old ones are forgotten.
func TestOverflow(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 3, intervalMs: 60000, key: [ip] }")
	r.state.leave()
	known := func() *policy.Exchange { return r.from("192.0.2.1") }
	r.burst(1, known)
	f := &r.h.(*handler).local.fallback
	for i := range maxBuckets - 1 {
		f.full[fmt.Sprint(i)] = int64(100 * second)
	}
	passed := 0
	for i := range 200 {
		passed += r.burst(1, func() *policy.Exchange { return r.from(fmt.Sprintf("198.51.100.%d", i)) })
	}
	if passed != 3 {
		t.Errorf("%d strangers pass, want 3 together", passed)
	}
	if got := r.burst(5, known); got != 2 {
		t.Errorf("%d of a known caller pass, want 2", got)
	}
	if len(f.full) != maxBuckets+1 {
		t.Errorf("%d buckets", len(f.full))
	}
	r.Advance(100 * second)
	for i := range 200 {
		if got := r.burst(5, func() *policy.Exchange { return r.from(fmt.Sprintf("203.0.113.%d", i)) }); got != 3 {
			t.Fatalf("%d of newcomer %d pass, want 3", got, i)
		}
	}
	if len(f.full) > maxBuckets-200 {
		t.Errorf("%d buckets are left of callers that are gone", len(f.full))
	}
}

// TestManyCallers keeps each of them to its share while they come and go.
func TestManyCallers(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 2, intervalMs: 1000, key: ['header:X-App', ip] }")
	r.state.leave()
	rnd := rand.New(rand.NewPCG(1, 2))
	passed := map[string]int{}
	for range 20000 {
		name := fmt.Sprint(rnd.IntN(500))
		x := r.from("192.0.2.1")
		x.Request.Header.Add("X-App", name)
		if said := policytest.Said(r.h.Decide(t.Context(), x)); said == "pass" {
			passed[name]++
		}
		r.Advance(time.Millisecond)
	}
	for name, n := range passed {
		if n > 2+2*20 {
			t.Errorf("%s has passed %d times", name, n)
		}
	}
}
