package live

import (
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/suuupra/gateway/compiler/kubernetes"
)

// added files an object that is written as YAML, as if an API server had sent it.
func added(t *testing.T, s *snapshot, kind, text string) error {
	t.Helper()
	for _, r := range resources(Kinds{Ingress: true, GatewayAPI: true, Routes: true}) {
		if r.kind != kind {
			continue
		}
		o := &unstructured.Unstructured{Object: map[string]any{}}
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatal(err)
		}
		decode(fields, &o.Object)
		o.SetName("x")
		o.SetNamespace("shop")
		o.SetKind(kind)
		o.SetAPIVersion("v1")
		return s.add(&r, o)
	}
	t.Fatalf("nobody follows %s", kind)
	return nil
}

// TestUnknownFields holds objects with rules of which a field is not known, stops at others, and does not care where it plays no part.
func TestUnknownFields(t *testing.T) {
	const ours = "parentRefs: [{ name: public, namespace: infra }]"
	for _, tt := range []struct{ kind, text, held, err string }{
		{"HTTPRoute", "spec: { " + ours + ", rules: [{ shield: high }] }", "this version does not know its field spec.rules[0].shield", ""},
		{"HTTPRoute", "spec: { parentRefs: [{ name: other }], rules: [{ shield: high }] }", "", ""},
		{"HTTPRoute", "spec: { " + ours + ", hostnames: 1 }", "json: cannot unmarshal number into Go struct field", ""},
		{"HTTPRoute", "spec: { " + ours + " }\nstatus: { newField: 1 }\nmetadata: { managedFields: [{ newField: 1 }] }", "", ""},
		{"Ingress", "spec: { ingressClassName: ours, shield: high }", "this version does not know its field spec.shield", ""},
		{"Ingress", "spec: { ingressClassName: theirs, shield: high }", "", ""},
		{"Ingress", "metadata: { annotations: { kubernetes.io/ingress.class: theirs } }\nspec: { shield: high }", "", ""},
		{"Gateway", "spec: { shield: high }", "", ""}, // another one than infra/public
		{"GatewayClass", "spec: { controllerName: gateway.suuupra.dev/gateway, shield: high }", "", "GatewayClass shop/x: this version does not know its field spec.shield"},
		{"GatewayClass", "spec: { controllerName: example.com/other, shield: high }", "", ""},
		{"IngressClass", "spec: { shield: high }", "", ""},
		{"Service", "spec: { shield: high }", "", ""},
		{"Namespace", "spec: { shield: high }", "", ""},
		{"Route", "spec: { matcher: { path: /a }, target: { type: http, url: \"http://x\" }, shield: high }", `spec.shield: unknown field "shield" in route "shop.x.route"`, ""},
		{"Route", "spec: 1", "", ""},
	} {
		t.Run(tt.kind+" "+tt.text, func(t *testing.T) {
			s := newSnapshot()
			err := added(t, s, tt.kind, tt.text)
			if err == nil {
				err = s.judge(&kubernetes.Options{Gateway: "infra/public", IngressClass: "ours"})
			}
			if fmt.Sprint(err) != fmt.Sprint(tt.err) && (err != nil || tt.err != "") {
				t.Errorf("error %v, want %s", err, tt.err)
			}
			held := s.held[kubernetes.Ref{Kind: tt.kind, Namespace: "shop", Name: "x"}]
			if tt.text != "spec: 1" && (held == "") != (tt.held == "") || !strings.HasPrefix(held, tt.held) {
				t.Errorf("held because %q, want %q", held, tt.held)
			}
			if tt.text == "spec: 1" && held == "" {
				t.Error("a spec that is a number is taken")
			}
		})
	}
}

// TestUnreadGrant has a grant that cannot be read grant nothing.
func TestUnreadGrant(t *testing.T) {
	for spec, grants := range map[string]int{"{ from: [], to: [], shield: high }": 0, "{ from: [], to: [] }": 1} {
		s := newSnapshot()
		if err := added(t, s, "ReferenceGrant", "spec: "+spec); err != nil {
			t.Fatal(err)
		}
		if len(s.objects.ReferenceGrants) != grants || len(s.dropped) != 1-grants {
			t.Errorf("%s: granted %v, dropped %v", spec, s.objects.ReferenceGrants, s.dropped)
		}
	}
}

// TestChosenGateway stops where the Gateway that all routes hang on cannot be read.
func TestChosenGateway(t *testing.T) {
	s := newSnapshot()
	if err := added(t, s, "Gateway", "spec: { shield: high }"); err != nil {
		t.Fatal(err)
	}
	if err := s.judge(&kubernetes.Options{Gateway: "shop/x"}); err == nil || err.Error() != "Gateway shop/x: this version does not know its field spec.shield" {
		t.Errorf("%v", err)
	}
}
