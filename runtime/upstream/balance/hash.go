package balance

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/suuupra/gateway/schema/ir"
)

// Hasher makes the key of a request out of parts. The same parts give the same key on every gateway, today and after an upgrade.
type Hasher struct{ sum uint64 }

// Add adds a part. Parts do not run into one another: "ab", "c" differs from "a", "bc".
func (h *Hasher) Add(part string) { h.sum = mix(h.sum, xxhash.Sum64String(part)) }

// Sum is the key of the parts so far.
func (h *Hasher) Sum() uint64 { return h.sum }

// mix joins two hashes; the order matters (the finalizer of SplitMix64).
func mix(a, b uint64) uint64 {
	x := a*0x9e3779b97f4a7c15 + b
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// table is an order of hosts for each key, the same on every gateway.
type table interface {
	// place finds the key's own place, step the one behind it. host is the host at a place.
	place(key uint64) int
	step(place int) int
	host(place int) int
	size() int
}

// hashed sends the requests of one key to one host for as long as the host may be chosen and is not over its bound.
type hashed struct {
	table table
	bound *bound
	any   *random
}

// Pick implements Balancer. A host that may not be chosen hands its keys to those behind them in the table, each key to its own
// successor, so that no single host inherits all of them.
func (b *hashed) Pick(k Key, out Mask) int {
	if !k.Set || b.table.size() == 0 {
		return b.any.Pick(k, out)
	}
	limit := b.bound.limit()
	fallback := -1
	at := b.table.place(k.Hash)
	for range min(b.table.size(), patience*len(b.any.hosts)) {
		i := b.table.host(at)
		at = b.table.step(at)
		if out.Has(i) {
			continue
		}
		if limit.allows(i) {
			return i
		}
		if fallback < 0 {
			fallback = i // every host is over its bound only for the moments in which their sum moves
		}
	}
	if fallback < 0 {
		return b.any.sweep(out) // nearly all of them may not be chosen
	}
	return fallback
}

// patience is how many places are looked at for each host there is, before the search is given up. Among random places a host
// stays unseen for so long about once in e^16 searches.
const patience = 16

// bound is consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, arXiv:1608.01350): no host has more than a
// multiple of the average of exchanges under way; what is beyond goes to the next one.
type bound struct {
	hosts   []Host
	weights int64
	percent int64
}

func newBound(spec *ir.Balance, hosts []Host) *bound {
	if spec.BoundPercent <= 0 {
		return nil
	}
	b := &bound{hosts: hosts, percent: max(spec.BoundPercent, 100)}
	for i := range hosts {
		b.weights += hosts[i].Weight
	}
	return b
}

// limit takes the average of the moment, with the exchange that is about to begin.
func (b *bound) limit() ceiling {
	if b == nil {
		return ceiling{}
	}
	total := int64(1)
	for i := range b.hosts {
		total += b.hosts[i].Load.Active()
	}
	return ceiling{b, total}
}

// ceiling is what hosts may have at one moment.
type ceiling struct {
	*bound
	total int64
}

func (c ceiling) allows(i int) bool {
	if c.bound == nil {
		return true
	}
	// ceil(total * weight/weights * percent/100), without fractions
	num, den := c.total*c.hosts[i].Weight*c.percent, c.weights*100
	return c.hosts[i].Load.Active() < (num+den-1)/den
}

// ring is a hash ring: each host has points on it by its weight, and a key belongs to the next point (Karger et al., 1997).
type ring []point

type point struct {
	at   uint64
	host int32
}

// Sizes of a ring, in points. The larger the ring the closer the shares are to the weights; Envoy has the same minimum, and a
// maximum of 8M points, of which this keeps far away since a ring is made anew whenever the hosts change.
const (
	minRing      = 1024
	maxRing      = 1 << 18
	pointsAWeigh = 128 // points of a host of weight 1, if the ring has room
)

func newRing(hosts []Host) ring {
	weights := int64(0)
	for i := range hosts {
		weights += hosts[i].Weight
	}
	if weights == 0 {
		return nil
	}
	size := min(max(weights*pointsAWeigh, minRing), maxRing)
	r := make(ring, 0, size+int64(len(hosts)))
	var name []byte
	for i := range hosts {
		n := max(size*hosts[i].Weight/weights, 1)
		for j := range n {
			name = strconv.AppendInt(append(append(name[:0], hosts[i].Name...), '#'), j, 10)
			r = append(r, point{xxhash.Sum64(name), int32(i)})
		}
	}
	slices.SortFunc(r, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(hosts[a.host].Name, hosts[b.host].Name))
	})
	return r
}

func (r ring) place(key uint64) int {
	i, _ := slices.BinarySearchFunc(r, key, func(p point, key uint64) int { return cmp.Compare(p.at, key) })
	return i % len(r)
}

func (r ring) step(place int) int { return (place + 1) % len(r) }
func (r ring) host(place int) int { return int(r[place].host) }
func (r ring) size() int          { return len(r) }
