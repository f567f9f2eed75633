package live

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/kubernetes/manifest"
)

// snapshot is what a cluster held at one moment.
type snapshot struct {
	objects  *kubernetes.Objects
	versions map[kubernetes.Ref]string // resourceVersions
	raw      map[kubernetes.Ref]*unstructured.Unstructured
	held     map[kubernetes.Ref]string // objects with rules that cannot be read, and why
	dropped  map[kubernetes.Ref]string // grants that cannot be read, and why
	parents  map[kubernetes.Ref][]gatewayv1.ParentReference
	points   []point
	seen     map[types.UID]string // fingerprints
	count    int
}

func newSnapshot() *snapshot {
	return &snapshot{
		objects: &kubernetes.Objects{}, versions: map[kubernetes.Ref]string{}, raw: map[kubernetes.Ref]*unstructured.Unstructured{},
		held: map[kubernetes.Ref]string{}, dropped: map[kubernetes.Ref]string{}, parents: map[kubernetes.Ref][]gatewayv1.ParentReference{},
		seen: map[types.UID]string{},
	}
}

// fingerprint changes with everything that plays a part in a translation, and with nothing that is written back.
func fingerprint(o metav1.Object) string {
	version := fmt.Sprint(o.GetGeneration())
	if o.GetGeneration() == 0 { // a kind without generations has no status of ours either
		version = o.GetResourceVersion()
	}
	said, _ := json.Marshal([]any{version, o.GetLabels(), o.GetAnnotations(), o.GetDeletionTimestamp()}) // maps and times have a form
	return string(said)
}

// add files an object under its kind. Objects that are being deleted count as they are until they are gone.
func (s *snapshot) add(r *resource, o *unstructured.Unstructured) error {
	ref := kubernetes.Ref{Kind: r.kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	if !kubernetes.IsName(ref.Name) || ref.Namespace != "" && !kubernetes.IsName(ref.Namespace) { // names become names of files
		return fmt.Errorf("%.300q is the name of no object", ref.String())
	}
	if _, twice := s.versions[ref]; twice {
		return nil // a page of a list that has moved on
	}
	s.versions[ref], s.seen[o.GetUID()] = o.GetResourceVersion(), fingerprint(o)
	if r.status || r.kind == "Ingress" {
		s.raw[ref] = o
	}
	plain := o.DeepCopy()
	unstructured.RemoveNestedField(plain.Object, "status")
	unstructured.RemoveNestedField(plain.Object, "metadata", "managedFields")
	data, err := plain.MarshalJSON()
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	switch in := s.objects; r.kind {
	case "Ingress":
		return typed(s, ref, data, &in.Ingresses, mayHold)
	case "IngressClass":
		return typed(s, ref, data, &in.IngressClasses, lenient)
	case "GatewayClass":
		if controller, _, _ := unstructured.NestedString(plain.Object, "spec", "controllerName"); controller != kubernetes.ControllerName {
			return nil
		}
		return typed(s, ref, data, &in.GatewayClasses, strict)
	case "Gateway":
		return typed(s, ref, data, &in.Gateways, mayHold)
	case "HTTPRoute":
		return typed(s, ref, data, &in.HTTPRoutes, mayHold)
	case "ReferenceGrant":
		return typed(s, ref, data, &in.ReferenceGrants, mayDrop)
	case "Service":
		return typed[corev1.Service](s, ref, data, &in.Services, lenient)
	case "Namespace":
		return typed[corev1.Namespace](s, ref, data, &in.Namespaces, lenient)
	case "Route":
		return s.route(ref, o, plain.Object["spec"])
	}
	return nil
}

// strictness says what becomes of an object with fields that its type does not have: they are of a newer API, and may be protections.
type strictness int

const (
	lenient strictness = iota // they play no part
	mayHold                   // its file stays as it is
	mayDrop                   // it grants nothing
	strict                    // nothing can be translated
)

func typed[T any](s *snapshot, ref kubernetes.Ref, data []byte, into *[]*T, how strictness) error {
	out := new(T)
	unknown, err := manifest.Decode(data, out)
	if err == nil && len(unknown) > 0 && how != lenient {
		err = fmt.Errorf("this version does not know its field %s", strings.Join(unknown[:min(len(unknown), 5)], ", "))
	}
	switch {
	case err == nil:
		*into = append(*into, out)
	case how == mayHold:
		s.held[ref] = err.Error()
		if route, ok := any(out).(*gatewayv1.HTTPRoute); ok {
			s.parents[ref] = route.Spec.ParentRefs
		}
	case how == mayDrop:
		s.dropped[ref] = err.Error()
	default:
		return fmt.Errorf("%s: %w", ref, err)
	}
	return nil
}

// route reads a Route.
func (s *snapshot) route(ref kubernetes.Ref, o *unstructured.Unstructured, spec any) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	}
	meta := metav1.ObjectMeta{
		Name: o.GetName(), Namespace: o.GetNamespace(), Generation: o.GetGeneration(), CreationTimestamp: o.GetCreationTimestamp(),
	}
	out, diags := kubernetes.ParseRoute(&meta, data)
	if out != nil {
		s.objects.Routes = append(s.objects.Routes, out)
		return nil
	}
	var text []string
	for _, d := range diags[:min(len(diags), 5)] {
		line := d.Message
		if d.Path != "" && !strings.Contains(line, d.Path) {
			line = d.Path + ": " + line
		}
		if d.Hint != "" {
			line += " (" + d.Hint + ")"
		}
		text = append(text, line)
	}
	s.held[ref] = strings.Join(text, "; ")
	return nil
}

// judge refuses a snapshot that must not be translated, and forgets what is none of ours. Of the Gateways that cannot be
// read only the chosen one matters, and all its routes hang on it.
func (s *snapshot) judge(o *kubernetes.Options) error {
	for _, ref := range sortedRefs(s.held) {
		ours := len(o.Namespaces) == 0 || slices.Contains(o.Namespaces, ref.Namespace)
		switch ref.Kind {
		case "Gateway":
			if ref.Namespace+"/"+ref.Name == o.Gateway {
				return fmt.Errorf("%s: %s", ref, s.held[ref])
			}
			ours = false
		case "HTTPRoute":
			ours = ours && len(parentsOf(s.parents[ref], ref.Namespace, o.Gateway)) > 0
		case "Ingress":
			class, _, _ := unstructured.NestedString(s.raw[ref].Object, "spec", "ingressClassName")
			class = cmp.Or(class, s.raw[ref].GetAnnotations()[classAnnotation])
			ours = ours && (class == "" || o.IngressClass == "" || class == o.IngressClass)
		}
		if !ours {
			delete(s.held, ref)
		}
	}
	s.objects.HTTPRoutes = slices.DeleteFunc(s.objects.HTTPRoutes, func(r *gatewayv1.HTTPRoute) bool {
		return len(parentsOf(r.Spec.ParentRefs, r.Namespace, o.Gateway)) == 0
	})
	return nil
}

// classAnnotation is the annotation that spec.ingressClassName has replaced.
const classAnnotation = "kubernetes.io/ingress.class"

// cutName splits "namespace/name".
func cutName(s string) (namespace, name string) {
	namespace, name, _ = strings.Cut(s, "/")
	return namespace, name
}

// parentsOf are the references of an HTTPRoute that name a Gateway.
func parentsOf(all []gatewayv1.ParentReference, own, gateway string) []gatewayv1.ParentReference {
	return slices.DeleteFunc(slices.Clone(all), func(p gatewayv1.ParentReference) bool { return !refersTo(&p, own, gateway) })
}

// refersTo reports whether a reference of an object in a namespace names a Gateway.
func refersTo(p *gatewayv1.ParentReference, own, gateway string) bool {
	namespace, name := cutName(gateway)
	if p.Namespace != nil {
		own = string(*p.Namespace)
	}
	return (p.Group == nil || *p.Group == gatewayAPI) && (p.Kind == nil || *p.Kind == "Gateway") && own == namespace && string(p.Name) == name
}
