package compiler

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// discoveryOf is where the servers of an upstream are found, defaults filled in.
func discoveryOf(d *v1.Discovery) *ir.Discovery {
	switch {
	case d == nil:
		return nil
	case d.DNS != nil:
		out := &ir.DNS{
			Name: strings.ToLower(d.DNS.Name), Type: d.DNS.Type, Servers: d.DNS.Servers,
			MinTTL: int64(*d.DNS.MinTTL), MaxTTL: int64(*d.DNS.MaxTTL),
		}
		if d.DNS.Port != nil {
			out.Port = *d.DNS.Port
		}
		return &ir.Discovery{DNS: out}
	case d.Kubernetes != nil:
		k := d.Kubernetes
		out := &ir.KubernetesService{Namespace: k.Namespace, Service: k.Service, Kubeconfig: k.Kubeconfig}
		if k.Port != nil {
			out.Port = string(*k.Port)
		}
		return &ir.Discovery{Kubernetes: out}
	case d.Consul != nil:
		c := d.Consul
		return &ir.Discovery{Consul: &ir.ConsulService{
			Address: c.Address, Service: c.Service, Tags: sorted(c.Tags),
			Datacenter: c.Datacenter, Namespace: c.Namespace, Token: c.Token, Wait: int64(*c.Wait),
		}}
	}
	return nil // the shape check has said so
}

// discovery checks what a source may be asked, and by whom. A source answers with addresses of the network that the gateway
// runs in and is asked with its rights, so a tenant needs the grant for private addresses; and a tenant may not name a
// kubeconfig, which would be asked with the rights of whoever it belongs to.
func (l *lowerer) discovery(s site, tenant string, d *v1.Discovery) {
	if !l.mayDialPrivate(tenant) {
		s.report(diag.Error, "GW3025", "discovery", "only tenants/"+tenant+"/tenant.yaml grants: tenant.allowPrivateAddresses: true", nil,
			fmt.Sprintf("tenant %q may not use discovery, by which the gateway asks inside its own network", tenant))
	}
	switch {
	case d.DNS != nil:
		l.dns(s, tenant, d.DNS)
	case d.Kubernetes != nil && d.Kubernetes.Kubeconfig != "" && tenant != "":
		s.report(diag.Error, "GW3025", "discovery.kubernetes.kubeconfig", "leave it out: the gateway asks with its own service account", nil,
			fmt.Sprintf("tenant %q may not name a kubeconfig of the gateway's machine", tenant))
	case d.Consul != nil:
		if u, err := url.Parse(d.Consul.Address); err == nil {
			l.address(tenant, u, s.find("discovery.consul.address"), s.path+".discovery.consul.address")
		}
	}
}

func (l *lowerer) dns(s site, tenant string, d *v1.DNSDiscovery) {
	const at = "discovery.dns."
	switch {
	case d.Type == "SRV" && d.Port != nil:
		s.contradicts(at+"port", at+"type", "leave it out, or ask for addresses: type: ip",
			"discovery.dns.port is %d, but SRV records bring their own ports", *d.Port)
	case d.Type != "SRV" && d.Port == nil:
		s.needs("discovery.dns", "add port: 8080, or ask for service records: type: SRV",
			"discovery.dns has no port, and address records (type %s) bring none", d.Type)
	}
	if *d.MinTTL > *d.MaxTTL {
		s.contradicts(at+"minTtl", at+"maxTtl", "write the smaller one as minTtl",
			"discovery.dns.minTtl is %s, must be at most maxTtl, %s", *d.MinTTL, *d.MaxTTL)
	}
	list := s.node.Get("discovery").Get("dns").Get("servers")
	for i, server := range d.Servers {
		if host, _, err := net.SplitHostPort(server); err == nil {
			l.address(tenant, &url.URL{Host: net.JoinHostPort(host, "53")}, list.Items[i], fmt.Sprintf("%s.%sservers[%d]", s.path, at, i))
		}
	}
}

// secretsOf are the fields in which an upstream names secrets.
func secretsOf() []string {
	return []string{"tls.ca", "tls.cert", "tls.key", "discovery.consul.token"}
}

// secrets checks the references that a tenant's upstream gives: whoever names a secret has it used, and shown to servers of
// its choice.
func (c *checker) secrets(o *object) {
	s := site{o.node, o.path, c.diags}
	for _, field := range secretsOf() {
		n := s.find(field)
		if s.has(field) {
			c.secret(o.tenant, n, s.path+"."+field)
		}
	}
}

// secret checks one reference that a tenant gives.
func (c *checker) secret(tenant string, n *schema.Node, path string) {
	if !grant.Secret(c.grants[tenant], n.Str) {
		c.diags.Add(c.ungranted(tenant, n.Pos, n.Width, path, fmt.Sprintf("tenant %q may not use the secret %s", tenant, n.Str), "secrets"))
	}
}
