package authorization

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/cel-go/cel"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

type handler struct {
	plan       *Plan
	conditions []condition
	log        *slog.Logger
	now        func() time.Time
	denied     map[string]policy.Series // by what is lacking
}

// condition is one that is ready to be asked.
type condition struct {
	id      string
	program cel.Program
}

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	h := &handler{plan: p, log: e.Log, now: e.Now, denied: map[string]policy.Series{}}
	for _, c := range p.Conditions {
		program, err := parse(c.When)
		if err != nil {
			return nil, fmt.Errorf("condition %q: %w", c.ID, err)
		}
		h.conditions = append(h.conditions, condition{c.ID, program})
	}
	prefix := ""
	if p.Shadow {
		prefix = "shadow_"
	}
	for _, what := range []string{"anonymous", "role", "scope", "perm", "condition"} {
		h.denied[what] = e.Metrics.Series(policy.AuthzDenied, e.Route.ID, prefix+what)
	}
	return h, nil
}

// lack is what a caller has not.
type lack struct {
	what, code, detail string
	condition          string // its id
	err                error  // why it could not be judged
}

// Decide refuses who lacks something. The answer says the class of what is lacking, and no more: not what would open the door.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	l := h.lacks(x)
	if l == nil {
		return policy.Pass
	}
	h.denied[l.what].Add(1)
	if h.plan.Shadow {
		h.log.Debug("would be denied", slog.String("reason", l.code), slog.String("condition", l.condition), slog.String("request", x.ID))
		return policy.Pass
	}
	if x.Cause = l.what; l.condition != "" {
		x.Cause += " " + l.condition
	}
	if l.err != nil {
		x.Cause += ": " + l.err.Error()
	}
	if l.what == "anonymous" {
		return policy.Refuse(&policy.Reject{
			Status: 401, Code: l.code, Detail: l.detail, Header: []httpmsg.Field{{Name: "WWW-Authenticate", Value: `Bearer realm="gateway"`}},
		})
	}
	return policy.Refuse(&policy.Reject{Status: 403, Code: l.code, Detail: l.detail})
}

// lacks returns the first thing that the caller lacks, or nil.
func (h *handler) lacks(x *policy.Exchange) *lack {
	p := x.Principal
	if p == nil {
		p = &policy.Principal{}
	}
	scopes := p.Scopes
	if x.Key != nil {
		scopes = slices.Concat(scopes, x.Key.Scopes)
	}
	named := h.plan.Roles != nil || h.plan.Scopes != nil || h.plan.Permissions != nil
	switch {
	case named && x.Principal == nil && x.Key == nil:
		return &lack{what: "anonymous", code: "token_missing", detail: "this route needs a bearer token"}
	case !h.plan.Roles.hold(p.Roles):
		return &lack{what: "role", code: "role_missing", detail: "the caller lacks a role that this route needs"}
	case !h.plan.Scopes.hold(scopes):
		return &lack{what: "scope", code: "scope_missing", detail: "the caller lacks a scope that this route needs"}
	case !h.plan.Permissions.hold(p.Permissions):
		return &lack{what: "perm", code: "permission_missing", detail: "the caller lacks a permission that this route needs"}
	}
	for _, c := range h.conditions {
		v, _, err := c.program.Eval(facts{x, h.now()})
		if err != nil || v.Value() != true { // an expression that cannot be judged is not true
			return &lack{what: "condition", code: "condition_failed", detail: "the caller does not meet a condition of this route", condition: c.id, err: err}
		}
	}
	return nil
}

// hold reports whether somebody has what is asked for; nobody asks for nil.
func (g *Grants) hold(has []string) bool {
	if g == nil {
		return true
	}
	for _, want := range g.All {
		if !slices.Contains(has, want) {
			return false
		}
	}
	return len(g.Any) == 0 || slices.ContainsFunc(g.Any, func(want string) bool { return slices.Contains(has, want) })
}
