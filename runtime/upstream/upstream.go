// Package upstream keeps what is needed to reach the servers of an upstream: it follows where its endpoints are, chooses one of
// them for each attempt, connects to it under the address rules, keeps connections for others to use, and bounds what one
// upstream may hold of the gateway. It does not know routes, and it does not decide what a failure means for a client.
package upstream

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/runtime/retry"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/runtime/upstream/health"
	"github.com/suuupra/gateway/schema/ir"
)

// Errors of Acquire.
var (
	ErrNoEndpoints = errors.New("upstream has no endpoints")
	ErrUnhealthy   = errors.New("upstream has no healthy endpoints")
	ErrOverloaded  = errors.New("upstream has all its connections in use")
	ErrClosed      = errors.New("upstream is closed")
)

// DialError says which endpoint could not be connected to.
type DialError struct {
	Endpoint *Endpoint
	Err      error
}

// Error implements error.
func (e *DialError) Error() string { return "dial " + e.Endpoint.String() + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether the endpoint did not answer in time.
func (e *DialError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

// Shared keeps what several snapshots have in common. See policy.Shared.
type Shared interface {
	Get(key string, create func() (any, error)) (value any, release func(), err error)
}

// Observer is told what happens to an upstream, for metrics. Its methods are called from several goroutines.
type Observer interface {
	Health(e health.Event)
	Checked(upstream string, passed bool)
	Discovered(upstream string, endpoints int)
}

// Env is what an upstream may reach. Its zero value keeps everything to itself and logs nothing.
type Env struct {
	Shared   Shared
	Log      *slog.Logger
	Now      func() time.Time
	Rand     func() uint64
	Secret   func(ref string) ([]byte, error)
	Observer Observer
	Roots    *x509.CertPool // whom to believe about https endpoints; nil: the system's roots
	// Dial connects in place of the network, for judging requests offline. Nil: sockets, and no address that may not be dialled.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

func (e *Env) fill() {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Uint64
	}
	if e.Secret == nil {
		e.Secret = func(ref string) ([]byte, error) { return nil, fmt.Errorf("secret %s: nobody keeps secrets", ref) }
	}
}

// Upstream is one upstream at work. It is safe for concurrent use.
type Upstream struct {
	spec    ir.Upstream
	env     *Env
	dialer  net.Dialer
	use     *use
	set     atomic.Pointer[set]
	closed  atomic.Bool
	monitor *health.Monitor // nil: nothing is checked and nothing ejected
	watch   *discovery.Watch
	release []func()

	mu sync.Mutex // guards changes of set

	tlsMu      sync.Mutex
	tlsLast    *credentials // that could be read; nil: none yet
	tlsFailing bool         // they cannot be read any more
}

// use is what an upstream holds at the moment. It is the same for every snapshot that has the upstream.
type use struct {
	budget  retry.Budget // its active requests are those under way
	pending atomic.Int64
}

// New makes an upstream. It connects to nothing until it is asked to, but for health checks and discovery.
func New(spec ir.Upstream, env Env) (_ *Upstream, err error) {
	env.fill()
	u := &Upstream{spec: spec, env: &env, use: &use{}}
	u.dialer.ControlContext = dialguard.Control(spec.PrivateAddresses)
	defer func() {
		if err != nil {
			_ = u.Close()
		}
	}()
	if spec.TLS != nil { // what cannot be read now must not be found out by the first request
		if _, err := u.tlsConfig("localhost"); err != nil {
			return nil, fmt.Errorf("upstream %s: %w", spec.ID, err)
		}
	}
	if u.named() {
		value, release, err := env.Shared.Get("upstream-use/"+spec.Tenant+"/"+spec.ID, func() (any, error) { return &use{}, nil })
		if err != nil {
			return nil, err
		}
		u.use, u.release = value.(*use), append(u.release, release)
	}
	if spec.Health != nil || spec.Outlier != nil {
		u.monitor = health.NewMonitor(health.MonitorConfig{
			Upstream: spec.ID, Outlier: spec.Outlier, PanicPercent: u.panicPercent(), Now: env.Now, OnEvent: u.healthEvent,
			OnReturn: u.cameBack,
		})
	}
	if spec.Discovery == nil {
		return u, u.change(staticEndpoints(spec.Endpoints))
	}
	u.set.Store(&set{})
	return u, u.discover()
}

// named reports whether the upstream shares state with what other snapshots make of it. One that a route's url stands for is
// its one address: if that changes it is another upstream.
func (u *Upstream) named() bool { return u.env.Shared != nil && !strings.Contains(u.spec.ID, "://") }

func (u *Upstream) panicPercent() int64 {
	if u.spec.Health != nil {
		return u.spec.Health.PanicPercent
	}
	return u.spec.Outlier.PanicPercent
}

func staticEndpoints(list []ir.Endpoint) []discovery.Endpoint {
	out := make([]discovery.Endpoint, len(list))
	for i, e := range list {
		out[i] = discovery.Endpoint{Address: e.Address, Weight: e.Weight, Metadata: e.Metadata}
	}
	return out
}

// discover follows the endpoints. Snapshots that look for the same ask once.
func (u *Upstream) discover() error {
	open := func() (any, error) {
		return discovery.Open(u.spec.Discovery, discovery.Env{
			Log: u.env.Log.With(slog.String("upstream", u.spec.ID)), Now: u.env.Now, Dial: u.dialer.DialContext, Secret: u.env.Secret,
		})
	}
	release := func() {}
	var value any
	var err error
	if u.env.Shared == nil {
		value, err = open()
		if w, ok := value.(*discovery.Watch); ok && err == nil {
			release = func() { _ = w.Close() }
		}
	} else {
		value, release, err = u.env.Shared.Get("discovery/"+u.digest(struct {
			Discovery *ir.Discovery
			Private   bool
		}{u.spec.Discovery, u.spec.PrivateAddresses}), open)
	}
	if err != nil {
		return fmt.Errorf("upstream %s: %w", u.spec.ID, err)
	}
	u.watch = value.(*discovery.Watch)
	var turn sync.Mutex // between the call below and the subscription: the list that is read last is the one that stays
	follow := func() {
		turn.Lock()
		defer turn.Unlock()
		list := u.permitted(u.watch.Endpoints())
		if list == nil {
			return
		}
		if err := u.change(list); err != nil && !errors.Is(err, ErrClosed) {
			u.env.Log.Error("endpoints that were discovered cannot be used", slog.String("upstream", u.spec.ID), slog.Any("error", err))
		}
		if u.env.Observer != nil {
			u.env.Observer.Discovered(u.spec.ID, len(list))
		}
	}
	u.release = append(u.release, u.watch.Subscribe(follow), release)
	select {
	case <-u.watch.Known():
		follow()
	default:
	}
	return nil
}

// permitted leaves out addresses that may not be dialled. An answer that holds nothing else is none: what was used stays; that is nil.
func (u *Upstream) permitted(list []discovery.Endpoint) []discovery.Endpoint {
	out := make([]discovery.Endpoint, 0, len(list))
	var refused error
	for _, e := range list {
		if at, err := netip.ParseAddrPort(e.Address); err == nil { // a name is judged when it is dialled
			if err := dialguard.Check(at.Addr(), u.spec.PrivateAddresses); err != nil {
				refused = err
				continue
			}
		}
		out = append(out, e)
	}
	if refused != nil {
		u.env.Log.Warn("discovery names addresses that are not allowed; they are left out", slog.String("upstream", u.spec.ID),
			slog.Int("leftOut", len(list)-len(out)), slog.Int("used", len(out)), slog.Any("error", refused))
		if len(out) == 0 {
			return nil
		}
	}
	return out
}

// digest names settings.
func (u *Upstream) digest(settings any) string {
	raw, err := json.Marshal(settings)
	if err != nil { // settings are plain data
		panic(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Known waits until discovery has answered for the first time, or ctx ends. Without discovery it returns at once.
func (u *Upstream) Known(ctx context.Context) {
	if u.watch == nil {
		return
	}
	select {
	case <-u.watch.Known():
	case <-ctx.Done():
	}
}

// Spec is the description the upstream was made from.
func (u *Upstream) Spec() *ir.Upstream { return &u.spec }

// limits are the bounds of the upstream as a whole.
func (u *Upstream) limits() *ir.Bulkhead {
	if u.spec.Limits != nil {
		return u.spec.Limits
	}
	return &ir.DefaultBulkhead
}

// Begin admits one request, for its whole life. False: the upstream has as many as it may have. End ends it.
func (u *Upstream) Begin() bool {
	u.use.budget.Begin()
	if u.use.budget.Active() > u.limits().Requests {
		u.use.budget.End()
		return false
	}
	return true
}

// End is the other half of a Begin that returned true.
func (u *Upstream) End() { u.use.budget.End() }

// TryRetry takes a place for one more retry under way, within the budget of a route and the bound of the upstream. EndRetry gives
// it back.
func (u *Upstream) TryRetry(percent, least int64) bool {
	return u.use.budget.TryRetry(percent, least, u.limits().Retries)
}

// EndRetry ends what TryRetry has allowed.
func (u *Upstream) EndRetry() { u.use.budget.EndRetry() }

// healthEvent logs and counts what happened to an endpoint, or to the upstream.
func (u *Upstream) healthEvent(e health.Event) { tellHealth(u.env, e) }

func tellHealth(env *Env, e health.Event) {
	level := slog.LevelWarn
	if e.Kind == health.Returned || e.Kind == health.Healthy || e.Kind == health.PanicOver {
		level = slog.LevelInfo
	}
	env.Log.Log(context.Background(), level, "endpoint health changed", slog.String("change", e.Kind), slog.Any("", e))
	if env.Observer != nil {
		env.Observer.Health(e)
	}
}

// Close gives back what the upstream holds; connections in use are closed when their exchange ends. It is idempotent.
func (u *Upstream) Close() error {
	u.mu.Lock()
	if u.closed.Swap(true) {
		u.mu.Unlock()
		return nil
	}
	s := u.set.Load()
	release := u.release
	u.release = nil
	u.mu.Unlock()
	for _, f := range release {
		f()
	}
	if u.monitor != nil {
		_ = u.monitor.Close() // it only stops its sweeps
	}
	if s != nil {
		for _, m := range s.members {
			m.release()
		}
	}
	return nil
}
