package httptarget

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/engine/wire"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/retry"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/health"
	"github.com/suuupra/gateway/schema/ir"
)

// trying is where the attempts of one exchange stand.
type trying struct {
	avoid   upstream.Tried
	retries int64
	by      time.Time // of the attempt under way, to its response header; zero: none
	pass    breaker.Call
	passed  bool // pass is to be ended
}

// outcome is how an attempt went. The zero value is a response that is handed on.
type outcome struct {
	err      error
	why      string // the condition under which it may be repeated; empty: under none
	reason   string // for metrics
	harmless bool   // the upstream has done nothing about the request
	pause    time.Duration
}

// implied is what holds for routes without a retry policy: a server that cannot be connected to is passed over. It asks no server
// twice, so all requests may do so at a time, but for the upstream's own bound.
var implied = ir.Retry{Attempts: 2, On: []string{ir.RetryConnectFailure, ir.RetryRefusedStream}, BudgetPercent: 100}

// attempts sends the request until there is a response to hand on, or a failure that cannot be mended.
func (c *call) attempts() error {
	defer c.endRetry() // the body of a response, which may last for hours, is no retry any more
	if c.late() {
		return c.lateness()
	}
	c.key = c.hashKey()
	if wait, ok := c.allowed(); !ok {
		return &openError{wait}
	}
	for {
		o := c.attempt()
		if o.err == nil && o.why == "" || !c.again(&o) {
			return o.err
		}
		if o.err == nil {
			c.discard()
		}
		if !c.t.env.Sleep(c.ctx, o.pause) {
			c.settle(true, false, 0)
			return httpmsg.ErrClientClosed
		}
	}
}

// allowed asks the breaker whether an attempt may be made; settle tells it how that went.
func (c *call) allowed() (wait time.Duration, ok bool) {
	if c.t.breaker == nil {
		return 0, true
	}
	c.trying.pass, wait, ok = c.t.breaker.Allow()
	c.trying.passed = ok
	return wait, ok
}

func (c *call) settle(void, failed bool, header time.Duration) {
	if !c.trying.passed {
		return
	}
	c.trying.passed = false
	if void {
		c.trying.pass.Cancel()
		return
	}
	c.trying.pass.Done(failed, header)
}

// attempt makes one attempt, up to the header of the response. A pooled connection that turns out to be gone is no failure of the
// upstream's: another one is taken, in the end a new one.
func (c *call) attempt() outcome {
	const tries = 3
	c.trying.by = c.by
	if p := c.t.retry; p != nil && p.PerTryTimeout > 0 {
		if by := time.Now().Add(time.Duration(p.PerTryTimeout) * time.Millisecond); c.by.IsZero() || by.Before(c.by) {
			c.trying.by = by
		}
	}
	fresh := false
	for try := 1; ; try++ {
		conn, err := c.t.up.Acquire(c.ctx, upstream.Ask{
			By: c.trying.by, Key: c.key, Avoid: c.trying.avoid, Fresh: fresh || try == tries, HTTP1: c.r.Upgrade != "",
		})
		if err != nil {
			return c.unconnected(err)
		}
		c.x.Attempt = int(c.trying.retries) + 1
		c.x.Endpoint = conn.Endpoint().String()
		c.x.Timings.UpstreamHeader = time.Time{}
		c.attach(conn)
		harmless, err := c.send()
		if err == nil {
			return c.judge()
		}
		if !conn.Reused || !harmless || fresh || try == tries || c.ctx.Err() != nil {
			return c.failed(err)
		}
		fresh = !errors.Is(err, wire.ErrStale)
		_ = c.hangUp(err)
	}
}

// unconnected is the outcome of an attempt that got no connection.
func (c *call) unconnected(err error) outcome {
	var dial *upstream.DialError
	if !errors.As(err, &dial) {
		c.settle(true, false, 0)
		return outcome{err: err}
	}
	c.x.Attempt = int(c.trying.retries) + 1
	c.x.Endpoint = dial.Endpoint.String()
	c.trying.avoid.Add(dial.Endpoint)
	c.complain(dial.Endpoint, err)
	c.settle(false, true, 0)
	return outcome{err: err, why: ir.RetryConnectFailure, reason: cause(err), harmless: true}
}

// failed is the outcome of an attempt that broke off before the response header.
func (c *call) failed(err error) outcome {
	if timeout(err) && c.awaitsClient() {
		err = errSlowBody
	}
	err = c.stopSending(err)
	endpoint := c.conn.Endpoint()
	refused := errors.Is(err, upstream.ErrRefusedStream)
	o := outcome{err: err, harmless: refused || errors.Is(err, wire.ErrStale), reason: cause(err)}
	void := c.ownFault(err)
	if !void && !o.harmless {
		c.conn.Report(blame(err), 0)
		c.complain(endpoint, err)
	}
	c.conn.Release(false)
	c.conn = nil
	c.settle(void, true, 0)
	c.trying.avoid.Add(endpoint)
	switch {
	case void, c.spent, c.informed: // what went up, or down, cannot be taken back
	case refused:
		o.why = ir.RetryRefusedStream
	case o.harmless:
		o.why = ir.RetryConnectFailure
	case o.reason == timedOut:
		o.why = ir.RetryTimeout
	case o.reason == wasReset, o.reason == badResponse:
		o.why = ir.RetryReset
	}
	return o
}

// complain says in the log what is the matter with an endpoint, now and then: in an outage every request would.
func (c *call) complain(e *upstream.Endpoint, err error) {
	if now := c.t.env.Now(); e.Complains(now) {
		c.t.env.Log.Warn("an upstream fails", slog.String("upstream", c.x.Upstream), slog.String("endpoint", e.String()),
			slog.String("route", c.x.Route.ID), slog.String("reason", cause(err)), slog.Any("error", err))
	}
}

// ownFault reports whether it was the client, and not the upstream, that made an attempt fail.
func (c *call) ownFault(err error) bool {
	var fromClient *clientError
	return errors.As(err, &fromClient) || errors.Is(err, httpmsg.ErrClientClosed) || c.ctx.Err() != nil
}

// late reports whether the exchange has used up its time.
func (c *call) late() bool { return !c.by.IsZero() && !time.Now().Before(c.by) }

// lateness is what to say of an exchange that has no time left for the upstream, which has nothing to do with that.
func (c *call) lateness() error {
	if c.r.Body != nil {
		return errSlowBody
	}
	return os.ErrDeadlineExceeded
}

// errSlowBody says that it was the client who used up the time.
var errSlowBody = &clientError{&httpmsg.Error{Status: 408, Code: "body_timeout", Detail: "the request body did not come in time"}}

// awaitsClient reports whether it is more of the client's body that a request waited for when its time was up.
func (c *call) awaitsClient() bool {
	if c.h2 != nil {
		return c.h2.slow.Load()
	}
	return c.up != nil && c.up.reading.Load()
}

// blame is what a failure before the header, or within the body, says about the endpoint.
func blame(err error) health.Result {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return health.TimedOut
	}
	return health.Reset
}

// judge is the outcome of an attempt that got a response header.
func (c *call) judge() outcome {
	status := c.status()
	t := &c.x.Timings
	c.settle(false, status >= 500, t.UpstreamHeader.Sub(t.UpstreamStart))
	p := c.t.retry
	if p == nil || status < 429 {
		return outcome{}
	}
	o := outcome{reason: "status"}
	for _, on := range p.On {
		switch {
		case on == ir.RetryStatus5xx && status >= 500,
			on == ir.RetryStatusGateway && status >= 502 && status <= 504,
			on == ir.RetryStatus429 && status == 429:
			o.why = on
		}
	}
	if o.why != "" && (!c.whole || c.informed) {
		o.why = ""
	}
	return o
}

// again reports whether another attempt is made, after o.pause.
func (c *call) again(o *outcome) bool {
	p := c.t.retry
	if p == nil {
		if p = &implied; o.why != "" && !c.t.up.Untried(&c.trying.avoid) {
			return false // there is nowhere else to go
		}
	}
	if o.why == "" || c.ctx.Err() != nil || !slices.Contains(p.On, o.why) || !o.harmless && !c.repeatableBy(p) {
		return false
	}
	if reason := c.hindrance(p, o); reason != "" {
		c.t.metrics.NotRetried(reason)
		return false
	}
	if o.err == nil {
		c.trying.avoid.Add(c.conn.Endpoint())
	}
	c.trying.retries++
	c.t.metrics.Retried(o.reason)
	return true
}

// hindrance is why an attempt that may be repeated is not; empty if it is, with a place in the budget and the breaker's leave.
func (c *call) hindrance(p *ir.Retry, o *outcome) string {
	if c.trying.retries >= p.Attempts {
		return "attempts"
	}
	limit := time.Duration(p.BackoffMax) * time.Millisecond
	o.pause = retry.Backoff(time.Duration(p.BackoffBase)*time.Millisecond, limit, int(c.trying.retries)+1, c.t.env.Rand)
	now := c.t.env.Now()
	if o.err == nil {
		if after, ok := retry.After(c.resp.Header.Get("Retry-After"), now, time.Hour); ok {
			if after > limit {
				return "retry_after" // the upstream asks for more patience than the route has
			}
			o.pause = max(o.pause, after)
		}
	}
	if !c.by.IsZero() && !now.Add(o.pause).Before(c.by) {
		return "deadline"
	}
	if !c.retrying {
		if c.retrying = c.t.up.TryRetry(p.BudgetPercent, p.BudgetMin); !c.retrying {
			return "budget"
		}
	}
	if _, ok := c.allowed(); !ok {
		return "breaker"
	}
	return ""
}

func (c *call) endRetry() {
	if c.retrying {
		c.retrying = false
		c.t.up.EndRetry()
	}
}

// repeatable reports whether sending the request twice is the same as sending it once (RFC 9110 section 9.2.2).
func (c *call) repeatable() bool {
	switch c.r.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return c.r.Upgrade == ""
	}
	return false
}

// repeatableBy is repeatable as the route has it. A client that sends an Idempotency-Key says that its request may be repeated.
func (c *call) repeatableBy(p *ir.Retry) bool {
	return c.r.Upgrade == "" && (slices.Contains(p.Methods, c.r.Method) || c.r.Header.Get("Idempotency-Key") != "")
}

// discard drops a response that is not handed on. What has come of it is read, so that the connection may be kept.
func (c *call) discard() {
	c.conn.Report(verdict(c.status()), c.x.Timings.UpstreamHeader.Sub(c.x.Timings.UpstreamStart))
	if c.h2 != nil {
		_ = c.hangUp(nil)
		return
	}
	c.conn.BeginBody(c.by, c.t.idle)
	for dropped := 0; dropped < gather; {
		p, err := c.conn.Body.Next(false)
		if err != nil || len(p) == 0 {
			break
		}
		dropped += len(p)
	}
	c.detach()
	c.conn.Release(true)
	c.conn = nil
}

// verdict is what the status of a response says about the endpoint.
func verdict(status int) health.Result {
	switch {
	case status >= 502 && status <= 504:
		return health.GatewayError
	case status >= 500:
		return health.Status5xx
	}
	return health.Success
}
