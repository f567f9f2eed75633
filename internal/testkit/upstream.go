package testkit

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// maxRecorded bounds what an upstream keeps of a request body, in bytes.
const maxRecorded = 1 << 20

// UpstreamServer is an HTTP server that records every request it receives and answers as told.
type UpstreamServer struct {
	URL  string // http://host:port
	Addr string // host:port

	mu       sync.Mutex
	handler  http.Handler
	requests []Request
	arrived  chan struct{}
}

// Request is one request as the upstream received it.
type Request struct {
	Method string              `json:"method"`
	Target string              `json:"target"` // as on the wire: path, "?" and query
	Host   string              `json:"host"`
	Proto  string              `json:"proto"`
	Header map[string][]string `json:"header"`
	Body   string              `json:"body"` // its first MiB
}

// Upstream starts an upstream that answers with Echo until told otherwise, and stops it when the test ends. Requests that
// are still being answered then are cancelled.
func Upstream(tb testing.TB) *UpstreamServer {
	tb.Helper()
	u := &UpstreamServer{handler: Echo(), arrived: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(u.serve))
	u.URL, u.Addr = s.URL, s.Listener.Addr().String()
	tb.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return u
}

// Answer sets how requests are answered from now on. The body has been recorded, and can still be read.
func (u *UpstreamServer) Answer(h http.Handler) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handler = h
}

// Requests returns the requests received so far, oldest first.
func (u *UpstreamServer) Requests() []Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Request(nil), u.requests...)
}

// Last returns the latest request; the test fails if there was none.
func (u *UpstreamServer) Last(tb testing.TB) Request {
	tb.Helper()
	all := u.Requests()
	if len(all) == 0 {
		tb.Fatal("the upstream received no request")
	}
	return all[len(all)-1]
}

// Arrived returns a channel that is closed when the next request has been recorded.
func (u *UpstreamServer) Arrived() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.arrived
}

func (u *UpstreamServer) serve(w http.ResponseWriter, r *http.Request) {
	rec := Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto, Header: r.Header.Clone()}
	head, _ := io.ReadAll(io.LimitReader(r.Body, maxRecorded)) // a cut body is recorded as far as it came
	rec.Body = string(head)
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(head), r.Body))

	u.mu.Lock()
	u.requests = append(u.requests, rec)
	close(u.arrived)
	u.arrived = make(chan struct{})
	h := u.handler
	u.mu.Unlock()
	h.ServeHTTP(w, r)
}

// Echo answers 200 with the request as JSON: a Request.
func Echo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxRecorded))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Request{
			Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto, Header: r.Header, Body: string(body),
		})
	})
}

// Reply answers every request with one status and body.
func Reply(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// Hold answers nothing until release is closed, then as next does: the slow upstream, slow for exactly as long as the
// test wants. It gives up when the client does.
func Hold(release <-chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// Events answers with an event stream: each string received becomes one event, flushed at once. The stream ends when the
// channel is closed, or when the client leaves; gone is then closed if it is not nil.
func Events(events <-chan string, gone chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		flush := http.NewResponseController(w)
		_ = flush.Flush()
		for {
			select {
			case e, more := <-events:
				if !more {
					return
				}
				_, _ = io.WriteString(w, "data: "+e+"\n\n")
				_ = flush.Flush()
			case <-r.Context().Done():
				if gone != nil {
					close(gone)
				}
				return
			}
		}
	})
}
