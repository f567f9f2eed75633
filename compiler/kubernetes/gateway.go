package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const gatewayGroup = gatewayv1.GroupName

// gateway is a Gateway whose listeners are served.
type gateway struct {
	*gatewayv1.Gateway
	ref    Ref
	points []*point
}

// point is a listener of a Gateway, to which routes attach.
type point struct {
	*gatewayv1.Listener
	field    string
	hostname string
	problem  *missing // why nothing attaches; a reason of the Gateway API
	kinds    *missing // kinds of routes that are asked for in vain
	conflict *missing
	http     bool // HTTPRoutes may attach
	attached int32
}

// gateways takes over the listeners of the chosen Gateway. Several have addresses of their own: on one gateway what is attached to the
// one for the inside would be served outside, so that one has to be chosen.
func (t *translator) gateways() {
	for _, c := range t.in.GatewayClasses {
		if t.opts.Controller == "" || string(c.Spec.ControllerName) == t.opts.Controller {
			t.gatewayClass(c)
		}
	}
	for _, g := range sortedByAge(t.in.Gateways) {
		ref := Ref{"Gateway", g.Namespace, g.Name}
		switch name := g.Namespace + "/" + g.Name; {
		case !t.controlled(g):
			t.find(Finding{Grade: Note, Reason: "NotChosen", Object: ref, Message: fmt.Sprintf("is of class %q, which is not of controller %s", g.Spec.GatewayClassName, t.opts.Controller)})
		case t.opts.Gateway != "" && t.opts.Gateway != name:
			t.find(Finding{Grade: Note, Reason: "NotChosen", Object: ref, Message: "is not " + t.opts.Gateway})
		case t.opts.Gateway == "" && len(t.in.Gateways) > 1:
			t.find(Finding{
				Grade: Omitted, Reason: "SeveralGateways", Object: ref, Message: "is one of several, each of which has addresses of its own",
				Instead: "translate one at a time, with --gateway " + name,
			})
		default:
			t.gateway(&gateway{Gateway: g, ref: ref})
		}
	}
}

// controlled reports whether a Gateway is of a class of the chosen controller.
func (t *translator) controlled(g *gatewayv1.Gateway) bool {
	return t.opts.Controller == "" || slices.ContainsFunc(t.in.GatewayClasses, func(c *gatewayv1.GatewayClass) bool {
		return c.Name == string(g.Spec.GatewayClassName) && string(c.Spec.ControllerName) == t.opts.Controller
	})
}

func (t *translator) gatewayClass(c *gatewayv1.GatewayClass) {
	ref := Ref{Kind: "GatewayClass", Name: c.Name}
	accepted := condition("Accepted", "Accepted", "", c.Generation)
	if c.Spec.ParametersRef != nil {
		accepted = condition("Accepted", "InvalidParameters", "parameters are settings of another controller", c.Generation)
		t.find(Finding{
			Grade: Differs, Reason: "ClassParameters", Object: ref, Field: "spec.parametersRef", Message: "parameters of a class are settings of another controller",
			Instead: "say in gateway.yaml what of them matters",
		})
	}
	t.status = append(t.status, Status{Object: ref, GatewayClass: &gatewayv1.GatewayClassStatus{Conditions: []metav1.Condition{accepted}}})
}

func (t *translator) gateway(g *gateway) {
	t.attached = append(t.attached, g)
	t.gatewaySettings(g)
	for i := range g.Spec.Listeners {
		l := &g.Spec.Listeners[i]
		p := &point{Listener: l, field: fmt.Sprintf("spec.listeners[%d]", i)}
		if l.Hostname != nil {
			p.hostname = strings.ToLower(string(*l.Hostname))
		}
		g.points = append(g.points, p)
		t.point(g, p)
	}
	for _, p := range g.points {
		t.conflicts(g, p)
		for _, bad := range []*missing{p.problem, p.conflict, p.kinds} {
			if bad != nil {
				t.find(Finding{Grade: Omitted, Reason: bad.reason, Object: g.ref, Field: p.field, Message: bad.message, Instead: bad.instead})
			}
		}
	}
	t.isolation(g)
}

// gatewaySettings reports what a Gateway asks for beside its listeners.
func (t *translator) gatewaySettings(g *gateway) {
	differs := func(field, message, instead string) {
		t.find(Finding{Grade: Differs, Reason: "UnsupportedField", Object: g.ref, Field: field, Message: message, Instead: instead})
	}
	if len(g.Spec.Addresses) > 0 {
		differs("spec.addresses", "addresses are given by whoever runs the gateway", "set them on the Service or load balancer before it, or in gateway.yaml")
	}
	if in := g.Spec.Infrastructure; in != nil && in.ParametersRef != nil {
		differs("spec.infrastructure.parametersRef", "parameters are settings of another controller", "say in gateway.yaml what of them matters")
	}
	if tls := g.Spec.TLS; tls != nil && tls.Backend != nil {
		differs("spec.tls.backend", "a client certificate for all backends cannot be said in one place", "set tls.cert and tls.key of the upstreams")
	}
}

// point judges one listener by itself, and has its port served.
func (t *translator) point(g *gateway, p *point) {
	switch p.Protocol {
	case gatewayv1.HTTPProtocolType:
	case gatewayv1.HTTPSProtocolType:
		p.problem = t.pointTLS(g, p)
	default:
		p.problem = &missing{"UnsupportedProtocol", fmt.Sprintf("protocol is %q: the gateway serves HTTP and HTTPS", p.Protocol), "let another proxy serve it"}
	}
	p.kinds = p.routeKinds()
	if p.problem == nil {
		t.listen(int(p.Port), p.Protocol == gatewayv1.HTTPSProtocolType)
	}
}

// pointTLS resolves the certificates of a listener.
func (t *translator) pointTLS(g *gateway, p *point) *missing {
	if g.Spec.TLS != nil && g.Spec.TLS.Frontend != nil {
		return &missing{"UnsupportedValue", "spec.tls.frontend asks for client certificates, which are known, but not available in this version", "use auth.jwt or auth.apiKey"}
	}
	if p.TLS == nil || len(p.TLS.CertificateRefs) == 0 {
		return &missing{"InvalidCertificateRef", "names no certificate", "name a secret in tls.certificateRefs"}
	}
	if p.TLS.Mode != nil && *p.TLS.Mode != gatewayv1.TLSModeTerminate {
		return &missing{"UnsupportedValue", fmt.Sprintf("tls.mode is %q, must be Terminate", *p.TLS.Mode), "let a TCP proxy pass it on"}
	}
	if len(p.TLS.Options) > 0 {
		t.find(Finding{
			Grade: Differs, Reason: "UnsupportedField", Object: g.ref, Field: p.field + ".tls.options",
			Message: "options are settings of another controller", Instead: "set tls.minVersion of the listener in gateway.yaml",
		})
	}
	var secrets []Ref
	for i, r := range p.TLS.CertificateRefs {
		secret := Ref{"Secret", g.Namespace, string(r.Name)}
		if r.Namespace != nil {
			secret.Namespace = string(*r.Namespace)
		}
		at := fmt.Sprintf("tls.certificateRefs[%d]", i)
		switch {
		case r.Group != nil && *r.Group != "" || r.Kind != nil && *r.Kind != "Secret":
			return &missing{"InvalidCertificateRef", at + " is no secret", "name a secret"}
		case !IsName(secret.Namespace) || !IsName(secret.Name):
			return &missing{"InvalidCertificateRef", fmt.Sprintf("%s: %q is the name of no secret", at, clip(secret.Namespace+"/"+secret.Name)), "correct it"}
		case !t.granted("Gateway", g.Namespace, secret):
			return &missing{"RefNotPermitted", fmt.Sprintf("%s names %s of another namespace, which no ReferenceGrant there permits", at, secret), "add a ReferenceGrant to namespace " + secret.Namespace}
		case !t.hasSecret(secret.Namespace, secret.Name):
			return &missing{"InvalidCertificateRef", fmt.Sprintf("%s: there is no %s", at, secret), "create it, or name another"}
		}
		secrets = append(secrets, secret)
	}
	l, _ := t.listen(int(p.Port), true)
	for i, secret := range secrets {
		t.certificate(l, g.ref, fmt.Sprintf("%s.tls.certificateRefs[%d]", p.field, i), secret.Namespace, secret.Name)
	}
	return nil
}

// routeKinds finds out whether HTTPRoutes may attach.
func (p *point) routeKinds() *missing {
	if p.AllowedRoutes == nil || len(p.AllowedRoutes.Kinds) == 0 {
		p.http = true
		return nil
	}
	var unknown []string
	for _, k := range p.AllowedRoutes.Kinds {
		if (k.Group == nil || *k.Group == gatewayGroup) && k.Kind == "HTTPRoute" {
			p.http = true
		} else {
			unknown = append(unknown, string(k.Kind))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return &missing{"InvalidRouteKinds", fmt.Sprintf("allowedRoutes.kinds has %s: only HTTPRoutes are known", strings.Join(unknown, ", ")), "remove them"}
}

// conflicts finds listeners that cannot be told apart (Gateway API, "Distinct Listeners").
func (t *translator) conflicts(g *gateway, p *point) {
	for _, other := range g.points {
		switch {
		case other == p || other.Port != p.Port || p.conflict != nil:
		case other.Protocol != p.Protocol:
			p.conflict = &missing{"ProtocolConflict", fmt.Sprintf("listener %q has port %d too, with another protocol", other.Name, p.Port), "give it a port of its own"}
		case other.hostname == p.hostname:
			p.conflict = &missing{"HostnameConflict", fmt.Sprintf("listener %q has the same port and host", other.Name), "remove one of them"}
		}
	}
	if l := t.listeners[int(p.Port)]; p.problem == nil && p.conflict == nil && l != nil && l.tls != (p.Protocol == gatewayv1.HTTPSProtocolType) {
		p.conflict = &missing{"ProtocolConflict", fmt.Sprintf("port %d is served for an Ingress, in the other way", p.Port), "translate Ingresses and Gateways apart"}
	}
}

// isolation reports listeners of which one takes hosts of another. A request belongs to the most specific listener alone (GEP-1713
// calls that isolation); here it goes to the most specific route of all of them.
func (t *translator) isolation(g *gateway) {
	for _, p := range g.points {
		for _, other := range g.points {
			if p.Port != other.Port || p.hostname == other.hostname || !p.usable() || !other.usable() {
				continue
			}
			if both, _ := intersect(p.hostname, other.hostname); both != p.hostname || p.hostname == "" {
				continue // other is no wider than p
			}
			t.find(Finding{
				Grade: Differs, Reason: "NotIsolated", Object: g.ref, Field: p.field,
				Message: fmt.Sprintf("requests for %s that no route of this listener takes go to routes of listener %q; in Kubernetes they are answered 404", p.hostname, other.Name),
				Instead: "add a route for everything to this listener, or give the hosts a gateway of their own",
			})
		}
	}
}

func (p *point) usable() bool { return p.problem == nil && p.conflict == nil }

// admits reports whether a listener lets routes of a namespace attach.
func (t *translator) admits(g *gateway, p *point, namespace string) bool {
	from := gatewayv1.NamespacesFromSame
	var selector *metav1.LabelSelector
	if p.AllowedRoutes != nil && p.AllowedRoutes.Namespaces != nil {
		selector = p.AllowedRoutes.Namespaces.Selector
		if p.AllowedRoutes.Namespaces.From != nil {
			from = *p.AllowedRoutes.Namespaces.From
		}
	}
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return namespace == g.Namespace
	case gatewayv1.NamespacesFromSelector:
		want, err := metav1.LabelSelectorAsSelector(selector)
		have := labels.Set{corev1.LabelMetadataName: namespace} // which the API server sets
		ns := t.namespaces[namespace]
		if ns != nil {
			maps.Copy(have, ns.Labels)
		}
		if err == nil && want.Matches(have) {
			return true
		}
		if ns == nil {
			t.find(Finding{
				Grade: Note, Reason: "UnknownNamespace", Object: g.ref, Field: p.field + ".allowedRoutes.namespaces.selector",
				Message: fmt.Sprintf("namespace %s is not among the manifests, so its labels are not known, and its routes do not attach", namespace),
				Instead: "translate it together with the routes",
			})
		}
	}
	return false
}

// granted reports whether an object may refer to another: within its namespace always, beyond it if a ReferenceGrant there says so.
func (t *translator) granted(fromKind, fromNamespace string, to Ref) bool {
	if to.Namespace == fromNamespace {
		return true
	}
	return slices.ContainsFunc(t.in.ReferenceGrants, func(g *gatewayv1.ReferenceGrant) bool {
		return g.Namespace == to.Namespace && slices.ContainsFunc(g.Spec.From, func(f gatewayv1.ReferenceGrantFrom) bool {
			return f.Group == gatewayGroup && string(f.Kind) == fromKind && string(f.Namespace) == fromNamespace
		}) && slices.ContainsFunc(g.Spec.To, func(o gatewayv1.ReferenceGrantTo) bool {
			return o.Group == "" && string(o.Kind) == to.Kind && (o.Name == nil || string(*o.Name) == to.Name)
		})
	})
}
