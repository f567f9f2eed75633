package kubernetes

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// positive are the reasons under which a condition holds; for Conflicted that is the bad case.
var positive = map[string]bool{
	"Accepted": true, "ResolvedRefs": true, "HostnameConflict": true, "ProtocolConflict": true, "UnsupportedRules": true,
}

// condition makes a condition, whose status follows from its reason.
func condition(kind, reason, message string, generation int64) metav1.Condition {
	status := metav1.ConditionFalse
	if positive[reason] {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: generation}
}

// of makes a condition of what is missing, or of the good case.
func (m *missing) condition(kind, good string, generation int64) metav1.Condition {
	if m == nil {
		return condition(kind, good, "", generation)
	}
	return condition(kind, m.reason, m.message, generation)
}

// gatewayStatus writes down what became of a Gateway, once its routes have attached.
func (g *gateway) gatewayStatus() Status {
	out := &gatewayv1.GatewayStatus{}
	bad := 0
	for _, p := range g.points {
		accepted, resolved := p.problem, p.kinds
		if p.problem != nil && (p.problem.reason == "InvalidCertificateRef" || p.problem.reason == "RefNotPermitted") {
			accepted, resolved = nil, p.problem
		}
		if !p.usable() {
			bad++
		}
		l := gatewayv1.ListenerStatus{
			Name: p.Name, AttachedRoutes: p.attached, SupportedKinds: []gatewayv1.RouteGroupKind{},
			Conditions: []metav1.Condition{
				accepted.condition("Accepted", "Accepted", g.Generation),
				p.conflict.condition("Conflicted", "NoConflicts", g.Generation),
				resolved.condition("ResolvedRefs", "ResolvedRefs", g.Generation),
			},
		}
		if p.http {
			l.SupportedKinds = append(l.SupportedKinds, gatewayv1.RouteGroupKind{Group: new(gatewayv1.Group(gatewayGroup)), Kind: "HTTPRoute"})
		}
		out.Listeners = append(out.Listeners, l)
	}
	accepted := condition("Accepted", "Accepted", "", g.Generation)
	if bad > 0 {
		accepted = condition("Accepted", "ListenersNotValid", "some listeners are not served", g.Generation)
		if bad < len(g.points) { // the others are (Gateway API, GatewayReasonListenersNotValid)
			accepted.Status = metav1.ConditionTrue
		}
	}
	out.Conditions = []metav1.Condition{accepted}
	return Status{Object: g.ref, Gateway: out}
}
