package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/suuupra/gateway/compiler/publisher"
)

// serveMetrics are the metrics of a publisher. What has a present value is read off its status when somebody asks.
type serveMetrics struct {
	registry   *prometheus.Registry
	status     func() publisher.Status
	failures   *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	gauges     publisherGauges
}

// publisherGauges describe what is read off the status.
type publisherGauges struct {
	fetched, headSeen, repositoryUp, state, version, published, expires *prometheus.Desc
}

func newServeMetrics(status func() publisher.Status) *serveMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gw_publisher_"+name, help, labels, nil)
	}
	m := &serveMetrics{
		registry: prometheus.NewRegistry(), status: status,
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gw_publisher_failures_total", Help: "What kept a head from being published, by environment (empty for the repository) and reason.",
		}, []string{"environment", "reason"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gw_publisher_webhook_deliveries_total", Help: "Deliveries of webhooks by answer; an empty webhook is one that is not known.",
		}, []string{"webhook", "code"}),
		gauges: publisherGauges{
			fetched:      desc("repository_fetch_timestamp_seconds", "When the repository was last fetched from."),
			headSeen:     desc("head_seen_timestamp_seconds", "When the present head of the branch was first seen."),
			repositoryUp: desc("repository_up", "1 unless the last fetch failed."),
			state:        desc("state", "1 for the state that the head is in: pending, published, held, invalid or failed.", "environment", "state"),
			version:      desc("published_version", "Version of the channel that is published.", "environment"),
			published:    desc("published_timestamp_seconds", "When that version was issued.", "environment"),
			expires:      desc("channel_expiry_timestamp_seconds", "When it expires.", "environment"),
		},
	}
	m.registry.MustRegister(m, m.failures, m.deliveries, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *serveMetrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

func (m *serveMetrics) failed(environment, reason string) {
	m.failures.WithLabelValues(environment, reason).Inc()
}

// delivered counts the answers of a webhook. Both labels come from the configuration and the code, never from a sender.
func (m *serveMetrics) delivered(hook, code string) {
	m.deliveries.WithLabelValues(hook, code).Inc()
}

// Describe implements prometheus.Collector.
func (m *serveMetrics) Describe(out chan<- *prometheus.Desc) {
	g := &m.gauges
	for _, d := range []*prometheus.Desc{g.fetched, g.headSeen, g.repositoryUp, g.state, g.version, g.published, g.expires} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *serveMetrics) Collect(out chan<- prometheus.Metric) {
	s, g := m.status(), &m.gauges
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(g.repositoryUp, number(s.Error == ""))
	if s.FetchedAt != nil {
		gauge(g.fetched, float64(s.FetchedAt.Unix()))
	}
	if s.Head != nil {
		gauge(g.headSeen, float64(s.Head.Seen.Unix()))
	}
	for i := range s.Environments {
		e := &s.Environments[i]
		for _, state := range publisher.States() {
			gauge(g.state, number(e.State == state), e.Environment, string(state))
		}
		if p := e.Published; p != nil {
			gauge(g.version, float64(p.Number), e.Environment)
			gauge(g.published, float64(p.PublishedAt.Unix()), e.Environment)
			gauge(g.expires, float64(p.ExpiresAt.Unix()), e.Environment)
		}
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
