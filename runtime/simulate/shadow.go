package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/ir"
)

// Shadow judges live requests twice: by the configuration that serves, and by one that might. Both are built apart from what serves, with
// counters of their own that begin at the same time, so that two judgements differ exactly where the configurations do. Nothing is
// forwarded, and nothing that others see is written: keys and API keys are read where the gateway reads them, tokens are taken from
// buckets nobody else has.
//
// Requests are copied where they are served and judged by one goroutine behind; when that cannot follow, they are dropped and counted.
// Bodies are not seen.
type Shadow struct {
	sides   [2]*side
	same    map[string]bool // routes that are alike on both sides, by id
	percent uint64
	seed    maphash.Seed
	log     *slog.Logger
	now     func() time.Time

	queue chan *glimpse
	stop  context.CancelFunc
	done  chan struct{}

	seen, dropped atomic.Int64 // requests
	mu            sync.Mutex
	report        ShadowReport
	routes        map[string]*RouteDifference
}

// ShadowOptions are what a Shadow is made of.
type ShadowOptions struct {
	Tools
	// Env is what the policies of the gateway that serves may reach. State is read for API keys and nothing else.
	Env     policy.Env
	Percent int // share of the clients whose requests are judged, from 1 to 100
}

// The bounds of a Shadow.
const (
	shadowQueue   = 1024
	shadowBudget  = 100 * time.Millisecond // for one judgement: a key of an issuer may have to be fetched
	shadowWitness = 3                      // requests that are kept for each way in which a route differs
	shadowText    = 256                    // bytes of a path that are kept
)

// NewShadow builds both sides. Origins in the programs become the lines in the report.
func NewShadow(ctx context.Context, before, after *ir.Program, o ShadowOptions) (*Shadow, error) {
	if o.Percent < 1 || o.Percent > 100 {
		return nil, fmt.Errorf("shadow: %d percent, must be 1 to 100", o.Percent)
	}
	s := &Shadow{
		percent: uint64(o.Percent), seed: maphash.MakeSeed(), log: o.Env.Log, now: o.Env.Now, queue: make(chan *glimpse, shadowQueue),
		done: make(chan struct{}), routes: map[string]*RouteDifference{}, same: alike(before, after),
	}
	for i, p := range []*ir.Program{before, after} {
		var err error
		if s.sides[i], err = newSide(ctx, p, &o); err != nil {
			if i > 0 {
				s.sides[0].close()
			}
			return nil, err
		}
	}
	s.report.Since = s.now()
	work, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.done)
		s.work(work)
	}()
	return s, nil
}

// Close ends the judging. Requests that were not judged yet are not.
func (s *Shadow) Close() {
	s.stop()
	<-s.done
	for _, side := range s.sides {
		side.close()
	}
}

// alike finds the routes that have the same definition on both sides: where both take a request by one of them, they decide the same.
func alike(before, after *ir.Program) map[string]bool {
	if !slices.Equal(before.Gateway.TrustedProxies, after.Gateway.TrustedProxies) || before.Gateway.Limits != after.Gateway.Limits {
		return nil // they may take clients for others, and bodies for too long
	}
	forms := map[string]string{}
	form := func(r *ir.Route) string {
		data, err := json.Marshal(r)
		if err != nil {
			return "" // equals none
		}
		return string(data)
	}
	for i := range before.Routes {
		forms[before.Routes[i].ID] = form(&before.Routes[i])
	}
	out := map[string]bool{}
	for i := range after.Routes {
		r := &after.Routes[i]
		if f := form(r); f != "" && forms[r.ID] == f {
			out[r.ID] = true
		}
	}
	return out
}

// side is one of the two configurations.
type side struct {
	program *ir.Program
	snap    *snapshot.Snapshot
	tracers *telemetry.Tracers
}

func newSide(ctx context.Context, p *ir.Program, o *ShadowOptions) (*side, error) {
	v, err := verdict(offline(p))
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	metrics, err := telemetry.New(telemetry.Build{})
	if err != nil {
		return nil, err
	}
	out := &side{program: p, tracers: telemetry.NewTracers(telemetry.TracerOptions{Metrics: metrics, Log: quiet})}
	env := o.Env
	env.Log, env.Metrics, env.Shared = quiet, nil, nil // the builder's own
	env.State = &shadowState{State: memstate.New(memstate.Options{Now: o.Env.Now}), real: o.Env.State}
	b := &snapshot.Builder{
		Kinds: o.Kinds, Targets: o.Targets, Env: env, Shared: snapshot.NewShared(), Metrics: metrics, Tracers: out.tracers,
	}
	if out.snap, err = b.Build(ctx, v, nil); err != nil {
		out.tracers.Close()
		return nil, fmt.Errorf("build the shadow: %w", err)
	}
	return out, nil
}

func (s *side) close() {
	s.snap.Release()
	<-s.snap.Done()
	s.tracers.Close()
}

// shadowState takes tokens from buckets of its own, and reads API keys where they are.
type shadowState struct {
	*memstate.State
	real policy.State // nil: there is none
}

// Key implements policy.State.
func (s *shadowState) Key(ctx context.Context, id string) (*policy.KeyRecord, error) {
	if s.real == nil {
		return nil, policy.ErrStateAway
	}
	return s.real.Key(ctx, id)
}

// KeyUsed implements policy.State: a key that is judged in the shadow is not used.
func (*shadowState) KeyUsed(string, time.Time) {}

// glimpse is a request as it came.
type glimpse struct {
	request httpmsg.Request
	fields  []httpmsg.Field
}

// copy is the request for one judgement, which may change it.
func (g *glimpse) copy() *httpmsg.Request {
	r := g.request
	r.Header.Fields = slices.Clone(g.fields)
	return &r
}

// See is for runtime.Gateway.Watch. It takes all requests of some clients rather than some of all, so that limits count as they do where
// requests are served.
func (s *Shadow) See(serving *snapshot.Snapshot, r *httpmsg.Request) {
	if s.percent < 100 && s.share(serving.Proxies.ClientIP(r)) >= s.percent {
		return
	}
	g := &glimpse{request: *r, fields: slices.Clone(r.Header.Fields)}
	g.request.Body, g.request.Trailer = nil, nil
	select {
	case s.queue <- g:
	default:
		s.dropped.Add(1)
	}
}

// share is where a client stands among a hundred.
func (s *Shadow) share(client netip.Addr) uint64 { return maphash.Comparable(s.seed, client) % 100 }

func (s *Shadow) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case g := <-s.queue:
			s.judge(ctx, g)
		}
	}
}

// judge asks both sides.
func (s *Shadow) judge(ctx context.Context, g *glimpse) {
	if route := runtime.RouteOf(s.sides[0].snap, g.copy()); s.same[route] && route == runtime.RouteOf(s.sides[1].snap, g.copy()) {
		s.seen.Add(1)
		return
	}
	var d [2]runtime.Decision
	for i, side := range s.sides {
		inner, cancel := context.WithTimeout(ctx, shadowBudget)
		d[i] = runtime.Decide(inner, side.snap, g.copy())
		cancel()
	}
	if ctx.Err() != nil || d[0].Own && d[1].Own {
		return
	}
	s.seen.Add(1)
	if way := wayOf(&d[0], &d[1]); way != "" {
		s.differ(way, g, &d)
	}
}
