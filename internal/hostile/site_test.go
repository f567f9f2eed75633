package hostile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// What every site is started with.
const (
	adminToken = "hostile-admin-0123456789abcdef"
	pepper     = "hostile-pepper-0123456789abcdefghij"
)

// programs are built once: a build that finds nothing to do takes as long as a test.
var programs struct {
	once         sync.Once
	gwctl, gwrun string
}

func buildPrograms(t *testing.T) {
	t.Helper()
	programs.once.Do(func() { programs.gwctl, programs.gwrun = testkit.Binary(t, "gwctl"), testkit.Binary(t, "gwrun") })
	if programs.gwrun == "" {
		t.Fatal("the programs could not be built")
	}
}

// plan is what a site is made of. In its files, {open} and {guarded} stand for the addresses of the upstreams.
type plan struct {
	listeners string // beside those of every gateway; {third} stands for an address
	settings  string // of the gateway
	files     map[string]string
	scripts   func(path string) script
	redis     string   // URL; "": the site starts a server of its own
	env       []string // of gwrun
}

// site is a gateway as it runs in production: from a signed bundle, with a Redis, a pepper, and an admin API behind a token. It knows
// what must never show, and sees to it in the end.
type site struct {
	*gateway
	redis *testkit.RedisServer // nil: the plan has brought its own
	admin string               // address
	third string               // address of the listener that the plan adds
	run   testkit.Command      // with everything but the listeners

	mu      sync.Mutex
	secrets map[string]string // what it is, by its beginning
	said    strings.Builder   // the bodies of all answers
}

func startSite(t *testing.T, p plan) *site {
	t.Helper()
	buildPrograms(t)
	s := &site{gateway: newGateway(t, p.scripts), secrets: map[string]string{}}
	s.keep("the admin token", adminToken)
	s.keep("the pepper", pepper)
	if p.redis == "" {
		s.redis = testkit.Redis(t)
		p.redis = s.redis.URL
	}
	last := "secure"
	if p.listeners != "" {
		last = "third"
	}
	for range attempts {
		s.plain, s.secure, s.third = testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t)
		bundle, trust := s.publish(t, &p)
		s.run = testkit.Command{
			Path: programs.gwrun,
			Args: []string{"--bundle", bundle, "--trust", trust, "--env", "prod", "--redis", p.redis, "--admin", "127.0.0.1:0", "--log-level", "debug"},
			Env:  append([]string{"GWRUN_ADMIN_TOKEN=" + adminToken, "GWRUN_API_KEY_PEPPER=" + pepper}, p.env...),
		}
		if s.start(t, last) {
			return s
		}
	}
	t.Fatal("no free ports")
	return nil
}

// attempts is how often a gateway is started. All these tests connect to one another, and each connection takes a port that another one
// has only just found to be free.
const attempts = 5

// start runs a gateway until its last listener is open, and sees in the end that it has kept its secrets, and had no panic. It reports
// false if somebody else has one of its ports.
func (s *site) start(t *testing.T, last string) bool {
	t.Helper()
	s.process = testkit.Start(t, s.run)
	s.admin = s.process.WaitLine(`"msg":"listening","listener":"admin","address":"([^"]+)"`)[1]
	if s.process.WaitLine(`"msg":"listening","listener":"` + last + `"|address already in use`)[0] == "address already in use" {
		return false
	}
	s.process.WaitLine(`"msg":"activated"`) // which comes later where the listeners are not those of the bundle
	t.Cleanup(func() { s.keptSilent(t) })
	return true
}

// another starts a gateway with the same bundle and the same Redis, in the clear and for HTTP/1.1 alone. What it says counts for the
// site, too.
func (s *site) another(t *testing.T) *site {
	t.Helper()
	o := &site{gateway: newGateway(t, nil), redis: s.redis, run: s.run, secrets: s.secrets}
	o.open, o.guarded = s.open, s.guarded
	for range attempts {
		o.plain = testkit.FreePort(t)
		o.run.Args = append(append([]string(nil), s.run.Args...), "--listen", o.plain)
		if o.start(t, o.plain) {
			return o
		}
	}
	t.Fatal("no free port")
	return nil
}

// publish compiles and signs the files of a plan.
func (s *site) publish(t *testing.T, p *plan) (bundle, trust string) {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	keys := filepath.Join(out, "keys")
	bundle, trust = filepath.Join(out, "site.gwb"), filepath.Join(keys, "trust.json")
	_, port, _ := net.SplitHostPort(s.guarded.addr)
	at := strings.NewReplacer("{open}", s.open.addr, "{guarded}", s.guarded.addr, "{guarded-port}", port, "{third}", s.third)
	files := map[string]string{
		"gateway.yaml":                s.settings(at.Replace(p.listeners) + "  admin: { apiEnabled: true, secretsManagementEnabled: true }\n  accessLog: { enabled: true }\n" + p.settings),
		"environments/prod/prod.yaml": "",
		"routes/everything.yaml":      at.Replace("routes:\n  - { id: everything, matcher: { path: /* }, target: { type: http, url: \"http://{open}\" } }\n"),
	}
	for name, text := range p.files {
		files[name] = at.Replace(text)
	}
	writeConfig(t, dir, files)
	gwctl(t, 0, "keygen", "--out", keys)
	gwctl(t, 0, "build", dir, "--env", "prod", "--key", filepath.Join(keys, "release.key"), "--out", bundle, "--allow-dirty", "--no-cache")
	gwctl(t, 0, "sign", bundle, "--key", filepath.Join(keys, "release.key"), "--channel-key", filepath.Join(keys, "channel.key"))
	return bundle, trust
}

// gwctl runs a command line, wants an exit code, and returns what it has written to standard output.
func gwctl(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), programs.gwctl, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("gwctl %s: %v, want exit code %d\n%s%s", strings.Join(args, " "), err, code, &out, &errs)
	}
	return out.String()
}

// telltale is how much of a secret is looked for, in bytes: enough to be no accident.
const telltale = 16

// keep notes what must never show.
func (s *site) keep(what, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(secret) >= telltale { // anything shorter is no secret
		s.secrets[secret[:telltale]] = what
	}
}

// heard keeps the body of an answer, for the end.
func (s *site) heard(body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.WriteString(body)
	s.said.WriteByte('\n')
}

// keptSilent looks for secrets in everything the gateway has said.
func (s *site) keptSilent(t *testing.T) {
	t.Helper()
	metrics := s.metrics(t)
	if !strings.Contains(metrics, "\ngw_panics_total 0\n") || strings.Contains(s.process.Output(), "panic") {
		t.Error("the gateway has panicked")
	}
	status := ""
	for _, path := range []string{"/admin/status", "/admin/keys?limit=1000", "/admin/config/routes", "/admin/upstreams", "/admin/secrets", "/admin/bundle"} {
		_, text := s.manage(t, http.MethodGet, path, nil, nil)
		status += text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for where, text := range map[string]string{"its output": s.process.Output(), "its metrics": metrics, "its answers": s.said.String(), "its admin API": status} {
		for i := range len(text) - telltale {
			if what, found := s.secrets[text[i:i+telltale]]; found {
				t.Errorf("%s is in %s, behind %q", what, where, text[max(0, i-200):i])
			}
		}
	}
}

// metrics are all of the gateway's.
func (s *site) metrics(t *testing.T) string {
	t.Helper()
	status, body := s.manage(t, http.MethodGet, "/metrics", nil, nil)
	if status != http.StatusOK {
		t.Fatalf("metrics: %d", status)
	}
	return body
}

// metric is the value of one series, such as `gw_x_total{a="b"}`, 0 if it is not there.
func (s *site) metric(t *testing.T, series string) (value float64) {
	t.Helper()
	_, after, _ := strings.Cut("\n"+s.metrics(t), "\n"+series+" ")
	_, _ = fmt.Sscan(after, &value)
	return value
}

// manage asks the admin API, with its token, and decodes the answer if into is not nil.
func (s *site) manage(t *testing.T, method, path string, order, into any) (status int, body string) {
	t.Helper()
	var send io.Reader = http.NoBody
	if order != nil {
		text, err := json.Marshal(order)
		if err != nil {
			t.Fatal(err)
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://"+s.admin+path, send) //nolint:noctx // it is also called when the context of the test has ended
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, text, err)
		}
	}
	return resp.StatusCode, string(text)
}

// undisturbed asks until Redis has answered everything in time: on a busy machine it may not, and the gateway does without it.
func (s *site) undisturbed(t *testing.T, ask func() []string) (answers []string) {
	t.Helper()
	testkit.Eventually(t, "Redis answers everything in time", func() bool {
		before := s.disturbances(t)
		answers = ask()
		return s.disturbances(t) == before
	})
	return answers
}

// disturbances is how many questions Redis has not answered.
func (s *site) disturbances(t *testing.T) (n float64) {
	t.Helper()
	for line := range strings.Lines(s.metrics(t)) {
		if rest, found := strings.CutPrefix(line, "gw_state_errors_total{"); found {
			var one float64
			_, value, _ := strings.Cut(rest, "} ")
			_, _ = fmt.Sscan(value, &one)
			n += one
		}
	}
	return n
}
