package engine_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

type handlerFunc func(context.Context, httpmsg.ResponseWriter, *httpmsg.Request)

func (f handlerFunc) Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	f(ctx, w, r)
}

var settings = engine.Settings{
	Limits:   ir.Limits{HeaderBytes: 32 << 10, HeaderFields: 100, URLBytes: 8 << 10, BodyBytes: 10 << 20},
	Timeouts: ir.Timeouts{ReadHeader: 5000, BodyIdle: 5000, KeepAlive: 30000},
}

// serve runs a server on l until the test ends.
func serve(t *testing.T, l net.Listener, h handlerFunc, s engine.Settings, hooks engine.Hooks) (*engine.Server, string) {
	t.Helper()
	srv := engine.New(h, s, hooks)
	done := make(chan error, 1)
	spoken, ok := l.(engine.Listener)
	if !ok {
		spoken.Listener = l
	}
	go func() { done <- srv.Serve(spoken) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return srv, l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ask sends raw bytes and reads everything until the server closes.
func ask(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's connection
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	return string(b)
}

const last = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

func hello(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
	_ = w.Header(200, nil, 5)
	_, _ = w.Write([]byte("hello"))
}

func TestPanicEndsOneConnection(t *testing.T) {
	panics := make(chan any, 1)
	_, addr := serve(t, listen(t), func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		if r.Target == "/panic" {
			_ = w.Header(200, nil, -1)
			panic("no")
		}
		hello(ctx, w, r)
	}, settings, engine.Hooks{Panicked: func(v any, stack []byte, _ netip.AddrPort) {
		if !strings.Contains(string(stack), "engine_test") {
			t.Errorf("stack %s", stack)
		}
		panics <- v
	}})
	if got := ask(t, addr, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n"); got != "" {
		t.Errorf("got %q", got)
	}
	if v := <-panics; v != "no" {
		t.Errorf("hook got %v", v)
	}
	if got := ask(t, addr, last); !strings.HasSuffix(got, "\r\n\r\nhello") {
		t.Errorf("got %q", got)
	}
}

// TestResponses writes responses well and badly.
func TestResponses(t *testing.T) {
	field := func(name, value string) *httpmsg.Header {
		return &httpmsg.Header{Fields: []httpmsg.Field{{Name: name, Value: value}}}
	}
	for _, tt := range []struct {
		name, request string
		h             handlerFunc
		want, end     string
	}{
		{"framing fields are ours", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			h := field("Content-Length", "99")
			h.Add("Transfer-Encoding", "chunked")
			h.Add("Connection", "keep-alive")
			_ = w.Header(200, h, 2)
			_, _ = w.Write([]byte("ok"))
		}, "Content-Length: 2\r\nConnection: close\r\n\r\nok", "ok"},
		{"a field that splits is refused", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			if err := w.Header(200, field("X", "a\r\nSet-Cookie: b"), 0); err == nil {
				t.Error("accepted")
			}
			if w.Started() {
				t.Error("started")
			}
			_ = w.Header(500, nil, 0)
		}, "HTTP/1.1 500 Internal Server Error\r\n", "\r\n\r\n"},
		{"nothing written", last, func(context.Context, httpmsg.ResponseWriter, *httpmsg.Request) {}, `"code":"no_response"`, "}\n"},
		{"too short", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			_ = w.Header(200, nil, 5)
			_, _ = w.Write([]byte("hell"))
		}, "Content-Length: 5\r\n", "hell"},
		{"too long", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			_ = w.Header(200, nil, 2)
			if _, err := w.Write([]byte("hello")); err == nil {
				t.Error("accepted")
			}
		}, "Content-Length: 2\r\n", "\r\n\r\n"},
		{"cut chunks have no end", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			_ = w.Header(200, nil, -1)
			_, _ = w.Write([]byte("x"))
			w.Abort()
		}, "chunked", "1\r\nx\r\n"},
		{"trailers", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			_ = w.Header(200, nil, -1)
			h := field("X-T", "1")
			h.Add("Content-Length", "5")
			h.Add("X-Bad", "a\nb")
			w.Trailer(h)
		}, "chunked", "0\r\nX-T: 1\r\n\r\n"},
		{"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", hello, "Content-Length: 5\r\n", "\r\n\r\n"},
		{"tunnel unasked", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			if _, err := w.Tunnel(nil); err == nil {
				t.Error("opened")
			}
			_ = w.Header(204, nil, -1)
		}, "204 No Content", "\r\n\r\n"},
		{"large", last, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			_ = w.Header(200, nil, -1)
			_, _ = w.Write([]byte(strings.Repeat("x", 5000)))
		}, "\r\n1388\r\nxxx", "x\r\n0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, addr := serve(t, listen(t), tt.h, settings, engine.Hooks{})
			got := ask(t, addr, tt.request)
			if !strings.Contains(got, tt.want) || !strings.HasSuffix(got, tt.end) || !strings.Contains(got, "\r\nDate: ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestUnreadBody(t *testing.T) {
	_, addr := serve(t, listen(t), hello, settings, engine.Hooks{})
	short := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("GET / HTTP/1.1\r\n\r\n", 100000/18) + strings.Repeat("x", 100000%18)
	if got := ask(t, addr, short+last); strings.Count(got, "HTTP/1.1 200 OK") != 2 {
		t.Errorf("got %q", got)
	}
	if got := ask(t, addr, strings.Replace(short, "100000", "300000", 1)+strings.Repeat("x", 200000)); strings.Count(got, "HTTP/1.1 200 OK") != 1 {
		t.Errorf("got %q", got)
	}
	chunks := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10\r\n0123456789abcdef\r\n", 100) + "0\r\n\r\n"
	if got := ask(t, addr, chunks+last); strings.Count(got, "HTTP/1.1 200 OK") != 2 {
		t.Errorf("got %q", got)
	}
}

// TestLastResponses wants every response after which the connection is closed to say so, and no other.
func TestLastResponses(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: h\r\n"
	ok := func(w httpmsg.ResponseWriter) { _ = w.Header(200, nil, 0) }
	read := func(_ context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		var refused *httpmsg.Error
		if _, err := io.ReadAll(r.Body); errors.As(err, &refused) {
			_ = w.Header(refused.Status, nil, 0)
			return
		}
		ok(w)
	}
	some := func(_ context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 1000))
		_ = r.Body.(io.Closer).Close()
		ok(w)
	}
	chunk := "186a0\r\n" + strings.Repeat("x", 100_000) + "\r\n"
	for _, tt := range []struct {
		name, request string
		h             handlerFunc
		status        string
		closes        bool
	}{
		{"too long, in chunks", head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 11) + "0\r\n\r\n", read, "413", true},
		{"a malformed chunk", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "x\r\n", read, "400", true},
		{"late", head + "Content-Length: 5\r\n\r\nx", read, "408", true},
		{"too long by its length", head + "Content-Length: 1100000\r\n\r\n", read, "413", true},
		{"unread and long", head + "Content-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000), hello, "200", true},
		{"left alone and long", head + "Content-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000), some, "200", true},
		{"unread and short", head + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), hello, "200", false},
		{"left alone and short", head + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000), some, "200", false},
		{"read", head + "Content-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000), read, "200", false},
		{"read, in chunks", head + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "0\r\n\r\n", read, "200", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := settings
			s.Limits.BodyBytes, s.Timeouts.BodyIdle = 1_000_000, 500
			_, addr := serve(t, listen(t), func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
				if r.Body == nil {
					hello(ctx, w, r)
					return
				}
				tt.h(ctx, w, r)
			}, s, engine.Hooks{})
			request := tt.request
			if !tt.closes {
				request += last
			}
			got := ask(t, addr, request)
			first, _, _ := strings.Cut(got, "\r\n\r\n")
			if !strings.HasPrefix(first, "HTTP/1.1 "+tt.status) || strings.Contains(first, "\r\nConnection: close") != tt.closes {
				t.Errorf("got %q", first)
			}
			if n := strings.Count(got, "HTTP/1.1 "); n != 1 && tt.closes || n != 2 && !tt.closes {
				t.Errorf("got %d responses", n)
			}
		})
	}
}

func TestSettingsChangeWhileRunning(t *testing.T) {
	codes := make(chan string, 1)
	srv, addr := serve(t, listen(t), hello, settings, engine.Hooks{Refused: func(status int, code string, remote netip.AddrPort) {
		if status != 414 || !remote.IsValid() {
			t.Errorf("status %d of %v", status, remote)
		}
		codes <- code
	}})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's connection
	r := bufio.NewReader(c)
	long := "GET /" + strings.Repeat("a", 100) + " HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, want := range []string{"200", "414"} {
		_, _ = io.WriteString(c, long)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || !strings.HasPrefix(resp.Status, want) {
			t.Fatalf("want %s, got %v, %v", want, resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		next := settings
		next.Limits.URLBytes = 50
		srv.Apply(next)
	}
	if code := <-codes; code != "target_too_long" {
		t.Errorf("code %s", code)
	}
}

// flaky fails to accept now and then, as a process without free descriptors does.
type flaky struct {
	net.Listener
	fails atomic.Int64
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, errors.New("accept: too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	l := &flaky{Listener: listen(t)}
	l.fails.Store(3)
	var failed atomic.Int64
	_, addr := serve(t, l, hello, settings, engine.Hooks{AcceptFailed: func(error) { failed.Add(1) }})
	if got := ask(t, addr, last); !strings.HasSuffix(got, "hello") || failed.Load() != 3 {
		t.Errorf("got %q after %d failures", got, failed.Load())
	}
}

func TestConnectionLimit(t *testing.T) {
	s := settings
	s.MaxConnections = 1
	entered, leave := make(chan struct{}), make(chan struct{})
	srv, addr := serve(t, listen(t), func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		close(entered)
		<-leave
		hello(ctx, w, r)
	}, s, engine.Hooks{})
	first := make(chan string)
	go func() { first <- ask(t, addr, last) }()
	<-entered
	if got := ask(t, addr, ""); !strings.Contains(got, "503 Service Unavailable") || !strings.Contains(got, "too_many_connections") {
		t.Errorf("got %q", got)
	}
	if s := srv.Stats(); s.Active != 1 {
		t.Errorf("%+v", s)
	}
	close(leave)
	if got := <-first; !strings.HasSuffix(got, "hello") {
		t.Errorf("got %q", got)
	}
}

func TestTLSListener(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	gone := make(chan struct{})
	entered := make(chan struct{})
	_, addr := serve(t, engine.Listener{Listener: listen(t), TLS: &tls.Config{Certificates: cert.TLS.Certificates}},
		func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
			if r.Scheme != "https" {
				t.Errorf("scheme %s", r.Scheme)
			}
			if r.Target == "/wait" {
				close(entered)
				<-ctx.Done()
				close(gone)
				return
			}
			hello(ctx, w, r)
		}, settings, engine.Hooks{})
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: cert.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for range 2 {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != "hello" {
			t.Errorf("got %q", b)
		}
	}
	_, _ = io.WriteString(c, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	_ = c.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("a client that leaves a TLS connection is not noticed")
	}
}

// TestContext holds the exchange's context to the contract of contexts, and of the slot.
func TestContext(t *testing.T) {
	kept := make(chan context.Context, 1)
	_, addr := serve(t, listen(t), func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		if ctx.Err() != nil {
			t.Errorf("err %v", ctx.Err())
		}
		child, cancel := context.WithTimeout(ctx, time.Hour)
		t.Cleanup(cancel)
		kept <- child
		stop := context.AfterFunc(ctx, func() { t.Error("a stopped function ran") })
		if !stop() {
			t.Error("stop says it ran")
		}
		httpmsg.OnCancel(ctx, func() { t.Error("a cleared slot ran") })()
		hello(ctx, w, r)
	}, settings, engine.Hooks{})
	ask(t, addr, last)
	child := <-kept
	<-child.Done() // or the test never ends
	if !errors.Is(child.Err(), context.Canceled) {
		t.Errorf("err %v", child.Err())
	}
}
