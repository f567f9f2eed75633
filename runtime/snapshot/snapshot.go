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
	"github.com/suuupra/gateway/runtime/telemetry"
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
	Floor             bundle.Position // set if something newer ran before a restart: nothing older than it may follow
	ExpiresAt         time.Time       // of the channel
	Routes            int
	Upstreams         int
}

// Route is one route, ready to serve.
type Route struct {
	Plan     *ir.Route
	Info     policy.Route
	Chain    *Chain
	Target   target.Target
	Scheme   string // of the upstream
	Metrics  *telemetry.RouteMetrics
	Upstream *telemetry.UpstreamMetrics
}

// Count counts what each policy of the chain decided: all before the one at place decided let the request pass, and none
// after it was asked. decided is -1 if all of them passed.
func (r *Route) Count(decided int, v policy.Verdict) {
	for i := range r.Chain.steps {
		if i == decided {
			r.Chain.steps[i].metrics.Record(telemetry.OutcomeOf(v))
			return
		}
		r.Chain.steps[i].metrics.Record(telemetry.OutcomePass)
	}
}

// Snapshot is one configuration. It is immutable; only its reference count moves.
type Snapshot struct {
	Info    Info
	Gateway ir.Gateway
	Proxies *httpmsg.Proxies
	Tracer  *telemetry.Tracer // nil: no spans
	Reuse   Reuse             // how much was taken over from the snapshot before

	router *router.Router
	routes []*Route

	blocks  map[bundle.Digest]*block
	refs    atomic.Int64
	release []func()
	done    chan struct{}
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

// close runs once, when the last reference is gone.
func (s *Snapshot) close() {
	for i := len(s.release) - 1; i >= 0; i-- {
		s.release[i]()
	}
	s.release = nil
	close(s.done)
}
