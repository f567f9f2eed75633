package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
)

// class returns how a class of drift is.
func (g *gateway) class(name string) admin.DriftClass {
	g.t.Helper()
	if d := g.status().Drift; d != nil {
		for _, c := range d.Classes {
			if c.Class == name {
				return c
			}
		}
	}
	return admin.DriftClass{Class: name, Unknown: true}
}

// becomes waits for what a class of drift says.
func (g *gateway) becomes(class, detail string, detected bool) admin.DriftClass {
	g.t.Helper()
	var c admin.DriftClass
	testkit.Eventually(g.t, fmt.Sprintf("drift of %s: %q, %t", class, detail, detected), func() bool {
		c = g.class(class)
		return strings.HasPrefix(c.Detail, detail) && c.Detected == detected
	})
	return c
}

// TestFleet has three gateways see each other through Redis: when they agree, when one is held back, when one ends without a word, when
// somebody writes nonsense, and when Redis is away.
func TestFleet(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	redis := testkit.Redis(t)
	_, to := s.folder()
	s.apply(to)
	a := s.gwrun("--bundle", to, "--redis", redis.URL)
	b := s.gwrun("--bundle", to, "--redis", redis.URL)
	c := s.gwrun("--bundle", to, "--redis", redis.URL, "--sync", "dry-run") // the first version is activated in every mode
	for _, g := range []*gateway{a, b, c} {
		g.becomes("fleet", "3 of 3 run 1.1", false)
	}
	a.shows("gw_fleet_instances", "3")
	a.shows("gw_fleet_digests", "1")
	a.shows(`gw_drift_detected{class="fleet"}`, "0")
	held := c.status().Instance
	said := s.ok("status", "--gateway", a.admin, "--gateway", b.admin).out
	if !strings.HasPrefix(said, a.admin+": prod, 3 of 3 run 1.1 sha256:") || strings.Contains(said, b.admin) || strings.Count(said, "\n  "+hostOf(held)) != 3 {
		t.Errorf("gwctl status:\n%s", said)
	}

	// One is held back, by the way it was started.
	s.version(2)
	wait := s.exits(1, s.applyArgs(to, "--wait", "--gateway", a.admin, "--wait-timeout", "10s")...)
	if !strings.Contains(wait.err, "gwctl: "+held+": sync is in dry-run; it verifies and builds\n") ||
		!strings.HasSuffix(wait.err, "gwctl: waiting for 1.2 ran out after 10s\n") {
		t.Errorf("apply --wait said\n%s", wait.err)
	}
	drift := a.becomes("fleet", "2 of 3 run 1.2", true)
	if len(drift.Details) != 1 || !strings.HasPrefix(drift.Details[0], held+" runs 1.1 ") || !strings.HasSuffix(drift.Details[0], "; 1.2 waits: sync is in dry-run; it verifies and builds") {
		t.Errorf("details %q", drift.Details)
	}
	a.shows(`gw_drift_detected{class="fleet"}`, "1")
	a.shows("gw_fleet_digests", "2")
	a.shows("gw_bundle_pending", "0")
	c.shows("gw_bundle_pending", "1")
	c.shows(`gw_bundle_held{rule="sync"}`, "1")
	c.shows(`gw_bundle_held{rule="gate"}`, "0")
	b.becomes("fleet", "2 of 3 run 1.2", true)
	if said := s.ok("status", "--gateway", b.admin).out; !strings.Contains(said, "2 of 3 run 1.2") || !strings.Contains(said, "drift of fleet: 2 of 3 run 1.2\n    "+held+" runs 1.1 ") {
		t.Errorf("gwctl status:\n%s", said)
	}
	if said := s.ok("status", "--gateway", b.admin, "--fleet=false").out; !strings.Contains(said, "1 of 1 run 1.2") {
		t.Errorf("gwctl status --fleet=false:\n%s", said)
	}

	// It ends without a word, and is forgotten; the others agree.
	c.Kill()
	a.becomes("fleet", "2 of 2 run 1.2", false)
	s.version(3)
	if said := s.ok(s.applyArgs(to, "--wait", "--gateway", a.admin)...).err; !strings.HasSuffix(said, "gwctl: 2 of 2 gateways run 1.3\n") {
		t.Errorf("apply --wait said\n%s", said)
	}

	// Whoever can write to Redis cannot pass for a gateway of another name, nor reach a terminal.
	own := redisReport("x", "\\u001b[2J")
	redis.Do("HSET", "gw:fleet:prod", "evil", own, "x", own)
	a.becomes("fleet", "2 of 2 run 1.3; 2 reports of gateways that cannot be read", false)
	a.WaitLine(`"msg":"something in Redis is no report of a gateway"`)

	// Redis is away: nobody claims to know.
	redis.Stop()
	away := a.becomes("fleet", "the other gateways cannot be seen: ", false)
	if st := a.status(); !away.Unknown || st.Fleet != nil {
		t.Errorf("while Redis is away: %+v, fleet %+v", away, st.Fleet)
	}
	if v, ok := a.metric("gw_fleet_instances"); ok {
		t.Errorf("gw_fleet_instances is %s", v)
	}
	if said := s.ok("status", "--gateway", a.admin).out; !strings.Contains(said, "1 of 1 run 1.3") || !strings.Contains(said, "drift of fleet is not known: the other gateways cannot be seen: ") {
		t.Errorf("gwctl status:\n%s", said)
	}
	redis.Restart()
	a.becomes("fleet", "2 of 2 run 1.3", false)
	if code := b.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	a.becomes("fleet", "1 of 1 run 1.3", false) // who leaves says so
}

// hostOf is the part of a gateway's name that those of one machine share.
func hostOf(instance string) string { return instance[:strings.LastIndexByte(instance, '-')+1] }

// redisReport is what the gateway of a name could say, at a time that is always now.
func redisReport(name, mode string) string {
	return fmt.Sprintf(`%d:{"instance":%q,"environment":"prod","mode":"%s","version":0,"epoch":0,"digest":"","commit":""}`, time.Now().UnixMilli(), name, mode)
}

// TestTrustDrift changes the trust file under a gateway that runs: it says so, serves on, and reloads nothing.
func TestTrustDrift(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	s.apply(to, "--expires", "1h")
	g := s.gwrun("--bundle", to)
	g.serves(1)
	g.becomes("trust", "the channel expires in 59 minutes", false)
	g.becomes("fleet", "gateways see each other through Redis, and none is configured", false)
	g.becomes("source", "no repository to compare with", false)
	g.becomes("live", "no overlays", false)
	if st := g.status(); len(st.Drift.Classes) != 4 || st.Drift.Trust.Keys == nil || len(st.Drift.Trust.Keys.Release) != 1 || len(st.Drift.Trust.Keys.Channel) != 1 {
		t.Errorf("drift %+v", st.Drift)
	}
	if v, ok := g.metric("gw_channel_expires_seconds"); !ok || !strings.HasPrefix(v, "35") {
		t.Errorf("the channel expires in %s s", v)
	}
	g.shows(`gw_drift_detected{class="trust"}`, "0")
	if v, ok := g.metric(`gw_drift_detected{class="fleet"}`); ok {
		t.Errorf("the drift of a fleet nobody sees is %s", v)
	}

	trust := filepath.Join(s.keys, "trust.json")
	before, err := os.ReadFile(trust)
	if err != nil {
		t.Fatal(err)
	}
	others, err := os.ReadFile(filepath.Join(s.keygen(), "trust.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trust, others, 0o600); err != nil {
		t.Fatal(err)
	}
	g.becomes("trust", "trust.json, as it is now, refuses what runs: key_unknown: the channel is signed by key ", true)
	g.shows(`gw_drift_detected{class="trust"}`, "1")
	if v := g.served(); v != 1 {
		t.Errorf("version %d is served", v)
	}
	s.version(2)
	s.apply(to) // with the keys that this gateway has believed since its start
	g.serves(2)
	g.becomes("trust", "trust.json, as it is now, refuses what runs: key_unknown: ", true)
	if said := s.ok("status", "--gateway", g.admin).out; !strings.Contains(said, "drift of trust: trust.json, as it is now, refuses what runs: key_unknown: ") {
		t.Errorf("gwctl status:\n%s", said)
	}
	if err := os.WriteFile(trust, before, 0o600); err != nil {
		t.Fatal(err)
	}
	g.becomes("trust", "the channel expires in 6 days", false)
}
