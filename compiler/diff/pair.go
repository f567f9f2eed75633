package diff

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// pair is one object on both sides; one of them may be nil.
type pair[T any] struct {
	oldID, newID string
	old, new     *T
}

// id is the name under which the pair is listed.
func (p *pair[T]) id() string {
	if p.new != nil {
		return p.newID
	}
	return p.oldID
}

// object starts the report's entry for the pair.
func (p *pair[T]) object(k Kind) *Object {
	o := &Object{Kind: k, ID: p.id()}
	if p.old != nil && p.oldID != o.ID {
		o.OldID = p.oldID
	}
	return o
}

// pairUp joins two tables by id and sorts the result.
func pairUp[T any](a, b map[string]*T) []pair[T] {
	out := make([]pair[T], 0, len(b))
	for id, x := range b {
		p := pair[T]{newID: id, new: x}
		if y := a[id]; y != nil {
			p.oldID, p.old = id, y
		}
		out = append(out, p)
	}
	for id, x := range a {
		if b[id] == nil {
			out = append(out, pair[T]{oldID: id, old: x})
		}
	}
	sortPairs(out)
	return out
}

// rename joins objects that are on one side only and have the same key. Where several have it, they join in the order of
// their ids.
func rename[T any](pairs []pair[T], oldKey, newKey func(*T) string) []pair[T] {
	appeared := map[string][]int{}
	gone := false
	for i := range pairs {
		gone = gone || pairs[i].new == nil
	}
	if !gone {
		return pairs
	}
	for i := range pairs {
		if pairs[i].old == nil {
			k := newKey(pairs[i].new)
			appeared[k] = append(appeared[k], i)
		}
	}
	if len(appeared) == 0 {
		return pairs
	}
	for i := range pairs {
		if pairs[i].new != nil {
			continue
		}
		k := oldKey(pairs[i].old)
		if at := appeared[k]; len(at) > 0 {
			appeared[k] = at[1:]
			pairs[at[0]].oldID, pairs[at[0]].old = pairs[i].oldID, pairs[i].old
			pairs[i] = pair[T]{}
		}
	}
	pairs = slices.DeleteFunc(pairs, func(p pair[T]) bool { return p.old == nil && p.new == nil })
	sortPairs(pairs)
	return pairs
}

func sortPairs[T any](pairs []pair[T]) {
	slices.SortFunc(pairs, func(x, y pair[T]) int {
		return cmp.Or(cmp.Compare(x.id(), y.id()), cmp.Compare(x.oldID, y.oldID))
	})
}

// fingerprint is equal for trees of equal content: encoding/json sorts maps, and trees keep their sets sorted.
func fingerprint(tree any) string {
	raw, err := json.Marshal(tree)
	if err != nil { // a tree holds nothing but what encoding/json has decoded
		panic("diff: marshal tree: " + err.Error())
	}
	return string(raw)
}

// matchKey is equal for routes that match the same requests in the same words.
func matchKey(r *ir.Route) string {
	t := routeFields(r)
	return fingerprint(t["matcher"])
}
