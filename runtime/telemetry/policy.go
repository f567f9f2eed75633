package telemetry

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/suuupra/gateway/runtime/policy"
)

// policyVectors is the metrics that kinds of policies, and what they reach, have of their own.
type policyVectors struct {
	mu  sync.Mutex
	all map[*policy.Vector]vector
}

// vector is one of the two types of family that a policy may have.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(prometheus.Labels) int
}

// Declare makes metrics, so that each is there, and known to be good, before its first series.
func (m *Metrics) Declare(vectors ...*policy.Vector) error {
	for _, v := range vectors {
		if _, err := m.vector(v); err != nil {
			return err
		}
	}
	return nil
}

func (m *Metrics) vector(v *policy.Vector) (vector, error) {
	m.policies.mu.Lock()
	defer m.policies.mu.Unlock()
	if have := m.policies.all[v]; have != nil {
		return have, nil
	}
	var made vector = counterVec(v.Name, v.Help, v.Labels...)
	if v.Gauge {
		made = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: v.Name, Help: v.Help}, v.Labels)
	}
	if err := m.Register(made); err != nil {
		return nil, err
	}
	m.policies.all[v] = made
	return made, nil
}

// Series implements policy.Metrics. A vector that is declared badly is a defect of its kind, and a panic.
func (m *Metrics) Series(v *policy.Vector, values ...string) policy.Series {
	made, err := m.vector(v)
	if err != nil {
		panic(err)
	}
	for i := range values {
		values[i] = clean(values[i])
	}
	if g, ok := made.(*prometheus.GaugeVec); ok {
		return g.WithLabelValues(values...)
	}
	return counter{made.(*prometheus.CounterVec).WithLabelValues(values...)}
}

// counter is a series that only grows.
type counter struct{ prometheus.Counter }

// Set implements policy.Series. Nothing sets a counter.
func (counter) Set(float64) { panic("a counter cannot be set") }

// forget drops the series of a route.
func (p *policyVectors) forget(route string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for v, made := range p.all {
		if slices.Contains(v.Labels, "route") {
			made.DeletePartialMatch(prometheus.Labels{"route": route})
		}
	}
}
