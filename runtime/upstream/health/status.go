package health

import "time"

// States of a host.
const (
	StateHealthy   = "healthy"
	StateUnhealthy = "unhealthy" // by active checks, whatever exchanges report
	StateEjected   = "ejected"
)

// HostStatus describes a Host for people.
type HostStatus struct {
	State        string     `json:"state"`
	Since        time.Time  `json:"since,omitzero"`
	EjectedUntil *time.Time `json:"ejectedUntil,omitempty"` // it returns with the first sweep after it, or with a check that passes
	Ejections    int64      `json:"ejections,omitempty"`    // since the endpoint is known
	InARow       int64      `json:"consecutiveFailures,omitempty"`
	Requests     int64      `json:"requests"` // in the last whole interval between two sweeps
	Failures     int64      `json:"failures"`
	LastCheck    *time.Time `json:"lastCheck,omitempty"`
	LastError    string     `json:"lastError,omitempty"` // of the last check
}

// Status describes the host.
func (h *Host) Status() HostStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := HostStatus{
		State: h.state, Since: h.since, Ejections: h.ejections, InARow: h.run5xx.Load(),
		Requests: h.tally.last[0].requests, Failures: h.tally.last[0].failures, LastError: h.lastError,
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
