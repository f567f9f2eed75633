package balance

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// ring is a hash ring: each host has points on it by its weight, and a key belongs to the next point (Karger et al., "Consistent
// Hashing and Random Trees", 1997).
type ring []point

type point struct {
	at   uint64
	host int32
}

const (
	// perHost is how many points the lightest host has at least, if the ring has room: the shares of hosts that weigh the same
	// then differ by a standard deviation of 1/sqrt(256), or 6 percent.
	perHost = 256
	// maxRing is how many points there are at most. Envoy allows 8M, but a ring is made anew whenever the hosts change.
	maxRing = 1 << 18
)

// newRing gives each host points by its own weight, not by its share: its points stay where they are when other hosts come and
// go, so that only the keys of those move. (If the size of the ring were given, the rest would get more points when one leaves.)
// The scale is a power of two, so that it hardly ever changes.
func newRing(hosts []Host) ring {
	lightest := hosts[0].Weight
	for i := range hosts {
		lightest = min(lightest, hosts[i].Weight)
	}
	shift := bits.Len64(uint64(lightest)) - 1
	for pointsAt(hosts, shift) > maxRing+int64(len(hosts)) {
		shift++
	}
	r := make(ring, 0, pointsAt(hosts, shift))
	var name []byte
	for i := range hosts {
		for j := range points(hosts[i].Weight, shift) {
			name = strconv.AppendInt(append(append(name[:0], hosts[i].Name...), '#'), j, 10)
			r = append(r, point{xxhash.Sum64(name), int32(i)})
		}
	}
	slices.SortFunc(r, func(a, b point) int {
		if a.at == b.at { // once in a great while: the same host must win on every gateway
			return cmp.Compare(hosts[a.host].Name, hosts[b.host].Name)
		}
		return cmp.Compare(a.at, b.at)
	})
	return r
}

// points is how many of them a weight gets on a scale.
func points(weight int64, shift int) int64 { return max(weight*perHost>>shift, 1) }

func pointsAt(hosts []Host, shift int) (n int64) {
	for i := range hosts {
		n += points(hosts[i].Weight, shift)
	}
	return n
}

func (r ring) place(key uint64) int {
	i, _ := slices.BinarySearchFunc(r, key, func(p point, key uint64) int { return cmp.Compare(p.at, key) })
	return i % len(r)
}

func (r ring) step(place int) int { return (place + 1) % len(r) }
func (r ring) host(place int) int { return int(r[place].host) }
