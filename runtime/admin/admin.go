// Package admin answers the paths that are the gateway's own: health, metrics and the admin API. Its handlers take and
// return messages, whatever protocol carried them. It looks, asks for a poll of the source, administers API keys, takes
// signed overlays, and lets people log in; of a secret it shows the value once at most, to whom it is made for. It must not write
// configuration; that lives in git.
//
// Every path of the admin API stands in the table of routes.go, with what it takes to ask for it.
package admin

import (
	"bytes"
	"crypto/sha256"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// Metrics is what the server needs of the telemetry.
type Metrics interface {
	WriteMetrics(w io.Writer, accept string) (contentType string, err error)
	AdminDenied(reason string)
}

// Options are what a Server is made of. Routes, Upstreams, Secrets, Keys, Overlays, Fleet, Access, Audit, ClientIP, Reload and Bundle may be nil; the rest
// may not.
type Options struct {
	Log     *slog.Logger
	Status  StatusProvider
	Metrics Metrics
	Routes  Routes
	Secrets Secrets
	// Upstreams describes those of the running bundle.
	Upstreams Upstreams
	Keys      *apikeys.Service // nil: this gateway has no state for them, or no pepper
	// Overlays are changes that are made at run time, and OverlaysLaid what has become of them. Nil: this gateway takes none.
	Overlays     Overlays
	OverlaysLaid func() []overlay.Outcome
	Fleet        FleetProvider // nil: this gateway does not hear of others
	// Access lets in people who log in, and tokens of an identity provider. Nil: the token alone lets anybody in.
	Access *access.Control
	// Audit hears of every login, of every refusal of somebody who is known, and of every write. See Auditor.
	Audit Auditor
	// ClientIP is the address a request comes from, by the proxies that are trusted. Nil: that of the peer.
	ClientIP func(*httpmsg.Request) netip.Addr
	Reload   func()                 // asks for a poll of the source; returns at once
	Bundle   func() ([]byte, error) // the running bundle as a .gwb file
	Now      func() time.Time       // time.Now but in tests
	Token    string                 // GWRUN_ADMIN_TOKEN; "" admits nobody
	Dev      bool                   // admits whoever comes from this machine
	Build    Build
}

// Server answers the gateway's own paths.
type Server struct {
	o       Options
	started time.Time
	page    *template.Template
	orders  []route
	// described is the OpenAPI document of the orders, made when somebody first asks.
	described func() map[string]any
	scrapes   chan struct{} // holds one token while a scrape runs

	hasToken bool
	token    [sha256.Size]byte // of the token, which is not kept
	hinted   atomic.Int64      // when the missing token was last mentioned, in Unix seconds
}

// shortToken is the length below which a token can be guessed.
const shortToken = 16

// New makes a server.
func New(o Options) *Server {
	s := &Server{
		o: o, started: o.Now(), page: newPage(), orders: routes, scrapes: make(chan struct{}, 1),
		hasToken: o.Token != "", token: sha256.Sum256([]byte(o.Token)),
	}
	s.described = sync.OnceValue(func() map[string]any { return describe(s.orders, o.Build.Version) })
	if s.hasToken && len(o.Token) < shortToken {
		o.Log.Warn("the admin token is short enough to be guessed", slog.Int("length", len(o.Token)), slog.Int("recommended", 32))
	}
	s.o.Token = ""
	return s
}

// Answer returns the response to a request for a normalised path, or nil if there is nothing under it: the caller then says
// what it says to any unknown path, so that a disabled admin API cannot be told from one that was never there.
func (s *Server) Answer(r *httpmsg.Request, path string) *httpmsg.Response {
	if answer, ok := s.open(path); ok {
		return s.read(r, answer)
	}
	if path != "/admin" && !strings.HasPrefix(path, "/admin/") {
		return nil
	}
	flags := s.o.Status.Admin()
	if !flags.APIEnabled {
		return nil
	}
	if path == "/admin/health" {
		return s.read(r, s.health)
	}
	return s.administer(&call{Request: r, path: path, rules: &flags})
}

// open finds what is open to everybody, whether or not there is an admin API.
func (s *Server) open(path string) (answer func(*httpmsg.Request) *httpmsg.Response, ok bool) {
	switch path {
	case "/health":
		return s.health, true
	case "/livez":
		return s.live, true
	case "/readyz":
		return s.ready, true
	case "/metrics":
		return s.metrics, true
	}
	return nil, false
}

// read answers what can only be read.
func (s *Server) read(r *httpmsg.Request, answer func(*httpmsg.Request) *httpmsg.Response) *httpmsg.Response {
	if !safe(r.Method) {
		return notAllowed("GET, HEAD")
	}
	return headless(r, answer(r))
}

func notAllowed(allowed string) *httpmsg.Response {
	resp := problem(http.StatusMethodNotAllowed, "method_not_allowed", "allowed here: "+allowed)
	resp.Header.Add("Allow", allowed)
	return resp
}

// headless takes the body off an answer to HEAD; its length stays (RFC 9110 section 9.3.2).
func headless(r *httpmsg.Request, resp *httpmsg.Response) *httpmsg.Response {
	if resp != nil && r.Method == http.MethodHead {
		resp.Body = nil
	}
	return resp
}

func (s *Server) health(*httpmsg.Request) *httpmsg.Response {
	return respondJSON(http.StatusOK, struct {
		Success   bool   `json:"success"`
		Timestamp string `json:"timestamp"`
	}{true, s.o.Now().UTC().Format(time.RFC3339)})
}

const bundleType = "application/vnd.suuupra.gateway.bundle.v1+tar"

// bundle hands out the running bundle, byte for byte, for comparison.
func (s *Server) bundle(*call) *httpmsg.Response {
	data, err := s.o.Bundle()
	if err != nil {
		s.o.Log.Warn("the running bundle was asked for and cannot be read", slog.Any("error", err))
		return problem(http.StatusServiceUnavailable, "no_bundle", "the running bundle cannot be read")
	}
	resp := &httpmsg.Response{Status: http.StatusOK, ContentLength: int64(len(data)), Body: bytes.NewReader(data)}
	resp.Header.Add("Content-Type", bundleType)
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
