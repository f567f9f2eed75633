package balance

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

func TestRoundRobin(t *testing.T) {
	cases := []struct {
		name    string
		out     Mask
		weights []int64
		want    []int // the first turns
	}{
		{"all", nil, alike(3), []int{0, 1, 2, 0, 1, 2, 0}},
		{"weights do not matter", nil, []int64{5, 1, 9}, []int{0, 1, 2, 0, 1, 2, 0}},
		{"one out", without(1), alike(4), []int{0, 2, 3, 0, 2, 3}}, // and 2 has no more than the others
		{"one left", without(0, 1), alike(3), []int{2, 2, 2}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := New(&ir.Balance{Strategy: ir.BalanceRoundRobin}, pool(c.weights...), seeded(1))
			var got []int
			for range c.want {
				got = append(got, b.Pick(Key{}, c.out))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("picks %v, want %v", got, c.want)
			}
		})
	}
}

func TestRoundRobinIsExactConcurrently(t *testing.T) {
	b := New(&ir.Balance{Strategy: ir.BalanceRoundRobin}, pool(alike(7)...), Env{})
	var mu sync.Mutex
	counts := make([]int, 7)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			own := count(b, 7, 7*250, nil)
			mu.Lock()
			defer mu.Unlock()
			for i, n := range own {
				counts[i] += n
			}
		})
	}
	all.Wait()
	for i, n := range counts {
		if n != 1000 {
			t.Errorf("host %d was picked %d times, want 1000", i, n)
		}
	}
}

// The example of nginx: with weights 5, 1, 1 the turns are a a b a c a a.
func TestSmoothWeightedAsNginx(t *testing.T) {
	b := New(&ir.Balance{Strategy: ir.BalanceWeighted}, pool(5, 1, 1), seeded(1))
	got := ""
	for range 14 {
		got += string(rune('a' + b.Pick(Key{}, nil)))
	}
	if want := strings.Repeat("aabacaa", 2); got != want {
		t.Errorf("picks %s, want %s", got, want)
	}
}

func TestSmoothWeightedIsExactAndNeverClumped(t *testing.T) {
	for _, weights := range [][]int64{{1, 1}, {5, 1, 1}, {3, 2, 1}, {10, 9, 8, 7}, {100, 1}, {1, 100, 1, 50, 2}, {7, 7, 7}, {65535, 1, 2}, {1000, 999, 998, 1, 1, 1}} {
		b := New(&ir.Balance{Strategy: ir.BalanceWeighted}, pool(weights...), seeded(1))
		sum := int64(0)
		for _, w := range weights {
			sum += w
		}
		counts := make([]int64, len(weights))
		for turn := int64(1); turn <= 2*sum; turn++ {
			i := b.Pick(Key{}, nil)
			counts[i]++
			// No host is ever a whole turn ahead of its share: the one chosen has at least the average sum/n before it pays
			// sum, so what it is owed, turn*weight - count*sum, stays above -sum.
			if owed := turn*weights[i] - counts[i]*sum; owed <= -sum {
				t.Fatalf("weights %v: host %d was picked %d times in %d turns", weights, i, counts[i], turn)
			}
			if turn%sum != 0 {
				continue
			}
			for i, w := range weights {
				if counts[i] != w*turn/sum {
					t.Fatalf("weights %v: counts are %v after %d turns", weights, counts, turn)
				}
			}
		}
	}
}

// A host that was out comes back to where it was: it neither makes up for the time nor is made to wait.
func TestSmoothWeightedWithAMask(t *testing.T) {
	b := New(&ir.Balance{Strategy: ir.BalanceWeighted}, pool(2, 3, 5), seeded(1))
	for range 10 {
		b.Pick(Key{}, nil)
	}
	if got := count(b, 3, 50, without(2)); !slices.Equal(got, []int{20, 30, 0}) {
		t.Errorf("picks %v of 2, 3 and one that is out", got)
	}
	if got := count(b, 3, 10, nil); !slices.Equal(got, []int{2, 3, 5}) {
		t.Errorf("picks %v of 2, 3, 5 afterwards", got)
	}
}

func TestSmoothWeightedIsExactConcurrently(t *testing.T) {
	b := New(&ir.Balance{Strategy: ir.BalanceWeighted}, pool(1, 2, 7), Env{})
	var mu sync.Mutex
	counts := make([]int, 3)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			own := count(b, 3, 500, nil)
			mu.Lock()
			defer mu.Unlock()
			for i, n := range own {
				counts[i] += n
			}
		})
	}
	all.Wait()
	if !slices.Equal(counts, []int{200, 400, 1400}) {
		t.Errorf("counts are %v", counts)
	}
}
