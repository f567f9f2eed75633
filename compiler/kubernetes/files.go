package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/suuupra/gateway/schema/v1"
)

const apiVersion = "gateway.suuupra.dev/v1"

// listener is a port that is served, and the certificates on it.
type listener struct {
	port         int
	tls          bool
	certificates []v1.Certificate
}

// listen makes sure that a port is served. False: it is, but in the other way.
func (t *translator) listen(port int, tls bool) (*listener, bool) {
	l := t.listeners[port]
	if l == nil {
		l = &listener{port: port, tls: tls}
		t.listeners[port] = l
	}
	return l, l.tls == tls
}

// certificate puts a secret on a listener, and tells where the gateway will look for it.
func (t *translator) certificate(l *listener, of Ref, field, namespace, secret string) {
	dir := t.secretDir(namespace, secret)
	c := v1.Certificate{Cert: dir + "tls.crt", Key: dir + "tls.key"}
	if !slices.Contains(l.certificates, c) {
		l.certificates = append(l.certificates, c)
	}
	t.find(Finding{
		Grade: Note, Reason: "SecretNeeded", Object: of, Field: field,
		Message: fmt.Sprintf("the gateway reads secret %s/%s from %stls.crt and tls.key", namespace, secret, strings.TrimPrefix(dir, "file:")),
		Instead: "mount it there, for instance as a volume of gwrun's pod",
	})
}

// secretDir is the reference to the folder of a secret.
func (t *translator) secretDir(namespace, secret string) string {
	return "file:" + t.opts.CertificateDir + "/" + namespace + "/" + secret + "/"
}

// routeFile is the file of the routes of an object. File systems take names of 255 bytes, Kubernetes of 253 without an extension.
func routeFile(of Ref) string { return "routes/" + of.Namespace + "/" + identifier(of.Name) + ".yaml" }

// files spreads the config over files: routes by the object they come from, upstreams by service, and the listeners.
func (t *translator) files(kept []*candidate) []File {
	all := map[string]*v1.File{}
	file := func(path string) *v1.File {
		if all[path] == nil {
			all[path] = &v1.File{APIVersion: apiVersion}
		}
		return all[path]
	}
	for _, c := range kept {
		f := file(routeFile(c.object))
		f.Routes = append(f.Routes, c.route)
	}
	for path, list := range t.used(kept) {
		file(path).Upstreams = list
	}
	if list := t.served(kept); len(list) > 0 {
		file("gateway.yaml").Gateway = &v1.Gateway{Listeners: list}
	}
	var out []File
	for _, path := range slices.Sorted(maps.Keys(all)) {
		out = append(out, File{path, *all[path]})
	}
	return out
}

// served returns the listeners that have a route. One that has none, such as a port that only redirects, would serve the routes of
// the others: a route is served on every listener.
func (t *translator) served(kept []*candidate) []v1.Listener {
	used := map[int]bool{}
	for _, c := range kept {
		for _, port := range c.ports {
			used[port] = used[port] || !c.refused
		}
	}
	var out []v1.Listener
	for _, port := range slices.Sorted(maps.Keys(t.listeners)) {
		l := t.listeners[port]
		if !used[port] || l.tls && len(l.certificates) == 0 {
			continue
		}
		entry := v1.Listener{ID: fmt.Sprintf("http-%d", port), Address: fmt.Sprintf(":%d", port)}
		if l.tls {
			slices.SortFunc(l.certificates, func(a, b v1.Certificate) int { return cmp.Compare(a.Cert, b.Cert) })
			entry.ID, entry.TLS = fmt.Sprintf("https-%d", port), &v1.ListenerTLS{Certificates: l.certificates}
		}
		out = append(out, entry)
	}
	t.mixed(kept, used)
	return out
}

// mixed reports routes that hang on some of the served listeners only.
func (t *translator) mixed(kept []*candidate, used map[int]bool) {
	for _, c := range kept {
		if c.refused {
			continue
		}
		for _, port := range slices.Sorted(maps.Keys(used)) {
			// More TLS than an Ingress asks for harms nobody.
			if !used[port] || slices.Contains(c.ports, port) || c.object.Kind == "Ingress" && t.listeners[port].tls {
				continue
			}
			kind := "plain text"
			if t.listeners[port].tls {
				kind = "TLS"
			}
			t.find(Finding{
				Grade: Differs, Reason: "EveryListener", Object: c.object, Field: c.field,
				Message: fmt.Sprintf("the rule is not for port %d (%s), but a route is served on every listener", port, kind),
				Instead: "run a gateway of its own for each set of ports, and translate for each with --gateway or --ingress-class",
			})
		}
	}
}
