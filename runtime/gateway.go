// Package runtime is the gateway: it takes each request from the engine through router, policies and target, and changes
// from one snapshot to the next without dropping a request. It must not compile anything.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/shed"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// Own answers the paths that are the gateway's own: /health, /metrics, /admin and the like.
type Own interface {
	// Answer returns the response for a reserved path, or nil if the request is not its business.
	Answer(r *httpmsg.Request, path string) *httpmsg.Response
}

// Options are what a gateway is made of.
type Options struct {
	Log          *slog.Logger
	Metrics      *telemetry.Metrics
	AccessLog    *telemetry.AccessLog
	Own          Own           // nil answers reserved paths 404
	OwnElsewhere bool          // Own has a listener of its own: reserved paths are 404 on the data listeners
	DrainTimeout time.Duration // how long exchanges on an old snapshot may go on
	DrainJitter  time.Duration // over which the end of those that outlive it is spread
	MaxConns     int           // client connections; 0: no bound
}

// Gateway serves requests with the running snapshot.
type Gateway struct {
	opts   Options
	holder *snapshot.Holder
	data   *engine.Server
	pool   sync.Pool
	none   *telemetry.RouteMetrics // of requests that matched no route
	shed   *shed.Shedder
	watch  atomic.Pointer[func(*snapshot.Snapshot, *httpmsg.Request)] // nil: nobody does

	swapMu   sync.Mutex // one swap at a time; serving never takes it
	stopped  bool
	draining map[*snapshot.Snapshot]struct{}
	calm     chan struct{} // see quiet; nil: nobody waits for it
	kept     []kept
	drains   sync.WaitGroup
	stop     chan struct{}
	trim     *time.Timer // gives memory back to the system when swapping has paused
}

// New makes a gateway that has no routes yet: until the first Swap it answers 503.
func New(o Options) *Gateway {
	g := &Gateway{
		opts: o, holder: snapshot.NewHolder(snapshot.Empty()), none: o.Metrics.Route(telemetry.NoRoute),
		draining: map[*snapshot.Snapshot]struct{}{}, stop: make(chan struct{}),
	}
	g.pool.New = func() any { return &exchange{} }
	g.trim = time.AfterFunc(trimDelay, debug.FreeOSMemory)
	g.trim.Stop() // until the first swap
	g.data = engine.New(g, engine.Settings{Limits: startLimits, Timeouts: startTimeouts, MaxConnections: o.MaxConns}, engine.Hooks{
		Refused:         g.refusedBelow,
		Panicked:        g.panicked,
		HandshakeFailed: g.handshakeFailed,
		AcceptFailed:    func(err error) { o.Log.Error("accepting connections failed", slog.Any("error", err)) },
	})
	g.shed = shed.New(shed.Env{Log: o.Log})
	o.Metrics.ObserveShedding(g.shed.Status)
	o.Metrics.ObserveClients(func() int64 { return g.data.Stats().Open })
	o.Metrics.ObserveUpstreams(g.upstreams)
	o.Metrics.ObserveCertificates(func(yield func(string, string, time.Time)) { g.holder.Peek().Expiries(yield) })
	return g
}

// What holds before the first activation.
var (
	startLimits   = ir.Limits{HeaderBytes: 32 << 10, HeaderFields: 100, URLBytes: 8 << 10, BodyBytes: 10 << 20}
	startTimeouts = ir.Timeouts{ReadHeader: 10_000, BodyIdle: 15_000, KeepAlive: 75_000}
)

// Running is the snapshot that serves, without a reference: for looking at its facts.
func (g *Gateway) Running() *snapshot.Snapshot { return g.holder.Peek() }

// Watch has each request shown to see as it came, with the snapshot that serves it, before anything is decided. It must not keep the
// request, nor take long; nil ends it. Requests that are under way when it ends may still be shown.
func (g *Gateway) Watch(see func(s *snapshot.Snapshot, r *httpmsg.Request)) {
	if see == nil {
		g.watch.Store(nil)
		return
	}
	g.watch.Store(&see)
}

// Connections counts the clients' connections and exchanges.
func (g *Gateway) Connections() engine.Stats { return g.data.Stats() }

// Swap makes next the running snapshot. It returns at once; exchanges on the old snapshot end by themselves. Those whose route is not
// the same any more are cut when the drain timeout is over, each at its own moment within the jitter; so are the others once maxKept
// younger snapshots are kept for the like of them. After Shutdown, next is released instead.
func (g *Gateway) Swap(next *snapshot.Snapshot) {
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	if g.stopped {
		next.Release()
		return
	}
	g.data.Apply(engine.Settings{Limits: next.Gateway.Limits, Timeouts: next.Gateway.Timeouts, MaxConnections: g.opts.MaxConns})
	g.opts.AccessLog.Configure(next.Gateway.AccessLog)
	g.shed.Configure(next.Gateway.LoadShedding)
	old := g.holder.Swap(next)
	swapped := time.Now()
	g.draining[old] = struct{}{}
	g.opts.Metrics.SnapshotDraining()
	g.drains.Go(func() {
		drained := sync.OnceFunc(func() { g.drained(old) })
		defer drained()
		g.drain(old, next, swapped, drained)
	})
}

func (g *Gateway) drained(old *snapshot.Snapshot) {
	g.opts.Metrics.SnapshotDrained()
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	delete(g.draining, old)
	if len(g.draining) == 0 && g.calm != nil {
		close(g.calm)
		g.calm = nil
	}
	if !g.stopped {
		g.trim.Reset(trimDelay)
	}
}

// quiet returns a channel that is closed when no old snapshot has exchanges any more; nil if that is so now.
func (g *Gateway) quiet() <-chan struct{} {
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	if len(g.draining) == 0 {
		return nil
	}
	if g.calm == nil {
		g.calm = make(chan struct{})
	}
	return g.calm
}

// trimDelay is how long after the last snapshot was closed its memory goes back to the system. Making a snapshot takes
// several times what it occupies, and a gateway may not swap again for days.
const trimDelay = 2 * time.Second

// maxKept is how many old snapshots are kept, beyond the drain timeout, for long exchanges on routes that did not change.
const maxKept = 16

// drain waits for the exchanges of an old snapshot, and cuts those that outlive the deadline, but for those that next would treat the
// same. Exchanges of snapshots before it, which were spared until now, are judged anew.
func (g *Gateway) drain(old, next *snapshot.Snapshot, swapped time.Time, drained func()) {
	deadline := time.NewTimer(g.opts.DrainTimeout)
	defer deadline.Stop()
	var quiet <-chan struct{}
	done := old.Done()
	for waits := true; waits; {
		select {
		case <-done:
			drained()
			if quiet = g.quiet(); quiet == nil {
				return
			}
			done = nil
		case <-quiet:
			return
		case <-g.stop: // the engine has ended every exchange
			g.closed(old)
			return
		case <-deadline.C:
			waits = false
		}
	}
	g.cut(old, swapped, func(owner any) bool {
		r, ok := owner.(*snapshot.Route)
		return ok && next.Has(r)
	})
	if done == nil {
		return // nobody is on old; kept with the others it would push out one that somebody is on
	}
	enough := g.keep(old)
	for {
		select {
		case <-old.Done():
			g.unkeep(old)
			return
		case <-g.stop:
			g.closed(old)
			return
		case <-enough:
			g.cut(old, swapped, nil)
			enough = nil
		}
	}
}

func (g *Gateway) cut(old *snapshot.Snapshot, swapped time.Time, spare func(owner any) bool) {
	if n := g.data.Cut(swapped, g.opts.DrainJitter, errReplaced, spare); n > 0 {
		g.opts.Log.Info("cutting exchanges that outlived the drain timeout", slog.Int("exchanges", n),
			slog.String("bundle", old.Info.Digest.Short()), slog.Duration("spread", g.opts.DrainJitter))
	}
}

// kept is an old snapshot that is kept for its exchanges.
type kept struct {
	*snapshot.Snapshot
	enough chan struct{} // closed when there are too many
}

// keep keeps a snapshot. The channel it returns is closed when too many are kept and it is the oldest.
func (g *Gateway) keep(s *snapshot.Snapshot) (enough <-chan struct{}) {
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	k := kept{s, make(chan struct{})}
	if g.kept = append(g.kept, k); len(g.kept) > maxKept {
		close(g.kept[0].enough)
		g.kept = g.kept[1:]
	}
	return k.enough
}

func (g *Gateway) unkeep(s *snapshot.Snapshot) {
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	g.kept = slices.DeleteFunc(g.kept, func(k kept) bool { return k.Snapshot == s })
}

// closeGrace is how long a policy may take to close when the gateway stops.
const closeGrace = 5 * time.Second

// closed waits until a snapshot that nobody uses any more has closed what it owns.
func (g *Gateway) closed(s *snapshot.Snapshot) {
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-s.Done():
	case <-grace.C:
		g.opts.Log.Error("a snapshot does not close", slog.String("bundle", s.Info.Digest.Short()))
	}
}

// upstreams tells the numbers of the running snapshot's upstreams, and of those that only a draining one has.
func (g *Gateway) upstreams(yield func(upstream string, n upstream.Gauges)) {
	seen := upstream.Seen{}
	tell := func(s *snapshot.Snapshot) {
		for _, u := range s.Upstreams() {
			yield(u.Spec().ID, u.Gauges(seen))
		}
	}
	g.swapMu.Lock()
	defer g.swapMu.Unlock()
	tell(g.holder.Peek())
	for s := range g.draining {
		tell(s)
	}
}

// Shedding tells what the gateway does about its own load.
func (g *Gateway) Shedding() shed.Status { return g.shed.Status() }

// Shutdown stops accepting, lets running exchanges end until ctx is over, and cuts the rest. It is idempotent.
func (g *Gateway) Shutdown(ctx context.Context) error {
	err := g.data.Shutdown(ctx)
	g.swapMu.Lock()
	if g.stopped {
		g.swapMu.Unlock()
		return err
	}
	g.stopped = true
	g.trim.Stop()
	g.swapMu.Unlock()
	close(g.stop)
	g.drains.Wait()
	g.closed(g.holder.Swap(snapshot.Empty()))
	g.opts.Metrics.Forget(g.none)
	return errors.Join(err, g.shed.Close())
}

func (g *Gateway) refusedBelow(status int, code string, remote netip.AddrPort) {
	g.opts.Metrics.Refused(code)
	g.opts.Log.Debug("refused a request before routing", slog.Int("status", status), slog.String("code", code), slog.Any("client", remote.Addr()))
}

func (g *Gateway) panicked(value any, stack []byte, remote netip.AddrPort) {
	g.opts.Metrics.Panicked()
	g.opts.Log.Error("a request panicked", slog.String("panic", fmt.Sprint(value)), slog.String("stack", string(stack)), slog.Any("client", remote.Addr()))
}

// exchange is the memory of one request, used again by the next.
type exchange struct {
	policy.Exchange
	host     string          // that was asked for, as routes are found by
	on       *snapshot.Route // nil: no route matched
	asked    int             // policies of the route that were asked
	deciding bool            // one of them is being asked
	broken   bool            // something has panicked: nothing more is asked of the policies
	span     *telemetry.Span
	record   telemetry.Record
	params   [16]policy.Param
}

// recovered turns a panic of a policy or a target into an answer, once for all of them.
func (g *Gateway) recovered(value any, x *exchange, w httpmsg.ResponseWriter) *policy.Reject {
	x.broken = true
	g.opts.Metrics.Panicked()
	g.opts.Log.Error("an exchange panicked", slog.String("panic", fmt.Sprint(value)), slog.String("route", x.Route.ID),
		slog.String("request", x.ID), slog.String("stack", string(debug.Stack())))
	if w.Started() {
		w.Abort()
	}
	reject := &policy.Reject{Status: 500, Code: "internal_error", Detail: "the gateway failed on this request"}
	if x.deciding {
		x.on.Count(x.asked, policy.Refuse(reject))
	}
	return reject
}
