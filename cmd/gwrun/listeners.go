package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime/certificate"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/schema/ir"
)

// openListeners is what the data listeners were opened as.
type openListeners struct {
	mu      sync.Mutex
	specs   []ir.Listener // with the address as bound
	named   []ir.Listener // as the bundle had them
	settled bool          // named is set: the bundle decided, for good
}

// listenData opens the data listeners: those of --listen, in the clear, else those the running bundle names, else :8080.
func (s *station) listenData(ctx context.Context) error {
	for _, spec := range s.wanted() {
		l, err := listen(ctx, spec.Address)
		if err != nil {
			return err
		}
		spec.Address = l.Addr().String()
		s.opened.mu.Lock()
		s.opened.specs = append(s.opened.specs, spec)
		s.opened.mu.Unlock()
		s.status.listening(spec.ID, l.Addr())
		s.log.Info("listening", slog.String("listener", spec.ID), slog.String("address", spec.Address), slog.Bool("tls", spec.TLS != nil))
		s.serve(spec.ID, func() error { return s.gateway.Listen(l, spec) })
	}
	return nil
}

// wanted decides what to listen on.
func (s *station) wanted() []ir.Listener {
	if s.c.Listen != "" {
		var specs []ir.Listener
		for _, a := range strings.Split(s.c.Listen, ",") {
			specs = append(specs, ir.Listener{ID: a, Address: a})
		}
		return specs
	}
	s.opened.mu.Lock() // a swap comes before, and decides, or after, and is compared
	defer s.opened.mu.Unlock()
	s.opened.named, s.opened.settled = s.gateway.Running().Gateway.Listeners, true
	if len(s.opened.named) == 0 {
		return []ir.Listener{{ID: "default", Address: ":8080"}}
	}
	return s.opened.named
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// certificates is how a bundle's certificates are loaded: not at all if --listen takes the place of its listeners.
func (s *station) certificates() *certificate.Env {
	if s.c.Listen != "" {
		return nil
	}
	return &certificate.Env{Secrets: s.secrets, Log: s.log, Now: time.Now, Reloaded: s.metrics.CertificateReloaded}
}

// swap makes next the running snapshot, and says what of it the open listeners cannot follow.
func (s *station) swap(next *snapshot.Snapshot) {
	specs := next.Gateway.Listeners
	s.hooks.configure(next.Gateway.Rules().Webhooks)
	s.gateway.Swap(next)
	if s.c.Listen != "" {
		if secured := ids(specs, func(l ir.Listener) bool { return l.TLS != nil }); len(secured) > 0 {
			s.log.Warn("--listen takes the place of the bundle's listeners: they are served in the clear, without their TLS",
				slog.Any("listeners", secured), slog.String("listen", s.c.Listen))
		}
		return
	}
	s.opened.mu.Lock()
	defer s.opened.mu.Unlock()
	if !s.opened.settled {
		return
	}
	changed := changedListeners(s.opened.named, specs)
	s.status.set(func() { s.status.restart = changed })
	s.metrics.RestartNeeded(len(changed))
	if len(changed) > 0 {
		s.log.Warn("the bundle changes how listeners are opened; until gwrun is restarted they stay as they are", slog.Any("listeners", changed))
	}
}

// changedListeners names the listeners that a restart would open in another way, or no more, or anew.
func changedListeners(opened, wanted []ir.Listener) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(
		ids(wanted, func(l ir.Listener) bool { return !slices.ContainsFunc(opened, opensLike(l)) }),
		ids(opened, func(l ir.Listener) bool { return !slices.ContainsFunc(wanted, opensLike(l)) }),
	))))
}

// opensLike compares what of a listener is fixed once it is open: everything but its certificates, its least TLS version, and
// whether HTTP/2 is offered on TLS.
func opensLike(a ir.Listener) func(ir.Listener) bool {
	return func(b ir.Listener) bool {
		return a.ID == b.ID && a.Address == b.Address && (a.TLS == nil) == (b.TLS == nil) && a.HTTP2.Cleartext == b.HTTP2.Cleartext &&
			a.HTTP2.MaxStreams == b.HTTP2.MaxStreams && slices.Equal(a.ProxyProtocol, b.ProxyProtocol)
	}
}

func ids(ls []ir.Listener, with func(ir.Listener) bool) []string {
	var out []string
	for _, l := range ls {
		if with(l) {
			out = append(out, l.ID)
		}
	}
	return out
}

// url is where a program on this machine finds the gateway.
func (s *station) url() string {
	s.opened.mu.Lock()
	defer s.opened.mu.Unlock()
	for _, l := range s.opened.specs {
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue
		}
		if ip := net.ParseIP(host); ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
			host = "localhost"
		}
		scheme := "http://"
		if l.TLS != nil {
			scheme = "https://"
		}
		return scheme + net.JoinHostPort(host, port)
	}
	return "http://" + s.c.Listen
}
