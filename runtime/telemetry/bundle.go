package telemetry

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Activation describes the bundle that has become live.
type Activation struct {
	Digest      string // of the manifest, e.g. "sha256:..."
	Commit      string // of the config repository
	Environment string
	Version     uint64    // of the channel
	At          time.Time // when it was activated
	ExpiresAt   time.Time // of its channel; zero if it does not expire
}

// Drift is the outcome of one comparison between what runs and what the repository says.
type Drift struct {
	CheckedAt     time.Time
	CommitsBehind int // negative: not known, the series is absent
}

// bundles is the collector of what runs, and of how that compares. Its series are absent until there is something to say:
// an alert on a zero would fire at each start.
type bundles struct {
	mu        sync.Mutex
	attempted bool
	ok        bool
	running   *Activation
	expires   time.Time
	drift     *Drift

	lastOK, lastTime, info, expiry, behind, checked *prometheus.Desc
}

func newBundles() *bundles {
	return &bundles{
		lastOK: prometheus.NewDesc("gw_bundle_last_activation_successful",
			"Whether the last attempt to activate a bundle succeeded (1) or not (0).", nil, nil),
		lastTime: prometheus.NewDesc("gw_bundle_last_activation_success_timestamp_seconds",
			"When a bundle was last activated, as Unix time.", nil, nil),
		info: prometheus.NewDesc("gw_bundle_info",
			"The running bundle; the value is always 1.", []string{"digest", "commit", "environment", "version"}, nil),
		expiry: prometheus.NewDesc("gw_bundle_expires_timestamp_seconds",
			"When the channel of the running bundle expires, as Unix time.", nil, nil),
		behind: prometheus.NewDesc("gw_drift_commits_behind",
			"Commits of the tracked branch that are not running yet.", nil, nil),
		checked: prometheus.NewDesc("gw_drift_last_check_timestamp_seconds",
			"When what runs was last compared with the repository, as Unix time.", nil, nil),
	}
}

func (c *bundles) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lastOK, c.lastTime, c.info, c.expiry, c.behind, c.checked} {
		ch <- d
	}
}

func (c *bundles) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attempted {
		ch <- gaugeSample(c.lastOK, bit(c.ok))
	}
	if b := c.running; b != nil {
		ch <- gaugeSample(c.lastTime, unix(b.At))
		ch <- gaugeSample(c.info, 1, clean(b.Digest), clean(b.Commit), clean(b.Environment), strconv.FormatUint(b.Version, 10))
	}
	if !c.expires.IsZero() {
		ch <- gaugeSample(c.expiry, unix(c.expires))
	}
	if d := c.drift; d != nil {
		if d.CommitsBehind >= 0 {
			ch <- gaugeSample(c.behind, float64(d.CommitsBehind))
		}
		ch <- gaugeSample(c.checked, unix(d.CheckedAt))
	}
}

// Activated records that a bundle has become live.
func (m *Metrics) Activated(a Activation) {
	m.activations.WithLabelValues("success", "").Inc()
	c := m.bundles
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempted, c.ok, c.running, c.expires = true, true, &a, a.ExpiresAt
}

// ActivationFailed records that a candidate was refused and the running bundle stays. The reason is a diagnostic code or
// another constant.
func (m *Metrics) ActivationFailed(reason string) {
	m.activations.WithLabelValues("failure", clean(reason)).Inc()
	c := m.bundles
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempted, c.ok = true, false
}

// ActivationRecovered records that the candidate that was refused last is no longer offered, and the running bundle is the
// newest there is.
func (m *Metrics) ActivationRecovered() {
	m.bundles.mu.Lock()
	defer m.bundles.mu.Unlock()
	m.bundles.ok = true
}

// BundleExpires records a new expiry of the running bundle's channel, as when the channel is renewed without a new bundle.
func (m *Metrics) BundleExpires(at time.Time) {
	m.bundles.mu.Lock()
	defer m.bundles.mu.Unlock()
	m.bundles.expires = at
}

// DriftChecked records the outcome of a comparison with the repository.
func (m *Metrics) DriftChecked(d Drift) {
	m.bundles.mu.Lock()
	defer m.bundles.mu.Unlock()
	m.bundles.drift = &d
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
