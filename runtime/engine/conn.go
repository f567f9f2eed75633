package engine

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/exchange"
	"github.com/suuupra/gateway/runtime/engine/h2"
	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// drainLimit is how much of an unread request body is read and dropped to keep a connection, in bytes.
const drainLimit = 256 << 10

// states of a connection. Only an idle one may be closed by somebody else.
const (
	connIdle = iota
	connBusy
	connClosed
)

// conn is one connection from a client. Its request, head and response are reused from exchange to exchange.
type conn struct {
	srv      *Server
	listener *Listener
	wire     *wire.Conn
	state    atomic.Int32
	shard    *shard
	link     link
	scheme   string
	peer     netip.AddrPort
	h2       bool                    // TLS agreed on HTTP/2
	multi    atomic.Pointer[h2.Conn] // not nil while it speaks it

	set      *Settings
	limits   http1.Limits
	scan     http1.Scanner
	head     http1.RequestHead
	req      httpmsg.Request
	exchange atomic.Pointer[exchange.Context] // the last one
	body     body
	bodyRead atomic.Bool // whole, so that nobody reads from the connection any more
	inStart  int64       // the connection's counters when the exchange began
	outStart int64
	sendMu   sync.Mutex // orders 100 (Continue), which the body's reader sends, and the head of the final response
	resp     response
	began    time.Time // when the head was there, but for the time the Handler takes to look at it
}

func newConn(s *Server, l *Listener, nc net.Conn) *conn {
	c := &conn{srv: s, listener: l, scheme: "http", shard: &s.shards[s.nextID.Add(1)%uint32(len(s.shards))]}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.peer = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	if l.TLS != nil {
		c.scheme, nc = "https", tls.Server(wire.NewGate(nc), l.TLS)
	}
	c.wire = wire.New(nc)
	c.body.c, c.resp.c = c, c
	c.body.BeforeWait = c.beforeBody
	return c
}

// serve runs the connection to its end.
func (c *conn) serve(overLimit bool) {
	defer c.srv.ended(c)
	defer c.wire.Close() //nolint:errcheck // nobody is left to tell
	defer func() {
		if v := recover(); v != nil {
			_ = c.wire.Reset()
			if c.srv.hooks.Panicked != nil {
				c.srv.hooks.Panicked(v, debug.Stack(), c.peer)
			}
		}
	}()
	c.set = c.srv.settings.Load()
	if overLimit {
		c.refuseConnection()
		return
	}
	if !c.open() {
		return
	}
	if c.speaksHTTP2() {
		c.serveHTTP2()
		return
	}
	wait := c.set.Timeouts.ReadHeader // a client that connects is about to ask
	for c.await(wait) && c.readHead() && c.serveOne() {
		wait = c.set.Timeouts.KeepAlive
		c.state.Store(connIdle)
		if c.srv.draining.Load() {
			return
		}
	}
}

// refuseConnection turns away a connection that is one too many. Nothing is waited for: a client that has not even begun with
// TLS would be one more of those that are too many.
func (c *conn) refuseConnection() {
	e := &httpmsg.Error{Status: 503, Code: "too_many_connections", Detail: "the gateway has too many connections"}
	if c.listener.TLS == nil && !c.listener.believes(c.peer.Addr()) {
		c.refuse(e)
	} else if c.srv.hooks.Refused != nil {
		c.srv.hooks.Refused(e.Status, e.Code, c.peer)
	}
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// await waits for the first byte of a request. Nothing is said to a client that sends none.
func (c *conn) await(timeout int64) bool {
	c.set = c.srv.settings.Load()
	if len(c.wire.Buffered()) == 0 {
		now := time.Now()
		c.wire.ReadBy(now.Add(millis(timeout)), min(millis(timeout)/8, 5*time.Second))
		if err := c.wire.Fill(); err != nil {
			return false
		}
	}
	return c.state.CompareAndSwap(connIdle, connBusy)
}

// readHead reads and checks one head, or refuses it.
func (c *conn) readHead() bool {
	c.set = c.srv.settings.Load()
	lim := &c.set.Limits
	c.limits = http1.Limits{Bytes: int(lim.HeaderBytes), Fields: int(lim.HeaderFields), Target: int(lim.URLBytes)}
	c.req = httpmsg.Request{Received: time.Now()}
	c.began = c.req.Received
	c.inStart, c.outStart = c.wire.BytesIn()-int64(len(c.wire.Buffered())), c.wire.BytesOut()
	c.scan.Reset()
	for {
		n, bad := c.scan.ScanRequest(c.wire.Buffered(), &c.limits)
		if bad != nil {
			c.refuse(bad)
			return false
		}
		if n > 0 {
			bad = c.head.Parse(string(c.wire.Buffered()[:n]), &c.scan, &c.limits)
			c.wire.Discard(n)
			if bad != nil {
				c.refuse(bad)
				return false
			}
			return true
		}
		c.wire.ReadBy(c.req.Received.Add(millis(c.set.Timeouts.ReadHeader)), 50*time.Millisecond)
		if err := c.wire.Fill(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.refuse(&httpmsg.Error{Status: 408, Code: "header_timeout", Detail: "the header took too long"})
			}
			return false
		}
		c.began = time.Now()
	}
}

// serveOne runs one exchange, and reports whether the connection can carry another.
func (c *conn) serveOne() bool {
	h, r := &c.head, &c.req
	r.Method, r.Target, r.Proto, r.Scheme = h.Method, h.Target, h.Proto, c.scheme
	r.Host, r.Authority, r.Peer, r.Header.Fields = h.Host, h.Authority, c.peer, h.Fields
	r.ContentLength, r.Upgrade = h.Length, h.Upgrade
	r.WantsTrailers, r.ExpectContinue = h.WantsTrailers, h.ExpectContinue
	r.MaxBody = c.set.Limits.BodyBytes
	c.body.begin()
	if h.Length != 0 {
		r.Body = &c.body
	}
	c.resp.begin()
	x := exchange.New(c.srv.base, c.began)
	c.exchange.Store(x)
	c.srv.active.Add(1)
	c.watch(r.Received)
	defer c.srv.active.Add(-1)
	defer c.over(x)

	c.srv.handler.Serve(x, &c.resp, r)

	h.Fields = r.Header.Fields // a policy may have grown the list; keep its memory
	return c.finish()
}

// over ends an exchange, also when the Handler panicked.
func (c *conn) over(x *exchange.Context) {
	c.unwatch()
	x.Cancel()
}

// finish completes the response, and what is left of the request.
func (c *conn) finish() bool {
	c.unwatch()
	if c.resp.tunnel {
		return false
	}
	if !c.resp.started {
		c.resp.problem(500, "no_response", "the request was not answered")
	}
	over := c.exchange.Load().Err() != nil // the client has gone, or the exchange was cut: what was sent ahead is void
	if err := c.resp.end(); err != nil || c.resp.cut {
		if c.resp.ambiguous() {
			_ = c.wire.Reset()
		}
		return false
	}
	if over {
		return false
	}
	if !c.bodyRead.Load() && !c.drainBody() {
		c.linger()
		return false
	}
	if c.resp.last {
		c.linger()
		return false
	}
	return true
}

// drainBody reads and drops a short rest of the body. A client that was never told to go on may or may not send it, which
// leaves no way to find the next request. The whole rest may take as long as one piece of it.
func (c *conn) drainBody() bool {
	b := &c.body
	if b.failed.Load() || c.resp.last || c.req.ExpectContinue && !b.continued || b.Left() > drainLimit {
		return false
	}
	c.wire.ResumeRead()
	b.closed.Store(false)
	dropped := 0
	for by := time.Now().Add(millis(c.set.Timeouts.BodyIdle)); dropped <= drainLimit && time.Now().Before(by); {
		p, err := b.Next(true)
		if err != nil {
			return err == io.EOF
		}
		dropped += len(p)
	}
	return false
}

// lingerFor is how long a client may take to read its last response before the connection goes.
const lingerFor = 500 * time.Millisecond

// linger closes the connection so that the last response arrives: closing a socket with unread bytes resets it, which can
// destroy what the client has not read yet (RFC 9112 section 9.6).
func (c *conn) linger() {
	if c.wire.CloseWrite() != nil {
		return
	}
	c.wire.ResumeRead()
	c.wire.ReadBy(time.Now().Add(lingerFor), 0)
	for dropped := 0; dropped <= drainLimit; {
		c.wire.Discard(len(c.wire.Buffered()))
		if c.wire.Fill() != nil {
			return
		}
		dropped += len(c.wire.Buffered())
	}
}

// refuse answers a request that is none, and ends the connection.
func (c *conn) refuse(e *httpmsg.Error) {
	if c.srv.hooks.Refused != nil {
		c.srv.hooks.Refused(e.Status, e.Code, c.peer)
	}
	c.req.Method, c.req.Proto = "", "HTTP/1.1"
	c.resp.begin()
	c.resp.last = true
	c.resp.problem(e.Status, e.Code, e.Detail)
	if c.resp.end() == nil {
		c.linger()
	}
}

// closeIfIdle has a connection that waits for a request close itself: saying goodbye in TLS may take time.
func (c *conn) closeIfIdle() {
	if c.state.CompareAndSwap(connIdle, connClosed) {
		c.wire.InterruptRead()
	}
}

// kill ends the connection whatever it does, because the server stops.
func (c *conn) kill() {
	c.state.Store(connClosed)
	if x := c.exchange.Load(); x != nil {
		x.End(httpmsg.ErrStopped)
	}
	if multi := c.multi.Load(); multi != nil {
		multi.Kill()
	}
	c.wire.Interrupt()
	_ = c.wire.Sever()
}
