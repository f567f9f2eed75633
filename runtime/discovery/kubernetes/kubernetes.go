// Package kubernetes finds the endpoints of a service by its EndpointSlices (discovery.k8s.io/v1), through client-go's informers:
// list, watch, and list again when the watch is too old. An API server that is away changes nothing; a service that has no ready
// endpoint any more has none.
package kubernetes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clientdiscovery "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

// settle is how long changes are gathered: a rollout touches many slices.
const settle = 50 * time.Millisecond

type service struct {
	spec   *ir.KubernetesService
	slices clientdiscovery.EndpointSliceInterface
}

// New returns what follows spec.
func New(spec *ir.KubernetesService, env provider.Env) (provider.Run, error) {
	var config *rest.Config
	var err error
	if spec.Kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", spec.Kubeconfig)
	} else {
		config, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("read the way to the Kubernetes API: %w", err)
	}
	config.Dial = env.Dial
	config.UserAgent = "gwrun"
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil } // none from the environment either
	client, err := clientdiscovery.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	return (&service{spec: spec, slices: client.EndpointSlices(spec.Namespace)}).run, nil
}

func (s *service) run(ctx context.Context, sink provider.Sink) {
	selector := labels.Set{discoveryv1.LabelServiceName: s.spec.Service}.String()
	narrow := func(o *metav1.ListOptions) {
		o.LabelSelector = selector
		o.FieldSelector = fields.Everything().String()
	}
	informer := cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			narrow(&o)
			return s.slices.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			narrow(&o)
			return s.slices.Watch(ctx, o)
		},
	}, &discoveryv1.EndpointSlice{}, 0, cache.Indexers{})
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	failed := make(chan error, 1)
	// Both can only fail on an informer that runs already.
	_ = informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		select {
		case failed <- err:
		default:
		}
	})
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { poke() }, UpdateFunc: func(any, any) { poke() }, DeleteFunc: func(any) { poke() },
	})
	done := make(chan struct{})
	go func() { defer close(done); informer.RunWithContext(ctx) }()
	defer func() { <-done }()
	synced := make(chan struct{})
	go func() {
		defer close(synced)
		cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	}()
	defer func() { <-synced }()
	s.follow(ctx, sink, informer.GetStore(), synced, changed, failed)
}

// follow hands on what the store holds, from the moment it is whole.
func (s *service) follow(ctx context.Context, sink provider.Sink, store cache.Store, synced, changed <-chan struct{}, failed <-chan error) {
	whole := false
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-failed:
			sink.Failed(fmt.Errorf("watch the slices of %s/%s: %w", s.spec.Namespace, s.spec.Service, err))
			continue
		case <-synced:
			whole, synced = ctx.Err() == nil, nil
		case <-changed:
			timer := time.NewTimer(settle)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
		if !whole {
			continue
		}
		list := make([]*discoveryv1.EndpointSlice, 0, len(store.List()))
		for _, o := range store.List() {
			if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
				list = append(list, slice)
			}
		}
		sink.Found(endpointsOf(list, s.spec.Port))
	}
}

// endpointsOf joins the slices of one service. Ready endpoints are used; if there is none, those that still serve while they
// terminate are, as kube-proxy does.
func endpointsOf(list []*discoveryv1.EndpointSlice, port string) []provider.Endpoint {
	var ready, serving []provider.Endpoint
	for _, slice := range list {
		if slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		number, ok := portOf(slice, port)
		if !ok {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(e.Addresses) == 0 {
				continue
			}
			// The first address stands for the endpoint: the others are the same, says the API.
			ep := provider.Endpoint{Address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(number))}
			if e.Zone != nil {
				ep.Metadata = append(ep.Metadata, ir.Pair{Name: "zone", Value: *e.Zone})
			}
			switch c := e.Conditions; {
			case c.Ready == nil || *c.Ready: // nil stands for ready
				ready = append(ready, ep)
			case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
				serving = append(serving, ep)
			}
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return serving
}

// portOf finds the port by name or number, or the only one there is.
func portOf(slice *discoveryv1.EndpointSlice, want string) (int, bool) {
	for _, p := range slice.Ports {
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if want == "" && len(slice.Ports) == 1 || want != "" && (name == want || strconv.Itoa(int(*p.Port)) == want) {
			return int(*p.Port), true
		}
	}
	return 0, false
}
