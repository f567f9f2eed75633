package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/ir"
)

// Chain is the policies of one route, in pipeline order, sorted once by the hooks they have. It is immutable.
type Chain struct {
	steps   []Step
	respond []policy.ResponseHandler
	chunks  []policy.ChunkHandler
	finish  []policy.FinishHandler
	closers []io.Closer
}

// Step is one policy in the chain.
type Step struct {
	Kind    string
	Phase   policy.Phase
	Handler policy.Handler
	metrics *telemetry.PolicyMetrics
}

// buildChain makes the handlers of a route. On error it closes what it had made.
func buildChain(ctx context.Context, kinds map[string]policy.Kind, env policy.Env, route *telemetry.RouteMetrics, id string, plans []ir.Policy) (*Chain, error) {
	c := &Chain{}
	for _, p := range plans {
		kind, ok := kinds[p.Kind]
		if !ok {
			return nil, errors.Join(fmt.Errorf("policy kind %q is not known to this gwrun; upgrade it first", p.Kind), c.Close())
		}
		e := env
		e.Log = env.Log.With(slog.String("policy", p.Kind), slog.String("route", id))
		h, err := kind.Build(ctx, &e, p.Plan)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("build policy %s: %w", p.Kind, err), c.Close())
		}
		c.add(kind, h, route.Policy(kind.Name))
	}
	return c, nil
}

func (c *Chain) add(kind policy.Kind, h policy.Handler, m *telemetry.PolicyMetrics) {
	c.steps = append(c.steps, Step{Kind: kind.Name, Phase: kind.Phase, Handler: h, metrics: m})
	if r, ok := h.(policy.ResponseHandler); ok {
		c.respond = append(c.respond, r)
	}
	if ch, ok := h.(policy.ChunkHandler); ok {
		c.chunks = append(c.chunks, ch)
	}
	if f, ok := h.(policy.FinishHandler); ok {
		c.finish = append(c.finish, f)
	}
	if cl, ok := h.(io.Closer); ok {
		c.closers = append(c.closers, cl)
	}
}

// Steps lists the policies, for explanations. The caller must not change it.
func (c *Chain) Steps() []Step { return c.steps }

// Chunks are the policies that see the response body as it streams.
func (c *Chain) Chunks() []policy.ChunkHandler { return c.chunks }

// Decide asks each policy in turn. It stops at the first that answers or refuses, and returns its place in Steps, or -1.
func (c *Chain) Decide(ctx context.Context, x *policy.Exchange) (policy.Verdict, int) {
	for i := range c.steps {
		if v := c.steps[i].Handler.Decide(ctx, x); v.Reject != nil || v.Response != nil {
			return v, i
		}
	}
	return policy.Pass, -1
}

// Respond lets the policies edit the response header, last policy first: what a request met first it leaves last.
func (c *Chain) Respond(ctx context.Context, x *policy.Exchange, r *httpmsg.Response) {
	for i := len(c.respond) - 1; i >= 0; i-- {
		c.respond[i].Respond(ctx, x, r)
	}
}

// Finish settles accounts, last policy first.
func (c *Chain) Finish(x *policy.Exchange, status int) {
	for i := len(c.finish) - 1; i >= 0; i-- {
		c.finish[i].Finish(x, status)
	}
}

// Close closes the policies that own something, in reverse order.
func (c *Chain) Close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i].Close())
	}
	c.closers = nil
	return errors.Join(errs...)
}
