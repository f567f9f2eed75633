package kubernetes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/suuupra/gateway/schema/match"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// ingress is one Ingress on its way.
type ingress struct {
	*networkingv1.Ingress
	ref Ref
	set settings
}

// ingresses translates every Ingress that is chosen.
func (t *translator) ingresses() {
	for _, ing := range t.chosen() {
		in := &ingress{Ingress: ing, ref: Ref{"Ingress", ing.Namespace, ing.Name}}
		t.annotations(in.ref, ing.Annotations, &in.set)
		t.finish(in.ref, &in.set)
		if strings.EqualFold(ing.Annotations[nginxPrefix+"canary"], "true") {
			continue // the Ingress it stands beside takes its requests; what it asks for was reported
		}
		t.certificates(in)
		for i := range ing.Spec.Rules {
			t.ingressRule(in, &ing.Spec.Rules[i], fmt.Sprintf("spec.rules[%d]", i), i)
		}
		if b := ing.Spec.DefaultBackend; b != nil {
			t.ingressPath(in, "", networkingv1.HTTPIngressPath{Path: "/", PathType: new(networkingv1.PathTypePrefix), Backend: *b}, "spec.defaultBackend", "default")
		}
		if len(ing.Spec.Rules) == 0 && ing.Spec.DefaultBackend == nil {
			t.find(Finding{
				Grade: Note, Reason: "Empty", Object: in.ref, Field: "spec",
				Message: "has neither rules nor a default backend, so it takes no request",
			})
		}
	}
}

// certificates puts the secrets of an Ingress on the listener for TLS.
func (t *translator) certificates(in *ingress) {
	for i, entry := range in.Spec.TLS {
		field := fmt.Sprintf("spec.tls[%d]", i)
		l, _ := t.listen(443, true)
		switch {
		case entry.SecretName == "":
			t.find(Finding{
				Grade: Differs, Reason: "NoCertificate", Object: in.ref, Field: field,
				Message: "names no secret, and port 443 is not served without a certificate",
				Instead: "name a secret, or add the certificate to the listener in gateway.yaml",
			})
		case !IsName(entry.SecretName):
			t.find(Finding{
				Grade: Differs, Reason: "NoCertificate", Object: in.ref, Field: field,
				Message: fmt.Sprintf("%q is the name of no secret", clip(entry.SecretName)), Instead: "correct it",
			})
		case !t.hasSecret(in.Namespace, entry.SecretName):
			t.find(Finding{
				Grade: Differs, Reason: "NoCertificate", Object: in.ref, Field: field,
				Message: fmt.Sprintf("there is no secret %s/%s, and port 443 is not served without a certificate", in.Namespace, entry.SecretName), Instead: "create it, or name another",
			})
		default:
			t.certificate(l, in.ref, field+".secretName", in.Namespace, entry.SecretName)
		}
	}
}

// ports are those that a host of an Ingress is served on: with TLS that alone, unless ssl-redirect is switched off. In place of a
// redirect nothing listens where requests would be in plain text.
func (t *translator) ports(in *ingress, host string) []int {
	tls := slices.ContainsFunc(in.Spec.TLS, func(e networkingv1.IngressTLS) bool {
		return len(e.Hosts) == 0 || slices.Contains(e.Hosts, host) || slices.ContainsFunc(e.Hosts, func(h string) bool { return coveredBy(host, h) })
	})
	if tls && !in.set.plainToo {
		t.find(Finding{
			Grade: Note, Reason: "NoRedirect", Object: in.ref, Field: "spec.tls",
			Message: "hosts with TLS are for port 443 alone; plain requests are not redirected there, as most controllers do",
		})
		return []int{443}
	}
	t.listen(80, false)
	if tls {
		return []int{80, 443}
	}
	return []int{80}
}

// coveredBy reports whether a wildcard of TLS hosts stands for a host.
func coveredBy(host, wildcard string) bool {
	suffix, ok := strings.CutPrefix(wildcard, "*.")
	_, rest, _ := strings.Cut(host, ".")
	return ok && rest == suffix
}

func (t *translator) ingressRule(in *ingress, rule *networkingv1.IngressRule, field string, number int) {
	if rule.HTTP == nil || len(rule.HTTP.Paths) == 0 {
		if in.Spec.DefaultBackend == nil {
			t.find(Finding{
				Grade: Note, Reason: "Empty", Object: in.ref, Field: field,
				Message: "has no paths, and there is no default backend: it takes no request",
			})
			return
		}
		all := networkingv1.HTTPIngressPath{Path: "/", PathType: new(networkingv1.PathTypePrefix), Backend: *in.Spec.DefaultBackend}
		t.ingressPath(in, rule.Host, all, field, fmt.Sprint(number))
		return
	}
	for i, path := range rule.HTTP.Paths {
		t.ingressPath(in, rule.Host, path, fmt.Sprintf("%s.http.paths[%d]", field, i), fmt.Sprintf("%d-%d", number, i))
	}
}

// ingressPath translates one path of a rule, for the host of the rule and its aliases.
func (t *translator) ingressPath(in *ingress, host string, path networkingv1.HTTPIngressPath, field, number string) {
	c := candidate{object: in.ref, field: field, refused: in.set.blocked}
	c.route.Target.Type = "http"
	policy := in.set.policy
	pattern, rewrite, problem := t.ingressPattern(in, &path, field)
	if problem != nil {
		t.find(Finding{
			Grade: Omitted, Reason: "UnsupportedPath", Object: in.ref, Field: field + ".path", Message: problem.Error(),
			Instead: "use pathType Exact or Prefix with a plain path, or write the route by hand",
		})
		c.refused, c.wide = true, true
		pattern = literalPart(path.Path)
	}
	policy.Rewrite = rewrite
	c.route.Matcher.Path = pattern
	if !t.ingressBackend(in, path.Backend, field+".backend", &c) {
		c.refused = true
	}
	hosts := []string{host}
	if host != "" {
		hosts = append(hosts, in.set.aliases...)
	}
	for i, h := range hosts {
		one := c
		one.route.ID = identifier(in.Namespace, in.Name, "ingress-"+number)
		if i > 0 {
			one.route.ID = identifier(in.Namespace, in.Name, fmt.Sprintf("ingress-%s-alias-%d", number, i-1))
		}
		one.ports = t.ports(in, strings.ToLower(h))
		one.route.Matcher.Host = strings.ToLower(h)
		own := policy
		t.oneLabel(in.ref, field, &one, &own)
		if own != (v1.RoutePolicy{}) {
			one.route.Policy = &own
		}
		t.add(&one)
	}
}

// oneLabel keeps the meaning of a wildcard host. In an Ingress the star stands for exactly one label, here for one or more: names with
// more are refused by a condition.
func (t *translator) oneLabel(of Ref, field string, c *candidate, policy *v1.RoutePolicy) {
	suffix, wildcard := strings.CutPrefix(c.route.Matcher.Host, "*.")
	if !wildcard {
		return
	}
	if h, err := match.ParseHost(c.route.Matcher.Host); err != nil || h.Any() {
		return // reported when the route is added
	}
	when := fmt.Sprintf(`request.host.matches("^[^.]+[.]%s$")`, strings.ReplaceAll(suffix, ".", "[.]"))
	policy.Authorization = &v1.Authorization{Conditions: []v1.Condition{{ID: "one-label", When: when}}}
	t.find(Finding{
		Grade: Note, Reason: "OneLabel", Object: of, Field: field,
		Message: fmt.Sprintf("*.%s takes one more label in an Ingress; names with several are answered 403 by a condition, and do not go to less specific hosts", suffix),
		Instead: "remove the condition if names with several labels are meant too, as ingress-nginx has it",
	})
}

// ingressPattern returns the path pattern for a path of a rule, and how the path is rewritten.
func (t *translator) ingressPattern(in *ingress, p *networkingv1.HTTPIngressPath, field string) (string, *v1.Rewrite, error) {
	kind := networkingv1.PathTypeImplementationSpecific
	if p.PathType != nil {
		kind = *p.PathType
	} else {
		t.find(Finding{Grade: Note, Reason: "NoPathType", Object: in.ref, Field: field, Message: "has no pathType: ImplementationSpecific is taken, which is read as Prefix"})
	}
	path := p.Path
	if path == "" {
		path = "/"
	}
	if in.set.regex || in.set.rewrite != nil { // then ingress-nginx reads every path of the Ingress as an expression
		if kind == networkingv1.PathTypeImplementationSpecific || strings.ContainsAny(path, `()[]|?+^$\`) {
			return t.expression(in, path, field)
		}
	}
	var pattern string
	var err error
	switch kind {
	case networkingv1.PathTypeExact:
		pattern, err = exactPath(path)
	case networkingv1.PathTypePrefix, networkingv1.PathTypeImplementationSpecific:
		pattern, err = prefixPath(path)
	default:
		return "", nil, fmt.Errorf("pathType is %q, must be Exact, Prefix or ImplementationSpecific", kind)
	}
	if err != nil || in.set.rewrite == nil {
		return pattern, nil, err
	}
	target, err := rewriteTarget(*in.set.rewrite, "")
	return pattern, &v1.Rewrite{Path: target}, err
}

// expression translates a path that ingress-nginx reads as a regular expression.
func (t *translator) expression(in *ingress, path, field string) (string, *v1.Rewrite, error) {
	known, err := readIdiom(path)
	if err != nil {
		return "", nil, fmt.Errorf("%q %w", path, err)
	}
	pattern, err := prefixPath(known.prefix)
	if err != nil {
		return "", nil, err
	}
	message := fmt.Sprintf("%q becomes %s; ingress-nginx does not tell capital and small letters apart, the route does", path, pattern)
	if known.loose != "" {
		message += "; " + known.loose
	}
	t.find(Finding{Grade: Note, Reason: "Expression", Object: in.ref, Field: field + ".path", Message: message})
	if in.set.rewrite == nil {
		return pattern, nil, nil
	}
	target, err := rewriteTarget(*in.set.rewrite, known.rest)
	return pattern, &v1.Rewrite{Path: target}, err
}

var plainPath = regexp.MustCompile(`^(?:/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)*`)

// literalPart is the subtree that surely holds everything a path that cannot be said may take: what is plain in front of it, without
// the last segment, which may go on.
func literalPart(path string) string {
	plain := plainPath.FindString(strings.TrimPrefix(path, "^"))
	if i := strings.LastIndexByte(plain, '/'); i > 0 {
		return plain[:i] + "/*"
	}
	return "/*"
}

// ingressBackend sets the target of a path.
func (t *translator) ingressBackend(in *ingress, b networkingv1.IngressBackend, field string, c *candidate) bool {
	if b.Service == nil {
		what := "names neither a service nor a resource"
		if b.Resource != nil {
			what = fmt.Sprintf("is the resource %s %q: the gateway forwards to services", b.Resource.Kind, b.Resource.Name)
		}
		t.find(Finding{Grade: Omitted, Reason: "UnsupportedBackend", Object: in.ref, Field: field, Message: what, Instead: "put a service before it"})
		return false
	}
	to := backend{namespace: in.Namespace}.resolve(b.Service)
	own := settings{tune: in.set.tune}
	if s := t.services[to.namespace+"/"+to.service]; s != nil {
		t.annotations(Ref{"Service", s.Namespace, s.Name}, s.Annotations, &own)
	}
	if to.portName == "" && (to.portNumber < 1 || to.portNumber > 65535) {
		t.find(Finding{Grade: Omitted, Reason: "BackendNotFound", Object: in.ref, Field: field, Message: "names no port", Instead: "give its number or its name"})
		return false
	}
	id, gone := t.upstreamFor(in.ref, field, to, own.tune)
	if gone != nil {
		t.find(Finding{Grade: Omitted, Reason: gone.reason, Object: in.ref, Field: field, Message: gone.message, Instead: gone.instead})
		return false
	}
	c.route.Target.Upstream = id
	return !own.blocked
}
