package balance

import (
	"math"
	"time"
)

// pair takes two hosts at random and leaves it to a cost which of them is chosen: the power of two choices (Mitzenmacher, 2001).
// Looking at two is nearly as good as looking at all, and no two gateways run after the same host. Hosts are drawn by weight
// (Berenbrink et al., "Balls into non-uniform bins", 2010): drawn alike, a heavy one could never get more than two shares in n.
type pair struct{ *random }

// two returns two different hosts that may be chosen, drawn by weight one after the other. b is -1 if there is only one, and a
// if there is none.
func (p pair) two(out Mask, now time.Time, ramping bool) (a, b int) {
	if n := len(p.hosts); out == nil && p.keep == nil && !ramping {
		a, b = below(n, p.env.Rand()), below(n-1, p.env.Rand())
		if b >= a {
			b++
		}
		return a, b
	}
	if a = p.draw(out, -1, now, ramping); a < 0 {
		return -1, -1
	}
	return a, p.draw(out, a, now, ramping)
}

// leastLoaded compares the exchanges under way, by weight.
type leastLoaded struct{ pair }

// Pick implements Balancer. Between hosts that are as busy as each other the first one drawn is chosen, so that idle ones share
// by weight.
func (b *leastLoaded) Pick(_ Key, out Mask) int {
	now, ramping := b.ramp.under()
	i, j := b.two(out, now, ramping)
	if j < 0 {
		return i
	}
	x := float64(b.hosts[i].Load.Active()) / b.ramp.weight(&b.hosts[i], now, ramping)
	y := float64(b.hosts[j].Load.Active()) / b.ramp.weight(&b.hosts[j], now, ramping)
	if y < x {
		return j
	}
	return i
}

// leastLatency compares the peak EWMA of the latency, times the exchanges that would be under way, by weight.
type leastLatency struct{ pair }

// penalty is the cost of a host that has something under way and has not answered yet: Finagle's, about 39 hours.
const penalty = float64(math.MaxInt64 >> 16)

// Pick implements Balancer.
func (b *leastLatency) Pick(_ Key, out Mask) int {
	now, ramping := b.ramp.under()
	i, j := b.two(out, now, ramping)
	if j < 0 {
		return i
	}
	at := b.env.Now().Sub(epoch)
	if b.cost(j, at, b.ramp.weight(&b.hosts[j], now, ramping)) < b.cost(i, at, b.ramp.weight(&b.hosts[i], now, ramping)) {
		return j
	}
	return i
}

// cost is Finagle's: a host nothing is known of is tried at once, by one exchange; the next ones wait for what comes of it.
func (b *leastLatency) cost(i int, at time.Duration, weight float64) float64 {
	l := b.hosts[i].Load
	latency, active := l.latency(at), float64(l.Active())
	if latency == 0 && active > 0 {
		return penalty + active/weight
	}
	return latency * (active + 1) / weight
}
