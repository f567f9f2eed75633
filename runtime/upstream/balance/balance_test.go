package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

var strategies = []string{
	ir.BalanceRoundRobin, ir.BalanceWeighted, ir.BalanceRandom, ir.BalanceLeastConnections, ir.BalanceLeastLatency,
	ir.BalanceRingHash, ir.BalanceMaglev,
}

// pool makes hosts of the given weights, each with a load of its own.
func pool(weights ...int64) []Host {
	hosts := make([]Host, len(weights))
	for i, w := range weights {
		hosts[i] = Host{Name: fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250), Weight: w, Load: &Load{}}
	}
	return hosts
}

// alike are n weights of 1.
func alike(n int) []int64 {
	w := make([]int64, n)
	for i := range w {
		w[i] = 1
	}
	return w
}

// seeded is an Env whose randomness is the same in every run.
func seeded(seed uint64) Env { return Env{Rand: rand.New(rand.NewPCG(seed, 7)).Uint64} }

func without(hosts ...int) Mask {
	var m Mask
	for _, i := range hosts {
		m = m.Clone(max(len(m)*64, i+1))
		m.Set(i)
	}
	return m
}

// key is the n-th of a sequence of keys.
func key(n int) Key {
	var h Hasher
	h.Add(fmt.Sprintf("user-%d", n))
	return Key{Hash: h.Sum(), Set: true}
}

// count picks n times for the keys 0 to n-1.
func count(b Balancer, hosts, n int, out Mask) []int {
	counts := make([]int, hosts)
	for i := range n {
		counts[b.Pick(key(i), out)]++
	}
	return counts
}

// fits fails unless counts are what draws by weight would give: Pearson's chi-square is within five standard deviations of its
// mean by the approximation of Wilson and Hilferty, (X/k)^(1/3) ~ N(1-2/9k, 2/9k), which chance exceeds once in three million.
func fits(t *testing.T, counts []int, weights []float64) {
	t.Helper()
	n, sum := 0.0, 0.0
	for i := range counts {
		n, sum = n+float64(counts[i]), sum+weights[i]
	}
	chi, k := 0.0, -1.0
	for i, c := range counts {
		if weights[i] == 0 {
			if c > 0 {
				t.Errorf("host %d was chosen %d times, want never", i, c)
			}
			continue
		}
		want := n * weights[i] / sum
		chi, k = chi+(float64(c)-want)*(float64(c)-want)/want, k+1
	}
	if k < 1 {
		return
	}
	if most := k * math.Pow(1-2/(9*k)+5*math.Sqrt(2/(9*k)), 3); chi > most {
		t.Errorf("counts %v for weights %v: chi-square is %.1f, want at most %.1f", counts, weights, chi, most)
	}
}

func floats(weights []int64) []float64 {
	out := make([]float64, len(weights))
	for i, w := range weights {
		out[i] = float64(w)
	}
	return out
}

func TestMask(t *testing.T) {
	var none Mask
	if none.Has(0) || none.Has(1000) || none.Count() != 0 {
		t.Error("nil holds something")
	}
	m := NewMask(130)
	for _, i := range []int{0, 63, 64, 129} {
		m.Set(i)
		if !m.Has(i) {
			t.Errorf("%d is not in it", i)
		}
	}
	if m.Has(1) || m.Has(65) || m.Has(1<<20) || m.Count() != 4 {
		t.Errorf("holds %b", m)
	}
	c := m.Clone(200)
	c.Set(199)
	if m.Has(199) || !c.Has(129) || c.Count() != 5 {
		t.Errorf("a copy of %b is %b", m, c)
	}
	if c := m.Clone(64); c.Count() != 2 {
		t.Errorf("a short copy is %b", c)
	}
}

func TestPickKeepsToTheMask(t *testing.T) {
	cases := []struct {
		name  string
		hosts int
		out   Mask
		want  []int // which may be chosen; none: -1
	}{
		{"no hosts", 0, nil, nil},
		{"no hosts, and a mask", 0, without(3), nil},
		{"one", 1, nil, []int{0}},
		{"one, out", 1, without(0), nil},
		{"one, another out", 1, without(1), []int{0}},
		{"two", 2, nil, []int{0, 1}},
		{"two, one out", 2, without(0), []int{1}},
		{"two, both out", 2, without(0, 1), nil},
		{"an empty mask", 3, NewMask(3), []int{0, 1, 2}},
		{"a mask of no length", 3, Mask{}, []int{0, 1, 2}},
		{"a mask that is too long", 3, without(1, 500), []int{0, 2}},
		{"a mask that is too short", 70, without(1), nil},
		{"the last one left", 5, without(0, 1, 2, 3), []int{4}},
		{"all out", 5, without(0, 1, 2, 3, 4), nil},
	}
	cases[11].want = append([]int{0}, span(2, 70)...)
	for _, c := range cases {
		for _, strategy := range strategies {
			for _, bound := range []int64{0, 125} {
				for _, heavy := range []int64{1, 100} {
					t.Run(fmt.Sprintf("%s/%s/bound %d/weight %d", c.name, strategy, bound, heavy), func(t *testing.T) {
						weights := alike(c.hosts)
						if c.hosts > 0 {
							weights[0] = heavy
						}
						b := New(&ir.Balance{Strategy: strategy, BoundPercent: bound}, pool(weights...), seeded(1))
						seen := map[int]bool{}
						for n := range 40 * max(c.hosts, 1) {
							k := key(n)
							k.Set = n%4 != 0
							seen[b.Pick(k, c.out)] = true
						}
						want := c.want
						if len(want) == 0 {
							want = []int{-1}
						}
						for _, i := range want {
							if !seen[i] && heavy == 1 {
								t.Errorf("never picks %d", i)
							}
							delete(seen, i)
						}
						if len(seen) > 0 {
							t.Errorf("picks %v, want only %v", seen, want)
						}
					})
				}
			}
		}
	}
}

func span(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestNilSpecIsLeastConnections(t *testing.T) {
	hosts := pool(1, 1)
	hosts[0].Load.Begin()
	b := New(nil, hosts, seeded(1))
	for range 100 {
		if i := b.Pick(Key{}, nil); i != 1 {
			t.Fatalf("picks %d, want the idle one", i)
		}
	}
}

// A Balancer keeps nothing of what it was given but the loads.
func TestNewCopiesTheHosts(t *testing.T) {
	for _, strategy := range strategies {
		hosts, spec := pool(1, 2, 3), &ir.Balance{Strategy: strategy, SlowStart: 1000}
		b := New(spec, hosts, seeded(1))
		clear(hosts)
		*spec = ir.Balance{}
		if i := b.Pick(key(1), without(0)); i < 1 {
			t.Errorf("%s picks %d", strategy, i)
		}
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	half := NewMask(100)
	for i := range 50 {
		half.Set(2 * i)
	}
	nearly := NewMask(100)
	for i := range 99 {
		nearly.Set(i)
	}
	for _, strategy := range strategies {
		for name, out := range map[string]Mask{"nobody": nil, "half": half, "nearly all": nearly} {
			t.Run(strategy+"/"+name+" out", func(t *testing.T) {
				hosts := pool(span64(1, 101)...)
				for i := range hosts {
					hosts[i].Since = time.Now()
				}
				b := New(&ir.Balance{Strategy: strategy, BoundPercent: 125, SlowStart: 60_000}, hosts, Env{})
				k := key(1)
				if n := testing.AllocsPerRun(100, func() {
					i := b.Pick(k, out)
					hosts[i].Load.Begin()
					hosts[i].Load.End(time.Millisecond)
				}); n != 0 {
					t.Errorf("allocates %v times", n)
				}
			})
		}
	}
}

func span64(from, to int64) (out []int64) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

// Everything at once, for the race detector.
func TestPickConcurrently(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy, func(t *testing.T) {
			hosts := pool(1, 2, 3, 4, 5)
			hosts[2].Since = time.Now()
			b := New(&ir.Balance{Strategy: strategy, BoundPercent: 125, SlowStart: 50}, hosts, Env{})
			out := without(3)
			var all sync.WaitGroup
			for g := range 4 {
				all.Go(func() {
					for n := range 500 {
						i := b.Pick(key(n*g), out)
						if i < 0 || i == 3 {
							t.Errorf("picks %d", i)
							return
						}
						hosts[i].Load.Begin()
						hosts[i].Load.Latency(time.Now())
						hosts[i].Load.End(time.Duration(n) * time.Microsecond)
					}
				})
			}
			all.Wait()
			for i := range hosts {
				if n := hosts[i].Load.Active(); n != 0 {
					t.Errorf("host %d has %d under way at the end", i, n)
				}
			}
		})
	}
}

// Whatever the weights, the loads and the mask: a host that may be chosen is, and -1 only if there is none.
func FuzzNew(f *testing.F) {
	f.Add(uint8(0), int64(0), []byte{1, 2, 3}, []byte{0}, int64(1))
	f.Add(uint8(5), int64(125), []byte{255, 0, 255}, []byte{1}, int64(math.MaxInt64))
	f.Add(uint8(6), int64(100), []byte{1, 255}, []byte{}, int64(-5))
	f.Add(uint8(4), int64(1<<62), []byte{}, []byte{255}, int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, strategy uint8, bound int64, weights, masked []byte, scale int64) {
		if len(weights) > 70 {
			return
		}
		hosts := pool(make([]int64, len(weights))...)
		for i, w := range weights {
			hosts[i].Weight = int64(w) * scale
			for range w % 3 {
				hosts[i].Load.Begin()
			}
		}
		var out Mask
		if len(masked) > 0 {
			out = NewMask(64 * len(masked))
			for i, m := range masked {
				out[i] = uint64(m) * 0x0101010101010101
			}
		}
		free := 0
		for i := range hosts {
			if !out.Has(i) {
				free++
			}
		}
		b := New(&ir.Balance{Strategy: strategies[int(strategy)%len(strategies)], BoundPercent: bound}, hosts, seeded(uint64(scale)))
		for n := range 20 {
			k := key(n)
			k.Set = n%3 != 0
			i := b.Pick(k, out)
			if free == 0 && i != -1 || free > 0 && (i < 0 || i >= len(hosts) || out.Has(i)) {
				t.Fatalf("picks %d of %d hosts, of which %d may be chosen", i, len(hosts), free)
			}
		}
	})
}
