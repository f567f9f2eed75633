package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/runtime/upstream/health"
)

// Acquire chooses an endpoint and returns a connection to it: one that is idle, unless a.Fresh asks for a new one, or one it
// makes. If the endpoint has no room for another connection it looks for one that has, and waits if there is none. An endpoint
// that cannot be connected to is reported to health; what to do then is the caller's decision. Errors: ErrNoEndpoints,
// ErrUnhealthy, ErrOverloaded, ErrClosed, *DialError, or that of ctx.
func (u *Upstream) Acquire(ctx context.Context, a Ask) (*Conn, error) {
	if u.closed.Load() {
		return nil, ErrClosed
	}
	s := u.set.Load()
	var full balance.Mask
	var first *Endpoint
	for {
		i, err := u.pick(s, &a, full)
		if err != nil {
			if first != nil {
				return u.queue(ctx, first, &a)
			}
			return nil, err
		}
		e := s.members[i].Endpoint
		c, err := u.take(ctx, e, &a)
		if !errors.Is(err, errNoRoom) {
			return c, err
		}
		if first == nil {
			first, full = e, balance.NewMask(len(s.members))
		}
		full.Set(i)
	}
}

// errNoRoom says that an endpoint, or the upstream, has as many connections as it may have.
var errNoRoom = errors.New("no room for another connection")

// take gets a connection to one endpoint, if it has one or has room for one.
func (u *Upstream) take(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	if u.multiplexes(e) && !a.HTTP1 {
		return u.session(ctx, e, a)
	}
	if !a.Fresh {
		if c := e.pop(); c != nil {
			c.Reused = true
			return c.lent(), nil
		}
	}
	if u.full() || !e.reserve(u.spec.MaxConnections) {
		return nil, errNoRoom
	}
	return u.dial(ctx, e, a)
}

// full reports whether the upstream has as many connections as it may have, all endpoints together.
func (u *Upstream) full() bool {
	members := u.members()
	if len(members) == 1 && u.limits().Connections >= u.spec.MaxConnections {
		return false // the endpoint's own bound is the tighter one
	}
	open := int64(0)
	for _, m := range members {
		n, idle := m.connections()
		open += n - idle
	}
	return open >= u.limits().Connections
}

// queue waits for a connection of an endpoint that is full.
func (u *Upstream) queue(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	if u.use.pending.Add(1) > u.limits().Pending {
		u.use.pending.Add(-1)
		return nil, ErrOverloaded
	}
	defer u.use.pending.Add(-1)
	c, err := e.wait(ctx, u.connectBy(a), a.HTTP1)
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return u.dial(ctx, e, a)
	case c.H2 == nil:
		c.lent()
	}
	return c, nil
}

// connectBy is when there must be a connection.
func (u *Upstream) connectBy(a *Ask) time.Time {
	limit := time.Now().Add(u.connectTimeout())
	if !a.By.IsZero() && a.By.Before(limit) {
		return a.By
	}
	return limit
}

func (u *Upstream) connectTimeout() time.Duration {
	if u.spec.ConnectTimeout > 0 {
		return time.Duration(u.spec.ConnectTimeout) * time.Millisecond
	}
	return time.Minute
}

// dial makes a connection in room that was reserved, within the connect timeout and a.By. The room is given back on failure.
func (u *Upstream) dial(ctx context.Context, e *Endpoint, a *Ask) (*Conn, error) {
	dialing, cancel := context.WithDeadline(ctx, u.connectBy(a))
	defer cancel()
	nc, err := u.connect(dialing, e.address, u.protocols(a.HTTP1))
	if err != nil {
		return nil, e.unreached(ctx, err)
	}
	switch {
	case negotiated(nc) == "h2", u.spec.Protocol == "http2" && u.spec.Scheme == "http":
		client, err := speak(dialing, nc)
		if err != nil {
			_ = nc.Close()
			return nil, e.unreached(ctx, err)
		}
		e.agreed.Store(agreedHTTP2)
		return e.h2.adopt(client), nil
	case u.spec.Protocol == "http2":
		_ = nc.Close()
		return nil, e.unreached(ctx, errors.New("the server does not speak HTTP/2"))
	case u.spec.Protocol == "" && u.spec.Scheme == "https" && !a.HTTP1:
		e.agreed.Store(agreedHTTP1)
	}
	return e.newConn(nc).lent(), nil
}

// unreached gives back the room of a connection that could not be made, and says why there is none.
func (e *Endpoint) unreached(ctx context.Context, err error) error {
	e.forget()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.health != nil {
		e.health.Report(health.ConnectFailed)
	}
	return &DialError{e, err}
}

// protocols are what TLS offers.
func (u *Upstream) protocols(onlyHTTP1 bool) []string {
	switch {
	case u.spec.Protocol == "http2":
		return []string{"h2"}
	case u.spec.Protocol == "http1" || onlyHTTP1:
		return []string{"http/1.1"}
	}
	return []string{"h2", "http/1.1"}
}

func negotiated(nc net.Conn) string {
	if t, ok := nc.(*tls.Conn); ok {
		return t.ConnectionState().NegotiatedProtocol
	}
	return ""
}

// multiplexes reports whether the endpoint speaks HTTP/2, as far as is known.
func (u *Upstream) multiplexes(e *Endpoint) bool {
	return u.spec.Protocol == "http2" || u.spec.Protocol == "" && e.agreed.Load() == agreedHTTP2
}
