package upstream

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/schema/ir"
)

// registry is a Shared that keeps everything.
type registry struct {
	mu     sync.Mutex
	values map[string]any
}

func (r *registry) Get(key string, create func() (any, error)) (any, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.values[key]; ok {
		return v, func() {}, nil
	}
	v, err := create()
	if err == nil {
		r.values[key] = v
	}
	return v, func() {}, err
}

func made(t *testing.T, spec ir.Upstream, env Env) *Upstream {
	t.Helper()
	u, err := New(spec, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	return u
}

func pool(addresses ...string) ir.Upstream {
	s := ir.Upstream{ID: "u", Scheme: "http", PrivateAddresses: true, Balance: &ir.Balance{Strategy: ir.BalanceWeighted, SlowStart: 20_000}}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, ir.Endpoint{Address: a, Weight: 1})
	}
	return s
}

// slow are the endpoints that have not come to their full share.
func slow(u *Upstream) []string {
	var out []string
	for _, m := range u.members() {
		if m.since.Load() != 0 {
			out = append(out, m.address)
		}
	}
	return out
}

// Servers that are added start slowly, whether a swap adds them or discovery does; those that were there, or are the first, do not. One
// that comes back does too.
func TestSlowStart(t *testing.T) {
	env := Env{Shared: &registry{values: map[string]any{}}}
	first := made(t, pool("127.0.0.1:1", "127.0.0.1:2"), env)
	if got := slow(first); got != nil {
		t.Errorf("the first servers start slowly: %v", got)
	}
	second := made(t, pool("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"), env)
	if got := slow(second); !slices.Equal(got, []string{"127.0.0.1:3"}) {
		t.Errorf("after a swap %v start slowly", got)
	}
	if err := second.change([]discovery.Endpoint{{Address: "127.0.0.1:1"}, {Address: "127.0.0.1:4"}}); err != nil {
		t.Fatal(err)
	}
	if got := slow(second); !slices.Equal(got, []string{"127.0.0.1:4"}) {
		t.Errorf("after discovery %v start slowly", got)
	}
	before := second.set.Load()
	second.cameBack("127.0.0.1:1")
	if got := slow(second); !slices.Equal(got, []string{"127.0.0.1:1", "127.0.0.1:4"}) || second.set.Load() == before {
		t.Errorf("after the return %v start slowly", got)
	}
}

// A server whose checks pass again tells the upstream so.
func TestSlowStartAfterChecks(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(503, ""))
	sick := make(chan struct{})
	spec := pool(strings.TrimPrefix(up.URL, "http://"))
	spec.Health = &ir.Health{Type: "http", Method: "GET", Path: "/", Interval: 10, Timeout: 1000, Healthy: 1, Unhealthy: 1, Status: []ir.Span{{From: 200, To: 299}}}
	var once sync.Once
	u := made(t, spec, Env{Log: slog.New(slog.NewTextHandler(writer(func(p []byte) {
		if bytes.Contains(p, []byte("change=unhealthy")) {
			once.Do(func() { close(sick) })
		}
	}), nil))})
	<-sick
	if got := slow(u); got != nil {
		t.Errorf("%v start slowly before they are well", got)
	}
	up.Answer(testkit.Reply(200, ""))
	testkit.Eventually(t, "a server that is well again starts slowly", func() bool { return len(slow(u)) == 1 })
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// Addresses that may not be dialled are left out, and an answer that holds nothing else changes nothing.
func TestPermitted(t *testing.T) {
	var log bytes.Buffer
	spec := pool()
	spec.PrivateAddresses = false
	u := made(t, spec, Env{Log: slog.New(slog.NewTextHandler(&log, nil))})
	list := func(addresses ...string) (out []discovery.Endpoint) {
		for _, a := range addresses {
			out = append(out, discovery.Endpoint{Address: a})
		}
		return out
	}
	got := u.permitted(list("203.0.113.1:80", "8.8.8.8:80", "169.254.169.254:80", "name.example:80", "[::1]:80"))
	if fmt.Sprint(got) != fmt.Sprint(list("8.8.8.8:80", "name.example:80")) || !strings.Contains(log.String(), "leftOut=3 used=2") {
		t.Errorf("%v, %s", got, &log)
	}
	if got := u.permitted(list("169.254.169.254:80")); got != nil {
		t.Errorf("an answer of forbidden addresses is taken: %v", got)
	}
	if got := u.permitted(nil); got == nil {
		t.Error("an empty answer is not taken")
	}
}

// Credentials that cannot be read any more are used as they were, and said to be so once.
func TestCredentials(t *testing.T) {
	ca := testkit.NewAuthority(t)
	want := x509.NewCertPool()
	good, _ := ca.Issue(t, testkit.Leaf{Names: []string{"h"}})
	want.AppendCertsFromPEM(good)
	value, fail := good, error(nil)
	var log bytes.Buffer
	spec := pool("127.0.0.1:1")
	spec.Scheme, spec.TLS = "https", &ir.UpstreamTLS{CA: "file:/ca.pem"}
	secret := func(string) ([]byte, error) { return value, fail }
	u := made(t, spec, Env{Secret: secret, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, broken := range []struct {
		value []byte
		err   error
	}{{[]byte("garbage"), nil}, {nil, errors.New("it is gone")}, {nil, nil}} {
		value, fail = broken.value, broken.err
		if c, err := u.tlsConfig("h"); err != nil || !c.RootCAs.Equal(want) {
			t.Errorf("%+v: %v", broken, err)
		}
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
	value, fail = good, nil
	if _, err := u.tlsConfig("h"); err != nil || !strings.Contains(log.String(), "can be read again") {
		t.Errorf("%v: %s", err, &log)
	}
	value = []byte("garbage")
	if _, err := New(spec, Env{Secret: secret}); err == nil {
		t.Error("an upstream is made without what it needs")
	}
}

// The log hears of an endpoint's failures now and then.
func TestComplains(t *testing.T) {
	var e Endpoint
	now := time.Now()
	var heard []bool
	for _, at := range []time.Duration{0, time.Second, 9999 * time.Millisecond, 10 * time.Second, 11 * time.Second} {
		heard = append(heard, e.Complains(now.Add(at)))
	}
	if !slices.Equal(heard, []bool{true, false, false, true, false}) {
		t.Errorf("heard %v", heard)
	}
}
