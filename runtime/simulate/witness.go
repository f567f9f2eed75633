package simulate

import (
	"context"
	"encoding/json"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/schema/ir"
)

// witness stands in the place of a policy: it has the policy decide, and notes what it decided. Its optional methods do nothing where
// the policy has none.
type witness struct {
	w     *world
	kind  policy.Kind
	env   policy.Env
	plan  json.RawMessage
	point int

	epoch     int            // for which inner was made
	inner     policy.Handler // nil: the mutant has no such policy
	respond   policy.ResponseHandler
	stream    policy.StreamHandler
	finish    policy.FinishHandler
	preflight policy.PreflightHandler
}

// witnesses is a kind whose policies are watched. eager builds each once ahead of need.
func (w *world) witnesses(k policy.Kind, eager bool) policy.Kind {
	return policy.Define(k.Name, k.Phase,
		func(*policy.CompileContext, *struct{}) *json.RawMessage { return nil }, // what is compiled already is not compiled again
		func(ctx context.Context, e *policy.Env, plan *json.RawMessage) (policy.Handler, error) {
			h := &witness{w: w, kind: k, env: *e, plan: *plan, point: w.points.policy(e.Route.ID, k.Name)}
			h.env.Metrics, h.env.Secrets, h.env.KeySets, h.env.State, h.env.Pepper = uncounted{}, secrets{w}, keySets{w}, state{w}, pepper
			if !eager {
				return h, nil
			}
			return h, h.make(ctx, h.plan)
		})
}

// make makes the policy of the case under way.
func (h *witness) make(ctx context.Context, plan json.RawMessage) error {
	e := h.env
	e.Shared = h.w.shared
	inner, err := h.kind.Build(ctx, &e, plan)
	if err != nil {
		return err
	}
	h.w.made(inner)
	h.adopt(inner)
	return nil
}

func (h *witness) adopt(inner policy.Handler) {
	h.epoch, h.inner = h.w.epoch, inner
	h.respond, _ = inner.(policy.ResponseHandler)
	h.stream, _ = inner.(policy.StreamHandler)
	h.finish, _ = inner.(policy.FinishHandler)
	h.preflight, _ = inner.(policy.PreflightHandler)
}

// ready has the policy of the case under way at hand.
func (h *witness) ready(ctx context.Context) {
	if h.epoch == h.w.epoch {
		return
	}
	plan := h.plan
	if m := h.w.mutant; m != nil && m.point == h.point {
		if plan = m.plan; plan == nil {
			h.adopt(nil)
			return
		}
	}
	if err := h.make(ctx, plan); err != nil { // it was built before: the plan is good
		panic(err)
	}
}

// Decide implements policy.Handler.
func (h *witness) Decide(ctx context.Context, x *policy.Exchange) policy.Verdict {
	h.ready(ctx)
	h.w.passes(x.Route.ID)
	if h.inner == nil {
		return policy.Pass
	}
	v := h.inner.Decide(ctx, x)
	h.w.decided(h.kind.Name, h.point, v)
	return v
}

// Respond implements policy.ResponseHandler.
func (h *witness) Respond(ctx context.Context, x *policy.Exchange, r *httpmsg.Response) {
	if h.ready(ctx); h.respond != nil {
		h.respond.Respond(ctx, x, r)
	}
}

// Preflights implements policy.PreflightHandler. Who is asked here has a say in which route takes the request.
func (h *witness) Preflights() bool {
	h.ready(context.Background())
	h.w.marks.mark(h.point, markAsked)
	return h.preflight != nil && h.preflight.Preflights()
}

// Stream implements policy.StreamHandler.
func (h *witness) Stream(ctx context.Context, x *policy.Exchange, r *httpmsg.Response) policy.Stream {
	if h.ready(ctx); h.stream == nil {
		return nil
	}
	return h.stream.Stream(ctx, x, r)
}

// Finish implements policy.FinishHandler.
func (h *witness) Finish(x *policy.Exchange, status int) {
	if h.ready(context.Background()); h.finish != nil {
		h.finish.Finish(x, status)
	}
}

// destination stands in the place of a target, as witness does in that of a policy.
type destination struct {
	w       *world
	kind    target.Kind
	route   *ir.Route
	metrics target.Metrics
	env     target.Env

	epoch int
	inner target.Target
}

// destinations is a kind whose targets are watched.
func (w *world) destinations(k target.Kind) target.Kind {
	kind := k
	kind.Build = func(r *ir.Route, m target.Metrics, e *target.Env) (target.Target, error) {
		d := &destination{w: w, kind: k, route: r, metrics: m, env: *e}
		d.env.Now, d.env.Sleep = w.now, func(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }
		return d, nil
	}
	return kind
}

// Serve implements target.Target.
func (d *destination) Serve(ctx context.Context, x *policy.Exchange, out httpmsg.ResponseWriter, hooks target.Hooks) *policy.Reject {
	if d.epoch != d.w.epoch {
		e := d.env
		e.Shared, e.Rand = d.w.shared, d.w.chance.Uint64
		inner, err := d.kind.Build(d.route, d.metrics, &e)
		if err != nil {
			return &policy.Reject{Status: 500, Code: "internal_error", Detail: err.Error()}
		}
		d.w.made(inner)
		d.epoch, d.inner = d.w.epoch, inner
	}
	d.w.passes(x.Route.ID)
	reject := d.inner.Serve(ctx, x, out, hooks)
	d.w.served(x, reject)
	return reject
}
