package balance

import (
	"math"

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
}

// hashed sends the requests of one key to one host for as long as the host may be chosen and is not over its bound.
type hashed struct {
	table table
	bound int64 // percent of the average load that a host may have; 0: no bound
	any   *random
	names []uint64 // hashes of the hosts' names
}

func newHashed(t table, spec *ir.Balance, any *random) *hashed {
	b := &hashed{table: t, any: any, names: make([]uint64, len(any.hosts))}
	if spec.BoundPercent > 0 {
		b.bound = min(max(spec.BoundPercent, 100), 10000)
	}
	for i := range any.hosts {
		b.names[i] = xxhash.Sum64String(any.hosts[i].Name)
	}
	return b
}

// patience is how many places of a table are looked at before all hosts are.
const patience = 64

// Pick implements Balancer. A host that may not be chosen hands its keys to those behind them in the table, each key to its own
// successor, so that no single host inherits all of them.
func (b *hashed) Pick(k Key, out Mask) int {
	if !k.Set {
		return b.any.Pick(k, out)
	}
	limit := b.limit(out)
	first := -1
	at := b.table.place(k.Hash)
	for range patience {
		i := b.table.host(at)
		at = b.table.step(at)
		if out.Has(i) {
			continue
		}
		if limit.allows(&b.any.hosts[i]) {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return b.rest(k.Hash, out, limit, first)
}

// rest looks at every host, for a key whose neighbourhood in the table belongs to hosts that may not be chosen or are full. It is
// weighted rendezvous hashing (Schindelhauer, Schomaker, "Weighted Distributed Hash Tables", 2005), so that even then a key stays
// with its host. first is taken if all are full, which is so only in the moments in which their loads move.
func (b *hashed) rest(key uint64, out Mask, limit ceiling, first int) int {
	roomy, least := -1, math.Inf(1)
	free, leastFree := -1, math.Inf(1)
	for i := range b.any.hosts {
		if out.Has(i) {
			continue
		}
		h := &b.any.hosts[i]
		score := -math.Log(1-fraction(mix(key, b.names[i]))) / float64(h.Weight)
		if score < leastFree {
			free, leastFree = i, score
		}
		if score < least && limit.allows(h) {
			roomy, least = i, score
		}
	}
	switch {
	case roomy >= 0:
		return roomy
	case first >= 0:
		return first
	}
	return free
}

// ceiling is consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, arXiv:1608.01350): no host has more than a
// multiple of the average of exchanges under way; what is beyond goes to the next one.
type ceiling struct{ total, weights, percent int64 }

// limit takes the average of the moment, of the hosts that may be chosen, with the exchange that is about to begin.
func (b *hashed) limit(out Mask) ceiling {
	if b.bound == 0 {
		return ceiling{}
	}
	c := ceiling{total: 1, percent: b.bound}
	for i := range b.any.hosts {
		if !out.Has(i) {
			c.total += b.any.hosts[i].Load.Active()
			c.weights += b.any.hosts[i].Weight
		}
	}
	return c
}

// few exchanges under way are no load: where there are hardly any, a multiple of their average is one or two, and a browser that asks
// for six things at once would be spread over as many hosts.
const few = 8

// allows reports whether a host may have another exchange: if it has fewer than ceil(total * its share of the weights * percent), or
// than few.
func (c ceiling) allows(h *Host) bool {
	if c.percent == 0 {
		return true
	}
	num, den := c.total*h.Weight*c.percent, c.weights*100
	return h.Load.Active() < max((num+den-1)/den, few)
}
