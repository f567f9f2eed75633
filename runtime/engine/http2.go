package engine

import (
	"bytes"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/runtime/engine/h2"
	"github.com/suuupra/gateway/schema/ir"
)

// http2Terms are the settings that hold for a connection of HTTP/2 from its first byte to its last.
type http2Terms struct {
	streams, headerBytes, keepAlive, bodyIdle int64
}

// defaultStreams is how many streams a connection may have at a time where its listener says nothing.
const defaultStreams = 100

// speaksHTTP2 reports whether the client does: because TLS agreed on it, or because it begins with the preface where that is
// allowed. What was read stays in the connection's buffer.
func (c *conn) speaksHTTP2() bool {
	if c.h2 || c.listener.TLS != nil || !c.listener.HTTP2.Cleartext {
		return c.h2
	}
	c.wire.ReadBy(time.Now().Add(millis(c.set.Timeouts.ReadHeader)), 0)
	for {
		got := c.wire.Buffered()
		if len(got) >= len(http2.ClientPreface) {
			return bytes.HasPrefix(got, []byte(http2.ClientPreface))
		}
		if !strings.HasPrefix(http2.ClientPreface, string(got)) || c.wire.Fill() != nil { // a failure comes again
			return false
		}
	}
}

// serveHTTP2 hands the connection over until it ends.
func (c *conn) serveHTTP2() {
	if !c.state.CompareAndSwap(connIdle, connBusy) {
		return
	}
	server := c.srv.speaker(c)
	if server == nil {
		return
	}
	nc := c.wire.Net()
	_ = nc.SetDeadline(time.Time{})
	_ = nc.SetReadDeadline(time.Now().Add(millis(c.set.Timeouts.ReadHeader))) // for the preface; then the server's own hold
	multi := server.Conn(nc, h2.Link{Scheme: c.scheme, Peer: c.peer, Ahead: bytes.Clone(c.wire.Buffered())})
	c.wire.Discard(len(c.wire.Buffered()))
	c.wire.Rest()
	c.multi.Store(multi)
	_ = multi.Serve(c.srv.base) // however it ended, it has
}

// speaker returns the server for the settings of the moment; nil if the engine is stopping.
func (s *Server) speaker(c *conn) *h2.Server {
	set := s.settings.Load()
	terms := http2Terms{c.listener.HTTP2.MaxStreams, set.Limits.HeaderBytes, set.Timeouts.KeepAlive, set.Timeouts.BodyIdle}
	if terms.streams <= 0 {
		terms.streams = defaultStreams
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return nil
	}
	server := s.http2[terms]
	if server == nil {
		server = h2.New(h2.Config{
			Handler: s.handler.Serve, Refused: s.hooks.Refused, Panicked: s.hooks.Panicked,
			Settings: func() (ir.Limits, ir.Timeouts) {
				set := s.settings.Load()
				return set.Limits, set.Timeouts
			},
			MaxStreams: terms.streams, HeaderBytes: 2 * terms.headerBytes, KeepAlive: millis(terms.keepAlive), WriteIdle: millis(terms.bodyIdle),
		})
		s.http2[terms] = server
	}
	return server
}

// closeHTTP2 ends what the servers of HTTP/2 run. Their connections have ended.
func (s *Server) closeHTTP2() {
	s.mu.Lock()
	servers := s.http2
	s.http2 = map[http2Terms]*h2.Server{}
	s.mu.Unlock()
	for _, h := range servers {
		h.Close()
	}
}
