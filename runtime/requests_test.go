package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/schema/ir"
)

// routes is a repository with a route to an upstream at a URL.
func routes(url string, gateway string) string {
	return gateway + `
routes:
  - id: users
    matcher: { path: "/users/{id}" }
    target: { type: http, url: "` + url + `" }
  - id: small
    matcher: { path: "/small/*" }
    target: { type: http, url: "` + url + `" }
    policy: { bodyLimit: { maxBytes: 8 } }
  - id: none
    matcher: { path: "/none/*" }
    target: { type: http, url: "` + url + `" }
    policy: { bodyLimit: { maxBytes: 0 } }
`
}

func TestBodyLimit(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(200, "ok"))
	r := newRig(t, options{})
	prog := compile(t, routes(up.URL, ""))
	prog.Gateway.Limits.BodyBytes = 16
	r.activate(prog)
	tests := []struct {
		name, path string
		length     int
		chunked    bool
		status     int
	}{
		{"at the gateway's limit", "/users/1", 16, false, 200},
		{"beyond it", "/users/1", 17, false, 413},
		{"at the gateway's limit, in chunks", "/users/1", 16, true, 200},
		{"beyond it, in chunks", "/users/1", 17, true, 413},
		{"far beyond it, in chunks", "/users/1", 100_000, true, 413},
		{"at the route's limit", "/small/1", 8, false, 200},
		{"beyond the route's", "/small/1", 9, false, 413},
		{"at the route's limit, in chunks", "/small/1", 8, true, 200},
		{"beyond the route's, in chunks", "/small/1", 9, true, 413},
		{"where none is allowed", "/none/1", 1, false, 413},
		{"where none is allowed, in chunks", "/none/1", 1, true, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := r.dial()
			body := strings.Repeat("x", tt.length)
			if tt.chunked {
				c.send("POST %s HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", tt.path, tt.length, body)
			} else {
				c.send("POST %s HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", tt.path, tt.length, body)
			}
			resp, err := c.receive("POST")
			if err != nil || resp.status != tt.status {
				t.Fatalf("got %+v, %v", resp, err)
			}
			if tt.status != 200 {
				if code, _ := resp.problem(t); code != "body_too_large" {
					t.Errorf("code is %s", code)
				}
				return
			}
			if got := up.Last(t); got.Body != body {
				t.Errorf("the upstream received %d bytes", len(got.Body))
			}
		})
	}
	// What a client does wrong is no failure of the upstream.
	if text := r.scrape(); strings.Contains(text, "gw_upstream_errors_total{") {
		t.Error("a body that was too large counts as a failure of the upstream")
	}
}

// Whatever panics, the client gets an answer or sees that it broke off, it is counted, and the gateway serves on.
func TestPanics(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(200, "ok"))
	tests := []struct {
		name     string
		plans    []testPlan
		finished []string
		metrics  []string
	}{
		{
			"a decision",
			[]testPlan{{Name: "one", Finish: true}, {Name: "two", Do: "panic", Finish: true}, {Name: "three", Finish: true}},
			[]string{"two 500", "one 500"},
			[]string{`gw_policy_decisions_total{outcome="error",policy="test",route="users"} 1`, `gw_policy_decisions_total{outcome="pass",policy="test",route="users"} 1`},
		},
		{
			"the response",
			[]testPlan{{Name: "one", Finish: true}, {Name: "two", Do: "panic-respond", Finish: true}},
			[]string{"two 500", "one 500"},
			[]string{`gw_policy_decisions_total{outcome="pass",policy="test",route="users"} 2`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, options{})
			prog := compile(t, routes(up.URL, ""))
			with(t, prog, "users", tt.plans...)
			r.activate(prog)
			resp := r.once("GET", "/users/1")
			code, detail := resp.problem(t)
			if resp.status != 500 || code != "internal_error" || strings.Contains(detail, "panics") {
				t.Errorf("answer is %d %s %q", resp.status, code, detail)
			}
			r.wantFinished(tt.finished...)
			r.metric(`gw_panics_total 1`)
			r.metric(`gw_requests_total{method="GET",route="users",status="500"} 1`)
			for _, m := range tt.metrics {
				r.metric(m)
			}
			if log := r.log.String(); !strings.Contains(log, "two panics") || !strings.Contains(log, "testPolicy") {
				t.Errorf("the log has no stack: %s", log)
			}
			if resp := r.once("GET", "/small/1"); resp.status != 200 {
				t.Errorf("afterwards another route gives %d", resp.status)
			}
		})
	}
}

// half is a target that fails in the middle of its answer.
type half struct{ length int64 }

func (h half) Serve(_ context.Context, _ *policy.Exchange, w httpmsg.ResponseWriter, _ target.Hooks) *policy.Reject {
	_ = w.Header(200, &httpmsg.Header{}, h.length)
	_, _ = w.Write(make([]byte, 5000))
	panic("the target panics")
}

// A response that was begun cannot become an error: it breaks off so that the client can tell.
func TestPanicWithinTheAnswer(t *testing.T) {
	for name, length := range map[string]int64{"a declared length": 10_000, "chunks": -1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{})
			r.builder.Targets = append(r.builder.Targets, target.Kind{
				TargetKind: policy.DefineTarget("half", func(*policy.TargetContext, *struct{}) (string, *struct{}) { return "", nil }),
				Build:      func(*ir.Route, target.Metrics, *target.Env) (target.Target, error) { return half{length}, nil },
			})
			prog := compile(t, routes("http://127.0.0.1:9", ""))
			prog.Routes[2].Target.Type = "half"
			with(t, prog, prog.Routes[2].ID, testPlan{Name: "one", Finish: true})
			r.activate(prog)
			resp, err := http.Get("http://" + r.addr + strings.Split(prog.Routes[2].Match.Path, "{")[0] + "1")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) > 5000 {
				t.Errorf("the client read %d bytes and got %v", len(body), err)
			}
			r.wantFinished("one 200")
			r.metric(`gw_panics_total 1`)
			r.metric(`gw_requests_total{method="GET",route="` + prog.Routes[2].ID + `",status="200"} 1`)
		})
	}
}

func (r *rig) wantFinished(want ...string) {
	r.t.Helper()
	for _, w := range want {
		select {
		case f := <-r.finished:
			if got := fmt.Sprintf("%s %d", f.name, f.status); got != w {
				r.t.Errorf("finished is %s, want %s", got, w)
			}
		case <-time.After(10 * time.Second):
			r.t.Fatalf("%s was not told that it is over", w)
		}
	}
	select {
	case f := <-r.finished:
		r.t.Errorf("%s was told too, with %d", f.name, f.status)
	default:
	}
}

// A panic when all is over takes neither the answer nor the accounts of the other policies with it.
func TestPanicAtTheEnd(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(200, "ok"))
	r := newRig(t, options{})
	prog := compile(t, routes(up.URL, ""))
	with(t, prog, "users", testPlan{Name: "one", Finish: true}, testPlan{Name: "two", Do: "panic-finish", Finish: true}, testPlan{Name: "three", Finish: true})
	r.activate(prog)
	c := r.dial()
	c.send("GET /users/1 HTTP/1.1\r\nHost: example.com\r\n\r\n")
	r.wantFinished("three 200", "two 200", "one 200")
	r.metric(`gw_panics_total 1`)
	r.metric(`gw_requests_total{method="GET",route="users",status="200"} 1`)
}

// The hooks of policies see the status that was sent, and only policies that were asked edit the response and are told the end.
func TestVerdicts(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(201, "made"))
	tests := []struct {
		name     string
		second   testPlan
		status   int
		body     string
		passed   string
		finished []string
		outcome  string
		received int
	}{
		{"pass", testPlan{Name: "two", Finish: true}, 201, "made", "three", []string{"three 201", "two 201", "one 201"}, "pass", 1},
		{"answer", testPlan{Name: "two", Do: "answer", Status: 203, Finish: true}, 203, "answered by two", "two", []string{"two 203", "one 203"}, "answer", 0},
		{"refuse", testPlan{Name: "two", Do: "refuse", Status: 429, Finish: true}, 429, "", "two", []string{"two 429", "one 429"}, "refuse", 0},
		{"cannot decide", testPlan{Name: "two", Do: "refuse", Status: 503, Finish: true}, 503, "", "two", []string{"two 503", "one 503"}, "error", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, options{})
			prog := compile(t, routes(up.URL, ""))
			with(t, prog, "users", testPlan{Name: "one", Finish: true}, tt.second, testPlan{Name: "three", Finish: true})
			r.activate(prog)
			before := len(up.Requests())
			resp := r.once("GET", "/users/1")
			if resp.status != tt.status || tt.body != "" && resp.body != tt.body || resp.field("X-Passed") != tt.passed {
				t.Errorf("answer is %d %q, passed %q", resp.status, resp.body, resp.field("X-Passed"))
			}
			if tt.body == "" {
				if code, detail := resp.problem(t); code != "test_refused" || detail != `because "two" says so` || resp.field("Retry-After") != "7" {
					t.Errorf("problem is %s %q %s", code, detail, resp.header)
				}
			}
			r.wantFinished(tt.finished...)
			if n := len(up.Requests()) - before; n != tt.received {
				t.Errorf("the upstream received %d requests", n)
			}
			passes := map[string]int{"pass": 3}[tt.outcome]
			if passes == 0 {
				r.metric(`gw_policy_decisions_total{outcome="` + tt.outcome + `",policy="test",route="users"} 1`)
				passes = 1
			}
			r.metric(fmt.Sprintf(`gw_policy_decisions_total{outcome="pass",policy="test",route="users"} %d`, passes))
		})
	}
}

// line is a line of the access log.
type line struct {
	Status   int     `json:"status"`
	BytesIn  int     `json:"bytes_in"`
	BytesOut int     `json:"bytes_out"`
	Duration float64 `json:"duration_ms"`
	ID       string  `json:"id"`
	Client   string  `json:"client"`
	Path     string  `json:"path"`
	Route    string  `json:"route"`
	Pattern  string  `json:"pattern"`
	Upstream string  `json:"upstream"`
	Endpoint string  `json:"endpoint"`
	Attempts int     `json:"attempts"`
	Bundle   string  `json:"bundle"`
	Code     string  `json:"code"`
	TraceID  string  `json:"trace_id"`
}

// lines waits for n lines of the access log.
func (r *rig) lines(n int) []line {
	r.t.Helper()
	testkit.Eventually(r.t, "the access log has been written", func() bool { return strings.Count(r.access.String(), "\n") >= n })
	var out []line
	for text := range strings.Lines(r.access.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			r.t.Fatalf("%q: %v", text, err)
		}
		out = append(out, l)
	}
	if len(out) != n {
		r.t.Fatalf("%d lines, want %d", len(out), n)
	}
	return out
}

// Records say what went over the wire.
func TestAccessLogAndMetrics(t *testing.T) {
	up := testkit.Upstream(t)
	r := newRig(t, options{})
	prog := compile(t, routes(up.URL, "gateway: { accessLog: { enabled: true, format: json } }"))
	r.activate(prog)
	sizes := []int{0, 1, 3000, 5000, 200_000}
	c := r.dial()
	in, out := 0, 0
	var want []*response
	for _, n := range sizes {
		up.Answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			_, _ = w.Write(make([]byte, n))
		}))
		request := fmt.Sprintf("POST /users/%d?secret=1 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\nTraceparent: 00-%s-00f067aa0ba902b7-01\r\n\r\nhello", n, trace)
		c.send("%s", request)
		resp, err := c.receive("POST")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, resp)
		in, out = in+len(request), out+resp.bytes
	}
	for i, l := range r.lines(len(sizes)) {
		if l.BytesOut != want[i].bytes || l.BytesIn == 0 || l.Status != 200 {
			t.Errorf("a body of %d: status %d, out %d, in %d; on the wire there were %d", sizes[i], l.Status, l.BytesOut, l.BytesIn, want[i].bytes)
		}
		if l.Path != fmt.Sprintf("/users/%d", sizes[i]) || l.Route != "users" || l.Pattern != "/users/{id}" || l.Upstream != up.URL || l.Endpoint != up.Addr ||
			l.Attempts != 1 || l.Client != "127.0.0.1" || len(l.ID) != 32 || len(l.Bundle) != 12 || l.Code != "" || l.TraceID != trace || l.Duration <= 0 {
			t.Errorf("line is %+v", l)
		}
	}
	if strings.Contains(r.access.String(), "secret") {
		t.Error("the access log holds a query")
	}
	r.metric(fmt.Sprintf(`gw_requests_total{method="POST",route="users",status="200"} %d`, len(sizes)))
	r.metric(fmt.Sprintf(`gw_request_duration_seconds_count{route="users"} %d`, len(sizes)))
	r.metric(fmt.Sprintf(`gw_request_bytes_total{route="users"} %d`, in))
	r.metric(fmt.Sprintf(`gw_response_bytes_total{route="users"} %d`, out))
	r.metric(fmt.Sprintf(`gw_upstream_duration_seconds_count{upstream=%q} %d`, up.URL, len(sizes)))
}

const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

// Refusals and failures have lines too, with their reason.
func TestAccessLogOfFailures(t *testing.T) {
	dead := testkit.FreePort(t)
	r := newRig(t, options{})
	r.activate(compile(t, routes("http://"+dead, "gateway: { accessLog: { enabled: true, format: json } }")))
	for target, want := range map[string]int{"/users/1": 502, "/nothing": 404, "/users/%2f": 400} {
		if resp := r.once("GET", target); resp.status != want {
			t.Errorf("%s gives %d", target, resp.status)
		}
	}
	got := map[string]bool{}
	for _, l := range r.lines(3) {
		got[fmt.Sprintf("%d %s %s %s", l.Status, l.Code, l.Route, l.Path)] = true
		if l.BytesOut == 0 || l.ID == "" {
			t.Errorf("line is %+v", l)
		}
	}
	for _, want := range []string{"502 upstream_connect_failed users /users/1", "404 no_route  /nothing", "400 path_encoded_slash  "} {
		if !got[want] {
			t.Errorf("no line %q among %v", want, got)
		}
	}
	r.metric(`gw_upstream_errors_total{reason="upstream_connect_failed",upstream="http://` + dead + `"} 1`)
}

func TestConnectionMetrics(t *testing.T) {
	up := testkit.Upstream(t)
	release := make(chan struct{})
	up.Answer(testkit.Hold(release, testkit.Reply(200, "ok")))
	r := newRig(t, options{})
	r.activate(compile(t, routes(up.URL, "")))
	arrived := up.Arrived()
	a, b := r.dial(), r.dial()
	a.send("GET /users/1 HTTP/1.1\r\nHost: example.com\r\n\r\n")
	<-arrived
	if resp := b.ask("GET", "/nothing"); resp.status != 404 {
		t.Errorf("status is %d", resp.status)
	}
	r.metric(`gw_connections_open 2`)
	r.metric(`gw_requests_in_flight 1`)
	r.metric(`gw_upstream_connections{state="open",upstream="` + up.URL + `"} 1`)
	r.metric(`gw_upstream_connections{state="idle",upstream="` + up.URL + `"} 0`)
	// A pool that only a draining snapshot has is still there.
	next := compile(t, routes(up.URL, ""))
	next.Upstreams[0].MaxIdle++
	r.activate(next)
	r.metric(`gw_snapshots_draining 1`)
	r.metric(`gw_upstream_connections{state="open",upstream="` + up.URL + `"} 1`)
	close(release)
	if _, err := a.receive("GET"); err != nil {
		t.Fatal(err)
	}
	r.metric(`gw_snapshots_draining 0`)
	r.metric(`gw_upstream_connections{state="open",upstream="` + up.URL + `"} 0`)
	_ = a.conn.Close()
	_ = b.conn.Close()
	r.metric(`gw_connections_open 0`)
}

// Only a trusted proxy is believed about where a request came from.
func TestTrustedProxies(t *testing.T) {
	up := testkit.Upstream(t)
	for _, tt := range []struct {
		name, gateway        string
		client, forwarded    string
		keepsID              bool
		trustedProto, before string
	}{
		{"nobody is trusted", "gateway: { accessLog: { enabled: true } }", "127.0.0.1", "127.0.0.1", false, "http", ""},
		{"the peer is", "gateway: { accessLog: { enabled: true }, trustedProxies: [127.0.0.0/8] }", "203.0.113.7", "198.51.100.9, 203.0.113.7, 127.0.0.1", true, "https", "for=203.0.113.7, "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, options{})
			r.activate(compile(t, routes(up.URL, tt.gateway)))
			resp := r.once("GET", "/users/1", "X-Forwarded-For: 198.51.100.9, 203.0.113.7", "X-Forwarded-Proto: https", "Forwarded: for=203.0.113.7", "X-Request-Id: client-chose-1", "X-Real-Ip: 1.2.3.4")
			if resp.status != 200 {
				t.Fatalf("status is %d", resp.status)
			}
			h := http.Header(up.Last(t).Header)
			if got := strings.Join(h.Values("X-Forwarded-For"), ", "); got != tt.forwarded {
				t.Errorf("X-Forwarded-For is %q", got)
			}
			if got := h.Get("X-Forwarded-Proto"); got != tt.trustedProto {
				t.Errorf("X-Forwarded-Proto is %q", got)
			}
			if got := h.Get("Forwarded"); !strings.HasPrefix(got, tt.before+"for=127.0.0.1;") {
				t.Errorf("Forwarded is %q", got)
			}
			l := r.lines(1)[0]
			if id := h.Get("X-Request-Id"); (id == "client-chose-1") != tt.keepsID || id != l.ID || l.Client != tt.client {
				t.Errorf("the upstream got id %q, the log has %q from %s", id, l.ID, l.Client)
			}
		})
	}
}

// The settings that belong to no route change with the bundle.
func TestLimitsChangeWithTheBundle(t *testing.T) {
	up := testkit.Upstream(t)
	up.Answer(testkit.Reply(200, "ok"))
	r := newRig(t, options{})
	prog := compile(t, routes(up.URL, ""))
	r.activate(prog)
	c := r.dial()
	long := "X-Long: " + strings.Repeat("x", 2000)
	if resp := c.ask("GET", "/users/1", long); resp.status != 200 {
		t.Fatalf("status is %d", resp.status)
	}
	strict := *prog
	strict.Gateway.Limits = ir.Limits{HeaderBytes: 1024, HeaderFields: 10, URLBytes: 512, BodyBytes: 10}
	r.activate(&strict)
	if resp := c.ask("GET", "/users/1", long); resp.status != 431 { // on the connection that is open
		t.Errorf("status is %d", resp.status)
	}
	r.metric(`gw_refused_total{reason="header_too_large"} 1`)
}
