// Package target is the contract of what a route can point at. It must not know any single kind.
package target

import (
	"context"

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
	// Chunks see the body as it streams; nil or empty if nobody does.
	Chunks() []policy.ChunkHandler
}

// Kind is one kind of target: its compile half (policy.TargetKind) and its build half.
type Kind struct {
	policy.TargetKind
	// Build makes the target of a route from its plan. pool is the route's upstream.
	Build func(r *ir.Route, pool *upstream.Pool) (Target, error)
}
