package e2e_test

import (
	"context"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// gate stands before a server: it can be shut, it can make requests wait for each other, and it can be killed in the server's place.
type gate struct {
	URL  string
	addr string      // of URL; the same after it came back
	shut atomic.Bool // connections are closed without an answer

	t     *testing.T
	proxy http.Handler
	front *httptest.Server
	end   context.CancelFunc // of every request under way

	mu      sync.Mutex
	hold    func(*http.Request) <-chan struct{}
	answers func(*http.Request) <-chan struct{}
}

// newGate starts a gate before the server at target.
func newGate(t *testing.T, target string) *gate {
	t.Helper()
	g := &gate{t: t, addr: "127.0.0.1:0", proxy: newProxy(t, target)}
	g.back()
	t.Cleanup(g.kill)
	return g
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	hold, answers := g.hold, g.answers
	g.mu.Unlock()
	if hold != nil {
		waitFor(r, hold(r))
	}
	if g.shut.Load() {
		panic(http.ErrAbortHandler)
	}
	if answers == nil {
		g.proxy.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	g.proxy.ServeHTTP(rec, r)
	waitFor(r, answers(r))
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()) // a client that has left needs no answer
}

// waitFor waits until a channel is closed, or whoever asks has left. Nil is no channel to wait for.
func waitFor(r *http.Request, closed <-chan struct{}) {
	if closed == nil {
		return
	}
	select {
	case <-closed:
	case <-r.Context().Done():
	}
}

// kill ends it as kill -9 would: connections break, new ones are refused, and what waits has never arrived. It may be called again.
func (g *gate) kill() {
	g.end()
	_ = g.front.Listener.Close() // first, so that nobody comes in between
	g.front.CloseClientConnections()
	g.front.Close()
}

// back starts it, at the address it had.
func (g *gate) back() {
	g.t.Helper()
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	g.front = &httptest.Server{Listener: l, Config: &http.Server{Handler: g, BaseContext: func(net.Listener) context.Context { return ctx }}}
	g.front.Start()
	g.URL, g.addr, g.end = g.front.URL, l.Addr().String(), end
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

// holdingAnswers makes the answer to each request wait for the channel that hold returns for it: what was asked for is done then.
func (g *gate) holdingAnswers(hold func(*http.Request) <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answers = hold
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
