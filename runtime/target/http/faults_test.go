package httptarget_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// TestUpstreamFaults answers with things no client may be given: the answer is the gateway's own.
func TestUpstreamFaults(t *testing.T) {
	for _, tt := range []struct{ name, response, status, code string }{
		{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "502", "upstream_bad_response"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "502", "upstream_bad_response"},
		{"odd length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "502", "upstream_bad_response"},
		{"odd coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "502", "upstream_bad_response"},
		{"coding on 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "502", "upstream_bad_response"},
		{"bare CR splits a field", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "502", "upstream_bad_response"},
		{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "502", "upstream_bad_response"},
		{"fold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", "502", "upstream_bad_response"},
		{"status line", "HELLO\r\n\r\n", "502", "upstream_bad_response"},
		{"status 99", "HTTP/1.1 099 OK\r\n\r\n", "502", "upstream_bad_response"},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "502", "upstream_bad_response"},
		{"1xx flood", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100) + ok, "502", "upstream_bad_response"},
		{"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "502", "upstream_bad_response"},
		{"head without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10), "502", "upstream_bad_response"},
		{"closed within the head", "HTTP/1.1 200 OK\r\nX: ", "502", "upstream_reset"},
		{"closed at once", "", "502", "upstream_reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				o.head(r)
				_, _ = io.WriteString(c, tt.response)
			})
			p := startProxy(t, defaults(up.addr))
			c := dial(t, p.addr)
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
			h := c.head()
			for strings.Contains(h, " 102 ") {
				h = c.head()
			}
			contains(t, h, "HTTP/1.1 "+tt.status)
			eventually(t, tt.code, func() bool { return p.codes() == tt.code })
			eventually(t, "the connection is not kept", func() bool { return p.pool.Gauges(nil).Open == 0 })
		})
	}
}

// TestCutIsVisible has the upstream die within the body: no client may take what it got for the whole.
func TestCutIsVisible(t *testing.T) {
	for _, tt := range []struct{ name, response, request string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhell", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhell", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\nzz\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"chunked to 1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n", "GET / HTTP/1.0\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			die := make(chan struct{})
			up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				o.head(r)
				_, _ = io.WriteString(c, tt.response)
				if tt.name != "bad chunk" {
					<-die
				} else {
					untilGone(c)
				}
			})
			p := startProxy(t, defaults(up.addr))
			c := dial(t, p.addr)
			c.send(tt.request + "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
			head := c.head()
			want := "hell"
			if strings.Contains(head, "chunked") {
				want = "4\r\nhell\r\n"
			}
			if tt.name != "bad chunk" { // there head, data and cut may come together
				if got := c.exactly(len(want)); got != want {
					t.Errorf("got %q", got)
				}
			}
			close(die)
			got, err := c.rest()
			if strings.Contains(got, "0\r\n") || strings.Contains(got, "HTTP/1.1") {
				t.Errorf("a cut response went on with %q", got)
			}
			if strings.Contains(tt.request, "1.0") && err == nil {
				t.Error("a body that ends with the connection ended cleanly")
			}
			eventually(t, "a reject", func() bool { return p.codes() != "" })
		})
	}
}

func TestTimeouts(t *testing.T) {
	silent := func(response string) func(*origin, net.Conn, *bufio.Reader) {
		return func(o *origin, c net.Conn, r *bufio.Reader) {
			o.head(r)
			_, _ = io.WriteString(c, response)
			untilGone(c)
		}
	}
	for _, tt := range []struct {
		name, response       string
		total, header, idle  int64
		cut                  bool
		request              string
		wantStatus, wantCode string
	}{
		{name: "header", header: 100, wantStatus: "504", wantCode: "upstream_timeout"},
		{name: "total before the head", total: 100, wantStatus: "504", wantCode: "upstream_timeout"},
		{name: "idle", response: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", idle: 100, cut: true, wantStatus: "200", wantCode: "upstream_timeout"},
		{name: "total within the body", response: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", total: 100, cut: true, wantStatus: "200", wantCode: "upstream_timeout"},
		{
			name: "header after a long body", header: 100, wantStatus: "504", wantCode: "upstream_timeout",
			request: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + strings.Repeat("x", 50000),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := startOrigin(t, silent(tt.response))
			o := defaults(up.addr)
			o.forward.Timeout, o.forward.HeaderTimeout, o.forward.IdleTimeout = tt.total, tt.header, tt.idle
			p := startProxy(t, o)
			c := dial(t, p.addr)
			if tt.request == "" {
				tt.request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			start := time.Now()
			c.send(tt.request)
			contains(t, c.head(), "HTTP/1.1 "+tt.wantStatus)
			if tt.cut {
				if got, _ := c.rest(); got != "ab" {
					t.Errorf("got %q", got)
				}
			}
			eventually(t, tt.wantCode, func() bool { return p.codes() == tt.wantCode })
			if d := time.Since(start); d < 100*time.Millisecond || d > time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestConnectFailures(t *testing.T) {
	dead := listen(t)
	addr := dead.Addr().String()
	_ = dead.Close()
	t.Run("refused", func(t *testing.T) {
		p := startProxy(t, defaults(addr))
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		contains(t, c.head(), "502 Bad Gateway")
		if got := p.codes(); got != "upstream_connect_failed" {
			t.Errorf("code %s", got)
		}
	})
	t.Run("the next endpoint takes over", func(t *testing.T) {
		up := startOrigin(t, answering(ok))
		p := startProxy(t, defaults(addr, up.addr, addr))
		for range 6 {
			c := dial(t, p.addr)
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			contains(t, c.head(), "200 OK")
		}
	})
	t.Run("forbidden address", func(t *testing.T) {
		o := defaults(addr)
		o.upstream.PrivateAddresses = false
		p := startProxy(t, o)
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		contains(t, c.head(), "502 Bad Gateway")
	})
	t.Run("no endpoints", func(t *testing.T) {
		p := startProxy(t, defaults())
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		contains(t, c.head(), "503 Service Unavailable")
		if got := p.codes(); got != "no_endpoints" {
			t.Errorf("code %s", got)
		}
	})
	t.Run("overloaded", func(t *testing.T) {
		busy := make(chan struct{})
		up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			o.head(r)
			close(busy)
			untilGone(c)
		})
		o := defaults(up.addr)
		o.upstream.MaxConnections = 1
		p := startProxy(t, o)
		first := dial(t, p.addr)
		first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		<-busy
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		contains(t, c.head(), "503 Service Unavailable")
		if got := p.codes(); got != "upstream_overloaded" {
			t.Errorf("code %s", got)
		}
	})
}

// TestStaleConnections has the upstream end pooled connections in every way there is.
func TestStaleConnections(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		behave       func(c net.Conn, r *bufio.Reader, o *origin, done func()) // after the first answer
		code         string                                                    // "" if the second request succeeds
	}{
		{"closed while idle", "POST", func(c net.Conn, _ *bufio.Reader, _ *origin, done func()) { _ = c.Close(); done() }, ""},
		{"unasked bytes", "POST", func(c net.Conn, _ *bufio.Reader, _ *origin, done func()) {
			_, _ = io.WriteString(c, ok)
			done()
			untilGone(c)
		}, ""},
		{"closed on the next request", "GET", func(_ net.Conn, r *bufio.Reader, o *origin, done func()) { done(); o.head(r) }, ""},
		{"closed on the next request, not repeatable", "POST", func(_ net.Conn, r *bufio.Reader, o *origin, done func()) { done(); o.head(r) }, "upstream_reset"},
		{"closed within the next answer", "GET", func(c net.Conn, r *bufio.Reader, o *origin, done func()) {
			done()
			o.head(r)
			_, _ = io.WriteString(c, "HTTP/1.1 2")
		}, "upstream_reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var first atomic.Bool
			behaved := make(chan struct{})
			up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				o.head(r)
				_, _ = io.WriteString(c, ok)
				if first.CompareAndSwap(false, true) {
					tt.behave(c, r, o, func() { close(behaved) })
					return
				}
				untilGone(c)
			})
			p := startProxy(t, defaults(up.addr))
			c := dial(t, p.addr)
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			c.head()
			c.exactly(2)
			// Unasked bytes may come with the answer, and then the connection is not pooled at all.
			eventually(t, "a pooled connection", func() bool { return p.pool.Gauges(nil).Requests == 0 })
			<-behaved
			c.send(tt.method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
			h := c.head()
			if tt.code == "" {
				contains(t, h, "200 OK")
				if got := c.exactly(2); got != "ok" {
					t.Errorf("got %q", got)
				}
			} else {
				contains(t, h, "502 Bad Gateway")
			}
			if got := p.codes(); got != tt.code {
				t.Errorf("code %q", got)
			}
		})
	}
}

func TestKeepAliveAndPipelining(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for {
			h := o.head(r)
			if h == "" {
				return
			}
			path := strings.Fields(h)[1]
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"+path[:2])
		}
	})
	p := startProxy(t, defaults(up.addr))
	t.Run("pipelined", func(t *testing.T) {
		c := dial(t, p.addr)
		var all string
		for _, s := range "abcdefgh" {
			all += "GET /" + string(s) + " HTTP/1.1\r\nHost: h\r\n\r\n"
		}
		c.send("\r\n" + all) // one empty line before a request is ignored
		for _, s := range "abcdefgh" {
			contains(t, c.head(), "200 OK")
			if got := c.exactly(2); got != "/"+string(s) {
				t.Errorf("got %q for %q", got, s)
			}
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		c := dial(t, p.addr)
		c.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		contains(t, c.head(), "HTTP/1.1 200 OK\r\n", "Connection: keep-alive\r\n")
		c.exactly(2)
		c.send("GET /b HTTP/1.0\r\n\r\n")
		contains(t, c.head(), "Connection: close\r\n")
		if got, err := c.rest(); got != "/b" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("HEAD, 204 and 304 have no body", func(t *testing.T) {
		for _, tt := range []struct{ method, response, want string }{
			{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "Content-Length: 1000\r\n"},
			{"GET", "HTTP/1.1 204 No Content\r\n\r\n", "204 No Content"},
			{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n", "Content-Length: 7\r\n"},
		} {
			up := startOrigin(t, answering(tt.response))
			p := startProxy(t, defaults(up.addr))
			c := dial(t, p.addr)
			for range 3 {
				c.send(tt.method + " / HTTP/1.1\r\nHost: h\r\n\r\n")
				contains(t, c.head(), tt.want)
			}
			if n := up.conns.Load(); n != 1 {
				t.Errorf("%s %q: %d upstream connections", tt.method, tt.response, n)
			}
		}
	})
	t.Run("a body behind 204 is nobody's answer", func(t *testing.T) {
		up := startOrigin(t, answering("HTTP/1.1 204 No Content\r\nContent-Length: 43\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
		p := startProxy(t, defaults(up.addr))
		c := dial(t, p.addr)
		for range 3 {
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			contains(t, c.head(), "204 No Content")
		}
	})
	t.Run("until close", func(t *testing.T) {
		up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			o.head(r)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nall of it")
		})
		p := startProxy(t, defaults(up.addr))
		c := dial(t, p.addr)
		for range 2 {
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			contains(t, c.head(), "Transfer-Encoding: chunked\r\n")
			const want = "9\r\nall of it\r\n0\r\n\r\n"
			if got := c.exactly(len(want)); got != want {
				t.Errorf("got %q", got)
			}
		}
	})
}

func TestShutdown(t *testing.T) {
	entered, answer := make(chan struct{}), make(chan struct{})
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		close(entered)
		<-answer
		_, _ = io.WriteString(c, ok)
	})
	p := startProxy(t, defaults(up.addr))
	idle := dial(t, p.addr)
	busy := dial(t, p.addr)
	busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	down := make(chan error, 1)
	go func() { down <- p.srv.Shutdown(context.Background()) }()
	if got, err := idle.rest(); got != "" || err != nil {
		t.Errorf("the idle connection got %q, %v", got, err)
	}
	if c, err := net.Dial("tcp", p.addr); err == nil {
		_ = c.Close()
		t.Error("still accepting")
	}
	close(answer)
	contains(t, busy.head(), "200 OK", "Connection: close\r\n")
	if got, err := busy.rest(); got != "ok" || err != nil {
		t.Errorf("the busy connection got %q, %v", got, err)
	}
	_ = busy.Close()
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownDeadlineAndCut(t *testing.T) {
	stuck := func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		untilGone(c)
	}
	t.Run("deadline", func(t *testing.T) {
		p := startProxy(t, defaults(startOrigin(t, stuck).addr))
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.head()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := p.srv.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("shutdown: %v", err)
		}
		if got, _ := c.rest(); strings.Contains(got, "0\r\n\r\n") {
			t.Errorf("a killed stream ended cleanly: %q", got)
		}
	})
	t.Run("cut", func(t *testing.T) {
		p := startProxy(t, defaults(startOrigin(t, stuck).addr))
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.head()
		c.exactly(6)
		if n := p.srv.Cut(time.Now().Add(-time.Minute), 0, nil, nil); n != 0 {
			t.Errorf("%d exchanges are a minute old", n)
		}
		if n := p.srv.Cut(time.Now(), 10*time.Millisecond, nil, nil); n != 1 {
			t.Errorf("cancelled %d", n)
		}
		if got, _ := c.rest(); strings.Contains(got, "0\r\n\r\n") {
			t.Errorf("a cancelled stream ended cleanly: %q", got)
		}
	})
}

// TestPanicOfAPolicy has a policy panic at the worst moments: nothing may leak, and no response may look complete.
func TestPanicOfAPolicy(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n")
		untilGone(c)
	})
	for _, where := range []string{"respond", "chunk"} {
		t.Run(where, func(t *testing.T) {
			o := defaults(up.addr)
			o.hooks = func(p *proxy) {
				p.recovers = true
				if where == "respond" {
					p.respond = func(*policy.Exchange, *httpmsg.Response) { panic("respond") }
				} else {
					p.streams = []policy.Stream{&recorder{panics: true}}
				}
			}
			p := startProxy(t, o)
			c := dial(t, p.addr)
			// An upload is under way as well.
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 50000))
			got, _ := c.rest()
			if strings.Contains(got, "0\r\n\r\n") {
				t.Errorf("got %q", got)
			}
			eventually(t, "the connection is given up", func() bool { return p.pool.Gauges(nil).Open == 0 })
		})
	}
}
