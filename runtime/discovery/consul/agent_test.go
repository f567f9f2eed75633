package consul_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/schema/ir"
)

// instance is what an agent knows of one instance of a service.
type instance struct {
	node, address string
	port, weight  int
	tags          []string
	failing       bool
}

// query is what an agent was asked.
type query struct {
	path  string
	q     url.Values
	token string
	at    time.Time
}

// agent replays the health API of a Consul agent over HTTP: GET /v1/health/service/NAME with passing, tag, dc, ns, index and wait,
// and the header X-Consul-Index.
type agent struct {
	t      *testing.T
	addr   string
	server *http.Server
	done   chan struct{}

	mu        sync.Mutex
	index     uint64
	instances []instance
	token     string // that must be sent; "": none must
	prefix    string
	edit      http.HandlerFunc // answers in place of the agent
	moved     chan struct{}    // closed when anything of the above changes
	asked     []query
}

func newAgent(t *testing.T, instances ...instance) *agent {
	t.Helper()
	a := &agent{t: t, index: 100, instances: instances, moved: make(chan struct{})}
	a.start()
	t.Cleanup(a.stop)
	return a
}

func (a *agent) start() {
	a.t.Helper()
	if a.addr == "" {
		a.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", a.addr)
	if err != nil {
		a.t.Fatal(err)
	}
	a.addr, a.done = l.Addr().String(), make(chan struct{})
	a.server = &http.Server{Handler: http.HandlerFunc(a.serve)}
	go func() { defer close(a.done); _ = a.server.Serve(l) }()
}

// stop ends the agent as SIGKILL would: connections are closed under their queries.
func (a *agent) stop() {
	_ = a.server.Close()
	<-a.done
}

// change changes what the agent knows, and lets waiting queries look.
func (a *agent) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.moved)
	a.moved = make(chan struct{})
}

// set is a change of the service: the index moves.
func (a *agent) set(instances ...instance) {
	a.change(func() { a.index, a.instances = a.index+1, instances })
}

func (a *agent) queries() []query {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// waitQueries waits until the agent has been asked n times.
func (a *agent) waitQueries(n int) []query {
	a.t.Helper()
	testkit.Eventually(a.t, fmt.Sprintf("the agent was asked %d times", n), func() bool { return len(a.queries()) >= n })
	return a.queries()
}

func (a *agent) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	a.asked = append(a.asked, query{path: r.URL.Path, q: q, token: r.Header.Get("X-Consul-Token"), at: time.Now()})
	edit, token, path := a.edit, a.token, a.prefix+"/v1/health/service/users"
	a.mu.Unlock()
	switch {
	case edit != nil:
		edit(w, r)
	case r.Method != http.MethodGet || r.URL.Path != path:
		http.NotFound(w, r)
	case token != "" && r.Header.Get("X-Consul-Token") != token:
		http.Error(w, "Permission denied: token "+r.Header.Get("X-Consul-Token")+` lacks permission 'service:read' on "users"`, http.StatusForbidden)
	case q.Get("dc") != "" && q.Get("dc") != "dc1":
		http.Error(w, "No path to datacenter", http.StatusInternalServerError)
	default:
		index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
		wait, err := time.ParseDuration(q.Get("wait"))
		if index > 0 && err != nil {
			http.Error(w, "Invalid wait time", http.StatusBadRequest)
			return
		}
		a.hold(r.Context(), index, wait)
		a.answer(w, q)
	}
}

// hold waits until the index has passed, or the wait is over.
func (a *agent) hold(ctx context.Context, index uint64, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		a.mu.Lock()
		now, moved := a.index, a.moved
		a.mu.Unlock()
		if index == 0 || now > index {
			return
		}
		select {
		case <-moved:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (a *agent) answer(w http.ResponseWriter, q url.Values) {
	a.mu.Lock()
	defer a.mu.Unlock()
	type object = map[string]any
	out := []object{}
	for i, in := range a.instances {
		if in.failing && q.Has("passing") || q.Get("ns") == "other" || q.Has("tag") && !slices.Contains(in.tags, q.Get("tag")) {
			continue
		}
		status := "passing"
		if in.failing {
			status = "critical"
		}
		out = append(out, object{
			"Node": object{"Node": "n", "Address": in.node, "Datacenter": "dc1"},
			"Service": object{
				"ID": fmt.Sprint("users-", i), "Service": "users", "Tags": in.tags, "Address": in.address, "Port": in.port,
				"Weights": object{"Passing": in.weight, "Warning": 1},
			},
			"Checks": []object{{"CheckID": "serfHealth", "Status": status}},
		})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
	w.Header().Set("X-Consul-KnownLeader", "true")
	_ = json.NewEncoder(w).Encode(out)
}

// says answers with a status, an index and a text.
func says(status int, index, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if index != "" {
			w.Header().Set("X-Consul-Index", index)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

// logs counts warnings by their message.
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

// follow opens a watch by the agent.
func (a *agent) follow(spec ir.ConsulService, secret func(string) ([]byte, error)) (*discovery.Watch, *logs) {
	a.t.Helper()
	if spec.Address == "" {
		spec.Address = "http://" + a.addr
	}
	if spec.Wait == 0 {
		spec.Wait = 60_000
	}
	spec.Service = "users"
	dialer, log := net.Dialer{}, &logs{}
	w, err := discovery.Open(&ir.Discovery{Consul: &spec}, discovery.Env{Dial: dialer.DialContext, Secret: secret, Log: slog.New(log)})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = w.Close() })
	return w, log
}

func text(list []discovery.Endpoint) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%s/%d", e.Address, e.Weight))
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
