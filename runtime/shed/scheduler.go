package shed

import (
	"math"
	"runtime/metrics"
	"time"
)

// latencies is the distribution of the time goroutines were runnable before they ran, over the life of the process. The runtime
// takes the time of one goroutine in eight.
const latencies = "/sched/latencies:seconds"

// scheduler measures how long goroutines wait for a processor. Reading costs a few microseconds.
type scheduler struct {
	read   [1]metrics.Sample
	before []uint64
}

func newScheduler() *scheduler {
	s := &scheduler{}
	s.read[0].Name = latencies
	s.sample()
	return s
}

// sample returns what nine tenths of the goroutines that ran since the last call waited at most.
func (s *scheduler) sample() time.Duration {
	metrics.Read(s.read[:])
	if s.read[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // a runtime that has no such metric: the bound on requests in flight still holds
	}
	h := s.read[0].Value.Float64Histogram()
	if s.before == nil {
		s.before = make([]uint64, len(h.Counts))
	}
	return time.Duration(tail(h.Buckets, h.Counts, s.before) * float64(time.Second))
}

// tail returns the lower edge of the bucket in which the ninth of ten lies, among those in counts and not in before, in seconds.
// It leaves counts in before. Of few goroutines the slowest does not speak for the rest, unless it is the only one.
func tail(edges []float64, counts, before []uint64) float64 {
	total := uint64(0)
	for i, n := range counts {
		before[i] = n - before[i]
		total += before[i]
	}
	rank, seen, found := max(total*9/10, 1), uint64(0), 0.0
	for i, n := range before {
		if n > 0 && seen < rank && seen+n >= rank && !math.IsInf(edges[i], -1) {
			found = edges[i]
		}
		seen += n
		before[i] = counts[i]
	}
	return found
}
