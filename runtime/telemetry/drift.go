package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DriftFacts are what is known at one moment about what runs, and what should.
type DriftFacts struct {
	Classes []DriftClass
	// Fleet is nil while the gateways of the environment cannot see each other.
	Fleet     *FleetFacts
	ExpiresAt time.Time // of the channel of what runs; zero: nothing runs, or it does not expire
	Pending   bool      // a candidate waits
	// Held says for each kind of rule whether it holds the candidate. The kinds are constants of the code.
	Held map[string]bool
}

// DriftClass is one class of drift that could be compared.
type DriftClass struct {
	Class    string
	Detected bool
	Since    time.Time // that it is detected, or is not
}

// FleetFacts count what the gateways of the environment run.
type FleetFacts struct{ Instances, Digests int }

// driftCollector asks for the facts with each scrape. What is not known has no series: an alert on a zero would say that all is well.
type driftCollector struct {
	tell func() DriftFacts
	now  func() time.Time

	detected, since, expires, instances, digests, pending, held *prometheus.Desc
}

// ObserveDrift names who is asked, at each scrape, about drift. It may be called once.
func (m *Metrics) ObserveDrift(now func() time.Time, tell func() DriftFacts) error {
	return m.Register(&driftCollector{
		tell: tell, now: now,
		detected: prometheus.NewDesc("gw_drift_detected",
			"Whether there is drift (1) or not (0), by class: source, live, fleet, trust. Absent for a class that cannot be compared now.", []string{"class"}, nil),
		since: prometheus.NewDesc("gw_drift_since_seconds",
			"For how long there has been drift of a class. Absent while there is none.", []string{"class"}, nil),
		expires: prometheus.NewDesc("gw_channel_expires_seconds",
			"Time until the channel of the running bundle expires; negative once it has.", nil, nil),
		instances: prometheus.NewDesc("gw_fleet_instances",
			"Gateways of the environment that see each other, this one included. Absent while they cannot.", nil, nil),
		digests: prometheus.NewDesc("gw_fleet_digests",
			"Different bundles that the gateways of the environment run. Absent while they cannot see each other.", nil, nil),
		pending: prometheus.NewDesc("gw_bundle_pending",
			"Whether a candidate waits (1) or not (0).", nil, nil),
		held: prometheus.NewDesc("gw_bundle_held",
			"Whether rules of a kind hold the candidate that waits (1) or not (0): gate, window, dryRun, sync or other.", []string{"rule"}, nil),
	})
}

// Describe implements prometheus.Collector.
func (c *driftCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.detected, c.since, c.expires, c.instances, c.digests, c.pending, c.held} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *driftCollector) Collect(ch chan<- prometheus.Metric) {
	facts, now := c.tell(), c.now()
	for _, k := range facts.Classes {
		ch <- gaugeSample(c.detected, bit(k.Detected), clean(k.Class))
		if k.Detected {
			ch <- gaugeSample(c.since, max(0, now.Sub(k.Since).Seconds()), clean(k.Class))
		}
	}
	if !facts.ExpiresAt.IsZero() {
		ch <- gaugeSample(c.expires, facts.ExpiresAt.Sub(now).Seconds())
	}
	if f := facts.Fleet; f != nil {
		ch <- gaugeSample(c.instances, float64(f.Instances))
		ch <- gaugeSample(c.digests, float64(f.Digests))
	}
	ch <- gaugeSample(c.pending, bit(facts.Pending))
	for kind, holds := range facts.Held {
		ch <- gaugeSample(c.held, bit(holds), clean(kind))
	}
}
