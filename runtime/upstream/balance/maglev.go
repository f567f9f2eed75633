package balance

import (
	"github.com/cespare/xxhash/v2"
)

// maglevSize is the number of places in the table: a prime, and large enough that the shares of a hundred hosts differ by about
// one percent (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 5.3).
const maglevSize = 65537

// maglev is Maglev's lookup table: every host fills the places of its own permutation in turn, as often as its weight says.
type maglev []int32

func newMaglev(hosts []Host) maglev {
	if len(hosts) == 0 {
		return nil
	}
	t := make(maglev, maglevSize)
	for i := range t {
		t[i] = -1
	}
	offset, skip, next := make([]uint64, len(hosts)), make([]uint64, len(hosts)), make([]uint64, len(hosts))
	most := int64(1)
	for i := range hosts {
		h := xxhash.Sum64String(hosts[i].Name)
		offset[i], skip[i] = h%maglevSize, mix(h, 1)%(maglevSize-1)+1
		most = max(most, hosts[i].Weight)
	}
	// A host takes its turn when what it is owed has added up to a whole one: heavier hosts take more turns (Envoy does the same).
	owed := make([]int64, len(hosts))
	for filled := 0; ; {
		for i := range hosts {
			if owed[i] += hosts[i].Weight; owed[i] < most {
				continue
			}
			owed[i] -= most
			at := (offset[i] + next[i]*skip[i]) % maglevSize
			for t[at] >= 0 {
				next[i]++
				at = (offset[i] + next[i]*skip[i]) % maglevSize
			}
			t[at] = int32(i)
			next[i]++
			if filled++; filled == maglevSize {
				return t
			}
		}
	}
}

func (t maglev) place(key uint64) int { return int(mix(key, 2) % maglevSize) }

// step goes through the table by a stride that is prime to its size, so that the keys of one host scatter over all others.
func (t maglev) step(place int) int { return (place + 7919) % maglevSize }
func (t maglev) host(place int) int { return int(t[place]) }
func (t maglev) size() int          { return len(t) }
