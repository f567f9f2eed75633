package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// never is an outlier section that ejects by runs only, and as many as ask for it.
func never(panicPercent int64) *ir.Outlier {
	return with(func(o *ir.Outlier) { o.MaxEjectedPercent, o.PanicPercent = 100, panicPercent })
}

func TestPanic(t *testing.T) {
	for name, test := range map[string]struct {
		hosts   int
		percent int64
		out     int // that are too few: with one less there is no panic
	}{
		"half of four": {4, 50, 3}, // 2 of 4 are 50 %, which is not below
		"half of five": {5, 50, 3},
		"all but all":  {4, 100, 1},
		"one percent":  {4, 1, 4},
		"one host":     {1, 50, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, test.hosts, never(test.percent))
				for i := range test.out {
					if v := p.View(); v.Panic || v.Out.Count() != i {
						t.Fatalf("with %d out: panic is %v, %d are out", i, v.Panic, v.Out.Count())
					}
					report(p.hosts[i], 0, 5)
				}
				v := p.View()
				if !v.Panic || v.Out != nil || v.Drop != nil || v.Healthy != test.hosts-test.out {
					t.Fatalf("view is %+v", v)
				}
				events := p.take()
				last := events[len(events)-1]
				want := fmt.Sprintf(`"kind":"panic","numbers":{"endpoints":%d,"healthy":%d,"panic_percent":%d}`, test.hosts, test.hosts-test.out, test.percent)
				if text := encode(t, last); !strings.Contains(text, want) {
					t.Errorf("event %s, want %s", text, want)
				}
				time.Sleep(30 * time.Second)
				nextSweep(p.Monitor) // all return, and with the first that makes them enough it is over
				over := 0
				for _, k := range kinds(p.take()) {
					if k == PanicOver {
						over++
					}
				}
				if v := p.View(); v.Panic || over != 1 {
					t.Errorf("panic is %v after %d ends", v.Panic, over)
				}
			})
		})
	}
}

func TestPanicNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 3, never(0))
		for _, h := range p.hosts {
			report(h, 0, 5)
		}
		if v := p.View(); v.Panic || v.Out.Count() != 3 || v.Healthy != 0 {
			t.Errorf("view is %+v", v)
		}
	})
}

// Hosts that leave take their share of a panic along; none at all are no panic.
func TestSetChangesHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 3, never(50))
		report(p.hosts[0], 0, 5)
		report(p.hosts[1], 0, 5)
		if !p.View().Panic {
			t.Fatal("one of three is no panic")
		}
		p.Set(p.hosts[1:])
		if v := p.View(); v.Panic || !v.Out.Has(0) || v.Out.Has(1) {
			t.Errorf("one of two: %+v", v)
		}
		p.Set(nil)
		if v := p.View(); v.Panic || v.Out != nil || v.Healthy != 0 {
			t.Errorf("none: %+v", v)
		}
		p.take()
		report(p.hosts[2], 0, 100)
		equal(t, "events of a host that left", kinds(p.take()), nil)
		p.Set(p.hosts)
		if v := p.View(); !v.Panic || v.Healthy != 1 {
			t.Errorf("all again: %+v", v)
		}
	})
}

// While a snapshot drains its monitor and the next one's look at the same hosts.
func TestTwoMonitorsCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, envoy())
		next := p.monitor(t, envoy())
		for range 3 {
			report(p.hosts[0], 40, 2)
			nextSweep(p.Monitor)
			if s := p.hosts[0].Status(); s.Requests != 42 || s.Failures != 2 {
				t.Errorf("%d requests, %d failures in the interval, want 42 and 2", s.Requests, s.Failures)
			}
		}
		report(p.hosts[0], 0, 5)
		equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx"}) // told once
		for which, m := range map[string]*Monitor{"old": p.Monitor, "new": next} {
			equal(t, which, kinds(m.Events()), []string{"a ejected consecutive_5xx"})
			if v := m.View(); !v.Out.Has(0) || v.Healthy != 1 {
				t.Errorf("%s view: %+v", which, v)
			}
		}
		closed(t, p.Monitor.Close)
		time.Sleep(30 * time.Second)
		nextSweep(next)
		equal(t, "events", kinds(p.take()), []string{"a returned ejection_over"})
		if next.View().Out.Has(0) {
			t.Error("it is still out")
		}
	})
}

// A candidate that comes to nothing closes its monitor: the one before leads again.
func TestOldMonitorTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, envoy())
		candidate := p.monitor(t, envoy())
		closed(t, candidate.Close)
		candidate.Set(p.hosts) // comes too late
		report(p.hosts[0], 30, 0)
		report(p.hosts[0], 0, 5)
		nextSweep(p.Monitor)
		if s := p.hosts[0].Status(); s.State != StateEjected || s.Requests != 35 {
			t.Errorf("status %+v", s)
		}
		equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx"})
		if !p.View().Out.Has(0) {
			t.Error("it is not out")
		}
	})
}

// A monitor that takes a host over in the moment of a sweep does not end the interval that has just begun.
func TestTakenOverDuringSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 1, envoy())
		h := p.hosts[0]
		report(h, 50, 0)
		if mine, _ := h.sweep(p.Monitor, time.Now()); !mine {
			t.Fatal("the first sweep is nobody's")
		}
		next := p.monitor(t, envoy())
		for who, m := range map[string]*Monitor{"the next": next, "the old": p.Monitor} {
			if mine, _ := h.sweep(m, time.Now()); mine {
				t.Errorf("%s monitor sweeps once more", who)
			}
		}
		if n := h.Status().Requests; n != 50 {
			t.Errorf("%d requests in the interval, want 50", n)
		}
		if mine, _ := h.sweep(next, time.Now().Add(-time.Hour)); !mine {
			t.Error("a clock that was set back keeps it from sweeping")
		}
	})
}

// Everything but the view survives a swap in the host, the events in the next monitor, and a panic is not told again.
func TestStateSurvivesSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 3, never(50))
		lengths(t, p, 2, func() { report(p.hosts[0], 0, 5) })
		report(p.hosts[0], 0, 5) // for the third time
		report(p.hosts[1], 0, 5)
		report(p.hosts[2], 0, 4) // one to go
		before := p.Events()
		status := p.hosts[0].Status()
		p.take()

		old := p.Monitor
		p.Monitor = p.monitor(t, never(50))
		closed(t, old.Close)
		if v := p.View(); !v.Panic || v.Healthy != 1 {
			t.Errorf("view %+v", v)
		}
		equal(t, "events told", kinds(p.take()), nil)
		equal(t, "events kept", kinds(p.Events()), kinds(before))
		if got := p.hosts[0].Status(); got.State != StateEjected || !got.EjectedUntil.Equal(*status.EjectedUntil) || got.Ejections != 3 {
			t.Errorf("status %+v, was %+v", got, status)
		}
		report(p.hosts[2], 0, 1)
		equal(t, "events", kinds(p.take()), []string{"c ejected consecutive_5xx"})
		time.Sleep(90 * time.Second)
		nextSweep(p.Monitor)
		if p.View().Out.Has(0) {
			t.Error("it did not come back")
		}
	})
}

// Snapshots that change more often than an interval do not keep hosts from being swept.
func TestFrequentSwaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, envoy())
		report(p.hosts[0], 0, 5)
		for range 14 { // 42 seconds: 30 out, and at most 10 to the next sweep
			time.Sleep(3 * time.Second)
			old := p.Monitor
			p.Monitor = p.monitor(t, envoy())
			closed(t, old.Close)
		}
		equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx", "a returned ejection_over"})
		equal(t, "events kept", kinds(p.Events()), []string{"a ejected consecutive_5xx", "a returned ejection_over"})
	})
}

// The last 64 events are kept, oldest first.
func TestEventsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, with(func(o *ir.Outlier) { o.BaseEjection, o.MaxEjection = 1000, 1000 }))
		for n := range 50 {
			report(p.hosts[0], 0, 5)
			time.Sleep(time.Second)
			nextSweep(p.Monitor)
			if got := len(p.Events()); got != min(2*n+2, keptEvents) {
				t.Fatalf("%d events after %d ejections", got, n+1)
			}
		}
		all, kept := p.take(), p.Events()
		if len(all) != 100 || len(kept) != keptEvents {
			t.Fatalf("%d told, %d kept", len(all), len(kept))
		}
		for i, e := range kept {
			want := all[36+i]
			if e.Kind != want.Kind || !e.Time.Equal(want.Time) || e.Numbers["ejection"] != int64(19+i/2) {
				t.Fatalf("event %d is %+v, want %+v", i, e, want)
			}
		}
		kept[0].Kind = "changed"
		if p.Events()[0].Kind == "changed" {
			t.Error("who asks for the events gets the monitor's own")
		}
	})
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestEventForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, 2, envoy())
		report(p.hosts[0], 0, 5)
		e := p.Events()[0]
		const want = `{"time":"2000-01-01T00:00:00Z","upstream":"u","endpoint":"a","kind":"ejected","reason":"consecutive_5xx",` +
			`"numbers":{"ejected_ms":30000,"ejection":1,"failures":5}}`
		e.Time = e.Time.UTC()
		if got := encode(t, e); got != want {
			t.Errorf("event %s, want %s", got, want)
		}
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		log.Info("changed", slog.Any("", e))
		if want := "level=INFO msg=changed upstream=u endpoint=a reason=consecutive_5xx ejected_ms=30000 ejection=1 failures=5\n"; text.String() != want {
			t.Errorf("line %s, want %s", text.String(), want)
		}
		status := encode(t, p.hosts[0].Status())
		for _, want := range []string{`"state":"ejected"`, `"ejectedUntil":"`, `"ejections":1`, `"requests":0`, `"failures":0`} {
			if !strings.Contains(status, want) {
				t.Errorf("status %s has no %s", status, want)
			}
		}
		if status := encode(t, p.hosts[1].Status()); strings.Contains(status, "ejected") || strings.Contains(status, "last") {
			t.Errorf("status of a host that nothing happened to: %s", status)
		}
	})
}

// An endpoint that changes all the time is told of, and kept, but shall not fill a log.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &journal{}
		h := newHost(t, HostConfig{Address: "a", Check: &ir.Health{Type: "tcp", Interval: 86_400_000, Timeout: 1000, Healthy: 1, Unhealthy: 1}, OnEvent: log.add})
		flap := func(times int) (loud int) {
			for range times {
				h.checked(time.Now(), &checkError{CheckConnect, errors.New("refused")})
				h.checked(time.Now(), nil)
			}
			events := log.take()
			if len(events) != 2*times {
				t.Errorf("%d events, want %d", len(events), 2*times)
			}
			for _, e := range events {
				if !e.Quiet {
					loud++
				}
			}
			return loud
		}
		if loud := flap(10); loud != eventsPerMinute {
			t.Errorf("%d are loud, want %d", loud, eventsPerMinute)
		}
		time.Sleep(59 * time.Second)
		if loud := flap(1); loud != 0 {
			t.Errorf("%d are loud within the minute", loud)
		}
		time.Sleep(time.Second)
		if loud := flap(1); loud != 2 {
			t.Errorf("%d are loud in the next minute, want 2", loud)
		}
	})
}

// Sweeps of one upstream keep to one step whenever its monitors were made; those of others have steps of their own.
func TestSweepsFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(upstream string) time.Duration {
			m := &Monitor{c: MonitorConfig{Upstream: upstream, Outlier: envoy(), Now: time.Now}}
			next := time.Now().Add(m.untilSweep(0))
			return time.Duration(next.UnixNano() % int64(10*time.Second))
		}
		phases := map[time.Duration]bool{}
		for i := range 100 {
			phases[at(name(i))] = true
		}
		if len(phases) < 95 {
			t.Errorf("100 upstreams have %d steps", len(phases))
		}
		want := at("u")
		for range 50 {
			time.Sleep(777 * time.Millisecond)
			if got := at("u"); got != want {
				t.Fatalf("the next sweep is %s into the interval, was %s", got, want)
			}
		}
	})
}

// Everything at once, for the race detector: exchanges, readers, changes of the hosts, and swaps.
func TestConcurrency(t *testing.T) {
	o := with(func(o *ir.Outlier) {
		o.Interval, o.BaseEjection, o.MaxEjection, o.MaxEjectedPercent, o.PanicPercent = 10, 1, 5, 100, 50
		o.SuccessRateHosts, o.SuccessRateRequests, o.FailurePercent, o.SmallPools = 2, 1, 20, true
	})
	p := newPool(t, 4, o)
	const rounds = 400
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			random := seeded(uint64(g))
			for range rounds * 20 {
				p.hosts[random()%4].Report(Result(random() % 7))
			}
		})
		all.Go(func() {
			for range rounds * 5 {
				v := p.View()
				if n := v.Out.Count(); v.Healthy < 0 || !v.Panic && v.Healthy > 4-n {
					t.Errorf("%d healthy, %d out", v.Healthy, n)
				}
				_ = p.Events()
				_ = p.hosts[g].Status()
			}
		})
	}
	all.Go(func() {
		for i := range rounds {
			p.Set(p.hosts[:2+i%3])
		}
		p.Set(p.hosts)
	})
	all.Go(func() {
		for range rounds / 4 {
			m := NewMonitor(MonitorConfig{Upstream: "u", Outlier: o, PanicPercent: 50, OnEvent: p.add})
			m.Set(p.hosts)
			m.sweep()
			closed(t, m.Close)
		}
	})
	all.Wait()
	closed(t, p.Monitor.Close)
	for _, h := range p.hosts {
		if len(h.monitors) != 0 {
			t.Errorf("%s is still in the view of %d monitors", h.Address(), len(h.monitors))
		}
		closed(t, h.Close)
	}
}
