package compiler

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
	"github.com/suuupra/gateway/schema/v1"
)

// grantsOf compiles what tenants are granted. It travels in the bundle, for gateways to ask again.
func grantsOf(nodes map[string]*schema.Node) grant.Set {
	out := make(grant.Set, len(nodes))
	for tenant, n := range nodes {
		out[tenant] = grantOf(tenant, n)
	}
	return out
}

func grantOf(tenant string, n *schema.Node) *ir.Grant {
	private := n.Get("allowPrivateAddresses")
	g := &ir.Grant{
		Tenant: tenant, PolicyKinds: unordered(texts(n.Get("policyKinds"))), Upstreams: unordered(texts(n.Get("upstreams"))),
		Secrets: unordered(texts(n.Get("secrets"))), PathPrefixes: []string{"/"}, PrivateAddresses: private != nil && private.Bool,
	}
	for _, h := range texts(n.Get("hosts")) {
		g.Hosts = append(g.Hosts, strings.ToLower(h))
	}
	g.Hosts = unordered(g.Hosts)
	if prefixes := n.Get("pathPrefixes"); prefixes != nil {
		g.PathPrefixes = nil
		for _, p := range texts(prefixes) {
			if normal, reason := prefixOf(p); reason == "" { // one that no path can have grants nothing
				g.PathPrefixes = append(g.PathPrefixes, normal)
			}
		}
		g.PathPrefixes = unordered(g.PathPrefixes)
	}
	return g
}

// prefixOf is a prefix by whole segments in its one form, "/" for every path, or the reason why no path can have it.
func prefixOf(s string) (string, match.Reason) {
	normal, reason := match.NormalizePath(s)
	if normal != "/" {
		normal = strings.TrimSuffix(normal, "/")
	}
	return normal, reason
}

// unordered is a list whose order, and how often something is in it, has no meaning.
func unordered(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// tenancy lowers whose request it is, and adds what tenants are granted.
func (l *lowerer) tenancy(t *v1.Tenancy) *ir.Tenancy {
	out := &ir.Tenancy{}
	for _, tenant := range slices.Sorted(maps.Keys(l.grants)) {
		out.Grants = append(out.Grants, *l.grants[tenant])
	}
	if t != nil {
		l.sources(site{l.in.gateway.Get("tenancy"), "gateway.tenancy", l.diags}, t)
		out.Known, out.Open, out.PassUnknown, out.Agree = unordered(t.Known), t.Open, t.Unknown == "none", t.Agree
		for i := range t.From {
			out.From = append(out.From, tenantSourceOf(&t.From[i]))
		}
	}
	if len(out.Grants)+len(out.From) == 0 {
		return nil
	}
	return out
}

func tenantSourceOf(s *v1.TenantSource) ir.TenantSource {
	out := ir.TenantSource{
		Host: strings.ToLower(strings.TrimPrefix(s.Host, "*.")), Header: strings.ToLower(s.Header), Claim: s.Claim, APIKey: s.APIKey,
	}
	if s.PathPrefix != "" {
		out.PathPrefix, _ = prefixOf(s.PathPrefix) // sources has seen whether it can be
	}
	return out
}

// sources judges where tenants are looked for.
func (l *lowerer) sources(s site, t *v1.Tenancy) {
	seen := map[ir.TenantSource]int{}
	list := s.node.Get("from")
	for i := range t.From {
		one := site{list.Items[i], fmt.Sprintf("%s.from[%d]", s.path, i), s.diags}
		src := &t.From[i]
		if _, reason := prefixOf(src.PathPrefix); src.PathPrefix != "" && reason != "" {
			one.report(diag.Error, "GW3040", "pathPrefix", "write a prefix that the path of a request can have", nil,
				fmt.Sprintf("no path begins with %q: requests with such a path are answered 400 (%s)", src.PathPrefix, reason))
		}
		if src.Header != "" {
			one.tenantHeader(src.Header, l.in.gateway.Get("trustedProxies"))
		}
		compiled := tenantSourceOf(src)
		if first, twice := seen[compiled]; twice {
			one.report(diag.Warning, "GW3041", "", "drop it", nil, fmt.Sprintf("from[%d] looks in the same place", first))
		}
		seen[compiled] = i
	}
}

// tenantHeader judges a field in which a proxy names the tenant.
func (s site) tenantHeader(name string, trusted *schema.Node) {
	switch {
	case headerfield.OfConnection(name) || headerfield.Among(name, occupied):
		s.report(diag.Error, "GW3040", "header", "give the tenant a field of its own, such as X-Tenant", nil,
			fmt.Sprintf("header is %s, which has a meaning of its own, and would be taken off requests", name))
	case trusted == nil || len(trusted.Items) == 0:
		s.needs("header", "name the proxies in gateway.trustedProxies, or take the tenant from a claim",
			"header %s is believed if a trusted proxy sends it, but gateway.trustedProxies names none", name)
	}
}

// occupied are fields without which requests would not be what they are, folded.
var occupied = []string{
	"accept", "authorization", "content-encoding", "content-type", "cookie", "forwarded", "host", "origin", "range", "referer", "user-agent",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id",
}

// wrote finds out what tenants have a part in of the effective policy of a route, by the files that hold it.
func (l *lowerer) wrote(policy *schema.Node) []ir.Wrote {
	if policy == nil {
		return nil
	}
	by := map[string]*ir.Wrote{}
	for i := range policy.Fields {
		f := &policy.Fields[i]
		if ungoverned[f.Name] {
			continue
		}
		l.authors(f.Value, f.Name, func(tenant, secret string) {
			w := by[tenant]
			if w == nil {
				w = &ir.Wrote{Tenant: tenant}
				by[tenant] = w
			}
			w.Kinds = append(w.Kinds, f.Name)
			if secret != "" {
				w.Secrets = append(w.Secrets, secret)
			}
		})
	}
	var out []ir.Wrote
	for _, tenant := range slices.Sorted(maps.Keys(by)) {
		w := by[tenant]
		w.Kinds, w.Secrets = unordered(w.Kinds), unordered(w.Secrets)
		out = append(out, *w)
	}
	return out
}

// authors tells the tenants that have written a node or something in it, and the references to secrets that they gave.
func (l *lowerer) authors(n *schema.Node, field string, tell func(tenant, secret string)) {
	tenant, known := l.author[n.Pos.File]
	if !known {
		tenant = load.LayerOf(n.Pos.File).Tenant
		l.author[n.Pos.File] = tenant
	}
	if tenant != "" {
		secret := ""
		if field == "secretRef" && n.Kind == schema.String {
			secret = n.Str
		}
		tell(tenant, secret)
	}
	for i := range n.Fields {
		l.authors(n.Fields[i].Value, n.Fields[i].Name, tell)
	}
	for _, item := range n.Items {
		l.authors(item, field, tell)
	}
}

// granted asks what every gateway asks before it activates a bundle. What people have written was checked where they wrote it, so that
// anything found here is a mistake of the compiler's; but it must not become one of every gateway.
func granted(p *ir.Program, diags *diag.List) {
	if err := grant.Program(p); err != nil {
		diags.Add(diag.Diagnostic{
			Code: "GW3013", Pos: diag.Pos{File: "tenants"}, Message: err.Error() + ", and no gateway would activate it",
			Hint: "this should have been said of a line in a file: please report it as a defect of the compiler",
		})
	}
}
