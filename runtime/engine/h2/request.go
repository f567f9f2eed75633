package h2

import (
	"context"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/engine/exchange"
	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// ServeHTTP implements http.Handler: it takes one request to the Handler.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*Conn)
	limits, timeouts := s.c.Settings()
	began := time.Now()
	x := exchange.New(c.base, began)
	w := &response{rw: rw, control: http.NewResponseController(rw), r: r, idle: millis(timeouts.BodyIdle)}
	c.begin(x)
	defer c.finish(x)
	defer context.AfterFunc(r.Context(), x.Cancel)() // the client resets the stream, or goes
	head, size, bad := parse(r, &http1.Limits{Bytes: int(limits.HeaderBytes), Fields: int(limits.HeaderFields), Target: int(limits.URLBytes)})
	w.bytesIn.Store(int64(size))
	if bad == nil && r.ContentLength == 0 && head.Length != 0 {
		bad = errBodyLength // an upstream would wait for the body, and take the next request for it
	}
	if bad != nil {
		if s.c.Refused != nil {
			s.c.Refused(bad.Status, bad.Code, c.link.Peer)
		}
		w.problem(bad.Status, bad.Code, bad.Detail)
		return
	}
	req := &httpmsg.Request{
		Method: head.Method, Target: head.Target, Proto: "HTTP/2.0", Scheme: c.link.Scheme, Host: head.Host, Authority: head.Authority,
		Peer: c.link.Peer, Header: httpmsg.Header{Fields: head.Fields}, ContentLength: head.Length, WantsTrailers: head.WantsTrailers,
		Received: began, MaxBody: limits.BodyBytes,
	}
	if len(r.Trailer) > 0 { // announced in a field that the standard library has taken out
		req.Header.Add("Trailer", strings.Join(slices.Sorted(maps.Keys(r.Trailer)), ", "))
	}
	if r.Body != http.NoBody && r.ContentLength != 0 {
		if head.Length == 0 {
			req.ContentLength = -1
		}
		req.Body = &body{w: w, req: req, r: r}
	}
	s.answer(x, w, req)
}

// answer runs the Handler, and ends its response. A response that was cut is reset, so that no client takes it for the whole.
func (s *Server) answer(x *exchange.Context, w *response, req *httpmsg.Request) {
	defer x.Cancel()
	if !s.handle(x, w, req) {
		abort()
	}
	if !w.started {
		w.problem(500, "no_response", "the request was not answered")
	}
	if !w.end() || x.Err() != nil {
		abort()
	}
}

// handle reports whether the Handler came to its end.
func (s *Server) handle(x *exchange.Context, w *response, req *httpmsg.Request) (whole bool) {
	defer func() {
		if v := recover(); v != nil && s.c.Panicked != nil {
			s.c.Panicked(v, debug.Stack(), req.Peer)
		}
	}()
	s.c.Handler(x, w, req)
	return true
}

// abort resets the stream. It is how the standard library is told to.
func abort() { panic(http.ErrAbortHandler) }

// parse reads the request as if it had come over HTTP/1.1, so that the same is refused with the same words. size is what it would
// have been there, in bytes.
func parse(r *http.Request, lim *http1.Limits) (head *http1.RequestHead, size int, bad *httpmsg.Error) {
	if r.RequestURI[0] != '/' && r.RequestURI != "*" && r.Method != http.MethodConnect { // the absolute form is HTTP/1.1's (RFC 9113 section 8.3.1)
		return nil, len(r.RequestURI), http1.ErrTarget
	}
	text := make([]byte, 0, 1024)
	text = append(append(append(append(text, r.Method...), ' '), r.RequestURI...), " HTTP/1.1\r\n"...)
	text = http1.AppendField(text, "Host", r.Host)
	fields := 0
	for name, values := range r.Header {
		if name == "Host" && (len(values) != 1 || values[0] != r.Host) {
			return nil, len(text), http1.ErrHostMismatch
		} else if name == "Host" {
			continue
		}
		for _, value := range values {
			text = http1.AppendField(text, name, value)
			fields++
		}
	}
	text = append(text, '\r', '\n')
	head = &http1.RequestHead{}
	head.Fields = make([]httpmsg.Field, 0, fields+1)
	var scan http1.Scanner
	if n, bad := scan.ScanRequest(text, lim); bad != nil || n != len(text) {
		if bad == nil {
			bad = http1.ErrLineEnd // there was one where none may be
		}
		return nil, len(text), bad
	}
	return head, len(text), head.Parse(string(text), &scan, lim)
}

// body is a request's body as the Handler reads it. It implements io.ReadCloser.
type body struct {
	w   *response
	req *httpmsg.Request
	r   *http.Request
	got int64
}

var (
	errBodyTooLarge = &httpmsg.Error{Status: 413, Code: "body_too_large", Detail: "the request body is too large"}
	errBodyTimeout  = &httpmsg.Error{Status: 408, Code: "body_timeout", Detail: "the request body took too long"}
	errBodyLength   = &httpmsg.Error{Status: 400, Code: "bad_content_length", Detail: "the request body is not as long as announced"}
	errTrailer      = &httpmsg.Error{Status: 400, Code: "bad_trailer", Detail: "a trailer holds a field that must stand in the header"}
)

// Read implements io.Reader. Errors other than io.EOF are *httpmsg.Error where the client is to blame.
func (b *body) Read(p []byte) (int, error) {
	limit := b.req.MaxBody
	if b.req.ContentLength > limit || b.got > limit {
		return 0, errBodyTooLarge
	}
	if int64(len(p)) > limit-b.got+1 {
		p = p[:limit-b.got+1]
	}
	_ = b.w.control.SetReadDeadline(time.Now().Add(b.w.idle))
	n, err := b.r.Body.Read(p)
	b.got += int64(n)
	b.w.bytesIn.Add(int64(n))
	switch {
	case b.got > limit:
		return 0, errBodyTooLarge
	case err == io.EOF:
		return n, b.trailer()
	case err != nil:
		return n, b.failure(err)
	}
	return n, nil
}

// trailer reads what came behind the body.
func (b *body) trailer() error {
	if b.req.ContentLength >= 0 && b.got != b.req.ContentLength {
		return errBodyLength
	}
	if len(b.r.Trailer) == 0 || b.req.Trailer != nil {
		return io.EOF
	}
	b.req.Trailer = &httpmsg.Header{}
	for name, values := range b.r.Trailer {
		for _, value := range values {
			if http1.ForbiddenTrailer(name) || !http1.SafeField(httpmsg.Field{Name: name, Value: value}) {
				return errTrailer
			}
			b.req.Trailer.Add(name, value)
		}
	}
	return io.EOF
}

func (b *body) failure(err error) error {
	switch {
	case timedOut(err):
		return errBodyTimeout
	case strings.HasPrefix(err.Error(), "request declared a Content-Length"): // net/http has no type for it
		return errBodyLength
	}
	return httpmsg.ErrClientClosed
}

// Close wakes who reads.
func (b *body) Close() error { return b.r.Body.Close() }

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func length(n int64) string { return strconv.FormatInt(n, 10) }
