package kubernetes_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/ir"
)

// served is a translation that the real compiler has compiled.
type served struct {
	program   *ir.Program
	upstreams map[string]string // by route
}

func serve(t testing.TB, r *kubernetes.Result) *served {
	t.Helper()
	s := &served{program: compile(t, r), upstreams: map[string]string{}}
	for _, f := range r.Files {
		for _, route := range f.Content.Routes {
			s.upstreams[route.ID] = route.Target.Upstream
		}
	}
	return s
}

// taker asks the code that serves traffic who takes a request: the service of the route, "closed" if it refuses everybody, or the
// status of the refusal.
func (s *served) taker(t testing.TB, method, url string, headers ...ir.Pair) string {
	t.Helper()
	req, err := simulate.ParseRequest(method, url, headers)
	if err != nil {
		t.Fatal(err)
	}
	e, err := simulate.Explain(s.program, all.Kinds(), req)
	switch {
	case err != nil:
		t.Fatal(err)
	case e.Winner == nil:
		return fmt.Sprint(e.Status)
	case s.upstreams[e.Winner.Route] == "":
		return "closed"
	}
	_, service, _ := strings.Cut(s.upstreams[e.Winner.Route], ".")
	service, _, _ = strings.Cut(service, ".")
	return service
}

// ingress writes an Ingress whose paths, written as "Type /path service", are those of one rule.
func ingress(host string, paths ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: shop }\nspec:\n  rules:\n    - ")
	if host != "" {
		fmt.Fprintf(&b, "host: %q\n      ", host)
	}
	b.WriteString("http:\n        paths:\n")
	for _, p := range paths {
		f := strings.Fields(p)
		fmt.Fprintf(&b, "          - { pathType: %s, path: %q, backend: { service: { name: %s, port: { name: http } } } }\n", f[0], f[1], f[2])
	}
	return b.String()
}

// TestPathTable is the table of the Kubernetes documentation ("Ingress", "Path types", "Examples"), row by row.
func TestPathTable(t *testing.T) {
	for _, tt := range []struct {
		paths, request, want string
	}{
		{"Prefix / a", "/", "a"},
		{"Prefix / a", "/any/path", "a"},
		{"Exact /foo a", "/foo", "a"},
		{"Exact /foo a", "/bar", "404"},
		{"Exact /foo a", "/foo/", "404"},
		{"Exact /foo/ a", "/foo", "404"},
		{"Prefix /foo a", "/foo", "a"},
		{"Prefix /foo a", "/foo/", "a"},
		{"Prefix /foo/ a", "/foo", "a"},
		{"Prefix /foo/ a", "/foo/", "a"},
		{"Prefix /aaa/bb a", "/aaa/bbb", "404"},
		{"Prefix /aaa/bbb a", "/aaa/bbb", "a"},
		{"Prefix /aaa/bbb/ a", "/aaa/bbb", "a"},
		{"Prefix /aaa/bbb a", "/aaa/bbb/", "a"},
		{"Prefix /aaa/bbb a", "/aaa/bbb/ccc", "a"},
		{"Prefix /aaa/bbb a", "/aaa/bbbxyz", "404"},
		{"Prefix / a, Prefix /aaa b", "/aaa/ccc", "b"},
		{"Prefix / a, Prefix /aaa b, Prefix /aaa/bbb c", "/aaa/bbb", "c"},
		{"Prefix / a, Prefix /aaa b, Prefix /aaa/bbb c", "/ccc", "a"},
		{"Prefix /aaa a", "/ccc", "404"},
		{"Prefix /foo a, Exact /foo b", "/foo", "b"},
		{"Prefix /foo a, Exact /foo b", "/foo/", "a"},
		// Beyond the table: what is case-sensitive, escaped, and of the type that is each controller's own.
		{"Prefix /foo a", "/FOO", "404"},
		{"ImplementationSpecific /foo a", "/foo/bar", "a"},
		{"ImplementationSpecific /foo a", "/foobar", "404"},
		{"Exact /a{b} a", "/a%7Bb%7D", "a"},
		{"Exact /a%20b a", "/a%20b", "a"},
	} {
		t.Run(tt.paths+" "+tt.request, func(t *testing.T) {
			r := kubernetes.Translate(text(t, ingress("", strings.Split(tt.paths, ", ")...)), kubernetes.Options{})
			if got := serve(t, r).taker(t, "GET", tt.request); got != tt.want {
				t.Errorf("taken by %s, must be %s", got, tt.want)
			}
		})
	}
}

// TestDefaultBackend is the row of the table with one: what no path takes goes to the default backend.
func TestDefaultBackend(t *testing.T) {
	r := kubernetes.Translate(text(t, ingress("a.example.com", "Prefix /aaa a")+
		"  defaultBackend: { service: { name: rest, port: { name: http } } }\n"), kubernetes.Options{})
	s := serve(t, r)
	for url, want := range map[string]string{
		"http://a.example.com/aaa": "a", "http://a.example.com/ccc": "rest", "http://b.example.com/aaa": "rest",
	} {
		if got := s.taker(t, "GET", url); got != want {
			t.Errorf("%s is taken by %s, must be %s", url, got, want)
		}
	}
}

// TestHostTable is the table of wildcard hosts in the Kubernetes documentation. What has more labels than the star stands for is
// refused by the condition, which is part of the route.
func TestHostTable(t *testing.T) {
	r := kubernetes.Translate(text(t, ingress("*.foo.com", "Prefix / a")), kubernetes.Options{})
	s := serve(t, r)
	for _, tt := range []struct{ host, want string }{
		{"bar.foo.com", "a"}, {"foo.com", "404"}, {"baz.bar.foo.com", "a"}, {"barfoo.com", "404"},
	} {
		if got := s.taker(t, "GET", "http://"+tt.host+"/"); got != tt.want {
			t.Errorf("%s is taken by %s, must be %s", tt.host, got, tt.want)
		}
	}
	auth := r.Files[1].Content.Routes[0].Policy.Authorization
	if want := `request.host.matches("^[^.]+[.]foo[.]com$")`; auth == nil || auth.Conditions[0].When != want {
		t.Errorf("the route has no condition %s", want)
	}
}

// TestConformanceRouting sends the requests of conformance tests of the Gateway API to their translations.
func TestConformanceRouting(t *testing.T) {
	type request struct{ url, headers, want string }
	for name, requests := range map[string][]request{
		"httproute-header-matching": {
			{"/", "Version=one", "infra-backend-v1"},
			{"/", "Version=two", "infra-backend-v2"},
			{"/", "Version=two,Color=orange", "infra-backend-v1"},
			{"/", "Version=two,Color=blue", "infra-backend-v2"},
			{"/", "Color=orange", "404"},
			{"/", "Some-Other-Header=one", "404"},
			{"/", "Color=blue", "infra-backend-v1"},
			{"/", "Color=green", "infra-backend-v1"},
			{"/", "Color=red", "infra-backend-v2"},
			{"/", "Color=yellow", "infra-backend-v2"},
			{"/", "Color=purple", "404"},
		},
		"httproute-path-match-order": {
			{"/match/exact/one", "", "infra-backend-v3"},
			{"/match/exact", "", "infra-backend-v2"},
			{"/match", "", "infra-backend-v1"},
			{"/match/prefix/one/any", "", "infra-backend-v2"},
			{"/match/prefix/any", "", "infra-backend-v1"},
			{"/match/any", "", "infra-backend-v3"},
		},
		"httproute-matching-across-routes": {
			{"http://example.com/", "", "infra-backend-v1"},
			{"http://example.com/example", "", "infra-backend-v1"},
			{"http://example.net/example", "", "infra-backend-v1"},
			{"http://example.com/example", "Version=one", "infra-backend-v1"},
			{"http://example.com/v2", "", "infra-backend-v2"},
			{"http://example.net/v2", "", "infra-backend-v1"},
			{"http://example.com/v2/example", "", "infra-backend-v2"},
			{"http://example.com/", "Version=two", "infra-backend-v2"},
		},
		"httproute-exact-path-matching": {
			{"/one", "", "infra-backend-v1"}, {"/two", "", "infra-backend-v2"}, {"/", "", "404"}, {"/one/example", "", "404"}, {"/two/", "", "404"}, {"/Two", "", "404"},
		},
		"httproute-partially-invalid-via-invalid-reference-grant": {
			{"/v2", "", "closed"}, {"/", "", "app-backend-v1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := "testdata/conformance/" + name + ".yaml"
			r := kubernetes.Translate(readFiles(t, "testdata/conformance/base.yaml", path), kubernetes.Options{Gateway: gatewayOf(readFiles(t, path)), Complete: true})
			s := serve(t, r)
			for _, req := range requests {
				var headers []ir.Pair
				for h := range strings.SplitSeq(req.headers, ",") {
					if name, value, ok := strings.Cut(h, "="); ok {
						headers = append(headers, ir.Pair{Name: name, Value: value})
					}
				}
				if got := s.taker(t, "GET", req.url, headers...); got != req.want {
					t.Errorf("%s with %q is taken by %s, must be %s", req.url, req.headers, got, req.want)
				}
			}
		})
	}
}

// TestClosed has a rule that cannot be said beside one that would take its requests: a protection that is lost must not open.
func TestClosed(t *testing.T) {
	protected := func(annotation, paths string) string {
		return strings.Replace(ingress("", paths), "metadata: { name: web,", "metadata: { annotations: { "+annotation+" }, name: admin,", 1)
	}
	auth := `nginx.ingress.kubernetes.io/auth-url: "http://auth/check"`
	rest := "---\n" + ingress("", "Prefix / rest")
	for _, tt := range []struct {
		name, manifests, request, want string
	}{
		{"a more general route is there", protected(auth, "Prefix /private a") + rest, "/private/x", "closed"},
		{"it takes the others", protected(auth, "Prefix /private a") + rest, "/public", "rest"},
		{"none is there", protected(auth, "Prefix /private a"), "/private/x", "404"},
		{"a younger one asks for the same", protected(auth, "Prefix / a") + rest, "/x", "404"},
		{"an expression that cannot be said", protected(`nginx.ingress.kubernetes.io/use-regex: "true"`, "ImplementationSpecific /private/v[0-9]+/(.*) a") + rest, "/private/v1/x", "closed"},
		{"an unknown annotation", protected(`nginx.ingress.kubernetes.io/auth-ulr: x`, "Prefix /private a") + rest, "/private", "closed"},
		{"a bad value", protected(`nginx.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/33`, "Prefix /private a") + rest, "/private", "closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kubernetes.Translate(text(t, tt.manifests), kubernetes.Options{})
			if r.IsComplete() {
				t.Error("the translation says that it is complete")
			}
			if len(r.Files) == 0 {
				if tt.want != "404" {
					t.Error("there is no route")
				}
				return
			}
			if got := serve(t, r).taker(t, "GET", tt.request); got != tt.want {
				t.Errorf("%s is taken by %s, must be %s", tt.request, got, tt.want)
			}
		})
	}
}

// TestAmbiguous has two rules for one path and method, told apart by headers that a request may have both of. Kubernetes takes the first.
func TestAmbiguous(t *testing.T) {
	rule := func(name, header, method string) string {
		return "    - matches: [{ path: { value: /a }, headers: [{ name: " + header + ", value: x }]" + method + " }]\n" +
			"      backendRefs: [{ name: " + name + ", port: 80 }]\n"
	}
	manifest := func(rules ...string) string {
		return "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: gw, namespace: shop }\n" +
			"spec: { gatewayClassName: x, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n---\n" +
			"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: r, namespace: shop }\n" +
			"spec:\n  parentRefs: [{ name: gw }]\n  rules:\n" + strings.Join(rules, "")
	}
	rest := "    - backendRefs: [{ name: rest, port: 80 }]\n"
	both := []ir.Pair{{Name: "one", Value: "x"}, {Name: "two", Value: "x"}}
	for _, tt := range []struct {
		name, manifest, wantBoth, wantTwo string
	}{
		{"told apart by rank", manifest(rule("a", "one", ""), rule("b", "two", ""), rest), "a", "b"},
		{"methods are named, a more general route is there", manifest(rule("a", "one", ""), rule("b", "two", ""), rule("c", "three", ", method: GET"), rest), "closed", "closed"},
		{"methods are named, none is there", manifest(rule("a", "one", ""), rule("b", "two", ""), rule("c", "three", ", method: GET")), "a", "404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kubernetes.Translate(text(t, tt.manifest), kubernetes.Options{})
			if r.IsComplete() {
				t.Error("the translation says that it is complete")
			}
			s := serve(t, r)
			if got := s.taker(t, "GET", "/a", both...); got != tt.wantBoth {
				t.Errorf("a request that satisfies both is taken by %s, must be %s", got, tt.wantBoth)
			}
			if got := s.taker(t, "GET", "/a", both[1]); got != tt.wantTwo {
				t.Errorf("a request that satisfies the second is taken by %s, must be %s", got, tt.wantTwo)
			}
			if got := s.taker(t, "GET", "/a", both[0]); got != "a" {
				t.Errorf("a request that satisfies the first is taken by %s, must be a", got)
			}
		})
	}
}

// TestOrderOfFiles holds the result to the objects: the order in which they were read plays no part.
func TestOrderOfFiles(t *testing.T) {
	o := readFiles(t, "testdata/conformance/base.yaml", "testdata/conformance/httproute-matching-across-routes.yaml")
	opts := kubernetes.Options{Gateway: "gateway-conformance-infra/same-namespace"}
	want := kubernetes.Translate(o, opts)
	slices.Reverse(o.HTTPRoutes)
	slices.Reverse(o.Gateways)
	slices.Reverse(o.Services)
	if got := kubernetes.Translate(o, opts); !reflect.DeepEqual(got, want) {
		t.Errorf("in another order the result is another:\n%v\n%v", want, got)
	}
}
