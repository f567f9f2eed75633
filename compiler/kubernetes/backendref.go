package kubernetes

import (
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	v1 "github.com/suuupra/gateway/schema/v1"
)

// backends returns the upstream for the backends of a rule: the one there is, or one that splits requests by weight.
func (t *translator) backends(r *httpRoute, refs []gatewayv1.HTTPBackendRef, field string, tune tuning) (string, *refusal) {
	var live []backend
	var weights []int64
	for i := range refs {
		ref, at := &refs[i], fmt.Sprintf("%s[%d]", field, i)
		if ref.Weight != nil && *ref.Weight <= 0 {
			continue
		}
		b, bad := t.backendRef(r, &ref.BackendObjectReference, at)
		if bad == nil && len(ref.Filters) > 0 {
			bad = refuse(at+".filters", "UnsupportedFilter", "filters of a single backend cannot be said", "move them to the rule, or split it")
		}
		if bad != nil {
			return "", bad
		}
		live = append(live, b)
		weight := int64(1)
		if ref.Weight != nil {
			weight = int64(*ref.Weight)
		}
		weights = append(weights, weight)
	}
	switch len(live) {
	case 0:
		return "", refuse(field, "NoBackend", "no backend has a weight, so that every request is answered 500", "name a backend")
	case 1:
		id, gone := t.upstreamFor(r.ref, field, live[0], tune)
		if gone != nil {
			return "", &refusal{*gone, field}
		}
		return id, nil
	}
	return t.split(r, live, weights, field, tune)
}

// backendRef resolves a reference to a service.
func (t *translator) backendRef(r *httpRoute, ref *gatewayv1.BackendObjectReference, field string) (backend, *refusal) {
	to := Ref{"Service", r.Namespace, string(ref.Name)}
	if ref.Namespace != nil {
		to.Namespace = string(*ref.Namespace)
	}
	switch {
	case ref.Group != nil && *ref.Group != "" || ref.Kind != nil && *ref.Kind != "Service":
		return backend{}, refuse(field, "InvalidKind", "is no Service: the gateway forwards to services", "put a service before it")
	case !t.granted("HTTPRoute", r.Namespace, to):
		return backend{}, refuse(field, "RefNotPermitted", fmt.Sprintf("%s is in another namespace, and no ReferenceGrant there permits it", to), "add a ReferenceGrant to namespace "+to.Namespace)
	case ref.Port == nil || *ref.Port < 1 || *ref.Port > 65535:
		return backend{}, refuse(field+".port", "BackendNotFound", "is missing: a service needs a port", "give its number")
	}
	return backend{namespace: to.Namespace, service: to.Name, portNumber: int32(*ref.Port)}, nil
}

// split makes an upstream of the cluster addresses of several services, in which the weights are those of the rule whatever the number
// of endpoints behind each.
func (t *translator) split(r *httpRoute, live []backend, weights []int64, field string, tune tuning) (string, *refusal) {
	scale := 1.0
	if top := slices.Max(weights); top > math.MaxUint16 {
		scale = float64(math.MaxUint16) / float64(top)
	}
	u := v1.Upstream{LoadBalancing: &v1.LoadBalancing{Strategy: "weighted"}, Host: tune.host}
	for i, b := range live {
		one := tune
		if _, gone := t.discover(r.ref, field, b, &one); gone != nil {
			return "", &refusal{*gone, field}
		}
		if one.scheme == "https" || i > 0 && one.protocol != u.Protocol {
			return "", refuse(field, "UnsupportedProtocol", fmt.Sprintf("%s is spoken to in another way than http or the other services", b), "split the rule")
		}
		if s := t.services[b.namespace+"/"+b.service]; s != nil && s.Spec.ClusterIP == corev1.ClusterIPNone {
			return "", refuse(field, "UnsupportedBackend", fmt.Sprintf("%s has no cluster address to split by", b), "give the service a cluster address, or split the rule")
		}
		u.Protocol = one.protocol
		u.Targets = append(u.Targets, v1.Endpoint{
			URL: fmt.Sprintf("http://%s:%d", t.clusterName(b), b.portNumber), Weight: new(max(1, int64(math.Round(float64(weights[i])*scale)))),
		})
	}
	t.find(Finding{
		Grade: Note, Reason: "SplitByAddress", Object: r.ref, Field: field,
		Message: "requests are split between the cluster addresses of the services; which endpoint of a service takes one is up to the cluster",
	})
	return t.upstream(live[0], u, "split", r.Name), nil
}
