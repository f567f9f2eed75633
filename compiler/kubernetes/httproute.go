package kubernetes

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/schema/match"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// httpRoute is an HTTPRoute on its way.
type httpRoute struct {
	*gatewayv1.HTTPRoute
	ref        Ref
	hosts      map[string][]int // that it is attached for, with the ports they are served on
	unresolved *missing         // the first reference that leads nowhere
	refused    *missing         // the first rule that was left out
}

// httpRoutes translates every HTTPRoute that attaches to a chosen Gateway.
func (t *translator) httpRoutes() {
	for _, r := range sortedByAge(t.in.HTTPRoutes) {
		ref := Ref{"HTTPRoute", r.Namespace, r.Name}
		if !t.inNamespace(r.Namespace) {
			t.find(Finding{Grade: Note, Reason: "NotChosen", Object: ref, Message: t.notInNamespace()})
			continue
		}
		t.httpRoute(&httpRoute{HTTPRoute: r, ref: ref, hosts: map[string][]int{}})
	}
	for _, g := range t.attached {
		t.status = append(t.status, g.gatewayStatus())
	}
}

func (t *translator) httpRoute(r *httpRoute) {
	var parents []gatewayv1.RouteParentStatus
	for i := range r.Spec.ParentRefs {
		if accepted, ours := t.attach(r, &r.Spec.ParentRefs[i], fmt.Sprintf("spec.parentRefs[%d]", i)); ours {
			parents = append(parents, gatewayv1.RouteParentStatus{
				ParentRef: r.Spec.ParentRefs[i], ControllerName: ControllerName, Conditions: []metav1.Condition{accepted},
			})
		}
	}
	rules := r.Spec.Rules
	if len(rules) == 0 { // as the API server fills them in
		rules = []gatewayv1.HTTPRouteRule{{}}
	}
	for i := range rules {
		t.rule(r, &rules[i], i)
	}
	resolved := r.unresolved.condition("ResolvedRefs", "ResolvedRefs", r.Generation)
	for i := range parents {
		parents[i].Conditions = append(parents[i].Conditions, resolved)
		if r.refused != nil && parents[i].Conditions[0].Status == metav1.ConditionTrue {
			parents[i].Conditions = append(parents[i].Conditions, condition("PartiallyInvalid", "UnsupportedRules", "Dropped Rule: "+r.refused.message, r.Generation))
		}
	}
	if len(parents) > 0 {
		t.status = append(t.status, Status{Object: r.ref, HTTPRoute: &gatewayv1.HTTPRouteStatus{RouteStatus: gatewayv1.RouteStatus{Parents: parents}}})
	}
}

// attach finds the listeners that a reference to a parent means. False: the parent is not translated.
func (t *translator) attach(r *httpRoute, p *gatewayv1.ParentReference, field string) (metav1.Condition, bool) {
	parent := Ref{"Gateway", r.Namespace, string(p.Name)}
	if p.Namespace != nil {
		parent.Namespace = string(*p.Namespace)
	}
	f := Finding{Grade: Omitted, Object: r.ref, Field: field}
	if p.Group != nil && *p.Group != gatewayGroup || p.Kind != nil && *p.Kind != "Gateway" {
		f.Reason, f.Message, f.Instead = "UnsupportedParent", "names a parent that is no Gateway", "routes attach to Gateways"
		t.find(f)
		return metav1.Condition{}, false
	}
	i := slices.IndexFunc(t.attached, func(g *gateway) bool { return g.ref == parent })
	if i < 0 {
		other := t.opts.Controller != "" && t.opts.Gateway != parent.Namespace+"/"+parent.Name // it may be of another controller
		known := other || slices.ContainsFunc(t.in.Gateways, func(g *gatewayv1.Gateway) bool { return g.Namespace == parent.Namespace && g.Name == parent.Name })
		f.Reason, f.Message = "NotChosen", fmt.Sprintf("%s is not translated", parent)
		switch {
		case !known:
			f.Reason, f.Message, f.Instead = "NoMatchingParent", fmt.Sprintf("%s is not among the manifests", parent), "translate it together with the route"
		case t.opts.Gateway != "":
			f.Grade = Note
		}
		t.find(f)
		return metav1.Condition{}, false
	}
	bad := t.attachTo(r, t.attached[i], p)
	if bad != nil {
		t.find(Finding{Grade: Omitted, Reason: bad.reason, Object: r.ref, Field: field, Message: bad.message, Instead: bad.instead})
	}
	return bad.condition("Accepted", "Accepted", r.Generation), true
}

// attachTo hangs a route on the listeners of a Gateway that take it.
func (t *translator) attachTo(r *httpRoute, g *gateway, p *gatewayv1.ParentReference) *missing {
	named, admitted, met := false, false, false
	for _, point := range g.points {
		if p.SectionName != nil && point.Name != *p.SectionName || p.Port != nil && point.Port != *p.Port {
			continue
		}
		named = true
		if !point.http || !t.admits(g, point, r.Namespace) {
			continue
		}
		admitted = true
		hosts := r.intersect(point.hostname)
		if len(hosts) == 0 {
			continue
		}
		met = true
		if !point.usable() {
			continue // reported at the listener
		}
		point.attached++
		for _, h := range hosts {
			if !slices.Contains(r.hosts[h], int(point.Port)) {
				r.hosts[h] = append(r.hosts[h], int(point.Port))
			}
		}
	}
	switch {
	case !named:
		return &missing{"NoMatchingParent", fmt.Sprintf("%s has no listener of that name and port", g.ref), "correct sectionName and port"}
	case !admitted:
		return &missing{"NotAllowedByListeners", fmt.Sprintf("no listener of %s allows HTTPRoutes of namespace %s", g.ref, r.Namespace), "extend allowedRoutes of the listener"}
	case !met:
		return &missing{"NoMatchingListenerHostname", fmt.Sprintf("no hostname is one of a listener of %s", g.ref), "correct hostnames"}
	}
	return nil
}

// intersect returns the hosts of a route that a listener serves, "" for any.
func (r *httpRoute) intersect(listener string) []string {
	if len(r.Spec.Hostnames) == 0 {
		return []string{listener}
	}
	var out []string
	for _, h := range r.Spec.Hostnames {
		if both, ok := intersect(strings.ToLower(string(h)), listener); ok && !slices.Contains(out, both) {
			out = append(out, both)
		}
	}
	return out
}

// intersect returns the hosts that two patterns have in common. A star stands for one or more labels, as in a matcher.
func intersect(a, b string) (string, bool) {
	x, errX := match.ParseHost(a)
	y, errY := match.ParseHost(b)
	switch {
	case b == "" || errX != nil: // a bad host is reported when its route is added
		return a, true
	case a == "" || a == b:
		return b, true
	case errY != nil:
		return "", false
	case x.Wildcard && y.Wildcard && strings.HasSuffix(x.Name, "."+y.Name), !x.Wildcard && y.Matches(x.Name):
		return a, true
	case x.Wildcard && y.Wildcard && strings.HasSuffix(y.Name, "."+x.Name), !y.Wildcard && x.Matches(y.Name):
		return b, true
	}
	return "", false
}

// rule translates one rule: a route for each of its matches and hosts.
func (t *translator) rule(r *httpRoute, rule *gatewayv1.HTTPRouteRule, number int) {
	field := fmt.Sprintf("spec.rules[%d]", number)
	matches := rule.Matches
	if len(matches) == 0 { // as the API server fills them in
		matches = []gatewayv1.HTTPRouteMatch{{}}
	}
	hosts := slices.Sorted(maps.Keys(r.hosts))
	before := len(t.findings)
	settings, bad := t.ruleSettings(r, rule, field)
	if len(hosts) == 0 { // reported where it did not attach; only its status tells of its references
		t.findings = t.findings[:before]
		return
	}
	if bad != nil {
		r.refuse(bad)
		t.find(Finding{Grade: Omitted, Reason: bad.reason, Object: r.ref, Field: bad.field, Message: bad.message, Instead: bad.instead})
	}
	for i := range matches {
		at := fmt.Sprintf("%s.matches[%d]", field, i)
		matcher, problem := routeMatcher(&matches[i])
		wide := problem != nil
		if !wide && settings != nil && settings.path != nil && settings.path.ReplacePrefixMatch != nil && !strings.HasSuffix(matcher.Path, "/*") {
			problem = errors.New("urlRewrite replaces a prefix, and the match has none")
		}
		if problem != nil {
			r.refuse(&refusal{missing: missing{"UnsupportedMatch", problem.Error(), ""}})
			t.find(Finding{Grade: Omitted, Reason: "UnsupportedMatch", Object: r.ref, Field: at, Message: problem.Error(), Instead: "use exact values, or write the route by hand"})
		}
		for j, h := range hosts {
			c := &candidate{object: r.ref, field: at, ports: r.hosts[h], refused: bad != nil || problem != nil, wide: wide}
			number := fmt.Sprintf("rule-%d-%d", number, i)
			if len(hosts) > 1 {
				number += fmt.Sprintf("-%d", j)
			}
			c.route = v1.Route{ID: identifier(r.Namespace, r.Name, number), Matcher: matcher}
			c.route.Matcher.Host = h
			if !c.refused {
				c.route.Target = v1.Target{Type: "http", Upstream: settings.upstream}
				c.route.Policy = settings.policyFor(&matches[i])
			}
			t.add(c)
		}
	}
}

func (r *httpRoute) refuse(bad *refusal) {
	if r.refused == nil {
		r.refused = &bad.missing
	}
}

// routeMatcher translates one match. Where it cannot be said, what is returned takes at least the same requests.
func routeMatcher(m *gatewayv1.HTTPRouteMatch) (v1.Matcher, error) {
	var out v1.Matcher
	var problem error
	kind, value := gatewayv1.PathMatchPathPrefix, "/"
	if m.Path != nil && m.Path.Type != nil {
		kind = *m.Path.Type
	}
	if m.Path != nil && m.Path.Value != nil {
		value = *m.Path.Value
	}
	switch kind {
	case gatewayv1.PathMatchExact:
		out.Path, problem = exactPath(value)
	case gatewayv1.PathMatchPathPrefix:
		out.Path, problem = prefixPath(value)
	case gatewayv1.PathMatchRegularExpression:
		out.PathRegex = value
		_, problem = match.ParseRegex(value)
	default:
		problem = fmt.Errorf("path.type is %q, must be Exact, PathPrefix or RegularExpression", kind)
	}
	if problem != nil {
		out.Path, out.PathRegex = literalPart(value), ""
	}
	if m.Method != nil {
		if out.Methods = []string{string(*m.Method)}; !methodForm.MatchString(out.Methods[0]) {
			out.Methods, problem = nil, fmt.Errorf("%q is no method in capitals", clip(string(*m.Method)))
		}
	}
	for _, h := range m.Headers {
		exact := h.Type == nil || *h.Type == gatewayv1.HeaderMatchExact
		problem = wants(&out.Headers, strings.ToLower(string(h.Name)), h.Value, exact, "header", problem)
	}
	for _, q := range m.QueryParams {
		exact := q.Type == nil || *q.Type == gatewayv1.QueryParamMatchExact
		problem = wants(&out.Query, string(q.Name), q.Value, exact, "query parameter", problem)
	}
	return out, problem
}

// wants adds a condition on a header or a parameter. Of several on one name the first counts (Gateway API, HTTPHeaderMatch).
func wants(into *map[string]string, name, value string, exact bool, what string, problem error) error {
	switch _, twice := (*into)[name]; {
	case twice:
	case !isText(name) || !isText(value) || what == "header" && !headerForm.MatchString(name):
		return fmt.Errorf("the %s %q with the value %q is none: names and values are text without control characters", what, clip(name), clip(value))
	case what == "header" && endsHere(name):
		return fmt.Errorf("the header %q cannot be matched: it ends at the gateway", name)
	case !exact:
		return fmt.Errorf("the %s %q is matched by a regular expression; only exact values can be said", what, name)
	case value == match.AnyValue:
		return fmt.Errorf(`the %s %q must be "*", which stands for any value in a matcher`, what, name)
	default:
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[name] = value
	}
	return problem
}
