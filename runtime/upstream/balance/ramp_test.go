package balance

import (
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// The shares are Envoy's: max(10 %, age/window).
func TestSlowStartShares(t *testing.T) {
	cases := []struct {
		age  time.Duration
		want float64
	}{
		{-time.Hour, 0.1},
		{0, 0.1},
		{time.Second, 0.1},
		{time.Minute / 10, 0.1},
		{15 * time.Second, 0.25},
		{30 * time.Second, 0.5},
		{59 * time.Second, 59.0 / 60},
		{time.Minute, 1},
		{time.Hour, 1},
	}
	clock := testkit.NewClock(time.Time{})
	hosts := pool(4, 4)
	hosts[1].Since = clock.Now()
	r := newRamp(&ir.Balance{SlowStart: 60_000}, hosts, Env{Now: clock.Now})
	for _, c := range cases {
		now := hosts[1].Since.Add(c.age)
		if got := r.share(&hosts[1], now); got != c.want {
			t.Errorf("after %s: %v of its weight, want %v", c.age, got, c.want)
		}
		if got := r.share(&hosts[0], now); got != 1 {
			t.Errorf("after %s: an old host has %v of its weight", c.age, got)
		}
	}
}

func TestSlowStartIsOverWhenItIs(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	hosts := pool(1, 1)
	for name, since := range map[string]time.Time{"long ago": {}, "a window ago": clock.Now().Add(-time.Minute)} {
		hosts[0].Since = since
		if r := newRamp(&ir.Balance{SlowStart: 60_000}, hosts, Env{Now: clock.Now}); r != nil {
			t.Errorf("%s: there is something to ramp", name)
		}
	}
	hosts[0].Since = clock.Now()
	if r := newRamp(&ir.Balance{}, hosts, Env{Now: clock.Now}); r != nil {
		t.Error("there is something to ramp without a window")
	}
	r := newRamp(&ir.Balance{SlowStart: 60_000}, hosts, Env{Now: clock.Now})
	if _, ramping := r.under(); !ramping {
		t.Error("it is over at the begin")
	}
	clock.Advance(time.Minute)
	if _, ramping := r.under(); ramping {
		t.Error("it is not over after a minute")
	}
}

// A new host among three takes age/window of what the others take, with every strategy that knows weights.
func TestSlowStartTraffic(t *testing.T) {
	for _, strategy := range []string{ir.BalanceWeighted, ir.BalanceRandom, ir.BalanceLeastConnections} {
		for _, c := range []struct {
			age   time.Duration
			share float64
		}{{0, 0.1}, {15 * time.Second, 0.25}, {30 * time.Second, 0.5}, {time.Minute, 1}} {
			t.Run(strategy+"/"+c.age.String(), func(t *testing.T) {
				clock := testkit.NewClock(time.Time{})
				hosts := pool(1, 2, 2)
				hosts[2].Since = clock.Now()
				env := seeded(uint64(c.age))
				env.Now = clock.Now
				b := New(&ir.Balance{Strategy: strategy, SlowStart: 60_000}, hosts, env)
				clock.Advance(c.age)
				fits(t, count(b, 3, 20_000, nil), []float64{1, 2, 2 * c.share})
				fits(t, count(b, 3, 20_000, without(0)), []float64{0, 2, 2 * c.share})
			})
		}
	}
}

// All of them are new, as after a start: nobody is slower than anybody.
func TestSlowStartOfAll(t *testing.T) {
	for _, strategy := range []string{ir.BalanceWeighted, ir.BalanceRandom, ir.BalanceLeastConnections} {
		clock := testkit.NewClock(time.Time{})
		hosts := pool(1, 2, 3)
		for i := range hosts {
			hosts[i].Since = clock.Now()
		}
		env := seeded(2)
		env.Now = clock.Now
		b := New(&ir.Balance{Strategy: strategy, SlowStart: 60_000}, hosts, env)
		fits(t, count(b, 3, 60_000, nil), []float64{1, 2, 3})
	}
}

// Busy hosts: the new one holds its share of what is under way.
func TestSlowStartUnderLoad(t *testing.T) {
	for _, strategy := range []string{ir.BalanceLeastConnections, ir.BalanceLeastLatency} {
		clock := testkit.NewClock(time.Now())
		hosts := pool(1, 1, 1)
		hosts[0].Since = clock.Now()
		env := seeded(3)
		env.Now = clock.Now
		b := New(&ir.Balance{Strategy: strategy, SlowStart: 60_000}, hosts, env)
		clock.Advance(30 * time.Second)
		for range 1000 {
			hosts[b.Pick(Key{}, nil)].Load.Begin()
		}
		// 0.5 of 2.5 shares of 1000
		if n := hosts[0].Load.Active(); n < 190 || n > 210 {
			t.Errorf("%s: the new host has %d of 1000 exchanges, want about 200", strategy, n)
		}
	}
}
