package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The upper bounds of the duration histograms, from what a gateway adds to a cached answer up to a slow report.
const bucketCount = 16

func bucketBounds() [bucketCount]time.Duration {
	return [bucketCount]time.Duration{
		500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
		250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
		5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
	}
}

// histogram counts durations. Recording is two atomic additions: the count of all is the sum of the buckets, made up when
// somebody scrapes, so it can never disagree with them.
type histogram struct {
	sumMicros atomic.Uint64                  // whole microseconds: in nanoseconds, busy streams would overflow it within days
	buckets   [bucketCount + 1]atomic.Uint64 // not cumulative; the last is +Inf
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0) // a clock that was set back
	i := 0
	for bounds := bucketBounds(); i < bucketCount && d > bounds[i]; i++ {
	}
	h.buckets[i].Add(1)
	h.sumMicros.Add(uint64(d / time.Microsecond))
}

func (h *histogram) write() *dto.Histogram {
	out := &dto.Histogram{Bucket: make([]*dto.Bucket, bucketCount)}
	var (
		count   uint64
		bounds  = bucketBounds()
		storage [bucketCount]struct {
			bucket dto.Bucket
			count  uint64
			bound  float64
		}
	)
	for i := range bounds {
		count += h.buckets[i].Load()
		s := &storage[i]
		s.count, s.bound = count, bounds[i].Seconds()
		s.bucket.CumulativeCount, s.bucket.UpperBound = &s.count, &s.bound
		out.Bucket[i] = &s.bucket
	}
	count += h.buckets[bucketCount].Load()
	sum := float64(h.sumMicros.Load()) / 1e6
	out.SampleCount, out.SampleSum = &count, &sum
	return out
}

// sample is one series of a collector of ours, as of the moment of the scrape.
type sample struct {
	desc  *prometheus.Desc
	value dto.Metric
}

func (s *sample) Desc() *prometheus.Desc { return s.desc }

func (s *sample) Write(out *dto.Metric) error {
	out.Label, out.Counter, out.Gauge, out.Histogram = s.value.Label, s.value.Counter, s.value.Gauge, s.value.Histogram
	return nil
}

func counterSample(desc *prometheus.Desc, value uint64, labels ...string) prometheus.Metric {
	v := float64(value)
	return &sample{desc, dto.Metric{Label: prometheus.MakeLabelPairs(desc, labels), Counter: &dto.Counter{Value: &v}}}
}

func gaugeSample(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return &sample{desc, dto.Metric{Label: prometheus.MakeLabelPairs(desc, labels), Gauge: &dto.Gauge{Value: &value}}}
}

func histogramSample(desc *prometheus.Desc, h *histogram, labels ...string) prometheus.Metric {
	return &sample{desc, dto.Metric{Label: prometheus.MakeLabelPairs(desc, labels), Histogram: h.write()}}
}
