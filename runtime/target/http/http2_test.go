package httptarget_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/ir"
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

// TestRetries holds when an attempt is repeated.
func TestRetries(t *testing.T) {
	idempotent := []string{"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"}
	all := []string{ir.RetryConnectFailure, ir.RetryReset, ir.RetryTimeout, ir.RetryRefusedStream, ir.RetryStatusGateway, ir.RetryStatus429}
	status := func(n int, fields string) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: 3\r\n\r\nbad", n, fields)
	}
	for _, tt := range []struct {
		name     string
		first    []string // answers to the first requests; "" closes, "hang" says nothing
		request  string
		edit     func(*ir.Retry)
		status   string
		attempts int64
		header   string // in the answer
	}{
		{name: "bad gateway", first: []string{status(502, "")}, status: "200", attempts: 2, header: "X-Gateway-Attempts: 2\r\n"},
		{name: "reset", first: []string{"", ""}, status: "200", attempts: 3},
		{name: "per-try timeout", first: []string{"hang"}, status: "200", attempts: 2},
		{name: "attempts run out", first: []string{status(503, ""), status(503, ""), status(503, "X-Last: 1\r\n")}, status: "503", attempts: 3, header: "X-Last: 1\r\n"},
		{name: "not a condition", first: []string{status(500, "")}, status: "500", attempts: 1},
		{name: "no failure", first: []string{status(404, "")}, status: "404", attempts: 1},
		{name: "too many requests", first: []string{status(429, "")}, status: "200", attempts: 2},
		{name: "not idempotent", first: []string{status(502, "")}, request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", status: "502", attempts: 1},
		{name: "idempotency key", first: []string{status(502, "")}, request: "POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: 1\r\nContent-Length: 1\r\n\r\nx", status: "200", attempts: 2},
		{name: "retry after, within the maximum", first: []string{status(503, "Retry-After: 0\r\n")}, status: "200", attempts: 2},
		{name: "retry after, beyond the maximum", first: []string{status(503, "Retry-After: 9\r\n")}, status: "503", attempts: 1, header: "Retry-After: 9\r\n"},
		{name: "no budget", first: []string{status(502, "")}, edit: func(r *ir.Retry) { r.BudgetMin, r.BudgetPercent = 0, 0 }, status: "502", attempts: 1},
		{name: "a hint was handed on", first: []string{"HTTP/1.1 103 Early Hints\r\n\r\n" + status(502, "")}, status: "103", attempts: 1},
		{name: "the response has begun", first: []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"}, status: "200", attempts: 1},
		{name: "malformed", first: []string{"HELLO\r\n\r\n"}, status: "200", attempts: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				for {
					if o.head(r) == "" {
						return
					}
					n := int(asked.Add(1))
					if n > len(tt.first) {
						_, _ = io.WriteString(c, ok)
						continue
					}
					if tt.first[n-1] == "hang" {
						untilGone(c)
						return
					}
					_, _ = io.WriteString(c, tt.first[n-1])
					if !strings.Contains(tt.first[n-1], "bad") {
						return
					}
				}
			})
			o := defaults(up.addr)
			o.forward.Retry = &ir.Retry{Attempts: 2, On: all, Methods: idempotent, PerTryTimeout: 200, BackoffBase: 1, BackoffMax: 10, BudgetPercent: 100, BudgetMin: 3}
			if tt.edit != nil {
				tt.edit(o.forward.Retry)
			}
			p := startProxy(t, o)
			c := dial(t, p.addr)
			if tt.request == "" {
				tt.request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			c.send(tt.request)
			contains(t, c.head(), "HTTP/1.1 "+tt.status, tt.header)
			eventually(t, fmt.Sprintf("%d attempts", tt.attempts), func() bool { return asked.Load() == tt.attempts })
		})
	}
}

// TestBreaker opens by failures, refuses at once, and closes again.
func TestBreaker(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for o.head(r) != "" {
			answer := ok
			if broken.Load() {
				answer = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"
			}
			_, _ = io.WriteString(c, answer)
		}
	})
	o := defaults(up.addr)
	o.forward.Breaker = &ir.Breaker{Window: 10_000, MinimumCalls: 10, ErrorPercent: 50, OpenFor: 100, MaxOpenFor: 100, HalfOpenRampFor: 50}
	p := startProxy(t, o)
	get := func() string {
		c := dial(t, p.addr)
		defer func() { _ = c.Close() }()
		c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		return c.head()
	}
	for i := range 10 {
		contains(t, get(), "500 ")
		if b, _ := p.target.Breaker(); i < 9 && b.State != "closed" {
			t.Fatalf("%s after %d calls", b.State, i+1)
		}
	}
	contains(t, get(), "503 Service Unavailable")
	if got := p.codes(); got != "breaker_open" {
		t.Errorf("code %s", got)
	}
	broken.Store(false)
	eventually(t, "it closes again", func() bool {
		get()
		b, _ := p.target.Breaker()
		return b.State == "closed"
	})
	contains(t, get(), "200 OK")
}

// TestHashing sends the requests of one key to one endpoint.
func TestHashing(t *testing.T) {
	var addrs []string
	for range 5 {
		name := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", len(addrs))
		addrs = append(addrs, startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			for o.head(r) != "" {
				_, _ = io.WriteString(c, name)
			}
		}).addr)
	}
	for _, tt := range []struct {
		name    string
		on      ir.HashPart
		request string // with a place for the key
	}{
		{"header", ir.HashPart{Header: "x-user"}, "GET / HTTP/1.1\r\nHost: h\r\nX-User: %s\r\n\r\n"},
		{"cookie", ir.HashPart{Cookie: "sid"}, "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; sid=%s\r\nCookie: x=y\r\n\r\n"},
		{"query", ir.HashPart{Query: "q"}, "GET /?p=1&q=%s HTTP/1.1\r\nHost: h\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := defaults(addrs...)
			o.upstream.Balance = &ir.Balance{Strategy: ir.BalanceMaglev, HashOn: []ir.HashPart{tt.on}}
			p := startProxy(t, o)
			used := map[string]bool{}
			for key := range 40 {
				first := ""
				for range 3 {
					c := dial(t, p.addr)
					c.send(fmt.Sprintf(tt.request, fmt.Sprint("user", key)))
					c.head()
					got := c.exactly(1)
					_ = c.Close()
					if first == "" {
						first = got
					}
					if got != first {
						t.Fatalf("key %d went to %s and %s", key, first, got)
					}
				}
				used[first] = true
			}
			if len(used) != 5 {
				t.Errorf("40 keys used %d of 5 endpoints", len(used))
			}
		})
	}
}
