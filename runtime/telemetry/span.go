package telemetry

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// Span is the gateway's span of one request, or the upstream span of one attempt. All methods of a nil Span do nothing:
// without a tracer, whatever context the client sent is forwarded as it came.
type Span struct {
	tracer *Tracer
	ctx    context.Context // holds this span, for its children: a Span lives no longer than its request
	span   trace.Span
	client bool
	method string
}

// Start begins the gateway's span of a request (kind SERVER), in the trace the client names if its traceparent is valid.
// The context it returns carries the span to whatever is called on the request's behalf.
func (tr *Tracer) Start(ctx context.Context, x *policy.Exchange) (context.Context, *Span) {
	if tr == nil {
		return ctx, nil
	}
	r := x.Request
	s := &Span{tracer: tr, method: spanMethod(r.Method)}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier{&r.Header})
	s.ctx, s.span = tr.tracer.Start(ctx, s.method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.Timings.Start))
	if s.span.IsRecording() {
		s.setMethod(r.Method)
		s.span.SetAttributes(
			semconv.URLScheme(r.Scheme), semconv.URLPath(clean(x.Path)), semconv.ServerAddress(clean(r.Host)),
			semconv.NetworkProtocolVersion(strings.TrimPrefix(r.Proto, "HTTP/")),
		)
	}
	return s.ctx, s
}

// Upstream begins the span of forwarding (kind CLIENT), a child of the gateway's. If x names the endpoint already, so does
// the span; otherwise SetEndpoint tells it later.
func (s *Span) Upstream(x *policy.Exchange, scheme string) *Span {
	if s == nil {
		return nil
	}
	up := &Span{tracer: s.tracer, client: true, method: s.method}
	up.ctx, up.span = s.tracer.tracer.Start(s.ctx, s.method, trace.WithSpanKind(trace.SpanKindClient))
	if up.span.IsRecording() {
		up.setMethod(x.Request.Method)
	}
	up.SetEndpoint(x, scheme)
	return up
}

// SetEndpoint tells an upstream span where the request went in the end. The URL it records has no query.
func (s *Span) SetEndpoint(x *policy.Exchange, scheme string) {
	if s == nil || !s.span.IsRecording() || x.Endpoint == "" {
		return
	}
	host, port, err := net.SplitHostPort(x.Endpoint)
	if err != nil {
		host = x.Endpoint
	}
	path, _ := x.Forwarded()
	s.span.SetAttributes(
		semconv.ServerAddress(clean(host)), semconv.URLFull(clean(scheme+"://"+x.Endpoint+path)),
		attribute.String("gateway.upstream.id", clean(x.Upstream)),
	)
	if n, err := strconv.Atoi(port); err == nil {
		s.span.SetAttributes(semconv.ServerPort(n))
	}
	if x.Attempt > 1 {
		s.span.SetAttributes(semconv.HTTPRequestResendCount(x.Attempt - 1))
	}
}

// Inject makes s the parent of whoever receives the header: it replaces the client's context, tracestate kept.
func (s *Span) Inject(h *httpmsg.Header) {
	if s == nil {
		return
	}
	h.Del("traceparent")
	h.Del("tracestate")
	propagation.TraceContext{}.Inject(s.ctx, carrier{h})
}

// SetRoute tells the gateway's span which route took the request, and of which bundle.
func (s *Span) SetRoute(r policy.Route, bundle string) {
	if s == nil || !s.span.IsRecording() {
		return
	}
	s.span.SetAttributes(attribute.String("gateway.bundle.digest", clean(bundle)))
	if r.ID == "" {
		return
	}
	s.span.SetName(s.method + " " + clean(r.Pattern))
	s.span.SetAttributes(semconv.HTTPRoute(clean(r.Pattern)), attribute.String("gateway.route.id", clean(r.ID)))
}

// End ends the span. Status is 0 if there was no response; code is why the request or the attempt failed, "" if it did
// not. A server's span is in error from 500 on, a client's from 400 on (HTTP semantic conventions).
func (s *Span) End(status int, code string, at time.Time) {
	if s == nil {
		return
	}
	if s.span.IsRecording() {
		failed := status == 0 || status >= 500 || s.client && status >= 400
		if status != 0 {
			s.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		}
		if code == "" && failed {
			code = strconv.Itoa(status)
			if status == 0 {
				code = "_OTHER"
			}
		}
		if code != "" {
			s.span.SetAttributes(semconv.ErrorTypeKey.String(clean(code)))
		}
		if failed {
			s.span.SetStatus(codes.Error, "")
		}
	}
	s.span.End(trace.WithTimestamp(at))
}

// TraceID is the trace the span belongs to, in hexadecimal, "" for a nil Span.
func (s *Span) TraceID() string {
	if s == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// setMethod follows the conventions: a method that is not a known one is "_OTHER", with the original beside it.
func (s *Span) setMethod(method string) {
	if methodIndex(method) == methodOther {
		s.span.SetAttributes(semconv.HTTPRequestMethodOther, semconv.HTTPRequestMethodOriginal(clean(method)))
		return
	}
	s.span.SetAttributes(semconv.HTTPRequestMethodKey.String(method))
}

func spanMethod(method string) string {
	if methodIndex(method) == methodOther {
		return "HTTP"
	}
	return method
}

// carrier lets the W3C propagator read and write a header list.
type carrier struct{ h *httpmsg.Header }

// Get returns "" for a traceparent that comes twice, which is no valid one; tracestate lines are one list (W3C Trace
// Context, sections 3.2 and 3.3).
func (c carrier) Get(key string) string {
	switch n := c.h.Count(key); {
	case n == 1:
		return c.h.Get(key)
	case n > 1 && key == "tracestate":
		return strings.Join(c.h.Values(key), ",")
	}
	return ""
}

func (c carrier) Set(key, value string) { c.h.Set(key, value) }

func (c carrier) Keys() []string {
	out := make([]string, len(c.h.Fields))
	for i, f := range c.h.Fields {
		out[i] = f.Name
	}
	return out
}

// TraceIDOf returns the trace id of a valid traceparent, "" if there is none: what the access log says when the gateway
// makes no spans of its own.
func TraceIDOf(h *httpmsg.Header) string {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	v := h.Get("traceparent")
	if len(v) < length || h.Count("traceparent") != 1 || v[2] != '-' || v[35] != '-' || v[52] != '-' ||
		!lowerHex(v[:2]) || !lowerHex(v[3:35]) || !lowerHex(v[36:52]) || !lowerHex(v[53:55]) ||
		v[:2] == "ff" || v[:2] == "00" && len(v) != length || len(v) > length && v[length] != '-' ||
		strings.Trim(v[3:35], "0") == "" || strings.Trim(v[36:52], "0") == "" {
		return ""
	}
	return v[3:35]
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
