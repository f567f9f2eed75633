package runtime_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// Policies edit the refusals of those behind them, and of what comes after them all; not of those before them.
func TestRefusalsAreDressed(t *testing.T) {
	r := newRig(t, options{})
	prog := compile(t, `
routes:
  - id: edge
    matcher: { path: "/edge/*" }
    target: { type: http, url: "http://127.0.0.1:1" }
    policy:
      ip: { deny: [192.0.2.0/24] }
      cors: { allowOrigins: ["https://app.example.com"] }
      securityHeaders: {}
      contentType: { allow: [application/json] }
gateway: { trustedProxies: [127.0.0.0/8] }
`)
	r.activate(prog)
	origin := "Origin: https://app.example.com"
	for _, tt := range []struct {
		name, method string
		send         []string
		status       int
		cors, secure bool
	}{
		{"by one behind", "POST", []string{origin, "Content-Type: text/plain", "Content-Length: 1"}, 415, true, true},
		{"by one in between", "GET", []string{origin, "X-Forwarded-For: 192.0.2.7"}, 403, false, true},
		{"by the upstream", "GET", []string{origin}, 502, true, true},
		{"an answer", "OPTIONS", []string{origin, "Access-Control-Request-Method: GET"}, 204, true, true},
		{"no route", "GET /nowhere HTTP/1.1", nil, 404, false, false},
	} {
		target := "/edge/x"
		method, _, elsewhere := strings.Cut(tt.method, " ")
		if elsewhere {
			target = "/nowhere"
		}
		c := r.dial()
		c.send("%s %s HTTP/1.1\r\nHost: example.com\r\n%s\r\n", method, target, strings.Join(append(tt.send, ""), "\r\n"))
		if method == "POST" {
			c.send("x")
		}
		resp, err := c.receive(method)
		if err != nil {
			t.Fatal(err)
		}
		if resp.status != tt.status || (resp.field("Access-Control-Allow-Origin") != "") != tt.cors || (resp.field("X-Frame-Options") != "") != tt.secure {
			t.Errorf("%s: %d\n%s", tt.name, resp.status, resp.header)
		}
	}
}

// A preflight request is for the route that takes the method it asks about.
func TestPreflightFindsItsRoute(t *testing.T) {
	up := testkit.Upstream(t)
	r := newRig(t, options{})
	r.activate(compile(t, `
routes:
  - id: reads
    matcher: { path: "/a", methods: [GET] }
    target: { type: http, url: "`+up.URL+`" }
    policy: { cors: { allowOrigins: ["https://app.example.com"] } }
  - id: asks
    matcher: { path: "/a", methods: [OPTIONS, PUT] }
    target: { type: http, url: "`+up.URL+`" }
`))
	for _, tt := range []struct {
		name   string
		send   []string
		status int
		allow  string
	}{
		{"asks about GET", []string{"Origin: https://app.example.com", "Access-Control-Request-Method: GET"}, 204, "https://app.example.com"},
		{"another origin", []string{"Origin: https://evil.example.com", "Access-Control-Request-Method: GET"}, 403, ""},
		{"asks about a method of a route without cors", []string{"Origin: https://app.example.com", "Access-Control-Request-Method: PUT"}, 200, ""},
		{"no preflight request", []string{"Origin: https://app.example.com"}, 200, ""},
	} {
		if resp := r.once("OPTIONS", "/a", tt.send...); resp.status != tt.status || resp.field("Access-Control-Allow-Origin") != tt.allow {
			t.Errorf("%s: %d\n%s", tt.name, resp.status, resp.header)
		}
	}
}

// A stream ends when the token does that it began with.
func TestStreamsDoNotOutliveTokens(t *testing.T) {
	url, _ := ticker(t)
	r := newRig(t, options{})
	prog := variant(t, url, "A", 0)
	with(t, prog, "events", testPlan{Name: "B", Do: "know"})
	prog.Gateway.AccessLog.Enabled, prog.Gateway.AccessLog.Format = true, "json"
	r.activate(prog)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.addr+"/events/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(string(got), "data: 0") {
		t.Errorf("the stream ended with %v after %q", err, got)
	}
	if l := r.lines(1)[0]; l.Code != "token_expired" || l.Status != 200 {
		t.Errorf("%+v", l)
	}
}

// What goes upstream can be another path; records tell the one that was asked for. What nobody has judged stays behind.
func TestRewrittenRequests(t *testing.T) {
	seen := make(chan *http.Request, 1)
	up := testkit.Upstream(t)
	up.Answer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- r
		_, _ = io.WriteString(w, "ok")
	}))
	r := newRig(t, options{})
	r.activate(compile(t, `
gateway: { accessLog: { enabled: true, format: json } }
routes:
  - id: users
    matcher: { path: "/api/users/{id}/*" }
    target: { type: http, url: "`+up.URL+`/base" }
    policy:
      rewrite: { path: "/v2/${params.id}/${params.rest}", query: { remove: [debug], set: { via: "${route.id}" } } }
      contextInjection: { claims: { X-User-Id: sub } }
`))
	c := r.dial()
	c.send("POST /api/users/7/a%%20b?debug=1&q=x HTTP/1.1\r\nHost: example.com\r\nX-User-Id: root\r\nx_user_id: root\r\nTrailer: X-User-Id\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-User-Id: root\r\n\r\n")
	resp, err := c.receive("POST")
	if err != nil || resp.status != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	got := <-seen
	if got.RequestURI != "/base/v2/7/a%20b?q=x&via=users" {
		t.Errorf("the upstream is asked for %s", got.RequestURI)
	}
	if len(got.Header["X-User-Id"])+len(got.Header["X_user_id"]) > 0 || got.Trailer.Get("X-User-Id") != "" {
		t.Errorf("the upstream gets %v, trailer %v", got.Header, got.Trailer)
	}
	if l := r.lines(1)[0]; !strings.HasPrefix(l.Path, "/api/users/7/a") {
		t.Errorf("the log has %s", l.Path)
	}
}
