package router

import (
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/match"
)

// Many routes may stand on one path and differ only in a header: one per tenant, say. Such a leaf is divided by the value
// of the header that most of its routes want, so that a lookup tries those which want the request's value, and those which
// want none.

// fewEntries is how many routes on one path are simply tried one after the other.
const fewEntries = 8

// divided marks a leaf that is an index into Router.divisions instead of an entry.
const divided uint32 = 1 << 31

// division is a leaf with many entries. Both kinds of list run from the most specific entry to the least, which is from
// the largest number to the smallest.
type division struct {
	header  string
	byValue map[string]uint32
	rest    uint32
}

// leafAt names a leaf while the tree grows, when pointers into it do not last.
type leafAt struct {
	node    match.Node
	subtree bool
}

// divide splits the leaves that hold more than a few entries.
func (b *builder) divide() {
	for at, n := range b.crowded {
		if n <= fewEntries {
			continue
		}
		leaf := b.tree.Leaf(at.node, at.subtree)
		header, ok := b.commonHeader(*leaf)
		if !ok {
			continue
		}
		b.divisions = append(b.divisions, b.split(*leaf, header))
		*leaf = divided | uint32(len(b.divisions)-1)
	}
}

// commonHeader returns the header that most entries of a list want to have one value, if that is worth a division.
func (b *builder) commonHeader(at uint32) (string, bool) {
	counts := map[string]int{}
	for ; at != 0; at = b.entries[at].next {
		if e := &b.entries[at]; e.more != nil {
			for _, h := range e.more.headers {
				if h.Value != match.AnyValue {
					counts[h.Name]++
				}
			}
		}
	}
	best := ""
	for name, n := range counts {
		if n > counts[best] || n == counts[best] && name < best {
			best = name
		}
	}
	return best, counts[best] > fewEntries
}

// split relinks the entries of a list by the value they want.
func (b *builder) split(at uint32, header string) division {
	d := division{header: header, byValue: map[string]uint32{}}
	var order []uint32
	for ; at != 0; at = b.entries[at].next {
		order = append(order, at)
	}
	for i := len(order) - 1; i >= 0; i-- { // from the least specific, since lists grow at their head
		e := &b.entries[order[i]]
		if value, ok := e.wants(header); ok {
			e.next, d.byValue[value] = d.byValue[value], order[i]
		} else {
			e.next, d.rest = d.rest, order[i]
		}
	}
	return d
}

// wants returns the one value that an entry wants a header to have.
func (e *entry) wants(header string) (string, bool) {
	if e.more != nil {
		for _, h := range e.more.headers {
			if h.Name == header && h.Value != match.AnyValue {
				return h.Value, true
			}
		}
	}
	return "", false
}

// leaf returns the first entry of a leaf that takes the request.
func (s *search) leaf(at uint32) uint32 {
	other := uint32(0)
	if at&divided != 0 {
		d := &s.divisions[at&^divided]
		at, other = 0, d.rest
		if value, ok := onlyValue(s.header, d.header); ok {
			at = d.byValue[value]
		}
	}
	for at != 0 || other != 0 {
		if at < other {
			at, other = other, at
		}
		if s.takes(at, nil, "") {
			return at
		}
		at = s.entries[at].next
	}
	return 0
}

// onlyValue returns the value of a header if it is present and every line of it has that value.
func onlyValue(h *httpmsg.Header, name string) (value string, ok bool) {
	if h == nil {
		return "", false
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
			continue
		}
		if ok && f.Value != value {
			return "", false
		}
		value, ok = f.Value, true
	}
	return value, ok
}
