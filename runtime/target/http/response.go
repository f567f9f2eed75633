package httptarget

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/upstream/health"
)

// respond hands the response on, head and body. The connection goes back to its pool if both sides are through with it.
func (c *call) respond() *policy.Reject {
	if c.h2 == nil || !c.h2.sending() {
		c.freeOut()
	}
	resp := &c.resp
	if c.h2 == nil {
		c.conn.BeginBody(c.by, c.t.idle)
		if resp.Status == 101 {
			return c.tunnel()
		}
	}
	if c.hooks != nil {
		c.hooks.Respond(c.ctx, c.x, resp)
		c.streams = c.hooks.Streams(c.ctx, c.x, resp)
	}
	if c.trying.retries > 0 {
		f := c.attempted()
		resp.Header.Set(f.Name, f.Value)
	}
	if err := c.w.Header(resp.Status, &resp.Header, resp.ContentLength); err != nil {
		_ = c.hangUp(err)
		return &policy.Reject{Status: 500, Code: "unsafe_response", Detail: "a response field cannot be sent"}
	}
	c.conn.Head.Fields = resp.Header.Fields // keep the memory
	if err := c.stream(); err != nil {
		return c.cut(err)
	}
	c.w.Trailer(c.trailer())
	return c.finish()
}

// attempted tells the client how often the upstream was asked.
func (c *call) attempted() httpmsg.Field {
	return httpmsg.Field{Name: "X-Gateway-Attempts", Value: strconv.Itoa(c.x.Attempt)}
}

func (c *call) trailer() *httpmsg.Header {
	if c.h2 != nil {
		return c.h2.resp.Trailer()
	}
	return c.conn.Body.Trailer
}

// finish gives the connection back after a response that came to its end.
func (c *call) finish() *policy.Reject {
	t := &c.x.Timings
	c.conn.Report(verdict(c.status()), t.UpstreamHeader.Sub(t.UpstreamStart))
	reuse := true
	if c.up != nil {
		reuse = c.up.complete()
		if c.up.end() != nil {
			reuse = false
		}
		c.up = nil
	}
	_ = c.stopSending(nil)
	c.conn.Release(reuse && c.ctx.Err() == nil)
	c.conn = nil
	return nil
}

// status is the status of the response; for gRPC, whose servers say 200 to everything, that of HTTP that comes closest to theirs, as
// far as the header has it.
func (c *call) status() int {
	s := c.resp.Status
	if s != 200 || !strings.HasPrefix(c.resp.Header.Get("Content-Type"), "application/grpc") {
		return s
	}
	switch c.resp.Header.Get("Grpc-Status") {
	case "14": // unavailable
		return 503
	case "4": // deadline exceeded
		return 504
	case "2", "13", "15": // unknown, internal, data loss
		return 500
	case "8": // resource exhausted
		return 429
	}
	return s
}

// errWrite marks a failure to write to the client, errHook one of a policy.
var (
	errWrite = errors.New("write to the client")
	errHook  = errors.New("chunk refused by a policy")
)

// stream copies the body. What has come is written before anything more is waited for, and sent before the wait.
func (c *call) stream() error {
	for {
		p, err := c.next()
		switch {
		case err == io.EOF:
			return c.endStreams()
		case err != nil:
			return err
		}
		if err := c.emit(0, p); err != nil {
			return err
		}
	}
}

// next is what comes next of the body, valid until the next call.
func (c *call) next() ([]byte, error) {
	if c.h2 != nil {
		if c.h2.resp.Ended { // nothing is flushed: gRPC tells a refusal by a header that ends the stream
			return nil, io.EOF
		}
		if err := c.flush(); err != nil { // it cannot be asked what it has
			return nil, err
		}
		return c.h2.next()
	}
	p, err := c.conn.Body.Next(false)
	if err != nil || len(p) > 0 {
		return p, err
	}
	if err := c.flush(); err != nil {
		return nil, err
	}
	return c.conn.Body.Next(true)
}

// emit takes a piece through the policies that rewrite the body, from one of them on, and writes what comes out.
func (c *call) emit(from int, p []byte) error {
	for _, s := range c.streams[from:] {
		if len(p) == 0 {
			return nil
		}
		var err error
		if p, err = s.Chunk(p); err != nil {
			return errHook
		}
	}
	if _, err := c.w.Write(p); err != nil {
		return errWrite
	}
	return nil
}

// flush sends what there is, since the upstream pauses.
func (c *call) flush() error {
	if err := c.drain(policy.Stream.Flush); err != nil {
		return err
	}
	if c.w.Flush() != nil {
		return errWrite
	}
	return nil
}

// endStreams gets the last of the policies that rewrite the body.
func (c *call) endStreams() error { return c.drain(policy.Stream.End) }

func (c *call) drain(get func(policy.Stream) ([]byte, error)) error {
	for i, s := range c.streams {
		p, err := get(s)
		if err != nil {
			return errHook
		}
		if len(p) == 0 {
			continue
		}
		if err := c.emit(i+1, p); err != nil {
			return err
		}
	}
	return nil
}

// cut ends a response that broke off, and says why, for the records.
func (c *call) cut(err error) *policy.Reject {
	err = c.stopSending(err)
	t := &c.x.Timings
	if errors.Is(err, errWrite) || errors.Is(err, errHook) || c.ownFault(err) || timeout(err) && c.late() {
		c.conn.Report(verdict(c.status()), t.UpstreamHeader.Sub(t.UpstreamStart)) // so far it was well
	} else {
		c.conn.Report(blame(err), t.UpstreamHeader.Sub(t.UpstreamStart))
	}
	c.conn.Release(false)
	c.conn = nil
	c.w.Abort()
	switch {
	case errors.Is(err, errWrite):
		return c.reject(httpmsg.ErrClientClosed)
	case errors.Is(err, errHook):
		return &policy.Reject{Status: 502, Code: "policy_cut", Detail: "a policy ended the response"}
	}
	return c.reject(err)
}

// tunnel joins the two connections after the upstream has switched protocols. Timeouts of the response do not hold any more;
// a tunnel on which neither side says anything for the idle timeout is closed.
func (c *call) tunnel() *policy.Reject {
	head := &c.conn.Head
	if c.r.Upgrade == "" || !strings.EqualFold(head.Upgrade, c.r.Upgrade) {
		return c.reject(c.hangUp(errUnexpected))
	}
	h := httpmsg.Header{Fields: append(head.Fields, httpmsg.Field{Name: "Upgrade", Value: head.Upgrade})}
	resp := &c.resp
	resp.Header = h
	if c.hooks != nil {
		c.hooks.Respond(c.ctx, c.x, resp)
	}
	client, err := c.w.Tunnel(&resp.Header)
	if err != nil {
		return c.reject(c.hangUp(httpmsg.ErrClientClosed))
	}
	c.conn.Report(health.Success, c.x.Timings.UpstreamHeader.Sub(c.x.Timings.UpstreamStart))
	c.join(client)
	_ = c.hangUp(nil)
	return nil
}

// timeout reports whether err is a deadline.
func timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
