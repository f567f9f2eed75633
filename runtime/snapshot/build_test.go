package snapshot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/snapshot"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// bench is a builder with a kind of policy that does as its plan says, and a count of what is open.
type bench struct {
	*snapshot.Builder
	pub  *publisher.Publisher
	mu   sync.Mutex
	open map[string]int // handlers by name
}

type plan struct {
	Name  string `json:"name"`
	Fail  string `json:"fail,omitempty"`
	Panic bool   `json:"panic,omitempty"`
}

type handler struct {
	b    *bench
	name string
	free func()
}

func (h *handler) Decide(context.Context, *policy.Exchange) policy.Verdict { return policy.Pass }

func (h *handler) Close() error {
	h.free()
	h.b.mu.Lock()
	defer h.b.mu.Unlock()
	if h.b.open[h.name]--; h.b.open[h.name] < 0 {
		return errors.New("closed twice")
	}
	return nil
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	m, err := telemetry.New(telemetry.Build{Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(tb.Output(), nil))
	b := &bench{pub: publisher.New(tb, "prod"), open: map[string]int{}}
	type spec struct{}
	kind := policy.Define("test", policy.PhaseAdmit, func(*policy.CompileContext, *spec) *plan { return nil },
		func(_ context.Context, e *policy.Env, p *plan) (policy.Handler, error) {
			switch {
			case p.Fail != "":
				return nil, errors.New(p.Fail)
			case p.Panic:
				panic("cannot be built")
			}
			_, free, err := e.Shared.Get("test/"+p.Name, func() (any, error) { return new(int), nil })
			if err != nil {
				return nil, err
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			b.open[p.Name]++
			return &handler{b, p.Name, free}, nil
		})
	tracers := telemetry.NewTracers(telemetry.TracerOptions{Metrics: m, Log: log})
	tb.Cleanup(tracers.Close)
	b.Builder = &snapshot.Builder{
		Kinds: append(all.Kinds(), kind), Targets: targets.Kinds(), Shared: snapshot.NewShared(), Metrics: m, Tracers: tracers,
		Env: policy.Env{Log: log, Now: time.Now},
	}
	return b
}

func (b *bench) build(prog *ir.Program, prev *snapshot.Snapshot) (*snapshot.Snapshot, error) {
	return b.Build(context.Background(), b.pub.Verify(b.pub.Publish(prog)), prev)
}

// running counts the handlers that are open.
func (b *bench) running() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for name, n := range b.open {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s=%d", name, n))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// series counts the series that exist per route and upstream.
func (b *bench) series(t *testing.T) int {
	t.Helper()
	var out strings.Builder
	if _, err := b.Metrics.WriteMetrics(&out, ""); err != nil {
		t.Fatal(err)
	}
	return strings.Count(out.String(), "route=") + strings.Count(out.String(), "upstream=")
}

func tested(r ir.Route, p plan) ir.Route {
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	r.Policies = append(r.Policies, ir.Policy{Kind: "test", Plan: raw})
	return r
}

func byID(s *snapshot.Snapshot) map[string]*snapshot.Route {
	out := map[string]*snapshot.Route{}
	for _, r := range s.Routes() {
		out[r.Info.ID] = r
	}
	return out
}

func release(s *snapshot.Snapshot) {
	s.Release()
	<-s.Done()
}

// Reuse is by route: what did not change is the same object, and goes on through any number of snapshots.
func TestReuse(t *testing.T) {
	b := newBench(t)
	program := func(change func(*ir.Program)) *ir.Program {
		p := b.pub.Program("127.0.0.1:9", "a", "b", "c")
		p.Upstreams = append(p.Upstreams, publisher.Upstream("other", "127.0.0.1:10"))
		p.Routes = append(p.Routes, publisher.Route("d", "other"))
		for i := range p.Routes {
			p.Routes[i] = tested(p.Routes[i], plan{Name: p.Routes[i].ID})
		}
		if change != nil {
			change(p)
		}
		return p
	}
	tests := []struct {
		name    string
		change  func(*ir.Program)
		rebuilt string
		reuse   snapshot.Reuse
	}{
		{"nothing", nil, "", snapshot.Reuse{RoutesKept: 4, UpstreamsKept: 2}},
		{"a gateway setting", func(p *ir.Program) { p.Gateway.Limits.BodyBytes++ }, "", snapshot.Reuse{RoutesKept: 4, UpstreamsKept: 2}},
		{"one route", func(p *ir.Program) { p.Routes[1].Forward.Timeout++ }, "b", snapshot.Reuse{RoutesKept: 3, RoutesBuilt: 1, UpstreamsKept: 2}},
		{"one policy", func(p *ir.Program) { p.Routes[2] = tested(p.Routes[2], plan{Name: "more"}) }, "c", snapshot.Reuse{RoutesKept: 3, RoutesBuilt: 1, UpstreamsKept: 2}},
		{"an upstream", func(p *ir.Program) { p.Upstreams[1].ConnectTimeout++ }, "d", snapshot.Reuse{RoutesKept: 3, RoutesBuilt: 1, UpstreamsKept: 1, UpstreamsBuilt: 1}},
		{"where a route points", func(p *ir.Program) { p.Routes[0].Target.Upstream = "other" }, "a", snapshot.Reuse{RoutesKept: 3, RoutesBuilt: 1, UpstreamsKept: 2}},
		{"a new route", func(p *ir.Program) { p.Routes = append(p.Routes, publisher.Route("e", "up")) }, "e", snapshot.Reuse{RoutesKept: 4, RoutesBuilt: 1, UpstreamsKept: 2}},
		{"a route gone", func(p *ir.Program) { p.Routes = p.Routes[1:] }, "", snapshot.Reuse{RoutesKept: 3, UpstreamsKept: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, err := b.build(program(nil), nil)
			if err != nil {
				t.Fatal(err)
			}
			second, err := b.build(program(tt.change), first)
			if err != nil {
				t.Fatal(err)
			}
			if second.Reuse != tt.reuse {
				t.Errorf("reuse is %+v, want %+v", second.Reuse, tt.reuse)
			}
			was := byID(first)
			for id, r := range byID(second) {
				if (r != was[id]) != strings.Contains(tt.rebuilt, id) {
					t.Errorf("route %s: rebuilt is %v", id, r != was[id])
				}
			}
			release(first)
			// What the first one built serves on, and once more into a third, which sees the change undone.
			third, err := b.build(program(nil), second)
			if err != nil {
				t.Fatal(err)
			}
			now := byID(second)
			release(second)
			for id, r := range byID(third) {
				if !strings.Contains(tt.rebuilt, id) && now[id] != nil && r != now[id] {
					t.Errorf("route %s did not last", id)
				}
			}
			if got := b.running(); got != "a=1 b=1 c=1 d=1" {
				t.Errorf("open handlers: %s", got)
			}
			release(third)
			if got := b.running(); got != "" || b.Shared.Len() != 0 {
				t.Errorf("in the end: handlers %s, %d shared values", got, b.Shared.Len())
			}
		})
	}
}

// A candidate that cannot be built leaves nothing behind, and disturbs nothing.
func TestFailedBuildUndoesItself(t *testing.T) {
	tests := []struct {
		name, want string
		change     func(*ir.Program)
	}{
		{"a policy that fails", `route "c": build policy test: no key`, func(p *ir.Program) {
			p.Routes[2] = tested(tested(p.Routes[2], plan{Name: "before"}), plan{Fail: "no key"})
		}},
		{"a policy that panics", "panic: cannot be built", func(p *ir.Program) {
			p.Routes[2] = tested(tested(p.Routes[2], plan{Name: "before"}), plan{Panic: true})
		}},
		{"a field in a plan that nobody knows", `json: unknown field "burst"`, func(p *ir.Program) {
			p.Routes[2].Policies = []ir.Policy{{Kind: "bodyLimit", Plan: json.RawMessage(`{"burst":1,"maxBytes":1}`)}}
		}},
		{"a field in a target plan that nobody knows", `json: unknown field "rewrite"`, func(p *ir.Program) {
			p.Routes[2].Target.Plan = json.RawMessage(`{"rewrite":1}`)
		}},
		{"an upstream that is missing", `route "c" names upstream "nowhere", which the bundle does not have`, func(p *ir.Program) {
			p.Routes[2].Target.Upstream = "nowhere"
		}},
		{"no upstream", `route "c" names upstream ""`, func(p *ir.Program) { p.Routes[2].Target.Upstream = "" }},
		{"a route twice", `route "b" is in the bundle twice`, func(p *ir.Program) { p.Routes[2].ID = "b" }},
		{"an upstream twice", `upstream "up" is in the bundle twice`, func(p *ir.Program) {
			p.Upstreams = append(p.Upstreams, publisher.Upstream("up", "127.0.0.1:11"))
		}},
		{"an upstream without a port", `endpoint "localhost"`, func(p *ir.Program) { p.Upstreams[0].Endpoints[0].Address = "localhost" }},
		{"a pattern that is none", "build router", func(p *ir.Program) { p.Routes[2].Match = ir.Match{PathRegex: "("} }},
		{"a proxy that is no prefix", "trusted proxies", func(p *ir.Program) { p.Gateway.TrustedProxies = []string{"here"} }},
		{"an endpoint of traces that is none", "trace exporter", func(p *ir.Program) { p.Gateway.Tracing.Endpoint = "here" }},
	}
	b := newBench(t)
	base := func() *ir.Program {
		p := b.pub.Program("127.0.0.1:9", "a", "b", "c", "d")
		for i := range p.Routes {
			p.Routes[i] = tested(p.Routes[i], plan{Name: p.Routes[i].ID})
		}
		return p
	}
	running, err := b.build(base(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range running.Routes() {
		r.Metrics.Record("GET", 200, 0, 0, 0)
		r.Upstream.Answered(0)
	}
	series, values := b.series(t), b.Shared.Len()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, prev := range []*snapshot.Snapshot{running, nil} {
				p := base()
				p.Upstreams[0].MaxIdle++ // so that everything is made anew
				tt.change(p)
				s, err := b.build(p, prev)
				if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("built %v, error %v, want %q", s, err, tt.want)
				}
				if got := b.running(); got != "a=1 b=1 c=1 d=1" {
					t.Errorf("open handlers: %s", got)
				}
				if n := b.Shared.Len(); n != values {
					t.Errorf("%d shared values, %d before", n, values)
				}
				if n := b.series(t); n != series {
					t.Errorf("%d series, %d before", n, series)
				}
			}
		})
	}
	release(running)
	if n := b.series(t); b.running() != "" || b.Shared.Len() != 0 || n != 0 {
		t.Errorf("in the end: handlers %s, %d shared values, %d series", b.running(), b.Shared.Len(), n)
	}
}

// What this gwrun does not have is refused by the manifest alone, and, if the manifest is silent, when the route comes.
func TestUnknownKinds(t *testing.T) {
	b := newBench(t)
	prog := b.pub.Program("127.0.0.1:9", "a", "b")
	prog.Routes[0] = tested(prog.Routes[0], plan{Name: "a"})
	shards := func() []bundle.Shard {
		out, err := ir.Pack(prog)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	prog.Routes[1].Policies = []ir.Policy{{Kind: "quantum", Plan: json.RawMessage(`{}`)}}
	b.Kinds = slices.Clone(b.Kinds)
	for _, tt := range []struct {
		name, reason, want string
		kinds              []string
	}{
		{"listed", string(bundle.RuntimeTooOld), "policy/quantum, which this gwrun does not have; upgrade gwrun first", []string{"policy/quantum", "policy/test", "target/http"}},
		{"not listed", "", `policy kind "quantum" is not known to this gwrun`, []string{"policy/test", "target/http"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := b.pub.Verify(b.pub.Channel(b.pub.Shards(shards(), tt.kinds...), nil))
			_, err := b.Build(t.Context(), v, nil)
			var refusal *bundle.Error
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &refusal) != (tt.reason != "") {
				t.Fatalf("error is %v", err)
			}
			if refusal != nil && string(refusal.Reason) != tt.reason {
				t.Errorf("reason is %s", refusal.Reason)
			}
			if b.running() != "" || b.Shared.Len() != 0 {
				t.Errorf("left: %s, %d shared values", b.running(), b.Shared.Len())
			}
		})
	}
	prog.Routes[1].Policies, prog.Routes[1].Target.Type = nil, "teapot"
	if _, err := b.Build(t.Context(), b.pub.Verify(b.pub.Channel(b.pub.Shards(shards()), nil)), nil); err == nil || !strings.Contains(err.Error(), `target type "teapot" is not known`) {
		t.Errorf("error is %v", err)
	}
}

// A shard this version does not understand to the last field is not half understood.
func TestUnknownFieldsInShards(t *testing.T) {
	b := newBench(t)
	good, err := ir.Pack(b.pub.Program("127.0.0.1:9", "a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []bundle.ShardKind{bundle.KindGateway, bundle.KindUpstreams, bundle.KindRoutes} {
		t.Run(string(kind), func(t *testing.T) {
			shards := slices.Clone(good)
			for i := range shards {
				if shards[i].Kind == kind {
					text := strings.Replace(string(shards[i].Data), `{"`, `{"`+"$new"+`":1,"`, 1)
					shards[i].Data = []byte(text)
				}
			}
			_, err := b.Build(t.Context(), b.pub.Verify(b.pub.Channel(b.pub.Shards(shards, "target/http"), nil)), nil)
			if err == nil || !strings.Contains(err.Error(), `unknown field "$new"`) {
				t.Errorf("error is %v", err)
			}
			if b.Shared.Len() != 0 {
				t.Errorf("%d shared values are left", b.Shared.Len())
			}
		})
	}
}

// A snapshot that is closed already gives nothing, and building from it is building from nothing.
func TestBuildBesideClosedSnapshot(t *testing.T) {
	b := newBench(t)
	first, err := b.build(b.pub.Program("127.0.0.1:9", "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	release(first)
	second, err := b.build(b.pub.Program("127.0.0.1:9", "a"), first)
	if err != nil {
		t.Fatal(err)
	}
	if second.Reuse.RoutesBuilt != 1 || second.Reuse.UpstreamsBuilt != 1 {
		t.Errorf("reuse is %+v", second.Reuse)
	}
	release(second)
}

func TestBuildStopsWithItsContext(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Build(ctx, b.pub.Verify(b.pub.Publish(b.pub.Program("127.0.0.1:9", "a"))), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if b.Shared.Len() != 0 {
		t.Error("something is left")
	}
}

// large is 10,000 routes, of which n differ from those of large(b, 0).
func large(b *bench, n int) *ir.Program {
	prog := b.pub.Program("127.0.0.1:9")
	for i := range 10_000 {
		r := publisher.Route(fmt.Sprintf("route-%05d", i), "up")
		r.Match.Host, r.Match.Methods = fmt.Sprintf("h%03d.example.com", i%100), []string{"GET", "POST"}
		r.Policies = []ir.Policy{{Kind: "bodyLimit", Plan: json.RawMessage(`{"maxBytes":1048576}`)}}
		if i < n {
			r.Forward.Timeout++
		}
		prog.Routes = append(prog.Routes, r)
	}
	return prog
}

func TestReuseOfTenThousand(t *testing.T) {
	b := newBench(t)
	first, err := b.build(large(b, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.build(large(b, 2), first)
	if err != nil {
		t.Fatal(err)
	}
	if want := (snapshot.Reuse{RoutesKept: 9_998, RoutesBuilt: 2, UpstreamsKept: 1}); second.Reuse != want {
		t.Errorf("reuse is %+v, want %+v", second.Reuse, want)
	}
	release(first)
	release(second)
}

func BenchmarkBuild(b *testing.B) {
	bb := newBench(b)
	bb.Env.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
	base := bb.pub.Verify(bb.pub.Publish(large(bb, 0)))
	first, err := bb.Build(b.Context(), base, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer release(first)
	for _, bm := range []struct {
		name string
		v    *bundle.Verdict
		prev *snapshot.Snapshot
	}{
		{"cold", base, nil},
		{"same", base, first},
		{"1 changed", bb.pub.Verify(bb.pub.Publish(large(bb, 1))), first},
		{"all changed", bb.pub.Verify(bb.pub.Publish(large(bb, 10_000))), first},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := bb.Build(b.Context(), bm.v, bm.prev)
				if err != nil {
					b.Fatal(err)
				}
				release(s)
			}
		})
	}
}
