package httptarget

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/upstream"
)

// stream2 is an exchange on a connection that speaks HTTP/2.
type stream2 struct {
	c      *call
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // strikes when the upstream has had its time
	body   *body2      // of the request; nil: none
	resp   *upstream.Reply
	buf    *[uplinkSize]byte
	slow   atomic.Bool // the time was up while the client's body was waited for

	mu       sync.Mutex // what follows is used by who sends the body, and by who reads the connection, too
	headed   bool       // the header of the response has come, or will not
	passed   int        // 1xx responses
	informed bool       // the client gets one of them
	hints    []hint     // that it is still to get
	telling  chan struct{}
}

// hint is a 1xx response.
type hint struct {
	status int
	header *httpmsg.Header
}

// send2 is send over HTTP/2.
func (c *call) send2() (harmless bool, err error) {
	s := &stream2{c: c}
	c.h2 = s
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	s.timer = time.AfterFunc(time.Hour, s.timeUp)
	s.timer.Stop()
	m := s.message()
	if c.whole {
		s.within(c.t.header, c.trying.by)
	} else {
		s.within(0, c.trying.by)
	}
	resp, err := c.conn.RoundTrip(s.ctx, m, s.pass)
	s.settle()
	if err != nil {
		err = s.explain(err)
		if errors.Is(err, wire.ErrStale) {
			return s.body == nil || !s.body.touched.Load(), err
		}
		// As over HTTP/1.1, if it was the connection that ended. A stream that was reset is an answer.
		lost := errors.Is(err, io.ErrUnexpectedEOF) && c.conn.H2.Err() != nil
		return lost && !c.informed && c.whole && c.repeatable(), err
	}
	s.resp = resp
	c.x.Timings.UpstreamHeader = time.Now()
	c.resp.Status, c.resp.Header, c.resp.ContentLength = resp.Status, resp.Header, resp.Length
	return false, nil
}

// message says over HTTP/2 what the head in out says over HTTP/1.1, so that there is one account of what goes upstream.
func (s *stream2) message() *upstream.Message {
	c := s.c
	line, rest, _ := strings.Cut(string((*c.out)[:c.head]), "\r\n")
	m := &upstream.Message{Method: c.r.Method, Length: c.r.ContentLength, Fields: make([]httpmsg.Field, 0, len(c.r.Header.Fields)+8)}
	m.Path, m.RawQuery, _ = strings.Cut(strings.TrimSuffix(line[len(c.r.Method)+1:], " HTTP/1.1"), "?")
	for field := range strings.SplitSeq(strings.TrimSuffix(rest, "\r\n\r\n"), "\r\n") {
		name, value, _ := strings.Cut(field, ": ")
		switch strings.ToLower(name) {
		case "host":
			m.Host = value
		case "content-length", "transfer-encoding", "connection":
		case "trailer":
			for name := range strings.SplitSeq(value, ",") {
				m.Trailers = append(m.Trailers, strings.TrimSpace(name))
			}
		default:
			m.Fields = append(m.Fields, httpmsg.Field{Name: name, Value: value})
		}
	}
	if c.r.Body != nil {
		s.body = &body2{s: s, ahead: *bytes.NewReader(c.gathered())}
		m.Body = s.body
		m.Trailer = func() *httpmsg.Header { return s.body.trailer }
	}
	return m
}

// timeUp ends the stream. Who waited for what must be noted before that ends the waiting.
func (s *stream2) timeUp() {
	s.slow.Store(s.body != nil && s.body.reading.Load())
	s.cancel(os.ErrDeadlineExceeded)
}

// within gives the upstream time: after, and no longer than by. Zero stands for no bound.
func (s *stream2) within(after time.Duration, by time.Time) {
	if !by.IsZero() {
		if left := time.Until(by); after <= 0 || left < after {
			after = max(left, 1)
		}
	}
	if after > 0 {
		s.timer.Reset(after)
	}
}

// allow gives the upstream time for the next step of a request that goes out in pieces, until the header has come.
func (s *stream2) allow(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.headed {
		s.timer.Stop()
		s.within(after, s.c.trying.by)
	}
}

// settle ends the wait for the header. The client has got every 1xx response when it returns.
func (s *stream2) settle() {
	s.mu.Lock()
	s.headed = true
	s.timer.Stop()
	telling := s.telling
	s.c.informed = s.c.informed || s.informed
	s.mu.Unlock()
	if telling != nil {
		<-telling
	}
}

// sending reports whether some of the request is still to be sent.
func (s *stream2) sending() bool { return s.body != nil && !s.body.sent.Load() }

// explain makes of what the connection reports what it means.
func (s *stream2) explain(err error) error {
	if why := context.Cause(s.ctx); why != nil && s.c.ctx.Err() == nil {
		return why // the time was over
	}
	if err = upstream.Explain(err); errors.Is(err, upstream.ErrHeaderTooLarge) {
		return &clientError{http1.ErrHeaderSize}
	}
	return err
}

// pass takes a 1xx response. Its caller reads for every stream of the connection, and must not wait for one client.
func (s *stream2) pass(status int, h *httpmsg.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed++; s.headed || s.passed > maxInformational {
		return errFlood
	}
	switch status {
	case 100:
		return nil // the client gets it when its body is read
	case 101:
		return errUnexpected // RFC 9113 section 8.6; the client would take what follows for another protocol
	}
	s.informed = true
	s.hints = append(s.hints, hint{status, h})
	if s.telling == nil {
		s.telling = make(chan struct{})
		go s.tell()
	}
	return nil
}

// tell hands 1xx responses on, until there are no more for the moment.
func (s *stream2) tell() {
	for {
		s.mu.Lock()
		if len(s.hints) == 0 {
			close(s.telling)
			s.telling = nil
			s.mu.Unlock()
			return
		}
		h := s.hints[0]
		s.hints = s.hints[1:]
		s.mu.Unlock()
		if s.c.w.Informational(h.status, h.header) != nil {
			s.cancel(httpmsg.ErrClientClosed)
		}
	}
}

// next reads what comes next of the response's body, valid until the next call.
func (s *stream2) next() ([]byte, error) {
	if s.buf == nil {
		s.buf = uplinkBuffers.Get().(*[uplinkSize]byte)
	}
	s.within(s.c.t.idle, s.c.by)
	n, err := s.resp.Body.Read(s.buf[:])
	s.timer.Stop()
	if n > 0 {
		return s.buf[:n], nil // an error comes again
	}
	if err != nil && err != io.EOF {
		err = s.explain(err)
	}
	return nil, err
}

// end ends the stream, and returns what was wrong with the client's body. Nothing of the exchange is used afterwards.
func (s *stream2) end() error {
	s.timer.Stop()
	var fail error
	if s.body != nil {
		fail = s.body.end()
	}
	s.cancel(context.Canceled)
	if s.resp != nil {
		_ = s.resp.Body.Close()
	}
	if s.buf != nil {
		uplinkBuffers.Put(s.buf)
		s.buf = nil
	}
	return fail
}

// body2 is the body of a request as the connection reads it: what was gathered, then the client's.
type body2 struct {
	s *stream2

	mu      sync.Mutex // held while something is read
	ahead   bytes.Reader
	trailer *httpmsg.Header // of the client's body, once that was read to its end
	fail    error           // of the client's body

	gate    sync.Mutex // orders closing the client's body and the end of the exchange
	ended   bool
	closed  atomic.Bool // whoever reads finds an error that is not the client's
	sent    atomic.Bool // all of it was read
	touched atomic.Bool // the client's part was read from
	reading atomic.Bool // more of the client's part is waited for
}

// Read implements io.Reader.
func (b *body2) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	c := b.s.c
	if n, _ := b.ahead.Read(p); n > 0 {
		b.took()
		return n, nil
	}
	if c.whole || b.sent.Load() {
		return 0, b.over()
	}
	b.touched.Store(true)
	if b.closed.Load() { // after touched: either this sees it, or cut sees that
		return 0, io.ErrClosedPipe
	}
	b.s.allow(0)
	b.reading.Store(true)
	n, err := c.r.Body.Read(p)
	b.reading.Store(false)
	if n > 0 {
		b.took()
	}
	switch {
	case err == io.EOF && n > 0:
		return n, nil // it comes again
	case err == io.EOF:
		return 0, b.over()
	case err != nil && !b.closed.Load():
		b.fail = fromClient(err)
	}
	return n, err
}

// took notes that the upstream has a piece to take. It may be long about it, but not for ever.
func (b *body2) took() {
	if c := b.s.c; !c.whole {
		b.s.allow(c.t.idle)
	}
}

// over notes that the whole request was sent. From now on the upstream has the header timeout to answer.
func (b *body2) over() error {
	c := b.s.c
	if b.sent.Load() {
		return io.EOF
	}
	b.trailer = c.requestTrailer()
	b.sent.Store(true)
	if !c.whole {
		b.s.allow(c.t.header)
	}
	return io.EOF
}

// Close implements io.Closer: the connection wants no more of the body, and may wait for who reads it.
func (b *body2) Close() error {
	b.gate.Lock()
	defer b.gate.Unlock()
	if !b.ended {
		b.cut()
	}
	return nil
}

// cut wakes who reads the client's body. The caller holds gate.
func (b *body2) cut() {
	if b.sent.Load() || b.closed.Swap(true) {
		return
	}
	if closer, ok := b.s.c.r.Body.(io.Closer); ok && b.touched.Load() { // what was not read from is there for another attempt
		_ = closer.Close()
	}
}

// end waits until nobody reads the client's body any more, and returns what was wrong with it.
func (b *body2) end() error {
	b.gate.Lock()
	b.cut()
	b.ended = true
	b.gate.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.c.spent = b.s.c.spent || b.touched.Load()
	return b.fail
}
