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

	mu     sync.Mutex // orders 1xx responses, which the connection's reader hands on, and the end
	ended  bool
	headed bool // the header of the response has come
	passed int
}

// send2 is send over HTTP/2.
func (c *call) send2() (harmless bool, err error) {
	s := &stream2{c: c}
	c.h2 = s
	s.ctx, s.cancel = context.WithCancelCause(c.ctx)
	s.timer = time.AfterFunc(time.Hour, func() { s.cancel(os.ErrDeadlineExceeded) })
	s.timer.Stop()
	m := s.message()
	if c.whole {
		s.within(c.t.header, c.trying.by)
	} else {
		s.within(0, c.trying.by)
	}
	resp, err := c.conn.RoundTrip(s.ctx, m, s.pass)
	if err != nil {
		err = s.explain(err)
		stale := errors.Is(err, wire.ErrStale) && (s.body == nil || !s.body.touched.Load())
		return stale || !c.informed && c.whole && c.repeatable() && !timeout(err) && !errors.Is(err, upstream.ErrRefusedStream), err
	}
	s.mu.Lock()
	s.headed = true
	s.timer.Stop()
	s.mu.Unlock()
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
		s.body = &body2{s: s, ahead: *bytes.NewReader((*c.out)[c.head:])}
		m.Body = s.body
		m.Trailer = func() *httpmsg.Header { return c.r.Trailer }
	}
	return m
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

// bodySent gives the upstream the header timeout from now on, if the header has not come.
func (s *stream2) bodySent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.headed {
		s.within(s.c.t.header, s.c.trying.by)
	}
}

// explain makes of what the connection reports what it means.
func (s *stream2) explain(err error) error {
	if why := context.Cause(s.ctx); why != nil && s.c.ctx.Err() == nil {
		return why // the time was over
	}
	return upstream.Explain(err)
}

// pass hands a 1xx response on.
func (s *stream2) pass(status int, h *httpmsg.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed++; s.ended || s.passed > maxInformational {
		return errFlood
	}
	if status == 100 {
		return nil
	}
	s.c.informed = true
	if s.c.w.Informational(status, h) != nil {
		return httpmsg.ErrClientClosed
	}
	return nil
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
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
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

	mu    sync.Mutex // held while something is read
	ahead bytes.Reader
	fail  error // of the client's body

	gate    sync.Mutex // orders closing the client's body and the end of the exchange
	ended   bool
	closed  atomic.Bool // whoever reads finds an error that is not the client's
	sent    atomic.Bool // all of it was read
	touched atomic.Bool // some of the client's part was read
}

// Read implements io.Reader.
func (b *body2) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	if n, _ := b.ahead.Read(p); n > 0 {
		return n, nil
	}
	c := b.s.c
	if c.whole || b.sent.Load() {
		return 0, b.over()
	}
	b.touched.Store(true)
	n, err := c.r.Body.Read(p)
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

// over notes that the whole request was sent. From now on the upstream has the header timeout to answer.
func (b *body2) over() error {
	c := b.s.c
	if b.sent.Swap(true) {
		return io.EOF
	}
	if !c.whole {
		b.s.bodySent()
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
	if closer, ok := b.s.c.r.Body.(io.Closer); ok && !b.s.c.whole {
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
