package runtime

import (
	"context"
	"fmt"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/schema/match"
)

// Decision is what becomes of a request as far as the gateway decides: what its upstream would say is not part of it.
type Decision struct {
	Route    string // id; empty: none takes it
	Upstream string // that it goes to
	Target   string // settings of the route's target, such as a path that it puts before the request's; empty if it does not go there
	Path     string // that the target would be given, with the query; empty if it does not go there
	Policy   string // the kind that answered or refused; empty: none did
	Status   int    // of the answer or refusal; 0: it goes upstream
	Code     string // of the refusal
	Limits   []policy.Limited
	Own      bool // it is for the gateway itself
}

// RouteOf is the id of the route that takes a request; empty: none does. It changes the request.
func RouteOf(s *snapshot.Snapshot, r *httpmsg.Request) string {
	x := &exchange{}
	x.Request = r
	if reject := identify(s, x); reject != nil || match.IsReserved(x.Path) {
		return ""
	}
	route, reject := find(s, x)
	if reject != nil {
		return ""
	}
	return route.Info.ID
}

// Decide takes a request through the part of the pipeline that decides, as Serve does, and no further. It has the effects that the
// policies have through their Env, and changes the request.
func Decide(ctx context.Context, s *snapshot.Snapshot, r *httpmsg.Request) (d Decision) {
	x := &exchange{}
	x.Exchange = policy.Exchange{Request: r, Timings: policy.Timings{Start: r.Received}}
	defer func() {
		if v := recover(); v != nil {
			d.Status, d.Code = 500, fmt.Sprintf("panic: %v", v)
		}
	}()
	refuse := func(reject *policy.Reject) Decision {
		d.Status, d.Code = reject.Status, reject.Code
		return d
	}
	if reject := identify(s, x); reject != nil {
		return refuse(reject)
	}
	if d.Own = match.IsReserved(x.Path); d.Own {
		return d
	}
	route, reject := find(s, x)
	if reject != nil {
		return refuse(reject)
	}
	x.on, x.Route, x.MaxBody = route, route.Info, s.Gateway.Limits.BodyBytes
	d.Route = route.Info.ID
	if reject := s.Tenancy.Matched(&x.Exchange, x.host); reject != nil {
		return refuse(reject)
	}
	verdict, reject := judge(ctx, s, x)
	d.Limits = x.Limits
	if reject != nil {
		return refuse(reject)
	}
	if verdict.Reject != nil || verdict.Response != nil {
		d.Policy = route.Chain.Steps()[x.asked-1].Kind.Name
	}
	switch {
	case verdict.Reject != nil:
		return refuse(verdict.Reject)
	case verdict.Response != nil:
		d.Status = verdict.Response.Status
		return d
	case r.ContentLength > x.MaxBody: // as the target would find
		d.Status, d.Code = 413, "body_too_large"
		return d
	}
	d.Upstream, d.Target = route.Plan.Target.Upstream, string(route.Plan.Target.Plan)
	path, query := x.Forwarded()
	if d.Path = path; query != "" {
		d.Path += "?" + query
	}
	return d
}
