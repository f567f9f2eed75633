package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// token is the admin token of every gateway here.
const token = "end-to-end-0123456789abcdef"

// patience bounds a command that ends by itself.
const patience = 60 * time.Second

// apiVersion is the first line of every file.
const apiVersion = "apiVersion: gateway.suuupra.dev/v1\n"

// programs are built once per run. TESTKIT_BUILD_FLAGS=-race builds them with the race detector.
var programs struct {
	once         sync.Once
	gwctl, gwrun string
}

// scene is one team: a config repository on a git server, their clone of it, their keys, and the service behind the gateway.
type scene struct {
	t    *testing.T
	home string // HOME of every command: nothing of the machine's user gets in
	host *testkit.GitHost
	repo *testkit.GitRepo
	dir  string // the clone
	keys string // release.key, channel.key, trust.json
	app  string // URL of the service; it echoes what it receives

	extra           []string // environment of every command
	oldest, earlier string   // copies of what was published before
}

func newScene(t *testing.T) *scene {
	t.Helper()
	programs.once.Do(func() {
		programs.gwctl, programs.gwrun = testkit.Binary(t, "gwctl"), testkit.Binary(t, "gwrun")
	})
	if programs.gwrun == "" {
		t.Fatal("the programs could not be built")
	}
	app := httptest.NewServer(testkit.Echo())
	t.Cleanup(func() { app.CloseClientConnections(); app.Close() })
	s := &scene{t: t, home: t.TempDir(), host: testkit.GitServer(t), app: app.URL}
	s.repo = s.host.Create("shop", map[string]string{
		"gateway.yaml":              apiVersion + "gateway:\n  name: shop\n  admin: { apiEnabled: true, hotReloadEnabled: true }\n",
		"environments/dev/dev.yaml": apiVersion, "environments/prod/prod.yaml": apiVersion,
		"routes/app.yaml": s.routes(1),
	})
	s.dir = filepath.Join(t.TempDir(), "clone")
	s.git(t.TempDir(), "clone", "--quiet", s.repo.URL, s.dir)
	s.keys = s.keygen()
	return s
}

// routes is the route file of a version: the service sees which one served a request by the path it is asked for.
func (s *scene) routes(version int) string {
	return fmt.Sprintf("%sroutes:\n  - id: app\n    matcher: { path: /app/* }\n    target: { type: http, url: \"%s/v%d\" }\n", apiVersion, s.app, version)
}

// keygen makes keys and returns their folder.
func (s *scene) keygen(args ...string) string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "keys")
	s.ok(append([]string{"keygen", "--out", dir}, args...)...)
	return dir
}

// commit publishes files on the git server, brings the clone up to date, and returns the commit.
func (s *scene) commit(message string, files map[string]string) string {
	s.t.Helper()
	id := s.repo.Commit(message, files)
	s.git(s.dir, "fetch", "--quiet")
	s.git(s.dir, "reset", "--quiet", "--hard", "origin/main")
	return id
}

// version commits the routes of a version.
func (s *scene) version(n int) string {
	s.t.Helper()
	return s.commit(fmt.Sprintf("version %d", n), map[string]string{"routes/app.yaml": s.routes(n)})
}

func (s *scene) git(dir string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(testkit.Program(s.t, "git"), args...)
	cmd.Dir, cmd.Env = dir, s.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (s *scene) env() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "HOME=" + s.home,
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GWRUN_ADMIN_TOKEN=" + token,
		"GORACE=atexit_sleep_ms=0", // programs with the race detector would sleep a second each
	}, s.extra...)
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// gwctl runs a command line in the clone. It may be called from several goroutines.
func (s *scene) gwctl(args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, programs.gwctl, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env(), &out, &errs
	err := cmd.Run()
	r := result{out: out.String(), err: errs.String()}
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		r.code, r.err = -1, r.err+err.Error()
	}
	return r
}

// exits runs gwctl and wants an exit code.
func (s *scene) exits(code int, args ...string) result {
	s.t.Helper()
	r := s.gwctl(args...)
	if r.code != code {
		s.t.Fatalf("gwctl %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

func (s *scene) ok(args ...string) result { s.t.Helper(); return s.exits(0, args...) }

// applyArgs publishes prod with the team's keys.
func (s *scene) applyArgs(to string, extra ...string) []string {
	return append([]string{
		"apply", "--env", "prod", "--to", to,
		"--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key"),
	}, extra...)
}

func (s *scene) apply(to string, extra ...string) result {
	s.t.Helper()
	return s.ok(s.applyArgs(to, extra...)...)
}

// folder returns an empty place to publish to: a path, and as a location.
func (s *scene) folder() (path, location string) {
	path = filepath.Join(s.t.TempDir(), "published")
	return path, "file://" + path
}

// gateway is a running gwrun.
type gateway struct {
	*testkit.Process
	t     *testing.T
	url   string // of the data listener
	admin string // of the admin listener
}

// client asks on fresh connections, so that nothing is left behind.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// gwrun starts a gateway for prod and waits until it listens.
func (s *scene) gwrun(args ...string) *gateway {
	s.t.Helper()
	g := s.gwrunAlone(append([]string{
		"--trust", filepath.Join(s.keys, "trust.json"), "--env", "prod", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--poll", "1s",
	}, args...)...)
	g.url = "http://" + g.WaitLine(`"msg":"listening","listener":"127.0.0.1:0","address":"([^"]+)"`)[1]
	g.admin = "http://" + g.WaitLine(`"msg":"listening","listener":"admin","address":"([^"]+)"`)[1]
	return g
}

// gwrunAlone starts gwrun with nothing but the arguments.
func (s *scene) gwrunAlone(args ...string) *gateway {
	s.t.Helper()
	t := s.t
	g := &gateway{t: t, Process: testkit.Start(t, testkit.Command{Path: programs.gwrun, Args: args, Dir: s.home, Env: s.env()})}
	t.Cleanup(func() {
		for _, sign := range []string{"DATA RACE", "panic: ", "panicked"} {
			if strings.Contains(g.Output(), sign) {
				t.Errorf("the gateway wrote %q", sign)
			}
		}
	})
	return g
}

// get returns the answer to a request; err is that of the connection.
func get(url string, header ...string) (status int, body string, err error) {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), errors.Join(err, resp.Body.Close())
}

// status asks the admin API.
func (g *gateway) status() admin.Status {
	g.t.Helper()
	code, body, err := get(g.admin+"/admin/status", "Authorization", "Bearer "+token)
	if err != nil || code != http.StatusOK {
		g.t.Fatalf("status: %d %s %v", code, body, err)
	}
	var st admin.Status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		g.t.Fatalf("status: %v\n%s", err, body)
	}
	return st
}

// served returns which version of the routes answers, 0 if none does.
func (g *gateway) served() int {
	code, body, err := get(g.url + "/app/x")
	if err != nil || code != http.StatusOK {
		return 0
	}
	return versionOf(body)
}

var versionPattern = regexp.MustCompile(`"target":"/v(\d+)/app/`)

func versionOf(echo string) (n int) {
	if m := versionPattern.FindStringSubmatch(echo); m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	return n
}

// serves waits until a version of the routes answers.
func (g *gateway) serves(version int) {
	g.t.Helper()
	testkit.Eventually(g.t, fmt.Sprintf("version %d is served (now %d)", version, g.served()), func() bool { return g.served() == version })
}

// metric returns a line of /metrics without its value, e.g. `gw_x{a="b"}`; ok is false if there is none.
func (g *gateway) metric(series string) (value string, ok bool) {
	g.t.Helper()
	code, body, err := get(g.admin + "/metrics")
	if err != nil || code != http.StatusOK {
		g.t.Fatalf("metrics: %d %v", code, err)
	}
	for line := range strings.Lines(body) {
		if value, ok = strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// shows waits for the value of a metric.
func (g *gateway) shows(series, want string) {
	g.t.Helper()
	testkit.Eventually(g.t, series+" is "+want, func() bool { v, _ := g.metric(series); return v == want })
}
