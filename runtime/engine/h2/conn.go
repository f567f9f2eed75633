package h2

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/runtime/engine/exchange"
)

const prefaceText = http2.ClientPreface

// Conn is one connection as the standard library's server sees it. It watches the frames that come in, and ends a connection whose
// client sends more of those that cost the server something, and the client nothing, than any client has use for.
type Conn struct {
	net.Conn
	server *Server
	link   Link
	base   context.Context

	in    frames
	meter meter
	ahead []byte // left of link.Ahead, or of buf
	buf   []byte
	late  uint64 // 1 + in.whole of what the read deadline is for; 0: there is none

	out     sync.Mutex // orders what the server writes and our own last word
	sent    frames
	calming chan struct{} // not nil: the last word is due as soon as no frame is half written; closed when it was said

	mu        sync.Mutex
	exchanges map[*exchange.Context]struct{}
	spared    bool // the server has asked once to close it while draining
	once      sync.Once
	over      chan struct{} // closed when the connection is
}

// readSize is how much is read at a time: a frame's header alone would cost a system call each.
const readSize = 4 << 10

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if n > 0 {
		c.in.feed(p[:n], func(h header) { c.meter.came(h, time.Now()) })
		if c.meter.flood != "" {
			return 0, c.calm(400, c.meter.flood)
		}
	}
	if c.late > 0 && timedOut(err) {
		return 0, c.calm(408, "header_timeout")
	}
	return n, err
}

// hurry gives what has begun, and stops half way, as long as a header over HTTP/1.1 may take: nobody else would miss the rest.
func (c *Conn) hurry() {
	switch {
	case !c.in.waits() && c.late > 0:
		c.late = 0
		_ = c.Conn.SetReadDeadline(time.Time{})
	case c.in.waits() && c.late != c.in.whole+1:
		c.late = c.in.whole + 1
		_, timeouts := c.server.c.Settings()
		_ = c.Conn.SetReadDeadline(time.Now().Add(millis(timeouts.ReadHeader)))
	}
}

func (c *Conn) read(p []byte) (int, error) {
	if c.link.Ahead != nil {
		c.ahead, c.link.Ahead = c.link.Ahead, nil
	}
	if len(c.ahead) == 0 {
		c.hurry()
		if len(p) >= readSize {
			return c.Conn.Read(p)
		}
		if c.buf == nil {
			c.buf = make([]byte, readSize)
		}
		n, err := c.Conn.Read(c.buf)
		if n == 0 {
			return 0, err
		}
		c.ahead = c.buf[:n] // an error comes again
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.out.Lock()
	defer c.out.Unlock()
	n, err := c.Conn.Write(p)
	useful := false
	c.sent.feed(p[:n], func(h header) {
		useful = useful || h.kind == http2.FrameData || h.kind == http2.FrameHeaders
		if h.kind == http2.FrameRSTStream {
			c.meter.blame(h)
		}
	})
	if useful {
		c.meter.answered.Store(true)
	}
	if c.calming != nil {
		c.lastWord()
	}
	return n, err
}

// floodError is what the server reads from a connection that was ended.
type floodError struct{ kind string }

// Error implements error.
func (e floodError) Error() string { return "too many frames: " + e.kind }

// calm ends the connection, and says why (RFC 9113 section 10.5).
func (c *Conn) calm(status int, kind string) error {
	if refused := c.server.c.Refused; refused != nil {
		refused(status, kind, c.link.Peer)
	}
	said := make(chan struct{})
	c.out.Lock()
	c.calming = said
	c.lastWord()
	c.out.Unlock()
	select { // the server closes the connection as soon as it knows, and not only once the frame that it writes is whole
	case <-said:
	case <-c.over:
	case <-time.After(time.Second):
	}
	c.linger()
	return floodError{kind}
}

// A client that is sent away may go on for so long, in time and in bytes, before the connection closes over what it sends.
const (
	lingerFor   = 500 * time.Millisecond
	lingerBytes = 1 << 20
)

// linger takes what the client still sends: closing a socket with unread bytes resets it, which can destroy the last word before the
// client has read it.
func (c *Conn) linger() {
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingerFor))
	p := make([]byte, 16<<10)
	for got := 0; got < lingerBytes; {
		n, err := c.Conn.Read(p)
		if err != nil {
			return
		}
		got += n
	}
}

// lastWord sends GOAWAY if no frame is half written. The caller holds out.
func (c *Conn) lastWord() {
	if c.sent.within() {
		return
	}
	_ = c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	_ = http2.NewFramer(c.Conn, nil).WriteGoAway(c.meter.last, http2.ErrCodeEnhanceYourCalm, nil)
	close(c.calming)
	c.calming = nil
}

// Close implements net.Conn. The standard library closes idle connections as soon as it is told to shut down, while the goodbye
// that it sends them, and a request that is under way to us, need the connection for a moment more: the first time is let pass.
func (c *Conn) Close() error {
	c.mu.Lock()
	spare := c.server.draining.Load() && !c.spared
	c.spared = true
	c.mu.Unlock()
	if spare {
		time.AfterFunc(settleTimeout, func() {
			if c.idle() {
				c.end()
			}
		})
		return nil
	}
	return c.end()
}

func (c *Conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.exchanges) == 0
}

// end closes the connection for good.
func (c *Conn) end() (err error) {
	c.once.Do(func() {
		err = c.Conn.Close()
		close(c.over)
	})
	return err
}
