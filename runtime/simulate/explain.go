// Package simulate judges a request against a configuration without a socket. It uses the router and the policies that
// serve traffic, so its answer is the gateway's. It must not send anything.
package simulate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/router"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// maxMisses is how many near misses an explanation holds.
const maxMisses = 5

// Explanation says what becomes of one request, and why.
type Explanation struct {
	Request match.Request `json:"request"`          // as the gateway reads it
	Status  int           `json:"status,omitempty"` // of the refusal, if no route takes the request
	Reason  string        `json:"reason,omitempty"` // why not
	Winner  *Winner       `json:"winner,omitempty"`
	Misses  []Miss        `json:"nearMisses"`
}

// Winner is the route that takes the request.
type Winner struct {
	Route    string         `json:"route"`
	Origin   *diag.Pos      `json:"origin,omitempty"`
	Params   []policy.Param `json:"params,omitempty"`
	Pipeline []Step         `json:"pipeline"`
	Settings []Setting      `json:"settings"`
}

// Step is one step of the pipeline, in the order in which the request meets them.
type Step struct {
	Phase  string `json:"phase"`
	Policy string `json:"policy,omitempty"` // empty for the gateway's own steps
	Does   string `json:"does"`
}

// Setting is one effective value and the place that set it.
type Setting struct {
	Field  string    `json:"field"`
	Value  string    `json:"value"`
	Origin *diag.Pos `json:"origin,omitempty"` // nil: a default, or the bundle carries no provenance
}

// Miss is a route that does not take the request, and why.
type Miss struct {
	Route  string    `json:"route"`
	Why    []string  `json:"why"`
	Origin *diag.Pos `json:"origin,omitempty"`
	failed int
}

// ParseRequest reads what a user typed: a method and a URL or a path, with header fields.
func ParseRequest(method, target string, headers []ir.Pair) (match.Request, error) {
	r := match.Request{Method: method, Headers: headers}
	raw := target
	if _, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
		authority := rest
		raw = "/"
		if at := strings.IndexAny(rest, "/?#"); at >= 0 { // the path may be one that no URL has: what becomes of it is the question
			authority, raw = rest[:at], rest[at:]
		}
		if at := strings.LastIndexByte(authority, '@'); at >= 0 { // as typed clients send no user name
			authority = authority[at+1:]
		}
		host, ok := match.NormalizeHost(authority)
		if !ok || host == "" {
			return r, fmt.Errorf("%q is not a host", authority)
		}
		r.Host = host
	}
	raw, _, _ = strings.Cut(raw, "#")
	raw, r.RawQuery, _ = strings.Cut(raw, "?")
	if raw == "" {
		raw = "/"
	}
	r.Path = raw
	return r, nil
}

// Explain tells what becomes of a request. The request's path is as typed; it is normalised here, as the gateway does. If the
// configuration trusts proxies, the request is taken as one of theirs: what its header says about the client is believed.
func Explain(p *ir.Program, kinds []policy.Kind, r match.Request) (*Explanation, error) {
	out := &Explanation{Request: r, Misses: []Miss{}}
	path, reason := match.NormalizePath(r.Path)
	if reason != "" {
		out.Status, out.Reason = 400, fmt.Sprintf("the path is refused: %s", reason)
		return out, nil
	}
	r.Path = path
	if len(p.Gateway.TrustedProxies) == 0 { // nobody is believed about where a request came from, as in httpmsg.Proxies
		r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h ir.Pair) bool { return httpmsg.IsForwarding(h.Name) })
	}
	out.Request = r
	if match.IsReserved(path) {
		out.Reason = "the gateway answers this path itself, before any route"
		return out, nil
	}
	routes := make([]*ir.Route, len(p.Routes))
	for i := range p.Routes {
		routes[i] = &p.Routes[i]
	}
	rt, err := router.Build(routes)
	if err != nil {
		return nil, fmt.Errorf("build router: %w", err)
	}
	header := headerOf(r.Headers)
	res := rt.Lookup(r.Method, r.Host, r.Path, r.RawQuery, header, make([]policy.Param, 0, 16))
	if asks := header.Get("Access-Control-Request-Method"); r.Method == "OPTIONS" && asks != "" && header.Get("Origin") != "" {
		pre := rt.Lookup(asks, r.Host, r.Path, r.RawQuery, header, make([]policy.Param, 0, 16))
		if pre.Outcome == router.Found && slices.ContainsFunc(p.Routes[pre.Index].Policies, func(k ir.Policy) bool { return k.Kind == "cors" }) {
			res = pre // as the gateway does
		}
	}
	switch res.Outcome {
	case router.Found:
		out.Winner = describe(p, &p.Routes[res.Index], kinds, res.Params)
	case router.MethodNotAllowed:
		out.Status, out.Reason = 405, fmt.Sprintf("a route takes this path, but with other methods: %s", res.Allow)
	default:
		out.Status, out.Reason = 404, "no route takes this request"
	}
	misses, err := nearMisses(p, &r, res.Index)
	out.Misses = misses
	return out, err
}

// nearMisses ranks the routes that do not take the request: those that match but are less specific, then those that fail
// the fewest conditions.
func nearMisses(p *ir.Program, r *match.Request, winner int) ([]Miss, error) {
	var won *match.Matcher
	if winner >= 0 {
		var err error
		if won, err = match.Compile(&p.Routes[winner].Match); err != nil {
			return nil, err
		}
	}
	out := []Miss{}
	for i := range p.Routes {
		if i == winner {
			continue
		}
		m, err := match.Compile(&p.Routes[i].Match)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", p.Routes[i].ID, err)
		}
		miss := Miss{Route: p.Routes[i].ID, Origin: origin(p, "routes/"+p.Routes[i].ID+"/matcher")}
		mismatches := match.Explain(m, r)
		miss.failed = len(mismatches)
		for _, mm := range mismatches {
			miss.Why = append(miss.Why, mm.Message)
		}
		if miss.failed == 0 && won != nil {
			miss.Why = []string{fmt.Sprintf("matches too, but %q is more specific: %s", p.Routes[winner].ID, moreSpecific(won, m))}
		}
		if miss.failed >= 2 && slices.ContainsFunc(mismatches, func(mm match.Mismatch) bool { return mm.Step == match.StepHost || mm.Step == match.StepPath }) &&
			!sharesFirstSegment(m, r.Path) {
			continue // not near
		}
		out = append(out, miss)
	}
	slices.SortStableFunc(out, func(a, b Miss) int {
		return cmp.Or(cmp.Compare(a.failed, b.failed), cmp.Compare(a.Route, b.Route))
	})
	return out[:min(len(out), maxMisses)], nil
}

// sharesFirstSegment tells a route in the neighbourhood of a path from one that has nothing to do with it.
func sharesFirstSegment(m *match.Matcher, path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return len(m.Path.Segments) > 0 && !m.Path.Segments[0].Capture && m.Path.Segments[0].Text == first
}

// moreSpecific names the first step of the order of specificity at which one matcher wins over another.
func moreSpecific(won, lost *match.Matcher) string {
	a, b := match.Matcher{Host: won.Host}, match.Matcher{Host: lost.Host}
	if match.Compare(&a, &b) != 0 {
		return fmt.Sprintf("host %s comes before %s", hostText(won), hostText(lost))
	}
	a.Path, a.Regex, a.Pattern = won.Path, won.Regex, won.Pattern
	b.Path, b.Regex, b.Pattern = lost.Path, lost.Regex, lost.Pattern
	if match.Compare(&a, &b) != 0 {
		return fmt.Sprintf("path %s comes before %s", won.Pattern, lost.Pattern)
	}
	a.Methods, b.Methods = won.Methods, lost.Methods
	if match.Compare(&a, &b) != 0 {
		return "a list of methods comes before none"
	}
	a.Headers, b.Headers = won.Headers, lost.Headers
	if match.Compare(&a, &b) != 0 {
		return fmt.Sprintf("%d header conditions come before %d", len(won.Headers), len(lost.Headers))
	}
	return fmt.Sprintf("%d query conditions come before %d", len(won.Query), len(lost.Query))
}

func hostText(m *match.Matcher) string {
	if m.Host.Any() {
		return "any"
	}
	return m.Host.String()
}
