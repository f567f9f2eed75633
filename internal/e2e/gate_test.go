package e2e_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// gate stands before a server: it can be shut, and it can make requests wait for each other.
type gate struct {
	URL  string
	shut atomic.Bool // connections are closed without an answer

	mu   sync.Mutex
	hold func(*http.Request) <-chan struct{}
}

// newGate starts a gate before the server at target.
func newGate(t *testing.T, target string) *gate {
	t.Helper()
	g, proxy := &gate{}, newProxy(t, target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		hold := g.hold
		g.mu.Unlock()
		if hold != nil {
			if wait := hold(r); wait != nil {
				select {
				case <-wait:
				case <-r.Context().Done():
				}
			}
		}
		if g.shut.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	g.URL = front.URL
	t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
	return g
}

// newProxy forwards to the server at target until the test ends.
func newProxy(t *testing.T, target string) http.Handler {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host // a registry names itself in its answers
		},
	}
}

// holding makes each request wait for the channel that hold returns for it; nil lets it pass.
func (g *gate) holding(hold func(*http.Request) <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = hold
}

// meet makes the first two requests that match wait for each other.
func (g *gate) meet(match func(*http.Request) bool) {
	both := make(chan struct{})
	var n atomic.Int32
	g.holding(func(r *http.Request) <-chan struct{} {
		if !match(r) {
			return nil
		}
		if n.Add(1) == 2 {
			close(both)
		}
		return both
	})
}
