package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/ir"
)

const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

func spec(scheme string, addrs ...string) ir.Upstream {
	u := ir.Upstream{ID: "u", Scheme: scheme, PrivateAddresses: true, ConnectTimeout: 2000, IdleTimeout: 60000, MaxIdle: 4, MaxConnections: 4}
	for _, a := range addrs {
		u.Endpoints = append(u.Endpoints, ir.Endpoint{Address: a})
	}
	return u
}

func newPool(t *testing.T, u ir.Upstream) *upstream.Upstream {
	t.Helper()
	p, err := upstream.New(u, upstream.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// origin is an HTTP server that answers everything with 200.
func origin(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// exchange sends one request and reads the answer.
func exchange(t *testing.T, c *upstream.Conn) {
	t.Helper()
	if _, err := c.Wire.Trade([]byte(get)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadHead("GET"); err != nil || c.Head.Status != 200 {
		t.Fatalf("status %d, %v", c.Head.Status, err)
	}
	c.BeginBody(time.Time{}, time.Second)
	for !c.Body.Done() {
		if _, err := c.Body.Next(true); err != nil {
			t.Fatal(err)
		}
	}
}

func acquire(t *testing.T, p *upstream.Upstream) *upstream.Conn {
	t.Helper()
	c, err := p.Acquire(t.Context(), upstream.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReuseIsLastInFirstOut(t *testing.T) {
	p := newPool(t, spec("http", origin(t)))
	a, b := acquire(t, p), acquire(t, p)
	if s := p.Gauges(nil); [2]int64{s.Open, s.Idle} != [2]int64{2, 0} {
		t.Errorf("%+v", s)
	}
	exchange(t, a)
	exchange(t, b)
	a.Release(true)
	b.Release(true)
	if s := p.Gauges(nil); [2]int64{s.Open, s.Idle} != [2]int64{2, 2} {
		t.Errorf("%+v", s)
	}
	c := acquire(t, p)
	if c != b || !c.Reused {
		t.Error("the connection used last is not the next")
	}
	exchange(t, c)
	c.Release(true)
}

func TestUnfinishedConnectionIsNotKept(t *testing.T) {
	p := newPool(t, spec("http", origin(t)))
	c := acquire(t, p)
	if _, err := c.Wire.Trade([]byte(get)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadHead("GET"); err != nil {
		t.Fatal(err)
	}
	c.BeginBody(time.Time{}, 0)
	c.Release(true)
	if s := p.Gauges(nil); [2]int64{s.Open, s.Idle} != [2]int64{0, 0} {
		t.Errorf("%+v", s)
	}
}

func TestLimits(t *testing.T) {
	u := spec("http", origin(t))
	u.MaxConnections, u.MaxIdle, u.ConnectTimeout = 2, 1, 50
	p := newPool(t, u)
	a, b := acquire(t, p), acquire(t, p)
	if _, err := p.Acquire(t.Context(), upstream.Ask{}); !errors.Is(err, upstream.ErrOverloaded) {
		t.Errorf("third: %v", err)
	}
	exchange(t, a)
	exchange(t, b)
	a.Release(true)
	b.Release(true) // beyond MaxIdle
	if s := p.Gauges(nil); [2]int64{s.Open, s.Idle} != [2]int64{1, 1} {
		t.Errorf("%+v", s)
	}
}

func TestIdleConnectionsAreReaped(t *testing.T) {
	u := spec("http", origin(t))
	u.IdleTimeout = 30
	p := newPool(t, u)
	c := acquire(t, p)
	exchange(t, c)
	c.Release(true)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); p.Gauges(nil).Open > 0; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%+v", p.Gauges(nil))
		}
	}
}

func TestRoundRobin(t *testing.T) {
	u := spec("http", origin(t), origin(t), origin(t))
	u.Balance = &ir.Balance{Strategy: ir.BalanceRoundRobin}
	p := newPool(t, u)
	seen := map[string]int{}
	for range 9 {
		c := acquire(t, p)
		seen[c.Endpoint().String()]++
		exchange(t, c)
		c.Release(true)
	}
	for _, e := range u.Endpoints {
		if seen[e.Address] != 3 {
			t.Errorf("%s was used %d times", e.Address, seen[e.Address])
		}
	}
}

func TestCloseLetsBusyOnesFinish(t *testing.T) {
	p := newPool(t, spec("http", origin(t)))
	busy, idle := acquire(t, p), acquire(t, p)
	exchange(t, idle)
	idle.Release(true)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	exchange(t, busy)
	busy.Release(true)
	if s := p.Gauges(nil); [2]int64{s.Open, s.Idle} != [2]int64{0, 0} {
		t.Errorf("%+v", s)
	}
	if _, err := p.Acquire(t.Context(), upstream.Ask{}); !errors.Is(err, upstream.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.NegotiatedProtocol != "http/1.1" {
			t.Errorf("protocol %q", r.TLS.NegotiatedProtocol)
		}
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	t.Run("trusted", func(t *testing.T) {
		p, err := upstream.New(spec("https", addr), upstream.Env{Roots: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		for i := range 3 {
			c := acquire(t, p)
			if c.Reused != (i > 0) {
				t.Errorf("exchange %d: reused %v", i, c.Reused)
			}
			exchange(t, c)
			c.Release(true)
		}
	})
	t.Run("not trusted", func(t *testing.T) {
		p := newPool(t, spec("https", addr))
		var dial *upstream.DialError
		if _, err := p.Acquire(t.Context(), upstream.Ask{}); !errors.As(err, &dial) || dial.Timeout() {
			t.Errorf("got %v", err)
		}
		if s := p.Gauges(nil); [2]int64{s.Open, s.Idle} != [2]int64{0, 0} {
			t.Errorf("%+v", s)
		}
	})
}

func TestDialErrors(t *testing.T) {
	t.Run("forbidden", func(t *testing.T) {
		u := spec("http", origin(t))
		u.PrivateAddresses = false
		if _, err := newPool(t, u).Acquire(t.Context(), upstream.Ask{}); !errors.Is(err, dialguard.ErrBlocked) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		if _, err := newPool(t, spec("http", "169.254.169.254:80")).Acquire(t.Context(), upstream.Ask{}); !errors.Is(err, dialguard.ErrBlocked) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("handshake takes too long", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // a listener
		u := spec("https", l.Addr().String())
		u.ConnectTimeout = 50
		var dial *upstream.DialError
		if _, err := newPool(t, u).Acquire(t.Context(), upstream.Ask{}); !errors.As(err, &dial) || !dial.Timeout() {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := newPool(t, spec("http", origin(t))).Acquire(ctx, upstream.Ask{}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no endpoints", func(t *testing.T) {
		if _, err := newPool(t, spec("http")).Acquire(t.Context(), upstream.Ask{}); !errors.Is(err, upstream.ErrNoEndpoints) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("bad address", func(t *testing.T) {
		if _, err := upstream.New(spec("http", "no-port"), upstream.Env{}); err == nil {
			t.Error("accepted")
		}
	})
}
