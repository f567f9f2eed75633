package telemetry

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// OtherTenants is the label of all tenants that the configuration does not name. It is no name of a tenant.
const OtherTenants = "(other)"

// TenantMetrics counts the requests of the tenants of one snapshot. Its Forget gives them back. Nil counts nothing.
type TenantMetrics struct {
	of    *tenants
	named map[string]*tenantCounts
	other *tenantCounts
}

// tenantCounts are the requests of one tenant, by class of status. Class 0 is a status that is none.
type tenantCounts struct {
	name    string
	refs    int // guarded by tenants.mu
	classes [6]atomic.Uint64
}

// Tenants returns the metrics for the tenants that a configuration names; nil if it names none and has none unnamed. Counters go on
// across swaps.
func (m *Metrics) Tenants(names []string, unnamed bool) *TenantMetrics {
	if len(names) == 0 && !unnamed {
		return nil
	}
	t := &TenantMetrics{of: m.tenants, named: make(map[string]*tenantCounts, len(names))}
	m.tenants.mu.Lock()
	defer m.tenants.mu.Unlock()
	for _, name := range names {
		if t.named[name] == nil {
			t.named[name] = m.tenants.take(name)
		}
	}
	t.other = m.tenants.take(OtherTenants)
	return t
}

// Record counts one request that is a tenant's; "" is nobody.
func (t *TenantMetrics) Record(tenant string, status int) {
	if t == nil || tenant == "" {
		return
	}
	c := t.named[tenant]
	if c == nil {
		c = t.other
	}
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	c.classes[class].Add(1)
}

// Forget gives the tenants back. The series of those that no other snapshot has go away.
func (t *TenantMetrics) Forget() {
	if t == nil {
		return
	}
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.of.drop(t.other)
	for _, c := range t.named {
		t.of.drop(c)
	}
}

// tenants is the collector of what is labelled with a tenant.
type tenants struct {
	mu       sync.Mutex
	all      map[string]*tenantCounts
	requests *prometheus.Desc
}

func newTenants() *tenants {
	return &tenants{all: map[string]*tenantCounts{}, requests: prometheus.NewDesc("gw_tenant_requests_total",
		"Requests answered that are a tenant's, by tenant and class of status; tenants that the configuration does not name count as "+OtherTenants+".",
		[]string{"tenant", "class"}, nil)}
}

// take returns the counts of a tenant and counts the caller as a holder.
func (c *tenants) take(name string) *tenantCounts {
	t := c.all[name]
	if t == nil {
		t = &tenantCounts{name: name}
		c.all[name] = t
	}
	t.refs++
	return t
}

func (c *tenants) drop(t *tenantCounts) {
	if t.refs--; t.refs == 0 {
		delete(c.all, t.name)
	}
}

func (c *tenants) Describe(ch chan<- *prometheus.Desc) { ch <- c.requests }

// Collect holds the lock only to copy the list, so that a slow scrape keeps no snapshot from being built.
func (c *tenants) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	all := make([]*tenantCounts, 0, len(c.all))
	for _, t := range c.all {
		all = append(all, t)
	}
	c.mu.Unlock()
	for _, t := range all {
		for class := range t.classes {
			n := t.classes[class].Load()
			if n == 0 {
				continue
			}
			label := "other"
			if class > 0 {
				label = strconv.Itoa(class) + "xx"
			}
			ch <- counterSample(c.requests, n, clean(t.name), label)
		}
	}
}
