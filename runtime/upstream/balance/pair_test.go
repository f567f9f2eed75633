package balance

import (
	"math"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// throw places exchanges that do not end and returns the load of the fullest host, relative to its weight.
func throw(strategy string, weights []int64, exchanges int, seed uint64) float64 {
	hosts := pool(weights...)
	b := New(&ir.Balance{Strategy: strategy}, hosts, seeded(seed))
	most := 0.0
	for range exchanges {
		h := &hosts[b.Pick(Key{}, nil)]
		h.Load.Begin()
		most = max(most, float64(h.Load.Active())/float64(h.Weight))
	}
	return most
}

// Balls into bins: of n balls in n bins the fullest has about ln n / ln ln n if each is thrown at random, but ln ln n / ln 2 + O(1)
// with two choices (Azar, Broder, Karlin, Upfal, 1994). For n = 1000 that is 5 to 6, against 3 to 4.
func TestTwoChoicesAreFarBetterThanOne(t *testing.T) {
	one, two := 0.0, 0.0
	for seed := range uint64(20) {
		one += throw(ir.BalanceRandom, alike(1000), 1000, seed) / 20
		got := throw(ir.BalanceLeastConnections, alike(1000), 1000, seed)
		if got > 4 {
			t.Errorf("seed %d: the fullest of 1000 hosts has %v of 1000 exchanges", seed, got)
		}
		two += got / 20
	}
	if one < 4.5 || two > 3.5 {
		t.Errorf("the fullest host has %.2f on average with one choice and %.2f with two", one, two)
	}
}

// In the heavily loaded case the gap to the average does not grow with the number of balls: ln ln n / ln 2 + O(1) (Berenbrink,
// Czumaj, Steger, Vöcking, 2000), where one choice has about sqrt(2 * average * ln n), which is 21 here.
func TestTwoChoicesUnderHeavyLoad(t *testing.T) {
	const hosts, average = 100, 50
	for seed := range uint64(5) {
		if gap := throw(ir.BalanceLeastConnections, alike(hosts), hosts*average, seed) - average; gap > 4 {
			t.Errorf("seed %d: the fullest host has %v more than the average", seed, gap)
		}
		if gap := throw(ir.BalanceRandom, alike(hosts), hosts*average, seed) - average; gap < 10 {
			t.Errorf("seed %d: with one choice the fullest host has only %v more than the average", seed, gap)
		}
	}
}

// A heavy host among many gets its share, though two hosts drawn alike would hold it once in ten times only.
func TestTwoChoicesByWeight(t *testing.T) {
	weights := append([]int64{81}, alike(19)...)
	hosts := pool(weights...)
	b := New(nil, hosts, seeded(3))
	for range 1000 {
		hosts[b.Pick(Key{}, nil)].Load.Begin()
	}
	// 1000 exchanges on a weight of 100 are 10 for each.
	for i := range hosts {
		if got := float64(hosts[i].Load.Active()) / float64(hosts[i].Weight); math.Abs(got-10) > 4 {
			t.Errorf("host %d of weight %d has %d exchanges", i, hosts[i].Weight, hosts[i].Load.Active())
		}
	}
	// Idle hosts share by weight.
	idle := pool(weights...)
	fits(t, count(New(nil, idle, seeded(4)), len(idle), 100_000, nil), floats(weights))
}

func TestLeastConnections(t *testing.T) {
	cases := []struct {
		name    string
		weights []int64
		active  []int
		out     Mask
		want    int // always, of two hosts that may be chosen
	}{
		{"the idle one", []int64{1, 1}, []int{1, 0}, nil, 1},
		{"the less busy one", []int64{1, 1}, []int{7, 8}, nil, 0},
		{"by weight", []int64{10, 1}, []int{19, 2}, nil, 0},
		{"by weight, the other way", []int64{10, 1}, []int{21, 2}, nil, 1},
		{"among those that may be", []int64{1, 1, 1}, []int{0, 5, 3}, without(0), 2},
		{"the only one, however busy", []int64{1, 1, 1}, []int{0, 0, 300}, without(0, 1), 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			hosts := pool(c.weights...)
			for i, n := range c.active {
				for range n {
					hosts[i].Load.Begin()
				}
			}
			b := New(&ir.Balance{Strategy: ir.BalanceLeastConnections}, hosts, seeded(1))
			for range 100 {
				if got := b.Pick(Key{}, c.out); got != c.want {
					t.Fatalf("picks %d, want %d", got, c.want)
				}
			}
		})
	}
}

// The busiest host of all is never chosen, if the two are always different ones.
func TestTwoAreDifferent(t *testing.T) {
	for name, out := range map[string]Mask{"nobody": nil, "one": without(1), "most": without(1, 3, 4, 5, 6, 7)} {
		for weight := range int64(2) { // alike, and not
			hosts := pool(1, 1, 1+weight, 1, 1, 1, 1, 1)
			for range 1000 {
				hosts[2].Load.Begin()
			}
			b := New(nil, hosts, seeded(9))
			if got := count(b, 8, 10_000, out); got[2] > 0 {
				t.Errorf("%s out: picks %v", name, got)
			}
		}
	}
}
