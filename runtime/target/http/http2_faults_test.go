package httptarget_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/schema/ir"
)

// rawFrame is a frame as bytes, whatever they say.
func rawFrame(length uint32, kind http2.FrameType, flags http2.Flags, stream uint32, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, length<<8|uint32(kind))
	b = append(b, byte(flags))
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// TestHTTP2Faults has the upstream do what it must not, or stop in the middle: the client gets a problem, or a response that is
// visibly cut.
func TestHTTP2Faults(t *testing.T) {
	const whole = "HTTP/1.1 200"
	for _, tt := range []struct {
		name   string
		answer func(p *peer, stream uint32)
		status string // of the answer
		code   string
		edit   func(*options)
	}{
		{"reset", func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeInternal) }, "502", "upstream_reset", nil},
		{"reset as a protocol error", func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeProtocol) }, "502", "upstream_reset", nil},
		{"refused", func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeRefusedStream) }, "503", "upstream_refused_stream", nil},
		{"closed", func(p *peer, _ uint32) { _ = p.Close() }, "502", "upstream_reset", nil},
		{"goaway, and closed", func(p *peer, s uint32) { _ = p.WriteGoAway(s, http2.ErrCodeNo, nil); _ = p.Close() }, "502", "upstream_reset", nil},
		{"goaway, calm down", func(p *peer, _ uint32) { _ = p.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }, "502", "upstream_reset", nil},
		{"goaway before it was looked at", func(p *peer, _ uint32) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil) }, "502", "upstream_reset", nil},
		{"no status", func(p *peer, s uint32) { p.head(s, true, "x-a", "b") }, "502", "upstream_bad_response", nil},
		{"a status that is no number", func(p *peer, s uint32) { p.head(s, true, ":status", "abc") }, "502", "upstream_bad_response", nil},
		{"two statuses", func(p *peer, s uint32) { p.head(s, true, ":status", "200", ":status", "200") }, "502", "upstream_bad_response", nil},
		{"a pseudo field behind others", func(p *peer, s uint32) { p.head(s, true, "x-a", "b", ":status", "200") }, "502", "upstream_bad_response", nil},
		{"a pseudo field of requests", func(p *peer, s uint32) { p.head(s, true, ":status", "200", ":path", "/") }, "502", "upstream_bad_response", nil},
		{"an upper-case name", func(p *peer, s uint32) { p.head(s, true, ":status", "200", "X-A", "b") }, "502", "upstream_bad_response", nil},
		{"an empty name", func(p *peer, s uint32) { p.head(s, true, ":status", "200", "", "b") }, "502", "upstream_bad_response", nil},
		{"a line end in a value", func(p *peer, s uint32) { p.head(s, true, ":status", "200", "x-a", "b\r\nx-b: c") }, "502", "upstream_bad_response", nil},
		{"a null in a value", func(p *peer, s uint32) { p.head(s, true, ":status", "200", "x-a", "\x00") }, "502", "upstream_bad_response", nil},
		{"a space in a name", func(p *peer, s uint32) { p.head(s, true, ":status", "200", "x a", "b") }, "502", "upstream_bad_response", nil},
		{"switching protocols", func(p *peer, s uint32) { p.head(s, false, ":status", "101") }, "502", "upstream_bad_response", nil},
		{"early hints that end the stream", func(p *peer, s uint32) { p.head(s, true, ":status", "103") }, "502", "upstream_bad_response", nil},
		{"hpack that is none", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: []byte("\xff\xff\xff\xff\xff\xff\xff"), EndHeaders: true})
		}, "502", "upstream_bad_response", nil},
		{"data before the header", func(p *peer, s uint32) { _ = p.WriteData(s, true, []byte("x")) }, "502", "upstream_bad_response", nil},
		{"data on stream 0", func(p *peer, _ uint32) { _, _ = p.Write(rawFrame(1, http2.FrameData, 0, 0, "x")) }, "502", "upstream_bad_response", nil},
		{"a header on stream 0", func(p *peer, _ uint32) { _, _ = p.Write(rawFrame(1, http2.FrameHeaders, 4, 0, "\x88")) }, "502", "upstream_bad_response", nil},
		{"a frame in the middle of a header", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: []byte{0x88}})
			_ = p.WriteData(s, true, nil)
		}, "502", "upstream_bad_response", nil},
		{"a frame that is too large", func(p *peer, s uint32) { _, _ = p.Write(rawFrame(1<<23, http2.FrameData, 0, s, "")) }, "502", "upstream_bad_response", nil},
		{"a push", func(p *peer, s uint32) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: s, PromiseID: 2, BlockFragment: p.pack(":method", "GET"), EndHeaders: true})
		}, "502", "upstream_bad_response", nil},
		{"a window beyond its bounds", func(p *peer, _ uint32) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, "502", "upstream_bad_response", nil},
		{"settings beyond their bounds", func(p *peer, _ uint32) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, "502", "upstream_bad_response", nil},
		{"settings of odd length", func(p *peer, _ uint32) { _, _ = p.Write(rawFrame(5, http2.FrameSettings, 0, 0, "12345")) }, "502", "upstream_bad_response", nil},
		{"another protocol", func(p *peer, _ uint32) {
			_, _ = io.WriteString(p, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		}, "502", "upstream_bad_response", nil},
		{"a header without end", func(p *peer, s uint32) {
			filler := p.pack("x-a", strings.Repeat("*", 8000))
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: p.pack(":status", "200")})
			for range 100 {
				if p.WriteContinuation(s, false, filler) != nil {
					return
				}
			}
		}, "502", "upstream_bad_response", nil},
		{"hints without end", func(p *peer, s uint32) {
			for range 100 {
				p.head(s, false, ":status", "103")
			}
		}, "103", "upstream_bad_response", nil},
		{"silence", func(*peer, uint32) {}, "504", "upstream_timeout", nil},
		{"silence within a header", func(p *peer, s uint32) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: []byte{0x88}})
		}, "504", "upstream_timeout", nil},
		{"silence until the deadline", func(*peer, uint32) {}, "504", "upstream_timeout", func(o *options) { o.forward.HeaderTimeout, o.forward.Timeout = 0, 100 }},

		{"reset within the body", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("half"))
			_ = p.WriteRSTStream(s, http2.ErrCodeInternal)
		}, whole, "upstream_reset", nil},
		{"reset without an error within the body", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("half"))
			_ = p.WriteRSTStream(s, http2.ErrCodeNo)
		}, whole, "upstream_reset", nil},
		{"closed within the body", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("half"))
			_ = p.Close()
		}, whole, "upstream_reset", nil},
		{"less than declared", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200", "content-length", "9")
			_ = p.WriteData(s, true, []byte("half"))
		}, whole, "upstream_reset", nil},
		{"nothing, of what was declared", func(p *peer, s uint32) { p.head(s, true, ":status", "200", "content-length", "9") }, whole, "upstream_reset", nil},
		// What was declared is complete, and may look so; what is more gets no further.
		{"more than declared", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200", "content-length", "4")
			_ = p.WriteData(s, true, []byte("halfbreed"))
		}, whole, "upstream_bad_response", nil},
		{"a pseudo field in the trailer", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("half"))
			p.head(s, true, ":status", "200")
		}, whole, "upstream_bad_response", nil},
		{"a trailer that does not end", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("half"))
			p.head(s, false, "x-a", "b")
		}, whole, "upstream_bad_response", nil},
		{"silence within the body", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			_ = p.WriteData(s, false, []byte("half"))
		}, whole, "upstream_timeout", func(o *options) { o.forward.IdleTimeout = 100 }},
		{"the deadline within the body", func(p *peer, s uint32) {
			p.head(s, false, ":status", "200")
			for p.WriteData(s, false, []byte("half")) == nil {
				if p.next() != nil { // until it is told to stop
					return
				}
			}
		}, whole, "upstream_timeout", func(o *options) { o.forward.Timeout = 200 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := framing(t, func(p *peer) {
				if s := p.request(); s != 0 {
					tt.answer(p, s)
					p.linger()
				}
			})
			o := http2Options(up.addr)
			o.forward.HeaderTimeout = 300
			if tt.edit != nil {
				tt.edit(&o)
			}
			p := startProxy(t, o)
			c := dial(t, p.addr)
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			got, _ := c.rest()
			contains(t, got, "HTTP/1.1 "+strings.TrimPrefix(tt.status, "HTTP/1.1 "))
			if tt.status == whole && (strings.Contains(got, "\r\n0\r\n") || strings.Contains(got, "breed")) {
				t.Errorf("the response looks complete: %q", got)
			}
			if code := p.codes(); code != tt.code {
				t.Errorf("code %s, want %s", code, tt.code)
			}
			if up.conns.Load() != 1 {
				t.Errorf("%d connections for one request that may not be repeated", up.conns.Load())
			}
		})
	}
}

// TestHTTP2Framing has an upstream send fields that mean something to HTTP/1.1: the client does not get them.
func TestHTTP2Framing(t *testing.T) {
	up := framing(t, func(p *peer) {
		for s := p.request(); s != 0; s = p.request() {
			p.head(s, false, ":status", "200", "transfer-encoding", "chunked", "connection", "x-a", "content-length", "2", "content-length", "5", "keep-alive", "1", "upgrade", "h2c", "x-a", "b")
			_ = p.WriteData(s, true, []byte("ok"))
		}
	})
	p := startProxy(t, http2Options(up.addr))
	c := dial(t, p.addr)
	c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	got, _ := c.rest()
	if n := strings.Count(got, "Content-Length:") + strings.Count(got, "Transfer-Encoding:"); strings.HasPrefix(got, "HTTP/1.1 200") && n != 1 {
		t.Errorf("framed %d times: %q", n, got)
	}
	lacks(t, got, "keep-alive:", "upgrade:", "connection: x-a")
}

// TestHTTP2Repeated has the server say that it did not look at a request: that is sent again, whatever it asks for.
func TestHTTP2Repeated(t *testing.T) {
	refuse := func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeRefusedStream) }
	leave := func(p *peer, s uint32) { _ = p.WriteGoAway(s-2, http2.ErrCodeNo, nil) }
	for _, tt := range []struct {
		name     string
		first    int // which request is not looked at
		how      func(p *peer, s uint32)
		retry    *ir.Retry
		attempts int
		repeated []string
	}{
		{"refused", 1, refuse, retrying(), 2, []string{"upstream_refused_stream"}},
		{"refused on a connection in use", 2, refuse, retrying(), 2, []string{"upstream_refused_stream"}},
		{"the server leaves", 2, leave, nil, 1, nil},
		{"the server leaves a new connection", 2, leave, retrying(), 1, nil},
		{"the server was gone", 2, func(p *peer, s uint32) { leave(p, s); _ = p.Close() }, nil, 1, nil},
	} {
		for _, request := range []string{post, openPut + "0\r\n\r\n", get} {
			t.Run(tt.name+", "+request[:4], func(t *testing.T) {
				var asked atomic.Int64
				up := framing(t, func(p *peer) {
					for s := p.request(); s != 0; s = p.request() {
						if int(asked.Add(1)) == tt.first {
							tt.how(p, s)
							continue
						}
						p.answer(s)
					}
				})
				o := http2Options(up.addr)
				o.forward.Retry = tt.retry
				told := o.told()
				p := startProxy(t, o)
				c := dial(t, p.addr)
				for i := range 2 {
					c.send(request)
					head := c.head()
					contains(t, head, "HTTP/1.1 200")
					if got := c.exactly(2); got != "ok" {
						t.Fatalf("got %q", got)
					}
					eventually(t, "the end of the exchange", func() bool { return p.count() == i+1 })
					want := 1
					if i+1 == tt.first {
						want = tt.attempts
					}
					if p.attempts[i] != want {
						t.Errorf("request %d had %d attempts, want %d", i+1, p.attempts[i], want)
					}
				}
				if got := told.Repeated(); !slices.Equal(got, tt.repeated) {
					t.Errorf("repeated for %v, want %v", got, tt.repeated)
				}
			})
		}
	}
}

// TestHTTP2ResetIsAnAnswer holds that a stream the server has reset is not asked for again without a policy, while a connection that
// was lost is, once, for a request that may be repeated.
func TestHTTP2ResetIsAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		how           func(p *peer, s uint32)
		status        string
		asked         int64
	}{
		{"a stream", get, func(p *peer, s uint32) { _ = p.WriteRSTStream(s, http2.ErrCodeInternal) }, "502", 2},
		{"a connection", get, func(p *peer, _ uint32) { _ = p.Close() }, "200", 3},
		{"a connection, not repeatable", post, func(p *peer, _ uint32) { _ = p.Close() }, "502", 2},
		{"a connection of garbage", get, func(p *peer, _ uint32) { _, _ = p.Write(rawFrame(1<<23, 0, 0, 0, "")) }, "502", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			up := framing(t, func(p *peer) {
				for s := p.request(); s != 0; s = p.request() {
					if asked.Add(1) == 2 {
						tt.how(p, s)
						continue
					}
					p.answer(s)
				}
			})
			p := startProxy(t, http2Options(up.addr))
			c := dial(t, p.addr)
			c.send(get)
			contains(t, c.head(), "HTTP/1.1 200")
			c.exactly(2)
			c.send(tt.request)
			contains(t, c.head(), "HTTP/1.1 "+tt.status)
			if got := asked.Load(); got != tt.asked {
				t.Errorf("asked %d times, want %d", got, tt.asked)
			}
		})
	}
}

// TestHTTP2GracefulEnd has the server leave while a response is under way: that one is finished, others go elsewhere.
func TestHTTP2GracefulEnd(t *testing.T) {
	leave, finish := make(chan struct{}), make(chan struct{})
	up := framing(t, func(p *peer) {
		s := p.request()
		if p.number > 1 {
			p.answer(s)
			p.linger()
			return
		}
		p.head(s, false, ":status", "200")
		_ = p.WriteData(s, false, []byte("first"))
		<-leave
		_ = p.WriteGoAway(s, http2.ErrCodeNo, nil)
		<-finish
		_ = p.WriteData(s, true, []byte("last"))
		p.linger()
	})
	p := startProxy(t, http2Options(up.addr))
	c := dial(t, p.addr)
	c.send(get)
	contains(t, c.head(), "200")
	c.exactly(len("5\r\nfirst\r\n"))
	close(leave)
	for range 3 {
		other := dial(t, p.addr)
		other.send(get)
		contains(t, other.head(), "200")
		_ = other.Close()
		if up.conns.Load() > 1 {
			break
		}
	}
	close(finish)
	if got := c.exactly(len("4\r\nlast\r\n0\r\n\r\n")); got != "4\r\nlast\r\n0\r\n\r\n" {
		t.Errorf("got %q", got)
	}
}

// TestHTTP2HeaderTheServerDoesNotTake has a client send more than the upstream takes: nobody else has to suffer for it.
func TestHTTP2HeaderTheServerDoesNotTake(t *testing.T) {
	up := framing(t, func(p *peer) {
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 4000})
		for s := p.request(); s != 0; s = p.request() {
			p.answer(s)
		}
	})
	o := http2Options(up.addr)
	o.forward.Breaker = &ir.Breaker{Window: 10_000, MinimumCalls: 1, ErrorPercent: 1, OpenFor: 60_000, MaxOpenFor: 60_000}
	told := o.told()
	p := startProxy(t, o)
	c := dial(t, p.addr)
	for range 2 { // the settings are there with the first answer
		c.send(get)
		contains(t, c.head(), "200")
		c.exactly(2)
	}
	c.send(fmt.Sprintf("GET / HTTP/1.1\r\nHost: h\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 5000)))
	contains(t, c.head(), "431 ")
	if got := p.codes(); got != "header_too_large" || len(told.States()) != 0 {
		t.Errorf("code %s, breaker %v", got, told.States())
	}
}
