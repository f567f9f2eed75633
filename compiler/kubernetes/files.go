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

// hasSecret reports whether a secret is there, or may be.
func (t *translator) hasSecret(namespace, name string) bool {
	return !t.opts.Complete || t.opts.SecretsUnread || t.secrets[namespace+"/"+name]
}

// secretDir is the reference to the folder of a secret.
func (t *translator) secretDir(namespace, secret string) string {
	return "file:" + t.opts.CertificateDir + "/" + namespace + "/" + secret + "/"
}

// RouteFile is the file of the routes of an object. File systems take names of 255 bytes, Kubernetes of 253 without an extension.
// A Route belongs to the tenant of its namespace; the other objects say where requests go for the whole gateway, and belong to the base.
func RouteFile(of Ref) string {
	if of.Kind == "Route" {
		return "tenants/" + of.Namespace + "/routes/" + identifier(of.Name) + ".yaml"
	}
	return "routes/" + of.Namespace + "/" + identifier(of.Name) + ".yaml"
}

// files spreads the config over files: routes by the object they come from, upstreams by service, and the listeners.
func (t *translator) files(kept []*candidate, customs []*custom) []File {
	all := map[string]*File{}
	file := func(path string) *File {
		if all[path] == nil {
			all[path] = &File{Path: path, Content: v1.File{APIVersion: apiVersion}}
		}
		return all[path]
	}
	for _, c := range kept {
		f := file(RouteFile(c.object))
		f.Content.Routes = append(f.Content.Routes, c.route)
	}
	for _, c := range customs {
		f := file(RouteFile(c.object))
		f.Written = append(f.Written, c.written())
		if c.upstream == nil {
			continue
		}
		u := file("tenants/" + c.object.Namespace + "/upstreams/" + c.of.service.service + ".yaml")
		if !slices.ContainsFunc(u.Content.Upstreams, func(o v1.Upstream) bool { return o.ID == c.upstream.ID }) {
			u.Content.Upstreams = append(u.Content.Upstreams, *c.upstream)
		}
	}
	for path, list := range t.used(kept) {
		file(path).Content.Upstreams = list
	}
	if list := t.served(kept); len(list) > 0 {
		file("gateway.yaml").Content.Gateway = &v1.Gateway{Listeners: list}
	}
	var out []File
	for _, path := range slices.Sorted(maps.Keys(all)) {
		slices.SortFunc(all[path].Content.Upstreams, func(a, b v1.Upstream) int { return cmp.Compare(a.ID, b.ID) })
		out = append(out, *all[path])
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
