package admin

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

const token = "correct-horse-battery-staple"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fake is everything the server asks.
type fake struct {
	flags    ir.Admin
	notReady []string
	status   Status
	routes   []ir.Route
	secrets  []SecretReference
	denied   []string
	reloads  int
	log      bytes.Buffer
	scrape   error
	blocked  chan struct{}
	accept   string
}

func (f *fake) Admin() ir.Admin            { return f.flags }
func (f *fake) NotReady() []string         { return f.notReady }
func (f *fake) Status() Status             { return f.status }
func (f *fake) Secrets() []SecretReference { return f.secrets }
func (f *fake) AdminDenied(reason string)  { f.denied = append(f.denied, reason) }

func (f *fake) WriteMetrics(w io.Writer, accept string) (string, error) {
	if f.blocked != nil {
		<-f.blocked
	}
	f.accept = accept
	_, err := io.WriteString(w, "gw_up 1\n")
	return "text/plain; version=0.0.4", errors.Join(err, f.scrape)
}

func (f *fake) After(id string, limit int) []ir.Route {
	i, _ := slices.BinarySearchFunc(f.routes, id, func(r ir.Route, id string) int { return strings.Compare(r.ID, id) })
	for i < len(f.routes) && f.routes[i].ID <= id {
		i++
	}
	return f.routes[i:min(i+limit, len(f.routes))]
}

func (f *fake) Route(id string) (ir.Route, bool) {
	for _, r := range f.routes {
		if r.ID == id {
			return r, true
		}
	}
	return ir.Route{}, false
}

func newFake() *fake {
	behind, expires, then := 3, now.Add(72*time.Hour), now.Add(-90*time.Second)
	return &fake{
		flags: ir.Admin{APIEnabled: true, HotReloadEnabled: true, SecretsManagementEnabled: true, DashboardUIEnabled: true},
		routes: []ir.Route{
			{ID: "orders", Match: ir.Match{PathRegex: "/orders/[0-9]+"}, Target: ir.Target{Type: "http", Upstream: "http://orders:8080"}},
			{
				ID: "users-api", Tenant: "blue",
				Match:    ir.Match{Host: "api.example.com", Path: "/api/users/*", Methods: []string{"GET", "POST"}},
				Target:   ir.Target{Type: "http", Upstream: "users"},
				Policies: []ir.Policy{{Kind: "bodyLimit", Plan: json.RawMessage(`{"bytes":1024}`)}},
			},
		},
		secrets: []SecretReference{{Name: "jwt-key", Backend: "vault", UsedBy: []string{"routes/users-api"}}},
		status: Status{
			Running: &Running{
				Version: 42, Epoch: 1, Digest: "sha256:0123456789abcdef", ContentDigest: "sha256:fedcba9876543210",
				Commit: "c0ffee", Environment: "prod", ActivatedAt: then, ExpiresAt: &expires, Routes: 2,
			},
			Source: Source{
				Kind: "oci", Mode: "gated", LastRequest: &then, LastDownload: &then, LastActivation: &then,
				LastError: &Failure{Code: "GW6001", Message: "no valid signature <script>", Since: then},
				Pending:   &Pending{Version: 43, Digest: "sha256:aaaaaaaaaaaaaaaa", Reason: "waits for approval"},
			},
			Drift: &Drift{CheckedAt: then, CommitsBehind: &behind, Classes: []DriftClass{
				{Class: "source", Detected: true, Detail: "main has moved"}, {Class: "live"},
			}},
			Listeners: []Listener{{ID: "web", Address: "0.0.0.0:8080"}},
		},
	}
}

func newServer(f *fake, change ...func(*Options)) *Server {
	o := Options{
		Log: slog.New(slog.NewTextHandler(&f.log, nil)), Status: f, Metrics: f, Routes: f, Secrets: f,
		Reload: func() { f.reloads++ }, Now: func() time.Time { return now }, Token: token,
		Build: Build{Version: "1.2.3", Commit: "abc", Go: "go1.26"},
	}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

func request(method, target string, fields ...string) *httpmsg.Request {
	r := &httpmsg.Request{
		Method: method, Target: target, Scheme: "http", Authority: "gateway.example.com:9090",
		Peer: netip.MustParseAddrPort("192.0.2.1:5555"),
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func bearer(t string) []string { return []string{"Authorization", "Bearer " + t} }

func basic(password string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+password))}
}

func (s *Server) do(r *httpmsg.Request) *httpmsg.Response {
	path, _, _ := strings.Cut(r.Target, "?")
	return s.Answer(r, path)
}

func status(r *httpmsg.Response) int {
	if r == nil {
		return http.StatusNotFound // what the caller makes of it
	}
	return r.Status
}

func body(t *testing.T, r *httpmsg.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.ContentLength {
		t.Errorf("%d bytes with a content length of %d", len(b), r.ContentLength)
	}
	return string(b)
}

// Each path, with each flag on and off, by each kind of visitor.
func TestAccess(t *testing.T) {
	paths := []struct {
		method, path string
		open         bool // needs no token
		needsAdmin   bool
		flag         func(*ir.Admin)
		status       int
	}{
		{"GET", "/health", true, false, nil, 200},
		{"GET", "/livez", true, false, nil, 200},
		{"GET", "/readyz", true, false, nil, 200},
		{"GET", "/metrics", true, false, nil, 200},
		{"GET", "/admin/health", true, true, nil, 200},
		{"GET", "/admin/status", false, true, nil, 200},
		{"POST", "/admin/reload", false, true, func(a *ir.Admin) { a.HotReloadEnabled = false }, 202},
		{"GET", "/admin/secrets", false, true, func(a *ir.Admin) { a.SecretsManagementEnabled = false }, 200},
		{"GET", "/admin/ui", false, true, func(a *ir.Admin) { a.DashboardUIEnabled = false }, 200},
		{"GET", "/admin/config/routes", false, true, nil, 200},
		{"GET", "/admin/config/routes/users-api", false, true, nil, 200},
		{"GET", "/admin/config/routes/none", false, true, nil, 404},
		{"GET", "/admin/config/routes/", false, true, nil, 404},
		{"GET", "/admin/unknown", false, true, nil, 404},
		{"GET", "/admin/status/", false, true, nil, 404},
		{"GET", "/admin", false, true, nil, 404},
		{"GET", "/admin/", false, true, nil, 404},
	}
	visitors := []struct {
		name   string
		fields []string
		reads  bool
		writes bool
	}{
		{"nobody", nil, false, false},
		{"the token", bearer(token), true, true},
		{"the token in lower case scheme", []string{"authorization", "bearer " + token}, true, true},
		{"the token as password", basic(token), true, false},
		{"a wrong token", bearer("wrong"), false, false},
		{"a wrong password", basic("wrong"), false, false},
		{"an empty token", bearer(""), false, false},
		{"no scheme", []string{"Authorization", token}, false, false},
		{"another scheme", []string{"Authorization", "Digest " + token}, false, false},
		{"basic without colon", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(token))}, false, false},
		{"basic without base64", []string{"Authorization", "Basic %%%"}, false, false},
		{"the token and more", bearer(token + "x"), false, false},
		{"a part of the token", bearer(token[:len(token)-1]), false, false},
		{"two tokens", append(bearer(token), bearer(token)...), false, false},
		{"a token without end", bearer(token + strings.Repeat("x", 1<<20)), false, false},
		{"the token in the query's place", []string{"X-Token", token}, false, false},
	}
	for _, p := range paths {
		for _, v := range visitors {
			t.Run(p.path+" "+v.name, func(t *testing.T) {
				f := newFake()
				s := newServer(f)
				want := p.status
				allowed := v.reads && (v.writes || p.method != "POST")
				if !p.open && !allowed {
					want = http.StatusUnauthorized
				}
				resp := s.do(request(p.method, p.path, v.fields...))
				if got := status(resp); got != want {
					t.Errorf("status %d, want %d", got, want)
				}
				if denied := want == http.StatusUnauthorized; denied != (len(f.denied) == 1) || denied != (resp != nil && resp.Header.Has("WWW-Authenticate")) {
					t.Errorf("status %d, counted %q, %v", want, f.denied, resp)
				}
				if want == http.StatusUnauthorized && (f.reloads > 0 || strings.Contains(body(t, resp), token)) {
					t.Error("a refused request had an effect, or was told the token")
				}

				if p.flag != nil {
					p.flag(&f.flags)
					if got := status(s.do(request(p.method, p.path, v.fields...))); got != map[bool]int{true: 404, false: 401}[allowed] {
						t.Errorf("switched off: status %d", got)
					}
				}
				f.flags = ir.Admin{HotReloadEnabled: true, SecretsManagementEnabled: true, DashboardUIEnabled: true}
				if resp := s.do(request(p.method, p.path, v.fields...)); p.needsAdmin != (resp == nil) {
					t.Errorf("admin disabled: %v", resp)
				}
			})
		}
	}
}

func TestOtherPathsAreNotOurs(t *testing.T) {
	s := newServer(newFake())
	for _, path := range []string{"/", "/healthz", "/health/", "/adminx", "/ADMIN/status", "/x/admin/status", "/metrics/x", "*"} {
		if resp := s.Answer(request("GET", path, bearer(token)...), path); resp != nil {
			t.Errorf("%s: %d", path, resp.Status)
		}
	}
}

func TestMethods(t *testing.T) {
	for path, allow := range map[string]string{
		"/health": "GET, HEAD", "/livez": "GET, HEAD", "/readyz": "GET, HEAD", "/metrics": "GET, HEAD", "/admin/health": "GET, HEAD",
		"/admin/status": "GET, HEAD", "/admin/secrets": "GET, HEAD", "/admin/ui": "GET, HEAD", "/admin/config/routes": "GET, HEAD",
		"/admin/config/routes/users-api": "GET, HEAD", "/admin/reload": "POST",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get"} {
			f := newFake()
			resp := newServer(f).do(request(method, path, bearer(token)...))
			if slices.Contains(strings.Split(allow, ", "), method) {
				if resp.Status >= 300 {
					t.Errorf("%s %s: %d", method, path, resp.Status)
				}
			} else if resp.Status != 405 || resp.Header.Get("Allow") != allow || f.reloads != 0 {
				t.Errorf("%s %s: %d, Allow %q", method, path, resp.Status, resp.Header.Get("Allow"))
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s %s: %s %q", method, path, name, got)
				}
			}
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	s := newServer(newFake())
	for _, path := range []string{"/health", "/readyz", "/metrics", "/admin/status", "/admin/ui"} {
		get, head := s.do(request("GET", path, bearer(token)...)), s.do(request("HEAD", path, bearer(token)...))
		if head.Body != nil || head.Status != get.Status || head.ContentLength != get.ContentLength || len(head.Header.Fields) != len(get.Header.Fields) {
			t.Errorf("%s: %+v and %+v", path, get, head)
		}
	}
}

func TestHealth(t *testing.T) {
	f := newFake()
	s := newServer(f)
	for _, path := range []string{"/health", "/admin/health"} {
		if got, want := body(t, s.do(request("GET", path))), `{"success":true,"timestamp":"2026-11-23T12:00:00Z"}`+"\n"; got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := body(t, s.do(request("GET", "/readyz"))); got != `{"status":"ready"}`+"\n" {
		t.Error(got)
	}
	f.notReady = []string{"no bundle has been activated yet"}
	resp := s.do(request("GET", "/readyz"))
	if got := body(t, resp); resp.Status != 503 || got != `{"status":"not ready","reasons":["no bundle has been activated yet"]}`+"\n" {
		t.Errorf("%d %s", resp.Status, got)
	}
	if got := status(s.do(request("GET", "/livez"))); got != 200 {
		t.Errorf("alive: %d", got)
	}
}

func TestWithoutATokenNobodyComesIn(t *testing.T) {
	f := newFake()
	clock := now
	s := newServer(f, func(o *Options) { o.Token, o.Now = "", func() time.Time { return clock } })
	for _, fields := range [][]string{nil, bearer(""), bearer(token), basic("")} {
		r := request("GET", "/admin/status", fields...)
		r.Peer, r.Authority = netip.MustParseAddrPort("127.0.0.1:1"), "localhost"
		if resp := s.do(r); resp.Status != 401 || !resp.Header.Has("WWW-Authenticate") {
			t.Errorf("%q: %d", fields, resp.Status)
		}
	}
	if n := strings.Count(f.log.String(), "GWRUN_ADMIN_TOKEN"); n != 1 {
		t.Errorf("hinted %d times in a moment:\n%s", n, &f.log)
	}
	clock = clock.Add(time.Minute)
	s.do(request("GET", "/admin/status"))
	if n := strings.Count(f.log.String(), "GWRUN_ADMIN_TOKEN"); n != 2 {
		t.Errorf("hinted %d times after a minute", n)
	}
	if got := status(s.do(request("GET", "/admin/health"))); got != 200 {
		t.Errorf("health: %d", got)
	}
}

func TestDevModeIsOpenToItsOwnMachineOnly(t *testing.T) {
	for _, c := range []struct {
		name, peer, authority, method string
		fields                        []string
		token                         string
		want                          int
	}{
		{"loopback", "127.0.0.1:1", "localhost:8080", "GET", nil, "", 200},
		{"loopback by address", "[::1]:1", "[::1]:8080", "GET", nil, "", 200},
		{"mapped", "[::ffff:127.0.0.1]:1", "127.0.0.1", "GET", nil, "", 200},
		{"from elsewhere", "192.0.2.1:1", "localhost:8080", "GET", nil, "", 403},
		{"rebound name", "127.0.0.1:1", "evil.example:8080", "GET", nil, "", 403},
		{"rebound name in disguise", "127.0.0.1:1", "localhost.evil.example", "GET", nil, "", 403},
		{"no name", "127.0.0.1:1", "", "GET", nil, "", 403},
		{"through a proxy", "127.0.0.1:1", "localhost", "GET", []string{"X-Forwarded-For", "192.0.2.1"}, "", 403},
		{"reload", "127.0.0.1:1", "localhost:8080", "POST", nil, "", 202},
		{"reload from our page", "127.0.0.1:1", "localhost:8080", "POST", []string{"Origin", "http://localhost:8080", "Sec-Fetch-Site", "same-origin"}, "", 202},
		{"reload from another page", "127.0.0.1:1", "localhost:8080", "POST", []string{"Origin", "https://evil.example"}, "", 403},
		{"reload from another port", "127.0.0.1:1", "localhost:8080", "POST", []string{"Sec-Fetch-Site", "same-site"}, "", 403},
		{"reload from a sandbox", "127.0.0.1:1", "localhost:8080", "POST", []string{"Origin", "null"}, "", 403},
		{"from elsewhere with the token", "192.0.2.1:1", "gw", "GET", bearer(token), token, 200},
		{"from elsewhere with a wrong one", "192.0.2.1:1", "gw", "GET", bearer("x"), token, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			s := newServer(f, func(o *Options) { o.Dev, o.Token = true, c.token })
			r := request(c.method, map[string]string{"GET": "/admin/status", "POST": "/admin/reload"}[c.method], c.fields...)
			r.Peer, r.Authority = netip.MustParseAddrPort(c.peer), c.authority
			if got := status(s.do(r)); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
			if refused := c.want >= 400; refused != (len(f.denied) == 1) || refused && f.reloads > 0 {
				t.Errorf("denied %q, %d reloads", f.denied, f.reloads)
			}
		})
	}
}

func TestTheTokenIsNotKept(t *testing.T) {
	f := newFake()
	s := newServer(f, func(o *Options) { o.Token = "hunter2" })
	if s.o.Token != "" {
		t.Error("the token is in the options")
	}
	if log := f.log.String(); !strings.Contains(log, "short enough to be guessed") || strings.Contains(log, "hunter2") {
		t.Error(log)
	}
}

func TestStatus(t *testing.T) {
	s := newServer(newFake())
	s.started = now.Add(-time.Hour)
	got := body(t, s.do(request("GET", "/admin/status", bearer(token)...)))
	want := `{"running":{"version":42,"epoch":1,"digest":"sha256:0123456789abcdef","contentDigest":"sha256:fedcba9876543210",` +
		`"commit":"c0ffee","environment":"prod","activatedAt":"2026-11-23T11:58:30Z","expiresAt":"2026-11-26T12:00:00Z","routes":2},` +
		`"source":{"kind":"oci","mode":"gated","lastRequest":"2026-11-23T11:58:30Z","lastDownload":"2026-11-23T11:58:30Z",` +
		`"lastActivation":"2026-11-23T11:58:30Z","lastError":{"code":"GW6001","message":"no valid signature \u003cscript\u003e",` +
		`"since":"2026-11-23T11:58:30Z"},"pending":{"version":43,"digest":"sha256:aaaaaaaaaaaaaaaa","reason":"waits for approval"}},` +
		`"drift":{"checkedAt":"2026-11-23T11:58:30Z","commitsBehind":3,"classes":[{"class":"source","detected":true,` +
		`"detail":"main has moved"},{"class":"live","detected":false}]},"listeners":[{"id":"web","address":"0.0.0.0:8080"}],` +
		`"startedAt":"2026-11-23T11:00:00Z","uptimeSeconds":3600,"build":{"version":"1.2.3","commit":"abc","go":"go1.26"}}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	empty := body(t, newServer(&fake{flags: ir.Admin{APIEnabled: true}}).do(request("GET", "/admin/status", bearer(token)...)))
	if !strings.HasPrefix(empty, `{"running":null,"source":{"kind":"","mode":"","lastRequest":null,`) || !strings.Contains(empty, `"drift":null,"listeners":[],`) {
		t.Error(empty)
	}
}

func TestReload(t *testing.T) {
	f := newFake()
	s := newServer(f)
	if got := status(s.do(request("POST", "/admin/reload", bearer(token)...))); got != 202 || f.reloads != 1 {
		t.Errorf("%d, %d reloads", got, f.reloads)
	}
}

func TestSecretsAreReferences(t *testing.T) {
	got := body(t, newServer(newFake()).do(request("GET", "/admin/secrets", bearer(token)...)))
	if want := `{"secrets":[{"name":"jwt-key","backend":"vault","usedBy":["routes/users-api"]}]}` + "\n"; got != want {
		t.Error(got)
	}
	none := newServer(newFake(), func(o *Options) { o.Secrets = nil })
	if got := body(t, none.do(request("GET", "/admin/secrets", bearer(token)...))); got != `{"secrets":[]}`+"\n" {
		t.Error(got)
	}
}

func TestRoutes(t *testing.T) {
	f := newFake()
	s := newServer(f)
	get := func(target string) (int, string) {
		resp := s.do(request("GET", target, bearer(token)...))
		return resp.Status, body(t, resp)
	}
	_, got := get("/admin/config/routes")
	want := `{"routes":[{"id":"orders","match":{"pathRegex":"/orders/[0-9]+"},"target":"http","upstream":"http://orders:8080","policies":[]},` +
		`{"id":"users-api","tenant":"blue","match":{"host":"api.example.com","path":"/api/users/*","methods":["GET","POST"]},` +
		`"target":"http","upstream":"users","policies":["bodyLimit"]}],"next":null}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, got := get("/admin/config/routes/users-api"); !strings.Contains(got, `"policies":[{"kind":"bodyLimit","plan":{"bytes":1024}}]`) {
		t.Error(got)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=-1", "limit=x", "limit=99999999999999999999", "%zz"} {
		if code, got := get("/admin/config/routes?" + query); code != 400 || !strings.Contains(got, "bad_query") {
			t.Errorf("%s: %d %s", query, code, got)
		}
	}

	f.routes = nil
	for i := range 250 {
		f.routes = append(f.routes, ir.Route{ID: "route-" + strconv.Itoa(1000+i)})
	}
	var ids []string
	for after := ""; ; {
		_, text := get("/admin/config/routes?limit=100&after=" + after)
		var page struct {
			Routes []struct{ ID string }
			Next   *string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Routes {
			ids = append(ids, r.ID)
		}
		if page.Next == nil {
			break
		}
		after = *page.Next
	}
	if len(ids) != 250 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 250 {
		t.Errorf("%d routes by pages", len(ids))
	}
}

func TestMetricsEndpoint(t *testing.T) {
	f := newFake()
	s := newServer(f)
	resp := s.do(request("GET", "/metrics", "Accept", "application/openmetrics-text"))
	if got := body(t, resp); got != "gw_up 1\n" || resp.Header.Get("Content-Type") != "text/plain; version=0.0.4" || f.accept != "application/openmetrics-text" {
		t.Errorf("%q as %s for %s", got, resp.Header.Get("Content-Type"), f.accept)
	}
	for accept, zipped := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "br": false, "": false} {
		resp := s.do(request("GET", "/metrics", "Accept-Encoding", accept))
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("%q: zipped %v", accept, got)
		} else if zipped {
			z, err := gzip.NewReader(strings.NewReader(body(t, resp)))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(z); err != nil || string(text) != "gw_up 1\n" {
				t.Errorf("%q: %q %v", accept, text, err)
			}
		}
	}
	f.scrape = errors.New("secret inside")
	if resp := s.do(request("GET", "/metrics")); resp.Status != 500 || strings.Contains(body(t, resp), "secret") {
		t.Errorf("a failed scrape: %d", resp.Status)
	}
}

func TestOneScrapeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.blocked = make(chan struct{})
		s := newServer(f)
		first := make(chan int)
		go func() { first <- s.do(request("GET", "/metrics")).Status }()
		synctest.Wait()
		began := time.Now()
		if resp := s.do(request("GET", "/metrics")); resp.Status != 503 || resp.Header.Get("Retry-After") == "" || time.Since(began) != scrapeWait {
			t.Errorf("%d after %s", resp.Status, time.Since(began))
		}
		close(f.blocked)
		if got := <-first; got != 200 {
			t.Errorf("the first: %d", got)
		}
		if got := s.do(request("GET", "/metrics")).Status; got != 200 {
			t.Errorf("the next: %d", got)
		}
	})
}

func TestPage(t *testing.T) {
	f := newFake()
	f.notReady = []string{"draining"}
	s := newServer(f)
	resp := s.do(request("GET", "/admin/ui", basic(token)...))
	text := body(t, resp)
	for _, want := range []string{
		"0123456789ab", "c0ffee", "prod", "not ready", "draining", "GW6001", "no valid signature &lt;script&gt;", "waits for approval",
		"main has moved", "3 commits", "users-api", "/api/users/*", "GET, POST", "0.0.0.0:8080", "1m ago", "3 days from now", "1.2.3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "<script") || strings.Contains(text, "ZgotmplZ") || regexp.MustCompile(`(src|href)="(https?:)?//`).MatchString(text) {
		t.Error("the page runs a script, or loads something from elsewhere")
	}
	csp := resp.Header.Get("Content-Security-Policy")
	nonce := regexp.MustCompile(`style-src 'nonce-([A-Z2-7]{26})'`).FindStringSubmatch(csp)
	if !strings.HasPrefix(csp, "default-src 'none'; ") || nonce == nil || !strings.Contains(text, `<style nonce="`+nonce[1]+`">`) {
		t.Errorf("policy %q", csp)
	}
	again := s.do(request("GET", "/admin/ui", basic(token)...)).Header.Get("Content-Security-Policy")
	if again == csp {
		t.Error("the nonce was used twice")
	}
	if got := s.do(request("GET", "/admin/ui")).Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("a browser is asked for %q", got)
	}

	bare := newServer(&fake{flags: ir.Admin{APIEnabled: true, DashboardUIEnabled: true}}, func(o *Options) { o.Routes = nil })
	if resp := bare.do(request("GET", "/admin/ui", bearer(token)...)); resp.Status != 200 || !strings.Contains(body(t, resp), "none has been activated yet") {
		t.Errorf("before the first bundle: %d", resp.Status)
	}
}

func TestAgo(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"now": 500 * time.Millisecond, "59s ago": 59 * time.Second, "59m ago": time.Hour - 1, "47h ago": 48*time.Hour - 1,
		"2 days ago": 48 * time.Hour, "1m from now": -time.Minute, "1h from now": -time.Hour, "365 days from now": -365 * 24 * time.Hour,
		"10m ago": 10 * time.Minute, "20h ago": 20 * time.Hour,
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
