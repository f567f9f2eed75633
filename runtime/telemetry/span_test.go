package telemetry

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00f067aa0ba902b7"
	sampled = "00-" + traceID + "-" + parent + "-01"
)

// receiver is an OTLP/HTTP collector.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []*otlp.Span
	resource map[string]string
	status   int
	path     string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK, resource: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path = q.URL.Path
	z, err := gzip.NewReader(io.LimitReader(q.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(z)
	var m collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &m)
	}
	if err != nil || r.status != http.StatusOK {
		w.WriteHeader(r.status)
		return
	}
	for _, rs := range m.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			r.resource[a.Key] = a.Value.GetStringValue()
		}
		for _, ss := range rs.ScopeSpans {
			r.spans = append(r.spans, ss.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *receiver) span(t *testing.T, kind otlp.Span_SpanKind) *otlp.Span {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.Kind == kind {
			return s
		}
	}
	t.Fatalf("no span of kind %s among %d", kind, len(r.spans))
	return nil
}

func attributes(s *otlp.Span) map[string]any {
	out := map[string]any{}
	for _, a := range s.Attributes {
		if a.Value.GetStringValue() != "" {
			out[a.Key] = a.Value.GetStringValue()
		} else {
			out[a.Key] = a.Value.GetIntValue()
		}
	}
	return out
}

func wantAttributes(t *testing.T, s *otlp.Span, want map[string]any) {
	t.Helper()
	got := attributes(s)
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s = %v, want %v", s.Name, k, got[k], v)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: unexpected %s = %v", s.Name, k, got[k])
		}
	}
}

func exchange(fields ...httpmsg.Field) *policy.Exchange {
	return &policy.Exchange{
		Request: &httpmsg.Request{
			Method: "GET", Target: "/api/users/7?token=secret", Proto: "HTTP/1.1", Scheme: "https", Host: "api.example.com",
			Header: httpmsg.Header{Fields: fields},
		},
		Path: "/api/users/7", RawQuery: "token=secret", Upstream: "users", Endpoint: "10.0.0.1:8080", Attempt: 2,
		Route:   policy.Route{ID: "users-api", Pattern: "/api/users/*"},
		Timings: policy.Timings{Start: time.Unix(1_700_000_000, 0)},
	}
}

func newTracers(t *testing.T, log *slog.Logger) (*Tracers, *Metrics) {
	m := newMetrics(t)
	return NewTracers(TracerOptions{
		Metrics: m, Log: log, Build: Build{Version: "1.2.3"}, Instance: "i-1", Transport: &http.Transport{DisableKeepAlives: true},
	}), m
}

func acquire(t *testing.T, ts *Tracers, s ir.Tracing) *Tracer {
	t.Helper()
	tr, err := ts.Acquire(s)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestBothSpansReachTheCollector(t *testing.T) {
	r := newReceiver(t)
	ts, m := newTracers(t, quiet())
	tr := acquire(t, ts, ir.Tracing{Endpoint: r.URL})
	x := exchange(httpmsg.Field{Name: "Traceparent", Value: sampled},
		httpmsg.Field{Name: "tracestate", Value: "a=1"}, httpmsg.Field{Name: "Tracestate", Value: "b=2"})
	out := httpmsg.Header{Fields: slices.Clone(x.Request.Header.Fields)}

	_, server := tr.Start(t.Context(), x)
	server.SetRoute(x.Route, "sha256:aa")
	client := server.Upstream(x, "http")
	client.Inject(&out)
	client.End(503, "", time.Unix(1_700_000_001, 0))
	server.End(502, "upstream_status", time.Unix(1_700_000_002, 0))
	if server.TraceID() != traceID {
		t.Errorf("trace id %s", server.TraceID())
	}
	tr.Release()
	ts.Close()

	s, c := r.span(t, otlp.Span_SPAN_KIND_SERVER), r.span(t, otlp.Span_SPAN_KIND_CLIENT)
	for _, span := range []*otlp.Span{s, c} {
		if got := hex.EncodeToString(span.TraceId); got != traceID {
			t.Errorf("%s: trace %s, want the client's", span.Kind, got)
		}
		if span.Status.GetCode() != otlp.Status_STATUS_CODE_ERROR {
			t.Errorf("%s: status %s", span.Kind, span.Status)
		}
		if span.TraceState != "a=1,b=2" {
			t.Errorf("%s: tracestate %q", span.Kind, span.TraceState)
		}
	}
	if got := hex.EncodeToString(s.ParentSpanId); got != parent {
		t.Errorf("the gateway's parent is %s, want the client's span", got)
	}
	if !bytes.Equal(c.ParentSpanId, s.SpanId) {
		t.Error("the upstream span is no child of the gateway's")
	}
	if s.Name != "GET /api/users/*" || c.Name != "GET" || s.StartTimeUnixNano != 1_700_000_000e9 || s.EndTimeUnixNano != 1_700_000_002e9 {
		t.Errorf("names %q and %q, from %d to %d", s.Name, c.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
	}
	wantAttributes(t, s, map[string]any{
		"http.request.method": "GET", "url.scheme": "https", "url.path": "/api/users/7", "server.address": "api.example.com",
		"network.protocol.version": "1.1", "http.route": "/api/users/*", "gateway.route.id": "users-api",
		"gateway.bundle.digest": "sha256:aa", "http.response.status_code": int64(502), "error.type": "upstream_status",
	})
	wantAttributes(t, c, map[string]any{
		"http.request.method": "GET", "server.address": "10.0.0.1", "server.port": int64(8080),
		"url.full": "http://10.0.0.1:8080/api/users/7", "http.request.resend_count": int64(1), "gateway.upstream.id": "users",
		"http.response.status_code": int64(503), "error.type": "503",
	})
	if want := "00-" + traceID + "-" + hex.EncodeToString(c.SpanId) + "-01"; out.Get("traceparent") != want || out.Count("traceparent") != 1 {
		t.Errorf("upstream got %q, want %q", out.Values("traceparent"), want)
	}
	if got := out.Values("tracestate"); len(got) != 1 || got[0] != "a=1,b=2" {
		t.Errorf("upstream got tracestate %q", got)
	}
	if r.path != "/v1/traces" || r.resource["service.name"] != "gwrun" || r.resource["service.version"] != "1.2.3" || r.resource["service.instance.id"] != "i-1" {
		t.Errorf("sent to %s as %v", r.path, r.resource)
	}
	wantLines(t, scrape(t, m), "gw_trace_spans_total", `gw_trace_spans_total{outcome="exported"} 2`)
}

// What is no valid context starts a new trace, and no part of it goes upstream.
func TestAnInvalidParentIsIgnored(t *testing.T) {
	r := newReceiver(t)
	ts, _ := newTracers(t, quiet())
	tr := acquire(t, ts, ir.Tracing{Endpoint: r.URL, SamplePerMil: 1000})
	defer func() { tr.Release(); ts.Close() }()
	for name, values := range map[string][]string{
		"none":          nil,
		"empty":         {""},
		"zero trace":    {"00-00000000000000000000000000000000-" + parent + "-01"},
		"zero span":     {"00-" + traceID + "-0000000000000000-01"},
		"upper case":    {"00-" + strings.ToUpper(traceID) + "-" + parent + "-01"},
		"version ff":    {"ff-" + traceID + "-" + parent + "-01"},
		"too long":      {sampled + "-00"},
		"too short":     {sampled[:54]},
		"twice":         {sampled, sampled},
		"injected line": {sampled + "\r\nx: y"},
	} {
		t.Run(name, func(t *testing.T) {
			x := exchange()
			for _, v := range values {
				x.Request.Header.Add("traceparent", v)
			}
			x.Request.Header.Add("tracestate", "a=1")
			if got := TraceIDOf(&x.Request.Header); got != "" {
				t.Errorf("TraceIDOf: %q", got)
			}
			_, s := tr.Start(t.Context(), x)
			up := s.Upstream(x, "http")
			up.Inject(&x.Request.Header)
			up.End(200, "", time.Now())
			s.End(200, "", time.Now())
			if s.TraceID() == traceID || len(s.TraceID()) != 32 {
				t.Errorf("trace id %q", s.TraceID())
			}
			if got := TraceIDOf(&x.Request.Header); got != s.TraceID() {
				t.Errorf("upstream is in trace %q, want %q", got, s.TraceID())
			}
			if x.Request.Header.Has("tracestate") {
				t.Error("the tracestate of a broken context went upstream")
			}
		})
	}
}

func TestSampling(t *testing.T) {
	for name, c := range map[string]struct {
		perMil int64
		parent string
		want   string // flags that go upstream
	}{
		"never":                  {0, "", "00"},
		"always":                 {1000, "", "01"},
		"the parent says yes":    {0, sampled, "01"},
		"the parent says no":     {1000, strings.TrimSuffix(sampled, "01") + "00", "00"},
		"a version yet to come":  {0, "42" + sampled[2:] + "-more", "01"},
		"an invalid parent, off": {0, "00-x", "00"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			ts, _ := newTracers(t, quiet())
			tr := acquire(t, ts, ir.Tracing{Endpoint: r.URL, SamplePerMil: c.perMil})
			x := exchange()
			if c.parent != "" {
				x.Request.Header.Add("traceparent", c.parent)
			}
			_, s := tr.Start(t.Context(), x)
			s.SetRoute(x.Route, "d")
			s.Inject(&x.Request.Header)
			s.End(200, "", time.Now())
			tr.Release()
			ts.Close()
			got := x.Request.Header.Get("traceparent")
			if flags := got[len(got)-2:]; flags != c.want && !(c.perMil == 1000 && flags == "03") {
				t.Errorf("flags %s, want %s", flags, c.want)
			}
			if want := strings.Count(c.want, "1"); len(r.spans) != want {
				t.Errorf("%d spans, want %d", len(r.spans), want)
			}
		})
	}
}

func TestWithoutAnEndpointNothingHappens(t *testing.T) {
	ts, _ := newTracers(t, quiet())
	tr := acquire(t, ts, ir.Tracing{SamplePerMil: 1000})
	x := exchange(httpmsg.Field{Name: "TraceParent", Value: "garbage"}, httpmsg.Field{Name: "tracestate", Value: "a=1"})
	before := slices.Clone(x.Request.Header.Fields)
	allocs := testing.AllocsPerRun(100, func() {
		_, s := tr.Start(t.Context(), x)
		s.SetRoute(x.Route, "d")
		up := s.Upstream(x, "http")
		up.Inject(&x.Request.Header)
		up.End(200, "", time.Time{})
		s.End(200, "", time.Time{})
		if s.TraceID() != "" {
			t.Error("a trace id out of nothing")
		}
	})
	tr.Release()
	ts.Close()
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if !slices.Equal(before, x.Request.Header.Fields) {
		t.Errorf("the header changed: %q", x.Request.Header.Fields)
	}
}

func TestUnchangedSettingsKeepTheTracer(t *testing.T) {
	r := newReceiver(t)
	ts, _ := newTracers(t, quiet())
	old := acquire(t, ts, ir.Tracing{Endpoint: r.URL, SamplePerMil: 1000})
	same := acquire(t, ts, ir.Tracing{Endpoint: r.URL, SamplePerMil: 1000})
	changed := acquire(t, ts, ir.Tracing{Endpoint: r.URL, SamplePerMil: 1})
	if old != same || changed == old {
		t.Error("tracers do not go by their settings")
	}
	changed.Release()
	old.Release()
	_, s := same.Start(t.Context(), exchange()) // still held by the newer snapshot
	s.End(200, "", time.Now())
	same.Release()
	ts.Close()
	r.span(t, otlp.Span_SPAN_KIND_SERVER)
	if len(ts.open) != 0 {
		t.Errorf("%d tracers left", len(ts.open))
	}
}

func TestACollectorThatRefusesIsCounted(t *testing.T) {
	r := newReceiver(t)
	r.status = http.StatusBadRequest
	var log bytes.Buffer
	ts, m := newTracers(t, slog.New(slog.NewTextHandler(&log, nil)))
	tr := acquire(t, ts, ir.Tracing{Endpoint: r.URL + "/custom", SamplePerMil: 1000})
	_, s := tr.Start(t.Context(), exchange())
	s.End(0, "", time.Now())
	tr.Release()
	ts.Close()
	wantLines(t, scrape(t, m), "gw_trace_spans_total", `gw_trace_spans_total{outcome="failed"} 1`)
	if n := strings.Count(log.String(), "traces cannot be exported"); n != 1 || r.path != "/custom" {
		t.Errorf("sent to %s, logged %d times:\n%s", r.path, n, &log)
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	ts, _ := newTracers(t, quiet())
	for _, endpoint := range []string{"collector:4318", "ftp://c", "http://", "http://user:hunter2@c", "http://c?x=1", "http://user:hunter2@c/%zz"} {
		_, err := ts.Acquire(ir.Tracing{Endpoint: endpoint})
		if err == nil || !strings.HasPrefix(err.Error(), "trace exporter: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestUnknownMethods(t *testing.T) {
	r := newReceiver(t)
	ts, _ := newTracers(t, quiet())
	tr := acquire(t, ts, ir.Tracing{Endpoint: r.URL, SamplePerMil: 1000})
	x := exchange()
	x.Request.Method = "BREW"
	_, s := tr.Start(t.Context(), x)
	s.SetRoute(policy.Route{}, "d")
	s.End(404, "no_route", time.Now())
	tr.Release()
	ts.Close()
	got := r.span(t, otlp.Span_SPAN_KIND_SERVER)
	a := attributes(got)
	if got.Name != "HTTP" || a["http.request.method"] != "_OTHER" || a["http.request.method_original"] != "BREW" {
		t.Errorf("%q %v", got.Name, a)
	}
	if got.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR || a["error.type"] != "no_route" {
		t.Errorf("status %v, error.type %v", got.Status, a["error.type"])
	}
}
