package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/engine/exchange"
	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// message is a request as it is sent.
type message struct {
	head   string // with the empty line behind it
	raw    []byte // the same
	body   string
	size   int64 // of the body; more than it has is filler
	scheme string
	peer   netip.AddrPort
}

// send sends a request through the gateway, as its engine would hand it on, and leaves what came of it in w.out and w.trace.
func (w *world) send(m *message) {
	w.trace.reset()
	w.out.reset()
	w.scan.Reset()
	_, bad := w.scan.ScanRequest(m.raw, &w.limits)
	if bad == nil {
		bad = w.head.Parse(m.head, &w.scan, &w.limits)
	}
	if bad != nil {
		w.out.status, w.trace.code = bad.Status, bad.Code
		return
	}
	h := &w.head
	w.out.method = h.Method
	r := httpmsg.Request{
		Method: h.Method, Target: h.Target, Proto: h.Proto, Scheme: m.scheme, Host: h.Host, Authority: h.Authority, Peer: m.peer,
		Header: httpmsg.Header{Fields: h.Fields}, ContentLength: h.Length, Received: time.Now(), MaxBody: 1 << 62, // the target has the route's bound
		WantsTrailers: h.WantsTrailers,
	}
	if m.size > 0 {
		r.Body = &filler{text: m.body, left: m.size - int64(len(m.body))}
	}
	x := exchange.New(context.Background(), r.Received)
	w.gateway.Serve(x, &w.out, &r)
	x.Cancel()
	h.Fields = r.Header.Fields // keep the memory
	if w.trace.code == "" && !w.trace.answered {
		w.trace.code = w.out.problem()
	}
}

// answer is what a client gets. It implements httpmsg.ResponseWriter for one exchange after another.
type answer struct {
	world   *world
	method  string
	status  int
	header  httpmsg.Header
	length  int64 // -1: not said
	body    []byte
	aborted bool
}

func (a *answer) reset() {
	*a = answer{world: a.world, header: httpmsg.Header{Fields: a.header.Fields[:0]}, body: a.body[:0]}
}

// Informational implements httpmsg.ResponseWriter.
func (a *answer) Informational(int, *httpmsg.Header) error { return nil }

// Header implements httpmsg.ResponseWriter.
func (a *answer) Header(status int, h *httpmsg.Header, contentLength int64) error {
	if a.status != 0 {
		return errors.New("the response has been started")
	}
	if h == nil {
		h = &httpmsg.Header{}
	}
	for i := range h.Fields {
		f := h.Fields[i]
		if http1.IsFraming(f.Name) {
			continue
		}
		if !http1.SafeField(f) {
			a.header.Reset()
			return errors.New("a response field cannot be sent")
		}
		a.header.Fields = append(a.header.Fields, f)
	}
	a.status, a.length = status, contentLength
	return nil
}

// Write implements httpmsg.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.method != "HEAD" && a.status != 204 && a.status != 304 {
		a.body = append(a.body, p...)
	}
	return len(p), nil
}

// Flush implements httpmsg.ResponseWriter.
func (*answer) Flush() error { return nil }

// Trailer implements httpmsg.ResponseWriter.
func (*answer) Trailer(*httpmsg.Header) {}

// Tunnel implements httpmsg.ResponseWriter.
func (*answer) Tunnel(*httpmsg.Header) (httpmsg.Tunnel, error) {
	return nil, errors.New("there are no tunnels offline")
}

// Abort implements httpmsg.ResponseWriter.
func (a *answer) Abort() { a.aborted = true }

// Started implements httpmsg.ResponseWriter.
func (a *answer) Started() bool { return a.status != 0 }

// Status implements httpmsg.ResponseWriter.
func (a *answer) Status() int { return a.status }

// BytesWritten implements httpmsg.ResponseWriter.
func (a *answer) BytesWritten() int64 { return int64(len(a.body)) }

// BytesRead implements httpmsg.ResponseWriter.
func (*answer) BytesRead() int64 { return 0 }

// values are those of a field, with the two that the engine adds.
func (a *answer) values(name string) []string {
	switch {
	case strings.EqualFold(name, "Content-Length") && a.length >= 0 && a.status != 204:
		return []string{strconv.FormatInt(a.length, 10)}
	case strings.EqualFold(name, "Date") && !a.header.Has(name):
		return []string{a.world.now().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
	}
	return a.header.Values(name)
}

// problem is the code of a problem body that the gateway made; "" if it made none.
func (a *answer) problem() string {
	var p struct{ Code string }
	if a.header.Get("Content-Type") != httpmsg.ProblemType || json.Unmarshal(a.body, &p) != nil {
		return ""
	}
	return p.Code
}
