package health

import (
	"math"
	"testing"
	"testing/synctest"

	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/schema/ir"
)

// small are settings that eject nobody and weigh the hosts of a small pool.
func small(panicPercent int64) *ir.Outlier {
	return with(func(o *ir.Outlier) {
		o.Consecutive5xx, o.SuccessRateHosts, o.SmallPools, o.PanicPercent = 0, 0, true, panicPercent
	})
}

// With f the failures of a host and g those of the others together, the chance is (f - g) / (1 - g).
func TestSmallPool(t *testing.T) {
	good := did{100, 0}
	for name, test := range map[string]struct {
		did  []did
		off  bool
		want []float64 // nil: nobody is passed over
	}{
		"two, one fails half the time": {did: []did{{50, 50}, good}, want: []float64{0.5, 0}},
		"three":                        {did: []did{{50, 50}, good, good}, want: []float64{0.5, 0, 0}},
		"four":                         {did: []did{{50, 50}, good, good, good}, want: []float64{0.5, 0, 0, 0}},
		"five are no small pool":       {did: []did{{50, 50}, good, good, good, good}},
		"one has no other":             {did: []did{{50, 50}}},
		"it fails always":              {did: []did{{0, 100}, good}, want: []float64{0.9, 0}}, // what is left shows when it is well again
		"a twentieth":                  {did: []did{{95, 5}, good}, want: []float64{0.05, 0}},
		"less is noise":                {did: []did{{961, 39}, good}},
		"the other is not well either": {did: []did{{40, 60}, {80, 20}}, want: []float64{0.5, 0}}, // (0.6 - 0.2) / 0.8
		"both are alike":               {did: []did{{40, 60}, {40, 60}}},
		"all fail":                     {did: []did{{0, 100}, {0, 100}}},
		"the others together":          {did: []did{{45, 55}, {80, 20}, good}, want: []float64{0.5, 0, 0}},                  // g = 20/200: 0.45/0.9; for the second 0.2 < 55/200
		"two of four are bad":          {did: []did{{40, 60}, {60, 40}, good, good}, want: []float64{7.0 / 13, 0.25, 0, 0}}, // (18/30 - 4/30) / (26/30), with g = 40/300; (0.4 - 0.2) / 0.8
		"two of three, too few left":   {did: []did{{40, 60}, {50, 50}, good}},                                              // one of three is less than half
		"nine requests are not enough": {did: []did{{0, 9}, good}},
		"ten are":                      {did: []did{{5, 5}, good}, want: []float64{0.5, 0}},
		"the others had too few":       {did: []did{{50, 50}, {9, 0}}},
		"the others had enough in all": {did: []did{{50, 50}, {5, 0}, {5, 0}}, want: []float64{0.5, 0, 0}},
		"off":                          {did: []did{{50, 50}, good}, off: true},
		"nobody was asked":             {did: []did{{}, {}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := small(50)
				o.SmallPools = !test.off
				p := newPool(t, len(test.did), o)
				for i, d := range test.did {
					report(p.hosts[i], d.successes, d.failures)
				}
				nextSweep(p.Monitor)
				chances(t, p.View(), test.want)
			})
		})
	}
}

// chances compares what a view says of passing over.
func chances(t *testing.T, v *View, want []float64) {
	t.Helper()
	if len(v.Drop) != len(want) {
		t.Errorf("drop is %v, want %v", v.Drop, want)
		return
	}
	for i, d := range v.Drop {
		if got := float64(d) / (1 << 32); math.Abs(got-want[i]) > 1e-9 {
			t.Errorf("host %d is passed over with %v, want %v", i, got, want[i])
		}
	}
}

// An interval with few requests is judged together with the one before; what is older is forgotten.
func TestSmallPoolTwoIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, small(50))
		interval := func(successes, failures int) {
			report(p.hosts[0], successes, failures)
			report(p.hosts[1], 100, 0)
			nextSweep(p.Monitor)
		}
		interval(2, 4)
		chances(t, p.View(), nil)
		interval(2, 4)
		chances(t, p.View(), []float64{8.0 / 12, 0})
		interval(10, 0) // enough of its own
		chances(t, p.View(), nil)
		interval(0, 5) // five of fifteen
		chances(t, p.View(), []float64{1.0 / 3, 0})
		interval(0, 0)
		interval(0, 0)
		chances(t, p.View(), nil)
	})
}

// A host that is out of use is no measure for the others: nothing can be passed on to it.
func TestSmallPoolWithoutThoseThatAreOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := small(25)
		o.ConsecutiveGatewayFailure = 100
		p := newPool(t, 3, o)
		report(p.hosts[1], 50, 50)
		report(p.hosts[2], 100, 0)
		for range 100 {
			p.hosts[0].Report(ConnectFailed)
		}
		equal(t, "ejected", p.ejected(), []string{"a"})
		nextSweep(p.Monitor)
		chances(t, p.View(), []float64{0, 0.5, 0})
	})
}

// The share of requests that pass a host over is binomial: of n that came to it, n times p are, give or take five times
// sqrt(n p (1-p)), which happens by chance once in 1.7 million runs; and the source of randomness is fixed.
func TestSmallPoolShares(t *testing.T) {
	for hosts := smallest; hosts <= largest; hosts++ {
		for _, failures := range []int{10, 50, 100} {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, hosts, small(50))
				report(p.hosts[0], 100-failures, failures)
				list := []balance.Host{{Name: "a"}}
				for i, h := range p.hosts[1:] {
					report(h, 100, 0)
					list = append(list, balance.Host{Name: name(i + 1)})
				}
				nextSweep(p.Monitor)
				random := seeded(uint64(hosts*1000 + failures))
				b := balance.New(&ir.Balance{Strategy: ir.BalanceRandom}, list, balance.Env{Rand: random})
				const requests = 40000
				came, passed := 0.0, 0.0
				v := p.View()
				for range requests {
					i := b.Pick(balance.Key{}, v.Out)
					if i == 0 {
						came++
					}
					if uint32(random()) < v.Drop[i] {
						if i != 0 {
							t.Fatalf("host %d is passed over", i)
						}
						passed++
					}
				}
				// A third, a half or a quarter comes to it: no band of the binomial is wider than 5 sqrt(40000/4) = 500.
				if want := float64(requests) / float64(hosts); math.Abs(came-want) > 500 {
					t.Errorf("%d hosts: %v of %d requests came to one, want about %v", hosts, came, requests, want)
				}
				chance := min(float64(failures)/100, mostDrop)
				if band := 5 * math.Sqrt(came*chance*(1-chance)); math.Abs(passed-came*chance) > band {
					t.Errorf("%d hosts, %d %% failures: %v of %v passed it over, want %v give or take %v", hosts, failures, passed, came, came*chance, band)
				}
			})
		}
	}
}
