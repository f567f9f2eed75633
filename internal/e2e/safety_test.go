package e2e_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/simulate"
)

// safe is what the bad changes below are made to: a door that asks where one comes from, a limit, and a path that leads elsewhere.
const safe = `routes:
  - id: door
    matcher: { path: /door }
    target: { type: http, url: "APP" }
    policy: { ip: { allow: [192.0.2.0/24] } }
  - id: limited
    matcher: { path: /limited }
    target: { type: http, url: "APP" }
    policy: { rateLimit: { tokensPerInterval: 5, intervalMs: 60000, key: [ip] } }
  - id: old
    matcher: { path: "/old/{name}" }
    target: { type: http, url: "APP" }
    policy: { rewrite: { path: "/new/${params.name}" } }
`

// safeTests are its request tests.
const safeTests = `tests:
  - name: the door is shut
    requests:
      - { send: { url: /door, from: 203.0.113.5 }, expect: { status: 403 } }
`

// badChange is made in the clone, and taken through validate, test and apply until one of them stops it.
type badChange struct {
	name, old, new string // in the routes; old "": there are no routes
	tests          bool   // whoever made it has taken out the test that it breaks
	command        string // that stops it
	code           int    // it exits with
	says           []string
}

// badChanges are some of those of internal/corpus.
var badChanges = []badChange{
	{name: "a misspelt policy", old: "rateLimit:", new: "rateLimits:", command: "validate", code: 3, says: []string{"GW2031", "routes/safe.yaml:10:"}},
	{name: "a limit that is no number", old: "tokensPerInterval: 5", new: "tokensPerInterval: 5.5", command: "validate", code: 3, says: []string{"GW2101"}},
	{name: "two routes for the same requests", old: "path: /limited", new: "path: /door", command: "validate", code: 3, says: []string{"GW4004"}},
	{name: "a door opened", old: "    policy: { ip: { allow: [192.0.2.0/24] } }\n", new: "", command: "test", code: 3, says: []string{"the door is shut", "expected 403, got 200"}},
	{name: "a door opened, and its test taken out", old: "    policy: { ip: { allow: [192.0.2.0/24] } }\n", new: "", tests: true, command: "apply", code: 4, says: []string{`gate "doors"`, "AUTH_WEAKENED route door"}},
	{name: "a door opened further", old: "192.0.2.0/24", new: "192.0.0.0/16", command: "apply", code: 4, says: []string{`gate "doors"`, "AUTH_WEAKENED route door", "needs 2 approvals by different people, has 0"}},
	{name: "a limit taken out", old: "    policy: { rateLimit: { tokensPerInterval: 5, intervalMs: 60000, key: [ip] } }\n", new: "", command: "apply", code: 4, says: []string{`gate "uptime"`, "LIMIT_REMOVED route limited"}},
	{name: "a limit doubled", old: "tokensPerInterval: 5,", new: "tokensPerInterval: 10,", command: "apply", code: 4, says: []string{`gate "uptime"`, "LIMIT_RAISED route limited"}},
	{name: "all routes removed", tests: true, command: "apply", code: 4, says: []string{"every environment", "no route is left of 4", "maxRoutesRemovedPercent"}},
}

// safely starts a scene with the rules, and a gateway that serves it from a file.
func safely(t *testing.T, gitops string) (s *scene, to string, g *gateway, offer func(name string)) {
	t.Helper()
	s = newScene(t)
	s.rules(gitops)
	s.commit("safe", map[string]string{"routes/safe.yaml": apiVersion + strings.ReplaceAll(safe, "APP", s.app), "tests/safe.yaml": apiVersion + safeTests})
	_, to = s.folder()
	s.apply(to, "--trust", filepath.Join(s.keys, "trust.json"))
	served := filepath.Join(t.TempDir(), "site.gwb")
	offer = func(name string) { // what is in the clone, by somebody with all of the publisher's keys and no gates
		t.Helper()
		fresh := filepath.Join(t.TempDir(), name+".gwb")
		key := filepath.Join(s.keys, "release.key")
		s.ok("build", "--env", "prod", "--key", key, "--out", fresh, "--allow-dirty")
		s.ok("sign", fresh, "--key", key, "--channel-key", filepath.Join(s.keys, "channel.key"), "--channel-version", name)
		if err := os.Rename(fresh, served); err != nil {
			t.Fatal(err)
		}
	}
	offer("1")
	g = s.gwrun("--bundle", served, "--redis", "memory:")
	g.serves(1)
	return s, to, g, offer
}

// change edits the clone, without a commit.
func (s *scene) change(c *badChange) {
	s.t.Helper()
	text := ""
	if c.old != "" {
		if text = strings.ReplaceAll(safe, "APP", s.app); strings.Count(text, c.old) != 1 {
			s.t.Fatalf("%q stands in the routes %d times", c.old, strings.Count(text, c.old))
		}
		text = strings.Replace(text, c.old, c.new, 1)
	} else if err := os.Remove(filepath.Join(s.dir, "routes", "app.yaml")); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "routes", "safe.yaml"), []byte(apiVersion+text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if c.tests {
		if err := os.Remove(filepath.Join(s.dir, "tests", "safe.yaml")); err != nil {
			s.t.Fatal(err)
		}
	}
}

// undo takes the clone back to its commit.
func (s *scene) undo() {
	s.t.Helper()
	s.git(s.dir, "reset", "--quiet", "--hard")
}

// holds waits until a version is held, by a rule.
func (g *gateway) holds(version uint64, rule string) {
	g.t.Helper()
	testkit.Eventually(g.t, "version "+strconv.FormatUint(version, 10)+" is held by "+rule, func() bool {
		p := g.status().Source.Pending
		return p != nil && p.Version == version && strings.HasPrefix(p.Reason, "held: ") && strings.Contains(p.Reason, rule)
	})
}

// TestBadChanges has each bad change stopped by the command that must, and by a gateway whose publisher is in other hands.
func TestBadChanges(t *testing.T) {
	t.Parallel()
	s, to, g, offer := safely(t, "gates:\n  - { id: doors, risks: [security], approvals: 2 }\n  - { id: uptime, risks: [availability], raisePercent: 50 }")
	version := uint64(1)
	for i := range badChanges {
		c := &badChanges[i]
		s.change(c)
		for _, command := range []string{"validate", "test", "apply"} {
			args := []string{command}
			if command == "apply" {
				args = append(s.applyArgs(to), "--trust", filepath.Join(s.keys, "trust.json"), "--allow-dirty")
			}
			r := s.gwctl(args...)
			if command != c.command && r.code == 0 {
				continue
			}
			if command != c.command || r.code != c.code {
				t.Errorf("%s: gwctl %s exits with %d\n%s%s", c.name, command, r.code, r.out, r.err)
			}
			for _, want := range c.says {
				if !strings.Contains(r.out+r.err, want) {
					t.Errorf("%s: gwctl %s does not say %q\n%s%s", c.name, command, want, r.out, r.err)
				}
			}
			break
		}
		if c.command == "apply" {
			version++
			offer(strconv.FormatUint(version, 10))
			g.holds(version, c.says[0])
		}
		if code, _, err := get(g.url + "/door"); code != 403 || err != nil {
			t.Errorf("%s: the door answers %d %v", c.name, code, err)
		}
		s.undo()
	}
	version++
	s.change(&badChange{old: "tokensPerInterval: 5,", new: "tokensPerInterval: 7,"}) // within the rules
	offer(strconv.FormatUint(version, 10))
	testkit.Eventually(t, "a harmless change is served", func() bool { return g.status().Running.Version == version })
}

// TestBadChangeFoundByRequests has live requests find what no rule has a name for.
func TestBadChangeFoundByRequests(t *testing.T) {
	t.Parallel()
	s, _, g, offer := safely(t, "dryRun: { percent: 100, minRequests: 20, minDuration: 1s, maxOther: 0 }")
	s.change(&badChange{old: "/new/${params.name}", new: "/nev/${params.name}"})
	offer("2")
	g.waits("it is judged", func(why string) bool { return strings.Contains(why, "of 20 requests are judged") })
	for range 5 {
		if code, body, err := get(g.url + "/old/shoes"); code != 200 || err != nil || !strings.Contains(body, "/new/shoes") {
			t.Fatalf("old addresses: %d %s %v", code, body, err)
		}
	}
	g.waits("the difference holds it", func(why string) bool { return strings.Contains(why, "are treated otherwise") })
	r := g.status().Source.Pending.DryRun
	if r == nil || r.Ways[simulate.OtherRequest] == 0 || len(r.Routes) != 1 || r.Routes[0].Route != "old" {
		t.Errorf("report %+v", r)
	}
	if _, body, _ := get(g.url + "/old/shoes"); !strings.Contains(body, "/new/shoes") {
		t.Errorf("after the dry run: %s", body)
	}
}

// TestBadApprovers has nobody approve who may not.
func TestBadApprovers(t *testing.T) {
	t.Parallel()
	s, to, _, _ := safely(t, "gates: [{ id: doors, risks: [security] }]")
	trust := filepath.Join(s.keys, "trust.json")
	s.change(&badChange{old: "192.0.2.0/24", new: "192.0.0.0/16"})
	apply := append(s.applyArgs(to), "--trust", trust, "--allow-dirty")
	digest := digestPattern.FindString(s.exits(4, apply...).err)
	stranger := filepath.Join(s.keygen("--role", "approver", "--name", "eve"), "eve.key")
	for _, c := range []struct{ name, key string }{
		{"a release key", filepath.Join(s.keys, "release.key")}, {"the channel key", filepath.Join(s.keys, "channel.key")}, {"a key nobody knows", stranger},
	} {
		s.exits(6, "approve", digest, "--env", "prod", "--to", to, "--trust", trust, "--key", c.key, "--reason", c.name)
		s.exits(4, apply...)
	}
	s.approve(digest, to, s.approver("ada"))
	s.ok(apply...)
}
