package cors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// handler is the policy of one route.
type handler struct {
	origins     origins
	methods     map[string]bool
	headers     requestHeaders
	expose      string
	credentials bool

	granted      []httpmsg.Field // the answer to each preflight request that is granted, but for the origin
	originDenied policy.Verdict
}

// vary is what an answer to a preflight request depends on. A cache that keeps one nevertheless must not hand it to another page.
var vary = httpmsg.Field{Name: "Vary", Value: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}

func build(_ context.Context, _ *policy.Env, p *Plan) (policy.Handler, error) {
	if err := check(p); err != nil {
		return nil, err
	}
	o, err := newOrigins(p.AllowOrigins)
	if err != nil {
		return nil, err
	}
	h := &handler{
		origins: o, methods: map[string]bool{}, headers: newRequestHeaders(p.AllowHeaders), credentials: p.AllowCredentials,
		expose: strings.Join(p.ExposeHeaders, ", "),
	}
	for _, m := range slices.Concat(p.AllowMethods, safelisted[:]) {
		h.methods[m] = true
	}
	h.granted = append(h.granted, httpmsg.Field{Name: "Access-Control-Allow-Methods", Value: strings.Join(p.AllowMethods, ", ")})
	if len(p.AllowHeaders) > 0 {
		h.granted = append(h.granted, httpmsg.Field{Name: "Access-Control-Allow-Headers", Value: strings.Join(p.AllowHeaders, ", ")})
	}
	age := strconv.FormatInt(int64(p.MaxAge.Std()/time.Second), 10)
	h.granted = append(h.granted, httpmsg.Field{Name: "Access-Control-Max-Age", Value: age}, vary)
	h.originDenied = refuse("cors_origin_denied", "pages of this origin may not use this route")
	return h, nil
}

// check refuses what the compiler would not have let pass: a bundle may come from elsewhere.
func check(p *Plan) error {
	switch all := slices.Contains(p.AllowOrigins, wildcard); {
	case len(p.AllowOrigins) == 0:
		return errors.New("allowOrigins is empty")
	case all && len(p.AllowOrigins) > 1:
		return errors.New(`allowOrigins holds "*" and others`)
	case p.AllowCredentials && (all || slices.Contains(p.AllowHeaders, wildcard) || slices.Contains(p.ExposeHeaders, wildcard)):
		return errors.New(`allowCredentials is true beside "*"`)
	case len(p.AllowMethods) == 0:
		return errors.New("allowMethods is empty")
	case p.MaxAge < 0 || p.MaxAge.Std()%time.Second != 0:
		return fmt.Errorf("maxAge is %s, must be whole seconds", p.MaxAge)
	}
	for _, name := range slices.Concat(p.AllowMethods, p.AllowHeaders, p.ExposeHeaders) {
		if !isToken(name) {
			return fmt.Errorf("%q is no name of a method or a header", name)
		}
	}
	return nil
}

// refuse answers a preflight request so that it can be seen what went wrong. To a browser it is all the same whether the status or a
// missing field says no; who runs the gateway finds a refusal in the log and in the metrics, and no 204 that meant the contrary.
func refuse(code, detail string) policy.Verdict {
	return policy.Refuse(&policy.Reject{Status: 403, Code: code, Detail: detail, Header: []httpmsg.Field{vary}})
}

// Preflights implements policy.PreflightHandler.
func (h *handler) Preflights() bool { return true }

// preflight reports whether a browser asks whether it may send another request (Fetch, "CORS-preflight request").
func preflight(r *httpmsg.Request) bool {
	return r.Method == "OPTIONS" && r.Header.Has("Origin") && r.Header.Has("Access-Control-Request-Method")
}

// Decide answers preflight requests, and lets all others pass: those of a page that may not read the response too, as it may send them
// from a form or an image just as well.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	if !preflight(x.Request) {
		return policy.Pass
	}
	header := &x.Request.Header
	origin := only(header, "Origin")
	if !h.origins.match(origin) {
		x.Cause = "origin " + origin
		return h.originDenied
	}
	if method := only(header, "Access-Control-Request-Method"); !h.methods[method] {
		return refuse("cors_method_denied", "pages of other origins may not use "+shown("the method ", method, "this method")+" on this route")
	}
	if name, ok := h.headers.take(header); !ok {
		return refuse("cors_header_denied", "pages of other origins may not send "+shown("the header field ", name, "these header fields")+" to this route")
	}
	resp := &httpmsg.Response{Status: 204}
	resp.Header.Fields = make([]httpmsg.Field, 0, len(h.granted)+8) // with room for what others add
	h.grant(&resp.Header, origin)
	resp.Header.Fields = append(resp.Header.Fields, h.granted...)
	return policy.Verdict{Response: resp}
}

// shown names what was asked for if it can be a name, so that no client decides what a refusal says.
func shown(what, name, otherwise string) string {
	if !isToken(name) || len(name) > maxName {
		return otherwise
	}
	return what + name
}

// Respond implements policy.ResponseHandler: it takes away what the upstream says about CORS, and says what the gateway has to say.
func (h *handler) Respond(_ context.Context, x *policy.Exchange, r *httpmsg.Response) {
	if preflight(x.Request) {
		return // Decide has made this response, or refused: the upstream was not asked
	}
	const prefix = "Access-Control-"
	r.Header.Fields = slices.DeleteFunc(r.Header.Fields, func(f httpmsg.Field) bool {
		return len(f.Name) > len(prefix) && strings.EqualFold(f.Name[:len(prefix)], prefix)
	})
	if !h.origins.all {
		varyByOrigin(&r.Header)
	}
	origin := only(&x.Request.Header, "Origin")
	if !h.origins.all && !h.origins.match(origin) {
		return
	}
	h.grant(&r.Header, origin)
	if h.expose != "" {
		r.Header.Add("Access-Control-Expose-Headers", h.expose)
	}
}

// grant says that the pages of an origin may read the response. Where all may, the response says the same to each.
func (h *handler) grant(header *httpmsg.Header, origin string) {
	if h.origins.all {
		origin = wildcard
	}
	header.Add("Access-Control-Allow-Origin", origin)
	if h.credentials {
		header.Add("Access-Control-Allow-Credentials", "true")
	}
}

// varyByOrigin keeps caches from handing the response for one origin to another. It is said of every response, also of one without an
// origin: a cache that kept that for all would leave a page without the permission it has (Fetch, "CORS protocol and HTTP caches").
func varyByOrigin(header *httpmsg.Header) {
	var first *httpmsg.Field
	for i := range header.Fields {
		f := &header.Fields[i]
		if !strings.EqualFold(f.Name, "Vary") {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Origin") {
				return
			}
		}
		if first == nil && f.Value != "" {
			first = f
		}
	}
	if first == nil {
		header.Add("Vary", "Origin")
		return
	}
	first.Value += ", Origin" // some caches read one line only
}

// only returns the value of a field that is there once, else "". Of two origins a browser meant one at most.
func only(header *httpmsg.Header, name string) string {
	value, seen := "", false
	for i := range header.Fields {
		if !strings.EqualFold(header.Fields[i].Name, name) {
			continue
		}
		if seen {
			return ""
		}
		value, seen = header.Fields[i].Value, true
	}
	return value
}
