package redisstate

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// What a reply may announce. The driver makes room for whatever length it reads before anything of that length has come, and a length
// that no memory holds ends the process: there is no panic to recover from.
const (
	mostText     = 1 << 20 // bytes
	mostElements = 100_000 // of a reply, those of the lists in it together; a cluster's slots are 16,384 at the most
)

var errLength = errors.New("the server announces a longer reply than any it should have")

// bounding dials like another dialer, and bounds what comes over its connections.
func bounding(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &bounded{Conn: c}, nil
	}
}

// dialer connects as the driver would by itself.
func dialer(at *location) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return bounding(redis.NewDialer(&redis.Options{DialTimeout: ioTimeout, TLSConfig: at.tls}))
}

// bounded is a connection that follows the lengths in what the server says (RESP, https://redis.io/docs/latest/develop/reference/protocol-spec/),
// and fails at one that is too large before the driver sees it. One goroutine reads at a time.
type bounded struct {
	net.Conn
	lengths lengths
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if bad := b.lengths.follow(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// SyscallConn implements syscall.Conn: the driver looks there whether a connection that was idle is still good.
func (b *bounded) SyscallConn() (syscall.RawConn, error) {
	inner := b.Conn
	if t, ok := inner.(interface{ NetConn() net.Conn }); ok { // TLS
		inner = t.NetConn()
	}
	c, ok := inner.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return c.SyscallConn()
}

// lengths is the place in a stream of replies.
type lengths struct {
	skip     int64 // bytes of a text that are still to come, with the line end behind it
	kind     byte  // of the line that is read; 0: one begins
	n        int64 // its number
	negative bool
	open     int64 // elements of the reply that are still to come
}

// follow reads on.
func (l *lengths) follow(p []byte) error {
	for len(p) > 0 {
		if l.skip > 0 {
			some := min(l.skip, int64(len(p)))
			l.skip -= some
			p = p[some:]
			continue
		}
		if err := l.next(p[0]); err != nil {
			return err
		}
		p = p[1:]
	}
	return nil
}

func (l *lengths) next(c byte) error {
	text, list := l.is()
	switch {
	case l.kind == 0:
		l.kind, l.n, l.negative = c, 0, false
		l.open = max(l.open-1, 0) // a reply that stands alone is none of another's
	case c == '\n':
		if !l.negative && text {
			l.skip = l.n + 2
		}
		if !l.negative && list {
			l.open += l.n
		}
		l.kind = 0
		if l.open > mostElements {
			return errLength
		}
	case c == '-':
		l.negative = true
	case (text || list) && '0' <= c && c <= '9':
		if l.n = 10*l.n + int64(c-'0'); text && l.n > mostText || list && l.n > mostElements {
			return errLength
		}
	}
	return nil
}

// is reports whether the line announces a text or a list.
func (l *lengths) is() (text, list bool) {
	switch l.kind {
	case '$', '=', '!':
		return true, false
	case '*', '%', '~', '>', '|':
		return false, true
	}
	return false, false
}
