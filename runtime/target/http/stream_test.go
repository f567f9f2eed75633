package httptarget_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// atOnce is a generous bound for what has to happen without waiting for anything.
const atOnce = 100 * time.Millisecond

// untilGone reads from a connection until it ends, and says when.
func untilGone(c net.Conn) time.Time {
	_, _ = io.Copy(io.Discard, c)
	return time.Now()
}

func TestClientThatLeavesIsSeenUpstream(t *testing.T) {
	for i, tt := range []struct {
		name     string
		response string // what the upstream sends before it falls silent
		pending  string // sent behind the request
	}{
		{"waiting for the head", "", ""},
		{"waiting for the head, at once", "", ""},
		{"idle event stream", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:1\r\n", ""},
		{"idle event stream, at once", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:1\r\n", ""},
		{"pipelined bytes pending", "", "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"pipelined bytes pending, at once", "", "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"event stream, pipelined bytes pending", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:1\r\n", "GET /next HTTP/1.1\r\n"},
		{"upload in between, at once", "", "upload"},
		{"upload in between", "", "upload"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gone, ready := make(chan time.Time, 1), make(chan struct{})
			up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				if o.head(r) == "" {
					return
				}
				_, _ = io.WriteString(c, tt.response)
				close(ready)
				gone <- untilGone(c)
			})
			p := startProxy(t, defaults(up.addr))
			c := dial(t, p.addr)
			if tt.pending == "upload" {
				c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome")
			} else {
				c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n" + tt.pending)
			}
			<-ready
			if tt.response != "" {
				c.head()
				c.exactly(len("6\r\ndata:1\r\n"))
			}
			if i%2 == 0 { // long enough for a parked goroutine to watch
				begun := time.Now()
				eventually(t, "an exchange that lasts", func() bool { return time.Since(begun) > 60*time.Millisecond })
			}
			left := time.Now()
			_ = c.Close()
			select {
			case at := <-gone:
				if d := at.Sub(left); d > atOnce {
					t.Errorf("the upstream saw it after %v", d)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the upstream never saw it")
			}
			eventually(t, "reject client_closed", func() bool { return p.codes() == "client_closed" })
		})
	}
}

func TestFirstEventPassesAtOnce(t *testing.T) {
	next := make(chan string)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		for s := range next {
			_, _ = io.WriteString(c, s)
		}
	})
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	defer close(next)
	for _, step := range []struct{ send, want string }{
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"5\r\nfirst\r\n", "5\r\nfirst\r\n"},
		{"6\r\nsecond\r\n", "6\r\nsecond\r\n"},
		{"2\r\nab\r\n1\r\nc\r\n", "2\r\nab\r\n1\r\nc\r\n"},
		{"0\r\n\r\n", "0\r\n\r\n"},
	} {
		start := time.Now()
		next <- step.send
		if step.want == "" {
			contains(t, c.head(), "200 OK", "Transfer-Encoding: chunked\r\n")
		} else if got := c.exactly(len(step.want)); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
		if d := time.Since(start); d > atOnce {
			t.Errorf("%q took %v", step.send, d)
		}
	}
}

// heapPeak runs f and returns by how much the live heap grew at most meanwhile.
func heapPeak(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	base, peak := m.HeapAlloc, m.HeapAlloc
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			case <-stop:
				return
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
	return peak - base
}

func TestGigabyteEachWayInConstantMemory(t *testing.T) {
	const size, bound = 1 << 30, 16 << 20
	block := make([]byte, 1<<20)
	flood := func(w io.Writer) error {
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	}
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		h := o.head(r)
		if strings.HasPrefix(h, "POST") {
			n, _ := io.CopyN(io.Discard, r, size)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n%d", n)
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		_ = flood(c)
	})
	o := defaults(up.addr)
	o.settings.Limits.BodyBytes = size
	p := startProxy(t, o)
	t.Run("down", func(t *testing.T) {
		peak := heapPeak(func() {
			c := dial(t, p.addr)
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			c.head()
			if n, err := io.CopyN(io.Discard, c.r, size); n != size {
				t.Errorf("got %d bytes: %v", n, err)
			}
		})
		t.Logf("heap grew by %d KiB", peak>>10)
		if peak > bound {
			t.Errorf("heap grew by %d MiB", peak>>20)
		}
	})
	t.Run("up", func(t *testing.T) {
		peak := heapPeak(func() {
			c := dial(t, p.addr)
			c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size))
			if err := flood(c); err != nil {
				t.Fatal(err)
			}
			c.head()
			if got := c.exactly(10); got != "1073741824" {
				t.Errorf("the upstream got %q", got)
			}
		})
		t.Logf("heap grew by %d KiB", peak>>10)
		if peak > bound {
			t.Errorf("heap grew by %d MiB", peak>>20)
		}
	})
}

func TestTrailersBothWays(t *testing.T) {
	got := make(chan string, 1)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		var body strings.Builder
		for !strings.HasSuffix(body.String(), "\r\n\r\n") {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			body.WriteByte(b)
		}
		got <- body.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\n\r\n")
	})
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-In\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-In: 7\r\n\r\n")
	if s := <-got; s != "3\r\nabc\r\n0\r\nX-In: 7\r\n\r\n" {
		t.Errorf("upstream got %q", s)
	}
	contains(t, c.head(), "Trailer: X-Sum\r\n")
	want := "2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n"
	if s := c.exactly(len(want)); s != want {
		t.Errorf("client got %q", s)
	}
}

func TestInformationalPasses(t *testing.T) {
	up := startOrigin(t, answering("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"+ok))
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if got, want := c.head(), "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"; got != want {
		t.Errorf("got %q", got)
	}
	contains(t, c.head(), "HTTP/1.1 200 OK\r\n")
	c = dial(t, p.addr)
	c.send("GET / HTTP/1.0\r\n\r\n") // has no 1xx
	contains(t, c.head(), "HTTP/1.1 200 OK\r\n", "Connection: close")
}

func TestExpect(t *testing.T) {
	t.Run("100 when the upstream wants the body", func(t *testing.T) {
		up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			h := o.head(r)
			if !strings.Contains(h, "Expect: 100-continue\r\n") {
				t.Errorf("no Expect in %q", h)
			}
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			b := make([]byte, 5)
			_, _ = io.ReadFull(r, b)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", b)
		})
		p := startProxy(t, defaults(up.addr))
		c := dial(t, p.addr)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if got := c.head(); got != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Errorf("got %q", got)
		}
		c.send("hello")
		contains(t, c.head(), "200 OK")
		if got := c.exactly(5); got != "hello" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("an answer without 100 ends the connection", func(t *testing.T) {
		up := startOrigin(t, answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
		p := startProxy(t, defaults(up.addr))
		c := dial(t, p.addr)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		contains(t, c.head(), "403 Forbidden", "Connection: close")
		if got, err := c.rest(); got != "no" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("body sent without waiting", func(t *testing.T) {
		up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			o.head(r)
			b := make([]byte, 5)
			_, _ = io.ReadFull(r, b)
			_, _ = io.WriteString(c, ok)
		})
		p := startProxy(t, defaults(up.addr))
		c := dial(t, p.addr)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
		for {
			h := c.head()
			if strings.Contains(h, "200 OK") {
				return
			}
			contains(t, h, "100 Continue")
		}
	})
}

// recorder is a Stream that notes what it sees.
type recorder struct {
	mu     sync.Mutex
	seen   []string
	fail   string
	panics bool
}

func (h *recorder) Chunk(p []byte) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.panics {
		panic("chunk")
	}
	h.seen = append(h.seen, string(p))
	if string(p) == h.fail {
		return nil, errors.New("no")
	}
	return []byte(strings.ToUpper(string(p))), nil
}

func (h *recorder) Flush() ([]byte, error) { return nil, nil }
func (h *recorder) End() ([]byte, error)   { return []byte("!"), nil }
func (h *recorder) Close()                 {}

func TestHookSeesEveryChunk(t *testing.T) {
	next := make(chan string)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		for s := range next {
			_, _ = io.WriteString(c, s)
		}
	})
	defer close(next)
	rec := &recorder{fail: "five"}
	o := defaults(up.addr)
	o.hooks = func(p *proxy) {
		p.streams = []policy.Stream{rec}
		p.respond = func(_ *policy.Exchange, r *httpmsg.Response) { r.Header.Set("X-Edited", "1"); r.ContentLength = -1 }
	}
	p := startProxy(t, o)
	c := dial(t, p.addr)
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	next <- "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"
	contains(t, c.head(), "X-Edited: 1\r\n", "Transfer-Encoding: chunked")
	for _, s := range []string{"one", "two", "three"} {
		next <- s
		want := fmt.Sprintf("%x\r\n%s\r\n", len(s), strings.ToUpper(s))
		if got := c.exactly(len(want)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	next <- "five"
	if got, err := c.rest(); strings.Contains(got, "0\r\n\r\n") || strings.Contains(got, "FIVE") {
		t.Errorf("a refused chunk ended in %q, %v", got, err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if got := strings.Join(rec.seen, " "); got != "one two three five" {
		t.Errorf("hook saw %q", got)
	}
	eventually(t, "policy_cut", func() bool { return p.codes() == "policy_cut" })
}

func TestUpgradeEchoes(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		h := o.head(r)
		contains(t, h, "Connection: upgrade\r\nUpgrade: websocket\r\n", "Sec-WebSocket-Key: k\r\n")
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nhi")
		_, _ = io.Copy(c, r)
	})
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly")
	contains(t, c.head(), "HTTP/1.1 101 Switching Protocols\r\n", "Connection: upgrade\r\n", "Upgrade: websocket\r\n", "Sec-WebSocket-Accept: a\r\n")
	if got := c.exactly(2); got != "hi" {
		t.Errorf("got %q", got)
	}
	if got := c.exactly(5); got != "early" {
		t.Errorf("bytes behind the request came back as %q", got)
	}
	for range 3 {
		c.send("ping\x00\r\n")
		if got := c.exactly(7); got != "ping\x00\r\n" {
			t.Errorf("got %q", got)
		}
	}
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	if got, err := c.rest(); got != "" || err != nil {
		t.Errorf("end of the tunnel: %q, %v", got, err)
	}
	eventually(t, "no exchange left", func() bool { return p.srv.Stats().Active == 0 })
}

func TestUpgradeThatIsNone(t *testing.T) {
	heads := make(chan string, 1)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		heads <- o.head(r)
		_, _ = io.WriteString(c, ok)
	})
	p := startProxy(t, defaults(up.addr))
	for _, tt := range []struct {
		name, header string
		forwarded    bool
	}{
		{"refused with 200", "Connection: upgrade\r\nUpgrade: websocket\r\n", true},
		{"without connection", "Upgrade: websocket\r\n", false},
		{"h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", false},
		{"h2c in a list", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", false},
		{"h2c settings alone", "HTTP2-Settings: AAMAAABkAAQAAP__\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, p.addr)
			c.send("GET / HTTP/1.1\r\nHost: h\r\n" + tt.header + "\r\n")
			contains(t, c.head(), "200 OK")
			c.exactly(2)
			h := strings.ToLower(<-heads)
			if strings.Contains(h, "upgrade: ") != tt.forwarded || strings.Contains(h, "http2-settings") || strings.Contains(h, "h2c") {
				t.Errorf("upstream got %q", h)
			}
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // still HTTP
			contains(t, c.head(), "200 OK")
			<-heads
		})
	}
}

func TestEarlyResponse(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		untilGone(c)
	})
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 20000))
	contains(t, c.head(), "413 Content Too Large")
	c.exactly(3)
	c.send(strings.Repeat("x", 180000)) // the rest is dropped, and the connection goes on
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 20000))
	contains(t, c.head(), "413 Content Too Large")
	c.exactly(3)
	_, _ = io.WriteString(c, strings.Repeat("x", 980000)) // too much to drop
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the connection went on")
	}
}

func TestFullDuplex(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, line); err != nil || line == "0\r\n" {
				_, _ = io.WriteString(c, "\r\n")
				return
			}
		}
	})
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	contains(t, c.head(), "200 OK")
	for _, s := range []string{"3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"} {
		c.send(s)
		if got := c.exactly(len(s)); got != s {
			t.Errorf("got %q, want %q", got, s)
		}
	}
}
