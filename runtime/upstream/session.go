package upstream

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// sessions are the HTTP/2 connections to one endpoint. Each carries many exchanges; another one is made when the streams of all
// are in use.
type sessions struct {
	endpoint *Endpoint

	mu      sync.Mutex
	list    []*session
	dialing *dialing // under way; nil: none
	closed  bool
	reaper  *time.Timer

	watching bool // somebody waits for a stream
}

// session is one HTTP/2 connection. Its fields but the first are guarded by sessions.mu.
type session struct {
	client *http.ClientConn
	used   time.Time
	active int // exchanges that hold a stream
}

// dialing is an attempt to connect that others wait for.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed
}

// Bounds of an HTTP/2 connection to an upstream.
const (
	maxResponseHead = 64 << 10 // as for HTTP/1.1
	pingAfter       = 15 * time.Second
	pingTimeout     = 10 * time.Second
	// Bytes of one response that wait for a slow client. There is no bound for the connection beside it: a few slow clients would
	// reach that, and nothing would come for any other.
	streamBuffer = 256 << 10
)

// session returns a connection with a stream reserved for the caller.
func (u *Upstream) session(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	var by time.Time // for waiting
	for {
		if !a.Fresh {
			if c := e.h2.reserve(); c != nil {
				return c, nil
			}
		}
		d, mine := e.h2.begin()
		if mine {
			c, err := u.newSession(ctx, e, a)
			e.h2.end(err)
			return c, err
		}
		if by.IsZero() {
			by = u.connectBy(a)
		}
		if err := d.wait(ctx, e, by); err != nil {
			return nil, err
		}
		if c := e.h2.reserve(); c != nil {
			return c, nil
		}
		var failed *DialError
		if errors.As(d.err, &failed) { // once is enough: each of many waiting for a dial of its own would wait for all before it
			return nil, d.err
		}
	}
}

func (u *Upstream) newSession(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	if u.full() || !e.reserve(u.spec.MaxConnections) {
		return nil, errNoRoom
	}
	return u.dial(ctx, e, a)
}

// begin returns the dial that is under way, and whether it is the caller's to make.
func (s *sessions) begin() (d *dialing, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialing != nil {
		return s.dialing, false
	}
	s.dialing = &dialing{done: make(chan struct{})}
	return s.dialing, true
}

// wait waits for the end of a dial: one connection will do for many.
func (d *dialing) wait(ctx context.Context, e *Endpoint, by time.Time) error {
	limit := time.NewTimer(time.Until(by))
	defer limit.Stop()
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return &DialError{e, context.DeadlineExceeded}
	}
}

func (s *sessions) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing.err = err
	close(s.dialing.done)
	s.dialing = nil
}

// reserve finds a connection with a free stream, and drops those that have ended.
func (s *sessions) reserve() *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(x *session) bool {
		if x.client.Err() == nil {
			return false
		}
		s.drop(x)
		return true
	})
	for _, x := range s.list {
		if x.client.Reserve() == nil {
			return s.lend(x, true)
		}
	}
	return nil
}

// drop closes a connection and gives back its room. The caller holds mu, which comes before the endpoint's own lock.
func (s *sessions) drop(x *session) {
	_ = x.client.Close()
	s.endpoint.forget()
}

// lend hands out a stream that was reserved. The caller holds mu.
func (s *sessions) lend(x *session, reused bool) *Conn {
	x.used = time.Now()
	x.active++
	c := &Conn{H2: x.client, Reused: reused, endpoint: s.endpoint, session: x, reserved: true}
	return c.lent()
}

// adopt takes a connection with its first stream reserved, and lends that.
func (s *sessions) adopt(client *http.ClientConn) *Conn {
	client.SetStateHook(func(*http.ClientConn) {
		if s.endpoint.awaits() {
			go s.offer() // the hook may be called with mu held
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &session{client: client}
	if s.closed {
		return s.lend(x, false) // it ends with its exchange
	}
	s.list = append(s.list, x)
	if timeout := s.endpoint.idleTimeout(); s.reaper == nil && timeout > 0 {
		s.reaper = time.AfterFunc(timeout, s.reap)
	}
	return s.lend(x, false)
}

// speak begins HTTP/2 on a connection that is there already, in the clear or over TLS, and reserves a stream. It waits for the
// server's settings: until they are there nobody knows how many streams it takes, and it refuses those beyond.
func speak(ctx context.Context, nc net.Conn) (*http.ClientConn, error) {
	g := &greeting{Conn: nc, over: make(chan struct{})}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		Protocols: &protocols, DisableCompression: true, MaxResponseHeaderBytes: maxResponseHead,
		ExpectContinueTimeout: time.Second, // as over HTTP/1.1
		// The transport is told that all is in the clear: TLS, if any, has been spoken for below it.
		DialContext: func(context.Context, string, string) (net.Conn, error) { return g, nil },
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout, MaxReceiveBufferPerStream: streamBuffer,
		},
	}
	// golang.org/x/net has the newer copy of the same code. In the one of Go 1.26 a window update that overflows the window of a
	// stream locks the connection for good, with all that are on it.
	//lint:ignore SA1019 what it should be replaced by has the fault
	if _, err := http2.ConfigureTransports(t); err != nil {
		return nil, err
	}
	client, err := t.NewClientConn(ctx, "http", "upstream:80")
	if err != nil {
		return nil, err
	}
	select {
	case <-g.over:
		if err = client.Reserve(); err != nil {
			err = errors.New("the server does not begin as HTTP/2 does")
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// greeting is a connection on which the first thing that is written after the client's preface acknowledges the server's settings,
// unless they are in error.
type greeting struct {
	net.Conn
	once sync.Once
	over chan struct{}
}

// Write implements net.Conn.
func (g *greeting) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte(http2.ClientPreface)) {
		g.once.Do(g.end)
	}
	return g.Conn.Write(p)
}

// Close implements net.Conn.
func (g *greeting) Close() error {
	g.once.Do(g.end)
	return g.Conn.Close()
}

func (g *greeting) end() { close(g.over) }

// release takes a stream back.
func (s *sessions) release(c *Conn) {
	if c.reserved {
		c.H2.Release()
	}
	s.mu.Lock()
	x := c.session
	x.used = time.Now()
	if x.active--; s.closed && x.active == 0 {
		s.drop(x)
	}
	s.mu.Unlock()
	s.offer()
}

// offerAgain is how often streams are offered while somebody waits for one, besides when the connection says that it has some.
const offerAgain = 20 * time.Millisecond

// watch offers streams until nobody waits for one. What the connection says is not enough: it compares its state before and after a
// call of the hook, and says nothing of a stream that began and ended meanwhile.
func (s *sessions) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watching {
		return
	}
	s.watching = true
	go func() {
		for on := true; on; {
			time.Sleep(offerAgain)
			s.offer()
			s.mu.Lock()
			on = s.endpoint.awaits()
			s.watching = on
			s.mu.Unlock()
		}
	}()
}

// offer hands streams that have become free, and the room of connections that have ended, to those who wait for them.
func (s *sessions) offer() {
	for s.endpoint.awaits() {
		c := s.reserve()
		if c == nil {
			return
		}
		if !s.endpoint.hand(c) {
			c.Release(false)
		}
	}
}

// reap closes the connections that were idle for too long.
func (s *sessions) reap() {
	timeout := s.endpoint.idleTimeout()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(x *session) bool {
		if x.client.Err() == nil && (x.active > 0 || time.Since(x.used) < timeout) {
			return false
		}
		s.drop(x)
		return true
	})
	s.reaper = nil
	if len(s.list) > 0 && !s.closed {
		s.reaper = time.AfterFunc(timeout, s.reap)
	}
}

// idle counts the connections without a stream.
func (s *sessions) idle() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(0)
	for _, x := range s.list {
		if x.active == 0 {
			n++
		}
	}
	return n
}

// close closes what is idle; the rest ends with its last exchange.
func (s *sessions) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.reaper != nil {
		s.reaper.Stop()
		s.reaper = nil
	}
	for _, x := range s.list {
		if x.active == 0 {
			s.drop(x)
		}
	}
	s.list = nil
}
