package engine

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// outSize is what a response gathers before it is sent, in bytes.
const outSize = 4 << 10

var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, outSize); return &b }}

var (
	errStarted  = errors.New("the response has been started")
	errTooLong  = errors.New("the response is longer than its Content-Length")
	errTooShort = errors.New("the response is shorter than its Content-Length")
	errField    = errors.New("a response field cannot be sent: its name is no token, or its value not on one line")
	errUpgrade  = errors.New("the request asked for no upgrade")
)

// response writes one response. It implements httpmsg.ResponseWriter.
type response struct {
	c       *conn
	out     *[]byte // gathered, nil if nothing
	status  int
	left    int64 // of the declared length, -1 unknown
	trailer *httpmsg.Header
	vec     [3][]byte
	pieces  net.Buffers

	now time.Time // when the head was made; zero once something was sent, as time may have passed since

	started bool
	bare    bool // no body is sent: HEAD, 204, 304
	chunked bool
	last    bool // the connection ends with this response
	cut     bool
	tunnel  bool
}

func (w *response) begin() { *w = response{c: w.c} }

// Started implements httpmsg.ResponseWriter.
func (w *response) Started() bool { return w.started }

// Status implements httpmsg.ResponseWriter.
func (w *response) Status() int { return w.status }

// BytesWritten implements httpmsg.ResponseWriter. What is gathered and not sent yet counts too.
func (w *response) BytesWritten() int64 {
	n := w.c.wire.BytesOut() - w.c.outStart
	if w.out != nil {
		n += int64(len(*w.out))
	}
	return n
}

// BytesRead implements httpmsg.ResponseWriter. Bytes of a following request which have arrived are not counted.
func (w *response) BytesRead() int64 {
	return w.c.wire.BytesIn() - int64(len(w.c.wire.Buffered())) - w.c.inStart
}

// Abort implements httpmsg.ResponseWriter.
func (w *response) Abort() { w.cut = true }

// Trailer implements httpmsg.ResponseWriter.
func (w *response) Trailer(h *httpmsg.Header) { w.trailer = h }

// buffer is where the response gathers.
func (w *response) buffer() []byte {
	if w.out == nil {
		w.out = outBuffers.Get().(*[]byte)
	}
	return *w.out
}

// Informational implements httpmsg.ResponseWriter.
func (w *response) Informational(status int, h *httpmsg.Header) error {
	switch {
	case w.started:
		return errStarted
	case status == 100:
		if w.c.req.ExpectContinue {
			return w.c.sendContinue()
		}
		return nil
	case w.c.req.Proto != "HTTP/1.1": // RFC 9110 section 15.2
		return nil
	}
	w.c.sendMu.Lock()
	defer w.c.sendMu.Unlock()
	buf, err := appendFields(http1.AppendStatusLine(w.buffer(), status), h)
	if err != nil {
		w.drop()
		return err
	}
	*w.out = append(buf, '\r', '\n')
	return w.Flush()
}

// appendFields appends the end-to-end fields of h.
func appendFields(dst []byte, h *httpmsg.Header) ([]byte, error) {
	if h == nil {
		return dst, nil
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if http1.IsFraming(f.Name) {
			continue
		}
		if !http1.SafeField(*f) {
			return dst, errField
		}
		dst = http1.AppendField(dst, f.Name, f.Value)
	}
	return dst, nil
}

// Header implements httpmsg.ResponseWriter.
func (w *response) Header(status int, h *httpmsg.Header, contentLength int64) error {
	if w.started {
		return errStarted
	}
	if status < 200 || status > 999 {
		return errors.New("status " + strconv.Itoa(status) + " is not a final one")
	}
	buf, err := appendFields(http1.AppendStatusLine(w.buffer(), status), h)
	if err != nil {
		w.drop()
		return err
	}
	if w.c.req.ExpectContinue {
		w.c.sendMu.Lock()
		w.started = true
		w.last = w.last || !w.c.body.continued && !w.c.bodyRead.Load()
		w.c.sendMu.Unlock()
	}
	w.started, w.status, w.left = true, status, contentLength
	w.now = time.Now()
	if h == nil || !h.Has("Date") {
		buf = append(buf, w.c.srv.dateField(w.now)...)
	}
	buf = w.framing(buf, contentLength)
	*w.out = append(w.connection(buf), '\r', '\n')
	return nil
}

// framing appends what tells the client where the body ends (RFC 9112 section 6).
func (w *response) framing(buf []byte, length int64) []byte {
	noBody := w.status == 204 || w.status == 304
	w.bare = noBody || w.c.req.Method == "HEAD"
	switch {
	case w.status == 204:
	case length >= 0:
		buf = append(buf, "Content-Length: "...)
		buf = strconv.AppendInt(buf, length, 10)
		buf = append(buf, '\r', '\n')
	case w.bare:
	case w.c.req.Proto == "HTTP/1.1":
		w.chunked = true
		buf = append(buf, "Transfer-Encoding: chunked\r\n"...)
	default:
		w.last = true // the end of the connection ends the body
	}
	return buf
}

// connection appends what becomes of the connection (RFC 9112 section 9.6).
func (w *response) connection(buf []byte) []byte {
	w.last = w.last || !w.c.head.KeepAlive || w.c.srv.stopping.Load() || w.c.body.ends()
	switch {
	case w.last:
		return append(buf, "Connection: close\r\n"...)
	case w.c.req.Proto != "HTTP/1.1":
		return append(buf, "Connection: keep-alive\r\n"...)
	}
	return buf
}

// Write implements httpmsg.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	switch {
	case !w.started || w.tunnel:
		return 0, errors.New("write before the header")
	case w.bare || len(p) == 0:
		return len(p), nil
	case w.left >= 0 && int64(len(p)) > w.left:
		w.cut = true
		return 0, errTooLong
	}
	if w.left >= 0 {
		w.left -= int64(len(p))
	}
	buf := w.buffer()
	const around = 20 // chunk size and two line ends
	fits := len(buf)+len(p)+around <= outSize
	if w.chunked {
		buf = http1.AppendChunkSize(buf, len(p))
	}
	if fits {
		buf = append(buf, p...)
		if w.chunked {
			buf = append(buf, '\r', '\n')
		}
		*w.out = buf
		return len(p), nil
	}
	*w.out = buf
	w.vec = [3][]byte{buf, p, crlf}
	w.pieces = w.vec[:2]
	if w.chunked {
		w.pieces = w.vec[:3]
	}
	w.beforeWrite()
	err := w.c.wire.WriteBuffers(&w.pieces)
	w.drop()
	w.vec = [3][]byte{}
	if err != nil {
		w.cut = true
		return 0, err
	}
	return len(p), nil
}

var crlf = []byte("\r\n")

// drop empties the buffer and gives it back.
func (w *response) drop() {
	if w.out == nil {
		return
	}
	if *w.out = (*w.out)[:0]; cap(*w.out) <= 4*outSize {
		outBuffers.Put(w.out)
	}
	w.out = nil
}

// Flush implements httpmsg.ResponseWriter. Who flushes is about to wait: the read buffer is not needed meanwhile.
func (w *response) Flush() error {
	if w.c.bodyRead.Load() {
		w.c.wire.Rest()
	}
	return w.flush()
}

func (w *response) flush() error {
	if w.out == nil {
		return nil
	}
	err := w.write(*w.out)
	w.drop()
	if err != nil {
		w.cut = true
	}
	return err
}

// write sends p at once.
func (w *response) write(p []byte) error {
	w.beforeWrite()
	_, err := w.c.wire.Write(p)
	return err
}

// beforeWrite bounds the time a client may take to accept one piece.
func (w *response) beforeWrite() {
	now := w.now
	if w.now = (time.Time{}); now.IsZero() {
		now = time.Now()
	}
	idle := millis(w.c.set.Timeouts.BodyIdle)
	w.c.wire.WriteBy(now.Add(idle), idle/8)
}

// end completes the response and sends what is left of it. Of a response that is cut the client still gets what there is:
// without its last chunk or byte it cannot look complete.
func (w *response) end() error {
	if !w.cut && !w.bare && w.left > 0 {
		w.cut = true
		_ = w.flush()
		return errTooShort
	}
	if w.cut {
		if !w.ambiguous() {
			_ = w.flush()
		}
		w.drop()
		return nil
	}
	if w.chunked {
		*w.out = http1.AppendLastChunk(w.buffer(), w.trailer)
	}
	return w.flush()
}

// ambiguous reports whether a cut response would look complete if the connection just ended.
func (w *response) ambiguous() bool { return !w.chunked && w.left <= 0 }

// problem answers with a problem body.
func (w *response) problem(status int, code, detail string) {
	text := httpmsg.AppendProblem(nil, status, code, detail)
	h := httpmsg.Header{Fields: []httpmsg.Field{{Name: "Content-Type", Value: httpmsg.ProblemType}}}
	if w.Header(status, &h, int64(len(text))) == nil {
		_, _ = w.Write(text) // a client that cannot be written to needs no answer
	}
}

// Tunnel implements httpmsg.ResponseWriter.
func (w *response) Tunnel(h *httpmsg.Header) (httpmsg.Tunnel, error) {
	switch {
	case w.started:
		return nil, errStarted
	case w.c.req.Upgrade == "":
		return nil, errUpgrade
	}
	protocol := w.c.req.Upgrade
	if h != nil && h.Has("Upgrade") {
		protocol = h.Get("Upgrade")
	}
	buf, err := appendFields(http1.AppendStatusLine(w.buffer(), 101), h)
	if err == nil && !http1.SafeField(httpmsg.Field{Name: "Upgrade", Value: protocol}) {
		err = errField
	}
	if err != nil {
		w.drop()
		return nil, err
	}
	buf = append(buf, "Connection: upgrade\r\n"...)
	*w.out = append(http1.AppendField(buf, "Upgrade", strings.TrimSpace(protocol)), '\r', '\n')
	w.c.unwatch() // from now on the connection is read
	w.started, w.tunnel, w.status = true, true, 101
	if err := w.Flush(); err != nil {
		return nil, err
	}
	w.c.wire.ReadBy(time.Time{}, 0)
	w.c.wire.WriteBy(time.Time{}, 0)
	return &tunnel{w.c}, nil
}

// tunnel is a connection after 101. It implements httpmsg.Tunnel.
type tunnel struct{ c *conn }

// Read implements io.Reader.
func (t *tunnel) Read(p []byte) (int, error) { return t.c.wire.Read(p) }

// Next waits for bytes and returns them in the connection's own buffer, valid until the next call.
func (t *tunnel) Next() ([]byte, error) { return t.c.wire.Next() }

// Write implements io.Writer. A peer that accepts nothing for the body idle time has gone.
func (t *tunnel) Write(p []byte) (int, error) {
	idle := millis(t.c.set.Timeouts.BodyIdle)
	t.c.wire.WriteBy(time.Now().Add(idle), idle/8)
	return t.c.wire.Write(p)
}

// CloseWrite implements httpmsg.Tunnel.
func (t *tunnel) CloseWrite() error { return t.c.wire.CloseWrite() }

// Close implements io.Closer.
func (t *tunnel) Close() error {
	t.c.wire.Interrupt()
	return t.c.wire.Close()
}
