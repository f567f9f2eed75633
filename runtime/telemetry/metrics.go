// Package telemetry is what the gateway says about itself: metrics, the access log and traces. Each is made once per process
// and outlives every snapshot, so that a swap resets nothing.
//
// Label values come from the configuration and from constants of the code, never from a request: the number of series is
// bounded by the bundle. The package must not decide anything about a request, never blocks one, and holds no secret.
package telemetry

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/suuupra/gateway/runtime/policy"
)

// Build says which program this is.
type Build struct {
	Version string // of the release, e.g. "1.4.0"
	Commit  string // of the gateway's own source
}

// Metrics is the registry of the process and everything in it that is recorded from more than one room.
type Metrics struct {
	registry  *prometheus.Registry
	routes    *routes
	upstreams *upstreams
	tenants   *tenants
	bundles   *bundles
	listeners *listeners
	breakers  *breakers
	shedding  *shedding
	policies  policyVectors

	_          [64]byte // a cache line of its own for what every request changes
	inFlight   atomic.Int64
	_          [64]byte
	clients    atomic.Pointer[func() int64]
	missing    atomic.Pointer[func() []string]
	draining   atomic.Int64
	restart    atomic.Int64
	panics     atomic.Uint64
	logDropped atomic.Uint64

	refused      *prometheus.CounterVec
	activations  *prometheus.CounterVec
	adminDenied  *prometheus.CounterVec
	spans        *prometheus.CounterVec
	scrapeErrors prometheus.Counter
}

// New makes the registry with every metric of the gateway, and those of the Go runtime and the process.
func New(b Build) (*Metrics, error) {
	breaking := newBreakers()
	m := &Metrics{
		registry: prometheus.NewRegistry(), routes: newRoutes(), upstreams: newUpstreams(breaking), tenants: newTenants(), bundles: newBundles(), listeners: newListeners(),
		breakers: breaking, shedding: newShedding(), policies: policyVectors{all: map[*policy.Vector]vector{}},
		refused: counterVec("gw_refused_total",
			"Requests refused before a route was looked for, by reason.", "reason"),
		activations: counterVec("gw_bundle_activations_total",
			"Attempts to activate a bundle, by outcome (success, failure) and the reason of a failure.", "outcome", "reason"),
		adminDenied: counterVec("gw_admin_denied_total",
			"Requests to the admin API that were denied, by reason.", "reason"),
		spans: counterVec("gw_trace_spans_total",
			"Spans handed to the trace exporter, by outcome: exported or failed.", "outcome"),
		scrapeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gw_scrape_errors_total", Help: "Scrapes in which a collector failed and its series were left out.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gw_build_info", Help: "The running program; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": clean(b.Version), "commit": clean(b.Commit), "goversion": runtime.Version()},
	})
	build.Set(1)
	err := m.Register(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.routes, m.upstreams, m.tenants, m.bundles, m.listeners, m.breakers, m.shedding, m.refused, m.activations, m.adminDenied, m.spans, m.scrapeErrors, build,
		gaugeFunc("gw_requests_in_flight", "Requests being answered now.", &m.inFlight),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gw_connections_open", Help: "Client connections open now."}, m.openClients),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gw_secrets_missing", Help: "Secrets that policies refer to and that could never be read; their routes answer 503.",
		}, m.missingSecrets),
		gaugeFunc("gw_snapshots_draining", "Old snapshots that still serve the requests they began.", &m.draining),
		gaugeFunc("gw_listeners_restart_needed", "Listeners that the running bundle opens otherwise than they are open; a restart of gwrun follows it.", &m.restart),
		counterFunc("gw_panics_total", "Panics recovered while answering a request. Each one is a defect.", &m.panics),
		counterFunc("gw_access_log_dropped_total",
			"Access log records that were lost because the log could not keep up, or could not be written.", &m.logDropped),
	)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func counterVec(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gaugeFunc(name, help string, v *atomic.Int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
}

func counterFunc(name, help string, v *atomic.Uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
}

// Register adds collectors of another room. It fails if a name is taken.
func (m *Metrics) Register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := m.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Route returns the metrics of a route, the same ones for as long as anybody holds them: counters go on across swaps.
// Each call is matched by one place in a later Forget.
func (m *Metrics) Route(id string) *RouteMetrics { return m.routes.take(id) }

// Forget gives back the routes of a snapshot that has drained. The series of those which no other snapshot holds go away.
func (m *Metrics) Forget(rs ...*RouteMetrics) {
	for _, route := range m.routes.forget(rs) {
		m.breakers.forget(route)
		m.policies.forget(route)
	}
}

// Upstream is Route for an upstream.
func (m *Metrics) Upstream(id string) *UpstreamMetrics { return m.upstreams.take(id) }

// ForgetUpstreams is Forget for upstreams.
func (m *Metrics) ForgetUpstreams(us ...*UpstreamMetrics) { m.upstreams.forget(us) }

// ObserveUpstreams names who is asked, at each scrape, for the numbers of the upstreams.
func (m *Metrics) ObserveUpstreams(tell Upstreams) { m.upstreams.tell.Store(&tell) }

// RequestBegun and RequestEnded bracket each request.
func (m *Metrics) RequestBegun() { m.inFlight.Add(1) }

// RequestEnded is the other half of RequestBegun.
func (m *Metrics) RequestEnded() { m.inFlight.Add(-1) }

// ObserveClients names who is asked, at each scrape, for the number of open client connections.
func (m *Metrics) ObserveClients(open func() int64) { m.clients.Store(&open) }

// ObserveSecrets names who is asked, at each scrape, which secrets are missing.
func (m *Metrics) ObserveSecrets(missing func() []string) { m.missing.Store(&missing) }

func (m *Metrics) missingSecrets() float64 {
	if missing := m.missing.Load(); missing != nil {
		return float64(len((*missing)()))
	}
	return 0
}

func (m *Metrics) openClients() float64 {
	if open := m.clients.Load(); open != nil {
		return float64((*open)())
	}
	return 0
}

// SnapshotDraining and SnapshotDrained bracket the time in which a replaced snapshot still has requests.
func (m *Metrics) SnapshotDraining() { m.draining.Add(1) }

// SnapshotDrained is the other half of SnapshotDraining.
func (m *Metrics) SnapshotDrained() { m.draining.Add(-1) }

// RestartNeeded says how many listeners are open otherwise than the running bundle says.
func (m *Metrics) RestartNeeded(listeners int) { m.restart.Store(int64(listeners)) }

// Panicked counts a panic that was recovered.
func (m *Metrics) Panicked() { m.panics.Add(1) }

// Refused counts a request that was turned away before routing. The reason is a constant of the code, snake_case.
func (m *Metrics) Refused(reason string) { m.refused.WithLabelValues(clean(reason)).Inc() }

// AdminDenied counts a request the admin API turned away. The reason is a constant of the code, snake_case.
func (m *Metrics) AdminDenied(reason string) { m.adminDenied.WithLabelValues(clean(reason)).Inc() }

// WriteMetrics writes every series in the format the Accept header asks for, the Prometheus text format if in doubt, and
// returns its media type. A collector that fails costs its own series only, and is counted.
func (m *Metrics) WriteMetrics(w io.Writer, accept string) (contentType string, err error) {
	families, err := m.registry.Gather()
	if err != nil {
		m.scrapeErrors.Inc()
		if len(families) == 0 {
			return "", fmt.Errorf("gather metrics: %w", err)
		}
	}
	format := expfmt.NegotiateAccept(http.Header{"Accept": {accept}}, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	enc := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return "", fmt.Errorf("encode metrics: %w", err)
		}
	}
	if c, ok := enc.(expfmt.Closer); ok {
		if err := c.Close(); err != nil {
			return "", fmt.Errorf("encode metrics: %w", err)
		}
	}
	return string(format), nil
}
