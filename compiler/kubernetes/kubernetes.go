// Package kubernetes translates Ingress and Gateway API objects, and Routes of our own, into files of a config repository. Translate is a pure function of
// typed objects, so that manifests on disk and objects watched in a cluster are translated by the same code; package manifest reads
// the former.
//
// Nothing is dropped silently: what cannot be said in a config repository is a Finding with a reason and a way out, and a rule that
// could be said only in part is left out whole. Where leaving it out would hand its requests to a more general route, a closed route
// stands in its place and refuses them (see order.go).
//
// It must not read files, talk to a cluster, or look at the content of a secret.
package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// ControllerName is how this gateway names itself in the status of Gateway API objects.
const ControllerName = "gateway.suuupra.dev/gateway"

// Ref names an object of a cluster. Namespace is empty for kinds without one.
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String renders "Ingress shop/web".
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

func (r Ref) compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// Objects is what is translated, and what it refers to. Names and namespaces are set. They are read, never changed.
type Objects struct {
	Ingresses       []*networkingv1.Ingress
	IngressClasses  []*networkingv1.IngressClass
	GatewayClasses  []*gatewayv1.GatewayClass
	Gateways        []*gatewayv1.Gateway
	HTTPRoutes      []*gatewayv1.HTTPRoute
	Routes          []*CustomRoute
	ReferenceGrants []*gatewayv1.ReferenceGrant
	Services        []*corev1.Service
	Namespaces      []*corev1.Namespace
	// Secrets that exist. Their content plays no part: the gateway reads certificates from its own machine.
	Secrets []Ref
	// Unread are objects of kinds that are not translated.
	Unread []Unread
	// Places is where objects stand, for the report. Objects from a cluster have none.
	Places map[Ref]diag.Pos
}

// Unread is an object of a kind that this package does not know.
type Unread struct {
	Ref
	Group string // API group, "" for the core
}

// Options are the settings of Translate. The zero value translates everything.
type Options struct {
	// Namespaces, if there are any, keeps to the Ingresses, HTTPRoutes and Routes in them.
	Namespaces []string
	// IngressClass, if set, keeps to the Ingresses of one class. Ingresses without a class belong to it if it is the default class.
	IngressClass string
	// Gateway, if set, is the one Gateway (as namespace/name) whose listeners and routes are translated.
	Gateway string
	// Controller, if set, keeps to the Gateways of classes with this name of a controller.
	Controller string
	// ClusterDomain is the DNS domain of the cluster; "" is cluster.local.
	ClusterDomain string
	// CertificateDir is where the gateway's machine holds the secrets that certificates come from, as <dir>/<namespace>/<secret>/tls.crt
	// and so on; "" is /etc/gwrun/tls.
	CertificateDir string
	// Complete says that the objects are all that the cluster has. Then a Service or Secret that is not there does not exist;
	// otherwise it is taken to exist elsewhere, and the report says so.
	Complete bool
	// SecretsUnread says that Secrets are not among the objects, whatever Complete says: each is taken to exist. Who may list Secrets may
	// read them, so that a live source does without.
	SecretsUnread bool
}

// Result is a translation. Everything in it is sorted, so that the same objects give the same result in any order.
type Result struct {
	Files    []File    // the config, by path
	Routes   []Route   // what became of each rule, by object and field
	Findings []Finding // what is to be known, and what could not be said
	Status   []Status  // of Routes and Gateway API objects, for a live source to write back
}

// File is one file of a config repository.
type File struct {
	Path    string // slash-separated, relative to the root of the repository
	Content v1.File
	Written []*schema.Node // routes that stay as people have written them; then Content has none
}

// Route says which rule became which route.
type Route struct {
	Object Ref      `json:"object"`
	Pos    diag.Pos `json:"pos"`
	Field  string   `json:"field"` // of the object, such as spec.rules[0].http.paths[1]
	ID     string   `json:"route"`
	File   string   `json:"file"`
	Closed bool     `json:"closed,omitempty"` // it refuses everything, in place of a rule that could not be said
}

// Grade says how much a finding matters.
type Grade string

// The grades. All but notes make a translation incomplete.
const (
	Note    Grade = "note"    // the meaning is kept, or narrowed as documented
	Differs Grade = "differs" // routes are there, but something about them is not said
	Omitted Grade = "omitted" // a rule or an object is left out
)

// Finding is one thing to know about a translation.
type Finding struct {
	Grade   Grade    `json:"grade"`
	Reason  string   `json:"reason"` // stable, documented in docs/kubernetes.md
	Object  Ref      `json:"object"`
	Pos     diag.Pos `json:"pos"`
	Field   string   `json:"field,omitempty"`
	Message string   `json:"message"`
	Instead string   `json:"instead,omitempty"` // what to do about it
}

// Status is the status of one Route or object of the Gateway API, in the types of the API. Exactly one of the pointers is set. The times of
// transitions are for whoever writes it back.
type Status struct {
	Object       Ref                           `json:"object"`
	GatewayClass *gatewayv1.GatewayClassStatus `json:"gatewayClass,omitempty"`
	Gateway      *gatewayv1.GatewayStatus      `json:"gateway,omitempty"`
	HTTPRoute    *gatewayv1.HTTPRouteStatus    `json:"httpRoute,omitempty"`
	Route        *RouteStatus                  `json:"route,omitempty"`
}

// RouteStatus is the status of a Route.
type RouteStatus struct {
	Conditions []metav1.Condition `json:"conditions"`
}

// IsComplete reports whether everything was said.
func (r *Result) IsComplete() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Grade != Note })
}

// Translate says in a config repository what the objects say in Kubernetes. The files it returns compile together; what they need
// beside them are the secrets that the findings name.
func Translate(in *Objects, opts Options) *Result {
	opts.ClusterDomain = cmp.Or(opts.ClusterDomain, "cluster.local")
	opts.CertificateDir = cmp.Or(opts.CertificateDir, "/etc/gwrun/tls")
	t := newTranslator(in, opts)
	t.unread()
	t.ingresses()
	t.gateways()
	t.httpRoutes()
	t.customRoutes()
	kept := t.settle()
	customs := t.settleCustoms(kept)
	t.tellCustoms()
	return t.result(kept, customs)
}

// translator collects what becomes of the objects.
type translator struct {
	in         *Objects
	opts       Options
	services   map[string]*corev1.Service // by namespace/name
	namespaces map[string]*corev1.Namespace
	secrets    map[string]bool
	upstreams  map[string]upstream // by id
	candidates []*candidate
	customs    []*custom
	listeners  map[int]*listener // by port
	attached   []*gateway
	findings   []Finding
	said       map[string]bool // findings that are there already
	status     []Status
}

func newTranslator(in *Objects, opts Options) *translator {
	t := &translator{
		in: in, opts: opts,
		services: map[string]*corev1.Service{}, namespaces: map[string]*corev1.Namespace{}, secrets: map[string]bool{},
		upstreams: map[string]upstream{}, listeners: map[int]*listener{}, said: map[string]bool{},
	}
	for _, s := range in.Services {
		t.services[s.Namespace+"/"+s.Name] = s
	}
	for _, n := range in.Namespaces {
		t.namespaces[n.Name] = n
	}
	for _, s := range in.Secrets {
		t.secrets[s.Namespace+"/"+s.Name] = true
	}
	return t
}

// find notes a finding, once.
func (t *translator) find(f Finding) {
	key := fmt.Sprintf("%v|%s|%s|%s", f.Object, f.Field, f.Reason, f.Message)
	if t.said[key] {
		return
	}
	t.said[key] = true
	f.Pos = t.in.Places[f.Object]
	t.findings = append(t.findings, f)
}

// routingGroups are the API groups whose objects say where requests go. One of a kind that is not translated is left out of the
// config, which people must know; objects of other groups have no part in it.
var routingGroups = []string{
	"gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "networking.k8s.io", "extensions", "traefik.io", "traefik.containo.us",
	"projectcontour.io", "networking.istio.io", "configuration.konghq.com", "gateway.envoyproxy.io", "getambassador.io", "k8s.nginx.org",
	"cilium.io", "gateway.nginx.org", "zalando.org", "apisix.apache.org", RouteGroup,
}

// unread reports objects of kinds that are not translated, and counts those that have no part in routing.
func (t *translator) unread() {
	others := map[string]int{}
	for _, u := range t.in.Unread {
		if slices.Contains(routingGroups, u.Group) && u.Kind != "NetworkPolicy" {
			t.find(Finding{
				Grade: Omitted, Reason: "UnsupportedKind", Object: u.Ref, Message: fmt.Sprintf("%s of %s is not translated", u.Kind, u.Group),
				Instead: "translated are Ingress, GatewayClass, Gateway, HTTPRoute and ReferenceGrant of gateway.networking.k8s.io, and Route of gateway.suuupra.dev; write the rest by hand",
			})
			continue
		}
		others[u.Kind]++
	}
	for kind, n := range others {
		t.find(Finding{
			Grade: Note, Reason: "NotRouting", Object: Ref{Kind: kind, Name: "(" + count(n, "object") + ")"}, Message: "says nothing about where requests go",
		})
	}
}

// result writes down what was found.
func (t *translator) result(kept []*candidate, customs []*custom) *Result {
	out := &Result{Files: t.files(kept, customs), Findings: t.findings, Status: t.status}
	for _, c := range customs {
		kept = append(kept, &c.candidate)
	}
	for _, c := range kept {
		out.Routes = append(out.Routes, Route{
			Object: c.object, Pos: t.in.Places[c.object], Field: c.field, ID: c.route.ID, File: RouteFile(c.object), Closed: c.refused,
		})
	}
	slices.SortFunc(out.Routes, func(a, b Route) int { return cmp.Or(a.Object.compare(b.Object), cmp.Compare(a.ID, b.ID)) })
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		return cmp.Or(a.Object.compare(b.Object), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
	})
	slices.SortFunc(out.Status, func(a, b Status) int { return a.Object.compare(b.Object) })
	return out
}

// sortedByAge returns objects as Kubernetes ranks those that claim the same: the oldest first, then by namespace and name.
func sortedByAge[T metav1.Object](list []T) []T {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b T) int {
		return cmp.Or(a.GetCreationTimestamp().Time.Compare(b.GetCreationTimestamp().Time),
			cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out
}

// identifier makes a text fit for the id of an object: at most 128 letters, digits, ".", "_" and "-".
func identifier(parts ...string) string {
	id := strings.Join(parts, ".")
	if len(id) <= 128 {
		return id
	}
	return id[:128-1-len(digest(id))] + "-" + digest(id)
}
