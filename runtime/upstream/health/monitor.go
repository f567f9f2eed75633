package health

import (
	"hash/fnv"
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
	OnReturn     func(address string) // of a host that is used again; nil: nobody. It may call Set, and must not close the monitor
	OnEvent      func(Event)          // of the upstream as a whole, those of hosts go to the hosts' own; must not close the monitor
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
//
// While a snapshot drains, its monitor and the next one's look at the same hosts. Of the monitors that share a host the youngest
// sweeps it and may eject it; the others follow what it finds. If it closes, as that of a candidate that comes to nothing does,
// the one before takes over. A monitor inherits the events of the one whose hosts it gets.
type Monitor struct {
	c     MonitorConfig
	age   uint64
	view  atomic.Pointer[View]
	under sync.WaitGroup // the sweep under way

	mu     sync.Mutex
	hosts  []*Host
	drop   []uint32
	events []Event
	timer  *time.Timer
	closed bool
}

// monitors counts them: the higher number is the younger one.
var monitors atomic.Uint64

// NewMonitor makes a Monitor without hosts. It must be closed.
func NewMonitor(c MonitorConfig) *Monitor {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	m := &Monitor{c: c, age: monitors.Add(1)}
	m.view.Store(&View{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer = time.AfterFunc(m.untilSweep(0), m.run)
	return m
}

// Set names the hosts, in the order of the indexes in View. Their history is kept.
func (m *Monitor) Set(hosts []*Host) {
	hosts = slices.Clone(hosts)
	before := m.before(hosts)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	if len(m.hosts) == 0 && len(m.events) == 0 && before != nil { // what it does not know yet, the one before does
		m.events = before.Events()
		m.view.Store(&View{Panic: before.View().Panic})
	}
	stay := make(map[*Host]bool, len(hosts))
	for _, h := range hosts {
		stay[h] = true
		h.join(m)
	}
	for _, h := range m.hosts {
		if !stay[h] {
			h.leave(m)
		}
	}
	m.hosts, m.drop = hosts, m.smallPool(hosts)
	m.mu.Unlock()
	m.announce(m.refresh())
}

// before is the monitor that leads one of the hosts.
func (m *Monitor) before(hosts []*Host) *Monitor {
	for _, h := range hosts {
		h.mu.Lock()
		leader := h.leader()
		h.mu.Unlock()
		if leader != nil && leader != m {
			return leader
		}
	}
	return nil
}

// View is what holds now.
func (m *Monitor) View() *View { return m.view.Load() }

// Events are the latest events, oldest first.
func (m *Monitor) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// Close ends the sweeps, waits for the one under way, and leaves the hosts to other monitors. It is idempotent.
func (m *Monitor) Close() error {
	m.mu.Lock()
	m.closed = true
	m.timer.Stop()
	hosts := m.hosts
	m.mu.Unlock()
	m.under.Wait()
	for _, h := range hosts {
		h.leave(m)
	}
	return nil
}

// note remembers an event.
func (m *Monitor) note(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) >= keptEvents {
		m.events = slices.Delete(m.events, 0, len(m.events)-keptEvents+1)
	}
	m.events = append(m.events, e)
}

// refresh makes the view of the moment. The event, if any, is to be announced.
func (m *Monitor) refresh() *Event {
	m.mu.Lock()
	n := len(m.hosts)
	v := &View{Healthy: n, Drop: m.drop}
	for i, h := range m.hosts {
		if !h.bad.Load() {
			continue
		}
		if v.Out == nil {
			v.Out = balance.NewMask(n)
		}
		v.Out.Set(i)
		v.Healthy--
	}
	if n > 0 && int64(v.Healthy)*100 < m.c.PanicPercent*int64(n) {
		v.Panic, v.Out, v.Drop = true, nil, nil
	}
	changed := m.view.Swap(v).Panic != v.Panic
	leads := changed && !slices.ContainsFunc(m.hosts, func(h *Host) bool { return !h.ledBy(m) })
	m.mu.Unlock()
	if !leads {
		return nil
	}
	e := Event{
		Time: m.c.Now(), Upstream: m.c.Upstream, Kind: PanicOver,
		Numbers: map[string]int64{"healthy": int64(v.Healthy), "endpoints": int64(n), "panic_percent": m.c.PanicPercent},
	}
	if v.Panic {
		e.Kind = Panic
	}
	m.note(e)
	return &e
}

func (m *Monitor) announce(e *Event) {
	if e != nil {
		m.c.OnEvent(*e)
	}
}

// eject takes a host out, if so many may be out and m is the one to say so. It reports whether it did.
func (m *Monitor) eject(h *Host, reason string, numbers map[string]int64) bool {
	m.mu.Lock()
	done := m.c.Outlier != nil && !m.closed && h.ledBy(m) && m.mayEject()
	var e Event
	if done {
		e, done = h.eject(m.c.Outlier, reason, numbers)
	}
	m.mu.Unlock()
	if done {
		h.tell(e)
	}
	return done
}

// mayEject reports whether one more host may be ejected. Whatever the share that may be, one is; but the only one is not unless
// the settings allow all of them to be, since there is nobody to take its requests. The caller holds mu.
func (m *Monitor) mayEject() bool {
	out := int64(0)
	for _, h := range m.hosts {
		if !h.bad.Load() {
			continue
		}
		h.mu.Lock()
		if h.ejected {
			out++
		}
		h.mu.Unlock()
	}
	n := int64(len(m.hosts))
	return out == 0 && n > 1 || (out+1)*100 <= m.c.Outlier.MaxEjectedPercent*n
}

// interval is the time between two sweeps.
func (m *Monitor) interval() time.Duration {
	if m.c.Outlier == nil || m.c.Outlier.Interval <= 0 {
		return 10 * time.Second // for the figures people see
	}
	return max(ms(m.c.Outlier.Interval), 10*time.Millisecond)
}

// untilSweep is the time to the next sweep, and at least least. Sweeps follow the clock: a monitor that takes over from another
// one goes on in its step, so that snapshots which change more often than the interval do not keep all of them from sweeping.
// Upstreams have steps of their own, so as not to sweep all at once.
func (m *Monitor) untilSweep(least time.Duration) time.Duration {
	interval := m.interval()
	step := fnv.New64a()
	_, _ = step.Write([]byte(m.c.Upstream))
	phase := time.Duration(step.Sum64() % uint64(interval))
	since := time.Duration((m.c.Now().UnixNano() - int64(phase)) % int64(interval))
	wait := interval - since
	if wait < least {
		wait += interval
	}
	return wait
}

// run is one sweep. It takes place in a goroutine of the timer's.
func (m *Monitor) run() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.under.Add(1)
	m.mu.Unlock()
	defer m.under.Done()
	m.sweep()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.timer.Reset(m.untilSweep(m.interval() / 2)) // the clock may have been set, or the timer be early by its grain
	}
}
