// Package h2 serves HTTP/2 to clients, on connections that somebody else has accepted and secured. Framing, flow control and
// HPACK are the standard library's; what a request must look like is package http1's, so that one set of rules holds whatever
// carried it. It knows neither routes nor policies.
package h2

import (
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/exchange"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// Config is what a Server goes by. Handler and Settings are required.
type Config struct {
	Handler  func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request)
	Settings func() (ir.Limits, ir.Timeouts) // asked as each request begins
	// Refused: a request was answered with a problem, or its connection was closed, before the Handler could see it.
	Refused func(status int, code string, peer netip.AddrPort)
	// Panicked: the Handler panicked; the stream was reset.
	Panicked func(value any, stack []byte, peer netip.AddrPort)

	// What holds for a connection from its first byte to its last.
	MaxStreams  int64         // at a time on one connection
	HeaderBytes int64         // above what Settings allow, so that most of what is too long is answered with a problem
	KeepAlive   time.Duration // without a stream
	WriteIdle   time.Duration // a client that takes nothing for so long has gone
}

// Bounds that no user sets.
const (
	headerTable   = 4 << 10   // of HPACK, bytes
	frameSize     = 16 << 10  // bytes
	streamBuffer  = 256 << 10 // of one request body that nobody reads, bytes
	connBuffer    = 1 << 20   // of all of them on one connection
	pingAfter     = 30 * time.Second
	pingTimeout   = 15 * time.Second
	settleTimeout = 10 * time.Second // from a graceful end to a hard one, if a client does not take part in it
)

// Server serves connections with the same settings.
type Server struct {
	c      Config
	http   *http.Server
	intake *intake
	stop   context.CancelFunc // of the goodbye
	stops  context.Context
	ends   sync.WaitGroup

	draining atomic.Bool
	active   atomic.Int64
}

// New makes a server. It must be closed.
func New(c Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{c: c, intake: &intake{conns: make(chan net.Conn), shut: make(chan struct{})}, stop: cancel, stops: ctx}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // TLS, if any, has been spoken below
	s.http = &http.Server{
		Handler: s, Protocols: &protocols, ErrorLog: log.New(io.Discard, "", 0),
		MaxHeaderBytes: int(c.HeaderBytes), IdleTimeout: c.KeepAlive,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc.(*Conn))
		},
		ConnState: func(_ net.Conn, to http.ConnState) {
			switch to {
			case http.StateNew:
				s.ends.Add(1)
			case http.StateClosed:
				s.ends.Done()
			}
		},
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: int(c.MaxStreams), MaxDecoderHeaderTableSize: headerTable, MaxEncoderHeaderTableSize: headerTable,
			MaxReadFrameSize: frameSize, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: connBuffer,
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: c.WriteIdle,
		},
	}
	s.ends.Go(func() { _ = s.http.Serve(s.intake) }) // it ends when the server is shut down
	return s
}

type connKey struct{}

// Active counts the exchanges under way.
func (s *Server) Active() int64 { return s.active.Load() }

// Drain tells every client that no further request is served on its connection; the streams under way end by themselves, and
// with the last one the connection. It does not wait.
func (s *Server) Drain() {
	if s.draining.Swap(true) {
		return
	}
	s.ends.Go(func() {
		ctx, cancel := context.WithTimeout(s.stops, settleTimeout)
		defer cancel()
		_ = s.http.Shutdown(ctx) // it says goodbye at once; for the end of the streams its caller waits
	})
}

// Close ends every connection, and waits until nothing runs any more. A connection that is being ended for an error of its client
// takes up to a second.
func (s *Server) Close() {
	s.draining.Store(true)
	s.stop()
	_ = s.http.Close()
	_ = s.intake.Close()
	s.ends.Wait()
}

// intake hands connections to the standard library's server as a listener does.
type intake struct {
	conns chan net.Conn
	once  sync.Once
	shut  chan struct{}
}

// Accept implements net.Listener.
func (l *intake) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.shut:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *intake) Close() error {
	l.once.Do(func() { close(l.shut) })
	return nil
}

// Addr implements net.Listener.
func (l *intake) Addr() net.Addr { return &net.TCPAddr{} }

// Link says where a connection comes from.
type Link struct {
	Scheme string
	Peer   netip.AddrPort
	Ahead  []byte // what was read of it already
}

// Conn makes the connection that Serve serves.
func (s *Server) Conn(nc net.Conn, l Link) *Conn {
	c := &Conn{Conn: nc, server: s, link: l, over: make(chan struct{}), exchanges: map[*exchange.Context]struct{}{}}
	c.in.preface = len(prefaceText)
	return c
}

// errDraining says that a connection came too late.
var errDraining = errors.New("the server accepts no connection any more")

// Serve serves the connection until it ends. base is the context of all its exchanges.
func (c *Conn) Serve(base context.Context) error {
	c.base = base
	select {
	case c.server.intake.conns <- c:
	case <-c.server.intake.shut:
		_ = c.Conn.Close()
		return errDraining
	}
	<-c.over
	return nil
}

// Cut is Server.Cut of package engine for the exchanges of one connection.
func (c *Conn) Cut(t time.Time, spread time.Duration, why *httpmsg.Error, spare func(owner any) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for x := range c.exchanges {
		if !x.Began().Before(t) || x.Err() != nil || spare != nil && spare(x.Owner()) {
			continue
		}
		n++
		time.AfterFunc(rand.N(max(spread, 1)), func() { x.End(why) }) // an exchange that is over by then does not mind
	}
	return n
}

// Kill ends the connection and all its exchanges at once, because the server stops.
func (c *Conn) Kill() {
	c.mu.Lock()
	for x := range c.exchanges {
		go x.End(httpmsg.ErrStopped)
	}
	c.mu.Unlock()
	c.end()
}

func (c *Conn) begin(x *exchange.Context) {
	c.server.active.Add(1)
	c.mu.Lock()
	c.exchanges[x] = struct{}{}
	c.mu.Unlock()
}

func (c *Conn) finish(x *exchange.Context) {
	c.mu.Lock()
	delete(c.exchanges, x)
	c.mu.Unlock()
	c.server.active.Add(-1)
}
