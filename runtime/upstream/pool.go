// Package upstream keeps the connections to the endpoints of an upstream: it picks an endpoint, dials it under the address
// rules, reuses connections, and speaks HTTP/1.1 on them. It does not know routes, and it does not decide what a failure means
// for a client.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/ir"
)

// Errors of Acquire.
var (
	ErrNoEndpoints = errors.New("upstream has no endpoints")
	ErrOverloaded  = errors.New("upstream has all its connections in use")
	ErrClosed      = errors.New("upstream pool is closed")
)

// DialError says which endpoint could not be connected to.
type DialError struct {
	Endpoint string
	Err      error
}

// Error implements error.
func (e *DialError) Error() string { return "dial " + e.Endpoint + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether the endpoint did not answer in time.
func (e *DialError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

// Pool holds the connections of one upstream.
type Pool struct {
	spec      ir.Upstream
	endpoints []*endpoint
	next      atomic.Uint32
	dialer    net.Dialer
	closed    atomic.Bool
	reapMu    sync.Mutex
	reaper    *time.Timer // runs while there are idle connections
}

// endpoint is one address with its connections. The idle ones are taken last in, first out, so that surplus ones age.
type endpoint struct {
	address string
	tls     *tls.Config

	mu   sync.Mutex
	idle []*Conn
	open int64
}

// New makes a pool; it opens nothing until it is asked for a connection.
func New(u ir.Upstream) (*Pool, error) {
	p := &Pool{spec: u}
	p.dialer.ControlContext = dialguard.Control(u.PrivateAddresses)
	for _, e := range u.Endpoints {
		host, _, err := net.SplitHostPort(e.Address)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: endpoint %q: %w", u.ID, e.Address, err)
		}
		ep := &endpoint{address: e.Address}
		if u.Scheme == "https" {
			ep.tls = &tls.Config{
				ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			}
		}
		p.endpoints = append(p.endpoints, ep)
	}
	return p, nil
}

// Trust sets whom to believe about https endpoints in place of the system's roots. It must come before the first Acquire.
func (p *Pool) Trust(roots *x509.CertPool) {
	for _, e := range p.endpoints {
		if e.tls != nil {
			e.tls.RootCAs = roots
		}
	}
}

// Spec is the description the pool was made from.
func (p *Pool) Spec() *ir.Upstream { return &p.spec }

// Acquire returns a connection: an idle one, unless fresh asks for a new one, or one it dials. Endpoints take turns; one that
// cannot be connected to, or has no room, is passed over. by bounds dialling beside the connect timeout; zero means no bound.
// Errors: ErrNoEndpoints, ErrOverloaded, ErrClosed, *DialError, or the error of ctx.
func (p *Pool) Acquire(ctx context.Context, by time.Time, fresh bool) (*Conn, error) {
	n := len(p.endpoints)
	if n == 0 {
		return nil, ErrNoEndpoints
	}
	first := 0
	if n > 1 {
		first = int(p.next.Add(1) % uint32(n))
	}
	err := ErrOverloaded
	for i := range n {
		e := p.endpoints[(first+i)%n]
		if !fresh {
			if c := e.pop(p.idleTimeout()); c != nil {
				c.Reused = true
				return c, nil
			}
		}
		if p.closed.Load() {
			return nil, ErrClosed
		}
		if !e.reserve(p.spec.MaxConnections) {
			continue
		}
		c, dialErr := p.dial(ctx, by, e)
		if dialErr == nil {
			return c, nil
		}
		e.forget()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		err = &DialError{e.address, dialErr}
	}
	return nil, err
}

func (p *Pool) idleTimeout() time.Duration {
	return time.Duration(p.spec.IdleTimeout) * time.Millisecond
}

// pop takes the idle connection used last. Whether it is still good shows when it is used.
func (e *endpoint) pop(timeout time.Duration) *Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.idle) - 1
	if last < 0 {
		return nil
	}
	c := e.idle[last]
	e.idle[last] = nil
	e.idle = e.idle[:last]
	if timeout > 0 && time.Since(c.idleSince) > timeout { // then so have all below it, which are the reaper's
		_ = c.Wire.Close()
		e.open--
		return nil
	}
	return c
}

// reserve makes room for one more open connection; 0 stands for no limit.
func (e *endpoint) reserve(limit int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if limit > 0 && e.open >= limit {
		if len(e.idle) == 0 {
			return false
		}
		_ = e.idle[0].Wire.Close() // a fresh one was asked for: the oldest idle one makes room
		e.idle = append(e.idle[:0], e.idle[1:]...)
		return true
	}
	e.open++
	return true
}

func (e *endpoint) forget() {
	e.mu.Lock()
	e.open--
	e.mu.Unlock()
}

func (p *Pool) dial(ctx context.Context, by time.Time, e *endpoint) (*Conn, error) {
	if t := p.spec.ConnectTimeout; t > 0 {
		if limit := time.Now().Add(time.Duration(t) * time.Millisecond); by.IsZero() || limit.Before(by) {
			by = limit
		}
	}
	if !by.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, by)
		defer cancel()
	}
	nc, err := p.dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	if e.tls != nil {
		t := tls.Client(nc, e.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("tls handshake: %w", err)
		}
		nc = t
	}
	return newConn(p, e, wire.New(nc)), nil
}

// put takes a connection back, or closes it.
func (p *Pool) put(c *Conn, reuse bool) {
	e := c.endpoint
	e.mu.Lock()
	if !reuse || p.closed.Load() || int64(len(e.idle)) >= p.spec.MaxIdle {
		e.open--
		e.mu.Unlock()
		_ = c.Wire.Close()
		return
	}
	c.idleSince = time.Now()
	c.Wire.Rest()
	e.idle = append(e.idle, c)
	first := len(e.idle) == 1
	e.mu.Unlock()
	if first {
		p.reapLater()
	}
}

// reapLater makes sure that idle connections are looked through within the idle timeout.
func (p *Pool) reapLater() {
	timeout := p.idleTimeout()
	if timeout <= 0 {
		return
	}
	p.reapMu.Lock()
	defer p.reapMu.Unlock()
	if p.reaper == nil && !p.closed.Load() {
		p.reaper = time.AfterFunc(timeout, p.reap)
	}
}

// reap closes the connections that were idle for too long.
func (p *Pool) reap() {
	left := false
	for _, e := range p.endpoints {
		e.mu.Lock()
		old := 0
		for old < len(e.idle) && time.Since(e.idle[old].idleSince) >= p.idleTimeout() {
			_ = e.idle[old].Wire.Close()
			e.open--
			old++
		}
		e.idle = append(e.idle[:0], e.idle[old:]...)
		left = left || len(e.idle) > 0
		e.mu.Unlock()
	}
	p.reapMu.Lock()
	p.reaper = nil
	p.reapMu.Unlock()
	if left {
		p.reapLater()
	}
}

// Stats count the connections of a pool.
type Stats struct {
	Open  int64
	Idle  int64
	InUse int64
}

// Stats counts connections over all endpoints, dials under way included.
func (p *Pool) Stats() Stats {
	var s Stats
	for _, e := range p.endpoints {
		e.mu.Lock()
		s.Open += e.open
		s.Idle += int64(len(e.idle))
		e.mu.Unlock()
	}
	s.InUse = s.Open - s.Idle
	return s
}

// Close closes the idle connections; those in use are closed when their exchange ends. It is idempotent.
func (p *Pool) Close() error {
	p.closed.Store(true)
	p.reapMu.Lock()
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
	p.reapMu.Unlock()
	for _, e := range p.endpoints {
		e.mu.Lock()
		for _, c := range e.idle {
			_ = c.Wire.Close()
			e.open--
		}
		e.idle = nil
		e.mu.Unlock()
	}
	return nil
}
