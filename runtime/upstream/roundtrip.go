package upstream

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// ErrRefusedStream says that the server did not look at the request (RFC 9113 section 8.7): any request may be sent again.
var ErrRefusedStream = errors.New("the upstream refused the stream")

// RoundTrip sends a request on a connection that speaks HTTP/2, in the stream that was reserved for it, and waits for the response
// header. informational is handed 1xx responses, on another goroutine, until then. The errors of the connection, also those of
// reading the response's body, mean something only after Explain.
func (c *Conn) RoundTrip(req *http.Request, informational func(int, textproto.MIMEHeader) error) (*http.Response, error) {
	c.reserved = false
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: informational})
	return c.H2.RoundTrip(req.WithContext(ctx))
}

// Explain makes of an error of HTTP/2 what HTTP/1.1 would have said: wire.ErrStale if the connection was gone before anything was
// sent, ErrRefusedStream, an *httpmsg.Error for what is malformed, or io.ErrUnexpectedEOF for a connection that ended too early.
func Explain(err error) error {
	var stream http2.StreamError
	var gone http2.GoAwayError
	var conn http2.ConnectionError
	switch {
	case errors.As(err, &stream):
		if stream.Code == http2.ErrCodeRefusedStream {
			return ErrRefusedStream
		}
		if fromPeer := stream.Cause != nil && stream.Cause.Error() == "received from peer"; !fromPeer && stream.Code == http2.ErrCodeProtocol {
			return malformed
		}
		return io.ErrUnexpectedEOF
	case errors.As(err, &gone):
		return io.ErrUnexpectedEOF
	case errors.As(err, &conn):
		return malformed
	// Package http exports neither of these. The first: the connection ended while nobody used it. The second: the server said
	// that it did not look at this stream.
	case strings.Contains(err.Error(), "client conn not usable"), strings.Contains(err.Error(), "graceful shutdown GOAWAY"):
		return wire.ErrStale
	}
	return err
}

var malformed = &httpmsg.Error{Status: 502, Code: "malformed_http2", Detail: "the response is not well-formed HTTP/2"}
