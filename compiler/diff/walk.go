package diff

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/suuupra/gateway/schema/diag"
)

// walker compares two trees and notes where they part. Paths are kept for both sides, as the place of an element in a
// list may differ.
type walker struct {
	before, after func(keys []string, list bool) (diag.Pos, bool)
	out           []Change
}

func (w *walker) walk(oldKeys, newKeys []string, old, new any) {
	om, oldIsMap := old.(map[string]any)
	nm, newIsMap := new.(map[string]any)
	ol, oldIsList := old.([]any)
	nl, newIsList := new.([]any)
	switch {
	case old == nil && new == nil:
	case oldIsMap && newIsMap, oldIsMap && new == nil && len(om) > 0, newIsMap && old == nil && len(nm) > 0:
		w.maps(oldKeys, newKeys, om, nm)
	case (oldIsList || old == nil) && (newIsList || new == nil) && (composite(ol) || composite(nl)):
		w.lists(oldKeys, newKeys, ol, nl)
	case same(old, new):
	default:
		w.note(oldKeys, newKeys, old, new)
	}
}

func (w *walker) maps(oldKeys, newKeys []string, old, new map[string]any) {
	names := slices.Collect(maps.Keys(old))
	for k := range new {
		if _, both := old[k]; !both {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	for _, k := range names {
		w.walk(child(oldKeys, spell(k)), child(newKeys, spell(k)), old[k], new[k])
	}
}

// lists compares lists of maps: by id where every element has one, else as sequences. The common ends of two sequences
// are equal; what is between them is compared in order, so that one insertion shows as one.
func (w *walker) lists(oldKeys, newKeys []string, old, new []any) {
	old, new = spelledOut(old), spelledOut(new)
	if om, ok := byID(old); ok {
		if nm, ok := byID(new); ok {
			ids := slices.Collect(maps.Keys(om))
			for id := range nm {
				if _, both := om[id]; !both {
					ids = append(ids, id)
				}
			}
			slices.Sort(ids)
			for _, id := range ids {
				k := "[" + bare(id) + "]"
				w.walk(child(oldKeys, k), child(newKeys, k), om[id], nm[id])
			}
			return
		}
	}
	from := 0
	for from < min(len(old), len(new)) && same(old[from], new[from]) {
		from++
	}
	oldEnd, newEnd := len(old), len(new)
	for oldEnd > from && newEnd > from && same(old[oldEnd-1], new[newEnd-1]) {
		oldEnd, newEnd = oldEnd-1, newEnd-1
	}
	for i := from; i < max(oldEnd, newEnd); i++ {
		var x, y any
		if i < oldEnd {
			x = old[i]
		}
		if i < newEnd {
			y = new[i]
		}
		k := "[" + strconv.Itoa(i) + "]"
		w.walk(child(oldKeys, k), child(newKeys, k), x, y)
	}
}

// note records one difference. What only one side has is of use only if it says something: a zero of an object that comes
// or goes is left out.
func (w *walker) note(oldKeys, newKeys []string, old, new any) {
	c := Change{Op: Changed, Old: old, New: new, keys: newKeys}
	switch {
	case old == nil:
		c.Op = Added
	case new == nil:
		c.Op, c.keys = Removed, oldKeys
	}
	c.Path = joinKeys(c.keys)
	if old != nil {
		_, list := old.([]any)
		c.OldPos, c.oldNear = w.before(oldKeys, list)
	}
	if new != nil {
		_, list := new.([]any)
		c.NewPos, c.newNear = w.after(newKeys, list)
	}
	w.out = append(w.out, c)
}

// spelledOut writes the servers of a list in full, as one of two compared lists has them: with no more than a url, a server is
// that url alone.
func spelledOut(list []any) []any {
	out := slices.Clone(list)
	for i, e := range out {
		if s, ok := e.(string); ok {
			out[i] = map[string]any{"url": s}
		}
	}
	return out
}

// composite reports whether a list holds more than plain values.
func composite(list []any) bool {
	return slices.ContainsFunc(list, func(e any) bool {
		switch e.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

// byID indexes a list whose elements all have ids, each its own.
func byID(list []any) (map[string]any, bool) {
	out := make(map[string]any, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		id, ok := m["id"].(string)
		if _, twice := out[id]; !ok || twice {
			return nil, false
		}
		rest := maps.Clone(m)
		delete(rest, "id")
		out[id] = rest
	}
	return out, true
}

func same(x, y any) bool {
	switch x := x.(type) {
	case nil, bool, string, json.Number:
		return x == y
	case []any:
		l, ok := y.([]any)
		return ok && slices.EqualFunc(x, l, same)
	case map[string]any:
		m, ok := y.(map[string]any)
		return ok && maps.EqualFunc(x, m, same)
	}
	return false
}

func child(keys []string, k string) []string {
	return append(slices.Clip(keys), k)
}

// spell writes a key as a segment of a path; one that is no plain word is quoted, as it may hold anything.
func spell(k string) string {
	if k == "" {
		return `[""]`
	}
	for _, c := range []byte(k) {
		if !word(c) {
			return "[" + strconv.Quote(k) + "]"
		}
	}
	return k
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
