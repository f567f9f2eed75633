// Package diff compares two compiled programs and says what changed: object by object and field by field, in the words of
// the author and with the line that set each value; what the change does to requests; and which risks it carries. Both
// sides are compiled forms, defaults filled in and sets sorted, so nothing differs that does not behave differently.
//
// It must not read files, compile, or decide whether a change may go live: gates and people do, from its report.
package diff

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Kind is the kind of an object in a report.
type Kind string

// The kinds of objects, in the order in which a report lists them. A policy is part of its route; an upstream that a
// route's url stands for is part of that route, too.
const (
	Gateway  Kind = "gateway"
	Upstream Kind = "upstream"
	Route    Kind = "route"
)

// Op says what happened to an object or to a field.
type Op string

// What can happen. Only objects are renamed.
const (
	Added   Op = "added"
	Removed Op = "removed"
	Changed Op = "changed"
	Renamed Op = "renamed" // another id, and not a single other difference
)

// Report is what differs between two programs. The same two programs give the same report, whatever the order of their
// lists and maps.
type Report struct {
	Before  Side
	After   Side
	Objects []Object // gateway, upstreams, routes; each by id
	Effects []Effect // by route
	Risks   []Risk   // gravest first
}

// Side sums up one of the two programs.
type Side struct {
	Environment string `json:"environment,omitempty"`
	Name        string `json:"name,omitempty"` // the gateway's
	Routes      int    `json:"routes"`
	Upstreams   int    `json:"upstreams"` // named ones
	absent      bool
}

// name says which environment it is, for people.
func (s *Side) name() string {
	switch {
	case s.absent:
		return "nothing"
	case s.Environment == "":
		return "base"
	}
	return s.Environment
}

// Object is one object that differs.
type Object struct {
	Kind    Kind     `json:"kind"`
	ID      string   `json:"id,omitempty"`    // empty for the gateway
	OldID   string   `json:"oldId,omitempty"` // if it had another id before
	Op      Op       `json:"op"`
	Routes  int      `json:"routes,omitempty"` // for an upstream: how many routes send requests to it now
	OldPos  diag.Pos `json:"oldPos,omitzero"`
	Pos     diag.Pos `json:"pos,omitzero"`
	Changes []Change `json:"changes,omitempty"`
}

// Change is one field that differs. Old and New hold what encoding/json decodes, numbers as json.Number; nil stands for
// "not there". Positions are of the nearest value around the field that somebody wrote, and zero if that is not known.
type Change struct {
	Path   string   `json:"path"` // as the author spells it below the object, e.g. "matcher.path"
	Op     Op       `json:"op"`
	Old    any      `json:"old"`
	New    any      `json:"new"`
	OldPos diag.Pos `json:"oldPos,omitzero"`
	NewPos diag.Pos `json:"newPos,omitzero"`

	keys             []string // the path in segments, on the side it is from
	oldNear, newNear bool     // whether the position is of the field, or of a part of the object around it
}

// Programs compares a, what is, with b, what would be. A nil program is one that is not there: everything is added, or
// removed. It reads both and keeps neither.
func Programs(a, b *ir.Program) *Report {
	d := &differ{a: newSide(a), b: newSide(b)}
	d.gateway()
	d.upstreams()
	d.routes()
	d.programRisks()
	return d.report()
}

// Empty reports whether the two programs are the same.
func (r *Report) Empty() bool { return len(r.Objects) == 0 }

// Same reports whether two comparisons found the same: what differs, what that does and what it risks.
func (r *Report) Same(other *Report) bool {
	return reflect.DeepEqual(r.Objects, other.Objects) && reflect.DeepEqual(r.Effects, other.Effects) && reflect.DeepEqual(r.Risks, other.Risks)
}

// Count counts the objects to which op happened.
func (r *Report) Count(op Op) int {
	n := 0
	for i := range r.Objects {
		if r.Objects[i].Op == op {
			n++
		}
	}
	return n
}

// differ carries one comparison.
type differ struct {
	a, b    *side
	objects []Object
	effects []Effect
	risks   []Risk
	known   map[string]bool // public hosts of the old side, once asked for
	before  takers          // the routes of the old side, once asked for
	now     takers          // those of the new one
}

// delta is one route on both sides, as far as it is there.
type delta struct {
	old, new *ir.Route
	obj      *Object
}

func (d *differ) report() *Report {
	sortRisks(d.risks)
	return &Report{Before: d.a.summary(), After: d.b.summary(), Objects: d.objects, Effects: d.effects, Risks: d.risks}
}

func (d *differ) gateway() {
	old, new, obj := d.a.gateway(), d.b.gateway(), &Object{Kind: Gateway}
	if old != nil && new != nil && reflect.DeepEqual(old, new) {
		return
	}
	if d.add(obj, treeOf(old, gatewayTree), treeOf(new, gatewayTree)) && new != nil {
		if old == nil {
			old = &ir.Gateway{}
		}
		d.gatewayRisks(old, new, obj)
	}
}

func (d *differ) upstreams() {
	key := func(u *ir.Upstream) string { return fingerprint(upstreamTree(u)) }
	d.a.renamed = map[string]string{}
	for _, p := range rename(pairUp(d.a.named, d.b.named), key, key) {
		if p.old != nil && p.new != nil {
			if p.oldID != p.newID {
				d.a.renamed[p.oldID] = p.newID
			} else if reflect.DeepEqual(p.old, p.new) {
				continue
			}
		}
		obj := p.object(Upstream)
		obj.Routes = d.b.users[p.newID]
		if d.add(obj, treeOf(p.old, upstreamTree), treeOf(p.new, upstreamTree)) && p.new != nil {
			d.upstreamRisks(p.old, p.new, obj)
		}
	}
}

func (d *differ) routes() {
	pairs := rename(pairUp(d.a.routes, d.b.routes),
		func(r *ir.Route) string { return fingerprint(d.afterRename(d.a.routeTree(r))) },
		func(r *ir.Route) string { return fingerprint(d.b.routeTree(r)) })
	// Two routes of one program never match the same requests, so an equal matcher means that one takes the other's place.
	// Without this step a protection could vanish under cover of a new id.
	pairs = rename(pairs, matchKey, matchKey)
	moved := d.movedInline()
	for _, p := range pairs {
		if p.oldID == p.newID && p.old != nil && p.new != nil && !moved[p.new.Target.Upstream] && reflect.DeepEqual(p.old, p.new) {
			continue
		}
		before, after := treeOf(p.old, d.a.routeTree), treeOf(p.new, d.b.routeTree)
		if p.old != nil && p.new != nil {
			d.inlineSettings(p.old, p.new, before, after)
		}
		obj := p.object(Route)
		if d.add(obj, before, after) {
			x := delta{old: p.old, new: p.new, obj: obj}
			d.effects = append(d.effects, d.effect(x)...)
			d.routeRisks(x)
		}
	}
}

// add compares the two trees of an object and lists the object if they differ, or if it has another id. An id is the name
// of an object, not a field of it.
func (d *differ) add(obj *Object, before, after map[string]any) bool {
	w := walker{
		before: func(keys []string, list bool) (diag.Pos, bool) {
			return d.a.origin(obj.Kind, obj.idBefore(), keys, list)
		},
		after: func(keys []string, list bool) (diag.Pos, bool) { return d.b.origin(obj.Kind, obj.ID, keys, list) },
	}
	w.walk(nil, nil, orNil(before), orNil(after))
	obj.Changes = w.out
	if before != nil {
		obj.OldPos, _ = w.before(nil, false)
	}
	if after != nil {
		obj.Pos, _ = w.after(nil, false)
	}
	switch {
	case before == nil && after == nil:
		return false
	case before == nil:
		obj.Op, obj.Changes = Added, withoutZeros(obj.Changes)
	case after == nil:
		obj.Op, obj.Changes = Removed, withoutZeros(obj.Changes)
	case len(obj.Changes) > 0:
		obj.Op = Changed
	case obj.OldID != "":
		obj.Op = Renamed
	default:
		return false // only the order of a set differs
	}
	d.objects = append(d.objects, *obj)
	return true
}

// withoutZeros drops the fields of an object that comes or goes which say no more than their absence would.
func withoutZeros(changes []Change) []Change {
	return slices.DeleteFunc(changes, func(c Change) bool {
		v := c.New
		if c.Op == Removed {
			v = c.Old
		}
		return v == false || v == "" || v == json.Number("0")
	})
}

func (o *Object) idBefore() string {
	if o.OldID != "" {
		return o.OldID
	}
	return o.ID
}

// treeOf builds the tree of an object that may not be there.
func treeOf[T any](x *T, build func(*T) map[string]any) map[string]any {
	if x == nil {
		return nil
	}
	return build(x)
}

// orNil keeps an absent tree from becoming an interface that is not nil.
func orNil(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}
