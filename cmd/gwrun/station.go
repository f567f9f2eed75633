package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/keyset"
	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/secret"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/runtime/state/redisstate"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// station is one gateway with everything around it, wired. Dev mode and production differ in where bundles come from.
type station struct {
	c         *config
	log       *slog.Logger
	metrics   *telemetry.Metrics
	tracers   *telemetry.Tracers
	access    *telemetry.AccessLog
	gateway   *runtime.Gateway
	activator *activate.Activator
	gates     *gatekeeper   // nil: nothing is held
	overlays  *overlays.Set // nil: none are taken
	own       *admin.Server
	hooks     *hooks
	trail     *trail // nil: none is kept
	reload    func()
	ownServer *engine.Server // nil: reserved paths are on the data listeners
	status    *status
	drift     *drift.Watcher  // nil: no repository to compare with
	heard     bundle.Position // the newest that another gateway was seen to run

	secrets *secret.Store
	state   policy.State       // nil: none is shared
	redis   *redisstate.Client // nil: it is not in Redis
	keys    *apikeys.Service   // nil: none are kept
	keySets policy.KeySets
	people  *access.Control // who may use the admin API
	pepper  []byte
	opened  openListeners

	serving sync.WaitGroup
	failed  chan error // a listener that ended by itself
}

// stationOptions are what differs between dev mode and production.
type stationOptions struct {
	trust *bundle.Trust
	store *state.Store
	dev   bool
	// keysFor is the environment that API keys are for, if it is not the one of the configuration.
	keysFor string
	reload  func()
	gates   *gatekeeper // nil: nothing is held
	out     io.Writer   // of the access log
	colour  bool
}

func newStation(c *config, log *slog.Logger, o stationOptions) (*station, error) {
	s := &station{c: c, log: log, reload: o.reload, failed: make(chan error, 4)}
	about := telemetry.Build{Version: build.Version}
	var err error
	if s.metrics, err = telemetry.New(about); err != nil {
		return nil, err
	}
	s.tracers = telemetry.NewTracers(telemetry.TracerOptions{
		Metrics: s.metrics, Log: log, Build: about, Instance: instance(), Transport: collectorTransport(),
	})
	s.access = telemetry.NewAccessLog(o.out, o.colour, s.metrics, log)
	vectors := slices.Concat(keyset.Vectors(), redisstate.Vectors, []*policy.Vector{vectorHooks}, auditVectors)
	for _, k := range toolchain.Kinds() {
		vectors = append(vectors, k.Vectors...)
	}
	if err := s.metrics.Declare(vectors...); err != nil {
		return nil, err
	}
	if s.trail, err = openTrail(c, log, s.metrics); err != nil {
		return nil, err
	}
	s.secrets = secret.New(log)
	if err := s.openState(o.dev, cmp.Or(o.keysFor, c.Env)); err != nil {
		return nil, err
	}
	s.keySets = keyset.New(keyset.Env{Log: log, Metrics: s.metrics, Now: time.Now, Client: keyset.Client})
	if s.people, err = s.openAccess(); err != nil {
		return nil, err
	}
	s.status = &status{started: time.Now(), mode: c.Sync, redis: s.redis, secrets: s.secrets, override: s.override}
	s.overlays = s.openOverlays(&o)
	s.metrics.ObserveSecrets(s.secrets.Missing)
	s.own = admin.New(admin.Options{
		Log: log, Status: s.status, Metrics: s.metrics, Routes: s.status, Upstreams: s.status, Secrets: s.status, Keys: s.keys,
		Overlays: s.overlaid(), OverlaysLaid: func() []overlay.Outcome { return s.activator.Overlays() }, Reload: o.reload, Bundle: s.status.archive, Fleet: s.status, Audit: s.trail.administered(), Access: s.people, ClientIP: s.clientIP,
		Now: time.Now, Token: c.AdminToken, Dev: o.dev, Build: admin.Build{Version: build.Version, Go: goruntime.Version()},
	})
	s.hooks = newHooks(s, s.own)
	s.gateway = runtime.New(runtime.Options{
		Log: log, Metrics: s.metrics, AccessLog: s.access, Own: s.hooks, OwnElsewhere: c.Admin != "",
		DrainTimeout: c.DrainTimeout, DrainJitter: c.Jitter, MaxConns: c.MaxConnections,
	})
	s.status.gateway = s.gateway
	s.activator = activate.New(activate.Options{
		Trust: o.trust, Environment: c.Env, Runtime: build.Version, Mode: activate.Mode(c.Sync), Swap: s.swap,
		Store: o.store, Metrics: s.metrics, Log: log, Now: time.Now, Gate: o.gates.gate(), Judge: judgeOverlay, Told: s.trail.told(),
		Builder: &snapshot.Builder{
			Kinds: toolchain.Kinds(), Targets: toolchain.Targets(), Shared: snapshot.NewShared(), Metrics: s.metrics, Tracers: s.tracers,
			Env: s.policies(), Certificates: s.certificates(), Upstreams: upstream.Env{Secret: s.secrets.Get},
		},
	})
	s.status.activator = s.activator
	if s.gates = o.gates; s.gates != nil {
		s.gates.activator, s.gates.dry.gateway, s.gates.dry.env = s.activator, s.gateway, s.policies()
		s.status.dry = s.gates.dry
	}
	return s, nil
}

// look asks the source, and the repository that drift is about, at once.
func (s *station) look() {
	s.reload()
	if s.drift != nil {
		s.drift.Trigger()
	}
}

// policies is what policies may reach.
func (s *station) policies() policy.Env {
	return policy.Env{Log: s.log, Now: time.Now, Secrets: s.secrets, KeySets: s.keySets, State: s.state, Pepper: s.pepper}
}

// collectorTransport carries traces to the collector that the base configuration names: it may be next door, but never a
// metadata service, whatever its name resolves to. No proxy is taken from the environment: it would be dialled in its place.
func collectorTransport() http.RoundTripper {
	dialer := &net.Dialer{Timeout: 5 * time.Second, ControlContext: dialguard.Control(true)}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second,
		MaxIdleConns: 4, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
	}
}

// instance names this process in traces.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// listenOwn opens the listener for the gateway's own paths, if it has one.
func (s *station) listenOwn(ctx context.Context) error {
	if s.c.Admin == "" {
		return nil
	}
	l, err := listen(ctx, s.c.Admin)
	if err != nil {
		return err
	}
	s.status.listening("admin", l.Addr())
	s.log.Info("listening", slog.String("listener", "admin"), slog.String("address", l.Addr().String()))
	s.ownServer = engine.New(ownHandler{s.hooks}, engine.Settings{Limits: ownLimits, Timeouts: ownTimeouts, MaxConnections: 1000}, engine.Hooks{
		AcceptFailed: func(err error) { s.log.Error("accepting on the admin listener failed", slog.Any("error", err)) },
	})
	s.serve("admin", func() error { return s.ownServer.Serve(engine.Listener{Listener: l, ID: "admin"}) })
	return nil
}

var (
	ownLimits   = ir.Limits{HeaderBytes: 16 << 10, HeaderFields: 100, URLBytes: 4 << 10, BodyBytes: 512 << 10}
	ownTimeouts = ir.Timeouts{ReadHeader: 5_000, BodyIdle: 10_000, KeepAlive: 60_000}
)

func (s *station) serve(id string, serve func() error) {
	s.serving.Go(func() {
		if err := serve(); err != nil {
			s.failed <- fmt.Errorf("listener %s: %w", id, err)
		}
	})
}

// stop ends the station in the order in which nothing is lost: new connections, running exchanges, the records of both.
func (s *station) stop() error {
	s.status.drain()
	if s.gates != nil {
		s.gates.dry.stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.c.DrainTimeout)
	defer cancel()
	var errs []error
	if err := s.gateway.Shutdown(ctx); err != nil {
		s.log.Warn("exchanges were cut at the end of the drain timeout", slog.Duration("timeout", s.c.DrainTimeout))
	}
	if s.ownServer != nil {
		s.ownServer.Close()
	}
	s.serving.Wait()
	flush, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	errs = append(errs, s.access.Close(flush))
	s.tracers.Close()
	errs = append(errs, s.trail.close())
	s.hooks.configure(nil)
	s.people.Close()
	s.secrets.Close()
	s.closeState()
	return errors.Join(errs...)
}

// ownHandler serves the gateway's own paths on a listener of their own.
type ownHandler struct{ own runtime.Own }

func (h ownHandler) Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	runtime.ServeOwn(ctx, h.own, w, r)
}
