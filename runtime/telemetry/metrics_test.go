package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/keyset"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/shed"
	"github.com/suuupra/gateway/runtime/state/redisstate"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/health"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

func newMetrics(t testing.TB) *Metrics {
	t.Helper()
	m, err := New(Build{Version: "1.2.3", Commit: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func scrape(t testing.TB, m *Metrics) string {
	t.Helper()
	var out bytes.Buffer
	contentType, err := m.WriteMetrics(&out, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := "text/plain; version=0.0.4"; !strings.HasPrefix(contentType, want) {
		t.Fatalf("content type %q, want %q", contentType, want)
	}
	return out.String()
}

// lines returns the series of a scrape whose name begins with prefix.
func lines(text, prefix string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return out
}

func wantLines(t *testing.T, text, prefix string, want ...string) {
	t.Helper()
	if got := lines(text, prefix); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", prefix, got, want)
	}
}

// populate makes every metric of the package appear.
func populate(m *Metrics) {
	vectors := slices.Concat(keyset.Vectors(), redisstate.Vectors)
	for _, k := range all.Kinds() {
		vectors = append(vectors, k.Vectors...)
	}
	for _, v := range vectors {
		s := m.Series(v, slices.Repeat([]string{"x"}, len(v.Labels))...)
		if v.Gauge {
			s.Set(1)
		} else {
			s.Add(1)
		}
	}
	r := m.Route("users-api")
	r.Record("GET", 200, 3*time.Millisecond, 10, 20)
	r.Policy("auth").Record(OutcomePass)
	u := m.Upstream("http://users:8080")
	u.Answered(time.Millisecond)
	u.Failed("connect_refused")
	u.Retried("status")
	u.NotRetried("budget")
	m.Health(health.Event{Upstream: "http://users:8080", Kind: health.Ejected, Reason: "consecutive_5xx"})
	m.Checked("http://users:8080", true)
	m.Discovered("http://users:8080", 3)
	m.Target(r, u).BreakerChanged(breaker.Change{To: breaker.Open})
	m.ObserveUpstreams(func(yield func(string, upstream.Gauges)) {
		yield("http://users:8080", upstream.Gauges{Open: 3, Idle: 1, Discovered: true})
	})
	m.Tenants([]string{"acme"}, true).Record("acme", 200)
	m.ObserveShedding(func() shed.Status { return shed.Status{Priorities: []shed.Priority{{Name: "low", Shed: 2}}} })
	m.Refused("bad_request")
	m.AdminDenied("wrong_token")
	m.HandshakeFailed("public", "plain_http")
	m.CertificateReloaded("public", false)
	m.ObserveCertificates(func(yield func(string, string, time.Time)) {
		for range 2 { // one that a listener has twice
			yield("public", "file:/tls/tls.crt", time.Unix(3000, 0))
		}
	})
	m.spans.WithLabelValues("exported").Inc()
	m.ActivationFailed("GW6001")
	m.Activated(Activation{
		Digest: "sha256:aa", Commit: "c0ffee", Environment: "prod", Version: 7,
		At: time.Unix(1000, 0), ExpiresAt: time.Unix(2000, 5e8),
	})
	m.DriftChecked(Drift{CheckedAt: time.Unix(1500, 0), CommitsBehind: 2})
	observe := func() DriftFacts { return driftFacts }
	if err := m.ObserveDrift(func() time.Time { return time.Unix(1600, 0) }, observe); err != nil {
		panic(err)
	}
}

func TestEveryMetricPassesPromlint(t *testing.T) {
	m := newMetrics(t)
	populate(m)
	problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "gw_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestValues(t *testing.T) {
	m := newMetrics(t)
	populate(m)
	m.RequestBegun()
	m.ObserveClients(func() int64 { return 4 })
	m.SnapshotDraining()
	m.Panicked()
	text := scrape(t, m)
	wantLines(t, text, "gw_requests_total{", `gw_requests_total{method="GET",route="users-api",status="200"} 1`)
	wantLines(t, text, "gw_request_bytes_total{", `gw_request_bytes_total{route="users-api"} 10`)
	wantLines(t, text, "gw_response_bytes_total{", `gw_response_bytes_total{route="users-api"} 20`)
	wantLines(t, text, "gw_policy_decisions_total{", `gw_policy_decisions_total{outcome="pass",policy="auth",route="users-api"} 1`)
	wantLines(t, text, "gw_request_duration_seconds_sum", `gw_request_duration_seconds_sum{route="users-api"} 0.003`)
	wantLines(t, text, "gw_upstream_errors_total{", `gw_upstream_errors_total{reason="connect_refused",upstream="http://users:8080"} 1`)
	wantLines(t, text, "gw_upstream_connections{",
		`gw_upstream_connections{state="idle",upstream="http://users:8080"} 1`, `gw_upstream_connections{state="open",upstream="http://users:8080"} 3`)
	wantLines(t, text, "gw_bundle_info{", `gw_bundle_info{commit="c0ffee",digest="sha256:aa",environment="prod",version="7"} 1`)
	wantLines(t, text, "gw_bundle_last_activation_successful", `gw_bundle_last_activation_successful 1`)
	wantLines(t, text, "gw_bundle_expires_timestamp_seconds", `gw_bundle_expires_timestamp_seconds 2000.5`)
	wantLines(t, text, "gw_bundle_activations_total{",
		`gw_bundle_activations_total{outcome="failure",reason="GW6001"} 1`, `gw_bundle_activations_total{outcome="success",reason=""} 1`)
	wantLines(t, text, "gw_drift_commits_behind", `gw_drift_commits_behind 2`)
	wantLines(t, text, "gw_requests_in_flight", `gw_requests_in_flight 1`)
	wantLines(t, text, "gw_connections_open", `gw_connections_open 4`)
	wantLines(t, text, "gw_snapshots_draining", `gw_snapshots_draining 1`)
	wantLines(t, text, "gw_panics_total", `gw_panics_total 1`)
	wantLines(t, text, "gw_build_info", fmt.Sprintf(`gw_build_info{commit="abc",goversion=%q,version="1.2.3"} 1`, runtime.Version()))
	if len(lines(text, "go_goroutines ")) != 1 || len(lines(text, "process_start_time_seconds ")) != 1 {
		t.Error("the Go and process collectors are missing")
	}

	m.RequestEnded()
	m.ObserveClients(func() int64 { return 3 })
	m.SnapshotDrained()
	m.ActivationFailed("GW6002")
	m.BundleExpires(time.Unix(3000, 0))
	m.DriftChecked(Drift{CheckedAt: time.Unix(1600, 0), CommitsBehind: -1})
	text = scrape(t, m)
	wantLines(t, text, "gw_requests_in_flight", `gw_requests_in_flight 0`)
	wantLines(t, text, "gw_connections_open", `gw_connections_open 3`)
	wantLines(t, text, "gw_snapshots_draining", `gw_snapshots_draining 0`)
	wantLines(t, text, "gw_bundle_last_activation_successful", `gw_bundle_last_activation_successful 0`)
	wantLines(t, text, "gw_bundle_last_activation_success_timestamp_seconds", `gw_bundle_last_activation_success_timestamp_seconds 1000`)
	wantLines(t, text, "gw_bundle_expires_timestamp_seconds", `gw_bundle_expires_timestamp_seconds 3000`)
	wantLines(t, text, "gw_drift_commits_behind")
	wantLines(t, text, "gw_drift_last_check_timestamp_seconds", `gw_drift_last_check_timestamp_seconds 1600`)
}

func TestNothingIsSaidAboutBundlesBeforeThereIsOne(t *testing.T) {
	text := scrape(t, newMetrics(t))
	wantLines(t, text, "gw_bundle_")
	wantLines(t, text, "gw_drift_")
}

func TestLabelsAreBounded(t *testing.T) {
	m := newMetrics(t)
	r := m.Route("a")
	for i := range 2000 {
		r.Record(fmt.Sprintf("METHOD%d", i), i, time.Millisecond, 0, 0)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get"} {
		r.Record(method, 200, time.Millisecond, 0, 0)
	}
	text := scrape(t, m)
	got := lines(text, "gw_requests_total{")
	if len(got) > statusSlots+9 {
		t.Errorf("%d series", len(got))
	}
	for _, want := range []string{
		`gw_requests_total{method="other",route="a",status="200"} 2`, // METHOD200 and "get"
		`gw_requests_total{method="TRACE",route="a",status="200"} 1`,
		`gw_requests_total{method="other",route="a",status="other"} 1500`,
		`gw_requests_total{method="other",route="a",status="499"} 1`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("missing %s", want)
		}
	}
	if n := len(m.routes.statuses.labels); n > statusSlots {
		t.Fatalf("%d status labels do not fit in %d slots", n, statusSlots)
	}

	u := m.Upstream("u")
	for i := range 3 * maxReasons {
		u.Failed(fmt.Sprint("reason", i))
	}
	if n := len(lines(scrape(t, m), "gw_upstream_errors_total{")); n != maxReasons+1 {
		t.Errorf("%d reasons, want %d", n, maxReasons+1)
	}
}

func TestBrokenTextInALabelDoesNotBreakTheScrape(t *testing.T) {
	m := newMetrics(t)
	m.Route("a\xff\n\"").Record("GET", 200, 0, 0, 0)
	m.Refused("\xfe")
	text := scrape(t, m)
	wantLines(t, text, "gw_requests_total{", `gw_requests_total{method="GET",route="a`+"\uFFFD"+`\n\"",status="200"} 1`)
}

func TestDurationBuckets(t *testing.T) {
	m := newMetrics(t)
	r := m.Route("a")
	for _, d := range []time.Duration{-time.Second, 500 * time.Microsecond, 500*time.Microsecond + 1, time.Minute, time.Minute + 1} {
		r.Record("GET", 200, d, 0, 0)
	}
	text := scrape(t, m)
	for _, want := range []string{
		`gw_request_duration_seconds_bucket{route="a",le="0.0005"} 2`,
		`gw_request_duration_seconds_bucket{route="a",le="0.001"} 3`,
		`gw_request_duration_seconds_bucket{route="a",le="30"} 3`,
		`gw_request_duration_seconds_bucket{route="a",le="60"} 4`,
		`gw_request_duration_seconds_bucket{route="a",le="+Inf"} 5`,
		`gw_request_duration_seconds_count{route="a"} 5`,
	} {
		if !slices.Contains(lines(text, "gw_request_duration"), want) {
			t.Errorf("missing %s", want)
		}
	}
}

// A swap takes the new snapshot's routes before the old one gives its back.
func TestCountersSurviveSwaps(t *testing.T) {
	m := newMetrics(t)
	stays, goes := m.Route("stays"), m.Route("goes")
	u, gone := m.Upstream("stays"), m.Upstream("goes")
	for _, r := range []*RouteMetrics{stays, goes} {
		r.Record("GET", 200, 0, 0, 0)
		r.Policy("auth").Record(OutcomeRefuse)
	}
	u.Answered(time.Second)
	gone.Answered(time.Second)

	again := m.Route("stays")
	uAgain := m.Upstream("stays")
	if again != stays || uAgain != u {
		t.Fatal("a route that stays has new counters")
	}
	again.Record("GET", 200, 0, 0, 0)
	goes.Record("GET", 200, 0, 0, 0) // the old snapshot still drains
	wantLines(t, scrape(t, m), "gw_requests_total{",
		`gw_requests_total{method="GET",route="goes",status="200"} 2`, `gw_requests_total{method="GET",route="stays",status="200"} 2`)

	m.Forget(stays, goes)
	m.ForgetUpstreams(u, gone)
	text := scrape(t, m)
	wantLines(t, text, "gw_requests_total{", `gw_requests_total{method="GET",route="stays",status="200"} 2`)
	wantLines(t, text, "gw_policy_decisions_total{", `gw_policy_decisions_total{outcome="refuse",policy="auth",route="stays"} 1`)
	wantLines(t, text, "gw_upstream_duration_seconds_count", `gw_upstream_duration_seconds_count{upstream="stays"} 1`)

	// The route comes back while its old snapshot drains: giving the old one back must not drop the new one's series.
	back := m.Route("stays")
	m.Forget(again)
	back.Record("GET", 200, 0, 0, 0)
	wantLines(t, scrape(t, m), "gw_requests_total{", `gw_requests_total{method="GET",route="stays",status="200"} 3`)
	m.Forget(back)
	wantLines(t, scrape(t, m), "gw_requests_total{")
}

func TestConnectionsOfTwoSnapshotsAddUp(t *testing.T) {
	m := newMetrics(t)
	m.ObserveUpstreams(func(yield func(string, upstream.Gauges)) {
		yield("u", upstream.Gauges{Open: 3, Idle: 1})
		yield("u", upstream.Gauges{Open: 2, Idle: 2})
	})
	wantLines(t, scrape(t, m), "gw_upstream_connections{",
		`gw_upstream_connections{state="idle",upstream="u"} 3`, `gw_upstream_connections{state="open",upstream="u"} 5`)
}

func TestOutcomeOf(t *testing.T) {
	for want, v := range map[Outcome]policy.Verdict{
		OutcomePass:   policy.Pass,
		OutcomeRefuse: policy.Refuse(&policy.Reject{Status: 401}),
		OutcomeError:  policy.Refuse(&policy.Reject{Status: 503}),
		OutcomeAnswer: {Response: &httpmsg.Response{Status: 204}},
	} {
		if got := OutcomeOf(v); got != want {
			t.Errorf("%+v: %s, want %s", v, got, want)
		}
	}
}

func TestAFailingCollectorCostsItsOwnSeriesOnly(t *testing.T) {
	m := newMetrics(t)
	desc := prometheus.NewDesc("gw_broken", "Broken.", nil, nil)
	if err := m.Register(prometheus.CollectorFunc(func(ch chan<- prometheus.Metric) {
		ch <- prometheus.NewInvalidMetric(desc, os.ErrInvalid)
	})); err != nil {
		t.Fatal(err)
	}
	m.Panicked()
	scrape(t, m)
	text := scrape(t, m)
	wantLines(t, text, "gw_panics_total", "gw_panics_total 1")
	wantLines(t, text, "gw_scrape_errors_total", "gw_scrape_errors_total 1")
	err := m.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: "gw_panics_total", Help: "Taken."}))
	if err == nil || !strings.HasPrefix(err.Error(), "register metrics: ") {
		t.Errorf("a name that is taken: %v", err)
	}
}

func TestOpenMetricsWhenAskedFor(t *testing.T) {
	m := newMetrics(t)
	populate(m)
	var out bytes.Buffer
	contentType, err := m.WriteMetrics(&out, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(contentType, "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(out.String(), "# EOF\n") {
		t.Errorf("content type %q, ends in %q", contentType, out.String()[max(0, out.Len()-20):])
	}
}

// Recording while somebody scrapes loses nothing; run with -race.
func TestScrapeBesideRecording(t *testing.T) {
	m := newMetrics(t)
	const workers, each = 4, 2000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			r := m.Route("a")
			for i := range each {
				r.Record("GET", 200+i%2, time.Millisecond, 1, 1)
				r.Policy("auth").Record(OutcomePass)
			}
			m.Route("b")
		})
	}
	for range 5 {
		scrape(t, m)
	}
	wg.Wait()
	text := scrape(t, m)
	wantLines(t, text, "gw_request_duration_seconds_count", fmt.Sprintf(`gw_request_duration_seconds_count{route="a"} %d`, workers*each))
	wantLines(t, text, "gw_request_bytes_total{", fmt.Sprintf(`gw_request_bytes_total{route="a"} %d`, workers*each))
}

func TestARouteCostsLittleBeforeItsFirstRequest(t *testing.T) {
	m := newMetrics(t)
	const n = 100_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("route-%06d", i)
	}
	held := make([]*RouteMetrics, n)
	before := heap()
	for i, id := range ids {
		held[i] = m.Route(id)
	}
	per := float64(heap()-before) / n
	t.Logf("%.0f bytes per route", per)
	if per > 512 {
		t.Errorf("%.0f bytes per route, want at most 512", per)
	}
	wantLines(t, scrape(t, m), "gw_requests_total{")
	m.Forget(held...)
	if left := len(m.routes.all); left != 0 {
		t.Errorf("%d routes left", left)
	}
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func TestRecordingAllocatesNothing(t *testing.T) {
	m := newMetrics(t)
	r := m.Route("a")
	p := r.Policy("auth")
	u := m.Upstream("u")
	record := func() {
		m.RequestBegun()
		p.Record(OutcomePass)
		u.Answered(time.Millisecond)
		r.Record("GET", 200, 3*time.Millisecond, 100, 1000)
		m.RequestEnded()
	}
	if n := testing.AllocsPerRun(100, record); n != 0 {
		t.Errorf("%v allocations", n)
	}
	m.Refused("no_host")
	if n := testing.AllocsPerRun(100, func() { m.Refused("no_host") }); n != 0 {
		t.Errorf("refusing: %v allocations", n)
	}
}

const (
	docsBegin = "<!-- metrics: written by `go test ./runtime/telemetry -run TestMetricsAreDocumented -update` -->\n"
	docsEnd   = "<!-- end of metrics -->\n"
)

var fqName = regexp.MustCompile(`fqName: "(gw_[^"]*)"`)

// The table in docs/metrics.md is what the registry holds, every name and no other.
func TestMetricsAreDocumented(t *testing.T) {
	m := newMetrics(t)
	populate(m)
	var text bytes.Buffer
	if _, err := m.WriteMetrics(&text, ""); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for name, f := range families {
		if strings.HasPrefix(name, "gw_") {
			rows = append(rows, docsRow(f))
		}
	}
	slices.Sort(rows)
	table := "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n" + strings.Join(rows, "")

	descs := make(chan *prometheus.Desc)
	go func() { m.registry.Describe(descs); close(descs) }()
	for d := range descs {
		if name := fqName.FindStringSubmatch(d.String()); name != nil && families[name[1]] == nil {
			t.Errorf("populate does not make %s appear", name[1])
		}
	}

	file := filepath.Join("..", "..", "docs", "metrics.md")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), docsBegin)
	have, tail, ok2 := strings.Cut(rest, docsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks around the table", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+docsBegin+table+docsEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != table {
		t.Errorf("%s is out of date; run the test with -update. It should say:\n%s", file, table)
	}
}

func docsRow(f *dto.MetricFamily) string {
	labels := map[string]bool{}
	for _, s := range f.Metric {
		for _, l := range s.Label {
			labels["`"+l.GetName()+"`"] = true
		}
	}
	var names []string
	for l := range labels {
		names = append(names, l)
	}
	slices.Sort(names)
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(names, " "), f.GetHelp())
}

func BenchmarkRecord(b *testing.B) {
	m := newMetrics(b)
	r := m.Route("a")
	b.ReportAllocs()
	for b.Loop() {
		r.Record("GET", 200, 3*time.Millisecond, 100, 1000)
	}
}

// One hot route on every core at once: the worst case for counters that are shared.
func BenchmarkRecordParallel(b *testing.B) {
	m := newMetrics(b)
	r := m.Route("a")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.RequestBegun()
			r.Record("GET", 200, 3*time.Millisecond, 100, 1000)
			m.RequestEnded()
		}
	})
}

func BenchmarkScrape10000ActiveRoutes(b *testing.B) {
	m := newMetrics(b)
	for i := range 10_000 {
		r := m.Route(fmt.Sprintf("route-%06d", i))
		r.Record("GET", 200, 3*time.Millisecond, 100, 1000)
	}
	b.ReportAllocs()
	for b.Loop() {
		scrape(b, m)
	}
}
