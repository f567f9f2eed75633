package compiler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/match"
)

// tenants checks every object a tenant owns or has changed against what tenant.yaml grants it.
func (c *checker) tenants() {
	for _, kind := range objectKinds {
		for _, o := range c.in.objects[kind] {
			if o.tenant == "" {
				continue
			}
			if c.in.grants[o.tenant] == nil {
				c.diags.Add(diag.Diagnostic{
					Code: "GW3012", Pos: o.idPos, Width: len(o.id), Path: o.path + ".id",
					Message: fmt.Sprintf("tenant %q has no tenants/%s/tenant.yaml, so it may own nothing", o.tenant, o.tenant),
					Hint:    "add tenant.yaml with the hosts and path prefixes it may own",
				})
				continue
			}
			c.owned(o.tenant, o, o.node)
		}
	}
	for _, t := range c.in.touched {
		switch {
		case c.in.grants[t.tenant] == nil:
			c.owned(t.tenant, t.before, t.by)
		case t.before.kind != kindRoute:
			c.diags.Add(c.ungranted(t.tenant, t.by.Get("id").Pos, len(t.before.id), t.before.path,
				fmt.Sprintf("tenant %q may not change %s %q of the base", t.tenant, singular[t.before.kind], t.before.id), ""))
		default:
			// Both what it was and what it becomes must lie inside the grant: a tenant can neither take over a route
			// outside it nor move one out of it.
			c.owned(t.tenant, t.before, t.by)
			if t.after != nil {
				c.owned(t.tenant, t.after, t.by)
			}
		}
	}
}

// owned checks one object against a tenant's grant. by is the node whose policy fields the tenant wrote.
func (c *checker) owned(tenant string, o *object, by *schema.Node) {
	grant := c.in.grants[tenant]
	if grant == nil {
		c.diags.Add(c.ungranted(tenant, o.idPos, len(o.id), o.path, fmt.Sprintf("tenant %q has no grant", tenant), ""))
		return
	}
	kinds := by
	if o.kind == kindRoute {
		c.ownedMatcher(tenant, o, grant)
		kinds = by.Get("policy")
	}
	if o.kind == kindUpstream || kinds == nil {
		return
	}
	for _, f := range kinds.Fields {
		if f.Name != "id" && !forwardSettings[f.Name] && !granted(grant, "policyKinds", f.Name) {
			c.diags.Add(c.ungranted(tenant, f.Pos, len(f.Name), join(o.path, f.Name),
				fmt.Sprintf("tenant %q may not use the policy %s", tenant, f.Name), "policyKinds"))
		}
	}
}

func (c *checker) ownedMatcher(tenant string, o *object, grant *schema.Node) {
	m := o.node.Get("matcher")
	host, hostNode := m.Get("host").Text(), m.Get("host")
	if hostNode == nil {
		hostNode = m
	}
	if !slices.ContainsFunc(texts(grant.Get("hosts")), func(g string) bool { return hostWithin(host, g) }) {
		what := fmt.Sprintf("host %q", host)
		if host == "" {
			what = "every host"
		}
		c.diags.Add(c.ungranted(tenant, hostNode.Pos, hostNode.Width, o.path+".matcher.host",
			fmt.Sprintf("route %q takes %s, which tenant %q is not granted", o.id, what, tenant), "hosts"))
	}
	prefixes := texts(grant.Get("pathPrefixes"))
	if grant.Get("pathPrefixes") == nil {
		prefixes = []string{"/"}
	}
	if path := m.Get("path"); path != nil {
		pattern, err := match.ParsePath(path.Str)
		if err != nil {
			return // reported where the matcher is compiled
		}
		if !slices.ContainsFunc(prefixes, func(p string) bool { return pathWithin(pattern.String(), p) }) {
			c.diags.Add(c.ungranted(tenant, path.Pos, path.Width, o.path+".matcher.path",
				fmt.Sprintf("route %q takes path %q, which tenant %q is not granted", o.id, path.Str, tenant), "pathPrefixes"))
		}
	} else if re := m.Get("pathRegex"); re != nil && !slices.Contains(prefixes, "/") {
		c.diags.Add(c.ungranted(tenant, re.Pos, re.Width, o.path+".matcher.pathRegex",
			fmt.Sprintf("tenant %q is granted path prefixes, and a regular expression can't be held to one", tenant), "pathPrefixes"))
	}
}

// ungranted is a refusal with the place of the grant that would have to say otherwise.
func (c *checker) ungranted(tenant string, pos diag.Pos, width int, path, message, field string) diag.Diagnostic {
	d := diag.Diagnostic{Code: "GW3013", Pos: pos, Width: width, Path: path, Message: message}
	grant := c.in.grants[tenant]
	if grant == nil || field == "" {
		return d
	}
	d.Hint = fmt.Sprintf("only tenants/%s/tenant.yaml grants: add it to tenant.%s there", tenant, field)
	if n := grant.Get(field); n != nil {
		d.Notes = []diag.Note{{Pos: n.Pos, Message: fmt.Sprintf("granted are %s", strings.Join(texts(n), ", "))}}
	} else {
		d.Notes = []diag.Note{{Pos: grant.Pos, Message: fmt.Sprintf("tenant.%s is absent: none are granted", field)}}
	}
	return d
}

// granted reports whether a list of a grant holds a name.
func granted(grant *schema.Node, field, name string) bool {
	return slices.Contains(texts(grant.Get(field)), name)
}

// texts are the strings of a list.
func texts(n *schema.Node) []string {
	if n == nil {
		return nil
	}
	out := make([]string, 0, len(n.Items))
	for _, it := range n.Items {
		out = append(out, it.Str)
	}
	return out
}

// hostWithin reports whether every host a matcher's host pattern takes is one that a granted pattern takes.
func hostWithin(host, grant string) bool {
	host, grant = strings.ToLower(host), strings.ToLower(grant)
	if suffix, wild := strings.CutPrefix(grant, "*."); wild {
		return strings.HasSuffix(host, "."+suffix)
	}
	return host != "" && host == grant
}

// pathWithin reports whether every path a canonical pattern takes lies under a granted prefix, by whole literal segments.
func pathWithin(pattern, prefix string) bool {
	prefix, reason := match.NormalizePath(prefix)
	if reason != "" {
		return false
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return true
	}
	rest, ok := strings.CutPrefix(pattern, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
