package runtime

import (
	"bytes"
	"context"
	"strings"
	"time"

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
	route, reject := g.exchange(ctx, s, x, w)
	if reject != nil && !w.Started() {
		g.refuse(w, x, reject)
	}
	g.record(s, x, route, reject, w)
	*x = exchange{}
	g.pool.Put(x)
}

// exchange answers the request, or returns why it was not answered. A panic of anything above the engine ends here.
func (g *Gateway) exchange(ctx context.Context, s *snapshot.Snapshot, x *exchange, w httpmsg.ResponseWriter) (route *snapshot.Route, reject *policy.Reject) {
	defer func() {
		if v := recover(); v != nil {
			reject = g.recovered(v, x, w)
		}
	}()
	host, reject := g.identify(s, x)
	ctx, x.span = s.Tracer.Start(ctx, &x.Exchange)
	if reject != nil {
		return nil, reject
	}
	if match.IsReserved(x.Path) {
		return nil, g.own(x, w)
	}
	route, reject = g.match(s, x, host)
	if reject != nil {
		return nil, reject
	}
	x.Route, x.MaxBody = route.Info, s.Gateway.Limits.BodyBytes
	x.span.SetRoute(x.Route, string(s.Info.Digest))
	verdict, decided := route.Chain.Decide(ctx, &x.Exchange)
	route.Count(decided, verdict)
	defer func() { route.Chain.Finish(&x.Exchange, w.Status()) }()
	switch {
	case verdict.Reject != nil:
		return route, verdict.Reject
	case verdict.Response != nil:
		route.Chain.Respond(ctx, &x.Exchange, verdict.Response)
		return route, send(w, verdict.Response)
	}
	return route, g.forward(ctx, x, route, w)
}

// forward hands the exchange to the route's target, inside a span and a measurement of its own.
func (g *Gateway) forward(ctx context.Context, x *exchange, route *snapshot.Route, w httpmsg.ResponseWriter) *policy.Reject {
	up := x.span.Upstream(&x.Exchange, route.Scheme)
	up.Inject(&x.Request.Header)
	reject := route.Target.Serve(ctx, &x.Exchange, w, route.Chain)
	now := time.Now()
	if t := &x.Timings; !t.UpstreamHeader.IsZero() {
		route.Upstream.Answered(t.UpstreamHeader.Sub(t.UpstreamStart))
	}
	code := ""
	if reject != nil {
		code = reject.Code
		if reject.Code != httpmsg.ErrClientClosed.Code {
			route.Upstream.Failed(code)
		}
	}
	up.SetEndpoint(&x.Exchange, route.Scheme)
	up.End(w.Status(), code, now)
	return reject
}

// identify reads off the request what matching and policies go by: one normalised path and host, and the client.
func (g *Gateway) identify(s *snapshot.Snapshot, x *exchange) (host string, reject *policy.Reject) {
	r := x.Request
	target := r.Target
	if !strings.HasPrefix(target, "/") && target != "*" { // absolute form: the engine has compared its authority with Host
		if i := strings.Index(target, "://"); i >= 0 {
			target = target[i+3:]
			if at := strings.IndexAny(target, "/?"); at < 0 {
				target = "/"
			} else if target = target[at:]; target[0] == '?' {
				target = "/" + target
			}
		}
	}
	target, x.RawQuery, _ = strings.Cut(target, "?")
	s.Proxies.Sanitise(r)
	x.ClientIP = s.Proxies.ClientIP(r)
	x.ID = s.Proxies.RequestID(r)
	if target == "*" && r.Method == "OPTIONS" {
		x.Path = target
		return "", &policy.Reject{Status: 501, Code: "server_wide_options", Detail: "the gateway has no options of its own; ask for a path"}
	}
	path, reason := match.NormalizePath(target)
	if reason != "" {
		return "", &policy.Reject{Status: 400, Code: string(reason), Detail: "the path is not one the gateway forwards"}
	}
	x.Path = path
	host, ok := match.NormalizeHost(r.Authority)
	if !ok {
		return "", &policy.Reject{Status: 400, Code: "bad_host", Detail: "the host is neither a name nor an address"}
	}
	return host, nil
}

// match finds the route.
func (g *Gateway) match(s *snapshot.Snapshot, x *exchange, host string) (*snapshot.Route, *policy.Reject) {
	r := x.Request
	route, res := s.Lookup(r.Method, host, x.Path, x.RawQuery, &r.Header, x.params[:0])
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
func (g *Gateway) refuse(w httpmsg.ResponseWriter, x *exchange, reject *policy.Reject) {
	body := httpmsg.AppendProblem(nil, reject.Status, reject.Code, reject.Detail)
	resp := &httpmsg.Response{Status: reject.Status, ContentLength: int64(len(body))}
	resp.Header.Fields = append(resp.Header.Fields, reject.Header...)
	resp.Header.Add("Content-Type", httpmsg.ProblemType)
	resp.Header.Add("Cache-Control", "no-store")
	resp.Header.Add("X-Request-Id", x.ID)
	if err := w.Header(resp.Status, &resp.Header, resp.ContentLength); err != nil {
		w.Abort()
		return
	}
	_, _ = w.Write(body) // a client that has gone is not told
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
func (g *Gateway) record(s *snapshot.Snapshot, x *exchange, route *snapshot.Route, reject *policy.Reject, w httpmsg.ResponseWriter) {
	ended := time.Now()
	status, code := w.Status(), ""
	if reject != nil {
		code = reject.Code
		if status == 0 {
			status = reject.Status
		}
	}
	x.span.End(status, code, ended)
	metrics := g.none
	if route != nil {
		metrics = route.Metrics
	}
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
	target, _, _ := strings.Cut(r.Target, "?")
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
