package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/health"
)

// maxReasons bounds the reasons one upstream may fail for. They are constants of the code, so reaching it is a defect
// there; the rest counts as "other" rather than growing without end.
const maxReasons = 32

// UpstreamMetrics are the series of one upstream. They are taken and given back like those of a route.
type UpstreamMetrics struct {
	id       string
	refs     int // guarded by upstreams.mu
	breakers *breakers
	series   atomic.Pointer[histogram]

	mu      sync.Mutex
	errors  reasons
	retried reasons
	refused reasons // retries that were not made
}

// reasons counts by reason.
type reasons map[string]uint64

func (r *reasons) add(reason string) {
	if *r == nil {
		*r = reasons{}
	}
	if _, known := (*r)[reason]; !known && len(*r) >= maxReasons {
		reason = "other"
	}
	(*r)[reason]++
}

// Answered counts one attempt that got a response header, and the time from the request sent to there.
func (u *UpstreamMetrics) Answered(took time.Duration) {
	h := u.series.Load()
	if h == nil {
		u.series.CompareAndSwap(nil, new(histogram))
		h = u.series.Load()
	}
	h.observe(took)
}

// Failed counts one attempt that got no usable response. The reason is a constant of the code, snake_case.
func (u *UpstreamMetrics) Failed(reason string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.errors.add(reason)
}

// Retried counts an attempt that was repeated, by what the one before it failed of. That one got no usable response, unless it was
// its status that made it fail.
func (u *UpstreamMetrics) Retried(reason string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.retried.add(reason)
	if reason != "status" {
		u.errors.add(reason)
	}
}

// NotRetried counts an attempt that could have been repeated and was not.
func (u *UpstreamMetrics) NotRetried(reason string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refused.add(reason)
}

// Upstreams tells the numbers of each upstream. It is called once per scrape, and may name one more than once, as when an old
// snapshot drains beside a new one.
type Upstreams func(yield func(id string, n upstream.Gauges))

// upstreams is the collector of what is known about upstreams.
type upstreams struct {
	mu       sync.Mutex
	all      map[string]*UpstreamMetrics
	tell     atomic.Pointer[Upstreams]
	breakers *breakers

	duration, errors, retried, refused                                         *prometheus.Desc
	conns, requests, retries, pending, endpoints, panicking, answered, failing *prometheus.Desc

	changes, checks, discovered *prometheus.CounterVec
}

func newUpstreams(b *breakers) *upstreams {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"upstream"}, labels...), nil)
	}
	return &upstreams{
		all: map[string]*UpstreamMetrics{}, breakers: b,
		duration:  desc("gw_upstream_duration_seconds", "Time from a request sent upstream to the header of its response, per attempt."),
		errors:    desc("gw_upstream_errors_total", "Attempts that got no usable response, by reason.", "reason"),
		retried:   desc("gw_upstream_retries_total", "Attempts that were repeated, by what the one before failed of.", "reason"),
		refused:   desc("gw_upstream_retries_refused_total", "Attempts that could have been repeated and were not, by what kept them from it.", "reason"),
		conns:     desc("gw_upstream_connections", "Connections to an upstream: open counts all of them, idle those that wait in the pool.", "state"),
		requests:  desc("gw_upstream_requests_active", "Requests under way, streams included."),
		retries:   desc("gw_upstream_retries_active", "Requests that were repeated and have no response yet."),
		pending:   desc("gw_upstream_requests_pending", "Requests that wait for a connection."),
		endpoints: desc("gw_upstream_endpoints", "Endpoints by state: healthy, unhealthy by their checks, or ejected for how they answered.", "state"),
		panicking: desc("gw_upstream_panic", "Whether so few endpoints are healthy that all of them are used (1) or not (0)."),
		answered: desc("gw_upstream_discovery_last_success_timestamp_seconds",
			"When discovery last answered, as Unix time; 0 if it never has."),
		failing: desc("gw_upstream_discovery_failing", "Whether the last attempt of discovery failed (1), so that an older answer is in use."),
		changes: counterVec("gw_upstream_health_changes_total",
			"Changes in the health of endpoints, and of upstreams as a whole, by kind and reason.", "upstream", "change", "reason"),
		checks:     counterVec("gw_upstream_health_checks_total", "Active health checks, by outcome: success or failure.", "upstream", "outcome"),
		discovered: counterVec("gw_upstream_discovery_changes_total", "Changes to the endpoints that discovery found.", "upstream"),
	}
}

func (c *upstreams) take(id string) *UpstreamMetrics {
	id = clean(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.all[id]
	if u == nil {
		u = &UpstreamMetrics{id: id, breakers: c.breakers}
		c.all[id] = u
	}
	u.refs++
	return u
}

func (c *upstreams) forget(us []*UpstreamMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range us {
		if u.refs--; u.refs > 0 {
			continue
		}
		delete(c.all, u.id)
		mine := prometheus.Labels{"upstream": u.id}
		for _, v := range []*prometheus.CounterVec{c.changes, c.checks, c.discovered} {
			v.DeletePartialMatch(mine)
		}
	}
}

// known reports whether somebody holds the metrics of an upstream: what is told about others would stay for ever.
func (c *upstreams) known(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[id] != nil
}

// Health implements upstream.Observer.
func (m *Metrics) Health(e health.Event) {
	if id := clean(e.Upstream); m.upstreams.known(id) {
		m.upstreams.changes.WithLabelValues(id, e.Kind, e.Reason).Inc()
	}
}

// Checked implements upstream.Observer.
func (m *Metrics) Checked(upstream string, passed bool) {
	outcome := "failure"
	if passed {
		outcome = "success"
	}
	if id := clean(upstream); m.upstreams.known(id) {
		m.upstreams.checks.WithLabelValues(id, outcome).Inc()
	}
}

// Discovered implements upstream.Observer.
func (m *Metrics) Discovered(upstream string, _ int) {
	if id := clean(upstream); m.upstreams.known(id) {
		m.upstreams.discovered.WithLabelValues(id).Inc()
	}
}

// Describe implements prometheus.Collector.
func (c *upstreams) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.duration, c.errors, c.retried, c.refused, c.conns, c.requests, c.retries, c.pending, c.endpoints, c.panicking, c.answered, c.failing,
	} {
		ch <- d
	}
	c.changes.Describe(ch)
	c.checks.Describe(ch)
	c.discovered.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *upstreams) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	all := make([]*UpstreamMetrics, 0, len(c.all))
	for _, u := range c.all {
		all = append(all, u)
	}
	c.mu.Unlock()
	for _, u := range all {
		if h := u.series.Load(); h != nil {
			ch <- histogramSample(c.duration, h, u.id)
		}
		u.mu.Lock()
		for _, by := range []struct {
			desc *prometheus.Desc
			reasons
		}{{c.errors, u.errors}, {c.retried, u.retried}, {c.refused, u.refused}} {
			for reason, n := range by.reasons {
				ch <- counterSample(by.desc, n, u.id, clean(reason))
			}
		}
		u.mu.Unlock()
	}
	c.changes.Collect(ch)
	c.checks.Collect(ch)
	c.discovered.Collect(ch)
	c.collectGauges(ch)
}

func (c *upstreams) collectGauges(ch chan<- prometheus.Metric) {
	tell := c.tell.Load()
	if tell == nil {
		return
	}
	sum := map[string]upstream.Gauges{}
	(*tell)(func(id string, n upstream.Gauges) {
		id = clean(id)
		if old, twice := sum[id]; twice {
			n = n.And(old)
		}
		sum[id] = n
	})
	for id, n := range sum {
		for _, g := range []struct {
			desc   *prometheus.Desc
			value  float64
			labels []string
		}{
			{c.conns, float64(n.Open), []string{id, "open"}},
			{c.conns, float64(n.Idle), []string{id, "idle"}},
			{c.requests, float64(n.Requests), []string{id}},
			{c.retries, float64(n.Retries), []string{id}},
			{c.pending, float64(n.Pending), []string{id}},
			{c.endpoints, float64(n.Healthy), []string{id, "healthy"}},
			{c.endpoints, float64(n.Unhealthy), []string{id, "unhealthy"}},
			{c.endpoints, float64(n.Ejected), []string{id, "ejected"}},
			{c.panicking, bit(n.Panic), []string{id}},
		} {
			ch <- gaugeSample(g.desc, g.value, g.labels...)
		}
		if n.Discovered {
			ch <- gaugeSample(c.answered, unix(n.LastDiscovery), id)
			ch <- gaugeSample(c.failing, bit(n.DiscoveryFailing), id)
		}
	}
}
