package balance

import (
	"math"
	"time"
)

// random chooses by weight, in constant time: Vose's alias method ("A Linear Algorithm for Generating Random Numbers with a
// Given Distribution", 1991).
type random struct {
	hosts []Host
	ramp  *ramp
	env   Env
	keep  []uint32 // chance, in 1/2^32, to stay with a column's own host; nil: all weights are equal
	alias []int32  // and the host to go to otherwise
}

func newRandom(hosts []Host, r *ramp, env Env) *random {
	b := &random{hosts: hosts, ramp: r, env: env}
	sum, equal := 0.0, true
	for i := range hosts {
		sum += float64(hosts[i].Weight)
		equal = equal && hosts[i].Weight == hosts[0].Weight
	}
	if equal {
		return b
	}
	b.keep, b.alias = make([]uint32, len(hosts)), make([]int32, len(hosts))
	scaled := make([]float64, len(hosts))
	var small, large []int
	for i := range hosts {
		scaled[i] = float64(hosts[i].Weight) * float64(len(hosts)) / sum
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		b.keep[s], b.alias[s] = uint32(scaled[s]*math.MaxUint32), int32(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			small, large = append(small, l), large[:len(large)-1]
		}
	}
	for _, rest := range [][]int{small, large} { // what rounding leaves stays with itself
		for _, i := range rest {
			b.keep[i], b.alias[i] = math.MaxUint32, int32(i)
		}
	}
	return b
}

// Pick implements Balancer.
func (b *random) Pick(_ Key, out Mask) int {
	now, ramping := b.ramp.under()
	return b.draw(out, -1, now, ramping)
}

// tries is how often a choice that may not be is made again before the hosts are looked through: more would cost more than that.
const tries = 4

// draw chooses by weight among the hosts that are neither in out nor the one named; -1 if there is none.
func (b *random) draw(out Mask, not int, now time.Time, ramping bool) int {
	for range tries {
		i := b.column(b.env.Rand())
		if i == not || out.Has(i) || ramping && fraction(b.env.Rand()) >= b.ramp.share(&b.hosts[i], now) {
			continue
		}
		return i
	}
	return b.sweep(out, not, now, ramping)
}

// column chooses by weight among all hosts: the upper half of r says which column, the lower half whether to stay there.
func (b *random) column(r uint64) int {
	i := below(len(b.hosts), r)
	if b.keep != nil && uint32(r) > b.keep[i] {
		return int(b.alias[i])
	}
	return i
}

// fraction makes a number in [0,1) of a random one.
func fraction(r uint64) float64 { return float64(r>>11) / (1 << 53) }

// sweep is draw in linear time.
func (b *random) sweep(out Mask, not int, now time.Time, ramping bool) int {
	sum := 0.0
	for i := range b.hosts {
		if i != not && !out.Has(i) {
			sum += b.ramp.weight(&b.hosts[i], now, ramping)
		}
	}
	at, last := fraction(b.env.Rand())*sum, -1
	for i := range b.hosts {
		if i == not || out.Has(i) {
			continue
		}
		last = i // what rounding leaves falls to the last one
		if at -= b.ramp.weight(&b.hosts[i], now, ramping); at < 0 {
			break
		}
	}
	return last
}
