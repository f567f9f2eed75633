package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	v1 "github.com/suuupra/gateway/schema/v1"
)

// backend is a port of a service, by name or number.
type backend struct {
	namespace, service string
	portName           string
	portNumber         int32
}

func (b backend) port() string {
	if b.portName != "" {
		return b.portName
	}
	return strconv.Itoa(int(b.portNumber))
}

func (b backend) String() string {
	return fmt.Sprintf("service %s/%s, port %s", b.namespace, b.service, b.port())
}

// upstream is an upstream and the service whose file it goes into.
type upstream struct {
	backend
	v1.Upstream
}

// missing says why a backend cannot be reached. reason is one that the Gateway API has.
type missing struct{ reason, message, instead string }

// Error implements error.
func (m *missing) Error() string { return m.message }

// tuning is what a rule asks of the upstream itself. Rules that ask for the same share one.
type tuning struct {
	scheme, protocol, host, sni string
	ca, cert, key               string // references to secrets
	skipVerify                  bool
	connectTimeout              *v1.Duration
	balance                     *v1.LoadBalancing
	clusterIP                   bool // go through the address of the service, not to its endpoints
}

func (b backend) resolve(ing *networkingv1.IngressServiceBackend) backend {
	b.service, b.portName, b.portNumber = ing.Name, ing.Port.Name, ing.Port.Number
	return b
}

// discover says where the servers of a backend are found.
func (t *translator) discover(of Ref, field string, b backend, tune *tuning) (*v1.Discovery, *missing) {
	if !serviceForm.MatchString(b.service) || !serviceForm.MatchString(b.namespace) {
		return nil, &missing{"BackendNotFound", fmt.Sprintf("%q is the name of no service", clip(b.namespace+"/"+b.service)), "correct it"}
	}
	s := t.services[b.namespace+"/"+b.service]
	if s == nil && t.opts.Complete {
		return nil, &missing{"BackendNotFound", fmt.Sprintf("there is no service %s/%s", b.namespace, b.service), "create it, or name another"}
	}
	if s == nil {
		return t.discoverUnknown(of, field, b)
	}
	port, gone := servicePort(s, b)
	if gone != nil {
		return nil, gone
	}
	tune.hint(port)
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return t.discoverExternal(of, field, s, port, tune)
	case tune.clusterIP && s.Spec.ClusterIP != corev1.ClusterIPNone:
		return t.dns(b, int64(port.Port)), nil
	}
	// By the name of the port: EndpointSlices carry the ports of pods, whose numbers may differ from the service's, under its names.
	// The only port may have none.
	d := &v1.KubernetesDiscovery{Namespace: b.namespace, Service: b.service}
	if port.Name != "" {
		d.Port = new(v1.Port(port.Name))
	}
	return &v1.Discovery{Kubernetes: d}, nil
}

// discoverUnknown reaches a service of which nothing but its name is known. The number of its port says nothing about the ports of
// its pods, so that only its own address will do.
func (t *translator) discoverUnknown(of Ref, field string, b backend) (*v1.Discovery, *missing) {
	f := Finding{
		Grade: Note, Reason: "UnknownService", Object: of, Field: field,
		Message: fmt.Sprintf("service %s/%s is not among the manifests: it is taken to exist, with port %s", b.namespace, b.service, b.port()),
		Instead: "translate it together with the rule",
	}
	if b.portName != "" {
		t.find(f)
		return &v1.Discovery{Kubernetes: &v1.KubernetesDiscovery{Namespace: b.namespace, Service: b.service, Port: new(v1.Port(b.portName))}}, nil
	}
	f.Message += ", and is reached by its cluster address in place of its endpoints"
	t.find(f)
	return t.dns(b, int64(b.portNumber)), nil
}

// discoverExternal reaches a name outside of the cluster.
func (t *translator) discoverExternal(of Ref, field string, s *corev1.Service, port *corev1.ServicePort, tune *tuning) (*v1.Discovery, *missing) {
	name := strings.TrimSuffix(s.Spec.ExternalName, ".")
	if of.Kind == "HTTPRoute" {
		return nil, &missing{
			"InvalidKind", fmt.Sprintf("service %s/%s is of type ExternalName, which lets whoever may edit it send requests anywhere (CVE-2021-25740)", s.Namespace, s.Name),
			"write an upstream with discovery.dns by hand",
		}
	}
	if _, err := netip.ParseAddr(name); err == nil || !isHost(name) {
		return nil, &missing{
			"BackendNotFound", fmt.Sprintf("service %s/%s stands for %q, which is no DNS name", s.Namespace, s.Name, clip(name)),
			"use a Service without selector and an EndpointSlice for addresses",
		}
	}
	t.find(Finding{
		Grade: Note, Reason: "ExternalName", Object: of, Field: field,
		Message: fmt.Sprintf("service %s/%s stands for %s: its requests leave the cluster, with the host the client sent", s.Namespace, s.Name, name),
		Instead: "set host of the upstream if that server goes by its own name",
	})
	tune.sni = cmp.Or(tune.sni, name)
	return &v1.Discovery{DNS: &v1.DNSDiscovery{Name: name, Port: new(int64(port.Port))}}, nil
}

func (t *translator) dns(b backend, port int64) *v1.Discovery {
	return &v1.Discovery{DNS: &v1.DNSDiscovery{Name: t.clusterName(b), Port: new(port)}}
}

func (t *translator) clusterName(b backend) string {
	return b.service + "." + b.namespace + ".svc." + t.opts.ClusterDomain
}

// servicePort finds a port by its name or its number.
func servicePort(s *corev1.Service, b backend) (*corev1.ServicePort, *missing) {
	var known []string
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			continue
		}
		if b.portName != "" && p.Name == b.portName || b.portName == "" && p.Port == b.portNumber {
			return p, nil
		}
		known = append(known, strings.TrimSuffix(fmt.Sprintf("%d (%s)", p.Port, p.Name), " ()"))
	}
	return nil, &missing{
		"BackendNotFound", fmt.Sprintf("service %s/%s has no TCP port %s", b.namespace, b.service, b.port()),
		"its ports are " + cmp.Or(strings.Join(known, ", "), "none"),
	}
}

// hint takes from a service's port how it is spoken to, unless the rule says so itself (KEP-3726).
func (n *tuning) hint(p *corev1.ServicePort) {
	if p.AppProtocol == nil || n.scheme != "" || n.protocol != "" {
		return
	}
	switch *p.AppProtocol {
	case "kubernetes.io/h2c":
		n.protocol = "http2"
	case "https", "kubernetes.io/wss":
		n.scheme = "https"
	}
}

// upstreamFor returns the id of the upstream for a backend, as a rule wants it spoken to. owner tells apart what differs.
func (t *translator) upstreamFor(of Ref, field string, b backend, tune tuning) (string, *missing) {
	found, gone := t.discover(of, field, b, &tune)
	if gone != nil {
		return "", gone
	}
	u := v1.Upstream{Discovery: found}
	tune.apply(&u, t.clusterName(b))
	if s := t.services[b.namespace+"/"+b.service]; s != nil { // one port, whether a rule names it or gives its number
		port, _ := servicePort(s, b)
		b.portName, b.portNumber = "", port.Port
	}
	return t.upstream(b, u, b.port(), of.Name), nil
}

// upstream files an upstream under an id of its service, and returns the id. One whose settings differ from those of the others
// bears the name of its owner.
func (t *translator) upstream(b backend, u v1.Upstream, parts ...string) string {
	owner := parts[len(parts)-1]
	id := identifier(append([]string{b.namespace, b.service}, parts[:len(parts)-1]...)...)
	if plain(u) {
		owner = ""
	}
	if owner != "" {
		id = identifier(id, owner)
	}
	for n := 2; ; n++ {
		u.ID = id
		if known, taken := t.upstreams[id]; !taken || reflect.DeepEqual(known.Upstream, u) {
			break
		}
		id = identifier(strings.TrimSuffix(id, "."+strconv.Itoa(n-1)), strconv.Itoa(n))
	}
	t.upstreams[id] = upstream{b, u}
	return id
}

// plain reports whether an upstream has nothing but its servers.
func plain(u v1.Upstream) bool {
	u.Discovery = nil
	return reflect.DeepEqual(u, v1.Upstream{})
}

func (n *tuning) apply(u *v1.Upstream, name string) {
	u.Scheme, u.Protocol, u.Host, u.ConnectTimeout, u.LoadBalancing = n.scheme, n.protocol, n.host, n.connectTimeout, n.balance
	if n.scheme == "https" {
		u.TLS = &v1.UpstreamTLS{CA: n.ca, Cert: n.cert, Key: n.key, SNI: cmp.Or(n.sni, name), SkipVerify: n.skipVerify}
	}
}

// used drops the upstreams that no kept route names.
func (t *translator) used(kept []*candidate) map[string][]v1.Upstream {
	wanted := map[string]bool{}
	for _, c := range kept {
		wanted[c.route.Target.Upstream] = true
	}
	out := map[string][]v1.Upstream{}
	for _, id := range slices.Sorted(maps.Keys(t.upstreams)) {
		if u := t.upstreams[id]; wanted[id] {
			path := "upstreams/" + u.namespace + "/" + u.service + ".yaml"
			out[path] = append(out[path], u.Upstream)
		}
	}
	return out
}
