package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/telemetry"
)

// Chain is the policies of one route, in pipeline order, sorted once by the hooks they have. It is immutable.
type Chain struct {
	steps []Step
	known int    // steps after which it is known who calls
	hooks *hooks // nil: none
}

// hooks are what few policies have beside a decision.
type hooks struct {
	respond []responder
	streams []policy.StreamHandler
	finish  []finisher
	closers []io.Closer
}

// responder is a policy that edits responses, and its place in steps.
type responder struct {
	policy.ResponseHandler
	place int
}

// finisher is a policy that settles accounts, and its place in steps.
type finisher struct {
	policy.FinishHandler
	place int
}

// Step is one policy in the chain.
type Step struct {
	Kind    *policy.Kind
	Handler policy.Handler
	metrics *telemetry.PolicyMetrics
}

// build makes the handlers of a route. On error, and in a panic, it closes what it had made.
func (c *Chain) build(ctx context.Context, kinds map[string]*policy.Kind, env policy.Env, r *Route) error {
	whole := false
	defer func() {
		if !whole {
			_ = c.Close() // the error that stopped the build is the one to report
			*c = Chain{}
		}
	}()
	for _, p := range r.Plan.Policies {
		kind, ok := kinds[p.Kind]
		if !ok {
			return fmt.Errorf("policy kind %q is not known to this gwrun; upgrade it first", p.Kind)
		}
		e := env
		e.Log = env.Log.With(slog.String("policy", p.Kind), slog.String("route", r.Plan.ID))
		e.Route, e.Upstream = r.Info, r.Plan.Target.Upstream
		h, err := kind.Build(ctx, &e, p.Plan)
		if err != nil {
			return fmt.Errorf("build policy %s: %w", p.Kind, err)
		}
		c.add(kind, h, r.Metrics.Policy(kind.Name))
	}
	whole = true
	return nil
}

func (c *Chain) add(kind *policy.Kind, h policy.Handler, m *telemetry.PolicyMetrics) {
	c.steps = append(c.steps, Step{Kind: kind, Handler: h, metrics: m})
	if kind.Phase <= policy.PhaseAuthenticate {
		c.known = len(c.steps)
	}
	var own hooks
	if c.hooks != nil {
		own = *c.hooks
	}
	had := own.count()
	if r, ok := h.(policy.ResponseHandler); ok {
		own.respond = append(own.respond, responder{r, len(c.steps) - 1})
	}
	if st, ok := h.(policy.StreamHandler); ok {
		own.streams = append(own.streams, st)
	}
	if f, ok := h.(policy.FinishHandler); ok {
		own.finish = append(own.finish, finisher{f, len(c.steps) - 1})
	}
	if cl, ok := h.(io.Closer); ok {
		own.closers = append(own.closers, cl)
	}
	if own.count() > had {
		c.hooks = &own
	}
}

func (h *hooks) count() int { return len(h.respond) + len(h.streams) + len(h.finish) + len(h.closers) }

// Steps lists the policies, for explanations. The caller must not change it.
func (c *Chain) Steps() []Step { return c.steps }

// Streams asks the policies that rewrite bodies about this response, last policy first, as Respond does.
func (c *Chain) Streams(ctx context.Context, x *policy.Exchange, r *httpmsg.Response) []policy.Stream {
	if c.hooks == nil {
		return nil
	}
	var out []policy.Stream
	for i := len(c.hooks.streams) - 1; i >= 0; i-- {
		if s := c.hooks.streams[i].Stream(ctx, x, r); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// Decide asks each policy in turn that was not asked yet, and stops at the first that answers or refuses. asked counts those that were
// asked; it is kept up to date while they are, so that it holds in a panic too.
func (c *Chain) Decide(ctx context.Context, x *policy.Exchange, asked *int) policy.Verdict {
	return c.decide(ctx, x, asked, len(c.steps))
}

// Identify is Decide for the policies after which it is known who calls.
func (c *Chain) Identify(ctx context.Context, x *policy.Exchange, asked *int) policy.Verdict {
	return c.decide(ctx, x, asked, c.known)
}

func (c *Chain) decide(ctx context.Context, x *policy.Exchange, asked *int, end int) policy.Verdict {
	for i := *asked; i < end; i++ {
		*asked = i + 1
		if v := c.steps[i].Handler.Decide(ctx, x); v.Reject != nil || v.Response != nil {
			return v
		}
	}
	return policy.Pass
}

// Respond lets the policies edit the response header, last policy first: what a request met first it leaves last.
func (c *Chain) Respond(ctx context.Context, x *policy.Exchange, r *httpmsg.Response) {
	if c.hooks == nil {
		return
	}
	for i := len(c.hooks.respond) - 1; i >= 0; i-- {
		c.hooks.respond[i].Respond(ctx, x, r)
	}
}

// RespondAsked is Respond for a response that the gateway made itself: the policies that were asked edit it.
func (c *Chain) RespondAsked(ctx context.Context, x *policy.Exchange, r *httpmsg.Response, asked int) {
	if c.hooks == nil {
		return
	}
	for i := len(c.hooks.respond) - 1; i >= 0; i-- {
		if h := c.hooks.respond[i]; h.place < asked {
			h.Respond(ctx, x, r)
		}
	}
}

// Preflights reports whether a policy answers preflight requests.
func (c *Chain) Preflights() bool {
	for i := range c.steps {
		if p, ok := c.steps[i].Handler.(policy.PreflightHandler); ok && p.Preflights() {
			return true
		}
	}
	return false
}

// Finish settles accounts, last policy first: those of the policies that were asked, and of each of them even if another one
// panics.
func (c *Chain) Finish(x *policy.Exchange, status, asked int) {
	if c.hooks != nil {
		c.finishFrom(len(c.hooks.finish)-1, x, status, asked)
	}
}

func (c *Chain) finishFrom(i int, x *policy.Exchange, status, asked int) {
	if i < 0 {
		return
	}
	defer c.finishFrom(i-1, x, status, asked)
	if f := c.hooks.finish[i]; f.place < asked {
		f.Finish(x, status)
	}
}

// Finishes reports whether Finish does anything.
func (c *Chain) Finishes() bool { return c.hooks != nil && len(c.hooks.finish) > 0 }

// Close closes the policies that own something, in reverse order, and all of them whatever one of them does.
func (c *Chain) Close() error {
	if c.hooks == nil {
		return nil
	}
	var errs []error
	for i := len(c.hooks.closers) - 1; i >= 0; i-- {
		errs = append(errs, closeOne(c.hooks.closers[i]))
	}
	c.hooks.closers = nil
	return errors.Join(errs...)
}

func closeOne(c io.Closer) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return c.Close()
}
