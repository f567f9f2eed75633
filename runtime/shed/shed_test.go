package shed

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

var classes = [priorities]int64{low: ir.PriorityLow, normal: ir.PriorityNormal, high: ir.PriorityHigh, critical: ir.PriorityCritical}

// delays is a Sample that a test sets.
type delays struct{ atomic.Int64 }

func (d *delays) sample() time.Duration { return time.Duration(d.Load()) }
func (d *delays) set(v time.Duration)   { d.Store(int64(v)) }

// offer asks n times for each priority and returns the shares that were refused. Those let in end at once.
func offer(s *Shedder, n int) (refused [priorities]float64) {
	for p, priority := range classes {
		for range n {
			pass, _, ok := s.Begin(priority)
			if !ok {
				refused[p] += 1 / float64(n)
			}
			pass.End()
		}
	}
	return refused
}

// within fails unless a share of n draws is what a chance would give: within five standard deviations, sqrt(p(1-p)/n), which
// chance leaves once in two million times.
func within(t *testing.T, what string, got, chance float64, n int) {
	t.Helper()
	if band := 5*math.Sqrt(chance*(1-chance)/float64(n)) + 1e-12; math.Abs(got-chance) > band {
		t.Errorf("%s: refused %.4f of %d, want %.4f +- %.4f", what, got, n, chance, band)
	}
}

func TestShedderFollowsTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d delays
		var changes []Change
		s := New(Env{Sample: d.sample, Rand: rand.New(rand.NewPCG(1, 2)).Uint64, OnChange: func(c Change) { changes = append(changes, c) }})
		defer s.Close()
		if refused := offer(s, 100); refused != [priorities]float64{} {
			t.Fatalf("refuses %v while it is off", refused)
		}
		s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 90})

		d.set(below)
		for range 50 {
			time.Sleep(interval)
			synctest.Wait()
			if refused := offer(s, 100); refused != [priorities]float64{} {
				t.Fatalf("refuses %v below the target", refused)
			}
		}

		d.set(over)
		began := time.Now()
		last := [priorities]float64{}
		for range 60 {
			time.Sleep(interval)
			synctest.Wait()
			const n = 4000
			refused, status := offer(s, n), s.Status()
			for p := range priorities {
				share := status.Priorities[p].Share
				within(t, names[p], refused[p], share, n)
				if share < last[p]-1e-9 {
					t.Fatalf("%s: share falls from %v to %v above the target", names[p], last[p], share)
				}
				if p > low && share > 0 && p != critical && last[p-1] < 0.5 {
					t.Errorf("%s requests are refused while only %v of those before them are", names[p], last[p-1])
				}
				last[p] = share
			}
			if t.Failed() {
				return
			}
		}
		if math.Abs(last[low]-0.9) > 1e-6 || math.Abs(last[high]-0.9) > 1e-6 || last[critical] != 0 {
			t.Errorf("shares are %v at the worst", last)
		}
		if len(changes) != 1 || !changes[0].Shedding || changes[0].Delay != over || changes[0].Target != 20*time.Millisecond ||
			changes[0].Time.Sub(began) != patience*interval {
			t.Fatalf("changes are %+v", changes)
		}

		d.set(0)
		refusedBefore := s.counts().refused()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if refused := offer(s, 1000); refused != [priorities]float64{} {
			t.Errorf("refuses %v when it is over", refused)
		}
		if len(changes) != 2 || changes[1].Shedding || changes[1].Refused != refusedBefore || changes[1].Refused == 0 || changes[1].Took < 5*time.Second {
			t.Errorf("changes are %+v, want an end after %d refused", changes, refusedBefore)
		}
	})
}

func TestShedderIsSwitched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d delays
		var changes []Change
		s := New(Env{Sample: d.sample, OnChange: func(c Change) { changes = append(changes, c) }})
		spec := &ir.LoadShedding{TargetDelay: 20, MaxPercent: 100}
		s.Configure(nil)
		s.Configure(spec)
		d.set(over)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := s.Status(); got.State != "shedding" || got.Priorities[high].Share < 0.99 || got.DelayMS != 50 || got.TargetMS != 20 {
			t.Fatalf("status is %+v", got)
		}
		s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 100}) // a swap that changes nothing
		if got := s.Status(); got.State != "shedding" || got.Priorities[high].Share < 0.99 {
			t.Errorf("status is %+v after the same settings", got)
		}
		s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 40})
		if got := s.Status(); math.Abs(got.Priorities[high].Share-0.4) > 1e-9 {
			t.Errorf("status is %+v under 40 percent", got)
		}
		inside, _, _ := s.Begin(ir.PriorityCritical)
		s.Configure(nil)
		if got := s.Status(); got.State != "off" || got.Priorities[low].Share != 0 {
			t.Errorf("status is %+v when off", got)
		}
		if len(changes) != 2 || changes[1].Shedding {
			t.Errorf("changes are %+v", changes)
		}
		outside, _, ok := s.Begin(ir.PriorityLow) // counts nowhere, whatever comes
		if !ok {
			t.Error("refuses while off")
		}
		s.Configure(spec)
		if _, _, ok := s.Begin(ir.PriorityLow); !ok {
			t.Error("refuses after it was off, before it has seen anything")
		}
		outside.End()
		inside.End()
		if got := s.Status().InFlight; got != 1 {
			t.Errorf("%d in flight, want the last one", got)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		s.Configure(spec)
		if got := s.Status().State; got != "off" {
			t.Errorf("is %s after Close", got)
		}
	})
}

func TestRetryAfterIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d delays
		s := New(Env{Sample: d.sample, Rand: rand.New(rand.NewPCG(3, 4)).Uint64})
		defer s.Close()
		s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 100})
		d.set(over)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		seen := map[time.Duration]int{}
		for range 1000 {
			_, after, ok := s.Begin(ir.PriorityLow)
			if ok {
				continue
			}
			if after < time.Second || after > 6*time.Second || after%time.Second != 0 {
				t.Fatalf("says to come again after %s", after)
			}
			seen[after]++
		}
		if len(seen) < 5 {
			t.Errorf("those refused come back at %v", seen)
		}
	})
}

func TestMaxInFlight(t *testing.T) {
	s := New(Env{Sample: func() time.Duration { return 0 }})
	defer s.Close()
	s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 95, MaxInFlight: 3})
	var passes []Pass
	for i, c := range []struct {
		priority int64
		ok       bool
	}{
		{ir.PriorityLow, true},
		{ir.PriorityCritical, true}, // counts as well
		{ir.PriorityHigh, true},
		{ir.PriorityHigh, false},
		{ir.PriorityLow, false},
		{ir.PriorityCritical, true}, // and is never refused
		{99, true},                  // what is above critical is critical
		{-99, false},                // and what is below low is low
	} {
		pass, after, ok := s.Begin(c.priority)
		if ok != c.ok || ok != (after == 0) {
			t.Errorf("%d: priority %d gets %t, %s, want %t", i, c.priority, ok, after, c.ok)
		}
		passes = append(passes, pass)
	}
	got := s.Status()
	if got.InFlight != 5 || got.MaxInFlight != 3 || got.Priorities[low].Crowded != 2 || got.Priorities[high].Crowded != 1 ||
		got.Priorities[critical].Begun != 3 || got.Priorities[low].Shed != 0 {
		t.Errorf("status is %+v", got)
	}
	for _, p := range passes {
		p.End()
	}
	if n := s.bound.inFlight.Load(); n != 0 || s.Status().InFlight != 0 {
		t.Errorf("%d and %d in flight when all are over", n, s.Status().InFlight)
	}
	s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 95, MaxInFlight: 1})
	if pass, _, ok := s.Begin(ir.PriorityNormal); !ok {
		t.Error("refuses the first")
	} else {
		defer pass.End()
	}
	if _, _, ok := s.Begin(ir.PriorityNormal); ok {
		t.Error("lets a second in where one may be")
	}
}

// Never more than the bound, and never fewer than would fit: as many as want to come in at once get exactly the places there are.
func TestMaxInFlightIsExactUnderConcurrency(t *testing.T) {
	const most, clients, rounds = 16, 64, 200
	s := New(Env{Sample: func() time.Duration { return 0 }})
	defer s.Close()
	s.Configure(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 95, MaxInFlight: most})
	for range rounds {
		var in atomic.Int64
		var all, asked sync.WaitGroup
		asked.Add(clients)
		for range clients {
			all.Go(func() {
				pass, _, ok := s.Begin(ir.PriorityNormal)
				if ok {
					in.Add(1)
				}
				asked.Done()
				asked.Wait() // nobody leaves before all have asked
				pass.End()
			})
		}
		all.Wait()
		if got := in.Load(); got != most {
			t.Fatalf("%d of %d came in, want %d", got, clients, most)
		}
	}
	if got := s.Status(); got.InFlight != 0 || got.Priorities[normal].Begun != most*rounds || got.Priorities[normal].Crowded != (clients-most)*rounds {
		t.Errorf("status is %+v", got)
	}
}

// Everything at once, for the race detector: nothing is lost whatever the settings were when a request began.
func TestShedderUnderChange(t *testing.T) {
	var tick atomic.Int64
	s := New(Env{Sample: func() time.Duration { return time.Duration(tick.Add(1)%2) * over }})
	specs := []*ir.LoadShedding{
		nil, {TargetDelay: 20, MaxPercent: 50}, {TargetDelay: 1, MaxPercent: 100, MaxInFlight: 2}, {TargetDelay: 1, MaxPercent: 1, MaxInFlight: 1000},
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 3000 {
				pass, _, _ := s.Begin(classes[i%priorities])
				pass.End()
			}
		})
	}
	all.Go(func() {
		for i := range 300 {
			s.Configure(specs[i%len(specs)])
			s.Status()
		}
	})
	all.Wait()
	if got, bounded := s.Status().InFlight, s.bound.inFlight.Load(); got != 0 || bounded != 0 {
		t.Errorf("%d and %d in flight when all are over", got, bounded)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBeginDoesNotAllocate(t *testing.T) {
	for name, spec := range map[string]*ir.LoadShedding{
		"off": nil, "idle": {TargetDelay: 20, MaxPercent: 95}, "bounded": {TargetDelay: 20, MaxPercent: 95, MaxInFlight: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Env{Sample: func() time.Duration { return 0 }})
			defer s.Close()
			s.Configure(spec)
			if n := testing.AllocsPerRun(100, func() {
				a, _, _ := s.Begin(ir.PriorityNormal)
				b, _, _ := s.Begin(ir.PriorityNormal) // refused if bounded
				a.End()
				b.End()
			}); n != 0 {
				t.Errorf("allocates %v times", n)
			}
		})
	}
}

func TestStatusIsJSON(t *testing.T) {
	s := New(Env{Sample: func() time.Duration { return 0 }})
	defer s.Close()
	got, err := json.Marshal(s.Status())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"state":"off","delayMs":0,"targetDelayMs":0,"inFlight":0,"maxInFlight":0,"priorities":[` +
		`{"name":"low","share":0,"begun":0,"shed":0,"crowded":0},{"name":"normal","share":0,"begun":0,"shed":0,"crowded":0},` +
		`{"name":"high","share":0,"begun":0,"shed":0,"crowded":0},{"name":"critical","share":0,"begun":0,"shed":0,"crowded":0}]}`
	if string(got) != want {
		t.Errorf("is %s\nwant %s", got, want)
	}
}

func BenchmarkBegin(b *testing.B) {
	for name, spec := range map[string]*ir.LoadShedding{
		"off": nil, "idle": {TargetDelay: 20, MaxPercent: 95}, "bounded": {TargetDelay: 20, MaxPercent: 95, MaxInFlight: 1 << 20},
	} {
		b.Run(name, func(b *testing.B) {
			s := New(Env{Sample: func() time.Duration { return 0 }})
			defer s.Close()
			s.Configure(spec)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					pass, _, _ := s.Begin(ir.PriorityNormal)
					pass.End()
				}
			})
		})
	}
}
