package httptarget

import (
	"slices"
	"sync"

	"github.com/suuupra/gateway/runtime/breaker"
)

// Told is a target.Metrics that remembers what it was told.
type Told struct {
	mu                        sync.Mutex
	repeated, refused, states []string
}

// Retried implements target.Metrics.
func (m *Told) Retried(reason string) { m.note(&m.repeated, reason) }

// NotRetried implements target.Metrics.
func (m *Told) NotRetried(reason string) { m.note(&m.refused, reason) }

// BreakerChanged implements target.Metrics.
func (m *Told) BreakerChanged(c breaker.Change) { m.note(&m.states, c.To.String()) }

func (m *Told) note(list *[]string, s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*list = append(*list, s)
}

// Repeated are the reasons for which attempts were repeated.
func (m *Told) Repeated() []string { return m.copy(&m.repeated) }

// Refused are the reasons for which they were not.
func (m *Told) Refused() []string { return m.copy(&m.refused) }

// States are those the breaker came to.
func (m *Told) States() []string { return m.copy(&m.states) }

func (m *Told) copy(list *[]string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(*list)
}
