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

// Pick implements Balancer.
func (b *inTurn) Pick(_ Key, out Mask) int {
	if b.n == 0 {
		return -1
	}
	first := int(b.next.Add(1) % uint64(b.n))
	for i := range b.n {
		if at := (first + i) % b.n; !out.Has(at) {
			return at
		}
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
		w := float64(b.hosts[i].Weight)
		if ramping {
			w *= b.ramp.share(&b.hosts[i], now)
		}
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
