package diff

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// upstreamRisks looks at a named upstream; old is nil if it is new.
func (d *differ) upstreamRisks(old, new *ir.Upstream, obj *Object) {
	d.external(obj, []string{sourceOf(new)}, old, new)
	if old == nil {
		d.tlsRisks(obj, nil, nil, new)
		if new.PrivateAddresses && new.Tenant != "" {
			d.risk(PrivateAddressesAllowed, obj, []string{"privateAddresses"}, "an upstream of tenant %s may dial private addresses", Show(new.Tenant))
		}
		return
	}
	d.sameUpstream(obj, nil, []string{sourceOf(new)}, old, new)
}

// sourceOf is the field that says which servers an upstream has.
func sourceOf(u *ir.Upstream) string {
	if u.Discovery != nil {
		return "discovery"
	}
	return "targets"
}

// sameUpstream compares the settings of two upstreams that stand in the same place.
func (d *differ) sameUpstream(obj *Object, below, targets []string, old, new *ir.Upstream) {
	if old.Scheme == "https" && new.Scheme == "http" {
		d.risk(TLSDowngrade, obj, targets, "requests go upstream unencrypted, by http instead of https")
	}
	if new.PrivateAddresses && !old.PrivateAddresses {
		d.risk(PrivateAddressesAllowed, obj, append(slices.Clip(below), "privateAddresses"), "private and loopback addresses may be dialled")
	}
	d.tlsRisks(obj, below, old, new)
	d.resilienceRisks(obj, below, old, new)
	d.loosened(obj, limit{keys: append(slices.Clip(below), "connectTimeout"), what: "the time to connect", old: old.ConnectTimeout, new: new.ConnectTimeout})
	d.loosened(obj, limit{keys: append(slices.Clip(below), "maxConnections"), what: "the number of connections", old: old.MaxConnections, new: new.MaxConnections})
}

// external notes public hosts of an upstream that the old program did not know, or that stand where only private ones
// stood.
func (d *differ) external(obj *Object, keys []string, old, new *ir.Upstream) {
	var here []string
	moved := old != nil
	if old != nil {
		here = publicHosts(old)
		moved = len(here) == 0
	}
	var out []string
	known := d.knownHosts()
	for _, h := range publicHosts(new) {
		if !slices.Contains(here, h) && (moved || !known[h]) {
			out = append(out, h)
		}
	}
	if len(out) == 0 {
		return
	}
	for _, h := range out { // a host is new once
		known[h] = true
	}
	if moved {
		d.risk(TargetExternal, obj, keys, "requests that stayed inside go to the public host %s", someOf(out))
		return
	}
	d.risk(TargetExternal, obj, keys, "requests go to %s, a public host that was not used before", someOf(out))
}

// targetRisks looks at where a route sends its requests.
func (d *differ) targetRisks(x delta) {
	keys := []string{"target", "upstream"}
	if inline(x.new.Target.Upstream) {
		keys = []string{"target", "url"}
	}
	now := d.b.upstream(x.new.Target.Upstream)
	var was *ir.Upstream
	if x.old != nil {
		was = d.a.upstream(x.old.Target.Upstream)
		d.planURLs(x)
	}
	if now == nil {
		return
	}
	switch {
	case was == nil:
		if inline(now.ID) {
			d.external(x.obj, keys, nil, now)
		}
	case was.ID == now.ID && !inline(now.ID), d.a.renamed[was.ID] == now.ID:
		// What changed about a named upstream is said there.
	case inline(was.ID) && inline(now.ID):
		d.external(x.obj, keys, was, now)
		d.sameUpstream(x.obj, []string{"target"}, keys, was, now)
	default:
		if inline(now.ID) || len(publicHosts(was)) == 0 {
			d.external(x.obj, keys, was, now)
		}
		if was.Scheme == "https" && now.Scheme == "http" {
			d.risk(TLSDowngrade, x.obj, keys, "requests go upstream unencrypted, by http instead of https")
		}
		if now.PrivateAddresses && !was.PrivateAddresses {
			d.risk(PrivateAddressesAllowed, x.obj, keys, "private and loopback addresses may be dialled")
		}
		if skipsVerify(now) && was.Scheme == "https" && !skipsVerify(was) {
			d.risk(TLSWeakened, x.obj, keys, "requests go where certificates of the servers are not verified")
		}
	}
}

func skipsVerify(u *ir.Upstream) bool { return u.TLS != nil && u.TLS.SkipVerify }

// planURLs looks at the urls in what a kind of target says for itself, such as the endpoint of a provider.
func (d *differ) planURLs(x delta) {
	if string(x.old.Target.Plan) == string(x.new.Target.Plan) {
		return
	}
	for i := range x.obj.Changes {
		c := &x.obj.Changes[i]
		was, _ := c.Old.(string)
		now, isURL := c.New.(string)
		if len(c.keys) < 2 || c.keys[0] != "target" || c.keys[1] == "url" || c.keys[1] == "upstream" || !isURL {
			continue
		}
		if h := hostOfURL(now); h != "" && h != hostOfURL(was) && public(h) {
			d.risk(TargetExternal, x.obj, c.keys, "requests go to the public host %s", Show(h))
		}
	}
}

// knownHosts are the public hosts the old program sends requests to.
func (d *differ) knownHosts() map[string]bool {
	if d.known == nil {
		d.known = map[string]bool{}
		for _, table := range []map[string]*ir.Upstream{d.a.named, d.a.inline} {
			for _, u := range table {
				for _, h := range publicHosts(u) {
					d.known[h] = true
				}
			}
		}
	}
	return d.known
}

// publicHosts are the public hosts among the servers of an upstream; those that discovery finds are not known here, but the
// name that is looked up is, and so is the agent that is asked.
func publicHosts(u *ir.Upstream) []string {
	var out []string
	add := func(h string) {
		if h = strings.ToLower(h); public(h) && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	for _, e := range u.Endpoints {
		h := e.Address
		if host, _, err := net.SplitHostPort(e.Address); err == nil {
			h = host
		}
		add(h)
	}
	if u.Discovery != nil && u.Discovery.DNS != nil {
		add(u.Discovery.DNS.Name)
	}
	if u.Discovery != nil && u.Discovery.Consul != nil {
		if h := hostOfURL(u.Discovery.Consul.Address); h != "" {
			add(h)
		}
	}
	slices.Sort(out)
	return out
}

// insideSuffixes end the names that no public resolver answers (RFC 6761, 6762, 8375, 9476, and ICANN's reservation of
// .internal), and those that clusters and offices use by custom.
var insideSuffixes = []string{
	".localhost", ".local", ".internal", ".home.arpa", ".test", ".invalid", ".svc", ".consul", ".lan", ".intranet",
	".corp", ".home", ".private", ".localdomain", ".alt",
}

// insideBlocks are addresses which are not private in the sense of netip and are not routed either: shared address space
// (RFC 6598) and the unspecified address.
var insideBlocks = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8")}

// public reports whether a host may be on the public internet. A name of one label is resolved by the cluster's search
// path; any other name that is not known to stay inside is taken for public.
func public(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		inside := a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() ||
			slices.ContainsFunc(insideBlocks, func(p netip.Prefix) bool { return p.Contains(a) })
		return !inside
	}
	if !strings.Contains(host, ".") {
		return false
	}
	return !slices.ContainsFunc(insideSuffixes, func(s string) bool { return strings.HasSuffix(host, s) })
}

// hostOfURL is the host of an absolute http or https url, in lower case, or "".
func hostOfURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// downgraded reports whether a url lost its encryption.
func downgraded(old, new string) bool {
	return strings.HasPrefix(strings.ToLower(old), "https://") && strings.HasPrefix(strings.ToLower(new), "http://")
}
