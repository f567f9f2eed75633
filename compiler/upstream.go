package compiler

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

func (l *lowerer) upstream(o *object) {
	var u v1.Upstream
	v1.Decode(o.node, o.path, &u, l.diags)
	out := upstreamSettings(&u)
	out.ID, out.Tenant = o.id, o.tenant
	out.PrivateAddresses = l.mayDialPrivate(o.tenant)
	s := site{o.node, o.path, l.diags}
	if u.Discovery != nil {
		l.discovery(s, o.tenant, u.Discovery)
		if out.Scheme == "" {
			out.Scheme = "http"
		}
	}
	l.targets(o, &u, &out)
	s.upstream(&u, &out)
	l.out.upstreams[o.id] = out
	l.out.origins.add("upstreams/"+o.id, "", o.node)
}

// targets lowers the servers of an upstream: one scheme, no paths, no address that would never be dialled.
func (l *lowerer) targets(o *object, u *v1.Upstream, out *ir.Upstream) {
	list := o.node.Get("targets")
	seen := map[string]int{}
	for i, t := range u.Targets {
		at := list.Items[i].Get("url")
		path := fmt.Sprintf("%s.targets[%d].url", o.path, i)
		parsed, err := url.Parse(t.URL)
		if err != nil {
			continue // the shape check has said so
		}
		scheme := strings.ToLower(parsed.Scheme)
		said, where := "the first target of upstream", list.Items[0].Get("url")
		if n := o.node.Get("scheme"); n != nil {
			said, where = "scheme of upstream", n
		}
		if out.Scheme == "" {
			out.Scheme = scheme
		}
		if scheme != out.Scheme {
			l.diags.Add(diag.Diagnostic{
				Code: "GW3020", Pos: at.Pos, Width: at.Width, Path: path,
				Message: fmt.Sprintf("%s is %s, but %s %q is %s", t.URL, scheme, said, o.id, out.Scheme),
				Notes:   []diag.Note{{Pos: where.Pos, Message: strings.TrimSuffix(said, " of upstream")}},
				Hint:    "an upstream speaks one scheme: make two of it",
			})
		}
		if p := strings.TrimSuffix(parsed.Path, "/"); p != "" {
			l.diags.Add(diag.Diagnostic{
				Code: "GW3021", Pos: at.Pos, Width: at.Width, Path: path,
				Message: fmt.Sprintf("the target of an upstream has path %q, only a route's own target.url may have one", parsed.Path),
				Hint:    fmt.Sprintf("write %s://%s here, and give routes that need the path a target.url", scheme, parsed.Host),
			})
		}
		l.address(o.tenant, parsed, at, path)
		e := endpointOf(&t, parsed)
		if first, twice := seen[e.Address]; twice {
			l.diags.Add(diag.Diagnostic{
				Code: "GW3047", Pos: at.Pos, Width: at.Width, Path: path,
				Message: fmt.Sprintf("upstream %q has the server %s twice", o.id, e.Address),
				Notes:   []diag.Note{{Pos: list.Items[first].Get("url").Pos, Message: "the first one is here"}},
				Hint:    "for a larger share give it a weight",
			})
		} else {
			seen[e.Address] = i
		}
		out.Endpoints = append(out.Endpoints, e)
	}
}

// endpointOf is a server; the weight 1 is left out, as it is for the authors who say nothing.
func endpointOf(t *v1.Endpoint, u *url.URL) ir.Endpoint {
	out := ir.Endpoint{Address: hostPort(u)}
	if *t.Weight != 1 {
		out.Weight = *t.Weight
	}
	for _, name := range slices.Sorted(maps.Keys(t.Metadata)) {
		out.Metadata = append(out.Metadata, ir.Pair{Name: name, Value: t.Metadata[name]})
	}
	return out
}

// inline makes the upstream that a route's url stands for. Routes of one owner that name one origin share it.
func (l *lowerer) inline(tenant string, u *url.URL) *ir.Upstream {
	out := upstreamSettings(&v1.Upstream{})
	out.Scheme = strings.ToLower(u.Scheme)
	out.ID = out.Scheme + "://" + hostPort(u)
	if tenant != "" { // another owner, other rules for what may be dialled
		out.ID += "#" + tenant
	}
	out.Tenant, out.PrivateAddresses = tenant, l.mayDialPrivate(tenant)
	out.Endpoints = []ir.Endpoint{{Address: hostPort(u)}}
	return &out
}

// upstreamSettings are the settings of an upstream, defaults filled in. Inline upstreams have the defaults alone: parts that
// are off stay nil, because a bundle may hold many of them.
func upstreamSettings(u *v1.Upstream) ir.Upstream {
	u.ApplyDefaults()
	out := ir.Upstream{
		Scheme:         u.Scheme,
		Host:           u.Host,
		ConnectTimeout: int64(*u.ConnectTimeout),
		IdleTimeout:    int64(*u.IdleTimeout),
		MaxIdle:        *u.MaxIdleConnections,
		MaxConnections: *u.MaxConnections,
		Discovery:      discoveryOf(u.Discovery),
		Balance:        balanceOf(u.LoadBalancing),
	}
	if u.Protocol != "auto" {
		out.Protocol = u.Protocol
	}
	if b := u.Limits; b != nil {
		limits := ir.Bulkhead{Connections: *b.Connections, Pending: *b.Pending, Requests: *b.Requests, Retries: *b.Retries}
		if limits != ir.DefaultBulkhead {
			out.Limits = &limits
		}
	}
	out.TLS = upstreamTLS(u)
	panicPercent := panicPercentOf(u)
	out.Health, out.Outlier = healthOf(u.Health, panicPercent), outlierOf(u.Outlier, panicPercent)
	return out
}

// upstreamTLS is whom an upstream believes. The address that a name stands for is no name to verify, so servers found by
// address records are verified for the name that was looked up.
func upstreamTLS(u *v1.Upstream) *ir.UpstreamTLS {
	t := u.TLS
	found := ""
	if u.Scheme == "https" && u.Discovery != nil && u.Discovery.DNS != nil && u.Discovery.DNS.Type != "SRV" {
		found = strings.TrimSuffix(u.Discovery.DNS.Name, ".")
	}
	if t == nil && found == "" {
		return nil
	}
	if t == nil {
		t = &v1.UpstreamTLS{}
		t.ApplyDefaults()
	}
	return &ir.UpstreamTLS{
		CA: t.CA, Cert: t.Cert, Key: t.Key, SNI: strings.ToLower(cmp.Or(t.SNI, found)), MinVersion: t.MinVersion, SkipVerify: t.SkipVerify,
	}
}

// hashes are the strategies that send equal keys to one server.
var hashes = map[string]bool{ir.BalanceRingHash: true, ir.BalanceMaglev: true}

// boundPercent holds for hashes that say nothing of it.
const boundPercent = 125

// balanceOf is nil for what is the default anyway.
func balanceOf(b *v1.LoadBalancing) *ir.Balance {
	if b == nil || b.Strategy == ir.BalanceLeastConnections && *b.SlowStart == 0 {
		return nil
	}
	out := &ir.Balance{Strategy: b.Strategy, SlowStart: int64(*b.SlowStart)}
	if !hashes[b.Strategy] {
		return out
	}
	for _, p := range b.HashOn {
		out.HashOn = append(out.HashOn, ir.HashPart{Header: strings.ToLower(p.Header), Cookie: p.Cookie, Query: p.Query, IP: p.IP})
	}
	out.BoundPercent = boundPercent
	if b.BoundPercent != nil {
		out.BoundPercent = *b.BoundPercent
	}
	return out
}

// mayDialPrivate: the base may name private addresses, an identity service next door is the normal case; a tenant may
// only if its grant says so.
func (l *lowerer) mayDialPrivate(tenant string) bool {
	return tenant == "" || grant.PrivateAddresses(l.grants[tenant])
}

// address refuses literal addresses that would never be dialled. Names are checked when they are dialled.
func (l *lowerer) address(tenant string, u *url.URL, at *schema.Node, path string) {
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	loopbackName := host == "localhost" || strings.HasSuffix(host, ".localhost")
	refused := func(private bool) bool {
		if loopbackName {
			return !private
		}
		ip, err := netip.ParseAddr(host)
		return err == nil && l.opts.Dial != nil && l.opts.Dial(ip, private) != nil
	}
	switch {
	case refused(true):
		l.diags.Add(diag.Diagnostic{
			Code: "GW3022", Pos: at.Pos, Width: at.Width, Path: path,
			Message: fmt.Sprintf("%s is a link-local, metadata, multicast or reserved address, which the gateway never dials", host),
			Hint:    "name the service by its own address or DNS name; metadata services are out of reach on purpose",
		})
	case !l.mayDialPrivate(tenant) && refused(false):
		l.diags.Add(diag.Diagnostic{
			Code: "GW3023", Pos: at.Pos, Width: at.Width, Path: path,
			Message: fmt.Sprintf("tenant %q may not send requests to %s, which is not a public address", tenant, host),
			Hint:    "only tenants/" + tenant + "/tenant.yaml grants: tenant.allowPrivateAddresses: true",
		})
	}
}

// hostPort is the address to dial: the port is always said.
func hostPort(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)])
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
