package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/runtime/httpmsg"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// refusal says why a rule is left out, and where.
type refusal struct {
	missing
	field string
}

// twice is a filter that the API server takes once in a rule: of two, one would be forgotten.
const twice = "is there for the second time"

func refuse(field, reason, message, instead string) *refusal {
	return &refusal{missing{reason, message, instead}, field}
}

// ruleSettings is what a rule says beside its matches.
type ruleSettings struct {
	upstream string
	policy   v1.RoutePolicy
	host     string                      // to send upstream
	path     *gatewayv1.HTTPPathModifier // for upstream
}

// ruleSettings reads filters, timeouts, retries and backends. A rule of which any of them cannot be said is refused whole: without it
// the requests would go to the wrong place, or in the wrong form.
func (t *translator) ruleSettings(r *httpRoute, rule *gatewayv1.HTTPRouteRule, field string) (*ruleSettings, *refusal) {
	s := &ruleSettings{}
	if rule.SessionPersistence != nil {
		return nil, refuse(field+".sessionPersistence", "UnsupportedField", "the gateway sets no cookies", sameServer)
	}
	for i := range rule.Filters {
		if bad := t.filter(s, &rule.Filters[i], fmt.Sprintf("%s.filters[%d]", field, i)); bad != nil {
			return nil, bad
		}
	}
	if bad := s.timeouts(rule.Timeouts, field+".timeouts"); bad != nil {
		return nil, bad
	}
	if bad := s.retry(rule.Retry, field+".retry"); bad != nil {
		return nil, bad
	}
	if s.policy.Cors != nil && s.editsOrigin() {
		return nil, refuse(field+".filters", "UnsupportedValue", "Origin is changed, by which CORS is judged", "leave Origin as it is")
	}
	var bad *refusal
	s.upstream, bad = t.backends(r, rule.BackendRefs, field+".backendRefs", tuning{host: s.host})
	if bad != nil && slices.Contains([]string{"RefNotPermitted", "InvalidKind", "BackendNotFound"}, bad.reason) && r.unresolved == nil {
		r.unresolved = &bad.missing
	}
	return s, bad
}

// editsOrigin reports whether a filter changes the field Origin of requests.
func (s *ruleSettings) editsOrigin() bool {
	if s.policy.Headers == nil || s.policy.Headers.Request == nil {
		return false
	}
	e := s.policy.Headers.Request
	names := slices.Concat(e.Remove, slices.Collect(maps.Keys(e.Set)), slices.Collect(maps.Keys(e.Add)))
	return slices.ContainsFunc(names, func(n string) bool { return headerfield.Fold(n) == "origin" })
}

// policyFor is the policy of the route for one match; nil if there is nothing to say.
func (s *ruleSettings) policyFor(m *gatewayv1.HTTPRouteMatch) *v1.RoutePolicy {
	out := s.policy
	if s.path != nil {
		out.Rewrite = rewriteFor(s.path, m)
	}
	if out == (v1.RoutePolicy{}) {
		return nil
	}
	return &out
}

// rewriteFor says how the path of one match is rewritten; nil if it stays.
func rewriteFor(p *gatewayv1.HTTPPathModifier, m *gatewayv1.HTTPRouteMatch) *v1.Rewrite {
	if p.ReplaceFullPath != nil {
		return &v1.Rewrite{Path: *p.ReplaceFullPath}
	}
	out := &v1.Rewrite{AddPrefix: strings.TrimSuffix(*p.ReplacePrefixMatch, "/")}
	if m.Path != nil && m.Path.Value != nil {
		pattern, _ := prefixPath(*m.Path.Value) // a bad one was refused with its match
		out.StripPrefix = strings.TrimSuffix(pattern, "/*")
	}
	if *out == (v1.Rewrite{}) {
		return nil
	}
	return out
}

func (t *translator) filter(s *ruleSettings, f *gatewayv1.HTTPRouteFilter, field string) *refusal {
	switch f.Type {
	case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
		return s.headers(f.RequestHeaderModifier, field+".requestHeaderModifier", true)
	case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
		return s.headers(f.ResponseHeaderModifier, field+".responseHeaderModifier", false)
	case gatewayv1.HTTPRouteFilterURLRewrite:
		return s.rewrite(f.URLRewrite, field+".urlRewrite")
	case gatewayv1.HTTPRouteFilterCORS:
		return s.cors(f.CORS, field+".cors")
	case gatewayv1.HTTPRouteFilterRequestRedirect:
		return refuse(field, "UnsupportedFilter", "redirects are known, but not available in this version", "let the service redirect")
	case gatewayv1.HTTPRouteFilterRequestMirror:
		return refuse(field, "UnsupportedFilter", noMirror, "remove the filter, and the rule is translated")
	case gatewayv1.HTTPRouteFilterExternalAuth:
		return refuse(field, "UnsupportedFilter", "the gateway asks nobody else who may use a route", useAuth)
	case gatewayv1.HTTPRouteFilterExtensionRef:
		return refuse(field, "UnsupportedFilter", "is an extension of another controller", "say what it does with policies")
	}
	return refuse(field, "UnsupportedFilter", fmt.Sprintf("filter type %q is not known", f.Type), "remove it, or write the route by hand")
}

func (s *ruleSettings) headers(f *gatewayv1.HTTPHeaderFilter, field string, request bool) *refusal {
	if f == nil {
		return refuse(field, "InvalidFilter", "is not there, although the filter's type is", "add it")
	}
	edits := &v1.HeaderEdits{}
	names := slices.Clone(f.Remove)
	for _, h := range slices.Concat(f.Set, f.Add) {
		names = append(names, string(h.Name))
		if !headerfield.IsValue(h.Value) {
			return refuse(field, "UnsupportedValue", fmt.Sprintf("the value of %q is not visible ASCII text", h.Name), "change it")
		}
	}
	edits.Set, edits.Add = headerValues(f.Set), headerValues(f.Add)
	for _, name := range names {
		folded := headerfield.Fold(name)
		switch {
		case !headerForm.MatchString(name):
			return refuse(field, "UnsupportedValue", fmt.Sprintf("%q is not a header name", name), "change it")
		case request && folded == "host":
			return refuse(field, "UnsupportedValue", "Host is no field to edit", "use a URLRewrite filter with hostname")
		case request && httpmsg.IsForwarding(folded), headerfield.OfConnection(name), endsHere(name):
			return refuse(field, "UnsupportedValue", fmt.Sprintf("the field %q is the gateway's own", name), "leave it out")
		}
	}
	edits.Remove = slices.Compact(slices.Sorted(slices.Values(f.Remove)))
	if s.policy.Headers == nil {
		s.policy.Headers = &v1.HeaderTransforms{}
	}
	into := &s.policy.Headers.Response
	if request {
		into = &s.policy.Headers.Request
	}
	if *into != nil {
		return refuse(field, "InvalidFilter", twice, "make one of the two")
	}
	*into = edits
	return nil
}

// headerValues are fields by name, as templates. Of several of one name the first counts.
func headerValues(list []gatewayv1.HTTPHeader) map[string]string {
	var out map[string]string
	for _, h := range slices.Backward(list) {
		if out == nil {
			out = map[string]string{}
		}
		out[string(h.Name)] = strings.ReplaceAll(h.Value, "${", "$${")
	}
	return out
}

func (s *ruleSettings) rewrite(f *gatewayv1.HTTPURLRewriteFilter, field string) *refusal {
	switch {
	case f == nil:
		return refuse(field, "InvalidFilter", "is not there, although the filter's type is", "add it")
	case s.path != nil || s.host != "":
		return refuse(field, "InvalidFilter", twice, "make one of the two")
	}
	if f.Hostname != nil {
		if s.host = string(*f.Hostname); !isHost(s.host) {
			return refuse(field+".hostname", "UnsupportedValue", fmt.Sprintf("%q is not a host name", clip(s.host)), "change it")
		}
	}
	if f.Path == nil {
		return nil
	}
	text := f.Path.ReplacePrefixMatch
	if f.Path.Type == gatewayv1.FullPathHTTPPathModifier {
		text = f.Path.ReplaceFullPath
	}
	if text == nil {
		return refuse(field+".path", "InvalidFilter", fmt.Sprintf("has no value for type %q", f.Path.Type), "add it")
	}
	if *text != "" || f.Path.Type == gatewayv1.FullPathHTTPPathModifier {
		if normal, err := exactPath(*text); err != nil || normal != *text {
			return refuse(field+".path", "UnsupportedValue", fmt.Sprintf("%q is no path in normalised form", clip(*text)), "write it in that form")
		}
	}
	s.path = f.Path
	return nil
}

func (s *ruleSettings) cors(f *gatewayv1.HTTPCORSFilter, field string) *refusal {
	switch {
	case f == nil:
		return refuse(field, "InvalidFilter", "is not there, although the filter's type is", "add it")
	case s.policy.Cors != nil:
		return refuse(field, "InvalidFilter", twice, "make one of the two")
	}
	c := &v1.CORS{AllowCredentials: f.AllowCredentials != nil && *f.AllowCredentials, MaxAge: new(v1.Duration(5000))}
	if f.MaxAge > 0 {
		c.MaxAge = new(v1.Duration(min(int64(f.MaxAge)*1000, maxDuration)))
	}
	for _, o := range f.AllowOrigins {
		if !originForm.MatchString(string(o)) {
			return refuse(field+".allowOrigins", "UnsupportedValue", fmt.Sprintf("%q is not an origin such as https://app.example.com", clip(string(o))), "change it")
		}
		c.AllowOrigins = append(c.AllowOrigins, string(o))
	}
	switch star := slices.Contains(c.AllowOrigins, "*"); {
	case len(c.AllowOrigins) == 0:
		return refuse(field+".allowOrigins", "UnsupportedValue", "names no origin", "name them, or remove the filter")
	case star && c.AllowCredentials:
		return refuse(field, "UnsupportedValue", `credentials for the origin "*" would let every site act for its visitors`, "list the origins")
	case star:
		c.AllowOrigins = []string{"*"}
	}
	for _, m := range f.AllowMethods {
		if m == "*" {
			c.AllowMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
			break
		}
		if !methodForm.MatchString(string(m)) {
			return refuse(field+".allowMethods", "UnsupportedValue", fmt.Sprintf("%q is no method in capitals", clip(string(m))), "change it")
		}
		c.AllowMethods = append(c.AllowMethods, string(m))
	}
	for _, h := range slices.Concat(f.AllowHeaders, f.ExposeHeaders) {
		if h == "*" && c.AllowCredentials || !headerForm.MatchString(string(h)) {
			return refuse(field, "UnsupportedValue", fmt.Sprintf("%q is not a header name; with credentials \"*\" is none either", clip(string(h))), "list the names")
		}
	}
	c.AllowHeaders, c.ExposeHeaders = fieldNames(f.AllowHeaders), fieldNames(f.ExposeHeaders)
	s.policy.Cors = c
	return nil
}

// fieldNames are the names of a list, but for those that end at the gateway: browsers do not let scripts set or read them either.
func fieldNames[T ~string](list []T) []string {
	var out []string
	for _, s := range list {
		if !endsHere(string(s)) && !slices.Contains(out, string(s)) {
			out = append(out, string(s))
		}
	}
	return out
}

// duration reads a duration of the Gateway API (GEP-2257), within the bounds of the schema.
func duration(d gatewayv1.Duration) (v1.Duration, error) {
	out, err := time.ParseDuration(string(d))
	if err != nil || out < 0 || out > maxDuration*time.Millisecond || out%time.Millisecond != 0 {
		return 0, fmt.Errorf("%q is not a duration from 0ms to 24h", clip(string(d)))
	}
	return v1.Duration(out.Milliseconds()), nil
}

func (s *ruleSettings) timeouts(in *gatewayv1.HTTPRouteTimeouts, field string) *refusal {
	if in == nil {
		return nil
	}
	if in.Request != nil {
		d, err := duration(*in.Request)
		if err != nil {
			return refuse(field+".request", "UnsupportedValue", err.Error(), "change it")
		}
		s.policy.Timeout = &d
	}
	if in.BackendRequest != nil {
		d, err := duration(*in.BackendRequest)
		if err != nil {
			return refuse(field+".backendRequest", "UnsupportedValue", err.Error(), "change it")
		}
		s.policy.Timeouts = &v1.ForwardTimeouts{Header: &d}
	}
	return nil
}

// retry reads retries. The methods that are repeated stay those that may be: the Gateway API says nothing about them.
func (s *ruleSettings) retry(in *gatewayv1.HTTPRouteRetry, field string) *refusal {
	if in == nil {
		return nil
	}
	out := &v1.Retry{On: []string{"connectFailure", "refusedStream", "reset"}}
	gateway := 0
	for _, code := range slices.Compact(slices.Sorted(slices.Values(in.Codes))) {
		switch code {
		case 429:
			out.On = append(out.On, "429")
		case 502, 503, 504:
			if gateway++; gateway == 3 {
				out.On = append(out.On, "gatewayError")
			}
		default:
			return refuse(field+".codes", "UnsupportedValue", fmt.Sprintf("%d cannot be said; known are 429, and 502, 503 and 504 together", code), "change them")
		}
	}
	if gateway%3 != 0 {
		return refuse(field+".codes", "UnsupportedValue", "502, 503 and 504 can only be said together", "name all of them")
	}
	if in.Attempts != nil {
		if *in.Attempts < 0 || *in.Attempts > 10 {
			return refuse(field+".attempts", "UnsupportedValue", fmt.Sprintf("is %d, must be from 0 to 10", *in.Attempts), "change it")
		}
		out.Attempts = new(int64(*in.Attempts))
	}
	if in.Backoff != nil {
		d, err := duration(*in.Backoff)
		if err != nil || d == 0 {
			return refuse(field+".backoff", "UnsupportedValue", fmt.Sprintf("%q is not a duration from 1ms to 24h", clip(string(*in.Backoff))), "change it")
		}
		out.Backoff = &v1.Backoff{Base: &d, Max: new(max(d, 250))}
	}
	s.policy.Retry = out
	return nil
}
