package health

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// results are those of exchanges, a letter each.
var results = map[rune]Result{
	's': Success, '5': Status5xx, 'g': GatewayError, 'c': ConnectFailed, 'r': Reset, 't': TimedOut, '-': ClientGone,
}

func TestConsecutive(t *testing.T) {
	limits := func(all, gateway int64) func(*ir.Outlier) {
		return func(o *ir.Outlier) { o.Consecutive5xx, o.ConsecutiveGatewayFailure = all, gateway }
	}
	for name, test := range map[string]struct {
		edit    func(*ir.Outlier)
		results string
		reason  string // empty: stays in; else the last result is the one that ejects
	}{
		"four in a row":                            {limits(5, 0), "5555", ""},
		"five in a row":                            {limits(5, 0), "55555", Consecutive5xx},
		"a success begins anew":                    {limits(5, 0), "5555s5555", ""},
		"and then five":                            {limits(5, 0), "5555s55555", Consecutive5xx},
		"a client that leaves neither counts":      {limits(5, 0), "5555-", ""},
		"nor ends a run":                           {limits(5, 0), "55-5-5--5", Consecutive5xx},
		"every kind of failure counts":             {limits(5, 0), "5gcrt", Consecutive5xx},
		"a threshold of one":                       {limits(1, 0), "s5", Consecutive5xx},
		"off":                                      {limits(0, 0), "555555555555ggggggggggg", ""},
		"gateway failures":                         {limits(0, 5), "ggggg", ConsecutiveGateway},
		"of every kind":                            {limits(0, 4), "gcrt", ConsecutiveGateway},
		"a 500 begins anew":                        {limits(0, 3), "gg5gg", ""},
		"a success too":                            {limits(0, 3), "ggsgg", ""},
		"a 500 does not count among them":          {limits(0, 3), "555555555", ""},
		"a gateway failure counts in both":         {limits(5, 3), "555gg", Consecutive5xx},
		"the shorter run comes first":              {limits(5, 3), "ggg", ConsecutiveGateway},
		"at once in both, the closer reason holds": {limits(5, 5), "ggggg", ConsecutiveGateway},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, 2, with(test.edit))
				for i, r := range test.results {
					if events := p.take(); len(events) != 0 {
						t.Fatalf("ejected before result %d: %v", i+1, kinds(events))
					}
					p.hosts[0].Report(results[r])
				}
				want := []string{}
				if test.reason != "" {
					want = []string{"a ejected " + test.reason}
				}
				equal(t, "events", kinds(p.take()), want)
				if out := p.View().Out.Has(0); out != (test.reason != "") {
					t.Errorf("out is %v", out)
				}
				if p.View().Out.Has(1) {
					t.Error("the other host is out")
				}
			})
		})
	}
}

// A run that ejects nobody, because as many are out as may be, is over: the next result is the first of a new one.
func TestConsecutiveRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, envoy())
		report(p.hosts[0], 0, 5)
		report(p.hosts[1], 0, 5) // refused: one of two is out
		time.Sleep(31 * time.Second)
		nextSweep(p.Monitor) // a is back
		report(p.hosts[1], 0, 4)
		equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx", "a returned ejection_over"})
		report(p.hosts[1], 0, 1)
		equal(t, "events", kinds(p.take()), []string{"b ejected consecutive_5xx"})
	})
}

// What a host did before it was ejected does not count after it is back.
func TestReturnForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, with(func(o *ir.Outlier) { o.ConsecutiveGatewayFailure = 8 }))
		for range 7 {
			p.hosts[0].Report(GatewayError) // ejected after five, the other two were on their way
		}
		time.Sleep(30 * time.Second)
		nextSweep(p.Monitor)
		for range 4 {
			p.hosts[0].Report(GatewayError)
		}
		equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx", "a returned ejection_over"})
	})
}

func TestWithoutOutlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{hosts: []*Host{newHost(t, HostConfig{Address: "a"})}}
		m := NewMonitor(MonitorConfig{Upstream: "u"})
		t.Cleanup(func() { closed(t, m.Close) })
		m.Set(p.hosts)
		report(p.hosts[0], 3, 0)
		report(p.hosts[0], 0, 100)
		nextSweep(m)
		s := p.hosts[0].Status()
		if s.State != StateHealthy || s.Requests != 103 || s.Failures != 100 || s.InARow != 100 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestReportDoesNotAllocate(t *testing.T) {
	p := newPool(t, 4, with(func(o *ir.Outlier) { o.Consecutive5xx = 1 << 40 }))
	h := p.hosts[0]
	for name, f := range map[string]func(){
		"success": func() { h.Report(Success) },
		"5xx":     func() { h.Report(Status5xx) },
		"gateway": func() { h.Report(GatewayError) },
		"client":  func() { h.Report(ClientGone) },
		"view":    func() { p.View() },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	for name, r := range map[string]Result{"success": Success, "failure": Status5xx} {
		b.Run(name, func(b *testing.B) {
			h := newPool(b, 2, with(func(o *ir.Outlier) { o.Consecutive5xx = 0 })).hosts[0]
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					h.Report(r)
				}
			})
		})
	}
}

func BenchmarkView(b *testing.B) {
	p := newPool(b, 100, envoy())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if p.View().Healthy != 100 {
				b.Fail()
			}
		}
	})
}
