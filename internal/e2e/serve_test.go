package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
)

// servant is a running gwctl serve.
type servant struct {
	*testkit.Process
	t   *testing.T
	url string
}

const hookSecret = "a secret of the forge"

// serveArgs publishes prod with the team's keys, from the team's repository.
func (s *scene) serveArgs(to string, extra ...string) []string {
	return append([]string{
		"serve", "--repo", s.repo.URL, "--env", "prod", "--to", to, "--trust", filepath.Join(s.keys, "trust.json"),
		"--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key"), "--poll", "1s",
	}, extra...)
}

// serve starts a publisher that takes webhooks.
func (s *scene) serve(to string, extra ...string) *servant {
	s.t.Helper()
	t := s.t
	config := filepath.Join(t.TempDir(), "serve.yaml")
	if err := os.WriteFile(config, []byte("hooks: [{ id: forge, provider: generic, secretRefs: [\"env:HOOK_SECRET\"] }]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(s.serveArgs(to, "--config", config, "--listen", "127.0.0.1:0"), extra...)
	p := &servant{t: t, Process: testkit.Start(t, testkit.Command{Path: programs.gwctl, Args: args, Dir: s.home, Env: append(s.env(), "HOOK_SECRET="+hookSecret)})}
	p.url = "http://" + p.WaitLine(`"msg":"listening","listener":"webhooks","address":"([^"]+)"`)[1]
	t.Cleanup(func() {
		for _, sign := range []string{"DATA RACE", "panic: ", hookSecret, "PRIVATE KEY"} {
			if strings.Contains(p.Output(), sign) {
				t.Errorf("the publisher wrote %q", sign)
			}
		}
	})
	return p
}

func (p *servant) status() publisher.Status {
	p.t.Helper()
	code, body, err := get(p.url + "/status")
	if err != nil || code != http.StatusOK {
		p.t.Fatalf("status: %d %s %v", code, body, err)
	}
	var st publisher.Status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		p.t.Fatalf("status: %v\n%s", err, body)
	}
	return st
}

// reaches waits until prod is in a state with a head, and returns it.
func (p *servant) reaches(state publisher.State, head string) publisher.Environment {
	p.t.Helper()
	var e publisher.Environment
	testkit.Eventually(p.t, fmt.Sprintf("%s is %s", head, state), func() bool {
		e = p.status().Environments[0]
		return e.State == state && e.Head == head
	})
	return e
}

// publishes waits until a commit is published, as a certain version of the channel.
func (p *servant) publishes(commit, version string) {
	p.t.Helper()
	e := p.reaches(publisher.Published, commit)
	if e.Published == nil || e.Published.Commit != commit || e.Published.Version != version {
		p.t.Fatalf("published %+v, want %s %s", e.Published, version, commit)
	}
}

// push sends what a forge would.
func (p *servant) push(repository, commit, secret string) (status int, body string) {
	p.t.Helper()
	payload := fmt.Sprintf(`{"repository":%q,"ref":"refs/heads/main","commit":%q}`, repository, commit)
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(payload))
	req, err := http.NewRequest(http.MethodPost, p.url+"/webhooks/forge", strings.NewReader(payload))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Signature", "sha256="+hex.EncodeToString(sum.Sum(nil)))
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer := map[string]string{}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, answer["code"]
}

// TestServe follows a team that merges: a webhook, a mistake, its mending, and gateways behind it all.
func TestServe(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	p := s.serve(to, "--poll", "1h", "--test") // so that nothing but the webhook can make it look
	p.publishes(s.repo.Head(), "1.1")
	g := s.gwrun("--bundle", to)
	g.serves(1)
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if code, body, err := get(p.url + path); code != 200 || body != want || err != nil {
			t.Errorf("%s: %d %q %v", path, code, body, err)
		}
	}

	second := s.version(2)
	begun := time.Now()
	if status, code := p.push(s.repo.URL, second, hookSecret); status != 202 || code != "webhook_accepted" {
		t.Fatalf("the webhook is answered %d %s", status, code)
	}
	p.publishes(second, "1.2")
	t.Logf("published %s after the webhook", time.Since(begun).Round(time.Millisecond))
	g.serves(2)
	if status, code := p.push(s.repo.URL, second, "another secret of somebody"); status != 401 || code != "webhook_signature_invalid" {
		t.Errorf("a forged delivery is answered %d %s", status, code)
	}

	bad := s.commit("typo", map[string]string{"routes/app.yaml": strings.Replace(s.routes(3), "matcher:", "macher:", 1)})
	p.push(s.repo.URL, bad, hookSecret)
	if e := p.reaches(publisher.Invalid, bad); e.Published.Commit != second || !strings.Contains(e.Diagnostics, "routes/app.yaml:4:5: error GW2031") {
		t.Errorf("a head that does not compile: %+v", e)
	}
	p.WaitLine(`"level":"ERROR","msg":"the head does not compile[^"]*","environment":"prod","commit":"` + bad)
	failing := s.commit("a test", map[string]string{
		"routes/app.yaml": s.routes(3),
		"tests/a.yaml":    apiVersion + "tests:\n  - name: nobody\n    requests: [{ send: { url: /app/x }, expect: { status: 404 } }]\n",
	})
	p.push(s.repo.URL, failing, hookSecret)
	if e := p.reaches(publisher.Invalid, failing); e.Published.Commit != second || !strings.Contains(e.Diagnostics, "nobody") || e.Candidate == "" {
		t.Errorf("a head whose test fails: %+v", e)
	}
	g.serves(2)
	mended := s.commit("mended", map[string]string{"tests/a.yaml": apiVersion + "tests:\n  - name: everybody\n    requests: [{ send: { url: /app/x }, expect: { status: 200 } }]\n"})
	p.push(s.repo.URL, mended, hookSecret)
	p.publishes(mended, "1.3")
	g.serves(3)
	for _, line := range []string{
		`gw_publisher_state{environment="prod",state="published"} 1`, `gw_publisher_published_version{environment="prod"} 3`,
		`gw_publisher_failures_total{environment="prod",reason="invalid"} 1`, `gw_publisher_failures_total{environment="prod",reason="tests"} 1`,
		`gw_publisher_webhook_deliveries_total{code="webhook_signature_invalid",webhook="forge"} 1`,
	} {
		if _, body, _ := get(p.url + "/metrics"); !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s in\n%s", line, body)
		}
	}
	if status := p.Stop(); status != 0 {
		t.Errorf("stopped with status %d", status)
	}
}

// TestServeHolds has a change approved without another push, and a rollback that nobody publishes over until somebody says so.
func TestServeHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ada := s.approver("ada")
	s.rules("gates: [{ id: doors, risks: [security] }]")
	s.doors(true)
	_, to := s.folder()
	p := s.serve(to)
	p.publishes(s.repo.Head(), "1.1")
	s.doors(false)
	open := s.repo.Head()
	e := p.reaches(publisher.Held, open)
	if len(e.Rules) != 1 || e.Rules[0].Rule != `gate "doors"` || len(e.Rules[0].Risks) == 0 || e.Rules[0].Risks[0].Pos.File != "routes/doors.yaml" {
		t.Fatalf("rules %+v", e.Rules)
	}
	how := strings.Fields(strings.NewReplacer("trust.json", filepath.Join(s.keys, "trust.json"), "approver.key", ada, `"..."`, "meant").Replace(e.Rules[0].How))
	s.ok(how[1:]...) // the command line works as it stands, with the files of whoever approves
	p.publishes(open, "1.2")
	p.WaitLine(`"msg":"published","environment":"prod","commit":"` + open + `","digest":"` + e.Candidate + `".*"approvedBy":\[`)

	s.ok("rollback", "--env", "prod", "--to", to, "--trust", filepath.Join(s.keys, "trust.json"), "--channel-key", filepath.Join(s.keys, "channel.key"), "--reason", "open doors")
	next := s.version(2)
	e = p.reaches(publisher.Held, next)
	if len(e.Rules) != 1 || e.Rules[0].Rule != "rollback" || !strings.Contains(e.Rules[0].Why, "open doors") || e.Published.Version != "1.3" || e.Published.Hold == nil {
		t.Errorf("rules %+v, published %+v", e.Rules, e.Published)
	}
	if r := s.exits(4, s.serveArgs(to, "--once")...); !strings.HasPrefix(r.out, "held prod 1.3 sha256:") {
		t.Errorf("once said %q", r.out)
	}
	s.doors(true) // mended; now it may go live again
	mended := s.repo.Head()
	p.reaches(publisher.Held, mended)
	s.apply(to, "--trust", filepath.Join(s.keys, "trust.json"), "--lift-hold")
	e = p.reaches(publisher.Published, mended)
	if e.Published.Version != "1.4" || e.Published.Hold != nil {
		t.Errorf("published %+v", e.Published)
	}
}

// TestServeOnce exits as cron wants to know it.
func TestServeOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	state := t.TempDir()
	for range 2 {
		if r := s.exits(0, s.serveArgs(to, "--once", "--state", state)...); !strings.HasPrefix(r.out, "published prod 1.1 sha256:") {
			t.Errorf("once said %q", r.out)
		}
	}
	s.commit("typo", map[string]string{"routes/app.yaml": "routes: [\n"})
	if r := s.exits(3, s.serveArgs(to, "--once", "--state", state)...); !strings.HasPrefix(r.out, "invalid prod 1.1 sha256:") {
		t.Errorf("once said %q", r.out)
	}
	s.exits(64, "serve", "--once")
	args := s.serveArgs(to, "--once")
	args[2] = s.host.URL + "/nothing.git"
	if r := s.exits(1, args...); !strings.Contains(r.err, "gwctl: fetch main: the server knows no such repository") {
		t.Errorf("once said %q", r.err)
	}
	other := s.keygen()
	s.exits(6, append(s.serveArgs(to, "--once"), "--trust", filepath.Join(other, "trust.json"))...)
}

// TestServeServersAway loses neither the head nor the place when servers go and come back.
func TestServeServersAway(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	forge, store := newGate(t, s.host.URL), newGate(t, testkit.BundleServer(t).URL)
	s.repo.URL = forge.URL + "/shop.git"
	p := s.serve(store.URL)
	p.publishes(s.repo.Head(), "1.1")
	forge.shut.Store(true)
	second := s.version(2)
	testkit.Eventually(t, "the publisher says that the repository is away", func() bool {
		return strings.Contains(p.Output(), "git repository cannot be asked")
	})
	forge.shut.Store(false)
	p.publishes(second, "1.2")
	store.shut.Store(true)
	third := s.version(3)
	if e := p.reaches(publisher.Failed, third); e.Reason != "destination" || e.Published.Version != "1.2" {
		t.Errorf("without a destination: %+v", e)
	}
	store.shut.Store(false)
	p.publishes(third, "1.3")
}

// TestServeEndlessCUE costs a compilation its time, and nothing else.
func TestServeEndlessCUE(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	p := s.serve(to, "--compile-timeout", "3s")
	p.publishes(s.repo.Head(), "1.1")
	endless := s.commit("endless", map[string]string{
		"routes/x.cue": "import \"list\"\napiVersion: \"gateway.suuupra.dev/v1\"\nroutes: [for i in list.Range(0, 1000000000, 1) {id: \"r\\(i)\"}]\n",
	})
	e := p.reaches(publisher.Failed, endless)
	if e.Reason != "compile" || e.Published.Version != "1.1" || e.NextTry == nil || e.NextTry.Before(time.Now()) {
		t.Errorf("status %+v", e)
	}
	if code, _, err := get(p.url + "/healthz"); code != 200 || err != nil {
		t.Errorf("healthz: %d %v", code, err)
	}
	mended := s.commit("mended", map[string]string{"routes/x.cue": ""})
	p.reaches(publisher.Published, mended)
}

// TestServeTwice has two publishers of the same environment: each commit is published once.
func TestServeTwice(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	both := []*servant{s.serve(to), s.serve(to)}
	for version := 1; version <= 4; version++ {
		if version > 1 {
			s.version(version)
		}
		for _, p := range both {
			p.publishes(s.repo.Head(), fmt.Sprintf("1.%d", version))
		}
	}
	published := 0
	for _, p := range both {
		published += strings.Count(p.Output(), `"msg":"published"`)
	}
	if published != 4 {
		t.Errorf("published %d times, want 4", published)
	}
}

// TestServeKilled kills a publisher before and after each thing it writes. The next one brings the head to an end, once.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var left atomic.Int64   // writes until one is caught
	var applied atomic.Bool // it is caught after it was done
	caught := make(chan struct{}, 1)
	proxy := newProxy(t, testkit.BundleServer(t).URL)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut || left.Add(-1) != 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		if applied.Load() {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		} else {
			_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection would not be noticed
		}
		caught <- struct{}{}
		<-r.Context().Done() // the publisher is dead
	}))
	t.Cleanup(func() { store.CloseClientConnections(); store.Close() })
	to, state := store.URL+"/bundles", t.TempDir()
	s.ok(s.serveArgs(to, "--once", "--state", state)...)

	version := 1
	for step, done := int64(1), false; !done; step++ {
		for _, after := range []bool{false, true} {
			version++
			commit := s.version(version)
			left.Store(step)
			applied.Store(after)
			p := testkit.Start(t, testkit.Command{Path: programs.gwctl, Args: s.serveArgs(to, "--state", state), Dir: s.home, Env: s.env()})
			testkit.Eventually(t, "a write is caught, or all is published", func() bool {
				select {
				case <-caught:
					return true
				default:
					done = strings.Contains(p.Output(), `"msg":"published"`) // it writes less than that
					return done
				}
			})
			p.Kill()
			left.Store(0)
			r := s.ok(s.serveArgs(to, "--once", "--state", state)...)
			if want := fmt.Sprintf("published prod 1.%d sha256:", version); !strings.HasPrefix(r.out, want) || !strings.Contains(r.err, commit) {
				t.Fatalf("killed at write %d (applied: %t), then %q, want %q\n%s", step, after, r.out, want, r.err)
			}
		}
		if step > 40 {
			t.Fatal("a publication does not end")
		}
	}
	g := s.gwrun("--bundle", to)
	g.serves(version)
}

// TestServeTLS has webhooks arrive over TLS, and keeps the status on a listener of its own. A certificate that is renewed is shown
// without a restart.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	issue := func() *x509.CertPool {
		t.Helper()
		authority := testkit.NewAuthority(t)
		chain, private := authority.Issue(t, testkit.Leaf{Names: []string{"127.0.0.1"}})
		for path, data := range map[string][]byte{cert: chain, key: private} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return authority.Pool
	}
	pool := issue()
	p := s.serve(to, "--tls-cert", cert, "--tls-key", key, "--admin", "127.0.0.1:0")
	public := "https://" + strings.TrimPrefix(p.url, "http://")
	p.url = "http://" + p.WaitLine(`"listener":"admin","address":"([^"]+)"`)[1]
	p.publishes(s.repo.Head(), "1.1")
	ask := func(pool *x509.CertPool, path string) int {
		t.Helper()
		c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
		resp, err := c.Get(public + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/status": 404, "/metrics": 404, "/webhooks/forge": 405, "/webhooks/none": 404} {
		if got := ask(pool, path); got != want {
			t.Errorf("%s is answered %d, want %d", path, got, want)
		}
	}
	if got := ask(issue(), "/healthz"); got != 200 {
		t.Errorf("with a new certificate: %d", got)
	}
	if r := s.exits(1, s.serveArgs(to, "--listen", "127.0.0.1:0", "--tls-cert", key, "--tls-key", cert)...); !strings.Contains(r.err, "--tls-cert and --tls-key") {
		t.Errorf("with a certificate that is none: %s", r.err)
	}
}

// TestServeAudit has the publisher keep a trail of what it published, and of what it did not.
func TestServeAudit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	trust := filepath.Join(s.keys, "trust.json")
	s.ok("keygen", "--out", s.keys, "--role", "audit", "--trust", trust)
	s.rules("gates:\n  - { id: doors, risks: [ROUTE_REMOVED], approvals: 1 }")
	trails := filepath.Join(t.TempDir(), "trails")
	p := s.serve(to, "--audit", trails, "--audit-key", filepath.Join(s.keys, "audit.key"))
	p.reaches(publisher.Published, s.doorsCommit(true))
	p.reaches(publisher.Held, s.doorsCommit(false))
	bad := s.commit("bad", map[string]string{"routes/app.yaml": "nonsense: 1\n"})
	p.reaches(publisher.Invalid, bad)
	p.Stop()
	if out := s.ok("audit", "verify", filepath.Join(trails, "prod"), "--trust", trust).out; !strings.HasPrefix(out, "ok ") {
		t.Errorf("verify: %s", out)
	}
	shown := s.ok("audit", "show", filepath.Join(trails, "prod")).out
	for _, want := range []string{"success  apply", "version=1.1", `gate "doors" (0 of 1 approvals)`, "refused  refusal", "commit=" + bad, "unknown field"} {
		if !strings.Contains(strings.ReplaceAll(shown, `\"`, `"`), want) {
			t.Errorf("the trail does not say %s:\n%s", want, shown)
		}
	}
	if r := s.exits(64, s.serveArgs(to, "--audit", trails)...); !strings.Contains(r.err, "--audit needs --audit-key") {
		t.Errorf("without a key: %s", r.err)
	}
}

// doorsCommit commits a route that is there, or not.
func (s *scene) doorsCommit(there bool) string {
	s.t.Helper()
	text := apiVersion
	if there {
		text += fmt.Sprintf("routes:\n  - id: doors\n    matcher: { path: /doors/* }\n    target: { type: http, url: %q }\n", s.app)
	}
	return s.commit("doors", map[string]string{"routes/doors.yaml": text})
}
