// Package balance chooses among the endpoints of an upstream. A Balancer is made for one set of hosts and never changes; what
// moves is the Load of each host, which all balancers and exchanges share, and the Mask of hosts that may not be chosen. It does
// no I/O and knows neither requests nor health.
package balance

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Host is one endpoint as a balancer sees it.
type Host struct {
	Name   string // what hashes are taken of: the same endpoint has the same place on every gateway
	Weight int64  // 1 to 65535; 0 stands for 1
	Load   *Load
	Since  time.Time // when it joined or came back, for slow start; zero: long ago
}

// Mask names hosts that must not be chosen, by their index: a bit each. Nil names none.
type Mask []uint64

// NewMask returns an empty mask with room for n hosts.
func NewMask(n int) Mask { return make(Mask, (n+63)/64) }

// Has reports whether host i is in the mask.
func (m Mask) Has(i int) bool { return i>>6 < len(m) && m[i>>6]&(1<<(i&63)) != 0 }

// Set puts host i into the mask, which has room for it.
func (m Mask) Set(i int) { m[i>>6] |= 1 << (i & 63) }

// Clone copies the mask, with room for n hosts.
func (m Mask) Clone(n int) Mask {
	out := NewMask(n)
	copy(out, m)
	return out
}

// Count returns how many hosts are in the mask.
func (m Mask) Count() int {
	n := 0
	for _, w := range m {
		n += bits.OnesCount64(w)
	}
	return n
}

// Key is what a request is hashed by.
type Key struct {
	Hash uint64
	Set  bool // false: the request has nothing to be hashed by, and goes anywhere
}

// Balancer chooses a host. It is safe for concurrent use and does not allocate.
type Balancer interface {
	// Pick returns the index of a host that is not in out, or -1 if there is none.
	Pick(k Key, out Mask) int
}

// Env is what a balancer asks the world. Its zero value is the real one.
type Env struct {
	Now  func() time.Time
	Rand func() uint64
}

func (e Env) filled() Env {
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Uint64
	}
	return e
}

// below makes a number below n, which is at least 1, of the upper half of a random one. The bias of n in 2^32 is below what
// anybody could measure (Lemire, "Fast Random Integer Generation in an Interval", 2019).
func below(n int, r uint64) int { return int(r >> 32 * uint64(n) >> 32) }

// maxWeight bounds weights, so that sums and products of them fit.
const maxWeight = 1<<16 - 1

// New makes the balancer that spec asks for; nil asks for leastConnections. Hosts need a Load wherever it is looked at:
// leastConnections, leastLatency, and hashes with a bound.
func New(spec *ir.Balance, hosts []Host, env Env) Balancer {
	if spec == nil {
		spec = &ir.Balance{Strategy: ir.BalanceLeastConnections}
	}
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i].Weight = min(max(hosts[i].Weight, 1), maxWeight)
	}
	env = env.filled()
	switch len(hosts) {
	case 0:
		return nobody{}
	case 1:
		return alone{}
	}
	if spec.Strategy == ir.BalanceRoundRobin {
		return &inTurn{n: len(hosts)}
	}
	ramp := newRamp(spec, hosts, env)
	switch any := newRandom(hosts, ramp, env); spec.Strategy {
	case ir.BalanceWeighted:
		return newSmooth(hosts, ramp)
	case ir.BalanceRandom:
		return any
	case ir.BalanceLeastLatency:
		return &leastLatency{pair{any}}
	case ir.BalanceRingHash:
		return newHashed(newRing(hosts), spec, any)
	case ir.BalanceMaglev:
		return newHashed(newMaglev(hosts), spec, any)
	default:
		return &leastLoaded{pair{any}}
	}
}

// nobody is the balancer of no hosts.
type nobody struct{}

// Pick implements Balancer.
func (nobody) Pick(Key, Mask) int { return -1 }

// alone is the balancer of a single host.
type alone struct{}

// Pick implements Balancer.
func (alone) Pick(_ Key, out Mask) int {
	if out.Has(0) {
		return -1
	}
	return 0
}
