package runtime_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/publisher"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/snapshot"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// rig is a gateway on a loopback port, with everything that gwrun puts around it but sources.
type rig struct {
	*runtime.Gateway
	t         testing.TB
	pub       *publisher.Publisher
	activator *activate.Activator
	builder   *snapshot.Builder
	metrics   *telemetry.Metrics
	shared    *snapshot.Shared
	access    *lockedBuffer
	log       *lockedBuffer
	accessLog *telemetry.AccessLog
	addr      string
	stop      func()
	finished  chan finished // by policies of kind "test" that ask for it
}

type finished struct {
	name   string
	status int
}

// options change what newRig makes.
type options struct {
	runtime.Options
	grace time.Duration // what exchanges get when the gateway stops; 0: 5 s
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, pub: publisher.New(t, "prod"), shared: snapshot.NewShared(), access: &lockedBuffer{}, log: &lockedBuffer{}, finished: make(chan finished, 64)}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	if r.metrics, err = telemetry.New(telemetry.Build{Version: "test"}); err != nil {
		t.Fatal(err)
	}
	r.accessLog = telemetry.NewAccessLog(r.access, false, r.metrics, log)
	tracers := telemetry.NewTracers(telemetry.TracerOptions{Metrics: r.metrics, Log: log})
	o.Log, o.Metrics, o.AccessLog = log, r.metrics, r.accessLog
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 30 * time.Second
	}
	r.Gateway = runtime.New(o.Options)
	r.builder = &snapshot.Builder{
		Kinds: append(all.Kinds(), r.kind()), Targets: targets.Kinds(), Shared: r.shared, Metrics: r.metrics, Tracers: tracers,
		Env: policy.Env{Log: log, Now: time.Now},
	}
	r.activator = activate.New(activate.Options{
		Trust: r.pub.Trust, Environment: "prod", Runtime: "1.0.0", Mode: activate.Auto, Swap: r.Swap, Metrics: r.metrics, Log: log, Now: time.Now,
		Builder: r.builder,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.Listen(l, ir.Listener{ID: "default"}) }()
	r.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(o.grace, 5*time.Second))
		defer cancel()
		if err := r.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		tracers.Close()
		if err := r.accessLog.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := r.shared.Len(); n != 0 {
			t.Errorf("%d shared values are left", n)
		}
	})
	t.Cleanup(r.stop)
	return r
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// testPlan is what a policy of kind "test" does.
type testPlan struct {
	Name   string `json:"name"`
	Do     string `json:"do"`     // pass, panic, answer, refuse, panic-finish, panic-respond
	Status int64  `json:"status"` // of answer and refuse
	Finish bool   `json:"finish"` // tell when it is over
}

type testPolicy struct {
	plan testPlan
	rig  *rig
}

func (r *rig) kind() policy.Kind {
	type spec struct{}
	return policy.Define("test", policy.PhaseAdmit, func(*policy.CompileContext, *spec) *testPlan { return nil },
		func(_ context.Context, _ *policy.Env, p *testPlan) (policy.Handler, error) {
			return &testPolicy{*p, r}, nil
		})
}

func (p *testPolicy) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	switch p.plan.Do {
	case "know": // the caller, for a moment
		x.Principal = &policy.Principal{Until: time.Now().Add(200 * time.Millisecond)}
	case "panic":
		panic("policy " + p.plan.Name + " panics")
	case "refuse":
		return policy.Refuse(&policy.Reject{
			Status: int(p.plan.Status), Code: "test_refused", Detail: `because "` + p.plan.Name + `" says so`,
			Header: []httpmsg.Field{{Name: "Retry-After", Value: "7"}},
		})
	case "answer":
		body := "answered by " + p.plan.Name
		resp := &httpmsg.Response{Status: int(p.plan.Status), ContentLength: int64(len(body)), Body: strings.NewReader(body)}
		resp.Header.Add("Content-Type", "text/plain")
		return policy.Verdict{Response: resp}
	}
	return policy.Pass
}

func (p *testPolicy) Respond(_ context.Context, _ *policy.Exchange, r *httpmsg.Response) {
	if p.plan.Do == "panic-respond" {
		panic("policy " + p.plan.Name + " panics on the response")
	}
	r.Header.Add("X-Passed", p.plan.Name)
}

func (p *testPolicy) Finish(_ *policy.Exchange, status int) {
	if p.plan.Finish {
		p.rig.finished <- finished{p.plan.Name, status}
	}
	if p.plan.Do == "panic-finish" {
		panic("policy " + p.plan.Name + " panics at the end")
	}
}

// with adds policies of kind "test" to a route.
func with(t testing.TB, prog *ir.Program, route string, plans ...testPlan) {
	t.Helper()
	for i := range prog.Routes {
		if prog.Routes[i].ID != route {
			continue
		}
		for _, p := range plans {
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			prog.Routes[i].Policies = append(prog.Routes[i].Policies, ir.Policy{Kind: "test", Plan: raw})
		}
		return
	}
	t.Fatalf("there is no route %q", route)
}

// compile compiles what people write: a gateway.yaml of one repository, without its apiVersion.
func compile(t testing.TB, text string) *ir.Program {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"gateway.yaml": text, "environments/prod/prod.yaml": ""} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("apiVersion: gateway.suuupra.dev/v1\n"+content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	opts := compiler.Options{Kinds: all.Kinds(), Dial: dialguard.Check}
	for _, k := range targets.Kinds() {
		opts.Targets = append(opts.Targets, k.TargetKind)
	}
	tree, err := load.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	unit, err := compiler.New(opts).Open(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	out := unit.Compile("prod")
	if out.Diags.HasErrors() {
		var b strings.Builder
		_ = diag.Text(&b, diag.Report{Diagnostics: out.Diags.Sorted()})
		t.Fatal(b.String())
	}
	return out.Program
}

// activate makes a program live.
func (r *rig) activate(prog *ir.Program) {
	r.t.Helper()
	prog.Gateway.Name = "tests"
	if err := r.activator.Offer(context.Background(), r.pub.Publish(prog), ""); err != nil {
		r.t.Fatal(err)
	}
}

// client is one keep-alive connection that writes what it is told to the byte.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &client{t: r.t, conn: conn, r: bufio.NewReader(conn)}
	r.t.Cleanup(func() { _ = conn.Close() })
	return c
}

func (c *client) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// response is one response as it came.
type response struct {
	status int
	header string // the lines of the head but the first, as on the wire
	body   string
	bytes  int // of all of it, as on the wire
}

func (r *response) field(name string) string {
	for line := range strings.Lines(r.header) {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// problem decodes a problem body, after a check of its form.
func (r *response) problem(t testing.TB) (code, detail string) {
	t.Helper()
	var p struct {
		Type, Title, Code, Detail string
		Status                    int
	}
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || r.field("Content-Type") != "application/problem+json" || p.Status != r.status || p.Type != "about:blank" || p.Title == "" {
		t.Errorf("not a problem: %d %s %q, %v", r.status, r.field("Content-Type"), r.body, err)
	}
	return p.Code, p.Detail
}

// receive reads one response with a known length.
func (c *client) receive(method string) (*response, error) {
	out := &response{}
	for {
		line, err := c.r.ReadString('\n')
		if out.bytes += len(line); err != nil {
			return nil, fmt.Errorf("head: %w", err)
		}
		if line == "\r\n" {
			break
		}
		if out.status != 0 {
			out.header += line
			continue
		}
		if out.status, err = strconv.Atoi(line[len("HTTP/1.1 "):len("HTTP/1.1 200")]); err != nil {
			return nil, err
		}
	}
	if method == "HEAD" || out.status == 204 || out.status == 304 {
		return out, nil
	}
	n, err := strconv.Atoi(out.field("Content-Length"))
	if err != nil {
		return nil, fmt.Errorf("no length among %q", out.header)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	out.body, out.bytes = string(body), out.bytes+n
	return out, nil
}

// ask sends one request without a body and reads the answer.
func (c *client) ask(method, target string, fields ...string) *response {
	c.t.Helper()
	head := method + " " + target + " HTTP/1.1\r\nHost: example.com\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	c.send("%s\r\n", head)
	resp, err := c.receive(method)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	return resp
}

// once asks on a connection of its own.
func (r *rig) once(method, target string, fields ...string) *response {
	r.t.Helper()
	c := r.dial()
	defer func() { _ = c.conn.Close() }()
	return c.ask(method, target, fields...)
}

// metric waits until a line is among the metrics: records are made after the answer has gone out.
func (r *rig) metric(line string) {
	r.t.Helper()
	var text string
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-tick.C {
		if text = r.scrape(); strings.Contains(text, "\n"+line+"\n") {
			return
		}
	}
	name := line[:strings.IndexAny(line, "{ ")]
	var have []string
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, name) {
			have = append(have, strings.TrimSpace(l))
		}
	}
	r.t.Errorf("no metric %s among:\n%s", line, strings.Join(have, "\n"))
}

func (r *rig) scrape() string {
	var out strings.Builder
	if _, err := r.metrics.WriteMetrics(&out, ""); err != nil {
		r.t.Error(err)
	}
	return out.String()
}
