package kubernetes_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/runtime/discovery/kubernetes"
	"github.com/suuupra/gateway/schema/ir"
)

const protocolTCP = corev1.ProtocolTCP

func TestMain(m *testing.M) {
	kubernetes.Hasten(5*time.Second, 200*time.Millisecond)
	testkit.NoLeaks(m)
}

// TestFollows has slices come, change and go.
func TestFollows(t *testing.T) {
	t.Parallel()
	s := newServer(t, slice("a", at("10.0.0.1")))
	w, _ := follow(t, s.config)
	becomes(t, w, "10.0.0.1:8080")
	s.put(slice("b", at("10.0.0.2"), at("10.0.0.3")))
	becomes(t, w, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080")
	s.put(slice("b", at("10.0.0.3")))
	becomes(t, w, "10.0.0.1:8080 10.0.0.3:8080")
	s.send(`{"type":"BOOKMARK","object":{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"900"}}}`)
	s.put(slice("c", at("10.0.0.4")))
	becomes(t, w, "10.0.0.1:8080 10.0.0.3:8080 10.0.0.4:8080")
	s.drop("a")
	becomes(t, w, "10.0.0.3:8080 10.0.0.4:8080")
	s.put(slice("b"))
	s.drop("c")
	becomes(t, w, "")
	if lists, watches := s.counts(); lists != 1 || watches != 1 || s.selector != "kubernetes.io/service-name=users" {
		t.Errorf("%d lists and %d watches of %s", lists, watches, s.selector)
	}
	if st := w.Status(); st.Failures != 0 {
		t.Errorf("%+v", st)
	}
}

// TestNobody has a service without slices: that is an answer.
func TestNobody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w, _ := follow(t, s.config)
	select {
	case <-w.Known():
	case <-time.After(30 * time.Second):
		t.Fatal("it never answers")
	}
	s.put(slice("a", at("10.0.0.1")))
	becomes(t, w, "10.0.0.1:8080")
}

// TestWatchEnds has a watch end for reasons that are no failure: all of them are caught up with.
func TestWatchEnds(t *testing.T) {
	for name, end := range map[string]func(*server){
		"closed": func(s *server) { s.send("") },
		"too old": func(s *server) {
			s.send(`{"type":"ERROR","object":` + status(410, "Expired", "too old resource version: 100 (200)") + `}`)
		},
		"too old before it begins": func(s *server) {
			s.change(func() { s.oldest = s.version + 2 })
			s.send("")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, slice("a", at("10.0.0.1")), slice("b", at("10.0.0.2")))
			w, log := follow(t, s.config)
			becomes(t, w, "10.0.0.1:8080 10.0.0.2:8080")
			end(s)
			s.change(func() { // unseen by any watch
				delete(s.slices, "a")
				s.version += 2
			})
			becomes(t, w, "10.0.0.2:8080")
			s.put(slice("b", at("10.0.0.3")))
			becomes(t, w, "10.0.0.3:8080")
			if n := log.count("discovery failed"); n != 0 {
				t.Errorf("%d failures: %q", n, log.lines)
			}
		})
	}
}

// TestLostMemory has an API server come back with less than it knew, as after etcd was restored from a backup: it counts versions
// from below again, and says nothing to a watch from above.
func TestLostMemory(t *testing.T) {
	t.Parallel()
	s := newServer(t, slice("a", at("10.0.0.1")), slice("b", at("10.0.0.2")))
	w, _ := follow(t, s.config)
	becomes(t, w, "10.0.0.1:8080 10.0.0.2:8080")
	testkit.Eventually(t, "it watches", func() bool { _, watches := s.counts(); return watches == 1 })
	s.stop()
	s.change(func() { delete(s.slices, "a"); s.version, s.events = 7, nil })
	s.start()
	becomes(t, w, "10.0.0.2:8080")
	s.put(slice("c", at("10.0.0.3")))
	becomes(t, w, "10.0.0.2:8080 10.0.0.3:8080")
}

// TestLastGoodAnswerStays has every kind of bad answer follow a good one.
func TestLastGoodAnswerStays(t *testing.T) {
	elsewhere := newServer(t, slice("a", at("10.6.6.6")))
	list := `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[`
	for _, tt := range []struct {
		name   string
		damage http.HandlerFunc // nil: the server is gone
		want   string           // part of the error
	}{
		{"gone", nil, "connection refused"},
		{"unauthorized", says(401, status(401, "Unauthorized", "Unauthorized")), "Unauthorized"},
		{"forbidden", says(403, status(403, "Forbidden", `endpointslices is forbidden: User "x" cannot list`)), "cannot list"},
		{"error", says(500, status(500, "InternalError", "etcd is away")), "etcd is away"},
		{"busy for an hour", says(429, status(429, "TooManyRequests", "too many"), "Retry-After: 3600"), "too many"},
		{"no JSON", says(200, "<html>"), "invalid character"},
		{"another kind", says(200, `{"kind":"Pod","apiVersion":"v1","metadata":{}}`), "no list"},
		{"no kind", says(200, `{}`), "no list"},
		{"nothing", says(200, ``), "watch the slices"},
		{"cut", says(200, list+`{"metadata":{"name":"x"}}`), "unexpected"},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, err := io.WriteString(w, list)
			part := []byte(strings.Repeat(`{"metadata":{"name":"x"}},`, 1<<12))
			for err == nil {
				_, err = w.Write(part)
			}
		}, "unexpected"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+elsewhere.addr+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		}, "redirects"},
		{"hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, slice("a", at("10.0.0.1")))
			w, log := follow(t, s.config)
			becomes(t, w, "10.0.0.1:8080")
			testkit.Eventually(t, "it watches", func() bool { _, watches := s.counts(); return watches > 0 }) // else the damage is that of a watch
			s.change(func() { s.edit = tt.damage })
			s.stop()
			if tt.damage != nil {
				s.start()
			}
			defer func() {
				if t.Failed() {
					t.Logf("left %q, %+v", text(w.Endpoints()), w.Status())
				}
			}()
			testkit.Eventually(t, "it has failed twice for this reason", func() bool {
				st := w.Status()
				return st.Failures >= 2 && strings.Contains(st.LastError, tt.want)
			})
			if got := text(w.Endpoints()); got != "10.0.0.1:8080" || log.count("discovery failed") != 1 {
				t.Errorf("left %q, told %q", got, log.lines)
			}
			s.change(func() { s.edit = nil })
			if tt.damage == nil {
				s.start()
			}
			testkit.Eventually(t, "it works again, though nothing has changed", func() bool { return w.Status().Failures == 0 })
			s.put(slice("a", at("10.0.0.2")))
			becomes(t, w, "10.0.0.2:8080")
			testkit.Eventually(t, "it is told once that it works again", func() bool { return log.count("discovery works again") == 1 })
		})
	}
	t.Cleanup(func() {
		if lists, watches := elsewhere.counts(); lists+watches != 0 {
			t.Errorf("the redirect was followed %d times", lists+watches)
		}
	})
}

// TestNoWatch has an account that may list and not watch: it is told once, and the lists are used meanwhile.
func TestNoWatch(t *testing.T) {
	for name, damage := range map[string]http.HandlerFunc{
		"forbidden": says(403, status(403, "Forbidden", "cannot watch")),
		"failing":   says(200, `{"type":"ERROR","object":`+status(500, "InternalError", "cannot watch")+"}\n"),
		"garbage":   says(200, `{"type":"ADDED","object":{"kind":"Nonsense","apiVersion":"v1","metadata":{"name":"cannot watch"}}}`+"\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, slice("a", at("10.0.0.1")))
			s.change(func() { s.noWatch = damage })
			w, log := follow(t, s.config)
			testkit.Eventually(t, "it has failed twice", func() bool { return w.Status().Failures >= 2 })
			if !strings.Contains(w.Status().LastError, "watch") || text(w.Endpoints()) != "10.0.0.1:8080" {
				t.Errorf("%+v, %q", w.Status(), text(w.Endpoints()))
			}
			s.put(slice("a", at("10.0.0.2")))
			becomes(t, w, "10.0.0.2:8080")
			if n := log.count("discovery works again"); n > 1 { // once with the change
				t.Errorf("told %q", log.lines)
			}
		})
	}
}

// TestNoBusyLoop has a server that ends every watch at once.
func TestNoBusyLoop(t *testing.T) {
	t.Parallel()
	s := newServer(t, slice("a", at("10.0.0.1")))
	s.change(func() { s.noWatch = says(200, "") })
	follow(t, s.config)
	const asked, burst, every = 8, 5, time.Second
	testkit.Eventually(t, "eight watches", func() bool { _, n := s.counts(); return n >= asked })
	s.mu.Lock()
	defer s.mu.Unlock()
	if took, least := s.watches[asked-1].Sub(s.watches[0]), (asked-burst)*every-100*time.Millisecond; took < least {
		t.Errorf("%d watches in %v, must take %v", asked, took, least)
	}
}

// TestToken has the token in the kubeconfig file change.
func TestToken(t *testing.T) {
	t.Parallel()
	s := newServer(t, slice("a", at("10.0.0.1")))
	w, log := follow(t, s.config)
	becomes(t, w, "10.0.0.1:8080")
	s.change(func() { s.token = "second" })
	s.send("")
	testkit.Eventually(t, "the old token is refused", func() bool { return w.Status().Failures > 0 })
	if err := os.WriteFile(s.config, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the file is bad", func() bool { return strings.Contains(w.Status().LastError, "read the way to") })
	s.configure("second")
	s.put(slice("a", at("10.0.0.2")))
	becomes(t, w, "10.0.0.2:8080")
	if log.count("second") != 0 {
		t.Errorf("the log holds the token: %q", log.lines)
	}
}

func TestClose(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, damage := range map[string]func(*server){
		"while it watches":    func(*server) {},
		"while it lists":      func(s *server) { s.edit = hang },
		"while a watch hangs": func(s *server) { s.noWatch = hang },
		"while it backs off":  func(s *server) { s.edit = says(500, "") },
		"while it is paced":   func(s *server) { s.noWatch = says(200, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, slice("a", at("10.0.0.1")))
			s.change(func() { damage(s) })
			w, _ := follow(t, s.config)
			testkit.Eventually(t, "it is under way", func() bool {
				lists, watches := s.counts()
				return watches > 0 || strings.Contains(name, "lists") && lists > 0 || w.Status().Failures > 0
			})
			start := time.Now()
			_ = w.Close()
			_ = w.Close()
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{broken, filepath.Join(t.TempDir(), "absent"), ""} {
		spec := &ir.KubernetesService{Namespace: "shop", Service: "users", Kubeconfig: path}
		if w, err := discovery.Open(&ir.Discovery{Kubernetes: spec}, discovery.Env{}); err == nil || !strings.Contains(err.Error(), "read the way to the Kubernetes API") {
			t.Errorf("%q: %v", path, err)
			_ = w.Close()
		}
	}
}
