package httptarget

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/upstream"
)

// continueWait is how long a body is held back for an upstream that was asked to say 100 (Continue) and may not know it.
const continueWait = time.Second

// uplinkSize is the size of the pieces of a long body, in bytes.
const uplinkSize = 32 << 10

var uplinkBuffers = sync.Pool{New: func() any { return new([uplinkSize]byte) }}

// clientError is a failure of the client's body: it decides the answer, whatever the upstream says.
type clientError struct{ cause *httpmsg.Error }

// Error implements error.
func (e *clientError) Error() string { return "request body: " + e.cause.Error() }

// fromClient wraps what reading the client's body returned.
func fromClient(err error) error {
	var known *httpmsg.Error
	if errors.As(err, &known) {
		return &clientError{known}
	}
	return &clientError{&httpmsg.Error{Status: 500, Code: "request_body_failed", Detail: "the request body could not be read"}}
}

// uplink copies a long body to the upstream while the response is awaited and read.
type uplink struct {
	c    *call
	conn *upstream.Conn
	goOn chan struct{} // closed by 100 (Continue)
	quit chan struct{}
	done chan struct{}
	once sync.Once
	fail error // of the client's body; read after done

	reading atomic.Bool // more of the client's body is waited for

	mu      sync.Mutex
	begun   bool // the client's body is read from
	stopped bool // it must not be any more
	waiting bool // the head of the response has not come
	over    bool // nothing more is sent
	sent    bool // the whole request was sent
}

// sendStreaming sends what there is of the request, starts copying the rest, and waits for the first bytes of the answer. sent
// reports whether anything went out.
func (c *call) sendStreaming() (sent bool, err error) {
	conn := c.conn
	if conn.Reused && conn.Wire.Hangup() {
		return false, wire.ErrStale
	}
	conn.WriteBy(time.Now(), c.by, c.t.idle)
	if _, err := conn.Wire.Write(*c.out); err != nil {
		return true, err
	}
	u := &uplink{
		c: c, conn: conn,
		goOn: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{}),
	}
	c.up = u
	go u.run()
	return true, u.await()
}

// await waits for the first bytes of the answer, or of the next one after a 1xx. The header timeout counts from the end of the
// request.
func (u *uplink) await() error {
	c, conn := u.c, u.conn
	u.mu.Lock()
	if u.waiting = !u.over; u.waiting {
		conn.ReadBy(time.Time{}, c.trying.by, 0)
	} else {
		conn.ReadBy(time.Now(), c.trying.by, c.t.header)
	}
	u.mu.Unlock()
	err := conn.Wire.Fill()
	u.mu.Lock()
	u.waiting = false
	u.mu.Unlock()
	conn.Wire.ForgetReadBy()
	if err == nil {
		conn.ReadBy(time.Now(), c.trying.by, c.t.header)
	}
	return err
}

// proceed tells the uplink that the upstream wants the body.
func (u *uplink) proceed() { u.once.Do(func() { close(u.goOn) }) }

// run copies the body.
func (u *uplink) run() {
	defer close(u.done)
	if u.c.held && !u.awaitContinue() || !u.begin() {
		return
	}
	u.c.spent = true
	buf := uplinkBuffers.Get().(*[uplinkSize]byte)
	defer uplinkBuffers.Put(buf)
	for {
		u.reading.Store(true)
		n, err := u.c.r.Body.Read(buf[:])
		u.reading.Store(false)
		if n > 0 && u.write(buf[:n]) != nil {
			u.finish(false) // the upstream may have answered without wanting the rest: reading the response tells
			return
		}
		switch {
		case err == io.EOF:
			u.finish(u.last() == nil)
			return
		case err != nil:
			select {
			case <-u.quit: // it was closed
			default:
				u.fail = fromClient(err)
				u.conn.Interrupt()
			}
			return
		}
	}
}

// awaitContinue waits for the upstream to ask for the body.
func (u *uplink) awaitContinue() bool {
	patience := time.NewTimer(continueWait)
	defer patience.Stop()
	select {
	case <-u.goOn:
	case <-patience.C:
	case <-u.quit:
		return false
	}
	return true
}

// write sends one piece.
func (u *uplink) write(p []byte) error {
	u.conn.WriteBy(time.Now(), u.c.by, u.c.t.idle)
	if !u.c.chunked {
		_, err := u.conn.Wire.Write(p)
		return err
	}
	var size [20]byte
	pieces := net.Buffers{http1.AppendChunkSize(size[:0], len(p)), p, []byte("\r\n")}
	return u.conn.Wire.WriteBuffers(&pieces)
}

// last sends what marks the end of the body.
func (u *uplink) last() error {
	if !u.c.chunked {
		return nil
	}
	_, err := u.conn.Wire.Write(http1.AppendLastChunk(nil, u.c.requestTrailer()))
	return err
}

// begin reports whether the client's body may be read. What was never read from is there for another attempt.
func (u *uplink) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.begun = !u.stopped
	return u.begun
}

// finish ends the sending. From now on the upstream has the header timeout to answer.
func (u *uplink) finish(sent bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over, u.sent = true, sent
	if u.waiting && u.c.t.header > 0 {
		by := time.Now().Add(u.c.t.header)
		if limit := u.c.trying.by; !limit.IsZero() && limit.Before(by) {
			by = limit
		}
		u.conn.Wire.MoveReadBy(by)
	}
}

// complete reports whether the whole request was sent, without waiting.
func (u *uplink) complete() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent
}

// end stops the copying, if it still goes on, and returns what was wrong with the client's body. If it was cut short neither
// connection knows where the request ends: the upstream's is closed by the caller, the client's is the engine's business.
func (u *uplink) end() error {
	select {
	case <-u.done:
		return u.fail
	default:
	}
	u.mu.Lock()
	sent, begun := u.sent, u.begun
	u.stopped = true
	u.mu.Unlock()
	if !sent {
		close(u.quit)
		if b, ok := u.c.r.Body.(io.Closer); ok && begun {
			_ = b.Close()
		}
		u.conn.Interrupt()
	}
	<-u.done
	return u.fail
}
