package admin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/shed"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

const token = "correct-horse-battery-staple"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fake is everything the server asks.
type fake struct {
	flags    ir.Admin
	notReady []string
	status   Status
	routes   []ir.Route
	secrets  []SecretReference
	mu       sync.Mutex // of denied, while requests run
	denied   []string
	reloads  int
	log      bytes.Buffer
	scrape   error
	blocked  chan struct{}
	accept   string
}

func (f *fake) Admin() ir.Admin            { return f.flags }
func (f *fake) NotReady() []string         { return f.notReady }
func (f *fake) Status() Status             { return f.status }
func (f *fake) Secrets() []SecretReference { return f.secrets }

func (f *fake) AdminDenied(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denied = append(f.denied, reason)
}

func (f *fake) Upstreams(after string, limit int) []upstream.Status {
	var out []upstream.Status
	for _, id := range []string{"http://127.0.0.1:80", "users"} {
		if id > after && len(out) < limit {
			out = append(out, statusOf(id))
		}
	}
	return out
}

func statusOf(id string) upstream.Status {
	return upstream.Status{ID: id, Limits: map[string]upstream.Use{}, Endpoints: []upstream.EndpointStatus{}}
}

func (f *fake) Upstream(id string) (UpstreamStatus, bool) {
	switch id {
	case "users":
		return UpstreamStatus{Status: statusOf(id), Breakers: []Breaker{{"a", breaker.Status{State: "open"}}}}, true
	case "http://127.0.0.1:80":
		return UpstreamStatus{Status: statusOf(id)}, true
	}
	return UpstreamStatus{}, false
}

func (f *fake) WriteMetrics(w io.Writer, accept string) (string, error) {
	if f.blocked != nil {
		<-f.blocked
	}
	f.accept = accept
	_, err := io.WriteString(w, "gw_up 1\n")
	return "text/plain; version=0.0.4", errors.Join(err, f.scrape)
}

func (f *fake) After(id string, limit int) []ir.Route {
	i, _ := slices.BinarySearchFunc(f.routes, id, func(r ir.Route, id string) int { return strings.Compare(r.ID, id) })
	for i < len(f.routes) && f.routes[i].ID <= id {
		i++
	}
	return f.routes[i:min(i+limit, len(f.routes))]
}

func (f *fake) Route(id string) (ir.Route, bool) {
	for _, r := range f.routes {
		if r.ID == id {
			return r, true
		}
	}
	return ir.Route{}, false
}

func newFake() *fake {
	behind, expires, then := 3, now.Add(72*time.Hour), now.Add(-90*time.Second)
	return &fake{
		flags: ir.Admin{APIEnabled: true, HotReloadEnabled: true, SecretsManagementEnabled: true, DashboardUIEnabled: true},
		routes: []ir.Route{
			{ID: "orders", Match: ir.Match{PathRegex: "/orders/[0-9]+"}, Target: ir.Target{Type: "http", Upstream: "http://orders:8080"}},
			{
				ID: "users-api", Tenant: "blue",
				Match:    ir.Match{Host: "api.example.com", Path: "/api/users/*", Methods: []string{"GET", "POST"}},
				Target:   ir.Target{Type: "http", Upstream: "users"},
				Policies: []ir.Policy{{Kind: "bodyLimit", Plan: json.RawMessage(`{"bytes":1024}`)}},
			},
		},
		secrets: []SecretReference{{Name: "jwt-key", Backend: "vault", UsedBy: []string{"routes/users-api"}}},
		status: Status{
			Running: &Running{
				Version: 42, Epoch: 1, Digest: "sha256:0123456789abcdef", ContentDigest: "sha256:fedcba9876543210",
				Commit: "c0ffee", Environment: "prod", ActivatedAt: then, ExpiresAt: &expires, Routes: 2,
			},
			Source: Source{
				Kind: "oci", Mode: "gated", LastRequest: &then, LastDownload: &then, LastActivation: &then,
				LastError: &Failure{Code: "GW6001", Message: "no valid signature <script>", Since: then},
				Pending:   &Pending{Version: 43, Digest: "sha256:aaaaaaaaaaaaaaaa", Reason: "waits for approval"},
			},
			Drift: &Drift{CheckedAt: then, CommitsBehind: &behind, Classes: []DriftClass{
				{Class: "source", Detected: true, Detail: "main has moved"}, {Class: "live"},
			}},
			Listeners:    []Listener{{ID: "web", Address: "0.0.0.0:8080"}},
			LoadShedding: shed.Status{State: "idle", InFlight: 3, Priorities: []shed.Priority{}},
		},
	}
}

func newServer(f *fake, change ...func(*Options)) *Server {
	o := Options{
		Log: slog.New(slog.NewTextHandler(&f.log, nil)), Status: f, Metrics: f, Routes: f, Upstreams: f, Fleet: f, Secrets: f,
		Reload: func() { f.reloads++ }, Now: func() time.Time { return now }, Token: token,
		Build: Build{Version: "1.2.3", Commit: "abc", Go: "go1.26"},
	}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

func request(method, target string, fields ...string) *httpmsg.Request {
	r := &httpmsg.Request{
		Method: method, Target: target, Scheme: "http", Authority: "gateway.example.com:9090",
		Peer: netip.MustParseAddrPort("192.0.2.1:5555"),
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func bearer(t string) []string { return []string{"Authorization", "Bearer " + t} }

func basic(password string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+password))}
}

func (s *Server) do(r *httpmsg.Request) *httpmsg.Response {
	path, _, _ := strings.Cut(r.Target, "?")
	return s.Answer(r, path)
}

func status(r *httpmsg.Response) int {
	if r == nil {
		return http.StatusNotFound // what the caller makes of it
	}
	return r.Status
}

func body(t *testing.T, r *httpmsg.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.ContentLength {
		t.Errorf("%d bytes with a content length of %d", len(b), r.ContentLength)
	}
	return string(b)
}

// Fleet implements FleetProvider.
func (f *fake) Fleet() Fleet {
	return Fleet{Environment: "prod", Instance: "gw-1", Known: true}
}
