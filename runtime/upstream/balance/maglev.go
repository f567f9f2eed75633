package balance

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// maglevSize is the number of places in the table: a prime, and the smaller size of the paper (Eisenbud et al., "Maglev: A Fast
// and Reliable Software Network Load Balancer", NSDI 2016, sections 3.4 and 5.3). It is far more than a hundred times the hosts
// of an ordinary upstream, which keeps their shares within a percent of one another.
const maglevSize = 65537

// maglev is Maglev's lookup table: every host fills the places of its own permutation in turn, as often as its weight says.
type maglev []int32

// permutation is the order in which a host asks for places.
type permutation struct {
	host     int32
	at, skip uint64 // the place it asks for next, and the way to the one after that
	owed     int64
}

// newMaglev goes by the names of the hosts, so that gateways that know them in another order make the same table.
func newMaglev(hosts []Host) maglev {
	order := make([]permutation, len(hosts))
	most := int64(1)
	for i := range hosts {
		h := xxhash.Sum64String(hosts[i].Name)
		order[i] = permutation{host: int32(i), at: h % maglevSize, skip: mix(h, 1)%(maglevSize-1) + 1}
		most = max(most, hosts[i].Weight)
	}
	slices.SortStableFunc(order, func(a, b permutation) int { return cmp.Compare(hosts[a.host].Name, hosts[b.host].Name) })
	t := make(maglev, maglevSize)
	for i := range t {
		t[i] = -1
	}
	// A host takes its turn when what it is owed has added up to a whole one: heavier hosts take more turns (Envoy does the same).
	for filled := 0; ; {
		for i := range order {
			p := &order[i]
			if p.owed += hosts[p.host].Weight; p.owed < most {
				continue
			}
			p.owed -= most
			for t[p.at] >= 0 {
				p.next()
			}
			t[p.at] = p.host
			if filled++; filled == maglevSize {
				return t
			}
		}
	}
}

func (p *permutation) next() {
	if p.at += p.skip; p.at >= maglevSize {
		p.at -= maglevSize
	}
}

func (t maglev) place(key uint64) int { return int(mix(key, 2) % maglevSize) }

// step goes to the next place, which belongs to any other host as likely as to another: permutations are random.
func (t maglev) step(place int) int { return (place + 1) % maglevSize }
func (t maglev) host(place int) int { return int(t[place]) }
