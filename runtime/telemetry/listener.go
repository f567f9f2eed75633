package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Certificates tells when the certificates of the listeners expire. It is called once per scrape, and may name one more than
// once.
type Certificates func(yield func(listener, certificate string, expires time.Time))

// listeners is the collector of what is known about the gateway's listeners.
type listeners struct {
	tell     atomic.Pointer[Certificates]
	failures *prometheus.CounterVec
	reloads  *prometheus.CounterVec
	expiry   *prometheus.Desc
}

func newListeners() *listeners {
	return &listeners{
		failures: counterVec("gw_tls_handshake_failures_total",
			"TLS handshakes with clients that failed, by reason.", "listener", "reason"),
		reloads: counterVec("gw_certificate_reloads_total",
			"Changed certificates that were read again, by outcome: success, or failure, which keeps the one before.", "listener", "outcome"),
		expiry: prometheus.NewDesc("gw_certificate_expiry_timestamp_seconds",
			"When a certificate of a listener expires, as Unix time, by the reference it is read from.", []string{"listener", "certificate"}, nil),
	}
}

func (c *listeners) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.expiry
	c.failures.Describe(ch)
	c.reloads.Describe(ch)
}

func (c *listeners) Collect(ch chan<- prometheus.Metric) {
	c.failures.Collect(ch)
	c.reloads.Collect(ch)
	tell := c.tell.Load()
	if tell == nil {
		return
	}
	type key struct{ listener, certificate string }
	seen := map[key]bool{}
	(*tell)(func(listener, certificate string, expires time.Time) {
		k := key{clean(listener), clean(certificate)}
		if !seen[k] {
			seen[k] = true
			ch <- gaugeSample(c.expiry, unix(expires), k.listener, k.certificate)
		}
	})
}

// ObserveCertificates names who is asked, at each scrape, when the certificates expire.
func (m *Metrics) ObserveCertificates(tell Certificates) { m.listeners.tell.Store(&tell) }

// HandshakeFailed counts a client that never came to speak TLS with a listener. The reason is a constant of the code,
// snake_case.
func (m *Metrics) HandshakeFailed(listener, reason string) {
	m.listeners.failures.WithLabelValues(clean(listener), clean(reason)).Inc()
}

// CertificateReloaded counts an attempt to read a changed certificate.
func (m *Metrics) CertificateReloaded(listener string, ok bool) {
	outcome := "failure"
	if ok {
		outcome = "success"
	}
	m.listeners.reloads.WithLabelValues(clean(listener), outcome).Inc()
}
