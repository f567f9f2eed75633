// Package httptarget forwards one exchange to an HTTP upstream and streams the answer back. It follows the rules for
// intermediaries (RFC 9110 section 7.6), holds every timeout of the route, repeats attempts where that does no harm, asks the
// route's breaker, and makes a response that broke off look broken to the client. It decides nothing about who may do what.
package httptarget

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/schema/ir"
)

// Name is the target's type in a route.
const Name = "http"

// Plan is the compiled form of an http target, beside its upstream.
type Plan struct {
	// PathPrefix is the path of the target's url, put before the request's path. No slash at its end.
	PathPrefix string `json:"pathPrefix,omitempty"`
}

// Target forwards the exchanges of one route. It is immutable, but for its breaker; the upstream belongs to the snapshot.
type Target struct {
	prefix string
	up     *upstream.Upstream
	retry  *ir.Retry // nil: implied
	total  time.Duration
	header time.Duration
	idle   time.Duration

	breaker *breaker.Breaker // nil: none
	release func()           // gives the breaker back; may be nil
	metrics target.Metrics
	env     *target.Env
}

// Build makes the Target of a route from its compiled form.
func Build(r *ir.Route, m target.Metrics, env *target.Env) (*Target, error) {
	if env.Upstream == nil {
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
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	f := &r.Forward
	t := &Target{
		prefix: strings.TrimSuffix(p.PathPrefix, "/"), up: env.Upstream, retry: f.Retry, metrics: m, env: env,
		total: ms(f.Timeout), header: ms(f.HeaderTimeout), idle: ms(f.IdleTimeout),
	}
	return t, t.guard(r.ID, f.Breaker)
}

// guard gives the target its breaker: the one that snapshots before this had, if its settings are the same.
func (t *Target) guard(route string, s *ir.Breaker) error {
	if s == nil {
		return nil
	}
	id := t.up.Spec().ID
	watch := watcher{id, t.env.Log, t.metrics} // outlives the target, and must not keep its upstream
	env := breaker.Env{Now: t.env.Now, Rand: t.env.Rand, OnChange: watch.changed}
	create := func() (any, error) { return breaker.New(*s, env), nil }
	if t.env.Shared == nil {
		b, _ := create()
		t.breaker = b.(*breaker.Breaker)
		return nil
	}
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%+v", *s)
	b, release, err := t.env.Shared.Get(fmt.Sprintf("breaker/%s/%s/%x", route, id, sum.Sum64()), create)
	if err != nil {
		return err
	}
	t.breaker, t.release = b.(*breaker.Breaker), release
	return nil
}

// watcher tells of a breaker's changes.
type watcher struct {
	upstream string
	log      *slog.Logger
	metrics  target.Metrics
}

func (w watcher) changed(c breaker.Change) {
	level := slog.LevelInfo
	if c.To == breaker.Open {
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, "circuit breaker changed", slog.String("upstream", w.upstream), slog.String("from", c.From.String()),
		slog.String("to", c.To.String()), slog.Int64("calls", c.Calls), slog.Int64("failed", c.Failed), slog.Int64("slow", c.Slow),
		slog.Duration("openFor", c.OpenFor))
	w.metrics.BreakerChanged(c)
}

// Breaker is the state of the route's breaker; false if it has none.
func (t *Target) Breaker() (breaker.Status, bool) {
	if t.breaker == nil {
		return breaker.Status{}, false
	}
	return t.breaker.Status(), true
}

// Close implements io.Closer: it gives the breaker back.
func (t *Target) Close() error {
	if t.release != nil {
		t.release()
	}
	return nil
}

// Serve implements target.Target: it sends the exchange upstream and the answer to w, and fills x.Attempt, x.Upstream,
// x.Endpoint and x.Timings. A reject after the response was started says why it broke off. hooks may be nil.
func (t *Target) Serve(ctx context.Context, x *policy.Exchange, w httpmsg.ResponseWriter, hooks target.Hooks) *policy.Reject {
	c := calls.Get().(*call)
	*c = call{t: t, ctx: ctx, x: x, r: x.Request, w: w, hooks: hooks}
	defer c.free()
	x.Upstream = t.up.Spec().ID
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
	if !t.up.Begin() {
		return overloaded("the upstream has as many requests under way as it may have")
	}
	defer t.up.End()
	if err := c.attempts(); err != nil {
		reject := c.reject(err)
		if c.trying.retries > 0 {
			reject.Header = append(reject.Header, c.attempted())
		}
		return reject
	}
	return c.respond()
}

var calls = sync.Pool{New: func() any { return new(call) }}

// call is one exchange on its way.
type call struct {
	t       *Target
	ctx     context.Context
	x       *policy.Exchange
	r       *httpmsg.Request
	w       httpmsg.ResponseWriter
	hooks   target.Hooks // may be nil
	streams []policy.Stream
	by      time.Time // total timeout; zero: none
	key     balance.Key

	resp     httpmsg.Response
	out      *[]byte // head for HTTP/1.1, and behind it what was there of the body
	head     int     // length of the head in out
	framed   bool    // out is as it goes out over HTTP/1.1, chunks and all
	plain    []byte  // if framed: what out holds of the body, without the chunks
	whole    bool    // out holds the whole request
	chunked  bool    // over HTTP/1.1 the body goes out in chunks
	held     bool    // the client waits for 100 (Continue), and so does the body
	spent    bool    // something was read of the body beyond what out holds
	informed bool    // the client got a 1xx response of the upstream

	trying   trying
	up       *uplink
	conn     *upstream.Conn
	h2       *stream2 // not nil: the connection speaks HTTP/2
	stop     func()   // for contexts without a slot
	retrying bool     // a place in the retry budget is taken
}

// attach makes the end of the exchange interrupt what is pending on the connection.
func (c *call) attach(conn *upstream.Conn) {
	c.conn = conn
	if conn.H2 != nil {
		return // its context does
	}
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
	} else if slot, ok := c.ctx.(httpmsg.CancelSlot); ok && c.h2 == nil {
		slot.OnCancel(nil)
	}
}

// stopSending ends what an attempt does in the background. If the client's body is what failed, that is the error that counts.
func (c *call) stopSending(err error) error {
	var failed error
	if c.h2 != nil {
		failed = c.h2.end()
		c.h2 = nil
	} else {
		c.detach()
		if c.up != nil {
			failed = c.up.end()
			c.up = nil
		}
	}
	if failed != nil {
		return failed
	}
	return err
}

// hangUp ends an attempt that came to nothing.
func (c *call) hangUp(err error) error {
	err = c.stopSending(err)
	c.conn.Release(false)
	c.conn = nil
	return err
}

// free gives back what the call used. If it still has its connection, a policy has panicked: nothing that the call started
// may go on, and the client must not take what it got for the whole.
func (c *call) free() {
	if c.conn != nil {
		_ = c.hangUp(nil)
		if c.w.Started() {
			c.w.Abort()
		}
	}
	c.settle(true, false, 0)
	c.freeOut()
	streams := c.streams
	*c = call{}
	calls.Put(c)
	for _, s := range streams {
		s.Close()
	}
}

// freeOut gives back the buffer of the request, once it need not be sent again.
func (c *call) freeOut() {
	if c.out == nil {
		return
	}
	if *c.out = (*c.out)[:0]; cap(*c.out) <= 2*gather {
		outBuffers.Put(c.out)
	}
	c.out = nil
}
