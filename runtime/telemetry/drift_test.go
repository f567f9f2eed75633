package telemetry

import (
	"testing"
	"time"
)

var driftFacts = DriftFacts{
	Classes: []DriftClass{
		{Class: "source", Detected: true, Since: time.Unix(1500, 0)},
		{Class: "live", Since: time.Unix(1, 0)},
		{Class: "trust", Detected: true, Since: time.Unix(1700, 0)}, // by a clock that was set back
	},
	Fleet: &FleetFacts{Instances: 3, Digests: 2}, ExpiresAt: time.Unix(1000, 0), Pending: true,
	Held: map[string]bool{"gate": true, "window": false},
}

func TestDriftFacts(t *testing.T) {
	m := newMetrics(t)
	facts := driftFacts
	if err := m.ObserveDrift(func() time.Time { return time.Unix(1600, 0) }, func() DriftFacts { return facts }); err != nil {
		t.Fatal(err)
	}
	text := scrape(t, m)
	wantLines(t, text, "gw_drift_detected{", `gw_drift_detected{class="live"} 0`, `gw_drift_detected{class="source"} 1`, `gw_drift_detected{class="trust"} 1`)
	wantLines(t, text, "gw_drift_since_seconds{", `gw_drift_since_seconds{class="source"} 100`, `gw_drift_since_seconds{class="trust"} 0`)
	wantLines(t, text, "gw_channel_expires_seconds", `gw_channel_expires_seconds -600`)
	wantLines(t, text, "gw_fleet_", `gw_fleet_digests 2`, `gw_fleet_instances 3`)
	wantLines(t, text, "gw_bundle_pending", `gw_bundle_pending 1`)
	wantLines(t, text, "gw_bundle_held{", `gw_bundle_held{rule="gate"} 1`, `gw_bundle_held{rule="window"} 0`)

	facts = DriftFacts{}
	text = scrape(t, m)
	for _, absent := range []string{"gw_drift_", "gw_channel_", "gw_fleet_", "gw_bundle_held"} {
		wantLines(t, text, absent)
	}
	wantLines(t, text, "gw_bundle_pending", `gw_bundle_pending 0`)
}

func TestDriftIsObservedOnce(t *testing.T) {
	m := newMetrics(t)
	tell := func() DriftFacts { return DriftFacts{} }
	if err := m.ObserveDrift(time.Now, tell); err != nil {
		t.Fatal(err)
	}
	if err := m.ObserveDrift(time.Now, tell); err == nil {
		t.Error("the second one to be asked is never asked, and nobody is told")
	}
}
