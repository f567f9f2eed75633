package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/internal/kubeclient"
)

// Bounds on what is read of a cluster, and for how long.
const (
	MaxAnswer   = 64 << 20 // bytes of one page, or of one watch
	pageSize    = 500
	maxObjects  = 200_000 // of all kinds
	listTimeout = 2 * time.Minute
	settle      = 300 * time.Millisecond // how long it must be quiet after a change: a rollout touches many objects
	settleMax   = 3 * time.Second
)

// resource is a kind of object that is followed.
type resource struct {
	kind     string
	group    string
	versions []string // the first that is served is asked for
	plural   string
	wide     bool // it has no namespace
	optional bool // a cluster need not know it
	status   bool // its status says what became of it
}

const gatewayAPI = "gateway.networking.k8s.io"

// resources are the kinds that are followed, by what is to be translated.
func resources(k Kinds) []resource {
	var out []resource
	if k.Ingress {
		out = append(
			out,
			resource{kind: "Ingress", group: "networking.k8s.io", versions: []string{"v1"}, plural: "ingresses"},
			resource{kind: "IngressClass", group: "networking.k8s.io", versions: []string{"v1"}, plural: "ingressclasses", wide: true},
		)
	}
	if k.GatewayAPI {
		out = append(
			out,
			resource{kind: "GatewayClass", group: gatewayAPI, versions: []string{"v1"}, plural: "gatewayclasses", wide: true, status: true},
			resource{kind: "Gateway", group: gatewayAPI, versions: []string{"v1"}, plural: "gateways", status: true},
			resource{kind: "HTTPRoute", group: gatewayAPI, versions: []string{"v1"}, plural: "httproutes", status: true},
			resource{kind: "ReferenceGrant", group: gatewayAPI, versions: []string{"v1", "v1beta1"}, plural: "referencegrants"},
			resource{kind: "Namespace", versions: []string{"v1"}, plural: "namespaces", wide: true},
		)
	}
	if k.Routes {
		out = append(out, resource{
			kind: "Route", group: kubernetes.RouteGroup, versions: []string{"v1"}, plural: "routes", optional: k.Ingress || k.GatewayAPI, status: true,
		})
	}
	return append(out, resource{kind: "Service", versions: []string{"v1"}, plural: "services"})
}

// cluster is a connection to an API server.
type cluster struct {
	client     *kubeclient.Client
	dynamic    dynamic.Interface
	resources  []resource
	namespaces []string // "" alone: all
	options    *kubernetes.Options
	served     map[string]schema.GroupVersionResource // by kind, once it was found out
}

func newCluster(client *kubeclient.Client, kinds Kinds, o *kubernetes.Options) (*cluster, error) {
	d, err := dynamic.NewForConfigAndClient(client.Config, client.HTTP)
	if err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	c := &cluster{
		client: client, dynamic: d, resources: resources(kinds), namespaces: slices.Clone(o.Namespaces), options: o,
		served: map[string]schema.GroupVersionResource{},
	}
	if namespace, _ := cutName(o.Gateway); len(c.namespaces) > 0 && namespace != "" && !slices.Contains(c.namespaces, namespace) {
		c.namespaces = append(c.namespaces, namespace) // its Gateway is read there
	}
	if len(c.namespaces) == 0 {
		c.namespaces = []string{metav1.NamespaceAll}
	}
	return c, nil
}

func (c *cluster) close() { c.client.Close() }

// point is where a watch begins.
type point struct {
	resource  schema.GroupVersionResource
	namespace string
	version   string
}

// list reads all there is, as of now: without a version the answers are not ones that the API server remembers.
func (c *cluster) list(ctx context.Context) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	s := newSnapshot()
	for i := range c.resources {
		r := &c.resources[i]
		namespaces := c.namespaces
		if r.wide {
			namespaces = []string{metav1.NamespaceAll}
		}
		for _, ns := range namespaces {
			if err := c.listOne(ctx, r, ns, s); err != nil {
				return nil, fmt.Errorf("list %s: %w", r.plural, err)
			}
		}
	}
	return s, s.judge(c.options)
}

// listOne lists one kind, in the first of its versions that is served.
func (c *cluster) listOne(ctx context.Context, r *resource, namespace string, s *snapshot) error {
	at, known := c.served[r.kind]
	for _, version := range r.versions {
		if !known {
			at = schema.GroupVersionResource{Group: r.group, Version: version, Resource: r.plural}
		}
		err := c.pages(ctx, r, at, namespace, s)
		if err == nil {
			c.served[r.kind] = at
		}
		if known || !apierrors.IsNotFound(err) {
			return err
		}
	}
	if r.optional {
		return nil
	}
	return fmt.Errorf("the cluster does not know %s of %s %v", r.kind, r.group, r.versions)
}

func (c *cluster) pages(ctx context.Context, r *resource, at schema.GroupVersionResource, namespace string, s *snapshot) error {
	o := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.dynamic.Resource(at).Namespace(namespace).List(ctx, o)
		if err != nil {
			return err
		}
		if page.GetResourceVersion() == "" { // any JSON is taken for a list that is empty
			return errors.New("the answer is no list")
		}
		for i := range page.Items {
			if s.count++; s.count > maxObjects {
				return fmt.Errorf("the cluster has more than %d objects to follow: give --namespace", maxObjects)
			}
			if err := s.add(r, &page.Items[i]); err != nil {
				return err
			}
		}
		if o.Continue = page.GetContinue(); o.Continue == "" {
			s.points = append(s.points, point{at, namespace, page.GetResourceVersion()})
			return nil
		}
	}
}

// wait returns once something has changed since a snapshot, or after a time. Watches are no more than hints: one that fails, or that an
// API server restored from a backup is silent to, is made good by the next list.
func (c *cluster) wait(ctx context.Context, s *snapshot, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	changed := make(chan struct{}, 1)
	for _, p := range s.points {
		watching.Go(func() { c.watch(ctx, s, p, changed) })
	}
	select {
	case <-changed:
	case <-ctx.Done():
		return
	}
	for end := time.Now().Add(settleMax); time.Now().Before(end); {
		quiet := time.NewTimer(settle)
		select {
		case <-changed:
			quiet.Stop()
		case <-quiet.C:
			return
		case <-ctx.Done():
			quiet.Stop()
			return
		}
	}
}

// watch tells of each change that matters.
func (c *cluster) watch(ctx context.Context, s *snapshot, p point, changed chan<- struct{}) {
	w, err := c.dynamic.Resource(p.resource).Namespace(p.namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: p.version})
	if err != nil {
		return
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-w.ResultChan():
			if !open || e.Type == watch.Error {
				return
			}
			object, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type == watch.Bookmark || e.Type == watch.Modified && s.seen[object.GetUID()] == fingerprint(object) {
				continue // such as a status that we have written
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}
}
