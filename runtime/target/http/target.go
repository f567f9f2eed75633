// Package httptarget forwards one exchange to an HTTP/1.1 upstream and streams the answer back. It follows the rules for
// intermediaries (RFC 9110 section 7.6), holds every timeout of the route, and makes a response that broke off look broken to
// the client. It decides nothing about who may do what, and it keeps no state between exchanges.
package httptarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// Name is the target's type in a route.
const Name = "http"

// Plan is the compiled form of an http target, beside its upstream.
type Plan struct {
	// PathPrefix is the path of the target's url, put before the request's path. No slash at its end.
	PathPrefix string `json:"pathPrefix,omitempty"`
}

// Target forwards the exchanges of one route. It is immutable; the pool belongs to the snapshot.
type Target struct {
	prefix string
	pool   *upstream.Pool
	host   string // sent as Host; empty: as received
	total  time.Duration
	header time.Duration
	idle   time.Duration
}

// New makes a Target.
func New(p Plan, pool *upstream.Pool, f ir.Forward) *Target {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	return &Target{
		prefix: strings.TrimSuffix(p.PathPrefix, "/"), pool: pool, host: pool.Spec().Host,
		total: ms(f.Timeout), header: ms(f.HeaderTimeout), idle: ms(f.IdleTimeout),
	}
}

// Build makes the Target of a route from its compiled form.
func Build(r *ir.Route, pool *upstream.Pool) (*Target, error) {
	if pool == nil {
		return nil, fmt.Errorf("route %s: an http target needs an upstream", r.ID)
	}
	var p Plan
	if len(r.Target.Plan) > 0 {
		if err := ir.DecodeStrict(r.Target.Plan, &p); err != nil {
			return nil, fmt.Errorf("route %s: decode http plan: %w", r.ID, err)
		}
	}
	if p.PathPrefix != "" && (p.PathPrefix[0] != '/' || !http1.SafeTarget(p.PathPrefix)) {
		return nil, fmt.Errorf("route %s: path prefix %q is not a path", r.ID, p.PathPrefix)
	}
	return New(p, pool, r.Forward), nil
}

// Serve implements target.Target: it sends the exchange upstream and the answer to w, and fills x.Attempt, x.Upstream,
// x.Endpoint and x.Timings. A reject after the response was started says why it broke off. hooks may be nil.
func (t *Target) Serve(ctx context.Context, x *policy.Exchange, w httpmsg.ResponseWriter, hooks target.Hooks) *policy.Reject {
	c := calls.Get().(*call)
	*c = call{t: t, ctx: ctx, x: x, r: x.Request, w: w, hooks: hooks}
	defer c.free()
	if hooks != nil {
		c.chunks = hooks.Chunks()
	}
	x.Upstream = t.pool.Spec().ID
	if x.MaxBody > 0 {
		c.r.MaxBody = x.MaxBody
	}
	if t.total > 0 {
		start := x.Timings.Start
		if start.IsZero() {
			start = x.Request.Received
		}
		c.by = start.Add(t.total)
	}
	if reject := c.prepare(); reject != nil {
		return reject
	}
	if err := c.exchange(); err != nil {
		return c.reject(err)
	}
	return c.respond()
}

var calls = sync.Pool{New: func() any { return new(call) }}

// call is one exchange on its way.
type call struct {
	t      *Target
	ctx    context.Context
	x      *policy.Exchange
	r      *httpmsg.Request
	w      httpmsg.ResponseWriter
	hooks  target.Hooks // may be nil
	chunks []policy.ChunkHandler
	by     time.Time // total timeout; zero: none

	resp    httpmsg.Response
	out     *[]byte // head and what was there of the body
	whole   bool    // out holds the whole request
	chunked bool    // the body goes out in chunks
	held    bool    // the client waits for 100 (Continue), and so does the body
	up      *uplink
	conn    *upstream.Conn
	stop    func() // for contexts without a slot
}

// exchange sends the request and reads the head of the final response. It tries again where that cannot do harm: an idle
// connection turned out to be stale before anything was sent, or, once and on a new connection, a reused one died without an
// answer and the request may be repeated.
func (c *call) exchange() error {
	const tries = 3
	fresh := false
	for try := 1; ; try++ {
		conn, err := c.t.pool.Acquire(c.ctx, c.by, fresh || try == tries)
		if err != nil {
			return err
		}
		c.x.Attempt++
		c.x.Endpoint = conn.Endpoint()
		c.attach(conn)
		harmless, err := c.send()
		if err == nil {
			return nil
		}
		err = c.hangUp(err)
		if !conn.Reused || !harmless || fresh || try == tries || c.ctx.Err() != nil {
			return err
		}
		fresh = !errors.Is(err, wire.ErrStale)
	}
}

// attach makes the end of the exchange interrupt what is pending on the connection.
func (c *call) attach(conn *upstream.Conn) {
	c.conn = conn
	if slot, ok := c.ctx.(httpmsg.CancelSlot); ok {
		slot.OnCancel(conn.Interrupt)
		return
	}
	c.stop = httpmsg.OnCancel(c.ctx, conn.Interrupt)
}

func (c *call) detach() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	} else if slot, ok := c.ctx.(httpmsg.CancelSlot); ok {
		slot.OnCancel(nil)
	}
}

// hangUp ends a failed attempt. If the client's body is what failed, that is the error that counts.
func (c *call) hangUp(err error) error {
	c.detach()
	if c.up != nil {
		if failed := c.up.end(); failed != nil {
			err = failed
		}
	}
	c.conn.Release(false)
	c.conn = nil
	return err
}

// send sends the request on the connection and reads the head of the answer. harmless reports whether the request may be sent
// again after an error.
func (c *call) send() (harmless bool, err error) {
	conn := c.conn
	c.x.Timings.UpstreamStart = time.Now()
	if c.whole {
		now := c.x.Timings.UpstreamStart
		conn.ReadBy(now, c.by, c.t.header)
		conn.WriteBy(now, c.by, c.t.header)
		used, err := conn.Wire.Trade(*c.out)
		if err != nil {
			return !used || c.repeatable(), err
		}
	} else if sent, err := c.sendStreaming(); err != nil {
		return !sent, err
	}
	for informational := 0; ; {
		started, err := conn.ReadHead(c.r.Method)
		if err != nil {
			return !started && informational == 0 && c.whole && c.repeatable(), err
		}
		if conn.Head.Status >= 200 || conn.Head.Status == 101 {
			c.x.Timings.UpstreamHeader = time.Now()
			return false, nil
		}
		if informational++; informational > maxInformational {
			return false, errFlood
		}
		if err := c.pass(); err != nil {
			return false, err
		}
	}
}

// maxInformational bounds the 1xx responses of one exchange.
const maxInformational = 16

var (
	errFlood      = &httpmsg.Error{Status: 502, Code: "too_many_informational", Detail: "too many 1xx responses"}
	errUnexpected = &httpmsg.Error{Status: 502, Code: "unexpected_upgrade", Detail: "101 was not asked for"}
)

// pass hands a 1xx response on.
func (c *call) pass() error {
	head := &c.conn.Head
	if head.Status == 100 {
		if c.up != nil {
			c.up.proceed()
		}
		return nil // the client gets it when its body is read
	}
	if err := c.w.Informational(head.Status, &httpmsg.Header{Fields: head.Fields}); err != nil {
		return httpmsg.ErrClientClosed
	}
	return nil
}

// repeatable reports whether sending the request twice is the same as sending it once (RFC 9110 section 9.2.2).
func (c *call) repeatable() bool {
	switch c.r.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return c.r.Upgrade == ""
	}
	return false
}

// reject turns the failure to get a response into the answer for the client.
func (c *call) reject(err error) *policy.Reject {
	if errors.Is(err, upstream.ErrNoEndpoints) {
		return &policy.Reject{Status: 503, Code: "no_endpoints", Detail: "the upstream has no endpoints"}
	}
	if errors.Is(err, upstream.ErrOverloaded) {
		return &policy.Reject{
			Status: 503, Code: "upstream_overloaded", Detail: "the upstream has no free connection",
			Header: []httpmsg.Field{{Name: "Retry-After", Value: "1"}},
		}
	}
	if fromClient := (*clientError)(nil); errors.As(err, &fromClient) {
		e := fromClient.cause
		return &policy.Reject{Status: e.Status, Code: e.Code, Detail: e.Detail}
	}
	if errors.Is(err, httpmsg.ErrClientClosed) || c.ctx.Err() != nil {
		e := httpmsg.ErrClientClosed
		return &policy.Reject{Status: e.Status, Code: e.Code, Detail: e.Detail}
	}
	code := cause(err)
	return &policy.Reject{Status: statuses[code], Code: code, Detail: details[code]}
}

// The reasons for which an upstream fails.
const (
	connectFailed = "upstream_connect_failed"
	timedOut      = "upstream_timeout"
	wasReset      = "upstream_reset"
	badResponse   = "upstream_bad_response"
)

var statuses = map[string]int{connectFailed: 502, timedOut: 504, wasReset: 502, badResponse: 502}

var details = map[string]string{
	connectFailed: "the upstream could not be connected to",
	timedOut:      "the upstream did not answer in time",
	wasReset:      "the upstream closed the connection before it had answered",
	badResponse:   "the upstream sent a malformed response",
}

// cause names what an error of the upstream's connection means.
func cause(err error) string {
	var dial *upstream.DialError
	switch {
	case errors.As(err, &dial):
		if dial.Timeout() {
			return timedOut
		}
		return connectFailed
	case errors.Is(err, upstream.ErrClosed):
		return connectFailed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case errors.Is(err, wire.ErrInterrupted), errors.Is(err, io.ErrUnexpectedEOF):
		return wasReset
	}
	if _, malformed := upstream.Malformed(err); malformed {
		return badResponse
	}
	return wasReset
}
