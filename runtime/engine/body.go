package engine

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// body is a request's body as the Handler reads it: bounded, with deadlines, and with 100 (Continue) sent when it is first
// waited for.
type body struct {
	wire.Body
	c         *conn
	got       atomic.Int64
	continued bool        // 100 was sent
	failed    atomic.Bool // the connection cannot be used any further
	closed    atomic.Bool
}

var (
	errBodyTooLarge = &httpmsg.Error{Status: 413, Code: "body_too_large", Detail: "the request body is too large"}
	errBodyTimeout  = &httpmsg.Error{Status: 408, Code: "body_timeout", Detail: "the request body took too long"}
	errBodyClosed   = errors.New("read of a closed request body")
)

// begin prepares for the body of the request whose head has been read.
func (b *body) begin() {
	c := b.c
	b.Begin(c.wire, c.head.Length, c.limits, true)
	b.continued = false
	b.got.Store(0)
	b.failed.Store(false)
	b.closed.Store(false)
	c.bodyRead.Store(c.head.Length == 0)
}

// Read implements io.Reader. Errors other than io.EOF are *httpmsg.Error where the client is to blame.
func (b *body) Read(p []byte) (int, error) { return b.bounded(p, true) }

// ReadBuffered implements httpmsg.BufferedBody.
func (b *body) ReadBuffered(p []byte) (int, error) { return b.bounded(p, false) }

// Close implements httpmsg.BufferedBody.
func (b *body) Close() error {
	b.closed.Store(true)
	if !b.c.bodyRead.Load() {
		b.c.wire.InterruptRead()
	}
	return nil
}

// bounded reads at most one byte beyond the limit, to see whether there is one.
func (b *body) bounded(p []byte, wait bool) (int, error) {
	limit, got := b.c.req.MaxBody, b.got.Load()
	if b.c.req.ContentLength > limit || got > limit {
		return 0, errBodyTooLarge
	}
	if int64(len(p)) > limit-got+1 {
		p = p[:limit-got+1]
	}
	var n int
	var err error
	if wait {
		n, err = b.Body.Read(p)
	} else {
		n, err = b.Body.ReadBuffered(p)
	}
	if b.got.Add(int64(n)) > limit {
		b.failed.Store(true)
		return 0, errBodyTooLarge
	}
	if b.Done() && !b.c.bodyRead.Load() {
		b.c.req.Trailer = b.Trailer
		b.c.bodyRead.Store(true)
	}
	if err != nil && err != io.EOF {
		return n, b.failure(err)
	}
	return n, err
}

// ends reports whether the connection ends with the response because of the body, as far as that is known before: it has failed, or
// nobody reads it, or not any more, and its rest is too long to be dropped.
func (b *body) ends() bool {
	got := b.got.Load()
	forsaken := got == 0 || b.closed.Load()
	return b.failed.Load() || !b.c.bodyRead.Load() && forsaken && b.c.head.Length-got > drainLimit
}

// failure says what a failed read means.
func (b *body) failure(err error) error {
	var refused *httpmsg.Error
	isRefused := errors.As(err, &refused)
	if !isRefused && b.closed.Load() {
		return errBodyClosed
	}
	b.failed.Store(true)
	switch {
	case isRefused:
		return refused
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBodyTimeout
	}
	return httpmsg.ErrClientClosed
}

// beforeBody runs before the body waits for the client.
func (c *conn) beforeBody() error {
	if c.body.closed.Load() {
		return errBodyClosed
	}
	if c.req.ExpectContinue && !c.body.continued {
		if err := c.sendContinue(); err != nil {
			return err
		}
	}
	idle := millis(c.set.Timeouts.BodyIdle)
	c.wire.ReadBy(time.Now().Add(idle), idle/8)
	return nil
}

// sendContinue tells the client to send the body, unless the final response has been started.
func (c *conn) sendContinue() error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if c.body.continued || c.resp.started {
		return nil
	}
	c.body.continued = true
	return c.resp.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
}
