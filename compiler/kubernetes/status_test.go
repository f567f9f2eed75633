package kubernetes_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/schema/v1"
)

func conditions(list []metav1.Condition) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
	}
	return strings.Join(out, " ")
}

// conditionsOf renders the conditions of an object: those of its parents, or its own and those of its listeners.
func conditionsOf(t *testing.T, r *kubernetes.Result, of string) string {
	t.Helper()
	i := slices.IndexFunc(r.Status, func(s kubernetes.Status) bool { return s.Object.String() == of })
	if i < 0 {
		t.Fatalf("%s has no status", of)
	}
	var out []string
	switch s := r.Status[i]; {
	case s.HTTPRoute != nil:
		for _, p := range s.HTTPRoute.Parents {
			out = append(out, conditions(p.Conditions))
		}
	case s.Gateway != nil:
		out = append(out, conditions(s.Gateway.Conditions))
		for _, l := range s.Gateway.Listeners {
			out = append(out, fmt.Sprintf("%s(%d) %s", l.Name, l.AttachedRoutes, conditions(l.Conditions)))
		}
	case s.Route != nil:
		out = append(out, conditions(s.Route.Conditions))
	case s.GatewayClass != nil:
		out = append(out, conditions(s.GatewayClass.Conditions))
	}
	return strings.Join(out, "; ")
}

// TestStatus has the conditions that conformance tests of the Gateway API ask for.
func TestStatus(t *testing.T) {
	const (
		infra    = "gateway-conformance-infra/"
		accepted = "Accepted=True/Accepted"
		resolved = "ResolvedRefs=True/ResolvedRefs"
	)
	secret := "apiVersion: v1\nkind: Secret\nmetadata: { name: certificate, namespace: gateway-conformance-web-backend }\n"
	dropped := " PartiallyInvalid=True/UnsupportedRules"
	for _, tt := range []struct{ manifest, extra, of, want string }{
		{"httproute-simple-same-namespace", "", "HTTPRoute " + infra + "gateway-conformance-infra-test", accepted + " " + resolved},
		{"httproute-invalid-cross-namespace-backend-ref", "", "HTTPRoute " + infra + "invalid-cross-namespace-backend-ref", accepted + " ResolvedRefs=False/RefNotPermitted" + dropped},
		{"httproute-invalid-nonexistent-backendref", "", "HTTPRoute " + infra + "invalid-nonexistent-backend-ref", accepted + " ResolvedRefs=False/BackendNotFound" + dropped},
		{"httproute-invalid-backendref-unknown-kind", "", "HTTPRoute " + infra + "invalid-backend-ref-unknown-kind", accepted + " ResolvedRefs=False/InvalidKind" + dropped},
		{"httproute-invalid-parentref-not-matching-section-name", "", "HTTPRoute " + infra + "httproute-listener-not-matching-section-name", "Accepted=False/NoMatchingParent " + resolved},
		{"httproute-invalid-cross-namespace-parent-ref", "", "HTTPRoute gateway-conformance-web-backend/invalid-cross-namespace-parent-ref", "Accepted=False/NotAllowedByListeners " + resolved},
		{"httproute-hostname-intersection", "", "HTTPRoute " + infra + "no-intersecting-hosts", "Accepted=False/NoMatchingListenerHostname " + resolved},
		{"httproute-reference-grant", "", "HTTPRoute " + infra + "reference-grant", accepted + " " + resolved},
		{"httproute-redirect-path", "", "HTTPRoute " + infra + "redirect-path", accepted + " " + resolved + dropped},
		{"httproute-simple-same-namespace", "", "Gateway " + infra + "same-namespace", accepted + "; http(1) " + accepted + " Conflicted=False/NoConflicts " + resolved},
		{"gateway-secret-missing-reference-grant", secret, "Gateway " + infra + "gateway-secret-missing-reference-grant", "Accepted=False/ListenersNotValid; https(0) " + accepted + " Conflicted=False/NoConflicts ResolvedRefs=False/RefNotPermitted"},
		{"gateway-secret-reference-grant-specific", secret, "Gateway " + infra + "gateway-secret-reference-grant-specific", accepted + "; https(0) " + accepted + " Conflicted=False/NoConflicts " + resolved},
		{"gateway-secret-reference-grant-specific", "", "Gateway " + infra + "gateway-secret-reference-grant-specific", "Accepted=False/ListenersNotValid; https(0) " + accepted + " Conflicted=False/NoConflicts ResolvedRefs=False/InvalidCertificateRef"},
		{"gateway-invalid-route-kind", "", "Gateway " + infra + "gateway-only-invalid-route-kind", accepted + "; http(0) " + accepted + " Conflicted=False/NoConflicts ResolvedRefs=False/InvalidRouteKinds"},
		{"tlsroute-simple-same-namespace", "", "Gateway " + infra + "gateway-tlsroute", "Accepted=False/ListenersNotValid; https(0) Accepted=False/UnsupportedProtocol Conflicted=False/NoConflicts ResolvedRefs=False/InvalidRouteKinds"},
	} {
		t.Run(tt.manifest+" "+tt.of, func(t *testing.T) {
			path := "testdata/conformance/" + tt.manifest + ".yaml"
			o := readFiles(t, "testdata/conformance/base.yaml", path)
			if tt.extra != "" {
				o.Secrets = append(o.Secrets, text(t, tt.extra).Secrets...)
			}
			r := kubernetes.Translate(o, kubernetes.Options{Gateway: gatewayOf(readFiles(t, path)), Complete: true})
			if got := conditionsOf(t, r, tt.of); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestSelector has a Gateway that takes routes of namespaces with a label, and of those by name.
func TestSelector(t *testing.T) {
	for _, tt := range []struct{ name, selector, namespaces, want string }{
		{"a label that is there", "{ matchLabels: { team: a } }", "{ name: shop, labels: { team: a } }", "Accepted=True/Accepted"},
		{"a label that is not", "{ matchLabels: { team: a } }", "{ name: shop, labels: { team: b } }", "Accepted=False/NotAllowedByListeners"},
		{"the namespace is not known", "{ matchLabels: { team: a } }", "{ name: other, labels: { team: a } }", "Accepted=False/NotAllowedByListeners"},
		{"by the name, which every namespace has as a label", `{ matchLabels: { kubernetes.io/metadata.name: shop } }`, "{ name: other }", "Accepted=True/Accepted"},
		{"an expression that is none", "{ matchExpressions: [{ key: team, operator: Near }] }", "{ name: shop, labels: { team: a } }", "Accepted=False/NotAllowedByListeners"},
		{"no selector at all", "null", "{ name: shop, labels: { team: a } }", "Accepted=False/NotAllowedByListeners"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := text(t, "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: gw, namespace: infra }\nspec:\n  gatewayClassName: x\n"+
				"  listeners: [{ name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: Selector, selector: "+tt.selector+" } } }]\n---\n"+
				"apiVersion: v1\nkind: Namespace\nmetadata: "+tt.namespaces+"\n---\n"+
				"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\n"+
				"spec: { parentRefs: [{ name: gw, namespace: infra }], rules: [{ backendRefs: [{ name: a, port: 80 }] }] }\n")
			got := conditionsOf(t, kubernetes.Translate(o, kubernetes.Options{}), "HTTPRoute shop/r")
			if got != tt.want+" ResolvedRefs=True/ResolvedRefs" {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestListeners has which ports are served. A port that would serve in plain text what was meant for TLS is not, or it is said.
func TestListeners(t *testing.T) {
	ing := func(name, host, tls, annotation string) string {
		return fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: %s, namespace: shop, annotations: { %s } }\nspec:\n  tls: [%s]\n"+
			"  rules: [{ host: %s, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] } }]\n---\n", name, annotation, tls, host)
	}
	cert := "{ hosts: [a.example.com], secretName: cert }"
	for _, tt := range []struct{ name, manifest, ports, findings string }{
		{"plain", ing("a", "a.example.com", "", ""), ":80", ""},
		{"TLS", ing("a", "a.example.com", cert, ""), ":443", "NoRedirect SecretNeeded"},
		{"TLS by a wildcard", ing("a", "a.example.com", `{ hosts: ["*.example.com"], secretName: cert }`, ""), ":443", "NoRedirect SecretNeeded"},
		{"TLS for another host", ing("a", "b.example.com", cert, ""), ":80", "SecretNeeded"},
		{"both asked for", ing("a", "a.example.com", cert, nginx+`ssl-redirect: "false"`), ":80 :443", "SecretNeeded"},
		{"one of each", ing("a", "a.example.com", cert, "") + ing("b", "b.example.com", "", ""), ":80 :443", "EveryListener NoRedirect SecretNeeded"},
		{"TLS without a secret", ing("a", "a.example.com", "{ hosts: [a.example.com] }", ""), "", "NoRedirect NoCertificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kubernetes.Translate(text(t, tt.manifest), kubernetes.Options{})
			var ports, findings []string
			for _, f := range r.Files {
				if f.Content.Gateway != nil {
					for _, l := range f.Content.Gateway.Listeners {
						ports = append(ports, l.Address)
					}
				}
			}
			for _, f := range r.Findings {
				if f.Reason != "UnknownService" {
					findings = append(findings, f.Reason)
				}
			}
			if got := strings.Join(ports, " "); got != tt.ports {
				t.Errorf("serves %q, must be %q", got, tt.ports)
			}
			if got := strings.Join(findings, " "); got != tt.findings {
				t.Errorf("found %q, must be %q", got, tt.findings)
			}
			compile(t, r)
		})
	}
}

// TestOwn tells files that may be written again from those of people.
func TestOwn(t *testing.T) {
	f := kubernetes.File{Path: "routes/a/b.yaml", Content: v1.File{APIVersion: "gateway.suuupra.dev/v1", Routes: []v1.Route{{
		ID: "1.0", Matcher: v1.Matcher{Path: "/*", Headers: map[string]string{"on": "off", "x": "1e3", "y": "~"}}, Target: v1.Target{Type: "http", URL: "http://a"},
	}}}}
	data, err := f.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := f.Encode(""); !bytes.Equal(data, again) || !kubernetes.IsOwn(data) {
		t.Errorf("the file is not its own:\n%s", data)
	}
	for i := range data {
		changed := bytes.Clone(data)
		if changed[i] ^= 1; !kubernetes.IsOwn(changed) {
			continue
		}
		if end := bytes.IndexByte(data, '\n'); i > end || i < len("# Written by gwctl translate (sha256 ")+64 {
			t.Fatalf("byte %d was changed, and the file is still its own", i)
		}
	}
	for _, foreign := range []string{"", "# Written by gwctl translate\n", "apiVersion: gateway.suuupra.dev/v1\n"} {
		if kubernetes.IsOwn([]byte(foreign)) {
			t.Errorf("%q is taken for its own", foreign)
		}
	}
	r := &kubernetes.Result{Files: []kubernetes.File{f}}
	if got := compile(t, r).Routes[0].Match.Headers; fmt.Sprint(got) != "[{on off} {x 1e3} {y ~}]" {
		t.Errorf("the headers are read back as %v", got)
	}
}
