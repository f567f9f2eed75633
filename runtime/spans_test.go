package runtime_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/suuupra/gateway/internal/testkit"
)

// spans starts a collector, and returns its address and what it has received.
func spans(t *testing.T) (url string, received func() []*otlp.Span) {
	t.Helper()
	var mu sync.Mutex
	var all []*otlp.Span
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var m collector.ExportTraceServiceRequest
		z, err := gzip.NewReader(io.LimitReader(q.Body, 1<<20))
		if err == nil {
			var body []byte
			if body, err = io.ReadAll(z); err == nil {
				err = proto.Unmarshal(body, &m)
			}
		}
		if err != nil {
			t.Errorf("not an export: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range m.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				all = append(all, ss.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL, func() []*otlp.Span {
		mu.Lock()
		defer mu.Unlock()
		return append([]*otlp.Span(nil), all...)
	}
}

func attribute(s *otlp.Span, key string) any {
	for _, a := range s.Attributes {
		if a.Key == key {
			if v := a.Value.GetStringValue(); v != "" {
				return v
			}
			return a.Value.GetIntValue()
		}
	}
	return nil
}

// A request makes a span of the gateway's in the client's trace, and one of the upstream's below it, whose id goes upstream.
func TestSpans(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(201, "made"))
	url, received := spans(t)
	r := newRig(t, options{})
	prog := compile(t, routes(up.URL, "gateway: { accessLog: { enabled: true } }"))
	prog.Gateway.Tracing.Endpoint, prog.Gateway.Tracing.SamplePerMil = url, 0 // what the client samples is sampled
	r.activate(prog)
	if resp := r.once("GET", "/users/1?q=secret", "Traceparent: 00-"+trace+"-00f067aa0ba902b7-01", "Tracestate: vendor=x"); resp.status != 201 {
		t.Fatalf("status is %d", resp.status)
	}
	if resp := r.once("GET", "/users/2"); resp.status != 201 { // not sampled
		t.Fatalf("status is %d", resp.status)
	}
	lines := r.lines(2)
	first, second := up.Requests()[0], up.Requests()[1]
	r.stop() // sends what is left
	all := received()
	if len(all) != 2 {
		t.Fatalf("%d spans", len(all))
	}
	server, client := all[0], all[1]
	if server.Kind != otlp.Span_SPAN_KIND_SERVER {
		server, client = client, server
	}
	if hex.EncodeToString(server.TraceId) != trace || hex.EncodeToString(server.ParentSpanId) != "00f067aa0ba902b7" || string(client.ParentSpanId) != string(server.SpanId) {
		t.Errorf("the spans do not hang together: %v, %v", server, client)
	}
	if server.Name != "GET /users/{id}" || attribute(server, "http.route") != "/users/{id}" || attribute(server, "gateway.route.id") != "users" ||
		attribute(server, "http.response.status_code") != int64(201) || !strings.HasPrefix(attribute(server, "gateway.bundle.digest").(string), "sha256:") {
		t.Errorf("the gateway's span is %v", server)
	}
	if client.Kind != otlp.Span_SPAN_KIND_CLIENT || attribute(client, "url.full") != up.URL+"/users/1" || attribute(client, "http.response.status_code") != int64(201) {
		t.Errorf("the upstream's span is %v", client)
	}
	if got := http.Header(first.Header).Get("Traceparent"); got != "00-"+trace+"-"+hex.EncodeToString(client.SpanId)+"-01" {
		t.Errorf("traceparent upstream is %q", got)
	}
	if got := http.Header(first.Header).Get("Tracestate"); got != "vendor=x" {
		t.Errorf("tracestate upstream is %q", got)
	}
	if got := http.Header(second.Header).Get("Traceparent"); !strings.HasSuffix(got, "-00") {
		t.Errorf("traceparent of what is not sampled is %q", got)
	}
	if lines[0].TraceID != trace || len(lines[1].TraceID) != 32 {
		t.Errorf("the access log says %q, %q", lines[0].TraceID, lines[1].TraceID)
	}
	r.metric(`gw_trace_spans_total{outcome="exported"} 2`)
}

// Without a collector, what the client says about its trace is handed on as it came.
func TestTraceContextWithoutSpans(t *testing.T) {
	up := testkit.Upstream(t)
	r := newRig(t, options{})
	r.activate(compile(t, routes(up.URL, "")))
	want := "00-" + trace + "-00f067aa0ba902b7-01"
	r.once("GET", "/users/1", "Traceparent: "+want)
	if got := http.Header(up.Last(t).Header).Get("Traceparent"); got != want {
		t.Errorf("traceparent upstream is %q", got)
	}
}
