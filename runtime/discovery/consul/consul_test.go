// The Consul agent can be had neither as a Go module nor as a package of the system, so what the official client talks to here is
// a server in the test that replays the agent's documented health API: https://developer.hashicorp.com/consul/api-docs/health and
// .../api-docs/features/blocking.
package consul_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/runtime/discovery/consul"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) {
	consul.Hasten(4*time.Second, 200*time.Millisecond)
	testkit.NoLeaks(m)
}

var one = instance{node: "10.0.0.1", port: 8080, weight: 1}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		spec      ir.ConsulService
		instances []instance
		want      string
	}{
		{"weights", ir.ConsulService{}, []instance{
			{node: "10.0.0.1", port: 80, weight: 7},
			{node: "10.0.0.2", port: 80},
			{node: "10.0.0.3", port: 80, weight: -1},
			{node: "10.0.0.4", port: 80, weight: 1 << 40},
		}, "10.0.0.1:80/7 10.0.0.2:80/0 10.0.0.3:80/0 10.0.0.4:80/65535"},
		{"the address of the service before that of the node", ir.ConsulService{}, []instance{
			{node: "10.0.0.1", address: "10.1.0.1", port: 80}, {node: "10.0.0.2", port: 80}, {address: "users.internal", port: 80}, {port: 80},
		}, "10.0.0.2:80/0 10.1.0.1:80/0 users.internal:80/0"},
		{"IPv6", ir.ConsulService{}, []instance{{node: "fd00::1", port: 80}}, "[fd00::1]:80/0"},
		{"ports out of range", ir.ConsulService{}, []instance{
			{node: "10.0.0.1"}, {node: "10.0.0.1", port: -1}, {node: "10.0.0.1", port: 65536}, {node: "10.0.0.1", port: 65535},
		}, "10.0.0.1:65535/0"},
		{"hosts that are none", ir.ConsulService{}, []instance{
			{node: "10.0.0.1", port: 80}, {node: "a]b", port: 80}, {node: "unix:///run/s", port: 80}, {node: "a b", port: 80}, {node: "u@h", port: 80},
		}, "10.0.0.1:80/0"},
		{"only what passes", ir.ConsulService{}, []instance{{node: "10.0.0.1", port: 80}, {node: "10.0.0.2", port: 80, failing: true}}, "10.0.0.1:80/0"},
		{"all tags", ir.ConsulService{Tags: []string{"v2", "eu"}}, []instance{
			{node: "10.0.0.1", port: 80, tags: []string{"v2"}}, {node: "10.0.0.2", port: 80, tags: []string{"eu", "x", "v2"}}, {node: "10.0.0.3", port: 80},
		}, "10.0.0.2:80/0"},
		{"datacenter and namespace", ir.ConsulService{Datacenter: "dc1", Namespace: "shop"}, []instance{{node: "10.0.0.1", port: 80}}, "10.0.0.1:80/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, tt.instances...)
			w, _ := a.follow(tt.spec, nil)
			becomes(t, w, tt.want)
			q := a.queries()[0].q
			if q.Get("dc") != tt.spec.Datacenter || q.Get("ns") != tt.spec.Namespace || q.Get("passing") == "" || q.Has("index") {
				t.Errorf("asked %v", q)
			}
		})
	}
}

// TestPathPrefix has the agent stand behind a proxy, under a path.
func TestPathPrefix(t *testing.T) {
	t.Parallel()
	a := newAgent(t, one)
	a.change(func() { a.prefix = "/consul" })
	w, _ := a.follow(ir.ConsulService{Address: "http://" + a.addr + "/consul/"}, nil)
	becomes(t, w, "10.0.0.1:8080/1")
}

// TestBlockingQuery has a change arrive by the query that waits for it.
func TestBlockingQuery(t *testing.T) {
	t.Parallel()
	a := newAgent(t, one)
	w, _ := a.follow(ir.ConsulService{Wait: 45_000}, nil)
	becomes(t, w, "10.0.0.1:8080/1")
	if q := a.waitQueries(2)[1].q; q.Get("index") != "100" || q.Get("wait") != "45000ms" {
		t.Errorf("the second query is %v", q)
	}
	a.set(one, instance{node: "10.0.0.2", port: 8080, weight: 3})
	becomes(t, w, "10.0.0.1:8080/1 10.0.0.2:8080/3")
	if q := a.waitQueries(3); len(q) != 3 || q[2].q.Get("index") != "101" {
		t.Errorf("after the change: %v", q)
	}
	a.set()
	becomes(t, w, "") // no instance passes any more, says who has to know
	if s := w.Status(); s.Changes != 3 || s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

// TestWaitIsOver has a query come back with nothing new, which changes nothing.
func TestWaitIsOver(t *testing.T) {
	t.Parallel()
	a := newAgent(t, one)
	w, _ := a.follow(ir.ConsulService{Wait: 10}, nil)
	if q := a.waitQueries(4)[3].q; q.Get("index") != "100" {
		t.Errorf("asked %v", q)
	}
	if s := w.Status(); s.Changes != 1 || s.Failures != 0 || text(w.Endpoints()) != "10.0.0.1:8080/1" {
		t.Errorf("%+v, %q", s, text(w.Endpoints()))
	}
}

// TestIndex holds what is sent after an index that is no index.
func TestIndex(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
	}{
		{"backwards", "7", "1"},
		{"zero", "0", "1"},
		{"absent", "", "1"},
		{"no number", "x", "1"},
		{"the same", "101", "101"},
		{"largest", "18446744073709551615", "18446744073709551615"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, one)
			w, _ := a.follow(ir.ConsulService{}, nil)
			a.waitQueries(2)
			a.change(func() { a.edit = says(http.StatusOK, tt.answer, "[]") })
			a.set() // lets the second query go; the third gets what edit says
			if q := a.waitQueries(4)[3].q; q.Get("index") != tt.want {
				t.Errorf("asked for %q after %q, want %q", q.Get("index"), tt.answer, tt.want)
			}
			if s := w.Status(); s.Failures != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestNoBusyLoop has an agent that never holds a query.
func TestNoBusyLoop(t *testing.T) {
	for name, index := range map[string]func(n int64) string{
		"the index stays": func(int64) string { return "100" },
		"it always moves": func(n int64) string { return time.Duration(n).String()[:1] + "00" },
		"there is none":   func(int64) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			var n atomic.Int64
			a.change(func() {
				a.edit = func(w http.ResponseWriter, r *http.Request) { says(http.StatusOK, index(n.Add(1)), "[]")(w, r) }
			})
			a.follow(ir.ConsulService{}, nil)
			const asked, burst, every = 14, 10, 500 * time.Millisecond
			q := a.waitQueries(asked)
			if took, least := q[asked-1].at.Sub(q[0].at), (asked-burst)*every-50*time.Millisecond; took < least {
				t.Errorf("%d queries in %v, must take %v", asked, took, least)
			}
		})
	}
}

// TestLastGoodAnswerStays has every kind of bad answer follow a good one.
func TestLastGoodAnswerStays(t *testing.T) {
	elsewhere := newAgent(t, instance{node: "10.6.6.6", port: 80})
	for _, tt := range []struct {
		name   string
		damage http.HandlerFunc // nil: the agent is gone
		want   string           // part of the error
	}{
		{"gone", nil, "connection refused"},
		{"error", says(http.StatusInternalServerError, "200", "No cluster leader"), "the agent answers 500: No cluster leader"},
		{"forbidden", says(http.StatusForbidden, "200", "Permission denied"), "the agent answers 403: Permission denied"},
		{"not JSON", says(http.StatusOK, "200", "<html>"), "invalid character"},
		{"cut JSON", says(http.StatusOK, "200", `[{"Service":{"Address":"10.6.6.6","Port":80}},`), "unexpected EOF"},
		{"another shape", says(http.StatusOK, "200", `{"Service":{}}`), "cannot unmarshal"},
		{"null", says(http.StatusOK, "200", "null"), "null"},
		{"nothing", says(http.StatusOK, "200", ""), "EOF"},
		{"a long refusal", says(http.StatusBadGateway, "200", strings.Repeat("x", 1<<20)), "the agent answers 502: xxx"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+elsewhere.addr+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		}, "the agent redirects"},
		{"hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		{"endless body", func(w http.ResponseWriter, _ *http.Request) {
			part := []byte(strings.Repeat("x", 1<<16))
			_, err := io.WriteString(w, `[{"Node":{"Node":"`)
			for err == nil {
				_, err = w.Write(part)
			}
		}, "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, one)
			w, log := a.follow(ir.ConsulService{Wait: 200}, nil)
			becomes(t, w, "10.0.0.1:8080/1")
			if a.change(func() { a.edit = tt.damage }); tt.damage == nil {
				a.stop()
			}
			testkit.Eventually(t, "it has failed twice", func() bool { return w.Status().Failures >= 2 })
			if s := w.Status(); !strings.Contains(s.LastError, tt.want) || len(s.LastError) > 400 {
				t.Errorf("the error is %q, must say %q", s.LastError, tt.want)
			}
			if got := text(w.Endpoints()); got != "10.0.0.1:8080/1" {
				t.Errorf("left: %q", got)
			}
			if n := log.count("discovery failed"); n != 1 {
				t.Errorf("told %d times", n)
			}
			// Another process at the same address, which begins anew with its index.
			a.change(func() { a.edit, a.index, a.instances = nil, 3, []instance{{node: "10.0.0.2", port: 8080, weight: 1}} })
			if tt.damage == nil {
				a.start()
			}
			becomes(t, w, "10.0.0.2:8080/1")
			if s := w.Status(); s.Failures != 0 || s.LastError != "" || s.Changes != 2 {
				t.Errorf("%+v", s)
			}
			testkit.Eventually(t, "it is told once that it works again", func() bool { return log.count("discovery works again") == 1 })
			a.set(one)
			becomes(t, w, "10.0.0.1:8080/1")
		})
	}
	t.Cleanup(func() {
		if n := len(elsewhere.queries()); n != 0 {
			t.Errorf("the redirect was followed %d times", n)
		}
	})
}

// TestHolesInAnAnswer has entries that are nothing, which are left out.
func TestHolesInAnAnswer(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.change(func() {
		a.edit = says(http.StatusOK, "5", `[null, {}, {"Service":null}, {"Service":{"Port":80}}, {"Node":{"Address":"10.0.0.1"},"Service":{"Port":80}}]`)
	})
	w, _ := a.follow(ir.ConsulService{}, nil)
	becomes(t, w, "10.0.0.1:80/0")
}

// TestToken has the token change while queries are asked.
func TestToken(t *testing.T) {
	t.Parallel()
	const first, second = "8b1f0d4e-first", "0c55a1b2-second"
	var current atomic.Value
	current.Store(first + "\n")
	secret := func(ref string) ([]byte, error) {
		if text := current.Load().(string); ref == "file:token" && text != "" {
			return []byte(text), nil
		}
		return nil, errors.New("there is no such secret")
	}
	a := newAgent(t, one)
	a.change(func() { a.token = first })
	w, log := a.follow(ir.ConsulService{Token: "file:token"}, secret)
	becomes(t, w, "10.0.0.1:8080/1")
	a.change(func() { a.token = second })
	a.set(one)
	testkit.Eventually(t, "the old token is refused", func() bool { return w.Status().Failures > 0 })
	if s := w.Status(); !strings.Contains(s.LastError, "403: Permission denied: token (token) lacks") {
		t.Errorf("the error is %q", s.LastError)
	}
	current.Store("")
	testkit.Eventually(t, "there is no token", func() bool { return strings.Contains(w.Status().LastError, "read the token: there is no such secret") })
	current.Store(" \n")
	testkit.Eventually(t, "the token is empty", func() bool { return strings.Contains(w.Status().LastError, "the token is empty") })
	current.Store(second)
	a.set(instance{node: "10.0.0.2", port: 80})
	becomes(t, w, "10.0.0.2:80/0")
	if log.count(first)+log.count(second) != 0 {
		t.Error("the log holds a token")
	}
}

// TestEnvironment holds that nothing of the gateway's own environment reaches an agent, which a tenant may name.
func TestEnvironment(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "of-the-gateway")
	t.Setenv("CONSUL_HTTP_AUTH", "user:password")
	t.Setenv("CONSUL_NAMESPACE", "other")
	t.Setenv("CONSUL_PARTITION", "other")
	t.Setenv("CONSUL_HTTP_ADDR", "127.0.0.1:1")
	t.Setenv("CONSUL_HTTP_SSL", "true")
	for _, file := range []string{"", filepath.Join(t.TempDir(), "absent"), filepath.Join(t.TempDir(), "token")} {
		if strings.HasSuffix(file, "token") {
			if err := os.WriteFile(file, []byte("of-the-gateway"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
		got := make(chan *http.Request, 16)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got <- r
			says(http.StatusOK, "1", "[]")(w, r)
		}))
		w, _ := (&agent{t: t}).follow(ir.ConsulService{Address: s.URL}, nil)
		r := <-got
		if q := r.URL.Query(); q.Has("ns") || q.Has("partition") || r.Header.Get("X-Consul-Token") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("sent %s with %v", r.URL, r.Header)
		}
		_ = w.Close()
		s.Close()
	}
}

// TestClose ends a watch while a query waits, and while none can be asked.
func TestClose(t *testing.T) {
	for name, damage := range map[string]http.HandlerFunc{
		"while it waits":     nil,
		"while it backs off": says(http.StatusInternalServerError, "", ""),
		"while it is paced":  says(http.StatusOK, "1", "[]"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, one)
			a.change(func() { a.edit = damage })
			w, _ := a.follow(ir.ConsulService{Wait: 600_000}, nil)
			testkit.Eventually(t, "it is under way", func() bool {
				return len(a.queries()) >= 2 && (damage == nil || w.Status().Failures > 0 || len(a.queries()) > 10)
			})
			start := time.Now()
			_ = w.Close()
			_ = w.Close()
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
			asked := len(a.queries())
			a.stop()
			if n := len(a.queries()); n != asked {
				t.Errorf("%d queries after the end", n-asked)
			}
		})
	}
}

func TestBadAddress(t *testing.T) {
	for _, address := range []string{"", "agent:8500", "http://", "http://[::1"} {
		if w, err := discovery.Open(&ir.Discovery{Consul: &ir.ConsulService{Address: address}}, discovery.Env{}); err == nil {
			_ = w.Close()
			t.Errorf("%q was taken", address)
		}
	}
}
