package httptarget_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// TestHTTP2ClientLeaves has a client go in every phase of an exchange: the upstream is told at once, and the connection serves on.
func TestHTTP2ClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		answer        func(p *peer, s uint32)
		read          string // by the client, behind the header
	}{
		{"waiting for the header", get, func(*peer, uint32) {}, ""},
		{"within its own body", openPut, func(*peer, uint32) {}, ""},
		{"reading", get, func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("some"))
		}, "4\r\nsome\r\n"},
		{"reading and writing", openPut, func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("some"))
		}, "4\r\nsome\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, told := make(chan struct{}, 1), make(chan http2.ErrCode, 1)
			up := framing(t, func(p *peer) {
				for {
					switch f := p.next().(type) {
					case nil:
						return
					case *http2.MetaHeadersFrame:
						if f.PseudoValue("path") == "/after" {
							p.answer(f.StreamID)
							continue
						}
						tt.answer(p, f.StreamID)
						asked <- struct{}{}
					case *http2.RSTStreamFrame:
						told <- f.ErrCode
					}
				}
			})
			p := startProxy(t, http2Options(up.addr))
			c := dial(t, p.addr)
			c.send(tt.request)
			<-asked
			if tt.read != "" {
				c.head()
				c.exactly(len(tt.read))
			}
			_ = c.Close()
			if code := <-told; code != http2.ErrCodeCancel {
				t.Errorf("the upstream was told %v", code)
			}
			eventually(t, "client_closed", func() bool { return p.codes() == "client_closed" })
			other := dial(t, p.addr)
			other.send("GET /after HTTP/1.1\r\nHost: h\r\n\r\n")
			contains(t, other.head(), "200 OK")
			if got := up.conns.Load(); got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

// TestHTTP2SilentServers have many requests wait for a server that does not begin: one connection is tried for all of them, and
// none of them waits for longer than one.
func TestHTTP2SilentServers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(o *origin, c net.Conn, r *bufio.Reader)
		code  string
	}{
		{"silence", func(_ *origin, c net.Conn, _ *bufio.Reader) { untilGone(c) }, "upstream_timeout"},
		{"the end", func(_ *origin, c net.Conn, r *bufio.Reader) { _, _ = r.Discard(10); _ = c.Close() }, "upstream_connect_failed"},
		{"another protocol", func(o *origin, c net.Conn, r *bufio.Reader) {
			o.head(r)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			untilGone(c)
		}, "upstream_connect_failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const requests = 16
			up := startOrigin(t, tt.serve)
			o := http2Options(up.addr)
			o.upstream.ConnectTimeout = 300
			p := startProxy(t, o)
			var all sync.WaitGroup
			for range requests {
				all.Go(func() {
					c := dial(t, p.addr)
					c.send(get)
					if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 50") {
						t.Errorf("got %q", head)
					}
				})
			}
			all.Wait()
			eventually(t, "the end of the exchanges", func() bool { return p.count() == requests })
			if got := strings.Count(p.codes(), tt.code); got != requests {
				t.Errorf("codes %s", p.codes())
			}
			if got := up.conns.Load(); tt.code == "upstream_timeout" && got > requests/4 {
				t.Errorf("%d connections were tried for %d requests", got, requests)
			}
			eventually(t, "no connection is left", func() bool { return p.pool.Gauges(nil).Open == 0 })
		})
	}
}

// TestHTTP2Shutdown closes an upstream while a stream is under way: that comes to its end, and with it the connection.
func TestHTTP2Shutdown(t *testing.T) {
	finish, gone := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	up := framing(t, func(p *peer) {
		s := p.request()
		p.head(s, false, ":status", "200")
		_ = p.WriteData(s, false, []byte("some"))
		<-finish
		_ = p.WriteData(s, true, []byte("more"))
		p.linger()
		if once.CompareAndSwap(false, true) {
			close(gone)
		}
	})
	p := startProxy(t, http2Options(up.addr))
	c := dial(t, p.addr)
	c.send(get)
	c.head()
	c.exactly(len("4\r\nsome\r\n"))
	if err := p.pool.Close(); err != nil {
		t.Fatal(err)
	}
	close(finish)
	if got := c.exactly(len("4\r\nmore\r\n0\r\n\r\n")); got != "4\r\nmore\r\n0\r\n\r\n" {
		t.Errorf("got %q", got)
	}
	<-gone
}
