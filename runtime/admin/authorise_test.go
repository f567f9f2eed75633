package admin

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

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
		{"GET", "/admin/upstreams", false, true, nil, 200},
		{"GET", "/admin/upstreams/users", false, true, nil, 200},
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
