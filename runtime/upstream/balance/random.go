package balance

// random chooses by weight, in constant time: Vose's alias method ("A Linear Algorithm for Generating Random Numbers with a
// Given Distribution", 1991).
type random struct {
	hosts []Host
	ramp  *ramp
	env   Env
	keep  []uint32 // chance, in 1/2^32, to stay with a column's own host
	alias []int32  // and the host to go to otherwise
}

func newRandom(hosts []Host, r *ramp, env Env) *random {
	b := &random{hosts: hosts, ramp: r, env: env, keep: make([]uint32, len(hosts)), alias: make([]int32, len(hosts))}
	sum := 0.0
	for i := range hosts {
		sum += float64(hosts[i].Weight)
	}
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
		b.keep[s], b.alias[s] = uint32(scaled[s]*(1<<32-1)), int32(l)
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			small, large = append(small, l), large[:len(large)-1]
		}
	}
	for _, rest := range [][]int{small, large} { // what rounding leaves stays with itself
		for _, i := range rest {
			b.keep[i], b.alias[i] = 1<<32-1, int32(i)
		}
	}
	return b
}

// tries is how often a choice that may not be is made again before the hosts are looked through: more would cost more than that.
const tries = 4

// Pick implements Balancer.
func (b *random) Pick(_ Key, out Mask) int {
	if len(b.hosts) == 0 {
		return -1
	}
	now, ramping := b.ramp.under()
	for range tries {
		i := b.env.below(len(b.hosts))
		r := b.env.Rand()
		if uint32(r) > b.keep[i] {
			i = int(b.alias[i])
		}
		if out.Has(i) || ramping && float64(r>>32)/(1<<32) >= b.ramp.share(&b.hosts[i], now) {
			continue
		}
		return i
	}
	return b.sweep(out)
}

// sweep chooses by weight among the hosts that may be chosen, in linear time.
func (b *random) sweep(out Mask) int {
	sum := uint64(0)
	for i := range b.hosts {
		if !out.Has(i) {
			sum += uint64(b.hosts[i].Weight)
		}
	}
	if sum == 0 {
		return -1
	}
	at := b.env.Rand() % sum
	for i := range b.hosts {
		if out.Has(i) {
			continue
		}
		w := uint64(b.hosts[i].Weight)
		if at < w {
			return i
		}
		at -= w
	}
	return -1
}
