// Package engine serves HTTP: it owns the listeners' connections, takes them through the PROXY protocol and TLS, reads requests
// strictly (package http1; package h2 for HTTP/2), hands each to the Handler, and writes the answers. It knows neither routes
// nor policies, and it decides nothing about a request except whether it is one.
//
// One goroutine serves an HTTP/1.1 connection, its requests in order. What costs per request is kept small: deadlines move lazily, an
// exchange is watched for a client that leaves only once it has lasted some milliseconds, and idle connections hold no buffer.
package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/h2"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// Handler answers requests. Serve may use w and r until it returns; everything it starts that uses them has to end before.
// ctx ends when the client goes away, when the server is closed, and when Serve returns.
type Handler interface {
	Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request)
}

// Settings may be changed while the server runs; a request is served under the settings of the moment it begins.
type Settings struct {
	Limits         ir.Limits
	Timeouts       ir.Timeouts
	MaxConnections int // open at the same time; 0: no limit
}

// Hooks tell what happens below the Handler. Each may be nil.
type Hooks struct {
	// Refused: a request was answered with a problem, or its connection closed, before the Handler could see it.
	Refused func(status int, code string, remote netip.AddrPort)
	// Panicked: the Handler panicked; its connection was reset.
	Panicked func(value any, stack []byte, remote netip.AddrPort)
	// HandshakeFailed: a connection never came to speak TLS with a listener. The reason is a constant, snake_case.
	HandshakeFailed func(listener, reason string, remote netip.AddrPort)
	// AcceptFailed: accepting failed, e.g. for want of file descriptors; it is tried again after a pause.
	AcceptFailed func(err error)
}

// Server serves any number of listeners with one Handler.
type Server struct {
	handler  Handler
	hooks    Hooks
	settings atomic.Pointer[Settings]
	base     context.Context
	cancel   context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	http2     map[http2Terms]*h2.Server // made when a client first speaks it
	stopping  atomic.Bool               // nothing is accepted any more, and each response says that its connection ends with it
	draining  atomic.Bool               // and a connection that waits for a request is closed
	over      bool                      // empty is closed
	empty     chan struct{}             // closed when stopping and the last connection is gone

	open    atomic.Int64
	active  atomic.Int64
	date    atomic.Pointer[dateLine]
	shards  [8]shard
	nextID  atomic.Uint32
	sweeper chan struct{} // wakes the sweeper when the first connection opens
	swept   chan struct{} // closed when the sweeper has ended
}

// New makes a server. It serves nothing until Serve, and must be closed.
func New(h Handler, s Settings, hooks Hooks) *Server {
	base, cancel := context.WithCancel(context.Background())
	srv := &Server{
		handler: h, hooks: hooks, base: base, cancel: cancel,
		listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}, http2: map[http2Terms]*h2.Server{},
		empty: make(chan struct{}), sweeper: make(chan struct{}, 1), swept: make(chan struct{}),
	}
	srv.settings.Store(&s)
	go srv.sweep()
	return srv
}

// Apply changes the settings for requests that begin from now on.
func (s *Server) Apply(settings Settings) { s.settings.Store(&settings) }

// Stats are the connections of a server.
type Stats struct {
	Open   int64 // connections
	Active int64 // exchanges under way, tunnels included
}

// Stats counts connections and exchanges.
func (s *Server) Stats() Stats {
	n := Stats{Open: s.open.Load(), Active: s.active.Load()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.http2 {
		n.Active += h.Active()
	}
	return n
}

// Serve accepts connections until the server shuts down or the listener is closed, and then returns nil. When accepting fails it
// waits a little and tries again.
func (s *Server) Serve(l Listener) error {
	s.mu.Lock()
	if s.stopping.Load() {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l.Listener] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l.Listener)
		s.checkOver()
	}()
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = shortest
			s.start(&l, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) || s.stopping.Load() {
			return nil
		}
		if s.hooks.AcceptFailed != nil {
			s.hooks.AcceptFailed(err)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, longest)
		case <-s.base.Done():
			return nil
		}
	}
}

// start serves one accepted connection.
func (s *Server) start(l *Listener, nc net.Conn) {
	c := newConn(s, l, nc)
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	n := s.open.Add(1)
	s.mu.Unlock()
	select {
	case s.sweeper <- struct{}{}:
	default:
	}
	limit := s.settings.Load().MaxConnections
	go c.serve(limit > 0 && n > int64(limit))
}

// ended forgets a connection.
func (s *Server) ended(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.open.Add(-1)
	s.checkOver()
}

// checkOver notes that the server has stopped and serves nobody any more. The caller holds mu.
func (s *Server) checkOver() {
	if s.over || s.open.Load() > 0 || !s.draining.Load() && (!s.stopping.Load() || len(s.listeners) > 0) {
		return
	}
	s.over = true
	s.draining.Store(true) // nobody comes after the last
	close(s.empty)
}

// lastCall is how long connections that wait for a request are kept when the server stops. A request may be on its way: its
// client could not tell whether it was served (RFC 9112 section 9.3.1). It is answered, with the word that it was the last.
const lastCall = 500 * time.Millisecond

// Shutdown stops accepting, closes idle connections soon, and waits until the exchanges under way have ended, each with its
// connection. When ctx ends first, it closes what is left and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	call := time.NewTimer(lastCall)
	defer call.Stop()
	select {
	case <-s.empty:
	case <-ctx.Done():
	case <-call.C:
	}
	s.drain()
	select {
	case <-s.empty:
		s.cancel()
		s.closeHTTP2()
		<-s.swept
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// stop accepts nothing any more.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Swap(true) {
		return
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	for _, h := range s.http2 {
		h.Drain()
	}
	s.checkOver()
}

// drain closes the connections that wait for a request, and each other one after its exchange.
func (s *Server) drain() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) {
		return
	}
	for c := range s.conns {
		c.closeIfIdle()
	}
	s.checkOver()
}

// Close ends everything at once and waits until it has ended. It is idempotent.
func (s *Server) Close() {
	s.drain()
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.kill()
	}
	s.mu.Unlock()
	<-s.empty
	s.closeHTTP2()
	<-s.swept
}

// Cut ends the exchanges that began before t, tunnels included, each at its own moment within spread so that their clients do not all
// come back at once, but for those whose owner (httpmsg.Bond) spare names; nil spares none. It returns how many it ends, and does not
// wait.
func (s *Server) Cut(t time.Time, spread time.Duration, why *httpmsg.Error, spare func(owner any) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		if multi := c.multi.Load(); multi != nil {
			n += multi.Cut(t, spread, why, spare)
			continue
		}
		x := c.exchange.Load()
		if x == nil || !x.Began().Before(t) || x.Err() != nil || spare != nil && spare(x.Owner()) {
			continue
		}
		n++
		time.AfterFunc(rand.N(max(spread, 1)), func() { x.End(why) }) // an exchange that is over by then does not mind
	}
	return n
}

// dateLine is a Date field for one second.
type dateLine struct {
	second int64
	line   string
}

// dateField is the Date field line for the moment, made once a second.
func (s *Server) dateField(now time.Time) string {
	second := now.Unix()
	if d := s.date.Load(); d != nil && d.second == second {
		return d.line
	}
	d := &dateLine{second, "Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") + "\r\n"}
	s.date.Store(d)
	return d.line
}
