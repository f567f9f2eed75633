package upstream

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// ErrRefusedStream says that the server did not look at the request (RFC 9113 section 8.7): any request may be sent again.
var ErrRefusedStream = errors.New("the upstream refused the stream")

// Message is a request as HTTP/2 carries it. Fields hold neither Host, nor framing, nor what ends at this hop.
type Message struct {
	Method, Path, RawQuery, Host string
	Fields                       []httpmsg.Field
	Body                         io.ReadCloser // nil: none
	Length                       int64         // of Body; -1: unknown
	// Trailers are the names of the fields that may follow the body; Trailer returns them once Body has returned io.EOF. Others
	// cannot be sent.
	Trailers []string
	Trailer  func() *httpmsg.Header
}

// Reply is a response that came over HTTP/2. Body must be closed.
type Reply struct {
	Status int
	Header httpmsg.Header
	Length int64 // -1: unknown
	Body   io.ReadCloser
	Ended  bool // with the header: nothing follows, not even trailers
	resp   *http.Response
}

// Trailer is what came behind the body, once that was read to its end; nil if there was nothing.
func (r *Reply) Trailer() *httpmsg.Header {
	if len(r.resp.Trailer) == 0 {
		return nil
	}
	return &httpmsg.Header{Fields: fieldsOf(r.resp.Trailer)}
}

// RoundTrip sends a request on a connection that speaks HTTP/2, in the stream that was reserved for it, and waits for the response
// header. informational is handed 1xx responses, on another goroutine, until then. The errors of the connection, also those of
// reading the response's body, mean something only after Explain.
func (c *Conn) RoundTrip(ctx context.Context, m *Message, informational func(status int, h *httpmsg.Header) error) (*Reply, error) {
	c.reserved = false
	req := &http.Request{
		Method: m.Method, Host: m.Host, Header: make(http.Header, len(m.Fields)+1), ContentLength: m.Length,
		URL: &url.URL{Scheme: c.endpoint.home.spec.Scheme, Host: m.Host, Opaque: m.Path, RawQuery: m.RawQuery},
	}
	req.Header["User-Agent"] = []string{""} // unless there is one, none is sent
	for _, f := range m.Fields {
		if name := textproto.CanonicalMIMEHeaderKey(f.Name); name == "User-Agent" {
			req.Header[name] = []string{f.Value}
		} else {
			req.Header[name] = append(req.Header[name], f.Value)
		}
	}
	if m.Body != nil {
		req.Body = m.Body
		if len(m.Trailers) > 0 {
			req.Trailer = http.Header{}
			for _, name := range m.Trailers {
				if httpguts.ValidTrailerHeader(name) && httpguts.ValidHeaderFieldName(name) { // others cannot be announced
					req.Trailer[textproto.CanonicalMIMEHeaderKey(name)] = nil
				}
			}
			req.Body = &trailed{m.Body, m, req.Trailer}
		}
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		return informational(status, &httpmsg.Header{Fields: fieldsOf(http.Header(h))})
	}}
	resp, err := c.H2.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		return nil, err
	}
	r := &Reply{Status: resp.StatusCode, Header: httpmsg.Header{Fields: fieldsOf(resp.Header)}, Length: resp.ContentLength, Body: resp.Body, resp: resp}
	r.Ended = r.Length == 0 && len(resp.Header["Content-Length"]) == 0 // nobody said so: the stream did
	if len(resp.Trailer) > 0 {                                         // announced; over HTTP/1.1 they need a body whose length is not said
		r.Header.Add("Trailer", strings.Join(slices.Sorted(maps.Keys(resp.Trailer)), ", "))
		r.Length = -1
	}
	return r, nil
}

// trailed is a body that brings its trailers, at the moment the connection wants them.
type trailed struct {
	io.ReadCloser
	m   *Message
	out http.Header
}

// Read implements io.Reader.
func (b *trailed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != io.EOF {
		return n, err
	}
	if h := b.m.Trailer(); h != nil {
		for _, f := range h.Fields {
			name := textproto.CanonicalMIMEHeaderKey(f.Name)
			if values, announced := b.out[name]; announced {
				b.out[name] = append(values, f.Value)
			}
		}
	}
	return n, err
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

// Explain makes of an error of HTTP/2 what HTTP/1.1 would have said: wire.ErrStale if the connection was gone before anything was
// sent, or the server said that it did not look at the request; ErrRefusedStream, ErrHeaderTooLarge, an *httpmsg.Error for what is
// malformed, or io.ErrUnexpectedEOF for a connection that ended too early.
func Explain(err error) error {
	if stream := (http2.StreamError{}); errors.As(err, &stream) {
		switch {
		case stream.Code == http2.ErrCodeRefusedStream:
			return ErrRefusedStream
		case stream.Cause != nil && stream.Cause.Error() == "received from peer":
			return io.ErrUnexpectedEOF
		}
		return malformed // our side has ended the stream, for what it was sent
	}
	text := err.Error()
	for _, w := range words {
		if strings.Contains(text, w.said) {
			return w.meant
		}
	}
	return err
}

// words are errors that package http does not export.
var words = []struct {
	said  string
	meant error
}{
	{"client conn not usable", wire.ErrStale},
	{"client conn could not be established", wire.ErrStale},
	{"graceful shutdown GOAWAY", wire.ErrStale}, // for a stream beyond the last one that the server looked at
	{"request header list larger", ErrHeaderTooLarge},
	{"received GOAWAY from server", io.ErrUnexpectedEOF},
	{"server sent GOAWAY", io.ErrUnexpectedEOF},
	{"client connection lost", io.ErrUnexpectedEOF},
	{"force closed", io.ErrUnexpectedEOF},
	{"connection error: ", malformed},
	{"http2: frame too large", malformed},
	{"response header list larger", malformed},
	{"more than declared Content-Length", malformed},
}

// ErrHeaderTooLarge says that the server takes no request header of this size. Nothing was sent.
var ErrHeaderTooLarge = errors.New("the server takes no header of this size")

var malformed = &httpmsg.Error{Status: 502, Code: "malformed_http2", Detail: "the response is not well-formed HTTP/2"}
