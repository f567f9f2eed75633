package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/runtime/upstream/health"
)

// Endpoint is one address with its connections, its load and its health. It lives as long as some set of endpoints has it.
type Endpoint struct {
	address string
	host    string // of the address
	home    *Upstream
	holders atomic.Int64
	since   atomic.Int64 // when it joined others, in Unix nanoseconds; 0: it was there from the beginning
	load    balance.Load
	health  *health.Host // nil: nobody looks
	h2      sessions

	complained atomic.Int64 // when the log was told last of a failure, in Unix nanoseconds

	agreed atomic.Int32 // what ALPN has agreed on: 0 is not known yet

	mu      sync.Mutex
	idle    []*Conn // taken last in, first out, so that surplus ones age
	open    int64   // connections of both protocols, dials under way included
	waiting []turn
	closed  bool
	reaper  *time.Timer // runs while there are idle connections
}

// turn is a place in the queue for a connection.
type turn struct {
	conn  chan *Conn // nil stands for the room of one
	http1 bool       // one that speaks HTTP/2 is of no use
}

// What ALPN has agreed on.
const (
	agreedHTTP1 = iota + 1
	agreedHTTP2
)

// String is the address.
func (e *Endpoint) String() string { return e.address }

// complaints is how far apart two lines of the log are about failures of one endpoint.
const complaints = 10 * time.Second

// Complains reports whether the log should be told of a failure: now and then it should.
func (e *Endpoint) Complains(now time.Time) bool {
	last := e.complained.Load()
	return now.UnixNano()-last >= int64(complaints) && e.complained.CompareAndSwap(last, now.UnixNano())
}

// newEndpoint makes an endpoint. It opens no connection but those of health checks. home lends it the settings that shape it,
// and is the same for all who share it.
func (u *Upstream) newEndpoint(address, host string) *Endpoint {
	e := &Endpoint{address: address, host: host, home: u}
	e.h2.endpoint = e
	if u.spec.Health == nil && u.spec.Outlier == nil {
		return e
	}
	env := u.env
	id := u.spec.ID
	c := health.HostConfig{
		Upstream: id, Address: address, Check: u.spec.Health, Outlier: u.spec.Outlier, Scheme: u.spec.Scheme, HostHeader: u.spec.Host,
		HTTP2: u.spec.Protocol == "http2",
		Now:   env.Now, Rand: env.Rand, Log: env.Log, OnEvent: func(ev health.Event) { tellHealth(env, ev) },
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			protocols := u.protocols(false)
			if u.spec.Health.Type == "grpc" {
				protocols = []string{"h2"}
			}
			return u.connect(ctx, address, protocols)
		},
	}
	if env.Observer != nil {
		c.OnCheck = func(passed bool) { env.Observer.Checked(id, passed) }
	}
	e.health = health.NewHost(c)
	return e
}

// Close closes what is idle; connections in use are closed when their exchange ends. It is idempotent.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	idle, waiting := e.idle, e.waiting
	e.idle, e.waiting = nil, nil
	e.open -= int64(len(idle))
	if e.reaper != nil {
		e.reaper.Stop()
		e.reaper = nil
	}
	e.mu.Unlock()
	for _, c := range idle {
		_ = c.Wire.Close()
	}
	for _, w := range waiting {
		close(w.conn)
	}
	e.h2.close()
	if e.health != nil {
		return e.health.Close()
	}
	return nil
}

func (e *Endpoint) idleTimeout() time.Duration {
	return time.Duration(e.home.spec.IdleTimeout) * time.Millisecond
}

// pop takes the idle connection used last. Whether it is still good shows when it is used.
func (e *Endpoint) pop() *Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.idle) - 1
	if last < 0 {
		return nil
	}
	c := e.idle[last]
	e.idle[last] = nil
	e.idle = e.idle[:last]
	if timeout := e.idleTimeout(); timeout > 0 && time.Since(c.idleSince) > timeout { // then so have all below it, which are the reaper's
		_ = c.Wire.Close()
		e.open--
		return nil
	}
	return c
}

// reserve makes room for one more open connection; 0 stands for no limit.
func (e *Endpoint) reserve(limit int64) bool {
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

// forget gives back the room of a connection that is gone; whoever waits first may have it.
func (e *Endpoint) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) > 0 {
		e.waiting[0].conn <- nil // the room is yours
		e.waiting = e.waiting[1:]
		return
	}
	e.open--
}

// takesStream reports whether a stream of HTTP/2 will do.
func (t turn) takesStream() bool { return !t.http1 }

// awaits reports whether somebody waits for a stream.
func (e *Endpoint) awaits() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.waiting, turn.takesStream)
}

// hand gives a stream to who waits first for one; false if nobody does.
func (e *Endpoint) hand(c *Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.waiting, turn.takesStream)
	if i < 0 {
		return false
	}
	e.waiting[i].conn <- c
	e.waiting = slices.Delete(e.waiting, i, i+1)
	return true
}

// put takes a connection back, hands it to who waits, or closes it.
func (e *Endpoint) put(c *Conn, reuse bool) {
	e.mu.Lock()
	reuse = reuse && !e.closed
	if reuse && len(e.waiting) > 0 {
		c.Reused = true
		e.waiting[0].conn <- c
		e.waiting = e.waiting[1:]
		e.mu.Unlock()
		return
	}
	if !reuse || int64(len(e.idle)) >= e.home.spec.MaxIdle {
		e.mu.Unlock()
		_ = c.Wire.Close()
		e.forget()
		return
	}
	c.idleSince = time.Now()
	c.Wire.Rest()
	e.idle = append(e.idle, c)
	if timeout := e.idleTimeout(); e.reaper == nil && timeout > 0 {
		e.reaper = time.AfterFunc(timeout, e.reap)
	}
	e.mu.Unlock()
}

// reap closes the connections that were idle for too long.
func (e *Endpoint) reap() {
	timeout := e.idleTimeout()
	e.mu.Lock()
	defer e.mu.Unlock()
	old := 0
	for old < len(e.idle) && time.Since(e.idle[old].idleSince) >= timeout {
		_ = e.idle[old].Wire.Close()
		e.open--
		old++
	}
	e.idle = append(e.idle[:0], e.idle[old:]...)
	e.reaper = nil
	if len(e.idle) > 0 && !e.closed {
		e.reaper = time.AfterFunc(timeout, e.reap)
	}
}

// wait queues for a connection, or for the room of one: the first to come is the first to be served. A nil connection and no
// error mean that there is room.
func (e *Endpoint) wait(ctx context.Context, by time.Time, http1 bool) (*Conn, error) {
	turn := turn{make(chan *Conn, 1), http1}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	e.waiting = append(e.waiting, turn)
	e.mu.Unlock()
	if !http1 {
		e.h2.offer() // what has become free before
		e.h2.watch()
	}
	limit := time.NewTimer(time.Until(by))
	defer limit.Stop()
	var err error
	select {
	case c, ok := <-turn.conn:
		if !ok {
			return nil, ErrClosed
		}
		return c, nil
	case <-limit.C:
		err = ErrOverloaded
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.mu.Lock()
	for i, w := range e.waiting {
		if w == turn {
			e.waiting = append(e.waiting[:i], e.waiting[i+1:]...)
			e.mu.Unlock()
			return nil, err
		}
	}
	e.mu.Unlock()
	if c, ok := <-turn.conn; ok { // it came in the last moment: somebody else shall have it
		switch {
		case c == nil:
			e.forget()
		case c.H2 != nil:
			c.Release(false)
		default:
			e.put(c, true)
		}
	}
	return nil, err
}

// connections counts what is open, idle ones included.
func (e *Endpoint) connections() (open, idle int64) {
	idle = e.h2.idle()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open, int64(len(e.idle)) + idle
}

// connect dials and, for https, shakes hands. The context bounds both.
func (u *Upstream) connect(ctx context.Context, address string, protocols []string) (net.Conn, error) {
	if u.env.Dial != nil {
		return u.env.Dial(ctx, address)
	}
	nc, err := u.dialer.DialContext(ctx, "tcp", address)
	if err != nil || u.spec.Scheme != "https" {
		return nc, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	config, err := u.tlsConfig(host)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	config.NextProtos = protocols
	t := tls.Client(nc, config)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, &handshakeError{err}
	}
	return t, nil
}

// handshakeError says that the TLS handshake failed, not the connection.
type handshakeError struct{ error }

// Error implements error.
func (e *handshakeError) Error() string { return "tls handshake: " + e.error.Error() }

// Unwrap gives the cause.
func (e *handshakeError) Unwrap() error { return e.error }

// newConn wraps a connection for exchanges over HTTP/1.1.
func (e *Endpoint) newConn(nc net.Conn) *Conn {
	c := &Conn{Wire: wire.New(nc), endpoint: e}
	c.Interrupt = c.Wire.Interrupt
	c.Body.BeforeWait = c.beforeBody
	return c
}
