package health

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// did is what a host did in an interval.
type did struct{ successes, failures int }

// The thresholds are those of Envoy's success rate detection: mean - factor x standard deviation (of the population) over the
// success rates, in percent, of the hosts that had enough requests.
func TestSuccessRate(t *testing.T) {
	good := did{100, 0}
	for name, test := range map[string]struct {
		edit    func(*ir.Outlier)
		did     []did
		want    []string
		numbers map[string]int64 // of the first ejection, but for those of every ejection
	}{
		// The example in Envoy's source: rates 50, 100, 100, 100, 100; mean 450/5 = 90; variance (40² + 4 x 10²)/5 = 400; deviation
		// 20; threshold 90 - 1.9 x 20 = 52.
		"one of five": {
			did: []did{{50, 50}, good, good, good, good}, want: []string{"a"},
			numbers: map[string]int64{"requests": 100, "failures": 50, "success_permil": 500, "hosts": 5, "mean_permil": 900, "deviation_permil": 200, "threshold_permil": 520},
		},
		// 99, 100 x 4: mean 99.8; variance (0.8² + 4 x 0.2²)/5 = 0.16; deviation 0.4; threshold 99.8 - 0.76 = 99.04: one failure in a
		// hundred is enough, if nobody else has one.
		"a single failure": {
			did: []did{good, good, {99, 1}, good, good}, want: []string{"c"},
			numbers: map[string]int64{"requests": 100, "failures": 1, "success_permil": 990, "hosts": 5, "mean_permil": 998, "deviation_permil": 4, "threshold_permil": 990},
		},
		// 50, 50, 100 x 3: mean 80; variance (2 x 30² + 3 x 20²)/5 = 600; deviation 24.49; threshold 80 - 46.54 = 33.46.
		"two of five hide each other": {did: []did{{50, 50}, {50, 50}, good, good, good}},
		// With a factor of 2 the threshold for 50, 100 x 4 is 90 - 40 = 50, which 50 is not below.
		"on the threshold": {edit: func(o *ir.Outlier) { o.SuccessRateFactorPerMil = 2000 }, did: []did{{50, 50}, good, good, good, good}},
		// 50, 60, 100 x 4 with a factor of 1: mean 510/6 = 85; variance (35² + 25² + 4 x 15²)/6 = 458.3; deviation 21.41; threshold
		// 63.59. Both are below, one of six (at 10 %) may be ejected: the worse one, though it is the last.
		"the worst goes first": {
			edit: func(o *ir.Outlier) { o.SuccessRateFactorPerMil = 1000 },
			did:  []did{{60, 40}, good, good, good, good, {50, 50}}, want: []string{"f"},
			numbers: map[string]int64{"requests": 100, "failures": 50, "success_permil": 500, "hosts": 6, "mean_permil": 850, "deviation_permil": 214, "threshold_permil": 636},
		},
		"both, if so many may be": {
			edit: func(o *ir.Outlier) { o.SuccessRateFactorPerMil, o.MaxEjectedPercent = 1000, 34 },
			did:  []did{{60, 40}, good, good, good, good, {50, 50}}, want: []string{"a", "f"},
		},
		"the rate counts, not the number": {
			did: []did{{500, 500}, good, {2000, 0}, good, good}, want: []string{"a"}, // as in the first case
			numbers: map[string]int64{"requests": 1000, "failures": 500, "success_permil": 500, "hosts": 5, "mean_permil": 900, "deviation_permil": 200, "threshold_permil": 520},
		},
		"one has too few requests":       {did: []did{{49, 50}, good, good, good, good}},
		"then four are too few to judge": {did: []did{{50, 50}, {99, 0}, good, good, good}},
		"unless four are enough": {
			// 50, 100 x 3: mean 87.5; variance (37.5² + 3 x 12.5²)/4 = 468.75; deviation 21.65; threshold 87.5 - 41.14 = 46.36: with four
			// hosts no single one can be 1.9 deviations below the mean, since it is sqrt(3) = 1.73 at most.
			edit: func(o *ir.Outlier) { o.SuccessRateHosts, o.SuccessRateFactorPerMil = 4, 1700 }, // threshold 87.5 - 36.81 = 50.69
			did:  []did{{50, 50}, {99, 0}, good, good, good}, want: []string{"a"},
			numbers: map[string]int64{"requests": 100, "failures": 50, "success_permil": 500, "hosts": 4, "mean_permil": 875, "deviation_permil": 217, "threshold_permil": 507},
		},
		"off": {edit: func(o *ir.Outlier) { o.SuccessRateHosts = 0 }, did: []did{{50, 50}, good, good, good, good}},
		// Rates that no float holds must not put a host below its own mean.
		"all alike, and a factor of 0": {
			edit: func(o *ir.Outlier) { o.SuccessRateFactorPerMil = 0 }, did: []did{{200, 100}, {400, 200}, {600, 300}, {200, 100}, {1000, 500}, {700, 350}, {200, 100}},
		},
		"all fail": {did: []did{{0, 100}, {0, 100}, {0, 100}, {0, 100}, {0, 100}}},
		"nobody was asked": {
			edit: func(o *ir.Outlier) { o.SuccessRateRequests = 0 }, did: []did{{}, {}, {}, {}, {}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				judge(t, SuccessRate, test.edit, test.did, test.want, test.numbers)
			})
		})
	}
}

func TestFailurePercentage(t *testing.T) {
	only := func(percent int64) func(*ir.Outlier) {
		return func(o *ir.Outlier) { o.FailurePercent, o.SuccessRateHosts = percent, 0 }
	}
	for name, test := range map[string]struct {
		edit    func(*ir.Outlier)
		did     []did
		want    []string
		numbers map[string]int64
	}{
		"84 of 100": {edit: only(85), did: []did{{16, 84}, {100, 0}}},
		"85 of 100": {
			edit: only(85), did: []did{{15, 85}, {100, 0}}, want: []string{"a"},
			numbers: map[string]int64{"requests": 100, "failures": 85, "failure_permil": 850, "threshold_permil": 850},
		},
		"42 of 50 are 84 %": {edit: only(85), did: []did{{8, 42}, {100, 0}}},
		"43 of 50 are 86 %": {
			edit: only(85), did: []did{{7, 43}, {100, 0}}, want: []string{"a"},
			numbers: map[string]int64{"requests": 50, "failures": 43, "failure_permil": 860, "threshold_permil": 850},
		},
		"49 are too few":               {edit: only(85), did: []did{{0, 49}, {100, 0}}},
		"without a single good one":    {edit: only(85), did: []did{{0, 50}, {100, 0}}, want: []string{"a"}},
		"whatever the others do":       {edit: only(85), did: []did{{10, 90}, {5, 95}}, want: []string{"b"}}, // the worst of those, one may go
		"a tenth of a hundred":         {edit: only(10), did: []did{{90, 10}, {100, 0}}, want: []string{"a"}},
		"off":                          {edit: only(0), did: []did{{0, 1000}, {100, 0}}},
		"100 % takes all":              {edit: only(100), did: []did{{1, 999}, {0, 50}}, want: []string{"b"}},
		"both statistics, one outcome": {edit: func(o *ir.Outlier) { o.FailurePercent = 85 }, did: []did{{10, 90}, {99, 1}, {100, 0}, {100, 0}, {100, 0}, {100, 0}}, want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if name == "both statistics, one outcome" { // the rate comes first, and there is no second ejection
					judge(t, SuccessRate, test.edit, test.did, []string{"a"}, nil)
					return
				}
				judge(t, FailurePercentage, test.edit, test.did, test.want, test.numbers)
			})
		})
	}
}

// judge lets hosts do what they did in one interval and looks at who is ejected by the next sweep. Runs in a row eject nobody.
func judge(t *testing.T, reason string, edit func(*ir.Outlier), list []did, want []string, numbers map[string]int64) {
	t.Helper()
	o := envoy()
	o.Consecutive5xx = 0
	if edit != nil {
		edit(o)
	}
	p := newPool(t, len(list), o)
	nextSweep(p.Monitor)
	for i, d := range list {
		report(p.hosts[i], d.successes, d.failures)
	}
	if out := p.ejected(); len(out) != 0 {
		t.Fatalf("%v are ejected before the sweep", out)
	}
	nextSweep(p.Monitor)
	equal(t, "ejected", p.ejected(), want)
	events := p.take()
	if len(events) != len(want) {
		t.Fatalf("events %v", kinds(events))
	}
	for _, e := range events {
		if e.Kind != Ejected || e.Reason != reason {
			t.Errorf("event %v", kinds([]Event{e}))
		}
	}
	if numbers != nil {
		numbers["ejection"], numbers["ejected_ms"] = 1, 30_000
		if !maps.Equal(events[0].Numbers, numbers) {
			t.Errorf("numbers %v, want %v", events[0].Numbers, numbers)
		}
	}
	nextSweep(p.Monitor) // what was counted is not counted again
	equal(t, "ejected after another interval", p.ejected(), want)
}

func TestMaxEjectedPercent(t *testing.T) {
	for name, test := range map[string]struct {
		hosts   int
		percent int64
		want    int
	}{
		"10 % of 10":                             {10, 10, 1},
		"10 % of 19 are less than two":           {19, 10, 1},
		"10 % of 20":                             {20, 10, 2},
		"10 % of 29":                             {29, 10, 2},
		"66 % of 3 are less than two":            {3, 66, 1},
		"67 % of 3":                              {3, 67, 2},
		"0 %, but at least one":                  {10, 0, 1},
		"one of two":                             {2, 10, 1},
		"100 %":                                  {5, 100, 5},
		"the only one stays":                     {1, 99, 0},
		"the only one, if all of them may be it": {1, 100, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, test.hosts, with(func(o *ir.Outlier) { o.MaxEjectedPercent = test.percent }))
				for _, h := range p.hosts {
					report(h, 0, 5)
				}
				if n := len(p.ejected()); n != test.want {
					t.Errorf("%d are ejected, want %d", n, test.want)
				}
				if v := p.View(); v.Out.Count() != test.want || v.Healthy != test.hosts-test.want {
					t.Errorf("view: %d out, %d healthy", v.Out.Count(), v.Healthy)
				}
			})
		})
	}
}

// lengths ejects the first host n times, each time as soon as it is back, and returns for how long.
func lengths(t *testing.T, p *pool, n int, eject func()) []time.Duration {
	t.Helper()
	var out []time.Duration
	for range n {
		eject()
		s := p.hosts[0].Status()
		if s.State != StateEjected {
			t.Fatalf("after %d ejections it is not ejected again", len(out))
		}
		length := s.EjectedUntil.Sub(s.Since)
		out = append(out, length)
		time.Sleep(length - time.Millisecond)
		synctest.Wait()
		if p.hosts[0].Status().State != StateEjected {
			t.Fatal("it is back before its time")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if p.View().Out.Has(0) { // its time does not end with a sweep
			nextSweep(p.Monitor)
		}
		if p.View().Out.Has(0) {
			t.Fatal("the sweep after its time did not bring it back")
		}
	}
	return out
}

func TestEjectionTime(t *testing.T) {
	const s = time.Second
	for name, test := range map[string]struct {
		edit func(*ir.Outlier)
		want []time.Duration
	}{
		"Envoy's defaults":         {func(*ir.Outlier) {}, []time.Duration{30 * s, 60 * s, 90 * s, 120 * s, 150 * s, 180 * s, 210 * s, 240 * s, 270 * s, 300 * s, 300 * s, 300 * s}},
		"a cap between two steps":  {func(o *ir.Outlier) { o.MaxEjection = 70_000 }, []time.Duration{30 * s, 60 * s, 70 * s, 70 * s}},
		"a cap below the base":     {func(o *ir.Outlier) { o.MaxEjection = 10_000 }, []time.Duration{30 * s, 30 * s}},
		"shorter than an interval": {func(o *ir.Outlier) { o.BaseEjection = 1000 }, []time.Duration{1 * s, 2 * s, 3 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, 2, with(test.edit))
				equal(t, "ejections", lengths(t, p, len(test.want), func() { report(p.hosts[0], 0, 5) }), test.want)
			})
		})
	}
	t.Run("the longest there is", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, 2, with(func(o *ir.Outlier) { o.BaseEjection, o.MaxEjection = 1<<62, 1<<62 }))
			report(p.hosts[0], 0, 5)
			if s := p.hosts[0].Status(); s.EjectedUntil.Sub(s.Since) != 1<<40*time.Millisecond {
				t.Errorf("from %s to %s", s.Since, s.EjectedUntil)
			}
		})
	})
	t.Run("by statistics, with each sweep in use", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, 2, with(func(o *ir.Outlier) { o.Consecutive5xx, o.FailurePercent = 0, 50 }))
			got := lengths(t, p, 4, func() {
				report(p.hosts[0], 0, 50)
				nextSweep(p.Monitor)
			})
			equal(t, "ejections", got, []time.Duration{30 * s, 60 * s, 90 * s, 120 * s})
		})
	})
}

// Each interval spent wholly in use takes one step off the time, and never more than there are.
func TestEjectionTimeDecays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, envoy())
		fail := func() { report(p.hosts[0], 0, 5) }
		again := func(idle int) time.Duration {
			for range idle {
				nextSweep(p.Monitor)
			}
			return lengths(t, p, 1, fail)[0]
		}
		lengths(t, p, 4, fail) // 30 to 120 seconds; it came back with a sweep, four steps are taken
		for _, step := range []struct {
			idle int // sweeps after the return
			want time.Duration
		}{
			{0, 150 * time.Second}, // five steps
			{1, 150 * time.Second}, // one off, one on
			{3, 90 * time.Second},  // three off, one on
			{99, 30 * time.Second}, // all off
		} {
			if got := again(step.idle); got != step.want {
				t.Errorf("after %d sweeps in use: %s, want %s", step.idle, got, step.want)
			}
		}
	})
}

func TestEjectionJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{}
		random := seeded(7)
		o := with(func(o *ir.Outlier) { o.MaxEjectedPercent = 100 })
		for i := range 400 {
			p.hosts = append(p.hosts, newHost(t, HostConfig{Address: name(i), Outlier: o, Rand: random}))
		}
		p.Monitor = p.monitor(t, o)
		sum := time.Duration(0)
		for _, h := range p.hosts {
			report(h, 0, 5)
			s := h.Status()
			length := s.EjectedUntil.Sub(s.Since)
			if length < 30*time.Second || length > 33*time.Second {
				t.Errorf("%s is ejected for %s", h.Address(), length)
			}
			sum += length
		}
		// Even between 30 s and 33 s: the mean of 400 has a deviation of 3 s / sqrt(12) / 20 = 43 ms.
		if mean := sum / 400; mean < 31300*time.Millisecond || mean > 31700*time.Millisecond {
			t.Errorf("the mean is %s", mean)
		}
	})
}
