// Package snapshot is the fourth of the four types: one configuration, live and immutable. It is built whole beside the one
// that serves, shares with it what did not change, and closes when its last exchange is over. It must not listen, and it
// must not decide when to change.
package snapshot

import (
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/router"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// Info says which bundle a snapshot was built from.
type Info struct {
	Name, Environment string
	Digest            bundle.Digest // of the manifest
	ContentDigest     bundle.Digest
	Commit            string
	Dirty             bool
	Position          bundle.Position // zero: activated without a channel
	ExpiresAt         time.Time       // of the channel
	Routes            int
	Upstreams         int
}

// Route is one route, ready to serve.
type Route struct {
	Plan   *ir.Route
	Info   policy.Route
	Chain  *Chain
	Target target.Target
}

// Snapshot is one configuration. It is immutable; only its reference count moves.
type Snapshot struct {
	Info    Info
	Gateway ir.Gateway
	Proxies *httpmsg.Proxies
	Reuse   Reuse // how much was taken over from the snapshot before

	router *router.Router
	routes []*Route

	blocks  map[bundle.Digest]*block
	refs    atomic.Int64
	release []func()
	done    chan struct{}
	cut     atomic.Bool
}

// Reuse counts what a swap kept and what it made new.
type Reuse struct {
	RoutesKept, RoutesBuilt       int
	UpstreamsKept, UpstreamsBuilt int
}

// Empty is the snapshot before the first activation: it has no routes.
func Empty() *Snapshot {
	r, err := router.Build(nil)
	if err != nil { // no routes cannot conflict
		panic(err)
	}
	s := &Snapshot{router: r, Proxies: &httpmsg.Proxies{}, done: make(chan struct{})}
	s.refs.Store(1)
	return s
}

// IsEmpty reports whether nothing was ever activated.
func (s *Snapshot) IsEmpty() bool { return s.Info.Digest == "" }

// Lookup finds the route for a request. Path is normalised, host as match.NormalizeHost returns it.
func (s *Snapshot) Lookup(method, host, path, rawQuery string, h *httpmsg.Header, params []policy.Param) (*Route, router.Result) {
	res := s.router.Lookup(method, host, path, rawQuery, h, params)
	if res.Outcome != router.Found {
		return nil, res
	}
	return s.routes[res.Index], res
}

// Routes lists the routes, sorted by id. The caller must not change it.
func (s *Snapshot) Routes() []*Route { return s.routes }

// Done is closed when the last exchange is over and everything the snapshot owned is closed.
func (s *Snapshot) Done() <-chan struct{} { return s.done }

// Cut marks a snapshot whose drain deadline has passed: exchanges that still run on it are ended.
func (s *Snapshot) Cut() { s.cut.Store(true) }

// IsCut reports whether the drain deadline has passed.
func (s *Snapshot) IsCut() bool { return s.cut.Load() }

// close runs once, when the last reference is gone.
func (s *Snapshot) close() {
	for i := len(s.release) - 1; i >= 0; i-- {
		s.release[i]()
	}
	s.release = nil
	close(s.done)
}
