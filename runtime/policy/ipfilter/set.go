package ipfilter

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// parse reads a network, or an address as the network that holds it alone. IPv4 written within IPv6 (::ffff:10.0.0.0/104, RFC 4291
// section 2.5.5.2) becomes IPv4: that is how clients' addresses are judged.
func parse(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is no network", text)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// merge sorts networks and leaves out those inside others.
func merge(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	slices.SortFunc(list, netip.Prefix.Compare)
	out := list[:0]
	for _, p := range list { // what holds p, if anything, comes before it: the wider of two that begin alike is first
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

// covering returns the network in a merged list that p lies inside of.
func covering(merged []netip.Prefix, p netip.Prefix) (netip.Prefix, bool) {
	i := sort.Search(len(merged), func(i int) bool { return merged[i].Compare(p) > 0 })
	if i == 0 || !merged[i-1].Overlaps(p) {
		return netip.Prefix{}, false
	}
	return merged[i-1], true
}

// set is a set of addresses, each family by itself: an IPv6 network never speaks of IPv4 clients.
type set struct{ v4, v6 []edge }

// edge is an address as a number. Edges in a list are in order, and from each to the next addresses are in the set and out of it by
// turns: the first edge begins the first range, the second ends it, exclusively.
type edge struct{ hi, lo uint64 }

func newSet(list []netip.Prefix) *set {
	s := &set{}
	for _, p := range merge(list) {
		edges := &s.v6
		if p.Addr().Is4() {
			edges = &s.v4
		}
		first := edgeOf(p.Addr())
		if n := len(*edges); n > 0 && (*edges)[n-1] == first { // it goes on where the one before ends
			*edges = (*edges)[:n-1]
		} else {
			*edges = append(*edges, first)
		}
		if end, ok := first.plus(p.Addr().BitLen() - p.Bits()); ok {
			*edges = append(*edges, end)
		}
	}
	s.v4, s.v6 = slices.Clip(s.v4), slices.Clip(s.v6)
	return s
}

// contains asks for an address that is IPv4 or IPv6, not one within the other.
func (s *set) contains(a netip.Addr) bool {
	edges := s.v6
	if a.Is4() {
		edges = s.v4
	}
	e := edgeOf(a)
	from, to := 0, len(edges) // edges up to from are at or before e, those from to on behind it
	for from < to {
		mid := int(uint(from+to) >> 1)
		if at := edges[mid]; at.hi < e.hi || at.hi == e.hi && at.lo <= e.lo {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from%2 == 1
}

func edgeOf(a netip.Addr) edge {
	if a.Is4() {
		b := a.As4()
		return edge{lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return edge{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:])}
}

// plus adds 2 to the power of n; false if that is no IPv6 address any more.
func (e edge) plus(n int) (edge, bool) {
	var add edge
	if n < 64 {
		add.lo = 1 << n
	} else {
		add.hi = 1 << (n - 64) // 0 if n is 128
	}
	lo, carry := bits.Add64(e.lo, add.lo, 0)
	hi, carry := bits.Add64(e.hi, add.hi, carry)
	return edge{hi, lo}, carry == 0 && n < 128
}
