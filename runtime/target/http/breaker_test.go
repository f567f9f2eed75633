package httptarget_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/runtime/target"
	httptarget "github.com/suuupra/gateway/runtime/target/http"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// breaking opens after ten calls of which half failed, for ten seconds of the clock.
func breaking() *ir.Breaker {
	return &ir.Breaker{Window: 10_000, MinimumCalls: 10, ErrorPercent: 50, OpenFor: 10_000, MaxOpenFor: 60_000, HalfOpenRampFor: 5000}
}

// clock is one that stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// ask sends a request on a connection of its own, and returns the head of the answer.
func (p *proxy) ask(t *testing.T) string {
	t.Helper()
	c := dial(t, p.addr)
	defer func() { _ = c.Close() }()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	return c.head()
}

// TestBreakerOpens holds what counts as failed, to the call.
func TestBreakerOpens(t *testing.T) {
	fail := func(answer string) func(*testing.T) options {
		return func(t *testing.T) options { return defaults(startOrigin(t, answering(answer)).addr) }
	}
	grpc := func(fields ...string) func(*testing.T) options {
		return func(t *testing.T) options {
			return http2Options(framing(t, func(p *peer) {
				for s := p.request(); s != 0; s = p.request() {
					p.head(s, true, append([]string{":status", "200", "content-type", "application/grpc"}, fields...)...)
				}
			}).addr)
		}
	}
	for _, tt := range []struct {
		name     string
		upstream func(*testing.T) options
		edit     func(*options)
		opens    bool
	}{
		{"500", fail("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"), nil, true},
		{"503", fail("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"), nil, true},
		{"malformed", fail("HELLO\r\n\r\n"), nil, true},
		{"reset", func(t *testing.T) options {
			return defaults(startOrigin(t, func(o *origin, _ net.Conn, r *bufio.Reader) { o.head(r) }).addr)
		}, nil, true},
		{"refused", func(t *testing.T) options { return defaults(deadAddr(t)) }, nil, true},
		{"timeout", func(t *testing.T) options {
			return defaults(startOrigin(t, func(_ *origin, c net.Conn, _ *bufio.Reader) { untilGone(c) }).addr)
		}, func(o *options) { o.forward.HeaderTimeout = 20 }, true},
		{"slow", func(t *testing.T) options {
			return defaults(startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				for o.head(r) != "" {
					<-time.After(30 * time.Millisecond)
					_, _ = io.WriteString(c, ok)
				}
			}).addr)
		}, func(o *options) { o.forward.Breaker.SlowPercent, o.forward.Breaker.SlowCall = 50, 10 }, true},
		{"grpc unavailable", grpc("grpc-status", "14"), nil, true},
		{"grpc internal", grpc("grpc-status", "13"), nil, true},
		{"grpc not found", grpc("grpc-status", "5"), nil, false},
		{"grpc ok", grpc("grpc-status", "0"), nil, false},
		{"200", fail(ok), nil, false},
		{"404", fail("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"), nil, false},
		{"429", fail("HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n"), nil, false},
		{"a body that breaks off", fail("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil, false},
		{"no endpoints", func(*testing.T) options { return defaults() }, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.upstream(t)
			o.forward.Breaker = breaking()
			if tt.edit != nil {
				tt.edit(&o)
			}
			told := o.told()
			at := &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
			o.env.Now, o.env.Rand = at.Now, func() uint64 { return 0 }
			var log bytes.Buffer
			o.env.Log = slog.New(slog.NewTextHandler(&log, nil))
			p := startProxy(t, o)
			for i := range 10 {
				if b, _ := p.target.Breaker(); b.State != "closed" {
					t.Fatalf("%s after %d calls", b.State, i)
				}
				lacks(t, p.ask(t), "retry-after")
			}
			eventually(t, "the end of the exchanges", func() bool { return p.count() == 10 })
			b, _ := p.target.Breaker()
			if !tt.opens {
				if b.State != "closed" || len(told.States()) != 0 || log.Len() != 0 {
					t.Errorf("%s after calls that did not fail; told %v, logged %s", b.State, told.States(), log.String())
				}
				return
			}
			if b.State != "open" || !b.Until.Equal(at.Now().Add(10*time.Second)) {
				t.Fatalf("%s until %v", b.State, b.Until)
			}
			at.forward(500 * time.Millisecond)
			head := p.ask(t)
			contains(t, head, "503 Service Unavailable", "Retry-After: 10\r\n")
			if got := p.codes(); !strings.HasSuffix(got, "breaker_open") {
				t.Errorf("codes %s", got)
			}
			if p.attempts[10] != 0 {
				t.Errorf("the upstream was asked %d times", p.attempts[10])
			}
			if got := told.States(); !slices.Equal(got, []string{"open"}) {
				t.Errorf("told %v", got)
			}
			contains(t, log.String(), "level=WARN", `msg="circuit breaker changed"`, "upstream=up", "from=closed", "to=open", "calls=10", "openFor=10s")
		})
	}
}

// TestBreakerDoesNotCountClients has clients leave before the upstream has answered.
func TestBreakerDoesNotCountClients(t *testing.T) {
	for name, upstream := range map[string]func(t *testing.T, asked *atomic.Int64) options{
		"http1": func(t *testing.T, asked *atomic.Int64) options {
			return defaults(startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
				o.head(r)
				asked.Add(1)
				untilGone(c)
			}).addr)
		},
		"http2": func(t *testing.T, asked *atomic.Int64) options {
			return http2Options(framing(t, func(p *peer) {
				for p.request() != 0 {
					asked.Add(1)
				}
			}).addr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			o := upstream(t, &asked)
			o.forward.Breaker = breaking()
			o.upstream.Outlier = &ir.Outlier{Consecutive5xx: 1, ConsecutiveGatewayFailure: 1, Interval: 60_000, BaseEjection: 60_000, MaxEjection: 60_000, MaxEjectedPercent: 100}
			p := startProxy(t, o)
			const clients = 12
			for i := range clients {
				c := dial(t, p.addr)
				c.send(get)
				eventually(t, "the upstream is asked", func() bool { return asked.Load() == int64(i+1) })
				_ = c.Close()
			}
			eventually(t, "the end of the exchanges", func() bool { return p.count() == clients })
			if b, _ := p.target.Breaker(); b.State != "closed" || b.Calls != 0 {
				t.Errorf("%+v", b)
			}
			if got := strings.Count(p.codes(), "client_closed"); got != clients || p.pool.Gauges(nil).Ejected != 0 {
				t.Errorf("codes %s, %d ejected", p.codes(), p.pool.Gauges(nil).Ejected)
			}
		})
	}
}

// TestBreakerRamp closes a breaker by requests, of which more and more are let through.
func TestBreakerRamp(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	held, release := make(chan struct{}, 100), make(chan string)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for o.head(r) != "" {
			answer := status(500, "")
			if !broken.Load() {
				held <- struct{}{}
				answer = <-release
			}
			_, _ = io.WriteString(c, answer)
		}
	})
	o := defaults(up.addr)
	o.forward.Breaker = breaking()
	told := o.told()
	at := &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	o.env.Now, o.env.Rand = at.Now, func() uint64 { return 0 }
	p := startProxy(t, o)
	for range 10 {
		p.ask(t)
	}
	broken.Store(false)
	contains(t, p.ask(t), "503 ")
	at.forward(10 * time.Second)
	under := 0
	var all sync.WaitGroup
	for step, room := range []int{1, 2, 4, 8, 16} {
		for ; under < room; under++ {
			all.Go(func() { contains(t, p.ask(t), "200 OK") })
			<-held
		}
		head := p.ask(t) // one more than there is room for
		contains(t, head, "503 ", "Retry-After: 1\r\n")
		if b, _ := p.target.Breaker(); b.State != "half_open" {
			t.Fatalf("%s in step %d", b.State, step)
		}
		at.forward(time.Second)
	}
	for range under {
		release <- ok
	}
	all.Wait()
	if b, _ := p.target.Breaker(); b.State != "closed" {
		t.Errorf("%+v after %d calls that went well", b, under)
	}
	if got := told.States(); !slices.Equal(got, []string{"open", "half_open", "closed"}) {
		t.Errorf("told %v", got)
	}
}

// TestBreakerOutlivesTargets builds the target of a route again and again, as swaps do.
func TestBreakerOutlivesTargets(t *testing.T) {
	up, err := upstream.New(ir.Upstream{ID: "up", Scheme: "http"}, upstream.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	shared := snapshot.NewShared()
	env := &target.Env{Upstream: up, Shared: shared}
	env.Fill()
	build := func(id string, b *ir.Breaker) *httptarget.Target {
		to, err := httptarget.Build(&ir.Route{ID: id, Forward: ir.Forward{Breaker: b}}, &httptarget.Told{}, env)
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	first := build("r", breaking())
	same := build("r", breaking())
	longer := breaking()
	longer.OpenFor++
	others := []*httptarget.Target{build("r", longer), build("s", breaking()), build("t", nil)}
	if got := shared.Len(); got != 3 {
		t.Errorf("%d breakers, want 3", got)
	}
	if _, there := others[2].Breaker(); there {
		t.Error("a route without a breaker has one")
	}
	for _, to := range append(others, first) {
		for range 2 { // it is idempotent
			if err := to.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if got := shared.Len(); got != 1 {
		t.Errorf("%d breakers, want 1", got)
	}
	last := build("r", breaking())
	_ = same.Close()
	if got := shared.Len(); got != 1 {
		t.Errorf("%d breakers, want 1", got)
	}
	_ = last.Close()
	if got := shared.Len(); got != 0 {
		t.Errorf("%d breakers, want none", got)
	}
}

// TestBreakerKeepsItsState has a second target of the same route find open what the first one has opened, and tell of it after the
// first has gone.
func TestBreakerKeepsItsState(t *testing.T) {
	o := defaults(startOrigin(t, answering(status(500, ""))).addr)
	o.forward.Breaker = breaking()
	told := o.told()
	at := &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	o.env.Shared, o.env.Now = snapshot.NewShared(), at.Now
	first := startProxy(t, o)
	for range 10 {
		contains(t, first.ask(t), "500 ")
	}
	second := startProxy(t, o)
	contains(t, second.ask(t), "503 ", "Retry-After: ")
	if err := first.target.Close(); err != nil {
		t.Fatal(err)
	}
	contains(t, second.ask(t), "503 ")
	at.forward(time.Minute)
	contains(t, second.ask(t), "500 ")
	if b, _ := second.target.Breaker(); b.State != "open" || fmt.Sprint(told.States()) != "[open half_open open]" {
		t.Errorf("%+v, told %v", b, told.States())
	}
}
