package httptarget

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"slices"
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
	resp   *http.Response
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
	req := s.request()
	if c.whole {
		s.within(c.t.header, c.trying.by)
	} else {
		s.within(0, c.trying.by)
	}
	resp, err := c.conn.RoundTrip(req, s.pass)
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
	c.resp.Status, c.resp.ContentLength = resp.StatusCode, resp.ContentLength
	c.resp.Header.Fields = fieldsOf(resp.Header)
	return false, nil
}

// request says over HTTP/2 what the head in out says over HTTP/1.1, so that there is one account of what goes upstream.
func (s *stream2) request() *http.Request {
	c := s.c
	head := string((*c.out)[:c.head])
	line, rest, _ := strings.Cut(head, "\r\n")
	target := strings.TrimSuffix(line[len(c.r.Method)+1:], " HTTP/1.1")
	path, query, _ := strings.Cut(target, "?")
	req := &http.Request{
		Method: c.r.Method, Header: http.Header{"User-Agent": {""}}, // unless there is one, none is sent
		URL:           &url.URL{Scheme: c.t.up.Spec().Scheme, Opaque: path, RawQuery: query},
		ContentLength: c.r.ContentLength,
	}
	for field := range strings.SplitSeq(strings.TrimSuffix(rest, "\r\n\r\n"), "\r\n") {
		name, value, _ := strings.Cut(field, ": ")
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Host":
			req.Host, req.URL.Host = value, value
		case "User-Agent":
			req.Header["User-Agent"] = []string{value}
		case "Content-Length", "Transfer-Encoding", "Connection":
		default:
			req.Header.Add(name, value)
		}
	}
	if c.r.Body != nil {
		s.body = &body2{s: s, ahead: *bytes.NewReader((*c.out)[c.head:])}
		req.Body = s.body
		for _, names := range c.r.Header.Values("Trailer") { // those that are not announced cannot be sent
			for name := range strings.SplitSeq(names, ",") {
				if req.Trailer == nil {
					req.Trailer = http.Header{}
				}
				req.Trailer[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = nil
			}
		}
		s.body.trailer = req.Trailer
		req.Header.Del("Trailer") // it is made of the above
	}
	return req.WithContext(s.ctx)
}

// fieldsOf lists a header, by name: HTTP/2 keeps no order between fields of different names.
func fieldsOf(h http.Header) []httpmsg.Field {
	fields := make([]httpmsg.Field, 0, len(h)+2)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			fields = append(fields, httpmsg.Field{Name: name, Value: value})
		}
	}
	return fields
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
func (s *stream2) pass(status int, h textproto.MIMEHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed++; s.ended || s.passed > maxInformational {
		return errFlood
	}
	if status == 100 {
		return nil
	}
	s.c.informed = true
	if s.c.w.Informational(status, &httpmsg.Header{Fields: fieldsOf(http.Header(h))}) != nil {
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

// trailer is what came behind the body.
func (s *stream2) trailer() *httpmsg.Header {
	if len(s.resp.Trailer) == 0 {
		return nil
	}
	return &httpmsg.Header{Fields: fieldsOf(s.resp.Trailer)}
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
	s       *stream2
	trailer http.Header

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
	if c.r.Trailer != nil && b.trailer != nil {
		for _, f := range c.r.Trailer.Fields {
			name := textproto.CanonicalMIMEHeaderKey(f.Name)
			if values, announced := b.trailer[name]; announced {
				b.trailer[name] = append(values, f.Value)
			}
		}
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
