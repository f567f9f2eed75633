package httptarget_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	httptarget "github.com/suuupra/gateway/runtime/target/http"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// proxy is the data plane with nothing in between: engine, one target, one pool.
type proxy struct {
	addr     string
	srv      *engine.Server
	pool     *upstream.Upstream
	target   *httptarget.Target
	proxies  *httpmsg.Proxies
	respond  func(*policy.Exchange, *httpmsg.Response)
	streams  []policy.Stream
	recovers bool // what the gateway does about a panic
	mu       sync.Mutex
	rejects  []policy.Reject
	attempts []int // of each exchange that has ended
	refused  []string
	panics   atomic.Int64
	served   atomic.Int64
	received atomic.Int64 // bytes of the last exchange
}

func (p *proxy) Respond(_ context.Context, x *policy.Exchange, r *httpmsg.Response) {
	if p.respond != nil {
		p.respond(x, r)
	}
}

func (p *proxy) Streams(context.Context, *policy.Exchange, *httpmsg.Response) []policy.Stream {
	return p.streams
}

// Serve does what the gateway does around a target.
func (p *proxy) Serve(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	p.served.Add(1)
	p.proxies.Sanitise(r)
	x := &policy.Exchange{Request: r, ClientIP: p.proxies.ClientIP(r), ID: p.proxies.RequestID(r)}
	x.Timings.Start = r.Received
	x.Path, x.RawQuery, _ = strings.Cut(http1.OriginForm(r.Target), "?")
	defer func() {
		if p.recovers && recover() != nil && !w.Started() {
			w.Abort()
		}
	}()
	reject := p.target.Serve(ctx, x, w, p)
	p.mu.Lock()
	p.attempts = append(p.attempts, x.Attempt)
	p.mu.Unlock()
	if reject != nil {
		p.mu.Lock()
		p.rejects = append(p.rejects, *reject)
		p.mu.Unlock()
		if !w.Started() {
			body := httpmsg.AppendProblem(nil, reject.Status, reject.Code, reject.Detail)
			h := &httpmsg.Header{Fields: reject.Header}
			h.Add("Content-Type", httpmsg.ProblemType)
			_ = w.Header(reject.Status, h, int64(len(body)))
			_, _ = w.Write(body)
		}
	}
	p.received.Store(w.BytesRead())
}

// count is how many exchanges have ended.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.attempts)
}

// codes are the rejects so far.
func (p *proxy) codes() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, r := range p.rejects {
		out = append(out, r.Code)
	}
	return strings.Join(out, ",")
}

// options of a proxy under test.
type options struct {
	upstream ir.Upstream
	forward  ir.Forward
	settings engine.Settings
	plan     httptarget.Plan
	trusted  []string
	hooks    func(*proxy)
	front    ir.HTTP2     // what clients may speak
	reach    upstream.Env // of the upstream
	env      target.Env   // of the target, but for its upstream
	metrics  target.Metrics
}

func defaults(addrs ...string) options {
	o := options{
		upstream: ir.Upstream{
			ID: "up", Scheme: "http", PrivateAddresses: true, ConnectTimeout: 2000, IdleTimeout: 60000, MaxIdle: 64, MaxConnections: 128,
		},
		forward: ir.Forward{Timeout: 30000, HeaderTimeout: 10000, IdleTimeout: 10000},
		settings: engine.Settings{
			Limits:   ir.Limits{HeaderBytes: 32 << 10, HeaderFields: 100, URLBytes: 8 << 10, BodyBytes: 10 << 20},
			Timeouts: ir.Timeouts{ReadHeader: 5000, BodyIdle: 5000, KeepAlive: 30000},
		},
	}
	for _, a := range addrs {
		o.upstream.Endpoints = append(o.upstream.Endpoints, ir.Endpoint{Address: a})
	}
	return o
}

func startProxy(t testing.TB, o options) *proxy {
	t.Helper()
	pool, err := upstream.New(o.upstream, o.reach)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := json.Marshal(o.plan)
	if err != nil {
		t.Fatal(err)
	}
	o.env.Upstream = pool
	o.env.Fill()
	if o.metrics == nil {
		o.metrics = &httptarget.Told{}
	}
	to, err := httptarget.Build(&ir.Route{ID: "r", Forward: o.forward, Target: ir.Target{Plan: plan}}, o.metrics, &o.env)
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := httpmsg.NewProxies(o.trusted)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{pool: pool, target: to, proxies: proxies}
	if o.hooks != nil {
		o.hooks(p)
	}
	p.srv = engine.New(p, o.settings, engine.Hooks{
		Refused: func(status int, code string, _ netip.AddrPort) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.refused = append(p.refused, code)
		},
		Panicked: func(v any, stack []byte, _ netip.AddrPort) {
			p.panics.Add(1)
			t.Errorf("panic: %v\n%s", v, stack)
		},
	})
	l := listen(t)
	p.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- p.srv.Serve(engine.Listener{Listener: l, HTTP2: o.front}) }()
	t.Cleanup(func() {
		p.srv.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := to.Close(); err != nil {
			t.Errorf("close target: %v", err)
		}
		if err := pool.Close(); err != nil {
			t.Errorf("close pool: %v", err)
		}
		eventually(t, "every upstream connection is accounted for", func() bool { return pool.Gauges(nil) == upstream.Gauges{Healthy: int64(len(o.upstream.Endpoints))} })
	})
	return p
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// eventually polls until ok or a generous deadline.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// origin is a scripted upstream: each connection is handed to serve.
type origin struct {
	addr  string
	conns atomic.Int64
	heads atomic.Int64 // request heads seen
}

func startOrigin(t testing.TB, serve func(o *origin, c net.Conn, r *bufio.Reader)) *origin {
	t.Helper()
	l := listen(t)
	o := &origin{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]struct{}{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.conns.Add(1)
			mu.Lock()
			open[c] = struct{}{}
			mu.Unlock()
			wg.Go(func() {
				defer func() {
					_ = c.Close()
					mu.Lock()
					delete(open, c)
					mu.Unlock()
				}()
				serve(o, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return o
}

// head reads one request head, "" at the end of the connection.
func (o *origin) head(r *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return ""
		}
		b.WriteString(line)
		if line == "\r\n" {
			o.heads.Add(1)
			return b.String()
		}
	}
}

// answering is an origin that answers every request without body with the same bytes.
func answering(response string) func(*origin, net.Conn, *bufio.Reader) {
	return func(o *origin, c net.Conn, r *bufio.Reader) {
		for o.head(r) != "" {
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	}
}

// client is a raw connection to the proxy.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// head reads a response head.
func (c *client) head() string {
	c.t.Helper()
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("read head: %v, after %q", err, b.String()+line)
		}
		b.WriteString(line)
		if line == "\r\n" {
			return b.String()
		}
	}
}

// exactly reads that many bytes.
func (c *client) exactly(n int) string {
	c.t.Helper()
	b := make([]byte, n)
	if n, err := io.ReadFull(c.r, b); err != nil {
		c.t.Fatalf("read: %v, after %q", err, b[:n])
	}
	return string(b)
}

// rest reads to the end of the connection.
func (c *client) rest() (string, error) {
	b, err := io.ReadAll(c.r)
	return string(b), err
}

func contains(t testing.TB, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%q is missing in:\n%s", w, got)
		}
	}
}

func lacks(t testing.TB, got string, banned ...string) {
	t.Helper()
	for _, w := range banned {
		if strings.Contains(strings.ToLower(got), strings.ToLower(w)) {
			t.Errorf("%q should not be in:\n%s", w, got)
		}
	}
}

// benchOrigin answers without allocating.
func benchOrigin(response []byte) func(*origin, net.Conn, *bufio.Reader) {
	return func(_ *origin, c net.Conn, r *bufio.Reader) {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				if _, err := c.Write(response); err != nil {
					return
				}
			}
		}
	}
}
