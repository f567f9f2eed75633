package balance

import (
	"fmt"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

func TestRandomIsByWeight(t *testing.T) {
	for n, weights := range [][]int64{
		{1, 1}, {1, 9}, {5, 1, 1}, alike(50), span64(1, 31), {65535, 1}, {0, 1, -3}, {1000, 1000, 1000, 1}, {7, 7, 7, 7, 7, 7, 8},
	} {
		for name, out := range map[string]Mask{"nobody": nil, "the first": without(0), "an empty mask": NewMask(1)} {
			t.Run(fmt.Sprintf("%d/%s out", n, name), func(t *testing.T) {
				b := New(&ir.Balance{Strategy: ir.BalanceRandom}, pool(weights...), seeded(uint64(n)))
				want := floats(weights)
				for i := range want {
					want[i] = max(want[i], 1)
					if out.Has(i) {
						want[i] = 0
					}
				}
				fits(t, count(b, len(weights), 30_000, out), want)
			})
		}
	}
}

// With nearly all of them out the look at every host decides, by weight too.
func TestRandomWithFewLeft(t *testing.T) {
	hosts := pool(span64(1, 101)...)
	out, want := NewMask(100), make([]float64, 100)
	for i := range 100 {
		if i != 10 && i != 50 && i != 90 {
			out.Set(i)
			continue
		}
		want[i] = float64(hosts[i].Weight)
	}
	fits(t, count(New(&ir.Balance{Strategy: ir.BalanceRandom}, hosts, seeded(5)), 100, 50_000, out), want)
}
