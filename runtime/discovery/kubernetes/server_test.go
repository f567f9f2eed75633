package kubernetes_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/schema/ir"
)

// server speaks list and watch of EndpointSlices over HTTP, as an API server does. TestAPIServer has the real one, which takes
// minutes to build; this one can be made to misbehave.
type server struct {
	t      *testing.T
	addr   string
	config string // path of a kubeconfig
	cert   tls.Certificate
	server *http.Server
	done   chan struct{}

	mu       sync.Mutex
	version  int
	oldest   int // a watch from before it is too old
	slices   map[string]*discoveryv1.EndpointSlice
	events   []event
	moved    chan struct{}    // closed when anything of this changes
	edit     http.HandlerFunc // answers in place of the server
	noWatch  http.HandlerFunc // answers watches
	token    string
	lists    int
	watches  []time.Time
	selector string
}

type event struct {
	version int
	line    string // "": the watch ends
}

func newServer(t *testing.T, list ...*discoveryv1.EndpointSlice) *server {
	t.Helper()
	s := &server{
		t: t, config: filepath.Join(t.TempDir(), "kubeconfig"), version: 100, moved: make(chan struct{}),
		slices: map[string]*discoveryv1.EndpointSlice{}, token: "first",
	}
	for _, slice := range list {
		s.slices[slice.Name] = slice
	}
	certified := httptest.NewTLSServer(nil) // client-go sends credentials over nothing less
	s.cert = certified.TLS.Certificates[0]
	certified.Close()
	s.start()
	s.configure(s.token)
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	s.t.Helper()
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr, s.done = l.Addr().String(), make(chan struct{})
	s.server = &http.Server{
		Handler: http.HandlerFunc(s.serve), TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.cert}}, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { defer close(s.done); _ = s.server.ServeTLS(l, "", "") }()
}

// stop ends the server as SIGKILL would.
func (s *server) stop() {
	_ = s.server.Close()
	<-s.done
}

// configure writes the kubeconfig.
func (s *server) configure(token string) {
	s.t.Helper()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Certificate[0]})
	if err := os.WriteFile(s.config, fmt.Appendf(nil, `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": "https://%s", "certificate-authority-data": %q}}], "users": [{"name": "u", "user": {"token": %q}}],
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`, s.addr, base64.StdEncoding.EncodeToString(authority), token), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// change changes what the server does, and lets watches look.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.moved)
	s.moved = make(chan struct{})
}

// put adds a slice, or changes it.
func (s *server) put(slice *discoveryv1.EndpointSlice) {
	s.change(func() {
		kind := "ADDED"
		if s.slices[slice.Name] != nil {
			kind = "MODIFIED"
		}
		s.tell(kind, slice)
		s.slices[slice.Name] = slice
	})
}

func (s *server) drop(name string) {
	s.change(func() { s.tell("DELETED", s.slices[name]); delete(s.slices, name) })
}

func (s *server) tell(kind string, object any) {
	s.version++
	if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
		slice.ResourceVersion = strconv.Itoa(s.version)
	}
	raw, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		s.t.Error(err)
	}
	s.events = append(s.events, event{s.version, string(raw)})
}

// send puts a line into the watches as it is; "" ends them.
func (s *server) send(line string) {
	s.change(func() { s.version++; s.events = append(s.events, event{s.version, line}) })
}

func (s *server) counts() (lists, watches int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists, len(s.watches)
}

func status(code int, reason, message string) string {
	raw, _ := json.Marshal(map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code,
	})
	return string(raw)
}

// says answers with a status and a text.
func says(code int, text string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text))
	}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	watch := q.Get("watch") == "true" || q.Get("watch") == "1"
	edit, noWatch, token, oldest := s.edit, s.noWatch, s.token, s.oldest
	if watch {
		s.watches = append(s.watches, time.Now())
	} else {
		s.lists++
	}
	s.selector = q.Get("labelSelector")
	s.mu.Unlock()
	version, _ := strconv.Atoi(q.Get("resourceVersion"))
	switch {
	case edit != nil:
		edit(w, r)
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices":
		says(http.StatusNotFound, status(404, "NotFound", "no such path"))(w, r)
	case r.Header.Get("Authorization") != "Bearer "+token:
		says(http.StatusUnauthorized, status(401, "Unauthorized", "Unauthorized"))(w, r)
	case q.Has("sendInitialEvents"): // as a server that does not stream lists
		says(http.StatusUnprocessableEntity, status(422, "Invalid", "sendInitialEvents is forbidden"))(w, r)
	case watch && noWatch != nil:
		noWatch(w, r)
	case watch && version < oldest:
		says(http.StatusGone, status(410, "Expired", "too old resource version"))(w, r)
	case watch:
		s.watch(w, r, version)
	default:
		s.mu.Lock()
		defer s.mu.Unlock()
		list := discoveryv1.EndpointSliceList{
			TypeMeta: metav1.TypeMeta{Kind: "EndpointSliceList", APIVersion: "discovery.k8s.io/v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.version)},
		}
		for _, name := range slices.Sorted(maps.Keys(s.slices)) {
			list.Items = append(list.Items, *s.slices[name])
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	}
}

func (s *server) watch(w http.ResponseWriter, r *http.Request, version int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher)
	for {
		flush.Flush()
		s.mu.Lock()
		events, moved := slices.Clone(s.events), s.moved
		s.mu.Unlock()
		for _, e := range events {
			if e.version <= version { // an API server that forgot, and counts from below again, is as silent as this
				continue
			}
			if version = e.version; e.line == "" {
				return
			}
			_, _ = fmt.Fprintln(w, e.line)
			flush.Flush()
		}
		select {
		case <-moved:
		case <-r.Context().Done():
			return
		}
	}
}

// slice makes an EndpointSlice of the service: IPv4, port http 8080 TCP.
func slice(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	port, http, tcp := int32(8080), "http", protocolTCP
	return &discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "users"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: &http, Port: &port, Protocol: &tcp}},
	}
}

func at(address string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}}
}

// logs keeps what is logged.
type logs struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logs) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(l.lines), func(s string) bool { return !strings.Contains(s, part) }))
}

// follow opens a watch of the service users.
func follow(t *testing.T, config string) (*discovery.Watch, *logs) {
	t.Helper()
	dialer, log := net.Dialer{}, &logs{}
	w, err := discovery.Open(
		&ir.Discovery{Kubernetes: &ir.KubernetesService{Namespace: "shop", Service: "users", Kubeconfig: config}},
		discovery.Env{Dial: dialer.DialContext, Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, log
}

func text(list []discovery.Endpoint) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Address)
	}
	return strings.Join(out, " ")
}

func becomes(t *testing.T, w *discovery.Watch, want string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("it is %q, %+v", text(w.Endpoints()), w.Status())
		}
	}()
	testkit.Eventually(t, "it is "+strconv.Quote(want), func() bool { return text(w.Endpoints()) == want })
}
