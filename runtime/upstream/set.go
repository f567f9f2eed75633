package upstream

import (
	"cmp"
	"fmt"
	"net"
	"time"

	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/runtime/upstream/balance"
	"github.com/suuupra/gateway/runtime/upstream/health"
	"github.com/suuupra/gateway/schema/ir"
)

// set is the endpoints of an upstream at one moment. It is immutable.
type set struct {
	members  []member
	balancer balance.Balancer
}

// member is an endpoint in a set.
type member struct {
	*Endpoint
	weight   int64
	metadata []ir.Pair
	release  func()
}

// change makes list the endpoints from now on. Those that stay keep everything they have; those that leave finish what they do.
func (u *Upstream) change(list []discovery.Endpoint) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed.Load() {
		return ErrClosed
	}
	next := &set{members: make([]member, 0, len(list))}
	old := u.set.Load()
	// The first endpoints of an upstream need no slow start: there is nobody to take the load meanwhile.
	others := old != nil && len(old.members) > 0
	var made []member
	for _, e := range list {
		m, fresh, err := u.join(e)
		if err != nil {
			for _, m := range next.members {
				m.release()
			}
			return err
		}
		next.members = append(next.members, m)
		if fresh {
			made = append(made, m)
		}
	}
	if others || len(made) < len(list) { // or those that were there already are another snapshot's
		for _, m := range made {
			m.since.Store(u.env.Now().UnixNano())
		}
	}
	u.install(next)
	if old != nil {
		for _, m := range old.members {
			m.release()
		}
	}
	return nil
}

// join takes a place at an endpoint, or makes it.
func (u *Upstream) join(e discovery.Endpoint) (m member, made bool, err error) {
	m = member{weight: e.Weight, metadata: e.Metadata}
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil {
		return m, false, fmt.Errorf("upstream %s: endpoint %q: %w", u.spec.ID, e.Address, err)
	}
	create := func() (any, error) { made = true; return u.newEndpoint(e.Address, host), nil }
	if u.named() {
		value, release, err := u.env.Shared.Get("endpoint/"+u.endpointKey(e.Address), create)
		if err != nil {
			return m, false, err
		}
		m.Endpoint, m.release = value.(*Endpoint), release
	} else {
		for _, known := range u.members() { // without others to share with, the set before is where endpoints live on
			if known.address == e.Address {
				known.holders.Add(1)
				m.Endpoint = known.Endpoint
			}
		}
		if m.Endpoint == nil {
			value, _ := create()
			m.Endpoint = value.(*Endpoint)
			m.Endpoint.holders.Store(1)
		}
		ep := m.Endpoint
		m.release = func() {
			if ep.holders.Add(-1) == 0 {
				_ = ep.Close()
			}
		}
	}
	return m, made, nil
}

// cameBack has an endpoint that is used again come to its full share slowly, if the upstream wants that.
func (u *Upstream) cameBack(address string) {
	if u.spec.Balance == nil || u.spec.Balance.SlowStart <= 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.set.Load()
	if u.closed.Load() || s == nil {
		return
	}
	for _, m := range s.members {
		if m.address == address {
			m.since.Store(u.env.Now().UnixNano())
			u.install(&set{members: s.members})
			return
		}
	}
}

func (u *Upstream) members() []member {
	if s := u.set.Load(); s != nil {
		return s.members
	}
	return nil
}

// endpointKey names what shapes an endpoint: with the same key it is the same one, in whatever snapshot.
func (u *Upstream) endpointKey(address string) string {
	s := u.spec
	return u.digest(struct {
		ID, Tenant, Address, Scheme, Protocol, Host   string
		Private                                       bool
		ConnectTimeout, IdleTimeout, MaxIdle, MaxOpen int64
		Health                                        *ir.Health
		Outlier                                       *ir.Outlier
		TLS                                           *ir.UpstreamTLS
	}{
		s.ID, s.Tenant, address, s.Scheme, s.Protocol, s.Host, s.PrivateAddresses,
		s.ConnectTimeout, s.IdleTimeout, s.MaxIdle, s.MaxConnections, s.Health, s.Outlier, s.TLS,
	})
}

// install makes the balancer of a set, and the set the one in use. The caller holds mu.
func (u *Upstream) install(s *set) {
	hosts := make([]balance.Host, len(s.members))
	for i, m := range s.members {
		hosts[i] = balance.Host{Name: m.address, Weight: m.weight, Load: &m.load}
		if at := m.since.Load(); at != 0 {
			hosts[i].Since = time.Unix(0, at)
		}
	}
	s.balancer = balance.New(u.spec.Balance, hosts, balance.Env{Now: u.env.Now, Rand: u.env.Rand})
	if u.monitor != nil {
		list := make([]*health.Host, len(s.members))
		for i, m := range s.members {
			list[i] = m.health
		}
		u.set.Store(s) // before the monitor's view speaks of it: indexes are of the set
		u.monitor.Set(list)
		return
	}
	u.set.Store(s)
}

// Ask says what an attempt needs.
type Ask struct {
	By    time.Time // for connecting, beside the connect timeout; zero: no bound
	Key   balance.Key
	Avoid Tried // endpoints of earlier attempts, avoided if there is another one
	Fresh bool  // no connection that was used before
	HTTP1 bool  // no HTTP/2, even if the server speaks it: for upgrades
}

// Tried is a short list of endpoints.
type Tried struct {
	list [8]*Endpoint
	n    int
}

// Add notes an endpoint.
func (t *Tried) Add(e *Endpoint) {
	if t.n < len(t.list) {
		t.list[t.n] = e
		t.n++
	}
}

func (t *Tried) has(e *Endpoint) bool {
	for _, x := range t.list[:t.n] {
		if x == e {
			return true
		}
	}
	return false
}

// Untried reports whether there is an endpoint that is not in t.
func (u *Upstream) Untried(t *Tried) bool {
	for _, m := range u.members() {
		if !t.has(m.Endpoint) {
			return true
		}
	}
	return false
}

// pick chooses an endpoint that is not in full, which is nil or names those that have no room.
func (u *Upstream) pick(s *set, a *Ask, full balance.Mask) (int, error) {
	n := len(s.members)
	if n == 0 {
		return -1, ErrNoEndpoints
	}
	var view *health.View
	var out balance.Mask
	if u.monitor != nil {
		view = u.monitor.View()
		out = view.Out
	}
	if full != nil {
		out = join(out, full, n)
	}
	if a.Avoid.n > 0 && n > 1 {
		avoiding := out.Clone(n)
		for i, m := range s.members {
			if a.Avoid.has(m.Endpoint) {
				avoiding.Set(i)
			}
		}
		if i := s.balancer.Pick(a.Key, avoiding); i >= 0 {
			return i, nil
		}
	}
	i := s.balancer.Pick(a.Key, out)
	if i < 0 {
		return -1, ErrUnhealthy
	}
	if view != nil && view.Drop != nil && i < len(view.Drop) && uint32(u.env.Rand()) < view.Drop[i] {
		passing := out.Clone(n)
		passing.Set(i)
		if j := s.balancer.Pick(a.Key, passing); j >= 0 {
			return j, nil
		}
	}
	return i, nil
}

func join(a, b balance.Mask, n int) balance.Mask {
	out := a.Clone(n)
	for i := range out {
		if i < len(b) {
			out[i] |= b[i]
		}
	}
	return out
}

// strategy names how endpoints are chosen.
func (u *Upstream) strategy() string {
	if u.spec.Balance == nil {
		return ir.BalanceLeastConnections
	}
	return cmp.Or(u.spec.Balance.Strategy, ir.BalanceLeastConnections)
}
