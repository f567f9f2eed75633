package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/suuupra/gateway/runtime/breaker"
)

// breakers is the collector of circuit breakers. A breaker that has never changed has no series.
type breakers struct {
	state   *prometheus.GaugeVec
	changes *prometheus.CounterVec
}

func newBreakers() *breakers {
	return &breakers{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gw_breaker_state", Help: "State of a route's circuit breaker: 0 closed, 1 half open, 2 open. Absent until it first opens.",
		}, []string{"route", "upstream"}),
		changes: counterVec("gw_breaker_changes_total", "Changes of state of a route's circuit breaker, by the new state.", "route", "upstream", "to"),
	}
}

// Describe implements prometheus.Collector.
func (c *breakers) Describe(ch chan<- *prometheus.Desc) {
	c.state.Describe(ch)
	c.changes.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *breakers) Collect(ch chan<- prometheus.Metric) {
	c.state.Collect(ch)
	c.changes.Collect(ch)
}

func (c *breakers) forget(route string) {
	mine := prometheus.Labels{"route": route}
	c.state.DeletePartialMatch(mine)
	c.changes.DeletePartialMatch(mine)
}

// TargetMetrics is what the target of one route counts. It belongs to whoever holds the metrics of the route and of the upstream.
type TargetMetrics struct {
	*UpstreamMetrics
	route *RouteMetrics
}

// Target joins the metrics of a route with those of its upstream.
func (*Metrics) Target(r *RouteMetrics, u *UpstreamMetrics) *TargetMetrics {
	return &TargetMetrics{u, r}
}

// BreakerChanged counts a change of state of the route's breaker.
func (t *TargetMetrics) BreakerChanged(c breaker.Change) {
	t.breakers.state.WithLabelValues(t.route.id, t.id).Set(float64(c.To))
	t.breakers.changes.WithLabelValues(t.route.id, t.id, c.To.String()).Inc()
}
