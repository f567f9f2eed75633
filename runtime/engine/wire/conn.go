// Package wire is a connection as both sides of the gateway use it: a read buffer that exists only while there is something
// in it, deadlines that are cheap to move, a way to interrupt from outside, and message bodies on top. It knows framing,
// but neither requests nor policies.
package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sizes of pooled read buffers, in bytes. A connection starts with the small one each time it has been idle, and takes the
// large one while it carries bulk.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// ErrInterrupted is what reads and writes return after Interrupt.
var ErrInterrupted = errors.New("connection interrupted")

// Conn is a buffered connection. Reading and writing are for one goroutine each; Interrupt and Hangup are for any.
type Conn struct {
	net  net.Conn
	raw  syscall.RawConn // nil unless reads and writes may go straight to the socket: not for TLS
	sys  syscall.RawConn // the socket below, nil if there is none
	gate *Gate           // between TLS and the socket, nil if there is none

	buf   []byte
	r, w  int
	small *[smallBuffer]byte
	large *[largeBuffer]byte
	bulk  bool // the last read was a large one

	readable func(fd uintptr) bool // reads into buf; made once, as every wait needs it
	trade    func(fd uintptr) bool // sends out, then reads
	out      []byte
	sent     int
	stage    int
	n        int
	err      error

	first [1]byte // of what a TLS connection carries after it was idle

	readBy, writeBy time.Time
	interrupted     atomic.Uint32 // interruptRead, interruptWrite
	in, sentTotal   int64
}

// New wraps a connection. One that runs TLS on a Gate holds no buffer while it is idle either.
func New(nc net.Conn) *Conn {
	c := &Conn{net: nc}
	socket := Socket(nc)
	switch s := socket.(type) {
	case *net.TCPConn:
		c.sys, _ = s.SyscallConn()
	case *net.UnixConn:
		c.sys, _ = s.SyscallConn()
	}
	if socket == nc && rawReads {
		c.raw = c.sys
	}
	if t, ok := nc.(*tls.Conn); ok {
		c.gate, _ = t.NetConn().(*Gate)
	}
	c.readable, c.trade = c.onReadable, c.onTrade
	return c
}

// Socket is the connection that TLS runs on, nc itself if there is none.
func Socket(nc net.Conn) net.Conn {
	for {
		t, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = t.NetConn()
	}
}

// Net is the connection below.
func (c *Conn) Net() net.Conn { return c.net }

// BytesIn and BytesOut count what passed the connection so far.
func (c *Conn) BytesIn() int64  { return c.in }
func (c *Conn) BytesOut() int64 { return c.sentTotal }

// Buffered is what has arrived and was not consumed. It is valid until the next Fill.
func (c *Conn) Buffered() []byte { return c.buf[c.r:c.w] }

// Discard consumes n buffered bytes. The memory stays as it is until the next Fill.
func (c *Conn) Discard(n int) {
	if c.r += n; c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Fill waits for more bytes and appends them to the buffer. An idle connection holds no buffer while it waits.
func (c *Conn) Fill() error {
	c.room()
	switch {
	case c.raw != nil:
		c.n, c.err = 0, nil
		if err := c.raw.Read(c.readable); err != nil {
			return c.failure(err)
		}
	case c.gate != nil && c.r == c.w:
		c.fillBehindGate()
	default:
		if c.buf == nil {
			c.take()
		}
		c.n, c.err = c.net.Read(c.buf[c.w:])
	}
	return c.filled()
}

// filled accounts for one read.
func (c *Conn) filled() error {
	if c.n > 0 {
		c.w += c.n
		c.in += int64(c.n)
		c.bulk = c.w == len(c.buf) || c.n >= smallBuffer
		return nil
	}
	if c.err == nil {
		c.err = io.EOF
	}
	return c.failure(c.err)
}

// Read copies buffered bytes, or waits for some. Large reads of an empty buffer go past it.
func (c *Conn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if len(p) >= smallBuffer {
			n, err := c.net.Read(p)
			c.in += int64(n)
			if err != nil {
				err = c.failure(err)
			}
			return n, err
		}
		if err := c.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.Buffered())
	c.Discard(n)
	return n, nil
}

// room makes place behind w.
func (c *Conn) room() {
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
		if c.bulk && c.large == nil || !c.bulk && c.large != nil || c.buf == nil || c.small == nil && c.large == nil {
			c.release()
		}
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	default: // one thing, a head, is larger than the buffer; its limit is the caller's
		bigger := make([]byte, 2*len(c.buf))
		n := copy(bigger, c.buf[:c.w])
		c.release()
		c.buf, c.w = bigger, n
	}
}

// take gets a buffer, release gives it back. Only an empty buffer is released.
func (c *Conn) take() {
	if c.bulk {
		c.large = largeBuffers.Get().(*[largeBuffer]byte)
		c.buf = c.large[:]
		return
	}
	c.small = smallBuffers.Get().(*[smallBuffer]byte)
	c.buf = c.small[:]
}

func (c *Conn) release() {
	if c.small != nil {
		smallBuffers.Put(c.small)
	}
	if c.large != nil {
		largeBuffers.Put(c.large)
	}
	c.buf, c.small, c.large, c.r, c.w = nil, nil, nil, 0, 0
}

// Rest gives back the buffer of a connection that is put aside.
func (c *Conn) Rest() {
	if c.r == c.w {
		c.release()
	}
}

// Write sends p.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.net.Write(p)
	c.sentTotal += int64(n)
	if err != nil {
		err = c.failure(err)
	}
	return n, err
}

// WriteBuffers sends several pieces in one go.
func (c *Conn) WriteBuffers(pieces *net.Buffers) error {
	n, err := pieces.WriteTo(c.net)
	c.sentTotal += n
	if err != nil {
		err = c.failure(err)
	}
	return err
}

// failure tells an interruption from a timeout.
func (c *Conn) failure(err error) error {
	if c.interrupted.Load() != 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrInterrupted
	}
	return err
}

// ReadBy and WriteBy set deadlines: the operation fails at some moment between by and by plus slack. Moving a timer costs
// about as much as parsing a small head, so it is left alone while it already lies there. The zero time means never.
func (c *Conn) ReadBy(by time.Time, slack time.Duration) {
	if within(c.readBy, by, slack) {
		return
	}
	c.readBy = by
	if !by.IsZero() {
		c.readBy = by.Add(slack)
	}
	_ = c.net.SetReadDeadline(c.readBy) // fails on a closed connection only, as the operation will
	if c.interrupted.Load()&interruptRead != 0 {
		_ = c.net.SetReadDeadline(past)
	}
}

// WriteBy is ReadBy for writes.
func (c *Conn) WriteBy(by time.Time, slack time.Duration) {
	if within(c.writeBy, by, slack) {
		return
	}
	c.writeBy = by
	if !by.IsZero() {
		c.writeBy = by.Add(slack)
	}
	_ = c.net.SetWriteDeadline(c.writeBy)
	if c.interrupted.Load()&interruptWrite != 0 {
		_ = c.net.SetWriteDeadline(past)
	}
}

// MoveReadBy sets the deadline of a read that is under way, from another goroutine. The reader has to call ForgetReadBy
// before its next ReadBy.
func (c *Conn) MoveReadBy(by time.Time) {
	_ = c.net.SetReadDeadline(by)
	if c.interrupted.Load()&interruptRead != 0 {
		_ = c.net.SetReadDeadline(past)
	}
}

// ForgetReadBy makes the next ReadBy set its deadline whatever was set before.
func (c *Conn) ForgetReadBy() { c.readBy = past }

func within(armed, by time.Time, slack time.Duration) bool {
	if by.IsZero() || armed.IsZero() {
		return by.IsZero() && armed.IsZero()
	}
	d := armed.Sub(by)
	return d >= 0 && d <= slack
}

var past = time.Unix(1, 0)

// What Interrupt stops, as bits.
const (
	interruptRead = 1 << iota
	interruptWrite
)

// Interrupt makes pending and later operations fail at once.
func (c *Conn) Interrupt() {
	c.interrupted.Store(interruptRead | interruptWrite)
	_ = c.net.SetDeadline(past)
}

// InterruptRead is Interrupt for reading, until ResumeRead.
func (c *Conn) InterruptRead() {
	c.interrupted.Or(interruptRead)
	_ = c.net.SetReadDeadline(past)
}

// ResumeRead undoes InterruptRead once no read is pending any more; the deadline has to be set anew.
func (c *Conn) ResumeRead() {
	c.interrupted.And(^uint32(interruptRead))
	c.readBy = time.Time{}
	_ = c.net.SetReadDeadline(c.readBy)
}

// Close closes the connection. The read buffer stays with it: another goroutine may be looking at it.
func (c *Conn) Close() error { return c.net.Close() }

// Sever is Close without the word of goodbye that TLS has, and which a peer that reads nothing can hold up.
func (c *Conn) Sever() error { return Socket(c.net).Close() }

// Reset closes the connection so that the peer sees an error, not an end.
func (c *Conn) Reset() error {
	socket := Socket(c.net)
	if t, ok := socket.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	return socket.Close()
}

// CloseWrite tells the peer that nothing more comes.
func (c *Conn) CloseWrite() error {
	if h, ok := c.net.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// Next returns what is buffered, or waits for bytes. They are consumed, and valid until the next call.
func (c *Conn) Next() ([]byte, error) {
	if c.r == c.w {
		if err := c.Fill(); err != nil {
			return nil, err
		}
	}
	p := c.Buffered()
	c.Discard(len(p))
	return p, nil
}
