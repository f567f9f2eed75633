package health

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Host is the health of one endpoint. It outlives snapshots: whoever holds it keeps its history. Report is safe for concurrent
// use, takes no lock while things go well, and allocates nothing.
type Host struct {
	c    HostConfig
	stop func() // ends the checks, nil if there are none

	run5xx, runGateway atomic.Int64 // failures in a row
	counts             counts
	bad                atomic.Bool // ejected or unhealthy: what View asks first

	mu        sync.Mutex
	monitor   *Monitor // that is told of changes, the last one made
	unhealthy bool     // by active checks
	passes    int64    // in a row
	failures  int64
	lastCheck time.Time
	lastError string
	since     time.Time // of the state
	ejected   bool
	until     time.Time // of the ejection
	ejections int64     // how often lately: it sets how long the next one is
}

// NewHost makes a Host and starts its checks, if it has any. It must be closed. An endpoint is used until its checks fail.
func NewHost(c HostConfig) *Host {
	c.fill()
	h := &Host{c: c, since: c.Now()}
	if c.Check != nil {
		h.stop = h.startChecks()
	}
	return h
}

// Close ends the checks and waits for the one under way. It is idempotent.
func (h *Host) Close() error {
	h.mu.Lock()
	stop := h.stop
	h.stop = nil
	h.mu.Unlock()
	if stop != nil {
		stop()
	}
	return nil
}

// Address is the endpoint.
func (h *Host) Address() string { return h.c.Address }

// Report tells how an exchange went.
func (h *Host) Report(r Result) {
	if r == ClientGone {
		return
	}
	failed := r.failed()
	h.counts.add(h.c.Now(), h.interval(), failed)
	if !failed {
		if h.run5xx.Load() != 0 {
			h.run5xx.Store(0)
		}
		if h.runGateway.Load() != 0 {
			h.runGateway.Store(0)
		}
		return
	}
	o := h.c.Outlier
	all := h.run5xx.Add(1)
	gateway := int64(0)
	if r.gateway() {
		gateway = h.runGateway.Add(1)
	} else {
		h.runGateway.Store(0)
	}
	switch {
	case o == nil:
	case o.ConsecutiveGatewayFailure > 0 && gateway == o.ConsecutiveGatewayFailure:
		h.runGateway.Store(0)
		h.suspect(ConsecutiveGateway, map[string]int64{"failures": gateway})
	case o.Consecutive5xx > 0 && all == o.Consecutive5xx:
		h.run5xx.Store(0)
		h.suspect(Consecutive5xx, map[string]int64{"failures": all})
	}
}

// interval is the length of the periods that requests are counted in.
func (h *Host) interval() time.Duration {
	if o := h.c.Outlier; o != nil && o.Interval > 0 {
		return ms(o.Interval)
	}
	return 10 * time.Second
}

// suspect asks the monitor to eject the host: it knows how many may be.
func (h *Host) suspect(reason string, numbers map[string]int64) {
	h.mu.Lock()
	m := h.monitor
	h.mu.Unlock()
	if m != nil {
		m.eject(h, reason, numbers)
	}
}

// eject takes the host out for a while: the base time, times how often it was ejected, at most the maximum, and up to a tenth
// more so that ejected hosts do not come back together. It reports whether it was in.
func (h *Host) eject(reason string, numbers map[string]int64) bool {
	now := h.c.Now()
	h.mu.Lock()
	if h.ejected {
		h.mu.Unlock()
		return false
	}
	o := h.c.Outlier
	h.ejections++
	length := max(min(ms(o.BaseEjection)*time.Duration(h.ejections), ms(o.MaxEjection)), ms(o.BaseEjection))
	length += time.Duration(h.c.Rand() % uint64(length/10+1))
	h.ejected, h.until, h.since = true, now.Add(length), now
	numbers = maps.Clone(numbers)
	numbers["ejections"], numbers["ejected_ms"] = h.ejections, length.Milliseconds()
	h.bad.Store(true)
	h.mu.Unlock()
	h.event(Event{Time: now, Kind: Ejected, Reason: reason, Numbers: numbers})
	return true
}

// sweep brings the host back when its time is over, and forgives an ejection for each sweep it has stayed in (as Envoy does).
// It reports whether the state changed.
func (h *Host) sweep(now time.Time, forgive bool) bool {
	h.mu.Lock()
	switch {
	case !h.ejected:
		if forgive && h.ejections > 0 {
			h.ejections--
		}
		h.mu.Unlock()
		return false
	case now.Before(h.until):
		h.mu.Unlock()
		return false
	}
	h.comeBack(now)
	h.mu.Unlock()
	h.event(Event{Time: now, Kind: Returned})
	return true
}

// comeBack ends an ejection. The caller holds mu.
func (h *Host) comeBack(now time.Time) {
	h.ejected, h.since = false, now
	h.run5xx.Store(0)
	h.runGateway.Store(0)
	h.bad.Store(h.unhealthy)
}

// checked takes the outcome of an active check. A passing check ends an ejection too.
func (h *Host) checked(err error) {
	now := h.c.Now()
	h.c.OnCheck(err == nil)
	var events []Event
	h.mu.Lock()
	h.lastCheck = now
	if err == nil {
		h.passes, h.failures, h.lastError = h.passes+1, 0, ""
		if h.unhealthy && h.passes >= h.c.Check.Healthy {
			h.unhealthy, h.since = false, now
			events = append(events, Event{Time: now, Kind: Healthy, Numbers: map[string]int64{"passes": h.passes}})
		}
		if h.ejected && !h.unhealthy && h.passes >= h.c.Check.Healthy {
			h.comeBack(now)
			events = append(events, Event{Time: now, Kind: Returned, Reason: "check_passed"})
		}
	} else {
		h.passes, h.failures, h.lastError = 0, h.failures+1, err.Error()
		if !h.unhealthy && h.failures >= h.c.Check.Unhealthy {
			h.unhealthy, h.since = true, now
			events = append(events, Event{Time: now, Kind: Unhealthy, Reason: h.lastError, Numbers: map[string]int64{"failures": h.failures}})
		}
	}
	h.bad.Store(h.unhealthy || h.ejected)
	m := h.monitor
	h.mu.Unlock()
	for _, e := range events {
		h.event(e)
	}
	if len(events) > 0 && m != nil {
		m.refresh()
	}
}

// event completes an event and tells it.
func (h *Host) event(e Event) {
	e.Upstream, e.Endpoint = h.c.Upstream, h.c.Address
	h.mu.Lock()
	m := h.monitor
	h.mu.Unlock()
	if m != nil {
		m.note(e)
	}
	h.c.OnEvent(e)
}

// HostStatus describes a Host for people.
type HostStatus struct {
	State        string     `json:"state"` // healthy, unhealthy or ejected
	Since        time.Time  `json:"since"`
	EjectedUntil *time.Time `json:"ejectedUntil,omitempty"`
	Ejections    int64      `json:"ejections,omitempty"` // lately
	InARow       int64      `json:"consecutiveFailures,omitempty"`
	Requests     int64      `json:"requests"` // in the last whole interval
	Failures     int64      `json:"failures"`
	LastCheck    *time.Time `json:"lastCheck,omitempty"`
	LastError    string     `json:"lastError,omitempty"` // of the last check
}

// Status describes the host.
func (h *Host) Status() HostStatus {
	requests, failures := h.counts.last(h.c.Now(), h.interval())
	h.mu.Lock()
	defer h.mu.Unlock()
	s := HostStatus{
		State: "healthy", Since: h.since, Ejections: h.ejections, InARow: h.run5xx.Load(), Requests: requests, Failures: failures, LastError: h.lastError,
	}
	switch {
	case h.unhealthy:
		s.State = "unhealthy"
	case h.ejected:
		s.State = "ejected"
	}
	if h.ejected {
		until := h.until
		s.EjectedUntil = &until
	}
	if !h.lastCheck.IsZero() {
		last := h.lastCheck
		s.LastCheck = &last
	}
	return s
}

func sortedNames(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
