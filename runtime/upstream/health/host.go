package health

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Host is the health of one endpoint. It outlives snapshots: whoever holds it keeps its history. Report is safe for concurrent
// use, takes no lock while things go well, and allocates nothing.
type Host struct {
	tally              tally
	run5xx, runGateway atomic.Int64 // failures in a row
	bad                atomic.Bool  // ejected or unhealthy: what View asks first

	c      HostConfig
	checks *checker // nil: none

	mu        sync.Mutex
	monitors  []*Monitor // that have it in view, the youngest last: that one sweeps and ejects, the others follow
	state     string     // what follows from unhealthy and ejected
	since     time.Time  // of the state
	swept     time.Time  // the last time
	unhealthy bool       // by active checks
	passes    int64      // checks in a row, while it is unhealthy
	failures  int64      // checks in a row
	lastCheck time.Time
	lastError string
	ejected   bool
	ejectedAt time.Time
	until     time.Time // of the ejection
	ejections int64     // in all
	backoff   int64     // what the base time of an ejection is multiplied by: up with each, down with each interval spent well
	stayed    bool      // in use since the sweep before

	minute time.Time // that told counts in
	told   int64     // events
}

// eventsPerMinute is how many changes of one endpoint a log may hold.
const eventsPerMinute = 6

// NewHost makes a Host and starts its checks, if it has any. It must be closed. The endpoint counts as healthy until its checks
// have failed.
func NewHost(c HostConfig) *Host {
	c.fill()
	h := &Host{c: c, state: StateHealthy, since: c.Now()}
	if c.Check != nil {
		h.checks = startChecks(h)
	}
	return h
}

// Close ends the checks and waits for the one under way. It is idempotent.
func (h *Host) Close() error {
	if h.checks != nil {
		h.checks.close()
	}
	return nil
}

// Address is the endpoint.
func (h *Host) Address() string { return h.c.Address }

// Report tells how an exchange went.
func (h *Host) Report(r Result) {
	switch {
	case r == ClientGone:
	case r.failed():
		h.tally.now.Add(oneFailure)
		h.failed(r.gateway())
	default:
		h.tally.now.Add(oneRequest)
		if h.run5xx.Load()|h.runGateway.Load() != 0 { // written only if they must be: endpoints mostly answer well
			h.run5xx.Store(0)
			h.runGateway.Store(0)
		}
	}
}

// failed counts failures in a row. Whoever makes a run as long as the settings allow ends it and asks for the ejection; if that is
// refused it takes another whole run to ask again.
func (h *Host) failed(gateway bool) {
	o := h.c.Outlier
	if o == nil {
		h.run5xx.Add(1)
		return
	}
	if !gateway {
		h.runGateway.Store(0)
	} else if run := h.runGateway.Add(1); run == o.ConsecutiveGatewayFailure {
		h.runGateway.Store(0)
		h.suspect(ConsecutiveGateway, run)
	}
	if run := h.run5xx.Add(1); run == o.Consecutive5xx {
		h.run5xx.Store(0)
		h.suspect(Consecutive5xx, run)
	}
}

// suspect asks the monitor to eject the host: it knows how many may be.
func (h *Host) suspect(reason string, run int64) {
	h.mu.Lock()
	m, out := h.leader(), h.ejected
	h.mu.Unlock()
	if m != nil && !out { // in a panic requests come all the same
		m.eject(h, reason, map[string]int64{"failures": run})
	}
}

// leader is the monitor that may eject the host. The caller holds mu.
func (h *Host) leader() *Monitor {
	if len(h.monitors) == 0 {
		return nil
	}
	return h.monitors[len(h.monitors)-1]
}

// ledBy reports whether m is the monitor that may eject the host.
func (h *Host) ledBy(m *Monitor) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leader() == m
}

// eject takes the host out for a while, unless it is out already: the base time times the backoff, at most the maximum, and up to
// a tenth more at random, so that hosts ejected together do not come back together.
func (h *Host) eject(o *ir.Outlier, reason string, numbers map[string]int64) (Event, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ejected {
		return Event{}, false
	}
	base := max(ms(o.BaseEjection), time.Millisecond)
	most := max(ms(o.MaxEjection), base)
	if base*time.Duration(h.backoff) < most { // a host that was bad for days need not be good for days
		h.backoff++
	}
	length := min(base*time.Duration(h.backoff), most)
	length += time.Duration(h.c.Rand() % uint64(length/10+1))
	now := h.c.Now()
	h.ejections++
	h.ejected, h.ejectedAt, h.until, h.stayed = true, now, now.Add(length), false
	h.settle(now)
	numbers = maps.Clone(numbers)
	numbers["ejection"], numbers["ejected_ms"] = h.ejections, length.Milliseconds()
	return h.event(Event{Time: now, Kind: Ejected, Reason: reason, Numbers: numbers}), true
}

// settle draws the conclusion from what changed. The caller holds mu.
func (h *Host) settle(now time.Time) {
	state := StateHealthy
	switch {
	case h.unhealthy:
		state = StateUnhealthy
	case h.ejected:
		state = StateEjected
	}
	if state != h.state {
		h.state, h.since = state, now
	}
	h.bad.Store(state != StateHealthy)
}

// sweep begins the next interval, and brings the host back when its time is over. It does nothing if m is not the monitor to do
// so, or if the host was swept just now, by a monitor that m has taken it over from: an interval counts once. What changed is nil
// if nothing did.
func (h *Host) sweep(m *Monitor, now time.Time) (mine bool, changed *Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since := now.Sub(h.swept); h.leader() != m || !h.swept.IsZero() && since >= 0 && since < m.interval()/4 {
		return false, nil
	}
	h.swept = now
	h.tally.turn()
	if !h.ejected || now.Before(h.until) {
		return true, nil
	}
	e := h.comeBack(now, EjectionOver)
	return true, &e
}

// reward lowers the backoff of a host that has been in use for the whole interval. It comes after the judgement of the interval:
// else those who are ejected with every sweep would never be so for longer.
func (h *Host) reward() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ejected {
		return
	}
	if h.stayed {
		h.backoff = max(h.backoff-1, 0)
	}
	h.stayed = true
}

// comeBack ends an ejection. What was counted before it is forgotten. The caller holds mu.
func (h *Host) comeBack(now time.Time, reason string) Event {
	h.ejected = false
	h.run5xx.Store(0)
	h.runGateway.Store(0)
	h.tally.clear()
	h.settle(now)
	return h.event(Event{
		Time: now, Kind: Returned, Reason: reason,
		Numbers: map[string]int64{"ejection": h.ejections, "ejected_ms": now.Sub(h.ejectedAt).Milliseconds()},
	})
}

// checked takes the outcome of a check that began at a moment.
func (h *Host) checked(began time.Time, failure *checkError) {
	h.c.OnCheck(failure == nil)
	h.mu.Lock()
	now := h.c.Now()
	h.lastCheck = now
	var events []Event
	if failure == nil {
		events = h.passed(now, began)
	} else {
		h.passes, h.failures, h.lastError = 0, h.failures+1, failure.detail()
		if !h.unhealthy && h.failures >= h.c.Check.Unhealthy {
			h.unhealthy = true
			h.settle(now)
			events = append(events, h.event(Event{
				Time: now, Kind: Unhealthy, Reason: failure.reason, Detail: h.lastError, Numbers: map[string]int64{"failures": h.failures},
			}))
		}
	}
	h.mu.Unlock()
	for _, e := range events {
		h.tell(e)
	}
}

// passed counts a check that passed. One of them ends an ejection too, if it began after it, as Envoy has it; but if the host is
// unhealthy it takes as many as to become healthy. The caller holds mu.
func (h *Host) passed(now, began time.Time) (events []Event) {
	h.failures, h.lastError = 0, ""
	if h.unhealthy {
		if h.passes++; h.passes < h.c.Check.Healthy {
			return nil
		}
		events = append(events, h.event(Event{Time: now, Kind: Healthy, Numbers: map[string]int64{"passes": h.passes}}))
		h.unhealthy, h.passes = false, 0
		h.settle(now)
	}
	if h.ejected && !began.Before(h.ejectedAt) {
		events = append(events, h.comeBack(now, CheckPassed))
	}
	return events
}

// event completes an event. The caller holds mu.
func (h *Host) event(e Event) Event {
	e.Upstream, e.Endpoint = h.c.Upstream, h.c.Address
	if e.Time.Sub(h.minute) >= time.Minute {
		h.minute, h.told = e.Time, 0
	}
	h.told++
	e.Quiet = h.told > eventsPerMinute
	return e
}

// tell spreads an event: first it takes effect, then people learn of it, and of what follows from it after it. The caller holds no
// lock.
func (h *Host) tell(e Event) {
	h.mu.Lock()
	monitors := h.monitors // never written to: see join
	h.mu.Unlock()
	follows := make([]*Event, len(monitors))
	for i, m := range monitors {
		m.note(e)
		follows[i] = m.refresh()
	}
	if e.Kind == Healthy || e.Kind == Returned {
		for _, m := range monitors {
			if m.c.OnReturn != nil {
				m.c.OnReturn(h.c.Address)
			}
		}
	}
	h.c.OnEvent(e)
	for i, m := range monitors {
		m.announce(follows[i])
	}
}

// join makes m one of the monitors that have the host in view, leave ends that. Both replace the list.
func (h *Host) join(m *Monitor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := len(h.monitors)
	for i, other := range h.monitors {
		if other == m {
			return
		}
		if other.age > m.age {
			at = min(at, i)
		}
	}
	next := make([]*Monitor, 0, len(h.monitors)+1)
	next = append(append(next, h.monitors[:at]...), m)
	h.monitors = append(next, h.monitors[at:]...)
}

func (h *Host) leave(m *Monitor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var next []*Monitor
	for _, other := range h.monitors {
		if other != m {
			next = append(next, other)
		}
	}
	h.monitors = next
}

// recent are the requests and failures of the last interval, or of the last two if it has fewer than enough.
func (h *Host) recent(enough int64) count {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.tally.last[0]
	if n.requests < enough {
		n.requests += h.tally.last[1].requests
		n.failures += h.tally.last[1].failures
	}
	return n
}
