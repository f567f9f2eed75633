package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/suuupra/gateway/internal/webhook"
)

const (
	maxServeConnections = 256 // per listener: forges need one
	serveGrace          = 5 * time.Second
)

// server is one listener and what answers on it.
type server struct {
	http     *http.Server
	listener net.Listener
}

// listen opens the listeners: that of webhooks, and that of operators where it has one of its own.
func (s *service) listen(receiver *webhook.Receiver) ([]server, error) {
	if s.c.Listen == "" && s.c.Admin == "" {
		return nil, nil
	}
	public := http.NewServeMux()
	operators, all := public, []*http.ServeMux{public}
	if s.c.Admin != "" {
		operators = http.NewServeMux()
		all = append(all, operators)
	}
	public.HandleFunc("/webhooks/{id}", func(w http.ResponseWriter, r *http.Request) { deliver(receiver, w, r) })
	for _, mux := range all {
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
		mux.HandleFunc("GET /readyz", s.ready)
	}
	operators.Handle("GET /metrics", s.metrics.handler())
	operators.HandleFunc("GET /status", s.showStatus)

	var out []server
	for _, l := range []struct {
		name, address, cert, key string
		handler                  http.Handler
	}{{"webhooks", s.c.Listen, s.c.TLSCert, s.c.TLSKey, public}, {"admin", s.c.Admin, "", "", operators}} {
		if l.address == "" {
			continue
		}
		one, err := s.newServer(l.address, l.cert, l.key, l.handler)
		if err != nil {
			for i := range out {
				_ = out[i].listener.Close()
			}
			return nil, fmt.Errorf("listen for %s: %w", l.name, err)
		}
		s.log.Info("listening", "listener", l.name, "address", one.listener.Addr().String(), "tls", l.cert != "")
		out = append(out, one)
	}
	return out, nil
}

func (s *service) newServer(address, cert, key string, h http.Handler) (server, error) {
	var config *tls.Config
	if cert != "" {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return server{}, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		config = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key) // for each handshake, of which there are few: a renewal needs no restart
			return &pair, err
		}}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return server{}, err
	}
	l = netutil.LimitListener(l, maxServeConnections)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return server{&http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(slogWriter{s.log}, "", 0),
	}, l}, nil
}

// slogWriter is where net/http complains: about clients, which anybody can be.
type slogWriter struct{ log *slog.Logger }

func (w slogWriter) Write(p []byte) (int, error) {
	w.log.Debug("a connection went wrong", "error", string(p))
	return len(p), nil
}

// serveAll answers until ctx ends, or one of the listeners breaks.
func serveAll(ctx context.Context, servers []server) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range servers {
		group.Go(func() error {
			if err := one.http.Serve(one.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve: %w", err)
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), serveGrace)
			defer cancel()
			_ = one.http.Shutdown(grace) // whoever is not done by then
			_ = one.http.Close()         // is cut off
			return nil
		})
	}
	<-ctx.Done()
	return group.Wait()
}

// deliver hands a delivery to the receiver. The peer is whoever connected: X-Forwarded-For could name anybody.
func deliver(receiver *webhook.Receiver, w http.ResponseWriter, r *http.Request) {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // none of an unknown kind of listener: all of those are one
	a := receiver.Receive(r.Context(), &webhook.Request{
		Hook: r.PathValue("id"), Method: r.Method, Header: r.Header, ContentLength: r.ContentLength, Body: r.Body, From: peer.Addr(),
	})
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(a.RetryAfter.Seconds()))))
	}
	if a.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	sayJSON(w, a.Status, map[string]string{"code": a.Code, "detail": a.Detail})
}

func (s *service) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.publisher.Ready() {
		say(w, http.StatusServiceUnavailable, "not every environment has been decided yet")
		return
	}
	say(w, http.StatusOK, "ready")
}

func (s *service) showStatus(w http.ResponseWriter, _ *http.Request) {
	sayJSON(w, http.StatusOK, s.publisher.Status())
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // a client that has left is no failure of ours
}

func sayJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"code": "internal"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(cmp.Or(status, http.StatusOK))
	_, _ = w.Write(append(data, '\n')) // a client that has left is no failure of ours
}
