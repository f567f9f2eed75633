package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// A flag wins over the environment, which wins over gwrun.yaml.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	s.apply(to)
	file := filepath.Join(t.TempDir(), "gwrun.yaml")
	s.write(file, fmt.Sprintf("bundle: %s\ntrust: %s/trust.json\nenv: prod\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\nsync: \"off\"\ndriftPoll: 7s\n", to, s.keys))
	start := func(args ...string) *gateway {
		t.Helper()
		g := s.gwrunAlone(append([]string{"--config", file}, args...)...)
		g.url = "http://" + g.WaitLine(`"listener":"127.0.0.1:0","address":"([^"]+)"`)[1]
		g.admin = "http://" + g.WaitLine(`"listener":"admin","address":"([^"]+)"`)[1]
		g.serves(1)
		return g
	}
	mode := func(g *gateway, want string) {
		t.Helper()
		if got := g.status().Source.Mode; got != want {
			t.Errorf("sync is %q, want %q", got, want)
		}
		g.Stop()
	}
	mode(start(), "off")
	s.extra = append(s.extra, "GWRUN_SYNC=dry-run")
	mode(start(), "dry-run")
	mode(start("--sync", "auto"), "auto")

	// Dry-run and off hold new versions back, after the first.
	g := start()
	s.version(2)
	s.apply(to)
	testkit.Eventually(t, "version 2 waits", func() bool { p := g.status().Source.Pending; return p != nil && p.Version == 2 })
	if v := g.served(); v != 1 {
		t.Errorf("version %d is served in a dry run, want 1", v)
	}
	if r := s.ok("status", "--gateway", g.admin); !strings.Contains(r.out, "1.2 ") || !strings.Contains(r.out, "sync is in dry-run") {
		t.Errorf("gwctl status printed %q", r.out)
	}
	s.exits(1, s.applyArgs(to, "--wait", "--gateway", g.admin, "--wait-timeout", "1s")...)
}

// What is wrong with the settings is said before anything is opened, with the exit code of its kind.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	s.apply(to)
	trust := filepath.Join(s.keys, "trust.json")
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "gwrun.yaml")
		s.write(path, content)
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	all := func(args ...string) []string {
		return append([]string{"--bundle", to, "--trust", trust, "--env", "prod", "--listen", "127.0.0.1:0"}, args...)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"unknown field": {
			[]string{"--config", file("env: prod\nbundel: x\n")},
			3,
			[]string{"gwrun.yaml:2:1: error GW2031", `unknown field "bundel"`, `did you mean "bundle"`},
		},
		"a field twice":             {[]string{"--config", file("env: prod\nenv: dev\n")}, 3, []string{"gwrun.yaml:2:1: error GW"}},
		"a list for a text":         {[]string{"--config", file("env: [prod]\n")}, 3, []string{"gwrun.yaml:1:6: error GW2101", "env is"}},
		"off without quotes":        {[]string{"--config", file("sync: off\n")}, 3, []string{"gwrun.yaml:1:7: error GW1101", `"off"`}},
		"no trust":                  {[]string{"--bundle", to, "--env", "prod"}, 64, []string{"--trust is required"}},
		"no bundle":                 {[]string{"--trust", trust, "--env", "prod"}, 64, []string{"--bundle is required"}},
		"no environment":            {[]string{"--bundle", to, "--trust", trust}, 64, []string{"--env is required"}},
		"unknown flag":              {[]string{"--listne", ":80"}, 64, []string{"--listne"}},
		"a token on the line":       {[]string{"--admin-token", "x"}, 64, []string{"--admin-token"}},
		"unknown command":           {[]string{"serve"}, 64, []string{`unknown command "serve"`}},
		"not a duration":            {all("--poll", "often"), 3, []string{`--poll is "often"`, "at least 1s"}},
		"not an address":            {all("--admin", "9090"), 3, []string{`--admin is "9090"`, "host:port"}},
		"no mode":                   {all("--sync", "sometimes"), 3, []string{`--sync is "sometimes", must be one of off, dry-run, gated, auto`}},
		"unknown scheme":            {all("--bundle", "ftp://host/x"), 64, []string{`"ftp"`}},
		"plain http":                {all("--bundle", "http://bundles.example.com/x"), 64, []string{"https://"}},
		"plain git":                 {all("--repo", "git://example.com/x"), 3, []string{"--repo", "https"}},
		"no trust file":             {all("--trust", "/nonexistent/trust.json"), 1, []string{"/nonexistent/trust.json"}},
		"a trust file that is none": {all("--trust", file("{}")), 6, []string{"trust"}},
		"port in use":               {all("--listen", taken.Addr().String()), 1, []string{"listen on " + taken.Addr().String(), "address already in use"}},
		"admin port in use":         {all("--admin", taken.Addr().String()), 1, []string{"listen on " + taken.Addr().String(), "address already in use"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			g := s.gwrunAlone(c.args...)
			if code := g.Wait(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.says {
				if !strings.Contains(g.Output(), part) {
					t.Errorf("it says\n%s\nwithout %q", g.Output(), part)
				}
			}
			if t.Failed() || !strings.Contains(g.Output(), "gwrun: ") {
				t.Errorf("it says %q, want a line of its own", g.Output())
			}
		})
	}
}

// What a gateway answers itself: health, metrics, and the admin API behind a token where it is enabled; where it is not,
// nobody can tell that there is one.
func TestOwnPaths(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	g := s.gwrun("--bundle", to) // nothing is published yet
	own := func(path string, header ...string) (int, string) {
		t.Helper()
		code, body, err := get(g.admin+path, header...)
		if err != nil {
			t.Fatal(err)
		}
		return code, body
	}
	want := func(path string, code int, header ...string) {
		t.Helper()
		if got, body := own(path, header...); got != code {
			t.Errorf("%s answers %d %q, want %d", path, got, body, code)
		}
	}
	want("/livez", 200)
	want("/readyz", 503)
	want("/health", 200)
	g.WaitLine(`the source cannot be read`)
	s.apply(to)
	g.serves(1)

	if code, body := own("/health"); code != 200 || !strings.Contains(body, `"success":true`) || !strings.Contains(body, `"timestamp":"20`) {
		t.Errorf("/health answers %d %s", code, body)
	}
	ownMetrics := func(base string) {
		t.Helper()
		testkit.Eventually(t, "/metrics tells of the bundle", func() bool { // which serves a moment before that is noted
			code, body, err := get(base + "/metrics")
			return err == nil && code == http.StatusOK && strings.Contains(body, "gw_bundle_info{") && strings.Contains(body, "# TYPE gw_")
		})
	}
	ownMetrics(g.admin)
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	want("/readyz", 200)
	want("/admin/health", 200)
	want("/admin/status", 401)
	want("/admin/status", 401, bearer("wrong")...)
	want("/admin/status", 200, bearer(token)...)
	want("/admin/nothing", 401)
	want("/admin/nothing", 404, bearer(token)...)
	want("/admin/secrets", 404, bearer(token)...) // not switched on
	if code, body, err := get(g.url + "/health"); err != nil || code != http.StatusNotFound {
		t.Errorf("the data listener answers /health %d %q %v although there is one for it", code, body, err)
	}

	s.commit("no admin API", map[string]string{"gateway.yaml": apiVersion + "gateway: { name: shop }\n"})
	s.apply(to)
	testkit.Eventually(t, "the admin API is gone", func() bool { code, _ := own("/admin/health"); return code == 404 })
	_, unknown := own("/nothing")
	for _, path := range []string{"/admin/status", "/admin/health", "/admin"} {
		want(path, 404, bearer(token)...)
		if _, body := own(path); strings.ReplaceAll(body, path, "/nothing") != unknown {
			t.Errorf("%s answers %q, an unknown path %q", path, body, unknown)
		}
	}
	want("/health", 200)
	want("/metrics", 200)
	g.serves(1)
	if r := s.gwctl("status", "--gateway", g.admin); r.code != 1 || !strings.Contains(r.out+r.err, "apiEnabled") {
		t.Errorf("gwctl status: exit code %d, %q %q", r.code, r.out, r.err)
	}

	// Without a listener of their own, the paths are on the data listeners.
	both := s.gwrunAlone("--bundle", to, "--trust", filepath.Join(s.keys, "trust.json"), "--env", "prod", "--listen", "127.0.0.1:0")
	both.url = "http://" + both.WaitLine(`"listener":"127.0.0.1:0","address":"([^"]+)"`)[1]
	both.serves(1)
	both.answers("/health", 200, `"success":true`)
	ownMetrics(both.url)
}
