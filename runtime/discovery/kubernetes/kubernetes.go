// Package kubernetes finds the endpoints of a service by its EndpointSlices (discovery.k8s.io/v1), with client-go: it lists them,
// watches them, and lists again when the watch has ended. An API server that is away changes nothing; a service that has no ready
// endpoint any more has none.
//
// It does without client-go's informers. They resume a watch from the version they saw last, and an API server whose etcd was
// restored from a backup counts from below again and is silent to them; they tell nobody that they cannot connect, wait up to a
// minute between two attempts, and log past the gateway's log.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	clientdiscovery "k8s.io/client-go/kubernetes/typed/discovery/v1"

	"github.com/suuupra/gateway/internal/kubeclient"
	"github.com/suuupra/gateway/runtime/discovery/pace"
	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	settle     = 50 * time.Millisecond // how long changes are gathered: a rollout touches many slices
	steady     = time.Second           // a watch that lasts as long as this works
	backoffMax = 8 * time.Second
	maxAnswer  = 32 << 20        // bytes of one list, or of one watch, which is then begun anew
	watchFor   = 5 * time.Minute // and up to twice as long
	grace      = 30 * time.Second
	burst      = 5 // watches that may end at once; after them one each
	every      = time.Second
)

// Tests shorten them.
var (
	listTimeout  = 15 * time.Second
	backoffFirst = time.Second
)

type service struct {
	spec   *ir.KubernetesService
	env    provider.Env
	api    *kubeclient.Client
	slices clientdiscovery.EndpointSliceInterface // nil: not connected
}

// New returns what follows spec.
func New(spec *ir.KubernetesService, env provider.Env) (provider.Run, error) {
	s := &service{spec: spec, env: env}
	if err := s.connect(); err != nil {
		return nil, err
	}
	return s.run, nil
}

// connect makes a client of what is on disk now: credentials change there. It connects to nothing yet.
func (s *service) connect() error {
	api, err := kubeclient.New(kubeclient.Options{Kubeconfig: s.spec.Kubeconfig, UserAgent: "gwrun", MaxAnswer: maxAnswer, Dial: s.env.Dial})
	if err != nil {
		return err
	}
	client, err := clientdiscovery.NewForConfigAndClient(api.Config, api.HTTP)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	s.api, s.slices = api, client.EndpointSlices(s.spec.Namespace)
	return nil
}

func (s *service) disconnect() {
	if s.slices != nil {
		s.api.Close()
		s.slices = nil
	}
}

func (s *service) run(ctx context.Context, sink provider.Sink) {
	defer s.disconnect()
	f := follower{service: s, sink: sink}
	limit := pace.Limit{Burst: burst, Every: every}
	for limit.Wait(ctx) {
		err := f.follow(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		sink.Failed(fmt.Errorf("watch the slices of %s/%s: %w", s.spec.Namespace, s.spec.Service, err))
		s.disconnect()
		if !pace.Pause(ctx, pace.Backoff(f.failures, backoffFirst, backoffMax)) {
			return
		}
		f.failures++
	}
}

// follower is what is known of a service.
type follower struct {
	*service
	sink     provider.Sink
	known    map[string]*discoveryv1.EndpointSlice
	told     []provider.Endpoint
	failures int // in a row
}

// follow lists the slices and watches them, until the watch ends. A watch that merely ends is no failure.
func (f *follower) follow(ctx context.Context) error {
	if f.slices == nil {
		if err := f.connect(); err != nil {
			return err
		}
	}
	version, err := f.list(ctx)
	if err != nil {
		return err
	}
	// After a failure an answer that is the same does not prove that all is well: an account may list and not watch.
	found := endpointsOf(f.known, f.spec.Port)
	if f.failures == 0 || !slices.EqualFunc(found, f.told, func(a, b provider.Endpoint) bool {
		return a.Address == b.Address && slices.Equal(a.Metadata, b.Metadata)
	}) {
		f.tell()
	}
	length := watchFor + rand.N(watchFor)
	seconds := int64(length / time.Second)
	ctx, cancel := context.WithTimeout(ctx, length+grace) // for a connection that died unnoticed
	defer cancel()
	w, err := f.slices.Watch(ctx, metav1.ListOptions{LabelSelector: f.selector(), ResourceVersion: version, TimeoutSeconds: &seconds})
	switch {
	case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
		return nil
	case err != nil:
		return err
	}
	defer w.Stop()
	return f.watch(ctx, w)
}

func (f *follower) selector() string {
	return labels.Set{discoveryv1.LabelServiceName: f.spec.Service}.String()
}

// list takes all there is, as of now: without a version the answer is not one that the API server remembers.
func (f *follower) list(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list, err := f.slices.List(ctx, metav1.ListOptions{LabelSelector: f.selector()})
	if err != nil {
		return "", err
	}
	if list.ResourceVersion == "" { // client-go takes any object for a list that is empty
		return "", errors.New("the answer is no list of EndpointSlices")
	}
	f.known = make(map[string]*discoveryv1.EndpointSlice, len(list.Items))
	for i := range list.Items {
		f.known[list.Items[i].Name] = &list.Items[i]
	}
	return list.ResourceVersion, nil
}

func (f *follower) tell() {
	f.told = endpointsOf(f.known, f.spec.Port)
	f.sink.Found(f.told)
}

// watch follows the changes until there are no more.
func (f *follower) watch(ctx context.Context, w watch.Interface) error {
	well := time.After(steady)
	var due <-chan time.Time // nil: nothing has changed
	defer func() {
		if due != nil {
			f.tell() // before the server that said it is gone
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-well:
			f.failures = 0
			f.tell()
		case <-due:
			due = nil
			f.tell()
		case e, open := <-w.ResultChan():
			if !open {
				return nil
			}
			slice, _ := e.Object.(*discoveryv1.EndpointSlice)
			switch {
			case e.Type == watch.Error:
				err := apierrors.FromObject(e.Object)
				if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
					return nil
				}
				return err
			case slice == nil || e.Type == watch.Bookmark:
				continue
			case e.Type == watch.Deleted:
				delete(f.known, slice.Name)
			default:
				f.known[slice.Name] = slice
			}
			if due == nil {
				due = time.After(settle)
			}
		}
	}
}

// endpointsOf joins the slices of one service. Ready endpoints are used; if there is none, those that still serve while they
// terminate are, as kube-proxy does.
func endpointsOf(known map[string]*discoveryv1.EndpointSlice, port string) []provider.Endpoint {
	var ready, serving []provider.Endpoint
	for _, name := range slices.Sorted(maps.Keys(known)) {
		slice := known[name]
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
			if _, err := netip.ParseAddr(e.Addresses[0]); err != nil {
				continue
			}
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

// portOf finds the port by name or number, or the only one there is. Only ports of TCP count: a service with HTTP/3 has the same
// number twice.
func portOf(slice *discoveryv1.EndpointSlice, want string) (int, bool) {
	var found []int
	for _, p := range slice.Ports {
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		number := int(*p.Port)
		if want != "" && (p.Name != nil && *p.Name == want || strconv.Itoa(number) == want) {
			return number, true
		}
		found = append(found, number)
	}
	if want != "" || len(found) != 1 {
		return 0, false
	}
	return found[0], true
}
