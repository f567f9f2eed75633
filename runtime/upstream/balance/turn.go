package balance

import (
	"sync"
	"sync/atomic"
)

// inTurn is round robin, weights ignored.
type inTurn struct {
	n    int
	next atomic.Uint64
}

// Pick implements Balancer. The turn goes round the hosts that may be chosen: if it went round all of them, the one behind a host
// that may not be would get its share.
func (b *inTurn) Pick(_ Key, out Mask) int {
	turn := b.next.Add(1) - 1
	if out == nil {
		return int(turn % uint64(b.n))
	}
	free := 0
	for i := range b.n {
		if !out.Has(i) {
			free++
		}
	}
	if free == 0 {
		return -1
	}
	left := int(turn % uint64(free))
	for i := range b.n {
		if out.Has(i) {
			continue
		}
		if left == 0 {
			return i
		}
		left--
	}
	return -1
}

// smooth is nginx's smooth weighted round robin: each turn every host gains its weight, the one with the most is chosen and
// pays the sum of all. Among any sum-of-weights turns each host has its share, evenly spread (nginx commit 52327e0627f4).
type smooth struct {
	hosts []Host
	ramp  *ramp

	mu      sync.Mutex
	current []float64
}

func newSmooth(hosts []Host, r *ramp) *smooth {
	return &smooth{hosts: hosts, ramp: r, current: make([]float64, len(hosts))}
}

// Pick implements Balancer. Hosts that may not be chosen neither gain nor pay: they come back as they left.
func (b *smooth) Pick(_ Key, out Mask) int {
	now, ramping := b.ramp.under()
	b.mu.Lock()
	defer b.mu.Unlock()
	best, total := -1, 0.0
	for i := range b.hosts {
		if out.Has(i) {
			continue
		}
		w := b.ramp.weight(&b.hosts[i], now, ramping)
		b.current[i] += w
		total += w
		if best < 0 || b.current[i] > b.current[best] {
			best = i
		}
	}
	if best >= 0 {
		b.current[best] -= total
	}
	return best
}
