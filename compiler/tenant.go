package compiler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// tenants checks every object a tenant owns or has changed against what tenant.yaml grants it.
func (c *checker) tenants() {
	for _, kind := range objectKinds {
		for _, o := range c.in.objects[kind] {
			if o.tenant == "" {
				continue
			}
			if c.grants[o.tenant] == nil {
				c.diags.Add(diag.Diagnostic{
					Code: "GW3012", Pos: o.idPos, Width: len(o.id), Path: o.path + ".id",
					Message: fmt.Sprintf("tenant %q has no tenants/%s/tenant.yaml, so it may own nothing", o.tenant, o.tenant),
					Hint:    "add tenant.yaml with the hosts and path prefixes it may own",
				})
				continue
			}
			c.owned(o)
		}
	}
	for _, t := range c.in.touched {
		c.touched(&t)
	}
}

// touched checks what a tenant has changed in an object of the base. Everything is reported at the patch: that is what
// has to be mended.
func (c *checker) touched(t *touch) {
	id, kind := t.by.id, t.before.kind
	refuse := func(field, format string, args ...any) {
		c.diags.Add(c.ungranted(t.tenant, id.Pos, id.Width, t.by.path+".id", fmt.Sprintf(format, args...), field))
	}
	granted := c.grants[t.tenant]
	switch {
	case granted == nil:
		refuse("", "tenant %q has no grant, so it may not change %s %q of the base", t.tenant, singular[kind], id.Str)
		return
	case kind != kindRoute:
		refuse("", "tenant %q may not change %s %q of the base", t.tenant, singular[kind], id.Str)
		return
	}
	// What it was, what it becomes, and where later layers take it must lie inside the grant: a tenant can neither take over
	// a route outside it nor move one out of it, nor set what an environment puts in front of other hosts.
	states := []*object{t.before, t.after}
	if t.after != nil {
		states = append(states, c.ids[kind][id.Str])
	}
	for _, o := range states {
		if o == nil {
			continue
		}
		if beyond := outside(o, granted); len(beyond) > 0 {
			refuse(beyond[0].Field, "tenant %q may not change route %q: it takes %s, which the tenant is not granted", t.tenant, id.Str, beyond[0].What)
			return
		}
	}
	if mark := t.by.node.Field(deleteMark); mark != nil { // what protected the path goes with it
		c.ownedPolicies(t.tenant, t.before.node.Get("policy"), mark, t.by.path+".policy")
		c.touchedUse(t, mark)
	}
	if p := t.by.node.Field("policy"); p != nil {
		wrote := p.Value
		if wrote.Kind != schema.Map { // null: it removes what was there
			wrote = t.before.node.Get("policy")
		}
		c.ownedPolicies(t.tenant, wrote, p, t.by.path+".policy")
	}
	if use := t.by.node.Field("use"); use != nil {
		c.touchedUse(t, use)
	}
}

// touchedUse checks the kinds of the policies that a tenant takes off a route of the base, or puts on it. Deleting the
// route takes them off, too.
func (c *checker) touchedUse(t *touch, use *schema.Field) {
	names := texts(t.before.node.Get("use"))
	if t.after != nil {
		names = append(names, texts(t.after.node.Get("use"))...)
	}
	slices.Sort(names)
	for _, id := range slices.Compact(names) {
		p := c.ids[kindPolicy][id]
		if p == nil {
			continue // a dangling reference, reported as such
		}
		for _, f := range p.node.Fields {
			if !ungoverned[f.Name] && !grant.Kind(c.grants[t.tenant], f.Name) {
				c.diags.Add(c.ungranted(t.tenant, use.Pos, len(use.Name), t.by.path+".use",
					fmt.Sprintf("tenant %q may not say which policies route %q uses: %q holds the policy %s", t.tenant, t.before.id, id, f.Name), "policyKinds"))
			}
		}
	}
}

// owned checks one object of a tenant against its grant.
func (c *checker) owned(o *object) {
	switch o.kind {
	case kindRoute:
		c.ownedMatcher(o)
		c.ownedPolicies(o.tenant, o.node.Get("policy"), nil, o.path+".policy")
	case kindPolicy:
		c.ownedPolicies(o.tenant, o.node, nil, o.path)
	case kindUpstream:
		c.secrets(o)
	}
}

// policySecrets checks the references to secrets in what a tenant wrote of a policy: with the gateway's own secrets it could make
// itself tokens that others believe.
func (c *checker) policySecrets(tenant string, n *schema.Node, path string) {
	for i := range n.Items {
		c.policySecrets(tenant, n.Items[i], fmt.Sprintf("%s[%d]", path, i))
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.Name == "secretRef" && f.Value.Kind == schema.String {
			c.secret(tenant, f.Value, join(path, f.Name))
			continue
		}
		c.policySecrets(tenant, f.Value, join(path, f.Name))
	}
}

// ownedPolicies checks the kinds of policy in a node. They are reported at their fields, or all at one that removes them.
func (c *checker) ownedPolicies(tenant string, n *schema.Node, at *schema.Field, path string) {
	if n == nil {
		return
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		if at == nil || at.Value == n {
			c.policySecrets(tenant, f.Value, join(path, f.Name))
		}
		if ungoverned[f.Name] || grant.Kind(c.grants[tenant], f.Name) {
			continue
		}
		where, verb := f, "use"
		if f.Value.Kind == schema.Null {
			verb = "remove"
		}
		if at != nil && at.Value != n {
			where, verb = at, "remove"
		}
		c.diags.Add(c.ungranted(tenant, where.Pos, len(where.Name), join(path, f.Name),
			fmt.Sprintf("tenant %q may not %s the policy %s", tenant, verb, f.Name), "policyKinds"))
	}
}

// outside lists what a route takes beyond a grant. A path that does not parse is reported where it is compiled.
func outside(o *object, granted *ir.Grant) []grant.Excess {
	m := o.node.Get("matcher")
	compiled := ir.Match{Host: m.Get("host").Text(), PathRegex: m.Get("pathRegex").Text()}
	pattern, err := match.ParsePath(m.Get("path").Text())
	if err == nil {
		compiled.Path = pattern.String()
	}
	return slices.DeleteFunc(grant.Matcher(granted, &compiled), func(e grant.Excess) bool {
		return e.Field == grant.PathPrefixes && err != nil && compiled.PathRegex == ""
	})
}

func (c *checker) ownedMatcher(o *object) {
	m := o.node.Get("matcher")
	for _, e := range outside(o, c.grants[o.tenant]) {
		at := m
		for _, field := range map[string][]string{grant.Hosts: {"host"}, grant.PathPrefixes: {"path", "pathRegex"}}[e.Field] {
			if n := m.Get(field); n != nil {
				at = n
				break
			}
		}
		c.diags.Add(c.ungranted(o.tenant, at.Pos, at.Width, o.path+".matcher",
			fmt.Sprintf("route %q takes %s, which tenant %q is not granted", o.id, e.What, o.tenant), e.Field))
	}
}

// ungranted is a refusal with the place of the grant that would have to say otherwise.
func (c *checker) ungranted(tenant string, pos diag.Pos, width int, path, message, field string) diag.Diagnostic {
	d := diag.Diagnostic{Code: "GW3013", Pos: pos, Width: width, Path: path, Message: message}
	written := c.in.grants[tenant]
	if written == nil || field == "" {
		return d
	}
	d.Hint = fmt.Sprintf("only tenants/%s/tenant.yaml grants: add it to tenant.%s there", tenant, field)
	if n := written.Get(field); n != nil {
		d.Notes = []diag.Note{{Pos: n.Pos, Message: fmt.Sprintf("granted are %s", strings.Join(texts(n), ", "))}}
	} else {
		d.Notes = []diag.Note{{Pos: written.Pos, Message: fmt.Sprintf("tenant.%s is absent: none are granted", field)}}
	}
	return d
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
