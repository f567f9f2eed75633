// Package admin answers the paths that are the gateway's own: health, metrics and the admin API. Its handlers take and
// return messages, whatever protocol carried them. It looks, asks for a poll of the source, and administers API keys; of a secret it
// shows the value once at most, to whom a key is made for. It must not write configuration; that lives in git.
package admin

import (
	"bytes"
	"crypto/sha256"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// Metrics is what the server needs of the telemetry.
type Metrics interface {
	WriteMetrics(w io.Writer, accept string) (contentType string, err error)
	AdminDenied(reason string)
}

// Options are what a Server is made of. Routes, Upstreams, Secrets, Keys, Reload and Bundle may be nil; the rest may not.
type Options struct {
	Log     *slog.Logger
	Status  StatusProvider
	Metrics Metrics
	Routes  Routes
	Secrets Secrets
	// Upstreams describes those of the running bundle.
	Upstreams Upstreams
	Keys      *apikeys.Service       // nil: this gateway has no state for them, or no pepper
	Reload    func()                 // asks for a poll of the source; returns at once
	Bundle    func() ([]byte, error) // the running bundle as a .gwb file
	Now       func() time.Time       // time.Now but in tests
	Token     string                 // GWRUN_ADMIN_TOKEN; "" admits nobody
	Dev       bool                   // admits whoever comes from this machine
	Build     Build
}

// Server answers the gateway's own paths.
type Server struct {
	o       Options
	started time.Time
	page    *template.Template
	scrapes chan struct{} // holds one token while a scrape runs

	hasToken bool
	token    [sha256.Size]byte // of the token, which is not kept
	hinted   atomic.Int64      // when the missing token was last mentioned, in Unix seconds
}

// shortToken is the length below which a token can be guessed.
const shortToken = 16

// New makes a server.
func New(o Options) *Server {
	s := &Server{
		o: o, started: o.Now(), page: newPage(), scrapes: make(chan struct{}, 1),
		hasToken: o.Token != "", token: sha256.Sum256([]byte(o.Token)),
	}
	if s.hasToken && len(o.Token) < shortToken {
		o.Log.Warn("the admin token is short enough to be guessed", slog.Int("length", len(o.Token)), slog.Int("recommended", 32))
	}
	s.o.Token = ""
	return s
}

// endpoint is one path of the server.
type endpoint struct {
	methods string // as in Allow
	answer  func(*httpmsg.Request) *httpmsg.Response
}

const (
	reading = "GET, HEAD"
	acting  = "POST"
)

// Answer returns the response to a request for a normalised path, or nil if there is nothing under it: the caller then says
// what it says to any unknown path, so that a disabled admin API cannot be told from one that was never there.
func (s *Server) Answer(r *httpmsg.Request, path string) *httpmsg.Response {
	switch path {
	case "/health", "/admin/health":
		if path == "/admin/health" && !s.o.Status.Admin().APIEnabled {
			return nil
		}
		return s.run(r, endpoint{reading, s.health})
	case "/livez":
		return s.run(r, endpoint{reading, s.live})
	case "/readyz":
		return s.run(r, endpoint{reading, s.ready})
	case "/metrics":
		return s.run(r, endpoint{reading, s.metrics})
	}
	if path != "/admin" && !strings.HasPrefix(path, "/admin/") || !s.o.Status.Admin().APIEnabled {
		return nil
	}
	// Who may not see the admin API learns nothing about it, not even which of its paths there are.
	if denied := s.authorise(r, path); denied != nil {
		return denied
	}
	e, ok := s.endpoint(path)
	if !ok {
		return nil
	}
	return s.run(r, e)
}

// endpoint finds what is behind a path of the admin API. What a flag has switched off is not there.
func (s *Server) endpoint(path string) (endpoint, bool) {
	flags := s.o.Status.Admin()
	switch path {
	case "/admin/status":
		return endpoint{reading, s.status}, true
	case "/admin/bundle":
		return endpoint{reading, s.bundle}, s.o.Bundle != nil
	case "/admin/reload":
		return endpoint{acting, s.reload}, flags.HotReloadEnabled && s.o.Reload != nil
	case "/admin/secrets":
		return endpoint{reading, s.secrets}, flags.SecretsManagementEnabled
	case "/admin/ui":
		return endpoint{reading, s.ui}, flags.DashboardUIEnabled
	case "/admin/config/routes":
		return endpoint{reading, s.routes}, s.o.Routes != nil
	case "/admin/upstreams":
		return endpoint{reading, s.upstreams}, s.o.Upstreams != nil
	}
	if id, ok := strings.CutPrefix(path, "/admin/upstreams/"); ok && s.o.Upstreams != nil {
		return s.upstream(id), true
	}
	if rest, ok := strings.CutPrefix(path, "/admin/keys"); ok && (rest == "" || rest[0] == '/') {
		return s.keys(rest)
	}
	id, ok := strings.CutPrefix(path, "/admin/config/routes/")
	if !ok || s.o.Routes == nil {
		return endpoint{}, false
	}
	route, ok := s.o.Routes.Route(id)
	return endpoint{reading, func(*httpmsg.Request) *httpmsg.Response { return respondJSON(http.StatusOK, route) }}, ok
}

func (s *Server) run(r *httpmsg.Request, e endpoint) *httpmsg.Response {
	allowed := false
	for m := range strings.SplitSeq(e.methods, ", ") {
		allowed = allowed || m == r.Method
	}
	if !allowed {
		resp := problem(http.StatusMethodNotAllowed, "method_not_allowed", "allowed here: "+e.methods)
		resp.Header.Add("Allow", e.methods)
		return resp
	}
	resp := e.answer(r)
	if r.Method == http.MethodHead {
		resp.Body = nil // the length stays (RFC 9110 section 9.3.2)
	}
	return resp
}

func (s *Server) health(*httpmsg.Request) *httpmsg.Response {
	return respondJSON(http.StatusOK, struct {
		Success   bool   `json:"success"`
		Timestamp string `json:"timestamp"`
	}{true, s.o.Now().UTC().Format(time.RFC3339)})
}

// bundle hands out the running bundle, byte for byte, for comparison.
func (s *Server) bundle(*httpmsg.Request) *httpmsg.Response {
	data, err := s.o.Bundle()
	if err != nil {
		s.o.Log.Warn("the running bundle was asked for and cannot be read", slog.Any("error", err))
		return problem(http.StatusServiceUnavailable, "no_bundle", "the running bundle cannot be read")
	}
	resp := &httpmsg.Response{Status: http.StatusOK, ContentLength: int64(len(data)), Body: bytes.NewReader(data)}
	resp.Header.Add("Content-Type", "application/vnd.suuupra.gateway.bundle.v1+tar")
	resp.Header.Add("Cache-Control", "no-store")
	resp.Header.Add("X-Content-Type-Options", "nosniff")
	return resp
}

// liveness is the answer of /livez and /readyz.
type liveness struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons,omitempty"`
}

func (s *Server) live(*httpmsg.Request) *httpmsg.Response {
	return respondJSON(http.StatusOK, liveness{Status: "alive"})
}

func (s *Server) ready(*httpmsg.Request) *httpmsg.Response {
	if reasons := s.o.Status.NotReady(); len(reasons) > 0 {
		return respondJSON(http.StatusServiceUnavailable, liveness{"not ready", reasons})
	}
	return respondJSON(http.StatusOK, liveness{Status: "ready"})
}
