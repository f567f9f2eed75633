package telemetry

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/suuupra/gateway/runtime/shed"
)

// shedding is the collector of what the gateway does about its own load.
type shedding struct {
	tell atomic.Pointer[func() shed.Status]

	delay, share, refused, inFlight *prometheus.Desc
}

func newShedding() *shedding {
	return &shedding{
		delay: prometheus.NewDesc("gw_shed_delay_seconds",
			"How long work waits for a processor: nine tenths of it no longer. 0 while load shedding is off.", nil, nil),
		share:    prometheus.NewDesc("gw_shed_share", "Share of the requests of a priority that is refused now, 0 to 1.", []string{"priority"}, nil),
		inFlight: prometheus.NewDesc("gw_shed_requests_in_flight", "Requests that load shedding let in and that are not over.", nil, nil),
		refused: prometheus.NewDesc("gw_shed_requests_total",
			"Requests refused since the gateway is short of time (delay) or has too many under way (crowded).", []string{"priority", "reason"}, nil),
	}
}

// ObserveShedding names who is asked, at each scrape, about load shedding.
func (m *Metrics) ObserveShedding(tell func() shed.Status) { m.shedding.tell.Store(&tell) }

// Describe implements prometheus.Collector.
func (c *shedding) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.delay, c.share, c.inFlight, c.refused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *shedding) Collect(ch chan<- prometheus.Metric) {
	tell := c.tell.Load()
	if tell == nil {
		return
	}
	s := (*tell)()
	ch <- gaugeSample(c.delay, s.DelayMS/1000)
	ch <- gaugeSample(c.inFlight, float64(s.InFlight))
	for _, p := range s.Priorities {
		ch <- gaugeSample(c.share, p.Share, p.Name)
		ch <- counterSample(c.refused, uint64(p.Shed), p.Name, "delay")
		ch <- counterSample(c.refused, uint64(p.Crowded), p.Name, "crowded")
	}
}
