// Package demo is the upstream that `gwrun dev` serves beside the gateway, so that the example repository answers on a
// fresh machine. It must not be reachable in production: only dev mode starts it, on a loopback address.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxEcho bounds what /echo reads of a body, in bytes.
const maxEcho = 1 << 20

// Start serves on loopback addresses until ctx ends, as one server on each. It returns once they listen, or the first one
// fails; done is closed when all of them have stopped.
func Start(ctx context.Context, addrs ...string) (done <-chan struct{}, err error) {
	var listeners []net.Listener
	for _, addr := range addrs {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return nil, fmt.Errorf("start demo upstream: %w", err)
		}
		listeners = append(listeners, l)
	}
	srv := &http.Server{Handler: Handler(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { _ = srv.Serve(l) }) // ends with Close
	}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		serving.Wait()
	}()
	return stopped, nil
}

// Handler answers /hello, /echo, /events, /shop and /api/users, and the gateway's checks on /healthz. /hello says which of
// the servers answers.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]bool{"healthy": true}) })
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]any{"message": "hello from the demo upstream", "server": server(r), "requestId": r.Header.Get("X-Request-Id")})
	})
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/echo/", echo)
	mux.HandleFunc("/events", events)
	for _, path := range []string{"/shop", "/shop/"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			reply(w, map[string]string{"shop": "acme", "path": r.URL.Path})
		})
	}
	mux.HandleFunc("/api/users", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, []map[string]string{{"id": "1", "name": "Ada"}, {"id": "2", "name": "Grace"}})
	})
	mux.HandleFunc("/api/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]string{"id": r.PathValue("id"), "name": "Ada", "method": r.Method})
	})
	return mux
}

// server is the address a request came to.
func server(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return ""
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEcho))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
		return
	}
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[name] = strings.Join(values, ", ")
	}
	reply(w, map[string]any{"method": r.Method, "host": r.Host, "path": r.URL.EscapedPath(), "query": r.URL.RawQuery, "headers": headers, "body": string(body)})
}

// events sends the time once a second until the client leaves.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: {\"time\":%q}\n\n", n, time.Now().UTC().Format(time.RFC3339)); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
