package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// sessions are the HTTP/2 connections to one endpoint. Each carries many exchanges; another one is made when the streams of all
// are in use.
type sessions struct {
	endpoint *Endpoint

	mu      sync.Mutex
	list    []*session
	dialing chan struct{} // closed when the dial under way has ended; nil: there is none
	closed  bool
	reaper  *time.Timer
}

// session is one HTTP/2 connection.
type session struct {
	client *http.ClientConn
	used   time.Time // guarded by sessions.mu
}

// Bounds of an HTTP/2 connection to an upstream.
const (
	maxResponseHead = 64 << 10 // as for HTTP/1.1
	pingAfter       = 15 * time.Second
	pingTimeout     = 10 * time.Second
	streamBuffer    = 256 << 10 // bytes of one response that wait for a slow client
	sessionBuffer   = 4 << 20
)

// session returns a connection with a stream reserved for the caller.
func (u *Upstream) session(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	for {
		if !a.Fresh {
			if c := e.h2.reserve(); c != nil {
				return c, nil
			}
		}
		wait, mine := e.h2.begin()
		if !mine {
			select {
			case <-wait: // somebody dials already: one connection will do for many
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if c := e.h2.reserve(); c != nil {
				return c, nil
			}
			continue
		}
		c, err := u.newSession(ctx, e, a)
		e.h2.end()
		return c, err
	}
}

func (u *Upstream) newSession(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	if u.full() || !e.reserve(u.spec.MaxConnections) {
		return nil, errNoRoom
	}
	nc, err := u.reach(ctx, e, a)
	if err != nil {
		return nil, err
	}
	if u.spec.Scheme == "https" && negotiated(nc) != "h2" {
		if u.spec.Protocol == "http2" {
			_ = nc.Close()
			e.forget()
			return nil, &DialError{e, errors.New("the server does not speak HTTP/2")}
		}
		e.agreed.Store(agreedHTTP1) // it did before
		return e.newConn(nc).lent(), nil
	}
	return e.h2.adopt(ctx, nc)
}

// begin reports whether the caller is the one to dial; if not, it gets what to wait for.
func (s *sessions) begin() (wait <-chan struct{}, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialing != nil {
		return s.dialing, false
	}
	s.dialing = make(chan struct{})
	return nil, true
}

func (s *sessions) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.dialing)
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

func (s *sessions) lend(x *session, reused bool) *Conn {
	x.used = time.Now()
	c := &Conn{H2: x.client, Reused: reused, endpoint: s.endpoint, session: x, reserved: true}
	return c.lent()
}

// adopt speaks HTTP/2 on a connection, and lends its first stream.
func (s *sessions) adopt(ctx context.Context, nc net.Conn) (*Conn, error) {
	client, err := speak(ctx, nc)
	if err == nil {
		err = client.Reserve()
	}
	if err != nil {
		_ = nc.Close()
		s.endpoint.forget()
		return nil, &DialError{s.endpoint, err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &session{client: client}
	if s.closed {
		return s.lend(x, false), nil // it ends with its exchange
	}
	s.list = append(s.list, x)
	if timeout := s.endpoint.idleTimeout(); s.reaper == nil && timeout > 0 {
		s.reaper = time.AfterFunc(timeout, s.reap)
	}
	return s.lend(x, false), nil
}

// speak begins HTTP/2 on a connection that is there already, in the clear or over TLS.
func speak(ctx context.Context, nc net.Conn) (*http.ClientConn, error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		Protocols: &protocols, DisableCompression: true, MaxResponseHeaderBytes: maxResponseHead,
		ExpectContinueTimeout: time.Second, // as over HTTP/1.1
		// The transport is told that all is in the clear: TLS, if any, has been spoken for below it.
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil },
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
			MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: sessionBuffer,
		},
	}
	return t.NewClientConn(ctx, "http", "upstream:80")
}

// release takes a stream back.
func (s *sessions) release(c *Conn) {
	if c.reserved {
		c.H2.Release()
	}
	s.mu.Lock()
	c.session.used = time.Now()
	orphan := s.closed
	s.mu.Unlock()
	if orphan && c.H2.InFlight() == 0 {
		_ = c.H2.Close()
	}
}

// reap closes the connections that were idle for too long.
func (s *sessions) reap() {
	timeout := s.endpoint.idleTimeout()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(x *session) bool {
		if x.client.Err() == nil && (x.client.InFlight() > 0 || time.Since(x.used) < timeout) {
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
		if x.client.InFlight() == 0 {
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
		if x.client.InFlight() == 0 {
			s.drop(x)
		}
	}
	s.list = nil
}
