package simulate

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state/memstate"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/bundle"
)

// Tools are the kinds that a gateway has, in pipeline order.
type Tools struct {
	Kinds   []policy.Kind
	Targets []target.Kind
}

// world is a gateway that serves one program, in which everything a policy can reach is a stand-in: the clock, state, secrets, keys
// of issuers, chance, and the servers behind it. It is for one goroutine at a time.
//
// The snapshot is built once. What lives in it begins anew with each case: a policy or a target is made when a case first meets it,
// and closed when the case is over. So a case costs what it touches, whatever the size of the configuration, and leaves nothing behind.
type world struct {
	gateway *runtime.Gateway
	access  *telemetry.AccessLog
	tracers *telemetry.Tracers
	limits  http1.Limits
	network *network
	issuers *issuers
	points  *points

	environment string

	clock  atomic.Int64 // Unix nanoseconds
	epoch  int          // of the case under way
	shared *snapshot.Shared
	state  *memstate.State
	chance *rand.Rand
	away   map[string]bool
	alive  []io.Closer // made in this case
	mutant *Mutant     // what is weakened; nil: nothing

	trace trace
	marks marks

	scan http1.Scanner
	head http1.RequestHead
	out  answer
}

// newWorld makes the gateway. first has every policy built at once, so that one that cannot be built is known.
func newWorld(ctx context.Context, v *bundle.Verdict, t Tools, pts *points, iss *issuers, first bool) (*world, error) {
	log := slog.New(slog.DiscardHandler)
	metrics, err := telemetry.New(telemetry.Build{})
	if err != nil {
		return nil, err
	}
	w := &world{
		access: telemetry.NewAccessLog(io.Discard, false, metrics, log), tracers: telemetry.NewTracers(telemetry.TracerOptions{Metrics: metrics, Log: log}),
		network: newNetwork(), issuers: iss, points: pts, marks: newMarks(pts.len()), environment: v.Bundle.Manifest.Environment,
	}
	w.out.world = w
	w.gateway = runtime.New(runtime.Options{Log: log, Metrics: metrics, AccessLog: w.access})
	w.begin(time.Unix(0, 0), nil)
	b := &snapshot.Builder{
		Env: policy.Env{Log: log, Now: w.now}, Shared: snapshot.NewShared(), Metrics: metrics, Tracers: w.tracers,
		Upstreams: upstream.Env{Rand: func() uint64 { return 0 }, Dial: w.network.dial},
	}
	for _, k := range t.Kinds {
		b.Kinds = append(b.Kinds, w.witnesses(k, first))
	}
	for _, k := range t.Targets {
		b.Targets = append(b.Targets, w.destinations(k))
	}
	s, err := b.Build(ctx, v, nil)
	if err != nil {
		w.close()
		return nil, fmt.Errorf("build configuration: %w", err)
	}
	l := &s.Gateway.Limits
	w.limits = http1.Limits{Bytes: int(l.HeaderBytes), Fields: int(l.HeaderFields), Target: int(l.URLBytes)}
	w.gateway.Swap(s)
	return w, nil
}

// close ends the gateway.
func (w *world) close() {
	w.end()
	_ = w.gateway.Shutdown(context.Background()) // nothing is under way
	w.tracers.Close()
	_ = w.access.Close(context.Background()) // it was switched off
}

func (w *world) now() time.Time { return time.Unix(0, w.clock.Load()).UTC() }

// begin begins a case: with nothing counted, nothing remembered, and the same chance as the last time.
func (w *world) begin(at time.Time, away []string) {
	w.end()
	w.epoch++
	w.clock.Store(at.UnixNano())
	w.shared, w.state = snapshot.NewShared(), memstate.New(memstate.Options{Now: w.now})
	w.chance = rand.New(rand.NewPCG(1, 2))
	w.away = map[string]bool{}
	for _, what := range away {
		w.away[what] = true
	}
	w.marks.reset()
}

// end closes what a case has made.
func (w *world) end() {
	for i := len(w.alive) - 1; i >= 0; i-- {
		_ = w.alive[i].Close() // nothing depends on it any more
	}
	w.alive = w.alive[:0]
}

// made notes something that lives as long as the case.
func (w *world) made(v any) {
	if c, ok := v.(io.Closer); ok {
		w.alive = append(w.alive, c)
	}
}
