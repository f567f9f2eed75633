//go:build kubernetes

package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/apiserver"
)

// resourcesOf are the resources of the kinds that the story has.
var resourcesOf = map[string]schema.GroupVersionResource{
	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"ServiceAccount":           {Version: "v1", Resource: "serviceaccounts"},
	"ClusterRole":              {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding":       {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"Namespace":                {Version: "v1", Resource: "namespaces"},
	"Service":                  {Version: "v1", Resource: "services"},
	"Event":                    {Version: "v1", Resource: "events"},
	"IngressClass":             {Group: "networking.k8s.io", Version: "v1", Resource: "ingressclasses"},
	"Ingress":                  {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	"GatewayClass":             {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"},
	"Gateway":                  {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	"HTTPRoute":                {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	"Route":                    {Group: "gateway.suuupra.dev", Version: "v1", Resource: "routes"},
}

// cluster is a real API server, and a scene whose repository follows it.
type cluster struct {
	*apiserver.Cluster
	*scene
	objects dynamic.Interface
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Cluster: apiserver.New(t), scene: newScene(t)}
	c.connect()
	c.apply(c.file(filepath.Join(testkit.Root(t), "deploy", "kubernetes", "crd.yaml")))
	for _, kind := range []string{"gatewayclasses", "gateways", "httproutes", "referencegrants"} {
		c.apply(c.file(filepath.Join(moduleDir(t, "sigs.k8s.io/gateway-api"), "config", "crd", "standard", "gateway.networking.k8s.io_"+kind+".yaml")))
	}
	for _, kind := range []string{"GatewayClass", "Gateway", "HTTPRoute", "Route"} {
		testkit.Eventually(t, kind+" is served", func() bool {
			_, err := c.objects.Resource(resourcesOf[kind]).List(t.Context(), metav1.ListOptions{})
			return err == nil
		})
	}
	for _, ns := range []string{"gateway-system", "infra", "shop", "pay"} {
		c.apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: " + ns + " }\n")
	}
	c.apply(c.file(filepath.Join(testkit.Root(t), "deploy", "kubernetes", "rbac.yaml")))
	c.apply(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: story }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: gwctl-translate }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: gateway }]
`)
	return c
}

func (c *cluster) connect() {
	c.t.Helper()
	var err error
	c.objects, err = dynamic.NewForConfig(c.Config)
	c.Must(err)
}

func (c *cluster) file(path string) string {
	c.t.Helper()
	data, err := os.ReadFile(path)
	c.Must(err)
	return string(data)
}

// moduleDir is where the source of a module lies.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = testkit.Root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

// apply creates or replaces the objects of a manifest.
func (c *cluster) apply(manifest string) {
	c.t.Helper()
	for dec := yaml.NewDecoder(strings.NewReader(manifest)); ; {
		var doc map[string]any
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		c.Must(err)
		data, err := json.Marshal(doc)
		c.Must(err)
		o := &unstructured.Unstructured{}
		c.Must(o.UnmarshalJSON(data))
		client := c.objects.Resource(resourcesOf[o.GetKind()]).Namespace(o.GetNamespace())
		_, err = client.Create(c.t.Context(), o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			old, getErr := client.Get(c.t.Context(), o.GetName(), metav1.GetOptions{})
			c.Must(getErr)
			o.SetResourceVersion(old.GetResourceVersion())
			_, err = client.Update(c.t.Context(), o, metav1.UpdateOptions{})
		}
		if err != nil {
			c.t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

func (c *cluster) remove(kind, namespace, name string) {
	c.t.Helper()
	c.Must(c.objects.Resource(resourcesOf[kind]).Namespace(namespace).Delete(c.t.Context(), name, metav1.DeleteOptions{}))
}

// condition is one of an object, "" if it is not there, or about an earlier generation.
func (c *cluster) condition(kind, namespace, name, condition string) string {
	c.t.Helper()
	o, err := c.objects.Resource(resourcesOf[kind]).Namespace(namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	c.Must(err)
	var status struct {
		Conditions []metav1.Condition
		Parents    []struct {
			ControllerName string
			Conditions     []metav1.Condition
		}
	}
	data, err := json.Marshal(o.Object["status"])
	c.Must(err)
	c.Must(json.Unmarshal(data, &status))
	all := status.Conditions
	for _, p := range status.Parents {
		all = append(all, p.Conditions...)
	}
	for _, found := range all {
		if found.Type == condition && found.ObservedGeneration == o.GetGeneration() {
			return fmt.Sprintf("%s %s: %s", found.Status, found.Reason, found.Message)
		}
	}
	return ""
}

// becomes waits for a condition that begins with a text, and returns it.
func (c *cluster) becomes(kind, namespace, name, condition, want string) string {
	c.t.Helper()
	got := ""
	testkit.Eventually(c.t, fmt.Sprintf("%s of %s %s/%s is %q", condition, kind, namespace, name, want), func() bool {
		if now := c.condition(kind, namespace, name, condition); now != got {
			got = now
			c.t.Logf("%s %s/%s: %s=%s", kind, namespace, name, condition, got)
		}
		return strings.HasPrefix(got, want)
	})
	return got
}

// follow starts gwctl translate with the rights of deploy/kubernetes/rbac.yaml.
func (c *cluster) follow(to string, args ...string) *testkit.Process {
	c.t.Helper()
	return testkit.Start(c.t, testkit.Command{Path: programs.gwctl, Dir: c.home, Env: c.env(), Args: append(c.followArgs(to, args...), "--watch")})
}

func (c *cluster) followArgs(to string, args ...string) []string {
	return append(append([]string{"translate"}, args...), "--kubeconfig", c.Kubeconfig(apiserver.GatewayToken), "--repo", c.repo.URL+"#main",
		"--to", to, "--env", "prod", "--trust", filepath.Join(c.keys, "trust.json"), "--poll", "1s", "--confirm", "1s")
}

// replies waits until a gateway answers a request with a status, and returns the body.
func (g *gateway) replies(host, path string, want int) string {
	g.t.Helper()
	body := ""
	testkit.Eventually(g.t, fmt.Sprintf("%s%s is answered %d", host, path, want), func() bool {
		req, err := http.NewRequest(http.MethodGet, g.url+path, http.NoBody)
		if err != nil {
			g.t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		body = string(data)
		return err == nil && resp.StatusCode == want
	})
	return body
}

// merge commits files on top of what others have pushed.
func (c *cluster) merge(message string, files map[string]string) {
	c.t.Helper()
	c.repo.Git("pull", "--quiet", "--ff-only", "origin", "main")
	c.commit(message, files)
}

// has reports whether the branch holds a file.
func (c *cluster) has(path string) bool {
	cmd := exec.Command("git", "cat-file", "-e", "main:"+path)
	cmd.Dir = c.repo.Dir
	return cmd.Run() == nil
}

const gatewayObjects = `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: ours }
spec: { controllerName: gateway.suuupra.dev/gateway }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: theirs }
spec: { controllerName: example.com/other }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: infra }
spec:
  gatewayClassName: ours
  listeners: [{ name: http, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All } } }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: public, namespace: shop }
spec:
  gatewayClassName: theirs
  listeners: [{ name: http, port: 80, protocol: HTTP }]
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: old, namespace: shop }
spec: { ports: [{ name: http, port: 80 }] }
`

func webRoute(path string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ name: public, namespace: infra }]
  hostnames: [web.example.com]
  rules:
    - matches: [{ path: { type: PathPrefix, value: %s } }]
      backendRefs: [{ name: web, port: 80 }]
`, path)
}

func (c *cluster) customRoute(namespace, name, host, path, extra string) string {
	return fmt.Sprintf(`apiVersion: gateway.suuupra.dev/v1
kind: Route
metadata: { name: %s, namespace: %s }
spec:
  matcher: { host: %s, path: %s }
  target: { type: http, url: "%s" }
%s`, name, namespace, host, path, c.app, extra)
}

const legacyIngress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: %s, namespace: shop, annotations: { %s } }
spec:
  ingressClassName: public
  rules:
    - host: old.example.com
      http: { paths: [{ path: %s, pathType: Prefix, backend: { service: { name: old, port: { number: 80 } } } }] }
`

// TestKubernetesLive follows a team whose routes live in a cluster: from objects to answered requests, and back to their status.
// `make kubernetes` runs it.
func TestKubernetesLive(t *testing.T) {
	c := newCluster(t)
	c.apply(gatewayObjects + "---\n" + webRoute("/web"))
	_, to := c.folder()
	args := []string{"gateway-api", "--gateway", "infra/public"}

	// one round: the commit names the object, and nothing is published yet
	r := c.exits(0, append(c.followArgs(to, args...), "--once")...)
	if !strings.HasPrefix(r.out, "pushed ") {
		t.Fatalf("the first round: %q %s", r.out, r.err)
	}
	c.becomes("HTTPRoute", "shop", "web", "Accepted", "True Accepted")
	c.becomes("HTTPRoute", "shop", "web", "Programmed", "False Pending: it is in the branch, and nothing is published yet")
	cmd := exec.Command("git", "log", "-1", "--format=%B", "main")
	cmd.Dir = c.repo.Dir
	if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte("HTTPRoute shop/web, resourceVersion ")) {
		t.Errorf("the commit says %s, %v", out, err)
	}
	if r = c.exits(0, append(c.followArgs(to, args...), "--once")...); r.out != "" {
		t.Errorf("the second round: %q", r.out)
	}

	// people's own files stand beside: a tenant's grant, and where the services are on this machine
	c.merge("grants", map[string]string{
		"tenants/shop/tenant.yaml":     apiVersion + "tenant: { hosts: [shop.example.com], policyKinds: [headers], allowPrivateAddresses: true }\n",
		"environments/prod/local.yaml": apiVersion + fmt.Sprintf("upstreams: [{ id: shop.web.80, discovery: null, targets: [{ url: %q }] }]\n", c.app),
	})
	server := c.serve(to)
	live := c.follow(to, args...)
	programmed := c.becomes("HTTPRoute", "shop", "web", "Programmed", "True Programmed: bundle 1.")
	c.becomes("Gateway", "infra", "public", "Programmed", "True Programmed: bundle 1.")
	if published := server.status().Environments[0].Published; !strings.Contains(programmed, fmt.Sprintf("of commit %.7s", published.Commit)) {
		t.Errorf("%q, published %+v", programmed, published)
	}
	if got := c.condition("Gateway", "shop", "public", "Accepted"); got != "" {
		t.Errorf("the Gateway of another controller says %q", got)
	}
	g := c.gwrun("--bundle", to)
	g.replies("web.example.com", "/web/x", 200)

	t.Run("a Route", func(t *testing.T) {
		c.apply(c.customRoute("shop", "api", "shop.example.com", "/api/*", "  policy: { headers: { request: { set: { X-Way: live } } } }\n"))
		c.becomes("Route", "shop", "api", "Programmed", "True Programmed: bundle 1.")
		if body := g.replies("shop.example.com", "/api/x", 200); !strings.Contains(body, "live") {
			t.Errorf("the service got %s", body)
		}
	})

	t.Run("mistakes stay with their object", func(t *testing.T) {
		c.apply(c.customRoute("shop", "typo", "shop.example.com", "/typo/*", "  polcy: {}\n"))
		c.becomes("Route", "shop", "typo", "Accepted", "False InvalidSpec: ")
		if got := c.condition("Route", "shop", "typo", "Accepted"); !strings.Contains(got, `unknown field "polcy"`) || !strings.Contains(got, `did you mean "policy"`) {
			t.Errorf("told %q", got)
		}
		c.apply(c.customRoute("pay", "grab", "web.example.com", "/*", ""))
		got := c.becomes("Route", "pay", "grab", "Accepted", "False ")
		if !strings.Contains(got, "HostTaken") {
			t.Errorf("told %q", got)
		}
		c.apply(c.customRoute("pay", "alone", "pay.example.com", "/*", ""))
		if got := c.becomes("Route", "pay", "alone", "Accepted", "False DoesNotCompile: "); !strings.Contains(got, "tenants/pay/tenant.yaml") {
			t.Errorf("told %q", got)
		}
		c.apply(c.customRoute("shop", "more", "shop.example.com", "/more/*", "")) // the others go on
		c.becomes("Route", "shop", "more", "Programmed", "True Programmed: bundle 1.")
		g.replies("shop.example.com", "/more", 200)
		if c.has("tenants/pay/routes/alone.yaml") || c.has("tenants/shop/routes/typo.yaml") || c.has("tenants/pay/routes/grab.yaml") {
			t.Error("what was refused is in the branch")
		}
	})

	t.Run("an edit", func(t *testing.T) {
		c.apply(webRoute("/new"))
		g.replies("web.example.com", "/new/x", 200)
		g.replies("web.example.com", "/web/x", 404)
		c.becomes("HTTPRoute", "shop", "web", "Programmed", "True Programmed: bundle 1.")
	})

	t.Run("an Ingress beside it, and an annotation that is refused", func(t *testing.T) {
		c.apply("apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: { name: public }\nspec: { controller: example.com/any }\n")
		c.apply(fmt.Sprintf(legacyIngress, "old", "", "/old"))
		ingress := testkit.Start(t, testkit.Command{Path: programs.gwctl, Dir: c.home, Env: c.env(), Args: append(
			c.followArgs(to, "ingress", "--ingress-class", "public", "--routes=false"), "--watch", "--poll", "1h")}) // so that nothing but a watch can make it look
		testkit.Eventually(t, "it is in the branch", func() bool { return c.has("routes/shop/old.yaml") })
		c.apply(fmt.Sprintf(legacyIngress, "guarded", `nginx.ingress.kubernetes.io/auth-url: "https://auth.example.com"`, "/old/guarded"))
		testkit.Eventually(t, "an Event says so", func() bool {
			list, err := c.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{})
			c.Must(err)
			for _, e := range list.Items {
				if e.InvolvedObject.Kind == "Ingress" && e.InvolvedObject.Name == "guarded" && e.Reason == "UnsupportedAnnotation" && strings.Contains(e.Message, "auth-url") {
					return e.Type == "Warning"
				}
			}
			return false
		})
		testkit.Eventually(t, "a closed route is in the branch", func() bool { return c.has("routes/shop/guarded.yaml") })
		if !c.has("routes/shop/web.yaml") {
			t.Error("one live source has removed the file of another")
		}
		c.merge("where it is", map[string]string{
			"environments/prod/old.yaml": apiVersion + fmt.Sprintf("upstreams: [{ id: shop.old.80, discovery: null, targets: [{ url: %q }] }]\n", c.app),
		})
		g.replies("old.example.com", "/old/x", 200)
		g.replies("old.example.com", "/old/guarded/x", 403)
		if code := ingress.Stop(); code != 0 {
			t.Errorf("it ended with %d", code)
		}
	})

	t.Run("the API server is killed", func(t *testing.T) {
		c.Server.Kill()
		live.WaitLine(`"msg":"round failed"`)
		g.replies("web.example.com", "/new/x", 200)
		c.StartServer()
		c.connect()
		c.apply(c.customRoute("shop", "after", "shop.example.com", "/after/*", ""))
		c.becomes("Route", "shop", "after", "Programmed", "True Programmed: bundle 1.")
		if !c.has("routes/shop/web.yaml") || !c.has("tenants/shop/routes/api.yaml") {
			t.Error("something was lost")
		}
	})

	t.Run("what is deleted goes", func(t *testing.T) {
		c.remove("HTTPRoute", "shop", "web")
		g.replies("web.example.com", "/new/x", 404)
		if c.has("routes/shop/web.yaml") || !c.has("upstreams/shop/web.yaml") {
			t.Error("its routes have to go, and not the upstream of which people say something")
		}
		c.merge("no more patch", map[string]string{"environments/prod/local.yaml": ""})
		testkit.Eventually(t, "the upstream goes too", func() bool { return !c.has("upstreams/shop/web.yaml") })
	})

	if code := live.Stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	c.repo.Git("pull", "--quiet", "--ff-only", "origin", "main")
	server.reaches(publisher.Published, c.repo.Head())
	c.exits(3, append(c.followArgs(to, args...), "--once")...) // pay/alone does not compile
	versions := c.versions()
	c.exits(3, append(c.followArgs(to, args...), "--once")...)
	if now := c.versions(); now != versions {
		t.Errorf("a round without a change writes:\n%s\nwas\n%s", now, versions)
	}
}

// versions are the resourceVersions of all objects that have a status of ours.
func (c *cluster) versions() string {
	c.t.Helper()
	var out []string
	for _, kind := range []string{"GatewayClass", "Gateway", "HTTPRoute", "Route"} {
		list, err := c.objects.Resource(resourcesOf[kind]).List(c.t.Context(), metav1.ListOptions{})
		c.Must(err)
		for i := range list.Items {
			out = append(out, fmt.Sprintf("%s %s/%s %s", kind, list.Items[i].GetNamespace(), list.Items[i].GetName(), list.Items[i].GetResourceVersion()))
		}
	}
	return strings.Join(out, "\n")
}
