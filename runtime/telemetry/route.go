package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/suuupra/gateway/runtime/policy"
)

// NoRoute is the route label of requests that matched no route. It is not a valid route id.
const NoRoute = "-"

// RouteMetrics are the series of one route. A snapshot takes one per route with Metrics.Route while it is built, and gives
// all of them back with Metrics.Forget once it has drained. Before its first request a route costs about 100 bytes.
type RouteMetrics struct {
	id       string
	statuses *statusTable
	refs     int // guarded by routes.mu
	series   atomic.Pointer[routeSeries]

	policies atomic.Pointer[PolicyMetrics] // a list that only ever grows at its head
}

// routeSeries begins with what nearly every request touches, so that cores which serve the same route pass one cache line
// around and not three.
type routeSeries struct {
	in, out  atomic.Uint64
	duration histogram
	methods  [methodCount]atomic.Pointer[statusCounts]
}

// statusCounts counts statuses. A route answers with few of them, so the first few that occur have a place in the struct,
// and only a route that shows more pays for a full table.
type statusCounts struct {
	few  [4]statusCount
	rest atomic.Pointer[[statusSlots]atomic.Uint64]
}

type statusCount struct {
	slot atomic.Uint32 // one more than the status's slot; 0 while it is free. Never changes once it is set.
	n    atomic.Uint64
}

func (c *statusCounts) add(slot int) {
	want := uint32(slot) + 1
	for i := range c.few {
		f := &c.few[i]
		have := f.slot.Load()
		if have == 0 {
			f.slot.CompareAndSwap(0, want)
			have = f.slot.Load() // ours, or that of whoever was faster
		}
		if have == want {
			f.n.Add(1)
			return
		}
	}
	rest := c.rest.Load()
	if rest == nil {
		c.rest.CompareAndSwap(nil, new([statusSlots]atomic.Uint64))
		rest = c.rest.Load()
	}
	rest[slot].Add(1)
}

// of returns the count of a slot.
func (c *statusCounts) of(slot int) uint64 {
	for i := range c.few {
		if c.few[i].slot.Load() == uint32(slot)+1 {
			return c.few[i].n.Load()
		}
	}
	if rest := c.rest.Load(); rest != nil {
		return rest[slot].Load()
	}
	return 0
}

// Record counts one finished request: method as received, the status that was sent (499 if the client went away before
// there was one), the time from its first byte to the last byte of the answer, and the bytes of both, heads included. It allocates
// nothing once the route has seen the method.
func (r *RouteMetrics) Record(method string, status int, took time.Duration, bytesIn, bytesOut int64) {
	s := r.series.Load()
	if s == nil {
		s = r.begin()
	}
	slot := &s.methods[methodIndex(method)]
	counts := slot.Load()
	if counts == nil {
		slot.CompareAndSwap(nil, new(statusCounts))
		counts = slot.Load()
	}
	counts.add(int(r.statuses.slot(status)))
	s.duration.observe(took)
	if bytesIn > 0 {
		s.in.Add(uint64(bytesIn))
	}
	if bytesOut > 0 {
		s.out.Add(uint64(bytesOut))
	}
}

func (r *RouteMetrics) begin() *routeSeries {
	r.series.CompareAndSwap(nil, new(routeSeries))
	return r.series.Load()
}

// Outcome is what a policy decided, as the outcome label says it.
type Outcome uint8

// The outcomes. OutcomeError is a policy that could not decide: it panicked, or what it depends on is away.
const (
	OutcomePass Outcome = iota
	OutcomeAnswer
	OutcomeRefuse
	OutcomeError
	outcomeCount
)

// String is the label's value.
func (o Outcome) String() string {
	return [outcomeCount]string{"pass", "answer", "refuse", "error"}[o]
}

// OutcomeOf reads the outcome off a verdict. A refusal with a 5xx status is an error: the policy did not judge the request.
func OutcomeOf(v policy.Verdict) Outcome {
	switch {
	case v.Reject != nil && v.Reject.Status >= 500:
		return OutcomeError
	case v.Reject != nil:
		return OutcomeRefuse
	case v.Response != nil:
		return OutcomeAnswer
	}
	return OutcomePass
}

// PolicyMetrics counts the decisions of one kind of policy on one route.
type PolicyMetrics struct {
	kind   string
	counts [outcomeCount]atomic.Uint64
	next   *PolicyMetrics
}

// Record counts one decision.
func (p *PolicyMetrics) Record(o Outcome) { p.counts[o].Add(1) }

// Policy returns the counters of a kind of policy on this route: the same ones each time.
func (r *RouteMetrics) Policy(kind string) *PolicyMetrics {
	kind = clean(kind)
	for {
		first := r.policies.Load()
		for p := first; p != nil; p = p.next {
			if p.kind == kind {
				return p
			}
		}
		if p := (&PolicyMetrics{kind: kind, next: first}); r.policies.CompareAndSwap(first, p) {
			return p
		}
	}
}

// routes is the collector of everything labelled with a route.
type routes struct {
	statuses *statusTable
	mu       sync.Mutex
	all      map[string]*RouteMetrics

	requests, duration, in, out, decisions *prometheus.Desc
}

func newRoutes() *routes {
	return &routes{
		statuses: newStatusTable(),
		all:      map[string]*RouteMetrics{},
		requests: prometheus.NewDesc("gw_requests_total",
			"Requests answered, by route, method and status.", []string{"route", "method", "status"}, nil),
		duration: prometheus.NewDesc("gw_request_duration_seconds",
			"Time from the first byte of a request to the last byte of its response.", []string{"route"}, nil),
		in: prometheus.NewDesc("gw_request_bytes_total",
			"Bytes of requests received, heads included.", []string{"route"}, nil),
		out: prometheus.NewDesc("gw_response_bytes_total",
			"Bytes of responses sent, heads included.", []string{"route"}, nil),
		decisions: prometheus.NewDesc("gw_policy_decisions_total",
			"Decisions of policies, by outcome: pass, answer, refuse or error.", []string{"policy", "route", "outcome"}, nil),
	}
}

// take returns the metrics of a route and counts the caller as a holder.
func (c *routes) take(id string) *RouteMetrics {
	id = clean(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.all[id]
	if r == nil {
		r = &RouteMetrics{id: id, statuses: c.statuses}
		c.all[id] = r
	}
	r.refs++
	return r
}

// forget gives routes back, and tells which of them nobody has any more.
func (c *routes) forget(rs []*RouteMetrics) (gone []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rs {
		if r.refs--; r.refs == 0 {
			delete(c.all, r.id)
			gone = append(gone, r.id)
		}
	}
	return gone
}

func (c *routes) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.duration, c.in, c.out, c.decisions} {
		ch <- d
	}
}

// Collect holds the lock only to copy the list, so that a slow scrape keeps no snapshot from being built.
func (c *routes) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	all := make([]*RouteMetrics, 0, len(c.all))
	for _, r := range c.all {
		all = append(all, r)
	}
	c.mu.Unlock()
	for _, r := range all {
		if s := r.series.Load(); s != nil {
			c.collectSeries(ch, r.id, s)
		}
		c.collectDecisions(ch, r)
	}
}

func (c *routes) collectSeries(ch chan<- prometheus.Metric, id string, s *routeSeries) {
	ch <- histogramSample(c.duration, &s.duration, id)
	ch <- counterSample(c.in, s.in.Load(), id)
	ch <- counterSample(c.out, s.out.Load(), id)
	for m := range s.methods {
		counts := s.methods[m].Load()
		if counts == nil {
			continue
		}
		for i, label := range c.statuses.labels {
			if n := counts.of(i); n > 0 {
				ch <- counterSample(c.requests, n, id, methodLabel(m), label)
			}
		}
	}
}

func (c *routes) collectDecisions(ch chan<- prometheus.Metric, r *RouteMetrics) {
	for p := r.policies.Load(); p != nil; p = p.next {
		for o := range outcomeCount {
			if n := p.counts[o].Load(); n > 0 {
				ch <- counterSample(c.decisions, n, p.kind, r.id, o.String())
			}
		}
	}
}
