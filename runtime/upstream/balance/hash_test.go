package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// placed maps keys to the names of their hosts.
func placed(strategy string, hosts []Host, keys int, out Mask) []string {
	b := New(&ir.Balance{Strategy: strategy}, hosts, seeded(1))
	names := make([]string, keys)
	for n := range keys {
		names[n] = hosts[b.Pick(key(n), out)].Name
	}
	return names
}

// moved compares two placements: how many keys of the host named moved, and how many of others.
func moved(before, after []string, name string) (own, others int) {
	for n := range before {
		switch {
		case before[n] == after[n]:
		case before[n] == name || after[n] == name:
			own++
		default:
			others++
		}
	}
	return own, others
}

// These values hold for ever: a fleet in the middle of an upgrade must agree on them, and so must one gateway with itself.
func TestHashesAreTheSameEverywhere(t *testing.T) {
	var empty, one, two, split Hasher
	one.Add("")
	two.Add("ab")
	two.Add("c")
	split.Add("a")
	split.Add("bc")
	for i, c := range []struct {
		got  Hasher
		want uint64
	}{{empty, 0}, {one, 0x6a9fc0cf8e5dcf7e}, {two, 0xecfaa92cf9ad3a63}, {split, 0x592073b0f09197d6}} {
		if got := c.got.Sum(); got != c.want {
			t.Errorf("key %d is %#x, want %#x", i, got, c.want)
		}
	}
	hosts := pool(1, 2, 3, 1, 5)
	for strategy, want := range map[string][]int{
		ir.BalanceRingHash: {4, 2, 4, 2, 4, 1, 4, 0, 4, 2, 1, 1, 1, 4, 0, 1},
		ir.BalanceMaglev:   {4, 2, 4, 4, 2, 3, 4, 4, 3, 4, 4, 0, 4, 1, 4, 4},
	} {
		b := New(&ir.Balance{Strategy: strategy}, hosts, seeded(1))
		var got, rest []int
		for n := range 16 {
			got = append(got, b.Pick(key(n), nil))
			rest = append(rest, b.(*hashed).rest(key(n).Hash, nil, ceiling{}, -1))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s places keys at %v, want %v", strategy, got, want)
		}
		if want := []int{2, 2, 0, 2, 2, 4, 4, 4, 4, 4, 4, 2, 4, 3, 0, 2}; !slices.Equal(rest, want) {
			t.Errorf("%s places keys at %v where few are left, want %v", strategy, rest, want)
		}
	}
}

// Gateways that know the hosts in another order agree on the place of each key.
func TestHashesDoNotDependOnTheOrder(t *testing.T) {
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		hosts := pool(3, 1, 4, 1, 5, 9, 2, 6)
		want := placed(strategy, hosts, 2000, nil)
		slices.Reverse(hosts)
		if got := placed(strategy, hosts, 2000, nil); !slices.Equal(got, want) {
			t.Errorf("%s places keys elsewhere when the hosts are in another order", strategy)
		}
	}
}

// Points are uniform, so the share of one of n hosts with p points each has a mean of 1/n and a standard deviation of about
// 1/(n sqrt(p)); sampling m keys adds sqrt(n/m)/n. Five of both together are the band.
func TestRingSpread(t *testing.T) {
	const keys = 100_000
	for _, weights := range [][]int64{alike(2), alike(10), alike(100), {3, 1}, {10, 20, 30, 40}, {1, 1, 8}} {
		counts := count(New(&ir.Balance{Strategy: ir.BalanceRingHash}, pool(weights...), seeded(1)), len(weights), keys, nil)
		sum := int64(0)
		for _, w := range weights {
			sum += w
		}
		for i, n := range counts {
			share := float64(weights[i]) / float64(sum)
			band := 5 * (share/math.Sqrt(perHost) + math.Sqrt(share*(1-share)/keys))
			if got := float64(n) / keys; math.Abs(got-share) > band {
				t.Errorf("weights %v: host %d has %.4f of the keys, want %.4f +- %.4f", weights, i, got, share, band)
			}
		}
	}
}

// When a host comes or goes, its own keys move, and no others: not one. (Where weights change the scale of the ring, more do.)
func TestRingDisruptionIsMinimal(t *testing.T) {
	const keys = 20_000
	for _, weights := range [][]int64{alike(2), alike(3), alike(10), alike(100), {2, 3, 2, 3}, {100, 100, 200}} {
		hosts := pool(weights...)
		all := placed(ir.BalanceRingHash, hosts, keys, nil)
		for _, gone := range []int{0, len(hosts) - 1} {
			left := placed(ir.BalanceRingHash, slices.Delete(slices.Clone(hosts), gone, gone+1), keys, nil)
			own, others := moved(all, left, hosts[gone].Name)
			if others > 0 {
				t.Errorf("weights %v: %d keys of other hosts move when host %d goes", weights, others, gone)
			}
			sum := int64(0)
			for _, w := range weights {
				sum += w
			}
			share := float64(weights[gone]) / float64(sum)
			if got := float64(own) / keys; math.Abs(got-share) > share/2 {
				t.Errorf("weights %v: %.4f of the keys move when host %d goes, want about %.4f", weights, got, gone, share)
			}
		}
	}
}

// A key behind the last point belongs to the first one; one at a point to that one.
func TestRingIsRound(t *testing.T) {
	r := ring{{10, 0}, {20, 1}, {30, 2}}
	for key, want := range map[uint64]int{0: 0, 10: 0, 11: 1, 20: 1, 30: 2, 31: 0, math.MaxUint64: 0} {
		if got := r.host(r.place(key)); got != want {
			t.Errorf("key %d belongs to %d, want %d", key, got, want)
		}
	}
	if got := r.step(2); got != 0 {
		t.Errorf("behind the last point is %d", got)
	}
}

func TestRingIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		weights []int64
		most    int
	}{
		"one heavy":     {[]int64{65535, 1}, maxRing + 2},
		"many":          {alike(3000), maxRing + 3000},
		"alike":         {alike(4), 4 * perHost},
		"heavy alike":   {[]int64{1 << 15, 1 << 15}, 2 * perHost},
		"hardly heavy":  {[]int64{3, 3}, 3 * perHost},
		"beyond bounds": {[]int64{math.MaxInt64, 1}, maxRing + 2},
	} {
		r := New(&ir.Balance{Strategy: ir.BalanceRingHash}, pool(c.weights...), seeded(1)).(*hashed).table.(ring)
		if len(r) > c.most {
			t.Errorf("%s: %d points, want at most %d", name, len(r), c.most)
		}
	}
}

// Hosts of the same weight fill places in turn, so their numbers differ by one at most; with weights by what one round gives.
func TestMaglevSpread(t *testing.T) {
	for _, weights := range [][]int64{alike(2), alike(7), alike(100), alike(1000), {3, 1}, {1, 2, 3, 4}, {100, 1}, span64(1, 51)} {
		table := newMaglev(pool(weights...))
		counts, sum := make([]int, len(weights)), int64(0)
		for _, i := range table {
			counts[i]++
		}
		for _, w := range weights {
			sum += w
		}
		for i, n := range counts {
			want := maglevSize * float64(weights[i]) / float64(sum)
			if math.Abs(float64(n)-want) > 2 {
				t.Errorf("%d hosts, weight %d of %d: host %d has %d places, want %.1f +- 2", len(weights), weights[i], sum, i, n, want)
			}
		}
	}
}

// Maglev trades a little disruption for an even spread: when a host goes its keys move, and a few of the others' (section 5.3 of
// the paper has some percent of the places for M = 65537).
func TestMaglevDisruptionIsSmall(t *testing.T) {
	const keys = 20_000
	for _, n := range []int{2, 3, 10, 100} {
		hosts := pool(alike(n)...)
		all := placed(ir.BalanceMaglev, hosts, keys, nil)
		for _, gone := range []int{0, n - 1} {
			left := placed(ir.BalanceMaglev, slices.Delete(slices.Clone(hosts), gone, gone+1), keys, nil)
			own, others := moved(all, left, hosts[gone].Name)
			share := 1 / float64(n)
			if band := 5 * math.Sqrt(share*(1-share)/keys); math.Abs(float64(own)/keys-share) > band {
				t.Errorf("%d hosts: %d of %d keys move when host %d goes, want %.4f +- %.4f of them", n, own, keys, gone, share, band)
			}
			if float64(others)/keys > 0.015 {
				t.Errorf("%d hosts: %d of %d keys of other hosts move when host %d goes", n, others, keys, gone)
			}
		}
	}
}

// A host that may not be chosen for a while loses its own keys only, to all others, and gets the same keys back.
func TestHashesWithAMask(t *testing.T) {
	const hosts, keys = 10, 20_000
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		pool := pool(alike(hosts)...)
		all := placed(strategy, pool, keys, nil)
		masked := placed(strategy, pool, keys, without(4))
		own, others := moved(all, masked, pool[4].Name)
		if others > 0 || math.Abs(float64(own)/keys-0.1) > 0.04 {
			t.Errorf("%s: %d keys of the host and %d of others move", strategy, own, others)
		}
		heirs := map[string]int{}
		for n := range keys {
			if all[n] != masked[n] {
				heirs[masked[n]]++
			}
		}
		for name, n := range heirs {
			if float64(n) > 0.25*float64(own) {
				t.Errorf("%s: %s inherits %d of %d keys", strategy, name, n, own)
			}
		}
		if len(heirs) != hosts-1 {
			t.Errorf("%s: %d hosts inherit, want all others", strategy, len(heirs))
		}
	}
}

// With a table that belongs nearly all to hosts that may not be chosen a key still has its host, and weights hold.
func TestHashesWithFewLeft(t *testing.T) {
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		hosts := pool(60_000, 10, 30)
		first, again := placed(strategy, hosts, 20_000, without(0)), placed(strategy, hosts, 20_000, without(0))
		if !slices.Equal(first, again) {
			t.Errorf("%s: keys do not stay where they were", strategy)
		}
		counts := make([]int, 3)
		for _, name := range first {
			for i := range hosts {
				if hosts[i].Name == name {
					counts[i]++
				}
			}
		}
		// Some keys find a place of one of the two in the table, where 4 points of the ring are far from exact; most do not.
		if share := float64(counts[2]) / 20_000; share < 0.6 || share > 0.9 {
			t.Errorf("%s: counts are %v, want about 5000 and 15000", strategy, counts)
		}
	}
	b := New(&ir.Balance{Strategy: ir.BalanceMaglev}, pool(1, 2, 3, 4), seeded(1)).(*hashed)
	counts := make([]int, 4)
	for n := range 100_000 {
		counts[b.rest(key(n).Hash, without(1), ceiling{}, -1)]++
	}
	fits(t, counts, []float64{1, 0, 3, 4})
}

// A request without a key goes anywhere, by weight.
func TestHashesWithoutAKey(t *testing.T) {
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		b := New(&ir.Balance{Strategy: strategy}, pool(1, 2, 3), seeded(8))
		counts := make([]int, 3)
		for range 60_000 {
			counts[b.Pick(Key{Hash: 42}, nil)]++
		}
		fits(t, counts, []float64{1, 2, 3})
	}
}

// No host ever has more than ceil(c * average), or few, whatever comes: here keys of which one is half of the traffic, and exchanges that
// end in any order.
func TestBoundedLoadIsNeverExceeded(t *testing.T) {
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		for _, weights := range [][]int64{alike(5), {1, 2, 3, 10}, alike(50), {65535, 1, 1}} {
			for _, percent := range []int64{1, 100, 101, 125, 200, 10_000} {
				for name, out := range map[string]Mask{"nobody": nil, "two": without(0, 2)} {
					if len(weights) == 3 && out != nil {
						continue // which would leave one
					}
					t.Run(fmt.Sprintf("%s/%d hosts of %d/%d percent/%s out", strategy, len(weights), weights[0], percent, name), func(t *testing.T) {
						bounded(t, strategy, weights, percent, out)
					})
				}
			}
		}
	}
}

func bounded(t *testing.T, strategy string, weights []int64, percent int64, out Mask) {
	hosts := pool(weights...)
	b := New(&ir.Balance{Strategy: strategy, BoundPercent: percent}, hosts, seeded(1))
	sum := 0.0
	for i, w := range weights {
		if !out.Has(i) {
			sum += float64(w)
		}
	}
	c := float64(max(percent, 100)) / 100
	rnd := rand.New(rand.NewPCG(11, 12))
	var active []int
	for n := range 3000 {
		if len(active) > 0 && rnd.IntN(10) < 4 {
			at := rnd.IntN(len(active))
			hosts[active[at]].Load.End(0)
			active = slices.Delete(active, at, at+1)
			continue
		}
		k := key(0)
		if rnd.IntN(2) == 0 {
			k = key(n)
		}
		i := b.Pick(k, out)
		hosts[i].Load.Begin()
		active = append(active, i)
		most := math.Ceil(c*float64(len(active))*float64(weights[i])/sum - 1e-9)
		if got := float64(hosts[i].Load.Active()); got > max(most, few) {
			t.Fatalf("host %d has %v of %d exchanges, want at most %v", i, got, len(active), most)
		}
	}
}

// A key leaves its host when the exchange that begins would be one too many, not before. The average counts that exchange.
func TestBoundedLoadPassesOverTheFull(t *testing.T) {
	cases := []struct {
		own, other int // exchanges under way
		percent    int64
		stays      bool
	}{
		{0, 0, 100, true},
		{7, 0, 100, true},    // few
		{8, 0, 100, false},   // ceil(9/2) = 5, and no longer few
		{9, 10, 100, true},   // ceil(20/2) = 10
		{10, 9, 100, false},  // the same
		{20, 0, 200, true},   // ceil(2 * 21/2) = 21
		{40, 40, 125, true},  // ceil(1.25 * 81/2) = 51
		{51, 29, 125, false}, // the same
		{50, 30, 125, true},
	}
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		for _, c := range cases {
			hosts := pool(1, 1)
			b := New(&ir.Balance{Strategy: strategy, BoundPercent: c.percent}, hosts, seeded(1))
			own := b.Pick(key(1), nil)
			for range c.own {
				hosts[own].Load.Begin()
			}
			for range c.other {
				hosts[1-own].Load.Begin()
			}
			if got := b.Pick(key(1), nil); (got == own) != c.stays {
				t.Errorf("%s: %d and %d under way, %d percent: goes to its own host: %t, want %t", strategy, c.own, c.other, c.percent, got == own, c.stays)
			}
		}
	}
}

// As long as nobody is at the bound, keys are where they would be without one.
func TestBoundedLoadLeavesKeysAlone(t *testing.T) {
	for _, strategy := range []string{ir.BalanceRingHash, ir.BalanceMaglev} {
		hosts := pool(alike(10)...)
		want := placed(strategy, hosts, 1000, nil)
		for i := range hosts {
			for range 100 {
				hosts[i].Load.Begin()
			}
		}
		b := New(&ir.Balance{Strategy: strategy, BoundPercent: 125}, hosts, seeded(1))
		for n := range want {
			if got := hosts[b.Pick(key(n), nil)].Name; got != want[n] {
				t.Fatalf("%s: key %d is at %s, want %s", strategy, n, got, want[n])
			}
		}
	}
}
