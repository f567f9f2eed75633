package httptarget_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// origin2 is an upstream that speaks HTTP/2 by prior knowledge, and nothing else.
func origin2(t *testing.T, h http.HandlerFunc) options {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 50}}
	l := listen(t)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	o := defaults(l.Addr().String())
	o.upstream.Protocol = "http2"
	return o
}

func TestHTTP2Upstream(t *testing.T) {
	cancelled := make(chan error, 1)
	o := origin2(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %s %s %s", r.Method, r.RequestURI, r.Proto, r.Host, r.Header.Get("X-Forwarded-For")))
		switch r.URL.Path {
		case "/echo":
			w.Header().Set("Trailer", "X-Sum")
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("read: %v", err)
			}
			_, _ = w.Write(b)
			w.Header().Set("X-Sum", fmt.Sprint(len(b), r.Trailer.Get("X-Given")))
		case "/early":
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.WriteHeader(204)
		case "/reset":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/stream":
			_, _ = io.WriteString(w, "first\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			cancelled <- r.Context().Err()
		case "/silent":
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, "ok")
		}
	})
	o.forward.HeaderTimeout = 300
	p := startProxy(t, o)
	long := strings.Repeat("0123456789", 20_000)
	for _, tt := range []struct {
		name, request string
		want          []string
		body          string
	}{
		{"get", "GET /a?b=c HTTP/1.1\r\nHost: api.example.com\r\n\r\n", []string{"200 OK", "X-Saw: GET /a?b=c HTTP/2.0 api.example.com 127.0.0.1\r\n"}, "ok"},
		{"head", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", []string{"200 OK", "Content-Length: 2\r\n"}, ""},
		{"short body", "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", []string{"200 OK", "chunked"}, "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"},
		{"chunked with a trailer", "POST /echo HTTP/1.1\r\nHost: h\r\nTrailer: X-Given\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Given: 7\r\n\r\n", []string{"200 OK", "chunked"}, "5\r\nhello\r\n0\r\nX-Sum: 57\r\n\r\n"},
		{"early hints", "GET /early HTTP/1.1\r\nHost: h\r\n\r\n", []string{"103 Early Hints", "Link: </a.css>\r\n"}, "HTTP/1.1 204 No Content"},
		{"silence", "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n", []string{"504 Gateway Timeout"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, p.addr)
			c.send(tt.request)
			contains(t, c.head(), tt.want...)
			if got := c.exactly(len(tt.body)); got != tt.body {
				t.Errorf("got %q, want %q", got, tt.body)
			}
		})
	}
	t.Run("long body", func(t *testing.T) {
		c := dial(t, p.addr)
		go c.send(fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(long), long))
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != long || resp.Trailer.Get("X-Sum") != "200000" {
			t.Errorf("%d bytes, %v, trailer %v", len(got), err, resp.Trailer)
		}
		_ = resp.Body.Close()
	})
	t.Run("reset within the body", func(t *testing.T) {
		c := dial(t, p.addr)
		c.send("GET /reset HTTP/1.1\r\nHost: h\r\n\r\n")
		contains(t, c.head(), "200 OK", "Content-Length: 100\r\n")
		if got, _ := c.rest(); got != "half" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("the client leaves", func(t *testing.T) {
		c := dial(t, p.addr)
		c.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
		contains(t, c.head(), "200 OK")
		if got := c.exactly(len("6\r\nfirst\n\r\n")); got != "6\r\nfirst\n\r\n" {
			t.Errorf("got %q", got)
		}
		_ = c.Close()
		<-cancelled
	})
	t.Run("upgrade", func(t *testing.T) {
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		contains(t, c.head(), "501 Not Implemented")
	})
	if n := p.pool.Gauges(nil); n.Open != 1 {
		t.Errorf("%d connections for all of it", n.Open)
	}
}

// TestHTTP2Repeats has a server take nothing more on a connection: what it did not look at is sent again.
func TestHTTP2Repeats(t *testing.T) {
	var asked atomic.Int64
	o := origin2(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1)%3 == 0 {
			w.Header().Set("Connection", "close") // GOAWAY
		}
		_, _ = io.WriteString(w, "ok")
	})
	p := startProxy(t, o)
	for i := range 30 {
		c := dial(t, p.addr)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
		contains(t, c.head(), "200 OK")
		if got := c.exactly(2); got != "ok" {
			t.Fatalf("request %d: %q", i, got)
		}
		_ = c.Close()
	}
}
