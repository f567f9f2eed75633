package health

import (
	"cmp"
	"math"
	"slices"
)

// sweep brings hosts back, ejects those that do worse than the others, and weighs those of a small pool.
func (m *Monitor) sweep() {
	now := m.c.Now()
	m.mu.Lock()
	hosts := m.hosts
	m.mu.Unlock()
	mine := make([]*Host, 0, len(hosts)) // not those that a younger monitor looks after: nothing is counted twice
	for _, h := range hosts {
		is, changed := h.sweep(m, now)
		if is {
			mine = append(mine, h)
		}
		if changed != nil {
			h.tell(*changed)
		}
	}
	if m.c.Outlier == nil {
		return
	}
	m.bySuccessRate(mine)
	m.byFailures(mine)
	for _, h := range mine {
		h.reward()
	}
	drop := m.smallPool(hosts)
	m.mu.Lock()
	if slices.Equal(hosts, m.hosts) {
		m.drop = drop
	}
	m.mu.Unlock()
	m.announce(m.refresh())
}

// record is how a host did in the last interval.
type record struct {
	host *Host
	count
}

func (r record) successRate() float64 {
	return 100 * float64(r.requests-r.failures) / float64(r.requests)
}

// records are those of the hosts that are in use and had enough requests, the worst first: if not all that should be may be
// ejected, those that most deserve it are.
func records(hosts []*Host, enough int64) []record {
	var out []record
	for _, h := range hosts {
		h.mu.Lock()
		r := record{h, h.tally.last[0]}
		in := !h.ejected && !h.unhealthy
		h.mu.Unlock()
		if in && r.requests >= max(enough, 1) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b record) int { return cmp.Compare(a.successRate(), b.successRate()) })
	return out
}

// bySuccessRate ejects the hosts whose success rate lies far below that of the others: below the mean less a multiple of the
// standard deviation, among hosts that had enough requests, if there are enough of them.
func (m *Monitor) bySuccessRate(hosts []*Host) {
	o := m.c.Outlier
	all := records(hosts, o.SuccessRateRequests)
	if o.SuccessRateHosts == 0 || int64(len(all)) < o.SuccessRateHosts {
		return
	}
	mean, variance := 0.0, 0.0
	for _, r := range all {
		mean += r.successRate() / float64(len(all))
	}
	for _, r := range all {
		variance += (r.successRate() - mean) * (r.successRate() - mean) / float64(len(all))
	}
	deviation := math.Sqrt(variance)
	threshold := mean - deviation*float64(o.SuccessRateFactorPerMil)/1000
	for _, r := range all {
		if r.successRate() < threshold-rounding {
			m.eject(r.host, SuccessRate, map[string]int64{
				"requests": r.requests, "failures": r.failures, "success_permil": perMil(r.successRate()), "hosts": int64(len(all)),
				"mean_permil": perMil(mean), "deviation_permil": perMil(deviation), "threshold_permil": perMil(threshold),
			})
		}
	}
}

// rounding is how far off the threshold may be, in percent: hosts that do equally well must not be below their own mean.
const rounding = 1e-9

// perMil turns percent into thousandths.
func perMil(percent float64) int64 { return int64(math.Round(10 * percent)) }

// byFailures ejects the hosts whose share of failures alone is too high, whatever the others do.
func (m *Monitor) byFailures(hosts []*Host) {
	o := m.c.Outlier
	if o.FailurePercent == 0 {
		return
	}
	for _, r := range records(hosts, o.FailurePercentRequests) {
		if r.failures*100 >= o.FailurePercent*r.requests {
			m.eject(r.host, FailurePercentage, map[string]int64{
				"requests": r.requests, "failures": r.failures,
				"failure_permil": r.failures * 1000 / r.requests, "threshold_permil": o.FailurePercent * 10,
			})
		}
	}
}

// Bounds of the small pools.
const (
	smallest, largest = 2, 4 // hosts
	smallPoolRequests = 10   // in an interval, or two, below which a host is not judged
	leastDrop         = 0.05 // chances below are noise
	mostDrop          = 0.9  // what is left shows whether the host is better again
)

// smallPool weighs hosts where statistics have too few to compare. Let f be the share of failures of a host, and g that of the
// other hosts in use together, in the last interval, or the last two if one has too few requests. The host is passed over with
// the chance
//
//	(f - g) / (1 - g)    within 0.05 (below: 0) and 0.9
//
// which grows with its failures, and is nothing where the others are as bad: then passing over helps nobody. If so many would be
// passed over that the rest is a panic, nobody is, lest one good host get the load of all. The idea of dropping by chance, and of
// opening again when too many are bad, is that of Skipper's passive health check.
func (m *Monitor) smallPool(hosts []*Host) []uint32 {
	if m.c.Outlier == nil || !m.c.Outlier.SmallPools || len(hosts) < smallest || len(hosts) > largest {
		return nil
	}
	var all count
	counts := make([]count, len(hosts))
	for i, h := range hosts {
		if h.bad.Load() {
			continue // nothing is passed on to it, so it is no measure for the rest
		}
		counts[i] = h.recent(smallPoolRequests)
		all.requests += counts[i].requests
		all.failures += counts[i].failures
	}
	drop, whole := make([]uint32, len(hosts)), int64(0)
	dropped := false
	for i, c := range counts {
		others := count{all.requests - c.requests, all.failures - c.failures}
		chance := dropChance(c, others)
		drop[i] = uint32(chance * (1 << 32))
		dropped = dropped || chance > 0
		if chance == 0 && !hosts[i].bad.Load() {
			whole++
		}
	}
	if !dropped || whole == 0 || whole*100 < m.c.PanicPercent*int64(len(hosts)) {
		return nil
	}
	return drop
}

// dropChance is how often a host is passed over.
func dropChance(host, others count) float64 {
	if host.requests < smallPoolRequests || others.requests < smallPoolRequests {
		return 0
	}
	f := float64(host.failures) / float64(host.requests)
	g := float64(others.failures) / float64(others.requests)
	if f <= g {
		return 0
	}
	chance := (f - g) / (1 - g)
	if chance < leastDrop {
		return 0
	}
	return min(chance, mostDrop)
}
