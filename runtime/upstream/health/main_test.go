package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// envoy is what an outlier section without settings compiles to.
func envoy() *ir.Outlier {
	return &ir.Outlier{
		Consecutive5xx: 5, Interval: 10_000, BaseEjection: 30_000, MaxEjection: 300_000, MaxEjectedPercent: 10,
		SuccessRateHosts: 5, SuccessRateRequests: 100, SuccessRateFactorPerMil: 1900, FailurePercentRequests: 50,
	}
}

// with changes the settings of envoy.
func with(edit func(*ir.Outlier)) *ir.Outlier {
	o := envoy()
	edit(o)
	return o
}

// journal keeps events.
type journal struct {
	mu     sync.Mutex
	events []Event
}

func (j *journal) add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// take returns what was told since it was last asked.
func (j *journal) take() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.events
	j.events = nil
	return out
}

// kinds are the events as "endpoint kind reason".
func kinds(events []Event) []string {
	var out []string
	for _, e := range events {
		text := e.Kind
		if e.Endpoint != "" {
			text = e.Endpoint + " " + text
		}
		if e.Reason != "" {
			text += " " + e.Reason
		}
		out = append(out, text)
	}
	return out
}

// pool is hosts "a", "b", ... under one monitor, without jitter.
type pool struct {
	*Monitor
	journal
	hosts []*Host
}

func newPool(t testing.TB, n int, o *ir.Outlier) *pool {
	t.Helper()
	p := &pool{}
	for i := range n {
		p.hosts = append(p.hosts, newHost(t, HostConfig{Address: name(i), Outlier: o, OnEvent: p.add}))
	}
	p.Monitor = p.monitor(t, o)
	return p
}

// monitor makes one more monitor over the hosts, as the next snapshot does.
func (p *pool) monitor(t testing.TB, o *ir.Outlier) *Monitor {
	t.Helper()
	m := NewMonitor(MonitorConfig{Upstream: "u", Outlier: o, PanicPercent: o.PanicPercent, OnEvent: p.add})
	t.Cleanup(func() { closed(t, m.Close) })
	m.Set(p.hosts)
	return m
}

func newHost(t testing.TB, c HostConfig) *Host {
	t.Helper()
	c.Upstream = "u"
	if c.Rand == nil {
		c.Rand = func() uint64 { return 0 }
	}
	h := NewHost(c)
	t.Cleanup(func() { closed(t, h.Close) })
	return h
}

func closed(t testing.TB, f func() error) {
	t.Helper()
	if err := f(); err != nil {
		t.Error(err)
	}
}

// name of the host with an index: "a", "b", ... "z", "a1", ...
func name(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("%c%d", 'a'+i%26, i/26)
}

// report reports outcomes of exchanges with one host: failures first, then successes.
func report(h *Host, successes, failures int) {
	for range failures {
		h.Report(Status5xx)
	}
	for range successes {
		h.Report(Success)
	}
}

// nextSweep sleeps until the sweep after now is done.
func nextSweep(m *Monitor) {
	time.Sleep(m.untilSweep(1))
	synctest.Wait()
}

// ejected are the names of the hosts that are out.
func (p *pool) ejected() []string {
	var out []string
	for _, h := range p.hosts {
		if h.Status().State == StateEjected {
			out = append(out, h.Address())
		}
	}
	return out
}

// seeded is a source of randomness that is the same in every run.
func seeded(seed uint64) func() uint64 { return rand.New(rand.NewPCG(seed, 1)).Uint64 }

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
