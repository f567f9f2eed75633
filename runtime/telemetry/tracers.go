package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/suuupra/gateway/schema/ir"
)

const (
	exportTimeout   = 10 * time.Second // one batch, with its retries
	shutdownTimeout = 5 * time.Second  // what a replaced exporter has to send the rest
	defaultOTLPPath = "/v1/traces"
	maxAttribute    = 2048 // bytes of an attribute that a client may choose
)

// TracerOptions is what Tracers needs to know that is not configuration of the gateway's repository.
type TracerOptions struct {
	Metrics  *Metrics
	Log      *slog.Logger
	Build    Build
	Instance string // service.instance.id
	// Transport carries the export requests, and is where the address of the collector is judged when it is dialled.
	Transport http.RoundTripper
}

// Tracers holds the exporters of the process: one for each distinct setting that some snapshot runs with. A swap that does
// not touch the settings goes on with the same one; the last snapshot to release one ends it.
//
// Headers for the collector, such as its token, come from OTEL_EXPORTER_OTLP_HEADERS: they are no configuration.
type Tracers struct {
	o       TracerOptions
	mu      sync.Mutex
	open    map[ir.Tracing]*Tracer
	closing sync.WaitGroup
}

// NewTracers returns an empty set.
func NewTracers(o TracerOptions) *Tracers {
	return &Tracers{o: o, open: map[ir.Tracing]*Tracer{}}
}

// Tracer makes the spans of one setting. A nil Tracer makes none and costs nothing.
type Tracer struct {
	owner    *Tracers
	settings ir.Tracing
	refs     int // guarded by owner.mu
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Acquire returns the tracer for these settings, nil if they name no endpoint. The caller releases it.
func (t *Tracers) Acquire(settings ir.Tracing) (*Tracer, error) {
	if settings.Endpoint == "" {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tr := t.open[settings]
	if tr == nil {
		provider, err := t.provider(settings)
		if err != nil {
			return nil, fmt.Errorf("trace exporter: %w", err)
		}
		tr = &Tracer{owner: t, settings: settings, provider: provider, tracer: provider.Tracer("github.com/suuupra/gateway")}
		t.open[settings] = tr
	}
	tr.refs++
	return tr, nil
}

// Release gives the tracer back. The last one sends what is left, in the background and for five seconds at most.
func (tr *Tracer) Release() {
	if tr == nil {
		return
	}
	t := tr.owner
	t.mu.Lock()
	defer t.mu.Unlock()
	if tr.refs--; tr.refs > 0 {
		return
	}
	delete(t.open, tr.settings)
	t.closing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if err := tr.provider.Shutdown(ctx); err != nil {
			t.o.Log.Warn("trace exporter did not send everything before it ended", "error", err)
		}
	})
}

// Close waits for the exporters that were released to end. Every tracer has been released before.
func (t *Tracers) Close() { t.closing.Wait() }

func (t *Tracers) provider(settings ir.Tracing) (*sdktrace.TracerProvider, error) {
	u, err := url.Parse(settings.Endpoint)
	if err != nil {
		return nil, errors.New("endpoint is not a URL") // the parser's error quotes all of it
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("endpoint %q is not a plain http or https URL", u.Redacted())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = defaultOTLPPath
	}
	client := &http.Client{
		Transport: t.o.Transport, Timeout: exportTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	exporter, err := otlptracehttp.New(context.Background(), // it starts nothing
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithTimeout(exportTimeout), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		return nil, err
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxAttribute
	return sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(settings.SamplePerMil)/1000))),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithResource(resource.NewWithAttributes(semconv.SchemaURL,
			semconv.ServiceName("gwrun"), semconv.ServiceVersion(t.o.Build.Version), semconv.ServiceInstanceID(t.o.Instance))),
		sdktrace.WithBatcher(&countingExporter{SpanExporter: exporter, spans: t.o.Metrics.spans, log: t.o.Log},
			sdktrace.WithExportTimeout(exportTimeout)),
	), nil
}

// countingExporter counts what became of the spans, and reports the first failure of a row. Its error ends here: the SDK
// would hand it to a handler that is global to the process.
type countingExporter struct {
	sdktrace.SpanExporter
	spans  *prometheus.CounterVec
	log    *slog.Logger
	failed bool // only ExportSpans uses it, and the SDK calls that one at a time
}

func (e *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		e.spans.WithLabelValues("exported").Add(float64(len(spans)))
		if e.failed {
			e.log.Info("traces are exported again")
		}
	} else {
		e.spans.WithLabelValues("failed").Add(float64(len(spans)))
		if !e.failed {
			e.log.Warn("traces cannot be exported", "error", err)
		}
	}
	e.failed = err != nil
	return nil
}
