// Package target is the contract of what a route can point at. It must not know any single kind.
package target

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// Target serves the exchanges of one route that every policy let pass. It is safe for concurrent use.
type Target interface {
	// Serve answers the exchange. It returns what went wrong: if the response has not been started, the caller answers
	// with it; if it has, Serve has ended it in a way the client can tell from a complete one, and it is for the records.
	Serve(ctx context.Context, x *policy.Exchange, w httpmsg.ResponseWriter, hooks Hooks) *policy.Reject
}

// Hooks are what the policies of the route do to the response.
type Hooks interface {
	// Respond edits the response header before it is sent.
	Respond(ctx context.Context, x *policy.Exchange, r *httpmsg.Response)
	// Streams rewrite the body, the first before the second; nil or empty if nobody does. It is asked once, after Respond, and
	// the caller closes each. They may edit the header.
	Streams(ctx context.Context, x *policy.Exchange, r *httpmsg.Response) []policy.Stream
}

// Kind is one kind of target: its compile half (policy.TargetKind) and its build half.
type Kind struct {
	policy.TargetKind
	// Build makes the target of a route from its plan. A Target that owns anything is an io.Closer. It may keep what it is given,
	// and changes none of it.
	Build func(r *ir.Route, m Metrics, e *Env) (Target, error)
}

// Env is all a target may reach: what those of one upstream have in common.
type Env struct {
	Upstream *upstream.Upstream // the route's
	Shared   policy.Shared      // nil: nothing outlives the target
	Log      *slog.Logger
	Now      func() time.Time
	Rand     func() uint64
	// Sleep waits; false if ctx ends before.
	Sleep func(ctx context.Context, d time.Duration) bool
}

// Fill sets what may be left out: a log that goes nowhere, the clock, chance.
func (e *Env) Fill() {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Uint64
	}
	if e.Sleep == nil {
		e.Sleep = sleep
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Metrics count what a target does beyond what one exchange tells. They know the route and the upstream already. All methods may
// be called on any goroutine.
type Metrics interface {
	Retried(reason string)    // an attempt was repeated; why the one before it failed, snake_case
	NotRetried(reason string) // an attempt that could be repeated was not: "budget", "deadline", "attempts"
	BreakerChanged(c breaker.Change)
}
