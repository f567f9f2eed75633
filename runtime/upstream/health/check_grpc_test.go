package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/suuupra/gateway/internal/testkit"
)

// grpcServer starts a gRPC server; register adds its services.
func grpcServer(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	register(s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().String()
}

func TestGRPCCheck(t *testing.T) {
	reporter := grpchealth.NewServer()
	reporter.SetServingStatus("shop.Users", healthpb.HealthCheckResponse_SERVING)
	reporter.SetServingStatus("shop.Orders", healthpb.HealthCheckResponse_NOT_SERVING)
	reporter.SetServingStatus("shop.Carts", healthpb.HealthCheckResponse_UNKNOWN)
	register := func(s *grpc.Server) { healthpb.RegisterHealthServer(s, reporter) }
	a := testkit.NewAuthority(t)
	pair := certificate(t, a)
	for transport, config := range map[string]HostConfig{
		"in the clear": {Address: grpcServer(t, register), Dial: tcp},
		"over TLS": {
			Address: grpcServer(t, register, grpc.Creds(credentials.NewServerTLSFromCert(&pair))), Scheme: "https", Dial: tlsTo(a, "h2"),
		},
	} {
		t.Run(transport, func(t *testing.T) {
			for name, test := range map[string]struct{ service, reason, detail string }{
				"the server as a whole":        {},
				"a service":                    {service: "shop.Users"},
				"a service that does not":      {"shop.Orders", CheckNotServing, "answered serving status 2"},
				"one that does not know":       {"shop.Carts", CheckNotServing, "answered serving status 0"},
				"a service that nobody has":    {"shop.Nobody", CheckNotServing, "answered gRPC status 5"},
				"a name longer than its bytes": {strings.Repeat("x", 256), CheckNotServing, "answered gRPC status 5"},
			} {
				t.Run(name, func(t *testing.T) {
					c := config
					c.Check = quick("grpc")
					c.Check.Service = test.service
					if reason, detail := checkOnce(t, c); reason != test.reason || detail != test.detail {
						t.Errorf("%q %q, want %q %q", reason, detail, test.reason, test.detail)
					}
				})
			}
		})
	}
	t.Run("a server without the health service", func(t *testing.T) {
		c := HostConfig{Address: grpcServer(t, func(*grpc.Server) {}), Dial: tcp, Check: quick("grpc")}
		if reason, detail := checkOnce(t, c); reason != CheckNotServing || detail != "answered gRPC status 12" {
			t.Errorf("%q %q", reason, detail)
		}
	})
	t.Run("a server of HTTP/1.1", func(t *testing.T) {
		s := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(s.Close)
		if reason, detail := checkOnce(t, HostConfig{Address: s.Listener.Addr().String(), Dial: tcp, Check: quick("grpc")}); reason != CheckBroken {
			t.Errorf("%q %q", reason, detail)
		}
	})
	t.Run("it stops serving and goes on", func(t *testing.T) {
		c := quick("grpc")
		c.Interval, c.Unhealthy, c.Service = 10, 2, "shop.Users"
		events := make(chan Event, 100)
		newHost(t, HostConfig{Address: grpcServer(t, register), Dial: tcp, Check: c, OnEvent: func(e Event) { events <- e }})
		reporter.SetServingStatus("shop.Users", healthpb.HealthCheckResponse_NOT_SERVING)
		if e := <-events; e.Kind != Unhealthy || e.Reason != CheckNotServing {
			t.Errorf("%+v", e)
		}
		reporter.SetServingStatus("shop.Users", healthpb.HealthCheckResponse_SERVING)
		if e := <-events; e.Kind != Healthy {
			t.Errorf("%+v", e)
		}
	})
}

// asked is what a server of the protocol sees of a check.
type asked struct {
	healthpb.UnimplementedHealthServer
	service  string
	deadline bool
}

func (a *asked) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	_, a.deadline = ctx.Deadline()
	a.service = r.Service
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func TestGRPCQuestion(t *testing.T) {
	for _, service := range []string{"", "shop.Users", strings.Repeat("long.", 100)} {
		a := &asked{service: "not asked"}
		c := HostConfig{Dial: tcp, Check: quick("grpc"), Address: grpcServer(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, a) })}
		c.Check.Service = service
		if reason, detail := checkOnce(t, c); reason != "" {
			t.Fatalf("%q %q", reason, detail)
		}
		if a.service != service || !a.deadline {
			t.Errorf("asked about %q with a deadline: %v", a.service, a.deadline)
		}
	}
}

// framed is a message with its length before it.
func framed(message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))) + message
}

// Answers of servers that speak HTTP/2 but no proper gRPC.
func TestHostileGRPC(t *testing.T) {
	const ok = "\x08\x01"
	for name, test := range map[string]struct {
		kind           string // Content-Type; empty: application/grpc
		status         int    // 0: 200
		body           string
		grpc           string // status in the trailers; "-": none
		only           bool   // in the header, without a body: "Trailers-Only"
		reason, detail string
	}{
		"fine":                     {body: framed(ok), grpc: "0"},
		"with a format":            {kind: "application/grpc+proto", body: framed(ok), grpc: "0"},
		"fields nobody knows":      {body: framed("\x10\x05\x1a\x02hi\x25abcd\x29abcdefgh" + ok), grpc: "0"},
		"the last one holds":       {body: framed(ok + "\x08\x02"), grpc: "0", reason: CheckNotServing, detail: "answered serving status 2"},
		"an empty message":         {body: framed(""), grpc: "0", reason: CheckNotServing, detail: "answered serving status 0"},
		"a status there is not":    {body: framed("\x08\x63"), grpc: "0", reason: CheckNotServing, detail: "answered serving status 99"},
		"a page":                   {kind: "text/html", body: "<html>", grpc: "-", reason: CheckBroken, detail: "answered 200 without gRPC"},
		"an error of HTTP":         {status: 502, grpc: "-", reason: CheckBroken, detail: "answered 502 without gRPC"},
		"no status":                {body: framed(ok), grpc: "-", reason: CheckBroken, detail: "the answer has no gRPC status"},
		"a status that is none":    {body: framed(ok), grpc: "fine", reason: CheckBroken, detail: "the gRPC status is no number"},
		"a status out of range":    {body: framed(ok), grpc: "256", reason: CheckBroken, detail: "the gRPC status is no number"},
		"a status with a sign":     {body: framed(ok), grpc: "-0", reason: CheckBroken, detail: "the gRPC status is no number"},
		"refused, with an answer":  {body: framed(ok), grpc: "14", reason: CheckNotServing, detail: "answered gRPC status 14"},
		"refused at once":          {grpc: "7", only: true, reason: CheckNotServing, detail: "answered gRPC status 7"},
		"well, but without answer": {grpc: "0", only: true, reason: CheckBroken, detail: "decode the answer: malformed message"},
		"cut off":                  {body: framed(ok)[:6], grpc: "0", reason: CheckBroken, detail: "decode the answer: malformed message"},
		"half a length":            {body: "\x00\x00\x00", grpc: "0", reason: CheckBroken, detail: "decode the answer: malformed message"},
		"compressed":               {body: "\x01" + framed(ok)[1:], grpc: "0", reason: CheckBroken, detail: "decode the answer: malformed message"},
		"two messages":             {body: framed(ok) + framed(ok), grpc: "0", reason: CheckBroken, detail: "decode the answer: malformed message"},
		"a length that lies":       {body: "\x00\xff\xff\xff\xff" + ok, grpc: "0", reason: CheckBroken, detail: "decode the answer: malformed message"},
		"a long answer":            {body: framed(strings.Repeat("\x10\x01", maxCheckBody)), grpc: "0", reason: CheckBroken, detail: "the answer has more than 4096 bytes"},
		"a field cut off":          {body: framed("\x1a\xff\x01"), grpc: "0", reason: CheckBroken, detail: "decode the answer: malformed message"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/grpc")
				if test.kind != "" {
					w.Header().Set("Content-Type", test.kind)
				}
				if test.only {
					w.Header().Set("Grpc-Status", test.grpc)
				}
				w.WriteHeader(max(test.status, 200))
				_, _ = io.WriteString(w, test.body)
				if !test.only && test.grpc != "-" {
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", test.grpc)
				}
			}))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
			t.Cleanup(s.Close)
			reason, detail := checkOnce(t, HostConfig{Address: s.Listener.Addr().String(), Dial: tcp, Check: quick("grpc")})
			if reason != test.reason || detail != test.detail {
				t.Errorf("%q %q, want %q %q", reason, detail, test.reason, test.detail)
			}
		})
	}
}

// Servers that do not even speak HTTP/2 properly.
func TestHostileHTTP2(t *testing.T) {
	// speaking begins HTTP/2 and leaves the rest to f.
	speaking := func(f func(fr *http2.Framer) error) func(net.Conn) {
		return func(nc net.Conn) {
			preface := make([]byte, len(http2.ClientPreface))
			if _, err := io.ReadFull(nc, preface); err != nil {
				return
			}
			fr := http2.NewFramer(nc, nc)
			if fr.WriteSettings() != nil {
				return
			}
			done := make(chan struct{})
			go func() { // what the client says must not fill its own buffers
				defer close(done)
				for {
					frame, err := fr.ReadFrame()
					if err != nil {
						return
					}
					if _, ok := frame.(*http2.HeadersFrame); ok {
						if f(fr) != nil {
							return
						}
					}
				}
			}()
			<-done
		}
	}
	page := []byte{0x88} // :status 200, of the static table of HPACK
	for name, test := range map[string]struct {
		serve          func(net.Conn)
		timeout        int64
		reason, detail string
	}{
		"another protocol": {serve: saying("220 mail.example ESMTP\r\n"), reason: CheckBroken},
		"garbage":          {serve: again("", "\xff\xfe\xfd\xfc"), reason: CheckBroken},
		"nothing":          {serve: func(net.Conn) {}, reason: CheckBroken},
		"silence":          {serve: mute, timeout: 50, reason: CheckTimeout, detail: "no answer within 50ms"},
		"settings only":    {serve: speaking(func(*http2.Framer) error { return nil }), timeout: 50, reason: CheckTimeout, detail: "no answer within 50ms"},
		"a stream refused": {serve: speaking(func(fr *http2.Framer) error { return fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) }), reason: CheckBroken},
		"going away":       {serve: speaking(func(fr *http2.Framer) error { return fr.WriteGoAway(0, http2.ErrCodeNo, nil) }), reason: CheckBroken},
		"headers without end": {serve: speaking(func(fr *http2.Framer) error {
			err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: page})
			for err == nil { // CVE-2023-45288
				err = fr.WriteContinuation(1, false, bytes.Repeat([]byte("\x40\x01a\x01b"), 1000))
			}
			return err
		}), reason: CheckBroken},
		"pings without end": {serve: speaking(func(fr *http2.Framer) (err error) {
			for err == nil {
				err = fr.WritePing(false, [8]byte{})
			}
			return err
		}), timeout: 50, reason: CheckTimeout, detail: "no answer within 50ms"},
		"more than it may send": {serve: speaking(func(fr *http2.Framer) error {
			err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: page, EndHeaders: true})
			for err == nil {
				err = fr.WriteData(1, false, make([]byte, 1<<14))
			}
			return err
		}), reason: CheckBroken},
		"a body that breaks off": {serve: speaking(func(fr *http2.Framer) error {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: page, EndHeaders: true})
			_ = fr.WriteData(1, false, []byte("abc"))
			return fr.WriteRSTStream(1, http2.ErrCodeInternal)
		}), reason: CheckBroken},
	} {
		t.Run(name, func(t *testing.T) {
			c := quick("http")
			if test.timeout != 0 {
				c.Timeout = test.timeout
			}
			reason, detail := checkOnce(t, HostConfig{Address: listen(t, test.serve), Dial: tcp, HTTP2: true, Check: c})
			if reason != test.reason || test.detail != "" && detail != test.detail {
				t.Errorf("%q %q, want %q %q", reason, detail, test.reason, test.detail)
			}
		})
	}
}

func TestHealthRequest(t *testing.T) {
	for _, service := range []string{"", "a", "shop.Users", strings.Repeat("x", 127), strings.Repeat("x", 128), strings.Repeat("x", 20000)} {
		raw := healthRequest(service)
		if raw[0] != 0 || int(binary.BigEndian.Uint32(raw[1:])) != len(raw)-5 {
			t.Errorf("prefix % x of %d bytes", raw[:5], len(raw))
		}
		var r healthpb.HealthCheckRequest
		if err := proto.Unmarshal(raw[5:], &r); err != nil || r.Service != service {
			t.Errorf("%q is read as %q, %v", service, r.Service, err)
		}
	}
}

// FuzzHealthStatus compares with the protocol buffers library: what it reads we read likewise, but for groups, which we refuse.
func FuzzHealthStatus(f *testing.F) {
	for _, s := range []healthpb.HealthCheckResponse_ServingStatus{0, 1, 2, 3, 1000} {
		raw, err := proto.Marshal(&healthpb.HealthCheckResponse{Status: s})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, text := range []string{"\x08\x01\x08\x02", "\x1a\x02hi\x08\x01", "\x25abcd", "\x29abcdefgh", "\x0b\x0c", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x0a\x01x", "\x08"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := healthStatus([]byte(framed(string(message))))
		var want healthpb.HealthCheckResponse
		if proto.Unmarshal(message, &want) != nil || grouped(message) {
			return
		}
		if err != nil || int32(got) != int32(want.Status) {
			t.Errorf("% x is %d, %v, want %d", message, got, err, want.Status)
		}
	})
}

// grouped reports whether there is a group in a well-formed message.
func grouped(message []byte) bool {
	for len(message) > 0 {
		_, kind, n := protowire.ConsumeField(message)
		if kind == protowire.StartGroupType || n <= 0 {
			return true
		}
		message = message[n:]
	}
	return false
}
