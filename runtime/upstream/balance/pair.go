package balance

import "time"

// pair takes two hosts at random and leaves it to a cost which of them is chosen: the power of two choices (Mitzenmacher, 2001).
// Looking at two is nearly as good as looking at all, and no two gateways run after the same host.
type pair struct {
	hosts []Host
	ramp  *ramp
	env   Env
}

// two returns two different hosts that may be chosen; both are the same if there is only one, -1 if there is none.
func (p *pair) two(out Mask) (a, b int) {
	n := len(p.hosts)
	if n == 0 {
		return -1, -1
	}
	if out == nil {
		if n == 1 {
			return 0, 0
		}
		a, b = p.env.below(n), p.env.below(n-1)
		if b >= a {
			b++
		}
		return a, b
	}
	free := 0
	for i := range n {
		if !out.Has(i) {
			free++
		}
	}
	switch free {
	case 0:
		return -1, -1
	case 1:
		a = p.nth(out, 0)
		return a, a
	}
	x, y := p.env.below(free), p.env.below(free-1)
	if y >= x {
		y++
	}
	return p.nth(out, x), p.nth(out, y)
}

// nth is the n-th host that may be chosen.
func (p *pair) nth(out Mask, n int) int {
	for i := range p.hosts {
		if out.Has(i) {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	return -1
}

// weight is what a host counts now.
func (p *pair) weight(i int, now time.Time, ramping bool) float64 {
	w := float64(p.hosts[i].Weight)
	if ramping {
		w *= p.ramp.share(&p.hosts[i], now)
	}
	return w
}

// leastLoaded compares the exchanges under way, by weight.
type leastLoaded struct{ pair }

// Pick implements Balancer.
func (b *leastLoaded) Pick(_ Key, out Mask) int {
	i, j := b.two(out)
	if i == j {
		return i
	}
	now, ramping := b.ramp.under()
	// One more for the exchange that is about to begin: otherwise an idle host of weight 1 would tie with one of weight 10.
	x := float64(b.hosts[i].Load.Active()+1) / b.weight(i, now, ramping)
	y := float64(b.hosts[j].Load.Active()+1) / b.weight(j, now, ramping)
	if y < x {
		return j
	}
	return i
}

// leastLatency compares the peak EWMA of the latency, times the exchanges that would be under way.
type leastLatency struct{ pair }

// unknown is the latency of a host nothing is known of: low enough to be tried, high enough that it does not get everything.
const unknown = float64(time.Millisecond)

// Pick implements Balancer.
func (b *leastLatency) Pick(_ Key, out Mask) int {
	i, j := b.two(out)
	if i == j {
		return i
	}
	_, ramping := b.ramp.under()
	now := b.env.Now()
	if b.cost(j, now, ramping) < b.cost(i, now, ramping) {
		return j
	}
	return i
}

func (b *leastLatency) cost(i int, now time.Time, ramping bool) float64 {
	l := b.hosts[i].Load
	latency := l.latency(now.Sub(epoch))
	if latency == 0 {
		latency = unknown
	}
	return latency * float64(l.Active()+1) / b.weight(i, now, ramping)
}
