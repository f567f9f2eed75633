package compiler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// The kinds of object that layers patch by id, in the order in which they are reported.
const (
	kindRoute    = "routes"
	kindUpstream = "upstreams"
	kindPolicy   = "policies"
)

var objectKinds = []string{kindRoute, kindUpstream, kindPolicy}

// singular names one object of a kind in a message.
var singular = map[string]string{kindRoute: "route", kindUpstream: "upstream", kindPolicy: "policy"}

// object is one route, upstream or policy with every layer applied.
type object struct {
	kind   string
	id     string
	path   string // as the author spells it where the object was first defined, e.g. routes[3]
	idPos  diag.Pos
	tenant string // the tenant that added it, empty for the base and its environments
	patch  bool   // added by an overlay: a misspelt id of a patch looks just like this
	// sender is the tenant that said last where a route's requests go, empty for the base: its rules hold for what may be
	// reached. A tenant's own route stays under its tenant's rules whoever patches it.
	sender string
	node   *schema.Node
}

// touch records that a tenant's layer patched an object it does not own: allowed only inside its grant.
type touch struct {
	tenant        string
	by            entry   // the patch
	before, after *object // after is nil if the patch deletes
}

// resolved is one environment with every overlay applied.
type resolved struct {
	environment string
	gateway     *schema.Node                  // nil if no file has one
	byID        map[string]map[string]*object // by kind and id
	objects     map[string][]*object          // by kind, sorted by id
	grants      map[string]*schema.Node       // by tenant
	touched     []touch
}

// entry is one object as it stands in one file.
type entry struct {
	kind string
	file *schema.File
	path string
	node *schema.Node
	id   *schema.Node
}

// name identifies an object.
type name struct{ kind, id string }

// resolve applies the layers of one environment in their fixed order: base, tenants, environment, environment x tenant, overlays.
// An empty environment resolves the base and its tenants alone, which all environments share.
func resolve(cfg *schema.Config, environment string, kinds []policy.Kind, m *memo, diags *diag.List) *resolved {
	if m.base == nil {
		m.base = newResolver(cfg, kinds, &m.said)
		m.base.step([]string{""}, "")
		m.base.step(m.base.tenants, "")
	}
	diags.Merge(m.said)
	r := m.base
	if environment != "" {
		r = r.fork(environment, diags)
		r.step([]string{""}, environment)
		r.step(r.tenants, environment)
		clear(r.patches)
		r.apply(schema.Layer{Environment: environment, Overlay: true})
	}
	r.out.objects = map[string][]*object{}
	for _, k := range objectKinds {
		r.out.objects[k] = slices.SortedFunc(maps.Values(r.out.byID[k]), func(a, b *object) int { return cmp.Compare(a.id, b.id) })
	}
	return r.out
}

func newResolver(cfg *schema.Config, kinds []policy.Kind, diags *diag.List) *resolver {
	r := &resolver{
		kinds:   kinds,
		layers:  map[schema.Layer][]*schema.File{},
		out:     &resolved{grants: map[string]*schema.Node{}, byID: map[string]map[string]*object{}},
		sources: map[string]diag.Pos{},
		patches: map[name]*claim{},
		diags:   diags,
	}
	for _, k := range objectKinds {
		r.out.byID[k] = map[string]*object{}
	}
	for i := range cfg.Files {
		f := &cfg.Files[i]
		r.layers[f.Layer] = append(r.layers[f.Layer], f)
		if f.Layer.Tenant != "" {
			r.tenants = append(r.tenants, f.Layer.Tenant)
		}
	}
	slices.Sort(r.tenants)
	r.tenants = slices.Compact(r.tenants)
	return r
}

// fork returns a resolver that goes on from here for one environment.
func (r *resolver) fork(environment string, diags *diag.List) *resolver {
	out := *r
	res := *r.out
	res.environment, res.touched = environment, slices.Clone(res.touched)
	res.grants, out.sources = maps.Clone(res.grants), maps.Clone(r.sources)
	res.byID = map[string]map[string]*object{}
	for k, objects := range r.out.byID {
		res.byID[k] = maps.Clone(objects)
	}
	out.out, out.patches, out.diags = &res, map[name]*claim{}, diags
	return &out
}

// step applies the layers that have no order among themselves.
func (r *resolver) step(tenants []string, environment string) {
	clear(r.patches)
	for _, t := range tenants {
		r.apply(schema.Layer{Environment: environment, Tenant: t})
	}
}

// resolver carries the tables of one resolve run.
type resolver struct {
	kinds   []policy.Kind
	layers  map[schema.Layer][]*schema.File
	tenants []string // sorted
	out     *resolved
	sources map[string]diag.Pos // layer -> where its gateway key stands
	patches map[name]*claim     // what the layers of one step have patched: tenants have no order among themselves
	guess   guesser
	diags   *diag.List
}

func (r *resolver) apply(layer schema.Layer) {
	var groups []group
	index := map[name]int{}
	for _, f := range r.layers[layer] {
		if f.Root == nil {
			continue
		}
		r.gateway(f)
		r.grant(f)
		for _, kind := range objectKinds {
			list := f.Root.Get(kind)
			if list == nil || list.Kind != schema.List {
				continue
			}
			for j, n := range list.Items {
				id := n.Get("id")
				if id == nil || id.Kind != schema.String || id.Str == "" {
					continue // the file's own check has said so
				}
				key := name{kind, id.Str}
				e := entry{kind: kind, file: f, path: kind + "[" + strconv.Itoa(j) + "]", node: n, id: id}
				if i, ok := index[key]; ok {
					groups[i].rest = append(groups[i].rest, e)
					continue
				}
				index[key] = len(groups)
				groups = append(groups, group{key: key, first: e})
			}
		}
	}
	for i := range groups {
		r.object(layer, &groups[i])
	}
}

// group is what the files of one layer say about one id, in the order of the files.
type group struct {
	key   name
	first entry
	rest  []entry // most often none
}

// object applies one group.
func (r *resolver) object(layer schema.Layer, g *group) {
	below := r.out.byID[g.key.kind][g.key.id]
	claims := r.patches[g.key]
	if claims == nil && below != nil {
		claims = &claim{}
		r.patches[g.key] = claims
	}
	apply := func(e entry) {
		if claims != nil && r.clash(claims, layer, &e) {
			return // what it would hit is not there, or must not be: one mistake, one error
		}
		r.entry(layer, e)
	}
	apply(g.first)
	last := g.first.file
	for _, e := range g.rest {
		// Within one file, and wherever nothing lies below, a repeated id can't be a patch.
		if below == nil || last == e.file {
			r.diags.Add(diag.Diagnostic{
				Code: "GW3001", Pos: e.id.Pos, Width: e.id.Width, Path: e.path + ".id",
				Message: fmt.Sprintf("%s id %q is used twice", singular[g.key.kind], g.key.id),
				Notes:   []diag.Note{{Pos: g.first.id.Pos, Message: "first used here"}},
				Hint:    "give one of them another id",
			})
			continue
		}
		last = e.file
		apply(e)
	}
}

// clash reports the fields of a patch that another patch of the same step sets too, and remembers those of this one. It
// returns true if the object was deleted by one of them.
func (r *resolver) clash(claims *claim, layer schema.Layer, e *entry) (deleted bool) {
	claims.add(e.node, e.path, layer.Tenant, func(c clash) {
		d := diag.Diagnostic{
			Code: "GW3002", Pos: c.second.Pos, Width: utf8.RuneCountInString(c.second.Name), Path: c.path,
			Message: fmt.Sprintf("two files of the same layer set %s of %s %q", c.second.Name, singular[e.kind], e.id.Str),
			Notes:   []diag.Note{{Pos: c.first.Pos, Message: "also set here"}},
			Hint:    "keep one of them: the order of files never decides",
		}
		if c.tenant != layer.Tenant {
			d.Message = fmt.Sprintf("tenants %q and %q both set %s of %s %q", c.tenant, layer.Tenant, c.second.Name, singular[e.kind], e.id.Str)
			d.Hint = "keep one of them: the names of tenants never decide"
		}
		deleted = deleted || c.first.Name == deleteMark || c.second.Name == deleteMark
		if (c.first.Name == deleteMark) != (c.second.Name == deleteMark) {
			d.Message = fmt.Sprintf("%s %q is both deleted and changed in the same layer", singular[e.kind], e.id.Str)
			d.Notes[0].Message = "the other one"
		}
		r.diags.Add(d)
	})
	return deleted
}

// entry applies one object of one file: it adds, patches or deletes.
func (r *resolver) entry(layer schema.Layer, e entry) {
	kind, id := e.kind, e.id.Str
	below := r.out.byID[kind][id]
	if mark := e.node.Field(deleteMark); mark != nil {
		if r.deletes(layer, e, mark, below) {
			r.touch(layer, e, below, nil)
			delete(r.out.byID[kind], id)
		}
		return
	}
	if below == nil {
		r.out.byID[kind][id] = &object{
			kind: kind, id: id, path: e.path, idPos: e.id.Pos, tenant: layer.Tenant, sender: layer.Tenant,
			patch: layer != schema.Layer{}, node: e.node,
		}
		return
	}
	if layer.Tenant != "" && below.tenant != "" && below.tenant != layer.Tenant {
		r.diags.Add(diag.Diagnostic{
			Code: "GW3006", Pos: e.id.Pos, Width: e.id.Width, Path: e.path + ".id",
			Message: fmt.Sprintf("%s %q belongs to tenant %q, not to %q", singular[kind], id, below.tenant, layer.Tenant),
			Notes:   []diag.Note{{Pos: below.idPos, Message: "defined here"}},
			Hint:    "ids are shared by all tenants: prefix yours with the tenant's name",
		})
		return
	}
	next := *below
	var at []string // the policies in the object
	if kind == kindRoute {
		at = []string{"policy"}
	}
	base := below.node
	if kind != kindUpstream {
		base = underneath(r.kinds, below.node, e.node, at...)
	}
	next.node = merge(base, withoutID(e.node), e.path, r.diags) // the id finds the object, it sets nothing
	if below.tenant == "" && sends(e.node) {
		next.sender = layer.Tenant
	}
	r.touch(layer, e, below, &next)
	r.out.byID[kind][id] = &next
}

// sends reports whether a patch says where a route's requests go.
func sends(patch *schema.Node) bool {
	target := patch.Get("target")
	return target.Get("url") != nil || target.Get("upstream") != nil
}

// deletes checks a deletion; false means it has no effect.
func (r *resolver) deletes(layer schema.Layer, e entry, mark *schema.Field, below *object) bool {
	kind := e.kind
	bad := func(code diag.Code, pos diag.Pos, msg, hint string) bool {
		d := diag.Diagnostic{Code: code, Pos: pos, Width: len(deleteMark), Path: e.path + "." + deleteMark, Message: msg, Hint: hint}
		if pos == e.id.Pos {
			d.Width, d.Path = e.id.Width, e.path+".id"
		}
		r.diags.Add(d)
		return false
	}
	switch {
	case mark.Value.Kind != schema.Bool || !mark.Value.Bool:
		return bad("GW3003", mark.Pos, fmt.Sprintf("$delete is %s, the only allowed value is true", mark.Value.Describe()), "drop the line to keep the object")
	case layer == schema.Layer{}:
		return bad("GW3003", mark.Pos, "$delete stands in the base, where there is nothing below to delete", "remove the object itself")
	case len(e.node.Fields) > 2:
		return bad("GW3003", mark.Pos, fmt.Sprintf("$delete removes %s %q, so no other field may stand beside it", singular[kind], e.id.Str), "keep only id and $delete")
	case below == nil:
		hint := "check the id"
		if s := r.guess.suggest(e.id.Str, r.out.byID[kind]); s != "" {
			hint = fmt.Sprintf("did you mean %q", s)
		}
		return bad("GW3004", e.id.Pos, fmt.Sprintf("$delete names %s %q, which no lower layer has", singular[kind], e.id.Str), hint)
	case layer.Tenant != "" && below.tenant != "" && below.tenant != layer.Tenant:
		return bad("GW3006", e.id.Pos, fmt.Sprintf("%s %q belongs to tenant %q, not to %q", singular[kind], e.id.Str, below.tenant, layer.Tenant), "a tenant may only change its own objects")
	}
	return true
}

// touch remembers a tenant's change to an object of the base, for the check against its grant.
func (r *resolver) touch(layer schema.Layer, patch entry, before, after *object) {
	if layer.Tenant != "" && before.tenant != layer.Tenant {
		r.out.touched = append(r.out.touched, touch{tenant: layer.Tenant, by: patch, before: before, after: after})
	}
}

func (r *resolver) gateway(f *schema.File) {
	g := f.Root.Field("gateway")
	if g == nil || g.Value.Kind != schema.Map {
		return
	}
	if f.Layer.Tenant != "" {
		r.diags.Add(diag.Diagnostic{
			Code: "GW3006", Pos: g.Pos, Width: len("gateway"), Path: "gateway",
			Message: fmt.Sprintf("tenant %q may not change the gateway's own settings", f.Layer.Tenant),
			Hint:    "move this to gateway.yaml or to environments/<env>/",
		})
		return
	}
	key := f.Layer.Environment
	if first, ok := r.sources[key]; ok {
		r.diags.Add(diag.Diagnostic{
			Code: "GW3005", Pos: g.Pos, Width: len("gateway"), Path: "gateway",
			Message: "gateway is set twice in the same layer",
			Notes:   []diag.Note{{Pos: first, Message: "first set here"}},
			Hint:    "keep it in one file",
		})
		return
	}
	r.sources[key] = g.Pos
	r.out.gateway = merge(underneath(r.kinds, r.out.gateway, g.Value, "defaults"), g.Value, "gateway", r.diags)
}

func (r *resolver) grant(f *schema.File) {
	t := f.Root.Field("tenant")
	if t == nil || t.Value.Kind != schema.Map {
		return
	}
	if f.Layer.Tenant == "" || f.Layer.Environment != "" || f.Path != "tenants/"+f.Layer.Tenant+"/tenant"+ext(f.Path) {
		r.diags.Add(diag.Diagnostic{
			Code: "GW3006", Pos: t.Pos, Width: len("tenant"), Path: "tenant",
			Message: "tenant grants stand outside tenants/<tenant>/tenant.yaml",
			Hint:    "what a tenant may own is said in one place: tenants/<tenant>/tenant.yaml",
		})
		return
	}
	if first := r.out.grants[f.Layer.Tenant]; first != nil {
		r.diags.Add(diag.Diagnostic{
			Code: "GW3002", Pos: t.Pos, Width: len("tenant"), Path: "tenant",
			Message: fmt.Sprintf("two files say what tenant %q may own", f.Layer.Tenant),
			Notes:   []diag.Note{{Pos: first.Pos, Message: "also said here"}},
			Hint:    "keep one of them: the order of files never decides",
		})
		return
	}
	r.out.grants[f.Layer.Tenant] = t.Value
}

// ext is the extension of a slash path, with its dot.
func ext(path string) string {
	for i := len(path) - 1; i >= 0 && path[i] != '/'; i-- {
		if path[i] == '.' {
			return path[i:]
		}
	}
	return ""
}
