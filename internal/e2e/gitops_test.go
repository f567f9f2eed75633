package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/simulate"
)

var digestPattern = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// rules commits what the environment asks of changes.
func (s *scene) rules(gitops string) {
	s.t.Helper()
	s.commit("rules", map[string]string{"environments/prod/prod.yaml": apiVersion + "gateway:\n  gitops:\n    " + strings.ReplaceAll(strings.TrimSpace(gitops), "\n", "\n    ") + "\n"})
}

// approver makes a key of somebody who may approve.
func (s *scene) approver(name string) string {
	s.t.Helper()
	s.ok("keygen", "--out", s.keys, "--role", "approver", "--name", name, "--trust", filepath.Join(s.keys, "trust.json"))
	return filepath.Join(s.keys, name+".key")
}

func (s *scene) approve(digest, to, key string, extra ...string) {
	s.t.Helper()
	s.ok(append([]string{"approve", digest, "--env", "prod", "--to", to, "--trust", filepath.Join(s.keys, "trust.json"), "--key", key, "--reason", "a test"}, extra...)...)
}

// doors is a route that asks for an address, or one that does not.
func (s *scene) doors(guarded bool) {
	s.t.Helper()
	policy := ""
	if guarded {
		policy = "    policy: { ip: { allow: [192.0.2.0/24] } }\n"
	}
	s.commit("doors", map[string]string{"routes/doors.yaml": apiVersion + fmt.Sprintf("routes:\n  - id: doors\n    matcher: { path: /doors/* }\n    target: { type: http, url: %q }\n%s", s.app, policy)})
}

func (g *gateway) waits(what string, is func(why string) bool) {
	g.t.Helper()
	testkit.Eventually(g.t, what, func() bool {
		p := g.status().Source.Pending
		return p != nil && is(p.Reason)
	})
}

// TestGatesHold has a change held by the publisher, and by the gateway where the publisher is in other hands; and let go by approvals.
func TestGatesHold(t *testing.T) {
	s := newScene(t)
	ada, bob := s.approver("ada"), s.approver("bob")
	trust := filepath.Join(s.keys, "trust.json")
	s.rules("gates: [{ id: doors, risks: [security], approvals: 2 }]")
	s.doors(true)
	dir, to := s.folder()
	s.apply(to, "--trust", trust)
	g := s.gwrun("--bundle", to)
	g.serves(1)
	if code, _, err := get(g.url + "/doors/x"); code != 403 || err != nil {
		t.Fatalf("a guarded door: %d %v", code, err)
	}

	s.doors(false)
	held := s.exits(4, append(s.applyArgs(to), "--trust", trust)...)
	if !strings.Contains(held.err, `gate "doors"`) || !strings.Contains(held.err, "routes/doors.yaml:") {
		t.Errorf("apply said\n%s", held.err)
	}
	digest := digestPattern.FindString(held.err)

	// Whoever has both of the publisher's keys, and no gates, publishes it all the same.
	forged := filepath.Join(t.TempDir(), "forged")
	if err := os.CopyFS(forged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.rules("{}") // the gates are gone from the repository, and nothing is published at the new place that would hold this
	stolen := filepath.Join(t.TempDir(), "stolen.gwb")
	s.ok("build", "--env", "prod", "--key", filepath.Join(s.keys, "release.key"), "--out", stolen)
	s.ok("sign", stolen, "--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key"), "--channel-version", "9")
	victim := filepath.Join(t.TempDir(), "site.gwb")
	fine := filepath.Join(t.TempDir(), "fine.gwb")
	s.git(s.dir, "checkout", "--quiet", "HEAD~2")
	s.ok("build", "--env", "prod", "--key", filepath.Join(s.keys, "release.key"), "--out", fine)
	s.ok("sign", fine, "--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key"), "--channel-version", "8")
	s.git(s.dir, "checkout", "--quiet", "main")
	if err := os.Rename(fine, victim); err != nil {
		t.Fatal(err)
	}
	v := s.gwrun("--bundle", victim)
	v.serves(1)
	if err := os.Rename(stolen, victim); err != nil {
		t.Fatal(err)
	}
	v.waits("the gateway holds what its publisher should have", func(why string) bool {
		return strings.HasPrefix(why, `held: gate "doors" (0 of 2 approvals)`)
	})
	if code, _, err := get(v.url + "/doors/x"); code != 403 || err != nil {
		t.Errorf("a door after a forged publication: %d %v", code, err)
	}
	rules := v.status().Source.Pending.Rules
	if len(rules) != 1 || len(rules[0].Risks) < 2 || rules[0].Needed != 2 || rules[0].Risks[0].Pos.File == "" {
		t.Errorf("rules %+v", rules)
	}

	// Two people approve; then the publisher publishes, and gateways follow.
	s.git(s.dir, "checkout", "--quiet", "HEAD~1")
	s.approve(digest, to, ada)
	s.exits(4, append(s.applyArgs(to), "--trust", trust)...)
	s.approve(digest, to, bob)
	s.ok(append(s.applyArgs(to), "--trust", trust, "--wait", "--gateway", g.admin)...)
	if code, _, err := get(g.url + "/doors/x"); code != 200 || err != nil {
		t.Errorf("a door that was opened by two: %d %v", code, err)
	}
	g.WaitLine(`"msg":"a change is approved".*"keys":\[`)

	// Back: nothing holds it, and nobody publishes over it unseen.
	s.ok("rollback", "--env", "prod", "--to", to, "--trust", trust, "--channel-key", filepath.Join(s.keys, "channel.key"), "--reason", "open doors", "--wait", "--gateway", g.admin)
	if code, _, err := get(g.url + "/doors/x"); code != 403 || err != nil {
		t.Errorf("a door after the rollback: %d %v", code, err)
	}
	if said := s.exits(4, append(s.applyArgs(to), "--trust", trust)...).err; !strings.Contains(said, "open doors") {
		t.Errorf("apply over a hold said %q", said)
	}
}

// TestAccidentsAreHeld has a gateway without any rule of its own hold a bundle after which nobody is asked for a credential, as only
// whoever has the publisher's keys can offer it, and take one that changes little.
func TestAccidentsAreHeld(t *testing.T) {
	s := newScene(t)
	door := func(policy string) {
		s.commit("door", map[string]string{"routes/doors.yaml": apiVersion + fmt.Sprintf("routes:\n  - id: doors\n    matcher: { path: /doors/* }\n    target: { type: http, url: %q }\n%s", s.app, policy)})
	}
	at := filepath.Join(t.TempDir(), "site.gwb")
	offer := func(version int) {
		t.Helper()
		beside := filepath.Join(t.TempDir(), "next.gwb")
		s.ok("build", "--env", "prod", "--key", filepath.Join(s.keys, "release.key"), "--out", beside)
		s.ok("sign", beside, "--key", filepath.Join(s.keys, "release.key"), "--channel-key", filepath.Join(s.keys, "channel.key"), "--channel-version", fmt.Sprint(version))
		if err := os.Rename(beside, at); err != nil {
			t.Fatal(err)
		}
	}
	door("    policy: { auth: { jwt: { issuer: \"https://id.test\", audience: api, secretRef: \"env:JWT\", algorithms: [HS256] } } }\n")
	offer(1)
	s.extra = []string{"JWT=" + strings.Repeat("k", 32)}
	g := s.gwrun("--bundle", at)
	g.serves(1)
	s.version(2)
	offer(2)
	g.serves(2)
	door("")
	offer(3)
	g.waits("the open doors are held", func(why string) bool {
		return strings.HasPrefix(why, "held: every environment (0 of 1 approvals): no route asks for a credential any more")
	})
	if code, _, err := get(g.url + "/doors/x"); code != 401 || err != nil {
		t.Errorf("a door: %d %v", code, err)
	}
}

// TestDryRun has live requests judge a new version before it may serve.
func TestDryRun(t *testing.T) {
	s := newScene(t)
	ada := s.approver("ada")
	s.rules("dryRun: { percent: 100, minRequests: 40, minDuration: 1s }")
	s.doors(false)
	_, to := s.folder()
	s.apply(to)
	g := s.gwrun("--bundle", to, "--state", t.TempDir())
	g.serves(1)
	traffic := func(times int, paths ...string) {
		t.Helper()
		for range times {
			for _, path := range paths {
				if code, body, err := get(g.url + path); code != 200 || err != nil {
					t.Fatalf("%s: %d %s %v", path, code, body, err)
				}
			}
		}
	}

	// Nobody is asked for a credential who was not: the routes change, and after forty requests they are live.
	s.version(2)
	s.apply(to)
	g.waits("the new version is judged", func(why string) bool { return strings.Contains(why, "of 40 requests are judged") })
	traffic(1, "/app/x")
	if v := g.served(); v != 1 {
		t.Errorf("version %d is served during the dry run", v)
	}
	traffic(40, "/app/x", "/doors/x")
	g.serves(2)
	if p := g.status().Source.Pending; p != nil {
		t.Errorf("it waits although it serves: %+v", p)
	}

	// A door that closes for those who pass now is found by the first of them.
	s.doors(true)
	held := s.ok(s.applyArgs(to)...)
	digest := digestPattern.FindString(held.out)
	g.waits("the new version is judged", func(why string) bool { return strings.Contains(why, "of 40 requests are judged") })
	traffic(25, "/app/x", "/doors/x?token=secret")
	g.waits("the difference holds it", func(why string) bool { return strings.Contains(why, "are refused that pass now") })
	r := g.status().Source.Pending.DryRun
	if r == nil || r.Ways[simulate.AllowToDeny] == 0 || len(r.Routes) != 1 || r.Routes[0].Route != "doors" {
		t.Fatalf("report %+v", r)
	}
	w := r.Routes[0].Witnesses[0]
	if w.Path != "/doors/x" || w.After.Text != "403 ip_denied by ip on route doors" || w.After.Pos.String() != "routes/doors.yaml:6:19" || w.Before.Route != "doors" {
		t.Errorf("witness %+v", w)
	}
	if code, _, err := get(g.url + "/doors/x"); code != 200 || err != nil {
		t.Errorf("a door during the dry run: %d %v", code, err)
	}

	// It is meant: somebody says so.
	current := g.status().Running.Digest
	s.approve(digest, to, ada, "--skip-dry-run", "--base", current)
	testkit.Eventually(t, "the approved version serves", func() bool {
		code, _, err := get(g.url + "/doors/x")
		return code == 403 && err == nil
	})
}

// deliver sends a webhook as a forge does, and returns the status and the code of the answer.
func (g *gateway) deliver(hook, secret, delivery, body string) (int, string) {
	g.t.Helper()
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	req, err := http.NewRequest(http.MethodPost, g.admin+"/admin/webhooks/"+hook, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "X-Gitea-Event": "push", "X-Gitea-Delivery": delivery, "X-Gitea-Signature": hex.EncodeToString(mac.Sum(nil)),
	} {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Code string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, answer.Code
}

// TestWebhook has a gateway that polls once in ten minutes look at once, when a forge says so and nobody else.
func TestWebhook(t *testing.T) {
	const secret = "a-secret-of-the-forge-and-us"
	s := newScene(t)
	s.rules(fmt.Sprintf("webhooks: [{ id: forge, provider: gitea, secretRefs: [\"env:HOOK_SECRET\"], repository: %q, refs: [main] }]", s.repo.URL))
	bundles := "git+" + s.host.Create("bundles", map[string]string{"README.md": "bundles"}).URL + "#live"
	s.apply(bundles)
	s.extra = []string{"HOOK_SECRET=" + secret}
	redis := testkit.Redis(t)
	g := s.gwrun("--bundle", bundles, "--poll", "10m", "--redis", redis.URL)
	other := s.gwrun("--bundle", bundles, "--poll", "10m", "--redis", redis.URL)
	g.serves(1)
	other.serves(1)
	s.version(2)
	s.apply(bundles)

	push := fmt.Sprintf(`{"ref":"refs/heads/main","after":"%040d","repository":{"clone_url":%q},"filler":%q}`, 1, s.repo.URL, strings.Repeat("x", 200_000))
	if status, code := g.deliver("forge", "a-secret-of-somebody-else-99", "1", push); status != 401 || code != "webhook_signature_invalid" {
		t.Errorf("signed by somebody else: %d %s", status, code)
	}
	if status, code := g.deliver("other", secret, "2", push); status != 404 || code != "webhook_unknown" {
		t.Errorf("a hook there is not: %d %s", status, code)
	}
	if status, code := g.deliver("forge", secret, "3", strings.Replace(push, "heads/main", "heads/topic", 1)); status != 202 || code == "webhook_accepted" {
		t.Errorf("another branch: %d %s", status, code)
	}
	if v := g.served(); v != 1 {
		t.Errorf("version %d is served before the forge has spoken", v)
	}
	if status, code := g.deliver("forge", secret, "5", push); status != 202 || code != "webhook_accepted" {
		t.Errorf("the forge: %d %s", status, code)
	}
	if status, code := g.deliver("forge", secret, "5", push); status != 202 || code != "webhook_duplicate" {
		t.Errorf("the same delivery again: %d %s", status, code)
	}
	g.serves(2)
	other.serves(2) // the forge has spoken to one of them
	g.shows(`gw_webhook_deliveries_total{code="webhook_accepted",webhook="forge"}`, "1")
	if strings.Contains(g.Output(), secret) || strings.Contains(g.Output(), "xxxxxxxx") {
		t.Error("the log holds what was sent")
	}
}

// TestAudit keeps a trail of what was done to a gateway, and finds a line that somebody has changed.
func TestAudit(t *testing.T) {
	s, redis := newScene(t), testkit.Redis(t)
	trust := filepath.Join(s.keys, "trust.json")
	s.ok("keygen", "--out", s.keys, "--role", "audit", "--trust", trust)
	s.rules("gates: [{ id: doors, risks: [security] }]")
	s.doors(true)
	_, to := s.folder()
	s.apply(to)
	dir := filepath.Join(t.TempDir(), "trail")
	s.extra = []string{"GWRUN_REDIS=" + redis.URL, "GWRUN_API_KEY_PEPPER=" + strings.Repeat("p", 32)}
	g := s.gwrun("--bundle", to, "--audit", dir, "--audit-key", filepath.Join(s.keys, "audit.key"))
	g.serves(1)
	s.version(2)
	s.apply(to)
	g.serves(2)
	key := strings.TrimSpace(s.ok("keys", "create", "--gateway", g.admin, "--owner", "shop").out)
	if code, _, err := get(g.admin+"/admin/status", "Authorization", "Bearer not-the-token-0123456789"); code != 401 || err != nil {
		t.Errorf("a wrong token: %d %v", code, err)
	}
	g.shows("gw_audit_failures_total", "0")
	g.Stop()

	said := s.ok("audit", "verify", dir, "--trust", trust).out
	shown := s.ok("audit", "show", dir).out
	for _, want := range []string{"activation", "key.create", "audit.start", "audit.stop"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the trail does not tell of %s:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, key) || strings.Contains(shown, token) || strings.Contains(shown, "not-the-token") {
		t.Error("the trail holds a secret")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(data), `"key.create"`) {
			continue
		}
		changed = true
		if err := os.WriteFile(f, []byte(strings.Replace(string(data), `"key.create"`, `"key.rotate"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !changed {
		t.Fatalf("no file tells of the key: %q\n%s", files, said)
	}
	s.exits(6, "audit", "verify", dir, "--trust", trust)
}

// TestLogin has a person log in, do what her role permits, and be refused what it does not.
func TestLogin(t *testing.T) {
	s := newScene(t)
	if err := os.WriteFile(filepath.Join(s.home, "password"), []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hash := strings.TrimSpace(s.ok("login", "--hash-password", "--password-file", filepath.Join(s.home, "password")).out)
	s.commit("people", map[string]string{"environments/prod/prod.yaml": apiVersion + "gateway:\n  admin:\n    users: [{ name: ann, passwordHash: \"env:ANN\", roles: [viewer] }]\n"})
	_, to := s.folder()
	s.apply(to)
	s.extra = []string{"ANN=" + hash, "GWRUN_REDIS=memory:", "GWRUN_API_KEY_PEPPER=" + strings.Repeat("p", 32)}
	g := s.gwrun("--bundle", to)
	g.serves(1)
	s.extra = append(s.extra, "GWRUN_ADMIN_TOKEN=") // the people have none
	s.exits(4, "status", "--gateway", g.admin)
	s.ok("login", "--gateway", g.admin, "--user", "ann", "--password-file", filepath.Join(s.home, "password"))
	if out := s.ok("status", "--gateway", g.admin).out; !strings.Contains(out, "1.1") {
		t.Errorf("status said %q", out)
	}
	if said := s.exits(4, "keys", "create", "--gateway", g.admin, "--owner", "shop").err; !strings.Contains(said, "keys:create") {
		t.Errorf("a viewer who makes keys: %q", said)
	}
	s.ok("logout", "--gateway", g.admin)
	s.exits(4, "status", "--gateway", g.admin)
	if strings.Contains(g.Output(), "battery") || strings.Contains(g.Output(), "argon2id") {
		t.Error("the log holds a password, or its hash")
	}
}
