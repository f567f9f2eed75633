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
	"net"
	"reflect"
	"slices"
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

// Watch follows one provider. It is safe for concurrent use.
type Watch struct {
	kind   string
	log    *slog.Logger
	now    func() time.Time
	cancel context.CancelFunc
	done   chan struct{}
	known  chan struct{}

	tell sync.Mutex // keeps subscribers from being called at the same time

	mu          sync.Mutex
	endpoints   []Endpoint
	answered    bool
	failures    int // in a row
	changes     int
	lastSuccess time.Time
	lastError   string
	subscribers map[*func()]struct{}
}

// Open starts following what spec names. That the provider cannot be reached is no error; that spec cannot be followed is.
func Open(spec *ir.Discovery, env Env) (*Watch, error) {
	run, kind, err := open(spec, env)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{
		kind: kind, log: env.Log, now: env.Now, cancel: cancel, done: make(chan struct{}), known: make(chan struct{}),
		subscribers: map[*func()]struct{}{},
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	go func() {
		defer close(w.done)
		run(ctx, provider.Sink{Found: w.found, Failed: w.failed})
	}()
	return w, nil
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
func (w *Watch) found(list []Endpoint) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Endpoint) int { return cmp.Compare(a.Address, b.Address) })
	list = slices.CompactFunc(list, func(a, b Endpoint) bool { return a.Address == b.Address })
	if len(list) > MaxEndpoints {
		w.log.Warn("discovery found too many endpoints; some are left out", slog.Int("found", len(list)), slog.Int("used", MaxEndpoints))
		list = list[:MaxEndpoints]
	}
	w.mu.Lock()
	recovered := w.failures > 0
	w.failures, w.lastError, w.lastSuccess = 0, "", w.now()
	changed := !w.answered || !reflect.DeepEqual(w.endpoints, list)
	if changed {
		w.endpoints = list
		w.changes++
	}
	if !w.answered {
		w.answered = true
		close(w.known)
	}
	w.mu.Unlock()
	if recovered {
		w.log.Info("discovery works again", slog.String("provider", w.kind), slog.Int("endpoints", len(list)))
	}
	if changed {
		w.log.Debug("discovery found a change", slog.String("provider", w.kind), slog.Int("endpoints", len(list)))
		w.notify()
	}
}

// failed notes that there was no answer. What was known stays.
func (w *Watch) failed(err error) {
	w.mu.Lock()
	w.failures++
	first := w.failures == 1
	w.lastError = err.Error()
	kept := len(w.endpoints)
	w.mu.Unlock()
	if first {
		w.log.Warn("discovery failed; the endpoints known last stay in use", slog.String("provider", w.kind),
			slog.Int("endpoints", kept), slog.Any("error", err))
	}
}

func (w *Watch) notify() {
	w.tell.Lock()
	defer w.tell.Unlock()
	w.mu.Lock()
	list := make([]*func(), 0, len(w.subscribers))
	for f := range w.subscribers {
		list = append(list, f)
	}
	w.mu.Unlock()
	for _, f := range list {
		w.mu.Lock()
		_, still := w.subscribers[f]
		w.mu.Unlock()
		if still {
			(*f)()
		}
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

// Subscribe calls f after each change, never concurrently with itself. After the returned function has returned, f is not
// called any more, unless it is running in the goroutine that cancels.
func (w *Watch) Subscribe(f func()) (cancel func()) {
	key := &f
	w.mu.Lock()
	w.subscribers[key] = struct{}{}
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		delete(w.subscribers, key)
		w.mu.Unlock()
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
