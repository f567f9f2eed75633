package telemetry

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// tenantLines are the series of tenants, as a scrape has them.
func tenantLines(t *testing.T, m *Metrics) []string {
	t.Helper()
	var text bytes.Buffer
	if _, err := m.WriteMetrics(&text, ""); err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(text.String()) {
		if rest, ok := strings.CutPrefix(line, "gw_tenant_requests_total"); ok {
			out = append(out, strings.TrimSpace(rest))
		}
	}
	slices.Sort(out)
	return out
}

// Only tenants that the configuration names have series of their own, however many a request may be of.
func TestTenants(t *testing.T) {
	m := newMetrics(t)
	a := m.Tenants([]string{"acme", "acme", "globex"}, true)
	for _, tenant := range []string{"acme", "acme", "initech", "other", "", "hooli\n"} {
		a.Record(tenant, 200)
	}
	a.Record("acme", 429)
	a.Record("acme", 0)
	want := []string{`{class="2xx",tenant="(other)"} 3`, `{class="2xx",tenant="acme"} 2`, `{class="4xx",tenant="acme"} 1`, `{class="other",tenant="acme"} 1`}
	if got := tenantLines(t, m); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	b := m.Tenants([]string{"acme"}, false) // of the next snapshot
	a.Record("globex", 200)                 // which an old exchange still may be of
	a.Forget()
	b.Record("acme", 200)
	want = []string{`{class="2xx",tenant="(other)"} 3`, `{class="2xx",tenant="acme"} 3`, `{class="4xx",tenant="acme"} 1`, `{class="other",tenant="acme"} 1`}
	if got := tenantLines(t, m); !slices.Equal(got, want) {
		t.Errorf("after the swap: got %q, want %q", got, want)
	}
	b.Forget()
	if got := tenantLines(t, m); len(got) > 0 {
		t.Errorf("after all have gone: %q", got)
	}
	none := m.Tenants(nil, false)
	none.Record("acme", 200)
	none.Forget()
	if none != nil {
		t.Error("a configuration without tenants pays for them")
	}
}
