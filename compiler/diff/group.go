package diff

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/suuupra/gateway/schema/diag"
)

// One line of a shared policy, or of the defaults, changes many routes. The text says such a change once; the report itself, and so
// the JSON form, keeps an entry for each route.

// block is what is said of some objects at once: all of one object, or what several routes have in common.
type block struct {
	objects []*Object
	changes []Change
}

// cause is equal for changes that are the same, and made by the same line.
type cause struct {
	path, old, new string
	op             Op
	oldPos, newPos diag.Pos
}

func (c *Change) cause() cause {
	return cause{path: c.Path, op: c.Op, old: fingerprint(c.Old), new: fingerprint(c.New), oldPos: c.setOld(), newPos: c.setNew()}
}

// setOld and setNew are the places a change is shown with: none, if nothing near the field was written, as for a default.
func (c *Change) setOld() diag.Pos { return onlyIf(c.oldNear, c.OldPos) }
func (c *Change) setNew() diag.Pos { return onlyIf(c.newNear, c.NewPos) }

func onlyIf(ok bool, p diag.Pos) diag.Pos {
	if !ok {
		return diag.Pos{}
	}
	return p
}

// shares reports whether an object may be told together with others: what comes, goes or has another name is told alone.
func (o *Object) shares() bool { return o.Kind == Route && o.Op == Changed && o.OldID == "" }

// blocks groups the changes of the routes: what is common to several comes before what is left of each, the widest first.
func (r *Report) blocks() []block {
	var others, shared, own []block
	routes := map[cause][]*Object{} // those that a cause changes
	for i := range r.Objects {
		o := &r.Objects[i]
		for j := range o.Changes {
			if o.shares() {
				c := o.Changes[j].cause()
				routes[c] = append(routes[c], o)
			}
		}
	}
	for i := range r.Objects {
		o := &r.Objects[i]
		if !o.shares() {
			b := block{[]*Object{o}, o.Changes}
			if o.Kind == Route {
				own = append(own, b)
			} else {
				others = append(others, b)
			}
			continue
		}
		var first []block // those whose first object this is
		for j := range o.Changes {
			in := routes[o.Changes[j].cause()]
			if in[0] != o {
				continue
			}
			k := slices.IndexFunc(first, func(b block) bool { return slices.Equal(b.objects, in) })
			if k < 0 {
				k, first = len(first), append(first, block{objects: in})
			}
			first[k].changes = append(first[k].changes, o.Changes[j])
		}
		for _, b := range first {
			if len(b.objects) == 1 {
				own = append(own, b)
			} else {
				shared = append(shared, b)
			}
		}
	}
	slices.SortStableFunc(shared, func(x, y block) int { return cmp.Compare(len(y.objects), len(x.objects)) })
	return slices.Concat(others, shared, own)
}

// title names the objects of a block.
func (b *block) title() string {
	if len(b.objects) == 1 {
		o := b.objects[0]
		pos := o.Pos
		if o.Op == Removed {
			pos = o.OldPos
		}
		return title(o) + usedBy(o) + at(pos)
	}
	return routesOf(b.objects, func(o *Object) string { return o.ID })
}

func routesOf[T any](list []T, id func(T) string) string {
	names := make([]string, len(list))
	for i, x := range list {
		names[i] = bare(id(x))
	}
	return fmt.Sprintf("%d routes: %s", len(names), some(names))
}

// grouped gathers what is equal under a key, in the order of the first of each.
func grouped[T any, K comparable](list []T, key func(*T) K) [][]*T {
	at := map[K]int{}
	var out [][]*T
	for i := range list {
		k := key(&list[i])
		n, known := at[k]
		if !known {
			n, at[k] = len(out), len(out)
			out = append(out, nil)
		}
		out[n] = append(out[n], &list[i])
	}
	return out
}

// riskGroups gathers the risks that one line makes for several routes.
func (r *Report) riskGroups() [][]*Risk {
	return grouped(r.Risks, func(k *Risk) Risk {
		one := *k
		if k.Kind == Route {
			one.ID = ""
		}
		return one
	})
}

// effectGroups gathers the effects that are the same for several classes of requests.
func (r *Report) effectGroups() [][]*Effect {
	type key struct{ op, old, before, after string }
	return grouped(r.Effects, func(e *Effect) key {
		if e.OldRequests != "" || e.Op != Changed {
			return key{op: string(e.Op), old: e.Route} // its own
		}
		return key{op: string(e.Op), before: e.Before, after: e.After}
	})
}

// grouping says how many entries stand for the changes and the risks, if there are fewer.
func (r *Report) grouping(blocks, risks int) string {
	if blocks == len(r.Objects) && risks == len(r.Risks) {
		return ""
	}
	s := " (the same on several routes is said once: " + count(blocks, "change")
	if risks > 0 {
		s += ", " + count(risks, "risk")
	}
	return s + ")"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
