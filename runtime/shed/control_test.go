package shed

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

const (
	below = 5 * time.Millisecond
	over  = 50 * time.Millisecond
)

func newControl(maxPercent int64) *control {
	c := &control{}
	c.set(&ir.LoadShedding{TargetDelay: 20, MaxPercent: maxPercent})
	return c
}

// even is a mix of as many requests of each class.
var even = [priorities]int64{100, 100, 100, 100}

func TestControlWaitsForADelayThatStays(t *testing.T) {
	cases := []struct {
		name    string
		samples []time.Duration
		sheds   bool
	}{
		{"quiet", []time.Duration{below, below, below, below}, false},
		{"at the target", []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond}, false},
		{"one burst", []time.Duration{over, below, below, below}, false},
		{"two in a row, again and again", []time.Duration{over, over, below, over, over, below, over, over}, false},
		{"three in a row", []time.Duration{over, over, over}, true},
		{"a nanosecond over", []time.Duration{20*time.Millisecond + 1, 20*time.Millisecond + 1, 20*time.Millisecond + 1}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			control := newControl(95)
			for _, s := range c.samples {
				control.observe(s, even)
			}
			if control.shedding() != c.sheds {
				t.Errorf("shedding is %t after %v, want %t", control.shedding(), c.samples, c.sheds)
			}
			if refuses := control.shares != [priorities]float64{}; refuses != c.sheds {
				t.Errorf("shares are %v", control.shares)
			}
		})
	}
}

// The share let in falls by a tenth with each sample above the target and rises by 2.5 points with each that is not.
func TestControlFallsByAFactorAndRisesByASummand(t *testing.T) {
	c := newControl(95)
	for range patience - 1 {
		c.observe(over, even)
	}
	want := 1.0
	for range 20 {
		c.observe(over, even)
		want *= 0.9
		if math.Abs(c.admit-want) > 1e-9 {
			t.Fatalf("lets in %v, want %v", c.admit, want)
		}
	}
	for range 10 {
		c.observe(below, even)
		want += 0.025 * (1 - 5.0/40)
		if math.Abs(c.admit-want) > 1e-9 {
			t.Fatalf("lets in %v, want %v", c.admit, want)
		}
	}
	c.observe(over, even) // while it sheds, it need not wait for three
	if want *= 0.9; math.Abs(c.admit-want) > 1e-9 {
		t.Fatalf("lets in %v, want %v", c.admit, want)
	}
	for {
		c.observe(c.delay*4/5, even) // what was refused is enough, as long as it is above the target
		if c.delay <= c.target {
			break
		}
		if math.Abs(c.admit-want) > 1e-9 {
			t.Fatalf("lets in %v while the delay falls, want %v", c.admit, want)
		}
	}
	steps := 0
	for ; c.shedding(); steps++ {
		c.observe(below, even)
	}
	if took := time.Duration(steps) * interval; took > 5*time.Second {
		t.Errorf("needed %s to let everything in again", took)
	}
	if c.shares != [priorities]float64{} {
		t.Errorf("shares are %v at the end", c.shares)
	}
}

func TestControlRefusesInOrderOfPriority(t *testing.T) {
	mixes := map[string][priorities]int64{
		"even":            even,
		"mostly low":      {900, 50, 50, 0},
		"hardly any low":  {1, 500, 500, 10},
		"normal only":     {0, 1000, 0, 0},
		"high only":       {0, 0, 1000, 0},
		"critical only":   {0, 0, 0, 1000},
		"nobody":          {},
		"few":             {1, 1, 0, 1},
		"of huge numbers": {1 << 50, 1 << 50, 1 << 50, 1 << 50},
	}
	for name, mix := range mixes {
		t.Run(name, func(t *testing.T) {
			c := newControl(80)
			for range 100 { // until the mix is known
				c.observe(below, mix)
			}
			last := c.shares
			for range 40 {
				c.observe(over, mix)
				for p, s := range c.shares {
					if s < 0 || s > 0.8+1e-9 {
						t.Fatalf("%s: refuses %v, want at most 0.8", names[p], s)
					}
					if s < last[p]-1e-9 {
						t.Fatalf("%s: refuses %v after %v, while the delay is above the target", names[p], s, last[p])
					}
					if p > low && s > 1e-9 && c.shares[p-1] < 0.8-1e-9 {
						t.Fatalf("refuses %v: of %s before all it may of %s", c.shares, names[p], names[p-1])
					}
				}
				if c.shares[critical] != 0 {
					t.Fatal("refuses critical requests")
				}
				last = c.shares
			}
			for p := range critical {
				if math.Abs(c.shares[p]-0.8) > 1e-6 {
					t.Errorf("%s: refuses %v at the worst, want 0.8", names[p], c.shares[p])
				}
			}
		})
	}
}

// What the classes are refused adds up to what is to be refused: no more than needed, whatever the mix.
func TestControlRefusesWhatItMeansTo(t *testing.T) {
	mix := [priorities]int64{200, 700, 100, 300}
	c := newControl(95)
	for range 100 {
		c.observe(below, mix)
	}
	for range 30 {
		c.observe(over, mix)
		refused := 0.0
		for p := range critical {
			refused += c.shares[p] * (c.demand[p] + 1)
		}
		if want := (1 - c.admit) * 1003; math.Abs(refused-want) > 1e-3 {
			t.Fatalf("refuses %.4f of 1000 requests, want %.4f", refused, want)
		}
	}
}

func TestControlTakesNewSettings(t *testing.T) {
	c := newControl(95)
	for range 100 {
		c.observe(over, even)
	}
	if c.shares[low] < 0.94 {
		t.Fatalf("refuses %v", c.shares)
	}
	c.set(&ir.LoadShedding{TargetDelay: 20, MaxPercent: 10})
	for p := range critical {
		if math.Abs(c.shares[p]-0.1) > 1e-9 {
			t.Errorf("%s: refuses %v under a maximum of 10 percent", names[p], c.shares[p])
		}
	}
	c.set(&ir.LoadShedding{TargetDelay: 100, MaxPercent: 10})
	c.observe(over, even) // which is not above this target
	if want := 0.9 + 0.025*0.75; math.Abs(c.admit-want) > 1e-9 {
		t.Errorf("lets in %v, want %v", c.admit, want)
	}
}

// station is a gateway as a queue: it works off capacity requests a second, and the delay is what the rest of them waits.
type station struct {
	control  *control
	backlog  float64   // requests
	capacity float64   // a second
	way      []float64 // requests let in that have not reached the queue yet, by interval
	noise    *rand.Rand
}

// step offers a rate of requests for one interval and returns how many were answered, and what they waited.
func (s *station) step(rate [priorities]float64) (answered float64, waited time.Duration) {
	var came [priorities]int64
	admitted := 0.0
	for p, r := range rate {
		n := r * interval.Seconds()
		came[p] = int64(n)
		admitted += n * (1 - s.control.shares[p])
	}
	s.way = append(s.way, admitted)
	s.backlog += s.way[0]
	s.way = s.way[1:]
	answered = min(s.backlog, s.capacity*interval.Seconds())
	s.backlog -= answered
	waited = time.Duration(s.backlog / s.capacity * float64(time.Second))
	s.control.observe(time.Duration(float64(waited)*math.Exp(0.3*s.noise.NormFloat64())), came)
	return answered, waited
}

// Three times the capacity for five minutes: nine tenths of the capacity are used, those let in wait little, those of high
// priority hardly notice, and all is well soon after the load ends. What is seen of the delay is off by a third, and in one case
// requests take an interval from the door to the queue, so that what the control does shows late.
func TestControlKeepsAStationUseful(t *testing.T) {
	for name, way := range map[string][]float64{"at once": nil, "an interval later": {50}} {
		t.Run(name, func(t *testing.T) {
			s := &station{control: newControl(95), capacity: 1000, way: way, noise: rand.New(rand.NewPCG(1, 2))}
			calm := [priorities]float64{100, 300, 90, 10}
			for range 100 {
				if s.step(calm); s.control.shedding() {
					t.Fatal("sheds below the capacity")
				}
			}
			storm := [priorities]float64{1000, 1700, 290, 10}
			answered, steps, late, highRefused := 0.0, 0, 0, 0
			for at := time.Duration(0); at < 5*time.Minute; at += interval {
				n, waited := s.step(storm)
				if at < 5*time.Second {
					continue // until it has found its level
				}
				steps, answered = steps+1, answered+n
				if waited > 100*time.Millisecond {
					late++
				}
				if s.control.shares[high] > 0 {
					highRefused++
				}
			}
			if goodput := answered / (float64(steps) * interval.Seconds() * s.capacity); goodput < 0.9 {
				t.Errorf("answers %.1f %% of what it could, want at least 90 %%", goodput*100)
			}
			if late > steps/100 {
				t.Errorf("requests wait more than 100 ms in %d of %d intervals", late, steps)
			}
			if highRefused > steps/100 { // in the swings that come of what is seen late and wrong
				t.Errorf("requests of high priority are refused in %d of %d intervals", highRefused, steps)
			}
			after := 0
			for ; s.control.shedding(); after++ {
				s.step(calm)
			}
			if took := time.Duration(after) * interval; took > 5*time.Second {
				t.Errorf("needed %s to let everything in again", took)
			}
		})
	}
}
