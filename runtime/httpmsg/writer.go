package httpmsg

import (
	"context"
	"io"
)

// ResponseWriter is where the answer to one request goes, whatever protocol carries it. It belongs to the exchange and must
// not be used after it. Framing is the engine's: Content-Length, Transfer-Encoding, Connection and the like in a Header are
// ignored. Methods are for one goroutine at a time.
type ResponseWriter interface {
	// Informational sends a 1xx response at once. 100 is sent only to a client that waits for it, and at most once; 101 is
	// Tunnel's business. h may be nil.
	Informational(status int, h *Header) error
	// Header starts the final response, once. contentLength is in bytes, -1 if unknown. Nothing is sent before Write fills
	// the buffer, Flush, or the end of the exchange. It fails, and sends nothing, if a field cannot be sent safely.
	Header(status int, h *Header, contentLength int64) error
	// Write adds to the body. For HEAD, 204 and 304 the bytes are counted as given and dropped.
	Write(p []byte) (int, error)
	// Flush sends what has been written so far.
	Flush() error
	// Trailer sets the fields sent after a body of unknown length; protocols or framings without trailers drop them.
	Trailer(h *Header)
	// Tunnel answers 101 with h and hands over the connection for raw bytes until the exchange ends. It is an error if the
	// request did not ask for an upgrade or a response has been started.
	Tunnel(h *Header) (Tunnel, error)
	// Abort ends the response in a way the client can tell from a complete one.
	Abort()
	// Started reports whether the final response has been started.
	Started() bool
	// Status is the status of the final response, 0 before it was started.
	Status() int
	// BytesWritten and BytesRead count what went to and came from the client in this exchange, framing included.
	BytesWritten() int64
	BytesRead() int64
}

// Tunnel is a connection after a switch of protocols. Read and Write may be used at the same time. Close ends both
// directions and wakes a blocked Read.
type Tunnel interface {
	io.ReadWriteCloser
	// Next is Read without a buffer of the caller's: it returns what has come, valid until the next call. A tunnel that is
	// idle in Next holds no buffer.
	Next() ([]byte, error)
	// CloseWrite tells the peer that nothing more comes.
	CloseWrite() error
}

// BufferedBody is a request body that can tell what has already arrived.
type BufferedBody interface {
	io.ReadCloser // Close wakes a blocked Read, which then fails; nothing can be read afterwards
	// ReadBuffered is Read without waiting: 0 and no error if more has to come from the network.
	ReadBuffered(p []byte) (int, error)
}

// CancelSlot is a context with room for one function that is called when the context ends, without allocating. It is
// what context.AfterFunc does, for the one caller on the path of every request.
type CancelSlot interface {
	// OnCancel sets the function; nil clears it. If the context is over, f is called at once. After OnCancel(nil) has
	// returned the function is not running.
	OnCancel(f func())
}

// Bond is a context of an exchange that may be ended before its time.
type Bond interface {
	// Bind says what the exchange hangs on from now on. Who ends exchanges may spare some by it.
	Bind(owner any)
	// End ends the exchange.
	End(why *Error)
	// Why is why the exchange was ended; nil if it was not, or if its client has gone.
	Why() *Error
}

// OnCancel calls f when ctx ends, until the returned function has been called, after which f is not running.
func OnCancel(ctx context.Context, f func()) (stop func()) {
	if slot, ok := ctx.(CancelSlot); ok {
		slot.OnCancel(f)
		return func() { slot.OnCancel(nil) }
	}
	over := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { defer close(over); f() })
	return func() {
		if !cancel() {
			<-over
		}
	}
}
