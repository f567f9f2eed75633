package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxReasons bounds the reasons one upstream may fail for. They are constants of the code, so reaching it is a defect
// there; the rest counts as "other" rather than growing without end.
const maxReasons = 32

// UpstreamMetrics are the series of one upstream. They are taken and given back like those of a route.
type UpstreamMetrics struct {
	id     string
	refs   int // guarded by upstreams.mu
	series atomic.Pointer[histogram]

	mu     sync.Mutex
	errors map[string]uint64
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
	if u.errors == nil {
		u.errors = map[string]uint64{}
	}
	if _, known := u.errors[reason]; !known && len(u.errors) >= maxReasons {
		reason = "other"
	}
	u.errors[reason]++
}

// Connections tells how many connections of each upstream are open, and how many of those are idle. It is called once
// per scrape, and may name an upstream more than once, as when an old pool drains beside a new one.
type Connections func(yield func(upstream string, open, idle int))

type upstreams struct {
	mu          sync.Mutex
	all         map[string]*UpstreamMetrics
	connections atomic.Pointer[Connections]

	duration, errors, conns *prometheus.Desc
}

func newUpstreams() *upstreams {
	return &upstreams{
		all: map[string]*UpstreamMetrics{},
		duration: prometheus.NewDesc("gw_upstream_duration_seconds",
			"Time from a request sent upstream to the header of its response, per attempt.", []string{"upstream"}, nil),
		errors: prometheus.NewDesc("gw_upstream_errors_total",
			"Attempts that got no usable response, by reason.", []string{"upstream", "reason"}, nil),
		conns: prometheus.NewDesc("gw_upstream_connections",
			"Connections to an upstream: open counts all of them, idle those that wait in the pool.",
			[]string{"upstream", "state"}, nil),
	}
}

func (c *upstreams) take(id string) *UpstreamMetrics {
	id = clean(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.all[id]
	if u == nil {
		u = &UpstreamMetrics{id: id}
		c.all[id] = u
	}
	u.refs++
	return u
}

func (c *upstreams) forget(us []*UpstreamMetrics) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range us {
		if u.refs--; u.refs == 0 {
			delete(c.all, u.id)
		}
	}
}

func (c *upstreams) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.duration, c.errors, c.conns} {
		ch <- d
	}
}

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
		for reason, n := range u.errors {
			ch <- counterSample(c.errors, n, u.id, clean(reason))
		}
		u.mu.Unlock()
	}
	c.collectConnections(ch)
}

func (c *upstreams) collectConnections(ch chan<- prometheus.Metric) {
	tell := c.connections.Load()
	if tell == nil {
		return
	}
	type count struct{ open, idle int }
	sum := map[string]count{}
	(*tell)(func(upstream string, open, idle int) {
		n := sum[clean(upstream)]
		sum[clean(upstream)] = count{n.open + open, n.idle + idle}
	})
	for upstream, n := range sum {
		ch <- gaugeSample(c.conns, float64(n.open), upstream, "open")
		ch <- gaugeSample(c.conns, float64(n.idle), upstream, "idle")
	}
}
