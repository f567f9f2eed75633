package activate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// gateway is an activator with what stands around it, but for listeners.
type gateway struct {
	*activate.Activator
	t       *testing.T
	pub     *publisher.Publisher
	clock   *testkit.Clock
	metrics *telemetry.Metrics
	shared  *snapshot.Shared
	holder  *snapshot.Holder
	store   *state.Store
	swaps   int
	log     *syncBuffer
	stop    func()
	dir     string
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type setup struct {
	mode    activate.Mode
	dir     string // of the state; "": no store
	env     string
	pub     *publisher.Publisher
	clock   *testkit.Clock
	runtime string
	gate    activate.Gate
	told    func(activate.Event)
}

func start(t *testing.T, o setup) *gateway {
	t.Helper()
	if o.clock == nil {
		o.clock = testkit.NewClock(time.Time{})
	}
	if o.env == "" {
		o.env = "prod"
	}
	if o.pub == nil {
		o.pub = publisher.New(t, "prod")
	}
	if o.runtime == "" {
		o.runtime = "1.0.0"
	}
	o.pub.Now = o.clock.Now
	g := &gateway{t: t, pub: o.pub, clock: o.clock, shared: snapshot.NewShared(), holder: snapshot.NewHolder(snapshot.Empty()), log: &syncBuffer{}, dir: o.dir}
	log := slog.New(slog.NewTextHandler(g.log, nil))
	var err error
	if g.metrics, err = telemetry.New(telemetry.Build{Version: "test"}); err != nil {
		t.Fatal(err)
	}
	if o.dir != "" {
		if g.store, err = state.Open(o.dir); err != nil {
			t.Fatal(err)
		}
	}
	tracers := telemetry.NewTracers(telemetry.TracerOptions{Metrics: g.metrics, Log: log})
	g.Activator = activate.New(activate.Options{
		Trust: o.pub.Trust, Environment: o.env, Runtime: o.runtime, Mode: o.mode, Store: g.store, Metrics: g.metrics, Log: log, Now: o.clock.Now, Gate: o.gate, Told: o.told,
		Swap: func(next *snapshot.Snapshot) { g.swaps++; g.holder.Swap(next) },
		Builder: &snapshot.Builder{
			Kinds: all.Kinds(), Targets: targets.Kinds(), Shared: g.shared, Metrics: g.metrics, Tracers: tracers,
			Env: policy.Env{Log: log, Now: o.clock.Now},
		},
	})
	g.stop = sync.OnceFunc(func() {
		old := g.holder.Swap(snapshot.Empty())
		<-old.Done()
		testkit.Eventually(t, "every snapshot is closed", func() bool { return g.shared.Len() == 0 })
		tracers.Close()
		if g.store != nil {
			if err := g.store.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(g.stop)
	return g
}

// program is something that differs with n.
func (g *gateway) program(n int) *ir.Program {
	p := g.pub.Program("127.0.0.1:9", "a", "b")
	p.Routes[0].Forward.Timeout = int64(1000 + n)
	return p
}

// offer publishes and offers a program.
func (g *gateway) offer(p *ir.Program) (*bundle.Raw, error) {
	raw := g.pub.Publish(p)
	return raw, g.Offer(context.Background(), raw, fmt.Sprintf("etag-%d.%d", g.pub.Epoch, g.pub.Version))
}

func (g *gateway) mustOffer(p *ir.Program) *bundle.Raw {
	g.t.Helper()
	raw, err := g.offer(p)
	if err != nil {
		g.t.Fatal(err)
	}
	return raw
}

func (g *gateway) running() string {
	s := g.holder.Peek()
	if s.IsEmpty() {
		return "nothing"
	}
	return s.Info.Position.String()
}

func (g *gateway) want(version string) {
	g.t.Helper()
	if got := g.running(); got != version {
		g.t.Errorf("%s runs, want %s", got, version)
	}
}

func (g *gateway) metric(line string) {
	g.t.Helper()
	var out strings.Builder
	if _, err := g.metrics.WriteMetrics(&out, ""); err != nil {
		g.t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\n"+line+"\n") {
		var have []string
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		for l := range strings.Lines(out.String()) {
			if strings.HasPrefix(l, name) {
				have = append(have, l)
			}
		}
		g.t.Errorf("no metric %s, but %q", line, have)
	}
}

func TestModes(t *testing.T) {
	for _, tt := range []struct {
		mode    activate.Mode
		then    string // what runs after a second version
		pending string
	}{
		{activate.Auto, "1.2", ""},
		{activate.Off, "1.1", "sync is off"},
		{activate.DryRun, "1.1", "sync is in dry-run; it verifies and builds"},
	} {
		t.Run(string(tt.mode), func(t *testing.T) {
			g := start(t, setup{mode: tt.mode})
			if _, err := g.Archive(); !errors.Is(err, activate.ErrNothing) || g.ETag() != "" {
				t.Errorf("before anything: %v, etag %q", err, g.ETag())
			}
			first := g.mustOffer(g.program(1)) // the first one is activated in every mode
			g.want("1.1")
			if st := g.Status(); !st.ActivatedAt.Equal(g.clock.Now()) || st.Failure != nil || st.Pending != nil {
				t.Errorf("status is %+v", st)
			}
			shared := g.shared.Len()
			g.clock.Advance(time.Minute)
			second := g.mustOffer(g.program(2))
			g.want(tt.then)
			st := g.Status()
			if tt.pending == "" {
				if st.Pending != nil || g.ETag() != "etag-1.2" {
					t.Errorf("pending %+v, etag %q", st.Pending, g.ETag())
				}
				return
			}
			if st.Pending == nil || st.Pending.Why != tt.pending || st.Pending.Position.String() != "1.2" || g.swaps != 1 || g.ETag() != "etag-1.1" {
				t.Fatalf("pending is %+v after %d swaps, etag %q", st.Pending, g.swaps, g.ETag())
			}
			if err := g.Offer(t.Context(), second, "etag-1.2"); err != nil {
				t.Error(err)
			}
			if n := strings.Count(g.log.String(), "a new bundle waits"); n != 1 {
				t.Errorf("said %d times that a bundle waits", n)
			}
			// The source goes back to what runs: nothing waits any more.
			if err := g.Offer(t.Context(), first, "etag-1.1"); err != nil || g.Status().Pending != nil {
				t.Errorf("pending is %+v, %v", g.Status().Pending, err)
			}
			testkit.Eventually(t, "what was built to see is closed", func() bool { return g.shared.Len() == shared })
		})
	}
}

// dry-run builds: a candidate that verifies and cannot be built is a failure, not a pending one.
func TestDryRunBuilds(t *testing.T) {
	g := start(t, setup{mode: activate.DryRun})
	g.mustOffer(g.program(1))
	bad := g.program(2)
	bad.Routes[0].Target.Upstream = "nowhere"
	if _, err := g.offer(bad); err == nil || g.Status().Pending != nil || g.Status().Failure == nil {
		t.Errorf("offer gave %v, status %+v", err, g.Status())
	}
}

// Whatever is wrong with a candidate, what runs goes on, and status and metrics say the same stable word.
func TestRefusals(t *testing.T) {
	type offer func(g *gateway) *bundle.Raw
	tests := []struct {
		reason, text string
		offer        offer
	}{
		{"version_older", "channel 1.4 is older than 1.5", func(g *gateway) *bundle.Raw { g.pub.Version = 3; return g.pub.Publish(g.program(2)) }},
		{"version_fork", "channel 1.5 was activated as", func(g *gateway) *bundle.Raw { g.pub.Version = 4; return g.pub.Publish(g.program(2)) }},
		{"channel_expired", "channel 1.6 expired at 2026-01-01T01:00:00Z", func(g *gateway) *bundle.Raw {
			raw := g.pub.Publish(g.program(2))
			g.clock.Advance(time.Hour)
			return raw
		}},
		{"channel_missing", "gwctl apply", func(g *gateway) *bundle.Raw {
			raw := g.pub.Publish(g.program(2))
			raw.Channel = nil
			return raw
		}},
		{"wrong_environment", `for environment "test", this is "prod"`, func(g *gateway) *bundle.Raw {
			g.pub.Environment = "test"
			return g.pub.Publish(g.program(2))
		}},
		{"key_unknown", "", func(g *gateway) *bundle.Raw {
			other := publisher.New(g.t, "prod")
			other.Now, other.Version = g.clock.Now, 5
			return other.Publish(g.program(2))
		}},
		{"signature_invalid", "", func(g *gateway) *bundle.Raw {
			raw := g.pub.Publish(g.program(2))
			raw.Channel = swapDigit(raw.Channel)
			return raw
		}},
		{"manifest_mismatch", "", func(g *gateway) *bundle.Raw {
			raw := g.pub.Publish(g.program(2))
			raw.Manifest = g.pub.Bundle(g.program(3)).Raw().Manifest
			return raw
		}},
		{"shard_missing", "", func(g *gateway) *bundle.Raw {
			raw := g.pub.Publish(g.program(2))
			raw.Blobs = nil
			return raw
		}},
		{"runtime_too_old", "policy/quantum, which this gwrun does not have; upgrade gwrun first", func(g *gateway) *bundle.Raw {
			p := g.program(2)
			p.Routes[0].Policies = []ir.Policy{{Kind: "quantum", Plan: json.RawMessage(`{}`)}}
			return g.pub.Publish(p)
		}},
		{"build_failed", `route "a" names upstream "nowhere"`, func(g *gateway) *bundle.Raw {
			p := g.program(2)
			p.Routes[0].Target.Upstream = "nowhere"
			return g.pub.Publish(p)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			g := start(t, setup{mode: activate.Auto, dir: t.TempDir()})
			g.pub.Version = 4
			g.mustOffer(g.program(1))
			running, archive := g.holder.Peek(), mustArchive(t, g)
			activated := g.Status().ActivatedAt
			raw := tt.offer(g)
			for range 2 { // the source offers it again and again
				if err := g.Offer(t.Context(), raw, "etag-new"); err == nil || !strings.Contains(err.Error(), tt.text) || activate.Reason(err) != tt.reason {
					t.Fatalf("error is %v, reason %s", err, activate.Reason(err))
				}
			}
			st := g.Status()
			if st.Failure == nil || st.Failure.Reason != tt.reason || !strings.Contains(st.Failure.Message, tt.text) || !st.ActivatedAt.Equal(activated) {
				t.Errorf("status is %+v", st)
			}
			if g.holder.Peek() != running || g.swaps != 1 || g.ETag() != "etag-1.5" || !bytes.Equal(mustArchive(t, g), archive) {
				t.Error("what runs was touched")
			}
			g.metric(`gw_bundle_activations_total{outcome="failure",reason="` + tt.reason + `"} 2`)
			g.metric(`gw_bundle_last_activation_successful 0`)
			if n := strings.Count(g.log.String(), "a new bundle was refused"); n != 1 {
				t.Errorf("the log says so %d times", n)
			}
			// A good one ends it.
			g.pub.Environment, g.pub.Version = "prod", 6
			g.mustOffer(g.program(4))
			g.want("1.7")
			if st := g.Status(); st.Failure != nil {
				t.Errorf("failure is still %+v", st.Failure)
			}
			g.metric(`gw_bundle_last_activation_successful 1`)
		})
	}
}

// swapDigit changes one character of the payload of an envelope.
func swapDigit(envelope []byte) []byte {
	out := bytes.Clone(envelope)
	at := bytes.Index(out, []byte(`"payload":"`)) + len(`"payload":"`) + 40
	if out[at] == 'A' {
		out[at] = 'B'
	} else {
		out[at] = 'A'
	}
	return out
}

func mustArchive(t *testing.T, g *gateway) []byte {
	t.Helper()
	data, err := g.Archive()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Precheck refuses what Offer would refuse, before anything large is fetched, and changes nothing.
func TestPrecheck(t *testing.T) {
	g := start(t, setup{mode: activate.Auto})
	g.pub.Version = 4
	g.mustOffer(g.program(1))
	g.pub.Version = 3
	old := g.pub.Publish(g.program(2))
	if err := g.Precheck(old.Channel, old.Manifest); activate.Reason(err) != "version_older" {
		t.Errorf("an old one gives %v", err)
	}
	g.pub.Version = 5
	next := g.pub.Publish(g.program(2))
	if err := g.Precheck(next.Channel, next.Manifest); err != nil {
		t.Errorf("a good one gives %v", err)
	}
	if err := g.Precheck(next.Channel, old.Manifest); err != nil && activate.Reason(err) != "manifest_mismatch" {
		t.Errorf("another manifest gives %v", err)
	}
	if err := g.Precheck(nil, next.Manifest); err != nil {
		t.Errorf("without a channel: %v", err)
	}
	if g.Status().Failure != nil || g.swaps != 1 {
		t.Error("precheck changed something")
	}
}

// A renewed channel is a new version of the same bundle: nothing is rebuilt, and the time of activation stays.
func TestRenewal(t *testing.T) {
	g := start(t, setup{mode: activate.Auto, dir: t.TempDir()})
	b := g.pub.Bundle(g.program(1))
	if err := g.Offer(t.Context(), g.pub.Channel(b, nil), "1"); err != nil {
		t.Fatal(err)
	}
	activated := g.Status().ActivatedAt
	routes := g.holder.Peek().Routes()
	g.clock.Advance(30 * time.Minute)
	renewed := g.pub.Channel(b, nil)
	if err := g.Offer(t.Context(), renewed, "2"); err != nil {
		t.Fatal(err)
	}
	s := g.holder.Peek()
	if s.Info.Position.String() != "1.2" || !s.Info.ExpiresAt.Equal(g.clock.Now().Add(time.Hour)) || !g.Status().ActivatedAt.Equal(activated) {
		t.Errorf("runs %s until %s, activated at %s", s.Info.Position, s.Info.ExpiresAt, g.Status().ActivatedAt)
	}
	if (s.Reuse != snapshot.Reuse{RoutesKept: 2, UpstreamsKept: 1}) || s.Routes()[0] != routes[0] {
		t.Errorf("reuse is %+v", s.Reuse)
	}
	// After a restart it is the renewed one, with the time of the first.
	g.stop()
	h := start(t, setup{mode: activate.Auto, dir: g.dir, pub: g.pub, clock: g.clock})
	if ok, err := h.Restore(t.Context()); !ok || err != nil || h.running() != "1.2" || !h.Status().ActivatedAt.Equal(activated) || h.ETag() != "2" {
		t.Errorf("restored %v, %v: %s since %s, etag %q", ok, err, h.running(), h.Status().ActivatedAt, h.ETag())
	}
}
