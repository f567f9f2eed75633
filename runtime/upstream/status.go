package upstream

import (
	"cmp"
	"time"

	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/runtime/upstream/health"
	"github.com/suuupra/gateway/schema/ir"
)

// Gauges are the numbers of an upstream that metrics show.
type Gauges struct {
	Open, Idle       int64 // connections
	Requests         int64 // under way
	Retries          int64 // under way
	Pending          int64 // requests that wait for a connection
	Healthy          int64 // endpoints by state
	Unhealthy        int64
	Ejected          int64
	Panic            bool
	Discovered       bool // has discovery; LastDiscovery is of its last answer
	LastDiscovery    time.Time
	DiscoveryFailing bool
}

// Seen is what has been counted: two snapshots may share endpoints. A nil Seen counts everything.
type Seen map[any]struct{}

func (s Seen) first(what any) bool {
	if s == nil {
		return true
	}
	_, again := s[what]
	s[what] = struct{}{}
	return !again
}

// Gauges counts what the upstream holds and is not in seen yet.
func (u *Upstream) Gauges(seen Seen) Gauges {
	var g Gauges
	if seen.first(u.use) {
		g.Requests, g.Retries, g.Pending = u.use.budget.Active(), u.use.budget.Retries(), u.use.pending.Load()
	}
	for _, m := range u.members() {
		if !seen.first(m.Endpoint) {
			continue
		}
		open, idle := m.connections()
		g.Open, g.Idle = g.Open+open, g.Idle+idle
		switch m.state().State {
		case "unhealthy":
			g.Unhealthy++
		case "ejected":
			g.Ejected++
		default:
			g.Healthy++
		}
	}
	if u.monitor != nil {
		g.Panic = u.monitor.View().Panic
	}
	if u.watch != nil {
		s := u.watch.Status()
		g.Discovered, g.DiscoveryFailing = true, s.Failures > 0
		if s.LastSuccess != nil {
			g.LastDiscovery = *s.LastSuccess
		}
	}
	return g
}

// And adds the numbers of the same upstream in another snapshot.
func (g Gauges) And(o Gauges) Gauges {
	g.Open, g.Idle = g.Open+o.Open, g.Idle+o.Idle
	g.Requests, g.Retries, g.Pending = g.Requests+o.Requests, g.Retries+o.Retries, g.Pending+o.Pending
	g.Healthy, g.Unhealthy, g.Ejected = g.Healthy+o.Healthy, g.Unhealthy+o.Unhealthy, g.Ejected+o.Ejected
	g.Panic = g.Panic || o.Panic
	return g
}

// state is the health of an endpoint; one nobody looks at is healthy.
func (e *Endpoint) state() health.HostStatus {
	if e.health == nil {
		return health.HostStatus{State: "healthy"}
	}
	return e.health.Status()
}

// Status describes an upstream for people.
type Status struct {
	ID        string            `json:"id"`
	Tenant    string            `json:"tenant,omitempty"`
	Scheme    string            `json:"scheme"`
	Protocol  string            `json:"protocol"`
	Strategy  string            `json:"strategy"`
	Panic     bool              `json:"panic"`
	Limits    map[string]Use    `json:"limits"`
	Discovery *discovery.Status `json:"discovery,omitempty"`
	Endpoints []EndpointStatus  `json:"endpoints"`
	Events    []health.Event    `json:"events,omitempty"`
}

// Use is how much of a bound is taken.
type Use struct {
	Now   int64 `json:"now"`
	Limit int64 `json:"limit"`
}

// EndpointStatus describes one endpoint.
type EndpointStatus struct {
	Address   string    `json:"address"`
	Weight    int64     `json:"weight"`
	Metadata  []ir.Pair `json:"metadata,omitempty"`
	Active    int64     `json:"active"` // exchanges under way
	Open      int64     `json:"connections"`
	Idle      int64     `json:"idleConnections"`
	LatencyMS float64   `json:"latencyMs,omitempty"` // peak EWMA
	health.HostStatus
}

// Status describes the upstream.
func (u *Upstream) Status() Status {
	g, limits := u.Gauges(nil), u.limits()
	s := Status{
		ID: u.spec.ID, Tenant: u.spec.Tenant, Scheme: u.spec.Scheme, Protocol: cmp.Or(u.spec.Protocol, "auto"), Strategy: u.strategy(),
		Panic: g.Panic, Endpoints: []EndpointStatus{},
		Limits: map[string]Use{
			"connections": {g.Open, limits.Connections}, "pending": {g.Pending, limits.Pending},
			"requests": {g.Requests, limits.Requests}, "retries": {g.Retries, limits.Retries},
		},
	}
	if u.watch != nil {
		d := u.watch.Status()
		s.Discovery = &d
	}
	if u.monitor != nil {
		s.Events = u.monitor.Events()
	}
	for _, m := range u.members() {
		e := EndpointStatus{
			Address: m.address, Weight: max(m.weight, 1), Metadata: m.metadata, Active: m.load.Active(), HostStatus: m.state(),
			LatencyMS: float64(m.load.Latency(u.env.Now()).Microseconds()) / 1000,
		}
		e.Open, e.Idle = m.connections()
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}
