package kubernetes_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema/diag"
)

// customRoute is a manifest of a Route.
func customRoute(namespace, name, created, spec string) string {
	return fmt.Sprintf("---\napiVersion: gateway.suuupra.dev/v1\nkind: Route\nmetadata: { name: %s, namespace: %s, creationTimestamp: %s }\nspec: %s\n", name, namespace, created, spec)
}

const (
	older   = "2026-01-01T00:00:00Z"
	younger = "2026-02-01T00:00:00Z"
)

func fileOf(t *testing.T, r *kubernetes.Result, path string) string {
	t.Helper()
	i := slices.IndexFunc(r.Files, func(f kubernetes.File) bool { return f.Path == path })
	if i < 0 {
		return ""
	}
	data, err := r.Files[i].Encode("")
	if err != nil {
		t.Fatal(err)
	}
	return string(kubernetes.Body(data))
}

// TestCustomRoute writes a Route as it was written, into the tenant of its namespace.
func TestCustomRoute(t *testing.T) {
	const spec = `
  matcher: { host: API.example.com, path: "/v1/{id}", headers: { X-A: "1" } }
  target: { type: http, url: "http://api:8080" }
  use: [standard]
  policy: { timeout: 5s, retry: {}, authorization: { conditions: [{ id: a, when: "principal.id == \"x\"\n" }] }, rateLimit: { tokensPerInterval: 60, intervalMs: 60000, enabled: false } }`
	r := kubernetes.Translate(text(t, customRoute("shop", "api", older, spec)), kubernetes.Options{})
	const path = "tenants/shop/routes/api.yaml"
	var diags diag.List
	got := yamlpos.Decode(path, []byte(fileOf(t, r, path)), &diags)
	want := yamlpos.Decode(path, []byte("routes:\n- id: shop.api.route"+spec+"\napiVersion: gateway.suuupra.dev/v1\n"), &diags)
	if diags.Len() > 0 {
		t.Fatal(diags.Sorted())
	}
	if !reflect.DeepEqual(got.Any(), want.Any()) {
		t.Errorf("it holds\n%v\nwant\n%v", got.Any(), want.Any())
	}
	if len(r.Routes) != 1 || r.Routes[0].ID != "shop.api.route" || r.Routes[0].File != path || len(r.Findings) != 0 {
		t.Errorf("%+v %+v", r.Routes, r.Findings)
	}
}

// TestCustomService sends the requests of a Route to a service of its namespace, by an upstream of its tenant.
func TestCustomService(t *testing.T) {
	service := "---\napiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: shop }\nspec: { ports: [{ name: web, port: 80, appProtocol: https }] }\n"
	r := kubernetes.Translate(text(t, service+customRoute("shop", "a", older, "{ matcher: { path: /a }, service: { name: api, port: 80 } }")+
		customRoute("shop", "b", older, "{ matcher: { path: /b }, service: { name: api, port: web } }")+
		customRoute("shop", "c", older, "{ matcher: { path: /c }, service: { name: none, port: web } }")), kubernetes.Options{Complete: true})
	if got := fileOf(t, r, "tenants/shop/routes/a.yaml"); !strings.Contains(got, "upstream: shop.api.80_tenant") {
		t.Errorf("the route is\n%s", got)
	}
	got := fileOf(t, r, "tenants/shop/upstreams/api.yaml")
	for _, part := range []string{"id: shop.api.80_tenant", "id: shop.api.web_tenant", "service: api", "port: web", "scheme: https", "sni: api.shop.svc.cluster.local"} {
		if !strings.Contains(got, part) {
			t.Errorf("there is no %q in\n%s", part, got)
		}
	}
	if fileOf(t, r, "tenants/shop/routes/c.yaml") != "" || conditionsOf(t, r, "Route shop/c") != "Accepted=False/BackendNotFound" {
		t.Errorf("a service that is not there: %s", conditionsOf(t, r, "Route shop/c"))
	}
}

// TestCustomClaims lets the older of two namespaces have a host, whatever kind of object it has there.
func TestCustomClaims(t *testing.T) {
	const target = ", target: { type: http, url: \"http://x\" } }"
	ingress := func(created string) string {
		return "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: shop, creationTimestamp: " + created + " }\n" +
			"spec: { rules: [{ host: a.example.com, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }] }\n"
	}
	for _, tt := range []struct{ name, manifests, want string }{
		{"a younger Route", ingress(older) + customRoute("pay", "r", younger, "{ matcher: { host: a.example.com, path: /pay }"+target), "Accepted=False/HostTaken"},
		{"an older Route", ingress(younger) + customRoute("pay", "r", older, "{ matcher: { host: A.example.com, path: /pay }"+target), "Accepted=True/Accepted"},
		{"of the same namespace", ingress(older) + customRoute("shop", "r", younger, "{ matcher: { host: a.example.com, path: /pay }"+target), "Accepted=True/Accepted"},
		{"a wildcard above", ingress(older) + customRoute("pay", "r", younger, "{ matcher: { host: \"*.example.com\", path: /pay }"+target), "Accepted=True/Accepted"},
		{"between Routes", customRoute("shop", "x", older, "{ matcher: { host: a.example.com, path: /x }"+target) + customRoute("pay", "r", younger, "{ matcher: { host: a.example.com, path: /pay }"+target), "Accepted=False/HostTaken"},
		{"two of the same age", customRoute("aa", "x", older, "{ matcher: { host: a.example.com, path: /x }"+target) + customRoute("pay", "r", older, "{ matcher: { host: a.example.com, path: /pay }"+target), "Accepted=False/HostTaken"},
		{"a tie", ingress(younger) + customRoute("shop", "r", older, "{ matcher: { host: a.example.com, path: /* }"+target), "Accepted=False/Ambiguous"},
		{"a tie of Routes", customRoute("shop", "q", older, "{ matcher: { path: /a, headers: { x: \"1\" } }"+target) + customRoute("shop", "r", younger, "{ matcher: { path: /a, headers: { y: \"1\" } }"+target), "Accepted=False/Ambiguous"},
		{"a reserved path", customRoute("shop", "r", older, "{ matcher: { path: /metrics }"+target), "Accepted=False/ReservedPath"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kubernetes.Translate(text(t, tt.manifests), kubernetes.Options{})
			for ref, want := range map[string]string{"Route pay/r": tt.want, "Route shop/r": tt.want} {
				if slices.ContainsFunc(r.Status, func(s kubernetes.Status) bool { return s.Object.String() == ref }) && conditionsOf(t, r, ref) != want {
					t.Errorf("%s: %s, want %s", ref, conditionsOf(t, r, ref), want)
				}
			}
			has := slices.ContainsFunc(r.Routes, func(rt kubernetes.Route) bool { return rt.Object.Kind == "Route" && rt.Object.Name == "r" })
			if has != strings.HasPrefix(tt.want, "Accepted=True") {
				t.Errorf("routes are %+v", r.Routes)
			}
		})
	}
}

// TestCustomTakesOver closes a rule that is left out where a Route would take its requests.
func TestCustomTakesOver(t *testing.T) {
	guarded := "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: shop, annotations: { nginx.ingress.kubernetes.io/auth-url: x } }\n" +
		"spec: { rules: [{ host: a.example.com, http: { paths: [{ path: /private, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }] }\n"
	r := kubernetes.Translate(text(t, guarded+customRoute("shop", "all", older, "{ matcher: { host: a.example.com, path: /* }, target: { type: http, url: \"http://x\" } }")), kubernetes.Options{})
	if !slices.ContainsFunc(r.Routes, func(rt kubernetes.Route) bool { return rt.Closed && rt.Object.Kind == "Ingress" }) {
		t.Errorf("routes are %+v", r.Routes)
	}
}

// TestParseRoute refuses what a file of routes would be refused for, and says where it is.
func TestParseRoute(t *testing.T) {
	for _, tt := range []struct{ name, spec, path, message string }{
		{"nothing", "{}", "spec.matcher", `route "shop.r.route" has no matcher`},
		{"an unknown field", `{"matcher": {"path": "/a"}, "target": {"type": "http", "url": "http://x"}, "polcy": {}}`, "spec.polcy", `unknown field "polcy" in route "shop.r.route"`},
		{"an unknown field deep down", `{"matcher": {"path": "/a"}, "target": {"type": "http", "url": "http://x"}, "policy": {"rateLimit": {"burts": 1}}}`, "spec.policy.rateLimit.burts", `unknown field "burts" in rateLimit`},
		{"a wrong type", `{"matcher": {"path": 1}, "target": {"type": "http", "url": "http://x"}}`, "spec.matcher.path", "path is 1, must be a path pattern of 1 to 2048 characters"},
		{"an id", `{"id": "x", "matcher": {"path": "/a"}, "target": {"type": "http", "url": "http://x"}}`, "spec.id", `unknown field "id"`},
		{"a secret", `{"matcher": {"path": "/a", "headers": {"authorization": "hunter2hunter2"}}, "target": {"type": "http", "url": "http://x"}}`, "spec.matcher.headers.authorization", "authorization looks like a secret, which must not stand in the repository"},
		{"a target and a service", `{"matcher": {"path": "/a"}, "target": {"type": "http", "url": "http://x"}, "service": {"name": "a", "port": 80}}`, "spec.service", "spec.service is there, and spec.target too; must be one of them"},
		{"a service of elsewhere", `{"matcher": {"path": "/a"}, "service": {"name": "a.pay", "port": 80}}`, "spec.service.name", "spec.service.name must be the name of a service of the namespace"},
		{"a namespace of the service", `{"matcher": {"path": "/a"}, "service": {"name": "a", "namespace": "pay", "port": 80}}`, "spec.service.namespace", `unknown field "namespace" in service`},
		{"no port", `{"matcher": {"path": "/a"}, "service": {"name": "a"}}`, "spec.service.port", "spec.service.port must be the number or the name of a port"},
		{"a port that is none", `{"matcher": {"path": "/a"}, "service": {"name": "a", "port": 70000}}`, "spec.service.port", "spec.service.port must be the number or the name of a port"},
		{"no JSON", `{`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, diags := kubernetes.ParseRoute(&metav1.ObjectMeta{Namespace: "shop", Name: "r"}, []byte(tt.spec))
			if r != nil || len(diags) == 0 {
				t.Fatalf("%v %v", r, diags)
			}
			if d := diags[0]; tt.message != "" && (d.Path != tt.path || d.Message != tt.message) {
				t.Errorf("%s: %s\nwant %s: %s", d.Path, d.Message, tt.path, tt.message)
			}
			if strings.Contains(fmt.Sprint(diags), "hunter2") {
				t.Errorf("a secret is told: %v", diags)
			}
		})
	}
}

// TestOneOfTwo refuses what would be half forgotten.
func TestOneOfTwo(t *testing.T) {
	const parts = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: g, namespace: shop }
spec: { gatewayClassName: x, listeners: [{ name: http, port: 80, protocol: HTTP }] }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: shop }
spec: { clusterIP: None, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { ports: [{ port: 80 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r, namespace: shop }
spec:
  parentRefs: [{ name: g }]
  rules:
`
	const web = "      backendRefs: [{ name: web, port: 80 }]\n"
	header := func(side, name string) string {
		return fmt.Sprintf("{ type: %[1]sHeaderModifier, %[2]sHeaderModifier: { remove: [%[3]s] } }", side, strings.ToLower(side), name)
	}
	for _, tt := range []struct{ name, rule, want string }{
		{"the same filter twice", "    - filters: [" + header("Request", "a") + ", " + header("Request", "b") + "]\n" + web, "InvalidFilter spec.rules[0].filters[1].requestHeaderModifier"},
		{"two filters", "    - filters: [" + header("Request", "a") + ", " + header("Response", "b") + "]\n" + web, ""},
		{"two rewrites", "    - filters: [{ type: URLRewrite, urlRewrite: { hostname: a.example } }, { type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /x } } }]\n" + web, "InvalidFilter spec.rules[0].filters[1].urlRewrite"},
		{"two of CORS", "    - filters: [{ type: CORS, cors: { allowOrigins: [https://a.example] } }, { type: CORS, cors: { allowOrigins: [https://b.example] } }]\n" + web, "InvalidFilter spec.rules[0].filters[1].cors"},
		{"a service that leads elsewhere", "    - backendRefs: [{ name: ../../gateway, port: 80 }]\n", "BackendNotFound spec.rules[0].backendRefs"},
		{"a split over a service without an address", "    - backendRefs: [{ name: web, port: 80 }, { name: headless, port: 80 }]\n", "UnsupportedBackend spec.rules[0].backendRefs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kubernetes.Translate(text(t, parts+tt.rule), kubernetes.Options{})
			got := ""
			for _, f := range r.Findings {
				if f.Grade == kubernetes.Omitted {
					got += f.Reason + " " + f.Field
				}
			}
			if got != tt.want || (len(r.Routes) == 0) != (tt.want != "") {
				t.Errorf("left out %q, want %q; routes %+v", got, tt.want, r.Routes)
			}
		})
	}
}

// TestDefaultClassCounts sees two classes where one of them is the default of those that name none.
func TestDefaultClassCounts(t *testing.T) {
	const manifests = `apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: usual, annotations: { ingressclass.kubernetes.io/is-default-class: "true" } }
spec: { controller: example.com/a }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: plain, namespace: shop }
spec: { defaultBackend: { service: { name: web, port: { number: 80 } } } }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: inside, namespace: shop }
spec: { ingressClassName: internal, rules: [{ host: a.example.com, http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }] } }] }
`
	r := kubernetes.Translate(text(t, manifests), kubernetes.Options{})
	several := 0
	for _, f := range r.Findings {
		if f.Reason == "SeveralClasses" {
			several++
		}
	}
	if several != 2 || len(r.Routes) != 0 {
		t.Errorf("%d of 2 are told apart; routes %+v", several, r.Routes)
	}
}

// TestSecretNames lets no name of a secret lead to other files of the gateway's machine.
func TestSecretNames(t *testing.T) {
	for _, manifests := range []string{
		"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: shop }\nspec: { tls: [{ secretName: ../../../home }], defaultBackend: { service: { name: web, port: { number: 80 } } } }\n",
		"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: shop }\nspec: { gatewayClassName: x, listeners: [{ name: https, port: 443, protocol: HTTPS, tls: { certificateRefs: [{ name: ../../../home }] } }] }\n",
	} {
		r := kubernetes.Translate(text(t, manifests), kubernetes.Options{})
		if len(r.Findings) == 0 || !strings.Contains(fmt.Sprint(r.Findings), "is the name of no secret") {
			t.Errorf("found %+v", r.Findings)
		}
		for _, f := range r.Files {
			if data, err := f.Encode(""); err != nil || strings.Contains(string(data), "home") {
				t.Errorf("%v\n%s", err, data)
			}
		}
	}
}
