package compiler

import (
	"maps"
	"net/url"
	"slices"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// lowered is one environment in compiled form, in no particular order.
type lowered struct {
	gateway   ir.Gateway
	upstreams map[string]ir.Upstream
	routes    []ir.Route
	origins   originTable
}

// lowerer carries the tables of one lower run.
type lowerer struct {
	in       *resolved
	memo     *memo
	opts     *Options
	diags    *diag.List
	policies map[string]*object
	named    map[string]*object
	bare     map[*schema.Node]*schema.Node // named policies as a route would write them
	said     map[said]bool                 // of what routes share
	unsaid   int                           // diagnostics that were said of another route
	grants   grant.Set
	private  string            // the tenants that may have private addresses dialled
	touched  map[string]bool   // the routes of the base that tenants have changed, by id
	author   map[string]string // tenant by file, of those that were asked about
	guarded  []guarded         // the routes in out
	out      *lowered
}

// lower runs each kind's own compile function over every object: its checks, its defaults, Spec to Plan.
func lower(in *resolved, m *memo, opts *Options, diags *diag.List) *lowered {
	l := &lowerer{
		in: in, memo: m, opts: opts, diags: diags, policies: in.byID[kindPolicy], named: in.byID[kindUpstream],
		bare: map[*schema.Node]*schema.Node{}, said: map[said]bool{}, out: &lowered{upstreams: map[string]ir.Upstream{}},
		grants: grantsOf(in.grants), touched: map[string]bool{}, author: map[string]string{},
	}
	for i := range in.touched {
		l.touched[in.touched[i].by.id.Str] = true
	}
	for _, t := range slices.Sorted(maps.Keys(in.grants)) {
		if l.mayDialPrivate(t) {
			l.private += t + " "
		}
	}
	routes := len(in.objects[kindRoute])
	l.out.routes, l.guarded = make([]ir.Route, 0, routes), make([]guarded, 0, routes)
	l.out.origins.roots = make([]originRoot, 0, 2*routes+len(in.objects[kindUpstream])+1)
	for _, o := range in.objects[kindUpstream] {
		l.upstream(o)
	}
	l.gateway()
	for _, o := range in.objects[kindRoute] {
		l.route(o)
	}
	if !diags.HasErrors() {
		l.falls()
	}
	return l.out
}

func (l *lowerer) gateway() {
	var g v1.Gateway
	if l.in.gateway != nil {
		v1.Decode(l.in.gateway, "gateway", &g, l.diags)
	}
	l.out.gateway = lowerGateway(&g)
	l.out.gateway.Tenancy = l.tenancy(g.Tenancy)
	if l.in.gateway != nil {
		checkListeners(site{l.in.gateway, "gateway", l.diags}, &g)
		l.admin(site{l.in.gateway.Get("admin"), "gateway.admin", l.diags}, g.Admin)
	}
	l.out.origins.add("gateway", "", l.in.gateway)
	for tenant, n := range l.in.grants {
		for _, f := range n.Fields {
			l.out.origins.add("gateway", "tenancy.grants."+tenant+"."+f.Name, f.Value)
		}
	}
}

func (l *lowerer) route(o *object) {
	from := madeOf{o.id, o.tenant, o.sender, l.private, l.in.gateway.Get("defaults")}
	uses := l.uses(o)
	r, known := l.memo.routes[o.node]
	if !known || r.madeOf != from || !slices.Equal(r.uses, uses) {
		before := l.diags.Len() + l.unsaid
		match := l.memo.matches[o.node.Get("matcher")]
		r = &loweredRoute{madeOf: from, uses: uses, route: ir.Route{ID: o.id, Tenant: o.tenant, Match: *match}}
		l.target(o, r)
		l.policy(o, r)
		r.guards = guardsOf(r)
		if l.diags.Len()+l.unsaid == before {
			l.memo.routes[o.node] = r
		}
	}
	if r.inline != nil {
		l.out.upstreams[r.inline.ID] = *r.inline
	}
	l.out.routes = append(l.out.routes, r.route)
	l.guarded = append(l.guarded, guarded{matched{o.id, o.node.Get("matcher")}, r.guards})
	l.out.origins.add("routes/"+o.id, "", o.node)
	l.out.origins.add("routes/"+o.id, "policy", r.policy)
}

// uses returns the named policies of a route, in their order.
func (l *lowerer) uses(o *object) []*schema.Node {
	var out []*schema.Node
	if use := o.node.Get("use"); use != nil {
		for _, id := range use.Items {
			if p := l.policies[id.Str]; p != nil {
				out = append(out, p.node)
			}
		}
	}
	return out
}

func (l *lowerer) target(o *object, r *loweredRoute) {
	n, path := o.node.Get("target"), o.path+".target"
	i := slices.IndexFunc(l.opts.Targets, func(k policy.TargetKind) bool { return k.Name == n.Get("type").Text() })
	if i < 0 {
		l.diags.Errorf("GW3024", n.Pos, path, "target type %q is not built into this compiler", n.Get("type").Text())
		return
	}
	c := &policy.TargetContext{
		CompileContext: policy.CompileContext{Diags: l.diags, Path: path, Route: o.id},
		Named:          func(id string) bool { return l.named[id] != nil },
		Inline: func(u *url.URL) string {
			l.address(o.sender, u, n.Get("url"), path+".url")
			r.inline = l.inline(o.sender, u)
			return r.inline.ID
		},
	}
	r.route.Target = l.opts.Targets[i].Compile(c, n)
}

// policy lays a route's own policy over the named ones it uses, in their order, over the gateway's defaults, and runs the
// kinds in pipeline order, whatever the order of the file.
func (l *lowerer) policy(o *object, r *loweredRoute) {
	path := o.path + ".policy"
	layers := []*schema.Node{r.defaults}
	for _, n := range r.uses {
		if l.bare[n] == nil {
			l.bare[n] = withoutID(n)
		}
		layers = append(layers, l.bare[n])
	}
	for _, n := range append(layers, o.node.Get("policy")) {
		switch {
		case n == nil:
		case r.policy == nil:
			r.policy = n
		default:
			r.policy = merge(otherForms(l.opts.Kinds, r.policy, n), n, path, l.diags)
		}
	}
	var p v1.RoutePolicy
	if r.policy != nil {
		v1.Decode(r.policy, path, &p, l.diags)
		l.builtIn(r.policy, path)
		for _, kind := range l.opts.Kinds {
			spec := r.policy.At(kind.Name)
			if spec == nil || isOff(spec) {
				continue
			}
			c := l.context(o, r, path+"."+kind.Name, kind.Name)
			if plan, ok := kind.Compile(c, spec); ok {
				r.route.Policies = append(r.route.Policies, ir.Policy{Kind: kind.Name, Plan: plan})
			}
		}
	}
	r.route.Forward = forwardOf(&p)
	if o.tenant != "" || l.touched[o.id] {
		r.route.Wrote = l.wrote(r.policy)
	}
	if r.policy != nil {
		l.checkForward(r.policy, path, &p)
	}
}

// isOff reports whether a policy is switched off, as a higher layer does with that of a lower one.
func isOff(spec *schema.Node) bool {
	enabled := spec.Get("enabled")
	return enabled != nil && enabled.Kind == schema.Bool && !enabled.Bool
}

// context is what the compile function of a kind may ask about a route.
func (l *lowerer) context(o *object, r *loweredRoute, path, field string) *policy.CompileContext {
	return &policy.CompileContext{
		Diags: l.diags, Path: path, Route: o.id, Match: &r.route.Match, Policy: r.policy,
		Address: func(u *url.URL, at string) bool {
			n := r.policy.At(field + "." + at)
			author := load.LayerOf(n.Pos.File).Tenant // a tenant may use what the base says about places that the tenant may not name
			l.address(author, u, n, path+"."+at)
			return l.mayDialPrivate(author)
		},
	}
}

// withoutID is a named policy as a route's policy would be written.
func withoutID(n *schema.Node) *schema.Node {
	out := *n
	out.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f schema.Field) bool { return f.Name == "id" })
	return &out
}
