// Package discovery finds the endpoints of an upstream and keeps finding them: a Watch holds the last good answer of one provider
// and tells when it changes. A server that is away, or that knows nothing for a moment, empties no pool. It connects to no
// endpoint, and does not judge whether one works.
package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/discovery/consul"
	"github.com/suuupra/gateway/runtime/discovery/dns"
	"github.com/suuupra/gateway/runtime/discovery/kubernetes"
	"github.com/suuupra/gateway/runtime/discovery/provider"
	"github.com/suuupra/gateway/schema/ir"
)

// Endpoint is one address that was found.
type Endpoint = provider.Endpoint

// Env is what providers may reach.
type Env struct {
	Log    *slog.Logger
	Now    func() time.Time
	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // under the address rules
	Secret func(ref string) ([]byte, error)
}

// MaxEndpoints bounds what one provider may name; the rest, in the order of their addresses, is left out.
const MaxEndpoints = 1024

const maxError = 512 // bytes of an error that are kept

// Watch follows one provider. It is safe for concurrent use.
type Watch struct {
	kind   string
	log    *slog.Logger
	now    func() time.Time
	cancel context.CancelFunc
	done   chan struct{}
	known  chan struct{}

	mu          sync.Mutex
	endpoints   []Endpoint
	answered    bool
	left        [2]int // how many endpoints were left out: too many, unusable
	failures    int    // in a row
	changes     int
	lastSuccess time.Time
	lastError   string
	subscribers map[*subscriber]struct{}
}

// subscriber is called under its own lock, so that whoever cancels it knows when it is over.
type subscriber struct {
	mu sync.Mutex
	f  func() // nil once cancelled
}

// Open starts following what spec names. That the provider cannot be reached is no error; that spec cannot be followed is.
func Open(spec *ir.Discovery, env Env) (*Watch, error) {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	run, kind, err := open(spec, env)
	if err != nil {
		return nil, err
	}
	return follow(run, kind, env), nil
}

func follow(run provider.Run, kind string, env Env) *Watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{
		kind: kind, log: env.Log, now: env.Now, cancel: cancel, done: make(chan struct{}), known: make(chan struct{}),
		subscribers: map[*subscriber]struct{}{},
	}
	go func() {
		defer close(w.done)
		run(ctx, provider.Sink{Found: w.found, Failed: w.failed})
	}()
	return w
}

func open(spec *ir.Discovery, env Env) (run provider.Run, kind string, err error) {
	e := provider.Env{Dial: env.Dial, Secret: env.Secret, Log: env.Log, Now: env.Now}
	switch {
	case spec.DNS != nil:
		run, err = dns.New(spec.DNS, e)
		return run, "dns", err
	case spec.Kubernetes != nil:
		run, err = kubernetes.New(spec.Kubernetes, e)
		return run, "kubernetes", err
	case spec.Consul != nil:
		run, err = consul.New(spec.Consul, e)
		return run, "consul", err
	}
	return nil, "", errors.New("discovery names no provider")
}

// found takes an answer. Equal answers change nothing.
func (w *Watch) found(all []Endpoint) {
	list, skipped := usable(all)
	total := len(list)
	if total > MaxEndpoints {
		list = slices.Clone(list[:MaxEndpoints])
	}
	w.mu.Lock()
	recovered := w.failures > 0
	w.failures, w.lastError, w.lastSuccess = 0, "", w.now()
	changed := !w.answered || !slices.EqualFunc(w.endpoints, list, func(a, b Endpoint) bool { return order(a, b) == 0 })
	if changed {
		w.endpoints = list
		w.changes++
	}
	if !w.answered {
		w.answered = true
		close(w.known)
	}
	left := [2]int{total - len(list), skipped}
	news := left != w.left
	w.left = left
	w.mu.Unlock()
	if news && left != [2]int{} {
		w.log.Warn("discovery found endpoints that are left out", slog.String("provider", w.kind), slog.Int("used", len(list)),
			slog.Int("tooMany", left[0]), slog.Int("unusable", left[1]))
	}
	if recovered {
		w.log.Info("discovery works again", slog.String("provider", w.kind), slog.Int("endpoints", len(list)))
	}
	if changed {
		w.log.Info("discovery found a change", slog.String("provider", w.kind), slog.Int("endpoints", len(list)))
		w.notify()
	}
}

// usable are the endpoints that can be connected to, once each, sorted by address, and how many cannot: one address that is none
// must not cost the others their place. The same endpoint may be told twice (EndpointSlices say so), and differently: the order of
// everything an endpoint has decides then, not the order of the answer, which is another each time.
func usable(all []Endpoint) (list []Endpoint, skipped int) {
	list = slices.DeleteFunc(slices.Clone(all), func(e Endpoint) bool { return !connectable(e.Address) })
	skipped = len(all) - len(list)
	slices.SortFunc(list, order)
	return slices.CompactFunc(list, func(a, b Endpoint) bool { return a.Address == b.Address }), skipped
}

func order(a, b Endpoint) int {
	return cmp.Or(strings.Compare(a.Address, b.Address), cmp.Compare(a.Weight, b.Weight),
		slices.CompareFunc(a.Metadata, b.Metadata, func(a, b ir.Pair) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
		}))
}

// connectable reports whether address is an IP address or a host name, and a port. Some registries take any text for a host.
func connectable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if n, numeric := strconv.ParseUint(port, 10, 16); err != nil || numeric != nil || n == 0 || host == "" || len(host) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}

// failed notes that there was no answer. What was known stays.
func (w *Watch) failed(err error) {
	text := err.Error() // much of it may be a server's own words
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "..."
	}
	w.mu.Lock()
	w.failures++
	first := w.failures == 1
	w.lastError = text
	kept := len(w.endpoints)
	w.mu.Unlock()
	if first {
		w.log.Warn("discovery failed; the endpoints known last stay in use", slog.String("provider", w.kind),
			slog.Int("endpoints", kept), slog.String("error", text))
	}
}

func (w *Watch) notify() {
	w.mu.Lock()
	list := slices.Collect(maps.Keys(w.subscribers))
	w.mu.Unlock()
	for _, s := range list {
		s.mu.Lock()
		if s.f != nil {
			s.f()
		}
		s.mu.Unlock()
	}
}

// Endpoints is the last good answer, sorted by address; nil before the first. The caller must not change it.
func (w *Watch) Endpoints() []Endpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoints
}

// Known is closed at the first good answer.
func (w *Watch) Known() <-chan struct{} { return w.known }

// Subscribe calls f after each change, never concurrently with itself. The returned function waits for a call that is under way;
// after it has returned, f is not called any more. f itself must neither call it nor close the watch.
func (w *Watch) Subscribe(f func()) (cancel func()) {
	s := &subscriber{f: f}
	w.mu.Lock()
	w.subscribers[s] = struct{}{}
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.subscribers, s)
		w.mu.Unlock()
		s.mu.Lock()
		s.f = nil
		s.mu.Unlock()
	}
}

// Status describes a Watch for people.
type Status struct {
	Provider    string     `json:"provider"`
	Endpoints   int        `json:"endpoints"`
	Changes     int        `json:"changes"`
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	Failures    int        `json:"failures,omitempty"` // in a row
	LastError   string     `json:"lastError,omitempty"`
}

// Status describes the watch.
func (w *Watch) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{Provider: w.kind, Endpoints: len(w.endpoints), Changes: w.changes, Failures: w.failures, LastError: w.lastError}
	if !w.lastSuccess.IsZero() {
		at := w.lastSuccess
		s.LastSuccess = &at
	}
	return s
}

// Close ends the watch and waits for it. It is idempotent.
func (w *Watch) Close() error {
	w.cancel()
	<-w.done
	return nil
}

// String names the provider, for logs.
func (w *Watch) String() string { return fmt.Sprintf("discovery by %s", w.kind) }
