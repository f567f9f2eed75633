package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
)

// classOf is the class an Ingress asks for. The field comes before the annotation that it replaced; "" is no class.
func classOf(ing *networkingv1.Ingress) string {
	if ing.Spec.IngressClassName != nil {
		return *ing.Spec.IngressClassName
	}
	return ing.Annotations[classKey]
}

// defaultClass is the class of Ingresses that ask for none.
func (t *translator) defaultClass() string {
	for _, c := range t.in.IngressClasses {
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			return c.Name
		}
	}
	return ""
}

// chosen returns the Ingresses that are translated, the oldest first. Those of different classes are served by different controllers
// at different addresses: on one gateway what is meant for the inside would be served outside, so that one class has to be chosen.
func (t *translator) chosen() []*networkingv1.Ingress {
	all := sortedByAge(t.in.Ingresses)
	standard := t.defaultClass()
	classes := map[string]bool{}
	for _, ing := range all {
		if c := cmp.Or(classOf(ing), standard); c != "" && t.inNamespace(ing.Namespace) {
			classes[c] = true
		}
	}
	var out []*networkingv1.Ingress
	for _, ing := range all {
		class, ref := cmp.Or(classOf(ing), standard), Ref{"Ingress", ing.Namespace, ing.Name}
		switch {
		case !t.inNamespace(ing.Namespace):
			t.find(Finding{Grade: Note, Reason: "NotChosen", Object: ref, Message: t.notInNamespace()})
		case t.opts.IngressClass != "" && class != t.opts.IngressClass:
			t.find(Finding{
				Grade: Note, Reason: "NotChosen", Object: ref,
				Message: fmt.Sprintf("is of %s, not of class %q", className(class), t.opts.IngressClass),
			})
		case t.opts.IngressClass == "" && len(classes) > 1 && class != "":
			t.find(Finding{
				Grade: Omitted, Reason: "SeveralClasses", Object: ref, Field: "spec.ingressClassName",
				Message: fmt.Sprintf("is of class %q, and there are Ingresses of other classes too (%s), which other controllers serve at other addresses",
					class, strings.Join(slices.Sorted(maps.Keys(classes)), ", ")),
				Instead: "translate one class at a time, with --ingress-class",
			})
		default:
			t.checkClass(ref, class)
			out = append(out, ing)
		}
	}
	return out
}

func className(class string) string {
	if class == "" {
		return "no class"
	}
	return fmt.Sprintf("class %q", class)
}

func (t *translator) inNamespace(namespace string) bool {
	return len(t.opts.Namespaces) == 0 || slices.Contains(t.opts.Namespaces, namespace)
}

func (t *translator) notInNamespace() string {
	if len(t.opts.Namespaces) == 1 {
		return "is not in namespace " + t.opts.Namespaces[0]
	}
	return "is in none of the namespaces " + strings.Join(t.opts.Namespaces, ", ")
}

// checkClass reports what a class says that is not read, and a class that is not there.
func (t *translator) checkClass(of Ref, class string) {
	i := slices.IndexFunc(t.in.IngressClasses, func(c *networkingv1.IngressClass) bool { return c.Name == class })
	switch {
	case i >= 0 && t.in.IngressClasses[i].Spec.Parameters != nil:
		t.find(Finding{
			Grade: Differs, Reason: "ClassParameters", Object: Ref{Kind: "IngressClass", Name: class}, Field: "spec.parameters",
			Message: "parameters of a class are settings of another controller",
			Instead: "say in gateway.yaml what of them matters",
		})
	case i < 0 && class != "" && len(t.in.IngressClasses) > 0:
		t.find(Finding{
			Grade: Note, Reason: "UnknownClass", Object: of, Field: "spec.ingressClassName",
			Message: fmt.Sprintf("class %q is not among the manifests", class),
		})
	}
}
