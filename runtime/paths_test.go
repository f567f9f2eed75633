package runtime_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// own answers every reserved path, and says which.
type own struct{}

func (own) Answer(_ *httpmsg.Request, path string) *httpmsg.Response {
	if path == "/livez" {
		return nil
	}
	body := "own " + path
	resp := &httpmsg.Response{Status: 200, ContentLength: int64(len(body)), Body: strings.NewReader(body)}
	resp.Header.Add("Content-Type", "text/plain")
	return resp
}

// Whatever a client writes, the path that is matched is the path the upstream gets, or it gets nothing.
func TestPathsEndToEnd(t *testing.T) {
	up := testkit.Upstream(t)
	r := newRig(t, options{Options: runtime.Options{Own: own{}}})
	r.activate(compile(t, `
routes:
  - id: everything
    matcher: { path: "/*" }
    target: { type: http, url: "`+up.URL+`" }
  - id: guarded
    matcher: { path: "/guarded/*" }
    target: { type: http, url: "`+up.URL+`" }
`))
	tests := []struct {
		target string
		status int
		got    string // what the upstream received, or the code, or what answers in its place
	}{
		{"/", 200, "/"},
		{"/x/../guarded", 200, "/guarded"},
		{"//guarded", 200, "/guarded"},
		{"/./guarded", 200, "/guarded"},
		{"/%67uarded", 200, "/guarded"},
		{"/x/%2e%2e/guarded", 200, "/guarded"},
		{"/x/..%2fguarded", 400, "path_encoded_slash"},
		{"/GUARDED", 200, "/GUARDED"},
		{"/guarded%2fx", 400, "path_encoded_slash"},
		{"/x/..;/guarded", 400, "path_parameter"},
		{"/guarded;/x", 400, "path_parameter"},
		{`/x\..\guarded`, 400, "path_backslash"},
		{"/%5c..%5c", 400, "path_backslash"},
		{"/%2561", 200, "/%2561"},
		{"/%00", 400, "path_control"},
		{"/%", 400, "path_bad_escape"},
		{"/%zz", 400, "path_bad_escape"},
		{"/%c0%ae%c0%ae/", 400, "path_bad_utf8"},
		{"/%u002e", 400, "path_bad_escape"},
		{"/%ef%bc%8e%ef%bc%8e/", 200, "/%EF%BC%8E%EF%BC%8E/"}, // full-width dots are characters like others
		{"/guarded?", 200, "/guarded"},
		{"/guarded?a=%2f..&b", 200, "/guarded?a=%2f..&b"},
		{"/guarded#x", 400, ""},
		{"/guarded%20", 200, "/guarded%20"},
		{"/guarded.", 200, "/guarded."},
		{"/a/b/../../c/", 200, "/c/"},
		{"/..", 400, "path_above_root"},
		{"/" + strings.Repeat("../", 2000), 400, "path_above_root"},
		{"/" + strings.Repeat("a", 8<<10), 414, ""},
		{"*", 400, "bad_target"},
		{"http://example.com/x/../guarded?q", 200, "/guarded?q"},
		{"http://example.com", 200, "/"},
		{"http://evil.example/guarded", 400, ""},
		{"/admin", 200, "own /admin"},
		{"/x/../admin/routes", 200, "own /admin/routes"},
		{"//admin", 200, "own /admin"},
		{"/%61dmin", 200, "own /admin"},
		{"/./health", 200, "own /health"},
		{"/metrics?x", 200, "own /metrics"},
		{"/livez", 404, "no_route"},
		{"/ADMIN", 200, "/ADMIN"},
		{"/admin.", 200, "/admin."},
		{"/administration", 200, "/administration"},
		{"/admin;/x", 400, "path_parameter"},
	}
	for _, tt := range tests {
		name := tt.target[:min(len(tt.target), 40)]
		t.Run(name, func(t *testing.T) {
			before := len(up.Requests())
			resp := r.once("GET", tt.target)
			received := up.Requests()[before:]
			if resp.status != tt.status {
				t.Fatalf("status is %d: %s", resp.status, resp.body)
			}
			switch {
			case resp.status != 200:
				if code, _ := resp.problem(t); tt.got != "" && code != tt.got || len(received) != 0 {
					t.Errorf("code %s, and the upstream received %v", code, received)
				}
			case strings.HasPrefix(tt.got, "own "):
				if resp.body != tt.got || len(received) != 0 {
					t.Errorf("answer %q, and the upstream received %v", resp.body, received)
				}
			case len(received) != 1 || received[0].Target != tt.got:
				t.Errorf("the upstream received %+v", received)
			}
		})
	}
	// OPTIONS * is about the server, which is the gateway.
	if resp := r.once("OPTIONS", "*"); resp.status != 501 {
		t.Errorf("OPTIONS * gives %d", resp.status)
	} else if code, _ := resp.problem(t); code != "server_wide_options" {
		t.Errorf("OPTIONS * gives %s", code)
	}
}

// With a listener of their own, reserved paths do not exist on the data listeners, in any spelling.
func TestReservedPathsElsewhere(t *testing.T) {
	up := testkit.Upstream(t)
	for name, o := range map[string]runtime.Options{"elsewhere": {Own: own{}, OwnElsewhere: true}, "nowhere": {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{Options: o})
			r.activate(compile(t, `
routes:
  - id: everything
    matcher: { path: "/*" }
    target: { type: http, url: "`+up.URL+`" }
`))
			for _, target := range []string{"/admin", "/admin/status", "/health", "/livez", "/readyz", "/metrics", "/%61dmin", "//metrics", "/x/../health"} {
				resp := r.once("GET", target)
				if code, _ := resp.problem(t); resp.status != 404 || code != "no_route" {
					t.Errorf("%s gives %d %s", target, resp.status, code)
				}
			}
			if got := up.Requests(); len(got) != 0 {
				t.Errorf("the upstream received %v", got)
			}
		})
	}
}

func TestNotFoundAndMethods(t *testing.T) {
	up := testkit.Upstream(t)
	r := newRig(t, options{})
	if resp := r.once("GET", "/read"); resp.status != 503 {
		t.Errorf("before the first activation: %d", resp.status)
	} else if code, _ := resp.problem(t); code != "no_configuration" {
		t.Errorf("before the first activation: %s", code)
	}
	r.activate(compile(t, `
routes:
  - id: read
    matcher: { host: example.com, path: "/read", methods: [GET, HEAD] }
    target: { type: http, url: "`+up.URL+`" }
  - id: write
    matcher: { path: "/read", methods: [DELETE] }
    target: { type: http, url: "`+up.URL+`" }
`))
	resp := r.once("GET", "/nothing")
	if code, _ := resp.problem(t); resp.status != 404 || code != "no_route" || resp.field("Cache-Control") != "no-store" || resp.field("X-Request-Id") == "" {
		t.Errorf("an unknown path gives %d %s, %s", resp.status, code, resp.header)
	}
	resp = r.once("POST", "/read")
	if code, _ := resp.problem(t); resp.status != 405 || code != "method_not_allowed" || resp.field("Allow") != "DELETE, GET, HEAD" {
		t.Errorf("another method gives %d %s, allow %q", resp.status, code, resp.field("Allow"))
	}
	if resp := r.once("HEAD", "/nothing"); resp.status != 404 || resp.body != "" || resp.field("Content-Length") == "0" {
		t.Errorf("HEAD of an unknown path gives %d, %s", resp.status, resp.header)
	}
	r.metric(`gw_requests_total{method="GET",route="-",status="404"} 1`)
	r.metric(`gw_requests_total{method="POST",route="-",status="405"} 1`)
	for _, target := range []string{"/read?a=\"b\"", "/read?a=[1]", "/read?a=%zz", "/read?a=^|`{}"} { // what browsers and people send
		if resp := r.once("GET", target); resp.status >= 500 {
			t.Errorf("%s gives %d %s", target, resp.status, resp.body)
		}
	}
}

// The gateway's own listener has reserved paths and nothing else.
func TestOwnListener(t *testing.T) {
	srv := engine.New(ownListener{}, engine.Settings{
		Limits:   ir.Limits{HeaderBytes: 16 << 10, HeaderFields: 100, URLBytes: 4 << 10, BodyBytes: 64 << 10},
		Timeouts: ir.Timeouts{ReadHeader: 5_000, BodyIdle: 5_000, KeepAlive: 5_000},
	}, engine.Hooks{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(engine.Listener{Listener: l}) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, addr: l.Addr().String()}
	for target, want := range map[string]string{
		"/health": "own /health", "/admin/x?y": "own /admin/x", "//admin": "own /admin", "/x/../metrics": "own /metrics",
		"http://example.com/health?x": "own /health", "/users": "", "/": "", "/livez": "", "/admin%2fx": "", "/admin;x": "",
	} {
		resp := r.once("GET", target)
		if want == "" {
			if code, _ := resp.problem(t); resp.status != 404 || code != "no_route" {
				t.Errorf("%s gives %d %s", target, resp.status, code)
			}
		} else if resp.status != 200 || resp.body != want {
			t.Errorf("%s gives %d %q", target, resp.status, resp.body)
		}
	}
}

type ownListener struct{}

func (ownListener) Serve(ctx context.Context, w httpmsg.ResponseWriter, q *httpmsg.Request) {
	runtime.ServeOwn(ctx, own{}, w, q)
}
