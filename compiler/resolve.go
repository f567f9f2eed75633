package compiler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

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
	node   *schema.Node
}

// touch records that a tenant's layer patched an object it does not own: allowed only inside its grant.
type touch struct {
	tenant        string
	by            *schema.Node // the patch
	before, after *object
}

// resolved is one environment with every overlay applied.
type resolved struct {
	environment string
	gateway     *schema.Node // nil if no file has one
	objects     map[string][]*object
	grants      map[string]*schema.Node // by tenant
	touched     []touch
}

// entry is one object as it stands in one file.
type entry struct {
	file *schema.File
	path string
	node *schema.Node
	id   *schema.Node
}

// resolve applies the layers of one environment in their fixed order: base, tenants, environment, environment x tenant.
// An empty environment resolves the base and its tenants alone.
func resolve(cfg *schema.Config, environment string, diags *diag.List) *resolved {
	r := &resolver{
		out:     &resolved{environment: environment, grants: map[string]*schema.Node{}},
		byID:    map[string]map[string]*object{},
		sources: map[string]diag.Pos{},
		diags:   diags,
	}
	for _, k := range objectKinds {
		r.byID[k] = map[string]*object{}
	}
	var tenants []string
	for i := range cfg.Files {
		if t := cfg.Files[i].Layer.Tenant; t != "" {
			tenants = append(tenants, t)
		}
	}
	slices.Sort(tenants)
	tenants = slices.Compact(tenants)

	r.apply(cfg, schema.Layer{})
	for _, t := range tenants {
		r.apply(cfg, schema.Layer{Tenant: t})
	}
	if environment != "" {
		r.apply(cfg, schema.Layer{Environment: environment})
		for _, t := range tenants {
			r.apply(cfg, schema.Layer{Environment: environment, Tenant: t})
		}
	}
	r.out.objects = map[string][]*object{}
	for _, k := range objectKinds {
		r.out.objects[k] = slices.SortedFunc(maps.Values(r.byID[k]), func(a, b *object) int { return cmp.Compare(a.id, b.id) })
	}
	return r.out
}

// resolver carries the tables of one resolve run.
type resolver struct {
	out     *resolved
	byID    map[string]map[string]*object
	sources map[string]diag.Pos // layer -> where its gateway key stands
	diags   *diag.List
}

func (r *resolver) apply(cfg *schema.Config, layer schema.Layer) {
	entries := map[string]map[string][]entry{kindRoute: {}, kindUpstream: {}, kindPolicy: {}}
	var order []entry // of first appearance, for stable diagnostics
	kinds := map[*schema.Node]string{}
	for i := range cfg.Files {
		f := &cfg.Files[i]
		if f.Layer != layer || f.Root == nil {
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
				e := entry{file: f, path: fmt.Sprintf("%s[%d]", kind, j), node: n, id: id}
				if len(entries[kind][id.Str]) == 0 {
					order = append(order, e)
					kinds[n] = kind
				}
				entries[kind][id.Str] = append(entries[kind][id.Str], e)
			}
		}
	}
	for _, first := range order {
		kind := kinds[first.node]
		r.object(kind, layer, entries[kind][first.id.Str])
	}
}

// object applies what the files of one layer say about one id.
func (r *resolver) object(kind string, layer schema.Layer, all []entry) {
	id := all[0].id.Str
	below := r.byID[kind][id]
	for i, e := range all[1:] {
		// Within one file, and wherever nothing lies below, a repeated id can't be a patch.
		if prior := all[i]; below == nil || prior.file == e.file {
			r.diags.Add(diag.Diagnostic{
				Code: "GW3001", Pos: e.id.Pos, Width: e.id.Width, Path: e.path + ".id",
				Message: fmt.Sprintf("%s id %q is used twice", singular[kind], id),
				Notes:   []diag.Note{{Pos: all[0].id.Pos, Message: "first used here"}},
				Hint:    "give one of them another id",
			})
			all = slices.Delete(slices.Clone(all), i+1, i+2)
			r.object(kind, layer, all)
			return
		}
		for _, prior := range all[:i+1] {
			if x, y, at, found := clash(prior.node, e.node, e.path); found {
				r.diags.Add(diag.Diagnostic{
					Code: "GW3002", Pos: y.Pos, Width: len(y.Name), Path: at,
					Message: fmt.Sprintf("two files of the same layer set %s of %s %q", y.Name, singular[kind], id),
					Notes:   []diag.Note{{Pos: x.Pos, Message: "also set here"}},
					Hint:    "keep one of them: the order of files never decides",
				})
			}
		}
	}
	for _, e := range all {
		r.entry(kind, layer, e)
	}
}

// entry applies one object of one file: it adds, patches or deletes.
func (r *resolver) entry(kind string, layer schema.Layer, e entry) {
	id := e.id.Str
	below := r.byID[kind][id]
	if mark := e.node.Field(deleteMark); mark != nil {
		if r.deletes(kind, layer, e, mark, below) {
			r.touch(layer, e.node, below, nil)
			delete(r.byID[kind], id)
		}
		return
	}
	if below == nil {
		r.byID[kind][id] = &object{
			kind: kind, id: id, path: e.path, idPos: e.id.Pos, tenant: layer.Tenant,
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
	next.node = merge(below.node, e.node, e.path, r.diags)
	r.touch(layer, e.node, below, &next)
	r.byID[kind][id] = &next
}

// deletes checks a deletion; false means it has no effect.
func (r *resolver) deletes(kind string, layer schema.Layer, e entry, mark *schema.Field, below *object) bool {
	bad := func(code diag.Code, pos diag.Pos, msg, hint string) bool {
		r.diags.Add(diag.Diagnostic{Code: code, Pos: pos, Width: len(deleteMark), Path: e.path + "." + deleteMark, Message: msg, Hint: hint})
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
		known := slices.Collect(maps.Keys(r.byID[kind]))
		hint := "check the id"
		if s := diag.Suggest(e.id.Str, known); s != "" {
			hint = fmt.Sprintf("did you mean %q", s)
		}
		return bad("GW3004", e.id.Pos, fmt.Sprintf("$delete names %s %q, which no lower layer has", singular[kind], e.id.Str), hint)
	case layer.Tenant != "" && below.tenant != "" && below.tenant != layer.Tenant:
		return bad("GW3006", e.id.Pos, fmt.Sprintf("%s %q belongs to tenant %q, not to %q", singular[kind], e.id.Str, below.tenant, layer.Tenant), "a tenant may only change its own objects")
	}
	return true
}

// touch remembers a tenant's change to an object of the base, for the check against its grant.
func (r *resolver) touch(layer schema.Layer, patch *schema.Node, before, after *object) {
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
	r.out.gateway = merge(r.out.gateway, g.Value, "gateway", r.diags)
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
