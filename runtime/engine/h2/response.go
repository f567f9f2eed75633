package h2

import (
	"errors"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

var (
	errStarted = errors.New("the response has been started")
	errTooLong = errors.New("the response is longer than its Content-Length")
	errField   = errors.New("a response field cannot be sent: its name is no token, or its value not on one line")
	errTunnel  = errors.New("a stream of HTTP/2 cannot be upgraded")
)

// response writes one response. It implements httpmsg.ResponseWriter.
type response struct {
	rw      http.ResponseWriter
	control *http.ResponseController
	r       *http.Request
	idle    time.Duration // a client that takes nothing for so long has gone
	by      time.Time     // the write deadline that is set

	started bool
	status  int
	left    int64 // of the declared length, -1 unknown
	bare    bool  // no body is sent: HEAD, 204, 304
	cut     bool

	bytesIn  atomic.Int64
	bytesOut int64
}

// Started implements httpmsg.ResponseWriter.
func (w *response) Started() bool { return w.started }

// Status implements httpmsg.ResponseWriter.
func (w *response) Status() int { return w.status }

// BytesWritten implements httpmsg.ResponseWriter. Fields count as they would over HTTP/1.1.
func (w *response) BytesWritten() int64 { return w.bytesOut }

// BytesRead implements httpmsg.ResponseWriter. Fields count as they would over HTTP/1.1.
func (w *response) BytesRead() int64 { return w.bytesIn.Load() }

// Abort implements httpmsg.ResponseWriter.
func (w *response) Abort() { w.cut = true }

// put makes h the header that is sent next.
func (w *response) put(h *httpmsg.Header) error {
	out := w.rw.Header()
	clear(out)
	if h == nil {
		return nil
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if http1.IsFraming(f.Name) {
			continue
		}
		if !http1.SafeField(*f) {
			clear(out)
			return errField
		}
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		out[name] = append(out[name], f.Value)
		w.bytesOut += int64(len(f.Name) + len(f.Value) + 4)
	}
	return nil
}

// Informational implements httpmsg.ResponseWriter. 100 (Continue) is the standard library's, when the body is first read.
func (w *response) Informational(status int, h *httpmsg.Header) error {
	switch {
	case w.started:
		return errStarted
	case status < 101 || status > 199:
		return nil
	}
	if err := w.put(h); err != nil {
		return err
	}
	w.extend()
	w.rw.WriteHeader(status)
	clear(w.rw.Header())
	return nil
}

// Header implements httpmsg.ResponseWriter.
func (w *response) Header(status int, h *httpmsg.Header, contentLength int64) error {
	if w.started {
		return errStarted
	}
	if status < 200 || status > 999 {
		return errors.New("status " + strconv.Itoa(status) + " is not a final one")
	}
	if err := w.put(h); err != nil {
		return err
	}
	out := w.rw.Header()
	if _, typed := out["Content-Type"]; !typed {
		out["Content-Type"] = nil // it is not to be guessed
	}
	w.bare = status == 204 || status == 304 || w.r.Method == http.MethodHead
	if contentLength >= 0 && status != 204 {
		out["Content-Length"] = []string{length(contentLength)}
	}
	w.started, w.status, w.left = true, status, contentLength
	w.extend()
	w.rw.WriteHeader(status)
	return nil
}

// extend gives the client more time to take what comes. The deadline moves seldom: each time costs a message to the connection.
func (w *response) extend() {
	if now := time.Now(); w.by.Sub(now) < w.idle {
		w.by = now.Add(2 * w.idle)
		_ = w.control.SetWriteDeadline(w.by)
	}
}

// Write implements httpmsg.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	switch {
	case !w.started:
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
	w.extend()
	n, err := w.rw.Write(p)
	w.bytesOut += int64(n)
	if err != nil {
		w.cut = true
	}
	return n, err
}

// Flush implements httpmsg.ResponseWriter.
func (w *response) Flush() error {
	w.extend()
	if err := w.control.Flush(); err != nil {
		w.cut = true
		return err
	}
	return nil
}

// Trailer implements httpmsg.ResponseWriter.
func (w *response) Trailer(h *httpmsg.Header) {
	if h == nil || !w.started || w.bare {
		return
	}
	out := w.rw.Header()
	for _, f := range h.Fields {
		if http1.SafeField(f) && !http1.ForbiddenTrailer(f.Name) {
			name := http.TrailerPrefix + textproto.CanonicalMIMEHeaderKey(f.Name)
			out[name] = append(out[name], f.Value)
			w.bytesOut += int64(len(f.Name) + len(f.Value) + 4)
		}
	}
}

// Tunnel implements httpmsg.ResponseWriter: there is none over HTTP/2.
func (w *response) Tunnel(*httpmsg.Header) (httpmsg.Tunnel, error) { return nil, errTunnel }

// end reports whether the response is whole.
func (w *response) end() bool { return !w.cut && (w.bare || w.left <= 0) }

// problem answers with a problem body.
func (w *response) problem(status int, code, detail string) {
	text := httpmsg.AppendProblem(nil, status, code, detail)
	h := httpmsg.Header{Fields: []httpmsg.Field{{Name: "Content-Type", Value: httpmsg.ProblemType}}}
	if w.Header(status, &h, int64(len(text))) == nil {
		_, _ = w.Write(text) // a client that cannot be written to needs no answer
	}
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
