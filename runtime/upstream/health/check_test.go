package health

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// every three seconds is what a health section without settings compiles to.
func every3s() *ir.Health {
	return &ir.Health{
		Type: "tcp", Path: "/", Method: "GET", Status: []ir.Span{{From: 200, To: 399}}, Interval: 3000, Timeout: 1000,
		JitterPercent: 20, Healthy: 1, Unhealthy: 3,
	}
}

var errRefused = errors.New("connection refused")

// lamp is an endpoint that may be connected to while it is on. It notes when it is asked.
type lamp struct {
	off atomic.Bool

	mu    sync.Mutex
	asked []time.Time
}

func (l *lamp) dial(ctx context.Context, _ string) (net.Conn, error) {
	l.mu.Lock()
	l.asked = append(l.asked, time.Now())
	l.mu.Unlock()
	if l.off.Load() {
		return nil, errRefused
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	_ = there.Close()
	return here, nil
}

func (l *lamp) times() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

func TestThresholds(t *testing.T) {
	for name, test := range map[string]struct {
		healthy, unhealthy int64
		checks             string // + passes, - does not
		want               string // after each: H healthy, U unhealthy
	}{
		"three down, one up":          {1, 3, "+--+---+", "HHHHHHUH"},
		"one down, one up":            {1, 1, "-+-+", "UHUH"},
		"one down, three up":          {3, 1, "-++-+++", "UUUUUUH"},
		"passes in between":           {2, 2, "-+-+--+-++", "HHHHHUUUUH"},
		"healthy from the beginning":  {2, 3, "--", "HH"},
		"further failures change not": {1, 2, "-----+", "HUUUUH"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := every3s()
				c.Healthy, c.Unhealthy, c.JitterPercent = test.healthy, test.unhealthy, 0
				l, log, passed := &lamp{}, &journal{}, ""
				l.off.Store(test.checks[0] == '-') // the first is made at once
				h := newHost(t, HostConfig{Address: "a:1", Check: c, Dial: l.dial, OnEvent: log.add, OnCheck: func(ok bool) {
					if ok {
						passed += "+"
					} else {
						passed += "-"
					}
				}})
				m := NewMonitor(MonitorConfig{Upstream: "u"})
				t.Cleanup(func() { closed(t, m.Close) })
				m.Set([]*Host{h})
				got, changes := "", 0
				for i, check := range test.checks {
					l.off.Store(check == '-')
					if i > 0 {
						time.Sleep(3 * time.Second)
					}
					synctest.Wait()
					s := h.Status()
					state := "H"
					if s.State == StateUnhealthy {
						state = "U"
					}
					if i > 0 && got[i-1:] != state || i == 0 && state == "U" {
						changes++
						if !s.Since.Equal(time.Now()) {
							t.Errorf("check %d: since %s", i+1, s.Since)
						}
					}
					got += state
					if out := m.View().Out.Has(0); out != (state == "U") {
						t.Errorf("check %d: out is %v", i+1, out)
					}
					if (s.LastError == "connection refused") != (check == '-') || s.LastCheck == nil || !s.LastCheck.Equal(time.Now()) {
						t.Errorf("check %d: status %+v", i+1, s)
					}
				}
				if got != test.want || passed != test.checks {
					t.Errorf("%s made %s, want %s", passed, got, test.want)
				}
				events := log.take()
				if len(events) != changes {
					t.Errorf("events %v", kinds(events))
				}
				for i, e := range events {
					if bad := e.Kind == Unhealthy; bad != (i%2 == 0) || bad && (e.Reason != CheckConnect || e.Detail != "connection refused" || e.Numbers["failures"] != test.unhealthy) ||
						!bad && (e.Kind != Healthy || e.Numbers["passes"] != test.healthy) {
						t.Errorf("event %d: %+v", i, e)
					}
				}
			})
		})
	}
}

// As Envoy has it: one check that passes ends an ejection, but an unhealthy host must become healthy first.
func TestCheckEndsEjection(t *testing.T) {
	checked := func(t *testing.T) (*pool, *Host) {
		t.Helper()
		c := every3s()
		c.Healthy, c.Unhealthy, c.Interval = 3, 1, 86_400_000 // none of its own
		p := &pool{}
		h := newHost(t, HostConfig{Address: "a", Check: c, Outlier: envoy(), OnEvent: p.add, Dial: (&lamp{}).dial})
		time.Sleep(firstCheck)
		synctest.Wait()
		p.hosts = []*Host{h, newHost(t, HostConfig{Address: "b", Outlier: envoy()})}
		p.Monitor = p.monitor(t, envoy())
		return p, h
	}
	bad := &checkError{CheckConnect, errRefused}
	t.Run("one pass", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, h := checked(t)
			report(h, 0, 5)
			time.Sleep(2 * time.Second)
			h.checked(time.Now(), nil)
			equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx", "a returned check_passed"})
			if e := p.Events()[1]; e.Numbers["ejected_ms"] != 2000 || p.View().Out != nil {
				t.Errorf("event %+v, view %+v", e, p.View())
			}
		})
	})
	t.Run("one that began before says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, h := checked(t)
			began := time.Now()
			time.Sleep(time.Millisecond)
			report(h, 0, 5)
			h.checked(began, nil)
			equal(t, "events", kinds(p.take()), []string{"a ejected consecutive_5xx"})
		})
	})
	t.Run("an unhealthy one must be healthy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, h := checked(t)
			h.checked(time.Now(), bad)
			unhealthy := time.Now()
			time.Sleep(time.Second)
			report(h, 0, 5) // in a panic it is asked all the same
			if s := h.Status(); s.State != StateUnhealthy || s.EjectedUntil == nil || !s.Since.Equal(unhealthy) {
				t.Errorf("status %+v, unhealthy since %s", s, unhealthy)
			}
			for range 2 {
				h.checked(time.Now(), nil)
			}
			equal(t, "events", kinds(p.take()), []string{"a unhealthy connect_failed", "a ejected consecutive_5xx"})
			h.checked(time.Now(), nil)
			equal(t, "events", kinds(p.take()), []string{"a healthy", "a returned check_passed"})
			if s := h.Status(); s.State != StateHealthy || !s.Since.Equal(time.Now()) || p.View().Out != nil {
				t.Errorf("status %+v", s)
			}
		})
	})
	t.Run("healthy by one that began before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, h := checked(t)
			h.checked(time.Now(), bad)
			for range 2 {
				h.checked(time.Now(), nil)
			}
			began := time.Now()
			time.Sleep(time.Millisecond)
			report(h, 0, 5)
			h.checked(began, nil)
			equal(t, "events", kinds(p.take()), []string{"a unhealthy connect_failed", "a ejected consecutive_5xx", "a healthy"})
			if h.Status().State != StateEjected || !p.View().Out.Has(0) {
				t.Errorf("status %+v", h.Status())
			}
		})
	})
	t.Run("time brings back what is unhealthy, but not into use", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p, h := checked(t)
			report(h, 0, 5)
			h.checked(time.Now(), bad)
			time.Sleep(30 * time.Second)
			nextSweep(p.Monitor)
			if s := h.Status(); s.State != StateUnhealthy || s.EjectedUntil != nil || !p.View().Out.Has(0) {
				t.Errorf("status %+v", s)
			}
		})
	})
}

func TestNobodyConnects(t *testing.T) {
	h := &Host{c: HostConfig{Address: "a:1", Check: every3s()}}
	h.c.fill()
	if failure := h.check(t.Context()); failure == nil || failure.reason != CheckConnect || failure.detail() != "there is nobody to connect" {
		t.Errorf("%+v", failure)
	}
}

func TestTarget(t *testing.T) {
	for name, test := range map[string]struct {
		address string
		port    int64
		want    string
	}{
		"its own":       {"10.0.0.1:80", 0, "10.0.0.1:80"},
		"another port":  {"10.0.0.1:80", 9000, "10.0.0.1:9000"},
		"IPv6":          {"[::1]:80", 9000, "[::1]:9000"},
		"not a port":    {"a", 9000, "a"},
		"name and port": {"a.example:80", 9000, "a.example:9000"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Host{c: HostConfig{Address: test.address, Check: &ir.Health{Port: test.port}}}
			if got := h.target(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// What a server says about itself is cut short, and made text.
func TestDetail(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"short":       {"no", "no"},
		"long":        {strings.Repeat("x", 5000), strings.Repeat("x", 200) + " ..."},
		"no text":     {"a\xff\xfe", "a\uFFFD"},
		"half a rune": {strings.Repeat("x", 199) + "\u00e9", strings.Repeat("x", 199) + " ..."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&checkError{CheckBroken, errors.New(test.text)}).detail(); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
