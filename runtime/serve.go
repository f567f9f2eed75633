package runtime

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/router"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/match"
)

// Serve takes one request through the pipeline. The request holds one snapshot from its first byte to its last.
func (g *Gateway) Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	g.opts.Metrics.RequestBegun()
	defer g.opts.Metrics.RequestEnded()
	s := g.holder.Acquire()
	defer s.Release()

	x := g.pool.Get().(*exchange)
	x.Exchange = policy.Exchange{Request: r, Timings: policy.Timings{Start: r.Received}}
	reject := g.exchange(ctx, s, x, w)
	reject = cut(ctx, reject, w.Status())
	refused := reject != nil && !w.Started()
	if refused {
		g.refuse(ctx, w, x, reject)
	}
	status := w.Status()
	if refused || status == 0 && reject != nil {
		status = reject.Status // gRPC is told in other words
	}
	g.finish(x, status, w)
	g.record(s, x, status, reject, w)
	*x = exchange{}
	g.pool.Put(x)
}

// errReplaced is why an exchange was cut that outlived its route.
var errReplaced = &httpmsg.Error{
	Status: 503, Code: "drain_timeout", Detail: "the gateway has ended this exchange: its configuration was replaced; ask again",
}

// cut returns the reason of an exchange that the gateway has ended itself, in place of what that looks like to the target: as if the
// client had gone, or, in a tunnel, as if all were well.
func cut(ctx context.Context, reject *policy.Reject, status int) *policy.Reject {
	if reject == nil && status != 101 || reject != nil && reject.Code != httpmsg.ErrClientClosed.Code {
		return reject
	}
	bond, ok := ctx.(httpmsg.Bond)
	if !ok {
		return reject
	}
	why := bond.Why()
	if why == nil {
		return reject
	}
	out := &policy.Reject{Status: why.Status, Code: why.Code, Detail: why.Detail}
	if why.Status == 503 {
		out.Header = []httpmsg.Field{{Name: "Retry-After", Value: "1"}}
	}
	return out
}

// exchange answers the request, or returns why it was not answered. A panic of anything above the engine ends here.
func (g *Gateway) exchange(ctx context.Context, s *snapshot.Snapshot, x *exchange, w httpmsg.ResponseWriter) (reject *policy.Reject) {
	defer func() {
		if v := recover(); v != nil {
			reject = g.recovered(v, x, w)
		}
	}()
	bond, _ := ctx.(httpmsg.Bond)
	watch := g.watch.Load()
	if watch != nil {
		(*watch)(s, x.Request) // as it came: policies change it
	}
	reject = identify(s, x)
	ctx, x.span = s.Tracer.Start(ctx, &x.Exchange)
	if reject != nil {
		return reject
	}
	if match.IsReserved(x.Path) {
		return g.own(x, w)
	}
	route, reject := find(s, x)
	if reject != nil {
		return reject
	}
	x.on, x.Route, x.MaxBody = route, route.Info, s.Gateway.Limits.BodyBytes
	if reject := s.Tenancy.Matched(&x.Exchange, x.host); reject != nil {
		return reject
	}
	if bond != nil {
		bond.Bind(route)
	}
	x.span.SetRoute(x.Route, string(s.Info.Digest))
	pass, wait, ok := g.shed.Begin(route.Plan.Forward.Priority)
	if !ok {
		return overloaded(wait)
	}
	defer pass.End()
	x.deciding = true
	verdict, reject := judge(ctx, s, x)
	x.deciding = false
	route.Count(x.asked, verdict)
	x.Request.MaxBody = x.MaxBody // 0 too is a bound
	switch {
	case reject != nil:
		return reject
	case verdict.Reject != nil:
		return verdict.Reject
	case verdict.Response != nil:
		route.Chain.RespondAsked(ctx, &x.Exchange, verdict.Response, x.asked)
		return send(w, verdict.Response)
	}
	if bond != nil && x.Principal != nil && lasts(x.Request) {
		defer time.AfterFunc(time.Until(x.Principal.Until), func() { bond.End(errExpired) }).Stop()
	}
	return g.forward(ctx, x, route, w)
}

// errExpired ends an exchange that has outlived the token it began with: whoever was let in for an hour does not stay for a day.
var errExpired = &httpmsg.Error{Status: 401, Code: "token_expired", Detail: "the token that this exchange began with has expired"}

// lasts reports whether a request is for something without an end of its own: another protocol, or a stream of events.
func lasts(r *httpmsg.Request) bool {
	return r.Upgrade != "" || strings.Contains(r.Header.Get("Accept"), "text/event-stream") || strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// overloaded refuses a request that the gateway has no time for.
func overloaded(wait time.Duration) *policy.Reject {
	return &policy.Reject{
		Status: 503, Code: "gateway_overloaded", Detail: "the gateway has more requests than it can answer; come back later",
		Header: []httpmsg.Field{{Name: "Retry-After", Value: strconv.FormatInt(int64(wait/time.Second), 10)}},
	}
}

// finish lets the policies that were asked settle accounts, when it is known how the exchange ended.
func (g *Gateway) finish(x *exchange, status int, w httpmsg.ResponseWriter) {
	if x.on == nil || !x.on.Chain.Finishes() {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			g.recovered(v, x, w)
		}
	}()
	x.on.Chain.Finish(&x.Exchange, status, x.asked)
}

// forward hands the exchange to the route's target, inside a span and a measurement of its own.
func (g *Gateway) forward(ctx context.Context, x *exchange, route *snapshot.Route, w httpmsg.ResponseWriter) *policy.Reject {
	up := x.span.Upstream(&x.Exchange, route.Scheme())
	up.Inject(&x.Request.Header)
	reject := route.Target.Serve(ctx, &x.Exchange, w, &route.Chain)
	if t := &x.Timings; !t.UpstreamHeader.IsZero() {
		route.Upstream.Answered(t.UpstreamHeader.Sub(t.UpstreamStart))
	}
	code := ""
	if reject != nil {
		code = reject.Code
		if reject.Status > 500 { // neither what the client did, nor a request that could not be written down
			route.Upstream.Failed(code)
		}
	}
	if up != nil {
		up.SetEndpoint(&x.Exchange, route.Scheme())
		up.End(w.Status(), code, time.Now())
	}
	return reject
}

// identify reads off the request what matching and policies go by: one normalised path and host, and the client.
func identify(s *snapshot.Snapshot, x *exchange) *policy.Reject {
	r := x.Request
	target := http1.OriginForm(r.Target) // the engine has compared the authority of the absolute form with Host
	target, x.RawQuery, _ = strings.Cut(target, "?")
	s.Proxies.Sanitise(r)
	s.Tenancy.Sanitise(&x.Exchange)
	x.ClientIP = s.Proxies.ClientIP(r)
	x.ID = s.Proxies.RequestID(r)
	if target == "*" && r.Method == "OPTIONS" {
		x.Path = target
		return &policy.Reject{Status: 501, Code: "server_wide_options", Detail: "the gateway has no options of its own; ask for a path"}
	}
	path, reason := match.NormalizePath(target)
	if reason != "" {
		return &policy.Reject{Status: 400, Code: string(reason), Detail: "the path is not one the gateway forwards"}
	}
	x.Path = path
	var ok bool
	if x.host, ok = match.NormalizeHost(r.Authority); !ok {
		return &policy.Reject{Status: 400, Code: "bad_host", Detail: "the host is neither a name nor an address"}
	}
	return nil
}

// judge asks the policies of the route. Between those that find out who calls and those that go by it, it is settled whose request it
// is; reject says that it must not be anybody's, which is no policy's verdict.
func judge(ctx context.Context, s *snapshot.Snapshot, x *exchange) (v policy.Verdict, reject *policy.Reject) {
	chain := &x.on.Chain
	if !s.Tenancy.Late() {
		return chain.Decide(ctx, &x.Exchange, &x.asked), nil
	}
	if v = chain.Identify(ctx, &x.Exchange, &x.asked); v.Reject != nil || v.Response != nil {
		return v, nil
	}
	if reject = s.Tenancy.Identified(&x.Exchange, x.host); reject != nil {
		return policy.Pass, reject
	}
	return chain.Decide(ctx, &x.Exchange, &x.asked), nil
}

// find finds the route.
func find(s *snapshot.Snapshot, x *exchange) (*snapshot.Route, *policy.Reject) {
	r := x.Request
	if r.Method == "OPTIONS" {
		if route := preflight(s, x); route != nil {
			return route, nil
		}
	}
	route, res := s.Lookup(r.Method, x.host, x.Path, x.RawQuery, &r.Header, x.params[:0])
	switch {
	case res.Outcome == router.Found:
		x.Params = res.Params
		return route, nil
	case s.IsEmpty():
		return nil, &policy.Reject{Status: 503, Code: "no_configuration", Detail: "the gateway has not activated a configuration yet"}
	case res.Outcome == router.MethodNotAllowed:
		return nil, &policy.Reject{
			Status: 405, Code: "method_not_allowed", Detail: "no route takes this method on this path; allowed: " + res.Allow,
			Header: []httpmsg.Field{{Name: "Allow", Value: res.Allow}},
		}
	}
	return nil, &policy.Reject{Status: 404, Code: "no_route", Detail: "no route takes this request"}
}

// preflight finds the route that a preflight request asks about, if it has a policy that answers such requests. It goes before a route
// that takes OPTIONS: the browser asks about the other one.
func preflight(s *snapshot.Snapshot, x *exchange) *snapshot.Route {
	r := x.Request
	asks := r.Header.Get("Access-Control-Request-Method")
	if asks == "" || r.Header.Get("Origin") == "" {
		return nil
	}
	route, res := s.Lookup(asks, x.host, x.Path, x.RawQuery, &r.Header, x.params[:0])
	if route == nil || !route.Chain.Preflights() {
		return nil
	}
	x.Params = res.Params
	return route
}

// own answers a reserved path.
func (g *Gateway) own(x *exchange, w httpmsg.ResponseWriter) *policy.Reject {
	notFound := &policy.Reject{Status: 404, Code: "no_route", Detail: "no route takes this request"}
	if g.opts.Own == nil || g.opts.OwnElsewhere {
		return notFound
	}
	resp := g.opts.Own.Answer(x.Request, x.Path)
	if resp == nil {
		return notFound
	}
	return send(w, resp)
}

// refuse turns a refusal into a response. This is the one place where that happens.
func (g *Gateway) refuse(ctx context.Context, w httpmsg.ResponseWriter, x *exchange, reject *policy.Reject) {
	if speaksGRPC(x.Request) {
		refuseGRPC(w, x, reject)
		return
	}
	problem := httpmsg.Problem{Status: reject.Status, Code: reject.Code, Detail: reject.Detail, Type: reject.Type, Violated: reject.Violated}
	body := problem.Append(nil)
	resp := &httpmsg.Response{Status: reject.Status, ContentLength: int64(len(body))}
	resp.Header.Fields = append(resp.Header.Fields, reject.Header...)
	resp.Header.Add("Content-Type", httpmsg.ProblemType)
	resp.Header.Add("Cache-Control", "no-store")
	resp.Header.Add("X-Request-Id", x.ID)
	if !x.broken {
		g.dress(ctx, x, resp)
	}
	if err := w.Header(resp.Status, &resp.Header, resp.ContentLength); err != nil {
		w.Abort()
		return
	}
	_, _ = w.Write(body) // a client that has gone is not told
}

// dress lets the policies that were asked edit a refusal: a browser shows it to its page only if they allow that. A refusal is sent
// whatever becomes of them.
func (g *Gateway) dress(ctx context.Context, x *exchange, resp *httpmsg.Response) {
	if x.on == nil {
		return
	}
	plain := httpmsg.Header{Fields: slices.Clone(resp.Header.Fields)}
	defer func() {
		if v := recover(); v != nil {
			g.opts.Metrics.Panicked()
			g.opts.Log.Error("a policy panicked on a refusal", slog.String("panic", fmt.Sprint(v)), slog.String("route", x.Route.ID),
				slog.String("request", x.ID), slog.String("stack", string(debug.Stack())))
			resp.Header = plain
		}
	}()
	x.on.Chain.RespondAsked(ctx, &x.Exchange, resp, x.asked)
}

// send writes a whole response that was made here.
func send(w httpmsg.ResponseWriter, r *httpmsg.Response) *policy.Reject {
	if err := w.Header(r.Status, &r.Header, r.ContentLength); err != nil {
		return &policy.Reject{Status: 500, Code: "bad_own_response", Detail: "the gateway made a response that cannot be sent"}
	}
	if r.Body == nil {
		return nil
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return &policy.Reject{Status: httpmsg.ErrClientClosed.Status, Code: httpmsg.ErrClientClosed.Code}
			}
		}
		if err != nil { // io.EOF: Content-Length says whether all of it was there
			return nil
		}
	}
}

// record settles metrics and the access log.
func (g *Gateway) record(s *snapshot.Snapshot, x *exchange, status int, reject *policy.Reject, w httpmsg.ResponseWriter) {
	ended := time.Now()
	code := ""
	if reject != nil {
		code = reject.Code
	}
	x.span.End(status, code, ended)
	metrics := g.none
	if x.on != nil {
		metrics = x.on.Metrics
	}
	s.Tenants.Record(x.Tenant, status)
	metrics.Record(x.Request.Method, status, ended.Sub(x.Timings.Start), w.BytesRead(), w.BytesWritten())
	if !g.opts.AccessLog.Enabled() {
		return
	}
	x.record.Fill(&x.Exchange, ended)
	x.record.Status, x.record.Code = status, code
	x.record.BytesIn, x.record.BytesOut = w.BytesRead(), w.BytesWritten()
	x.record.Bundle = string(s.Info.Digest)
	if x.record.TraceID = x.span.TraceID(); x.record.TraceID == "" {
		x.record.TraceID = telemetry.TraceIDOf(&x.Request.Header)
	}
	g.opts.AccessLog.Log(&x.record)
}

// ServeOwn answers a request on the listener that is the gateway's own: reserved paths and nothing else.
func ServeOwn(_ context.Context, own Own, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	target, _, _ := strings.Cut(http1.OriginForm(r.Target), "?")
	path, reason := match.NormalizePath(target)
	var resp *httpmsg.Response
	if reason == "" && match.IsReserved(path) {
		resp = own.Answer(r, path)
	}
	if resp == nil {
		body := httpmsg.AppendProblem(nil, 404, "no_route", "there is nothing here")
		resp = &httpmsg.Response{Status: 404, ContentLength: int64(len(body)), Body: bytes.NewReader(body)}
		resp.Header.Add("Content-Type", httpmsg.ProblemType)
	}
	if send(w, resp) != nil {
		w.Abort()
	}
}
