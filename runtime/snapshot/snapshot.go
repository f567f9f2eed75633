// Package snapshot is the fourth of the four types: one configuration, live and immutable. It is built whole beside the one
// that serves, shares with it what did not change, and closes when its last exchange is over. It must not listen, and it
// must not decide when to change.
package snapshot

import (
	"cmp"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/certificate"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/router"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/tenancy"
	"github.com/suuupra/gateway/runtime/upstream"
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
	Replaces          bundle.Digest   // the manifest that was current before, as the channel says; empty if there was none
	Routes            int
	Upstreams         int
	Overlays          []string // ids of those that are laid over it, in their order
}

// Route is one route, ready to serve. Every snapshot that has it holds a reference, which is how a route outlives the snapshot
// it was built for.
//
// What requests touch comes first and lies together: with many routes, fetching it from memory is most of what a route costs.
type Route struct {
	Chain    Chain
	Target   target.Target
	Metrics  *telemetry.RouteMetrics
	Upstream *telemetry.UpstreamMetrics
	Info     policy.Route
	Plan     ir.Route

	up   *upstream.Upstream
	refs atomic.Int32
}

// Scheme is the upstream's: http or https.
func (r *Route) Scheme() string { return r.up.Spec().Scheme }

// Count counts what the policies that were asked decided: the last of them as v says, all before it let the request pass.
func (r *Route) Count(asked int, v policy.Verdict) {
	for i := range asked - 1 {
		r.Chain.steps[i].metrics.Record(telemetry.OutcomePass)
	}
	if asked > 0 {
		r.Chain.steps[asked-1].metrics.Record(telemetry.OutcomeOf(v))
	}
}

// Snapshot is one configuration. It is immutable; only its reference count moves.
type Snapshot struct {
	Info    Info
	Gateway ir.Gateway
	Proxies *httpmsg.Proxies
	Tracer  *telemetry.Tracer // nil: no spans
	Tenancy *tenancy.Resolver // nil: only routes have tenants
	Tenants *telemetry.TenantMetrics
	Reuse   Reuse // how much was taken over from the snapshot before

	router *router.Router
	routes []*Route

	shards    map[bundle.Digest][]*Route // by the digest of the shard they came in
	upstreams []*upstream.Upstream
	sets      map[string]*certificate.Set // by the id of their listener
	metrics   *telemetry.Metrics
	log       *slog.Logger
	refs      atomic.Int64
	release   []func()
	done      chan struct{}
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

// Upstreams lists the upstreams. The caller must not change it.
func (s *Snapshot) Upstreams() []*upstream.Upstream { return s.upstreams }

// Has reports whether a route, which was found in a snapshot before, is one of this snapshot's too: nothing about it has changed.
func (s *Snapshot) Has(r *Route) bool { return s.route(r.Info.ID) == r }

// route returns the route with an id, or nil.
func (s *Snapshot) route(id string) *Route {
	i, ok := slices.BinarySearchFunc(s.routes, id, func(r *Route, id string) int { return cmp.Compare(r.Info.ID, id) })
	if !ok {
		return nil
	}
	return s.routes[i]
}

// close runs once, when the last reference is gone: first the routes nobody else has, then what they used.
func (s *Snapshot) close() {
	var routes []*telemetry.RouteMetrics
	var upstreams []*telemetry.UpstreamMetrics
	for i := len(s.routes) - 1; i >= 0; i-- {
		r := s.routes[i]
		if r.refs.Add(-1) > 0 {
			continue
		}
		if err := r.Chain.Close(); err != nil {
			s.log.Warn("a policy did not close", slog.String("route", r.Info.ID), slog.Any("error", err))
		}
		if c, ok := r.Target.(io.Closer); ok {
			if err := closeOne(c); err != nil {
				s.log.Warn("a target did not close", slog.String("route", r.Info.ID), slog.Any("error", err))
			}
		}
		routes, upstreams = append(routes, r.Metrics), append(upstreams, r.Upstream)
	}
	if len(routes) > 0 {
		s.metrics.Forget(routes...)
		s.metrics.ForgetUpstreams(upstreams...)
	}
	s.Tenants.Forget()
	for i := len(s.release) - 1; i >= 0; i-- {
		s.release[i]()
	}
	s.release = nil
	close(s.done)
}
