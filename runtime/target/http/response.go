package httptarget

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// respond hands the response on, head and body. The connection goes back to its pool if both sides are through with it.
func (c *call) respond() *policy.Reject {
	c.freeOut()
	head := &c.conn.Head
	c.conn.BeginBody(c.by, c.t.idle)
	if head.Status == 101 {
		return c.tunnel()
	}
	resp := &c.resp
	resp.Status, resp.Header.Fields, resp.ContentLength = head.Status, head.Fields, c.length()
	if c.hooks != nil {
		c.hooks.Respond(c.ctx, c.x, resp)
	}
	if err := c.w.Header(resp.Status, &resp.Header, resp.ContentLength); err != nil {
		_ = c.hangUp(err)
		return &policy.Reject{Status: 500, Code: "unsafe_response", Detail: "a response field cannot be sent"}
	}
	head.Fields = resp.Header.Fields // keep the memory
	if err := c.stream(); err != nil {
		err = c.hangUp(err)
		c.w.Abort()
		return c.cut(err)
	}
	c.w.Trailer(c.conn.Body.Trailer)
	reuse := true
	if c.up != nil {
		reuse = c.up.complete()
		if c.up.end() != nil {
			reuse = false
		}
	}
	c.detach()
	c.conn.Release(reuse && c.ctx.Err() == nil)
	c.conn = nil
	return nil
}

// length is the length of the response to announce: that of HEAD and 304 is of the body they stand for.
func (c *call) length() int64 {
	head := &c.conn.Head
	switch {
	case c.r.Method == "HEAD" || head.Status == 304:
		return head.Declared
	case head.Length < 0 || len(c.chunks) > 0:
		return -1
	}
	return head.Length
}

// errWrite marks a failure to write to the client, errHook one of a policy.
var (
	errWrite = errors.New("write to the client")
	errHook  = errors.New("chunk refused by a policy")
)

// stream copies the body. What has come is written before anything more is waited for, and sent before the wait.
func (c *call) stream() error {
	body := &c.conn.Body
	for {
		p, err := body.Next(false)
		if err == nil && len(p) == 0 {
			if c.w.Flush() != nil {
				return errWrite
			}
			p, err = body.Next(true)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		for _, h := range c.chunks {
			if p, err = h.Chunk(c.ctx, c.x, p); err != nil {
				return errHook
			}
		}
		if _, err := c.w.Write(p); err != nil {
			return errWrite
		}
	}
}

// cut says why a response broke off, for the records.
func (c *call) cut(err error) *policy.Reject {
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
	resp.Status, resp.Header = 101, h
	if c.hooks != nil {
		c.hooks.Respond(c.ctx, c.x, resp)
	}
	client, err := c.w.Tunnel(&resp.Header)
	if err != nil {
		return c.reject(c.hangUp(httpmsg.ErrClientClosed))
	}
	c.join(client)
	_ = c.hangUp(nil)
	return nil
}

// timeout reports whether err is a deadline.
func timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
