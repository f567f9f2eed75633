package runtime_test

import (
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/ir"
)

// nothing is a target that answers 204, and a writer that goes nowhere.
type nothing struct {
	httpmsg.ResponseWriter
	status int
}

func (*nothing) Serve(_ context.Context, _ *policy.Exchange, w httpmsg.ResponseWriter, _ target.Hooks) *policy.Reject {
	_ = w.Header(204, nil, 0)
	return nil
}

func (n *nothing) Header(status int, _ *httpmsg.Header, _ int64) error { n.status = status; return nil }
func (n *nothing) Write(p []byte) (int, error)                         { return len(p), nil }
func (n *nothing) Started() bool                                       { return n.status != 0 }
func (n *nothing) Status() int                                         { return n.status }
func (*nothing) BytesWritten() int64                                   { return 100 }
func (*nothing) BytesRead() int64                                      { return 100 }

// BenchmarkServe is what the gateway costs beside engine and target.
func BenchmarkServe(b *testing.B) {
	for name, log := range map[string]bool{"plain": false, "access log": true} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, options{})
			access := telemetry.NewAccessLog(io.Discard, false, r.metrics, nil)
			defer access.Close(context.Background()) //nolint:errcheck // it discards
			g := runtime.New(runtime.Options{Log: nil, Metrics: r.metrics, AccessLog: access, DrainTimeout: time.Second})
			defer g.Shutdown(context.Background()) //nolint:errcheck // nothing is under way
			r.builder.Targets = append(r.builder.Targets, target.Kind{
				TargetKind: policy.DefineTarget("nothing", func(*policy.TargetContext, *struct{}) (string, *struct{}) { return "", nil }),
				Build:      func(*ir.Route, target.Metrics, *target.Env) (target.Target, error) { return &nothing{}, nil },
			})
			prog := r.pub.Program("127.0.0.1:9")
			prog.Gateway.AccessLog = ir.AccessLog{Enabled: log, Format: "json"}
			for _, id := range []string{"a", "users", "z"} {
				route := publisher.Route(id, "up")
				route.Target.Type = "nothing"
				prog.Routes = append(prog.Routes, route)
			}
			s, err := r.builder.Build(b.Context(), r.pub.Verify(r.pub.Publish(prog)), nil)
			if err != nil {
				b.Fatal(err)
			}
			g.Swap(s)
			req := &httpmsg.Request{
				Method: "GET", Target: "/users/7?full=1", Proto: "HTTP/1.1", Scheme: "http", Host: "api.example.com", Authority: "api.example.com",
				Peer: netip.MustParseAddrPort("192.0.2.1:1234"), Received: time.Now(),
			}
			for _, f := range [][2]string{{"User-Agent", "bench/1.0"}, {"Accept", "*/*"}, {"Accept-Encoding", "gzip"}, {"Authorization", "Bearer x"}} {
				req.Header.Add(f[0], f[1])
			}
			w := &nothing{}
			b.ReportAllocs()
			for b.Loop() {
				w.status = 0
				g.Serve(b.Context(), w, req)
			}
			if w.status != 204 {
				b.Fatalf("status is %d", w.status)
			}
		})
	}
}
