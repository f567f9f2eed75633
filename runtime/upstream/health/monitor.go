package health

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/schema/ir"
)

// MonitorConfig describes a Monitor. Only Upstream is required.
type MonitorConfig struct {
	Upstream     string
	Outlier      *ir.Outlier // nil: nothing is ejected
	PanicPercent int64       // below this share of usable hosts all are used; 0: never
	Now          func() time.Time
	OnEvent      func(Event) // of the upstream as a whole; those of hosts go to the hosts' own
}

// View is what there is to know before an endpoint is chosen. It is immutable.
type View struct {
	Out     balance.Mask // hosts that must not be chosen; nil if there are none, or in a panic
	Panic   bool
	Drop    []uint32 // chance, in 1/2^32, to pass each host over if there is another one; nil: none
	Healthy int      // hosts that are neither unhealthy nor ejected
}

// keptEvents is how many events a Monitor remembers.
const keptEvents = 64

// Monitor looks over the hosts of one upstream. It is safe for concurrent use.
type Monitor struct {
	c    MonitorConfig
	view atomic.Pointer[View]
	done chan struct{}
	over sync.WaitGroup

	mu     sync.Mutex
	hosts  []*Host
	drop   []uint32
	events []Event
	closed bool
}

// NewMonitor makes a Monitor without hosts. It must be closed.
func NewMonitor(c MonitorConfig) *Monitor {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	m := &Monitor{c: c, done: make(chan struct{})}
	m.view.Store(&View{})
	if c.Outlier != nil {
		m.over.Go(m.run)
	}
	return m
}

// Set names the hosts, in the order of the indexes in View. Their history is kept.
func (m *Monitor) Set(hosts []*Host) {
	for _, h := range hosts {
		h.mu.Lock()
		h.monitor = m // also if an older one, of a snapshot that drains, has it still
		h.mu.Unlock()
	}
	m.mu.Lock()
	m.hosts, m.drop = slices.Clone(hosts), nil
	m.mu.Unlock()
	m.refresh()
}

// View is what holds now.
func (m *Monitor) View() *View { return m.view.Load() }

// Events are the latest events, oldest first.
func (m *Monitor) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// Close ends the sweeps. It is idempotent.
func (m *Monitor) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.done)
	}
	m.mu.Unlock()
	m.over.Wait()
	return nil
}

// note remembers an event.
func (m *Monitor) note(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) == keptEvents {
		m.events = slices.Delete(m.events, 0, 1)
	}
	m.events = append(m.events, e)
}

// refresh makes the view of the moment.
func (m *Monitor) refresh() {
	m.mu.Lock()
	n := len(m.hosts)
	v := &View{Healthy: n, Drop: m.drop}
	for i, h := range m.hosts {
		if h.bad.Load() {
			if v.Out == nil {
				v.Out = balance.NewMask(n)
			}
			v.Out.Set(i)
			v.Healthy--
		}
	}
	if p := m.c.PanicPercent; p > 0 && n > 0 && int64(v.Healthy)*100 < p*int64(n) {
		v.Panic, v.Out = true, nil
	}
	old := m.view.Swap(v)
	m.mu.Unlock()
	if old.Panic == v.Panic {
		return
	}
	e := Event{
		Time: m.c.Now(), Upstream: m.c.Upstream, Kind: PanicOver,
		Numbers: map[string]int64{"healthy": int64(v.Healthy), "endpoints": int64(n), "panic_percent": m.c.PanicPercent},
	}
	if v.Panic {
		e.Kind = Panic
	}
	m.note(e)
	m.c.OnEvent(e)
}

// eject takes a host out, if so many may be out.
func (m *Monitor) eject(h *Host, reason string, numbers map[string]int64) {
	m.mu.Lock()
	allowed := m.c.Outlier != nil && slices.Contains(m.hosts, h) && m.mayEject()
	m.mu.Unlock()
	if allowed && h.eject(reason, numbers) {
		m.refresh()
	}
}

// mayEject reports whether one more host may be ejected: at least one may, but never the only one.
func (m *Monitor) mayEject() bool {
	out := int64(0)
	for _, h := range m.hosts {
		h.mu.Lock()
		if h.ejected {
			out++
		}
		h.mu.Unlock()
	}
	n := int64(len(m.hosts))
	return n > 1 && (out == 0 || (out+1)*100 <= m.c.Outlier.MaxEjectedPercent*n)
}

// run sweeps. The first sweep comes with an interval of requests behind it.
func (m *Monitor) run() {
	tick := time.NewTicker(max(ms(m.c.Outlier.Interval), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.sweep()
		case <-m.done:
			return
		}
	}
}

// sweep brings hosts back, ejects those that do worse than the others, and weighs those of a small pool.
func (m *Monitor) sweep() {
	now := m.c.Now()
	m.mu.Lock()
	hosts := slices.Clone(m.hosts)
	m.mu.Unlock()
	for _, h := range hosts {
		h.mu.Lock()
		mine := h.monitor == m // else a newer snapshot's monitor sweeps it
		h.mu.Unlock()
		if mine {
			h.sweep(now, true)
		}
	}
	m.bySuccessRate(now, hosts)
	m.byFailures(now, hosts)
	drop := m.smallPool(now, hosts)
	m.mu.Lock()
	m.drop = drop
	m.mu.Unlock()
	m.refresh()
}

// bySuccessRate ejects the hosts whose success rate lies far below that of the others: below the mean less a multiple of the
// standard deviation, among hosts that had enough requests, if there are enough of them.
func (m *Monitor) bySuccessRate(now time.Time, hosts []*Host) {
	o := m.c.Outlier
	if o.SuccessRateHosts == 0 {
		return
	}
	type rated struct {
		h        *Host
		rate     float64 // percent
		requests int64
	}
	var all []rated
	sum := 0.0
	for _, h := range hosts {
		requests, failures := h.counts.last(now, h.interval())
		if h.bad.Load() || requests < max(o.SuccessRateRequests, 1) {
			continue
		}
		rate := 100 * float64(requests-failures) / float64(requests)
		all = append(all, rated{h, rate, requests})
		sum += rate
	}
	if int64(len(all)) < o.SuccessRateHosts {
		return
	}
	mean, variance := sum/float64(len(all)), 0.0
	for _, r := range all {
		variance += (r.rate - mean) * (r.rate - mean)
	}
	deviation := math.Sqrt(variance / float64(len(all)))
	threshold := mean - deviation*float64(o.SuccessRateFactorPerMil)/1000
	for _, r := range all {
		if r.rate < threshold {
			m.eject(r.h, SuccessRate, map[string]int64{
				"requests": r.requests, "success_rate_permil": int64(10 * r.rate), "mean_permil": int64(10 * mean),
				"deviation_permil": int64(10 * deviation), "threshold_permil": int64(10 * threshold),
			})
		}
	}
}

// byFailures ejects the hosts whose share of failures alone is too high.
func (m *Monitor) byFailures(now time.Time, hosts []*Host) {
	o := m.c.Outlier
	if o.FailurePercent == 0 {
		return
	}
	for _, h := range hosts {
		requests, failures := h.counts.last(now, h.interval())
		if h.bad.Load() || requests < max(o.FailurePercentRequests, 1) || failures*100 < o.FailurePercent*requests {
			continue
		}
		m.eject(h, FailurePercentage, map[string]int64{"requests": requests, "failures": failures, "failure_percent": failures * 100 / requests})
	}
}

// Bounds of the small pools, in hosts and in requests of an interval.
const (
	smallest, largest  = 2, 4
	smallPoolRequests  = 10
	tolerated          = 0.1 // share of failures that changes nothing
	wholePoolUnhealthy = 0.5 // share of failures of the whole pool from which on nobody is passed over: it is not one host's fault
)

// smallPool weighs hosts where statistics have too few to compare: each is passed over with a chance that is its share of
// failures in the last interval and the present one, less what is tolerated. If the pool fails as a whole, passing hosts over
// would only load the others more, and nobody is (the idea is that of Skipper's passive health check).
func (m *Monitor) smallPool(now time.Time, hosts []*Host) []uint32 {
	if !m.c.Outlier.SmallPools || len(hosts) < smallest || len(hosts) > largest {
		return nil
	}
	shares, any := make([]float64, len(hosts)), false
	var requests, failures int64
	for i, h := range hosts {
		r, f := h.counts.recent(now, h.interval())
		requests, failures = requests+r, failures+f
		if share := float64(f) / float64(max(r, 1)); r >= smallPoolRequests && share > tolerated {
			shares[i], any = (share-tolerated)/(1-tolerated), true
		}
	}
	if !any || float64(failures) >= wholePoolUnhealthy*float64(requests) {
		return nil
	}
	drop := make([]uint32, len(hosts))
	for i, share := range shares {
		drop[i] = uint32(share * (1<<32 - 1))
	}
	return drop
}
