package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/bundle"
)

// approveLine is the command that gwctl status prints beside what waits.
var approveLine = regexp.MustCompile(`approve of it: (gwctl approve .*)`)

// judged pushes a new version of the routes, and waits until every gateway keeps it waiting for a reason.
func (r *tour) judged(message, reason string) {
	r.t.Helper()
	head := r.push(message)
	r.delivers(head)
	r.publisher.publishes(head, fmt.Sprintf("1.%d", r.goal.channel+1))
	for _, g := range r.gateways {
		g.waits("the candidate waits: "+reason, func(why string) bool { return strings.Contains(why, reason) })
	}
}

// witness wants the report of a dry run to tell of the route, and of requests that differ in a way. It returns one of them.
func (r *tour) witness(g *gateway, way simulate.Way) simulate.Difference {
	r.t.Helper()
	d := g.status().Source.Pending.DryRun
	if d != nil && len(d.Routes) == 1 && d.Routes[0].Route == "app" {
		for _, w := range d.Routes[0].Witnesses {
			if w.Way == way {
				return w
			}
		}
	}
	r.t.Fatalf("the dry run reports %+v", d)
	return simulate.Difference{}
}

// letsGo approves of what waits at the gateways, with the command that gwctl status prints.
func (r *tour) letsGo(key string, lines int) {
	r.t.Helper()
	said := r.shows(0, lines, "status", "--gateway", r.gateways[0].admin).out
	m := approveLine.FindStringSubmatch(said)
	if m == nil {
		r.t.Fatalf("no command that approves in\n%s", said)
	}
	r.expects()
	r.approves(m[1], key)
	r.live()
}

// dryRun has live requests judge what comes, until two in a row had nothing against them.
func (r *tour) dryRun() {
	r.rules = tourDryRun
	r.expects()
	r.changed("ask live requests")
	r.live()
	r.script.tells("From the next version on live requests are asked (`dryRun: { percent: 100, minRequests: 40, minDuration: 1s, cleanRuns: 2 }`): a change is judged "+
		"by the rules before it. The publisher publishes version %d, and each gateway judges what comes in by it, beside what it serves.", r.version+1)
	r.version++
	r.judged("version 4", "1 dry runs in a row were clean, 2 are asked for")
	for _, g := range r.gateways {
		if w := r.witness(g, simulate.OtherRequest); w.Path != "/app/order" || w.Method != http.MethodPost || w.After.Pos.File != "routes/app.yaml" || w.After.Route != "app" {
			r.t.Errorf("witness %+v", w)
		}
		g.shows(`gw_bundle_held{rule="dryRun"}`, "1")
	}
	r.script.tells("Nothing is against it, but it is the first in a row. So somebody has to approve of it, with the command that `gwctl status` prints:")
	r.letsGo(r.bob, 20)
	r.version++
	r.expects()
	r.changed("version 5")
	r.live()
	r.script.tells("The next one is the second in a row. It goes live by itself, once forty requests and a second have nothing against it.")
}

// refusesLiveRequests never serves.
func (r *tour) refusesLiveRequests() {
	r.limit = 5
	r.judged("a limit of five", "are refused that pass now")
	r.goal.channel++ // published, and nowhere live
	r.keptOut = fmt.Sprintf("1.%d", r.goal.channel)
	for _, g := range r.gateways {
		w := r.witness(g, simulate.AllowToDeny)
		if w.After.Text != "429 rate_limited by rateLimit on route app" || w.After.Pos.File != "routes/app.yaml" || w.After.Pos.Line != 6 || w.Before.Code != "" {
			r.t.Errorf("witness %+v", w)
		}
	}
	w := r.witness(r.gateways[0], simulate.AllowToDeny)
	r.script.tells("A limit of five requests a minute compiles, passes its tests, and no gate is about it. Live requests find what it does, and it is kept out. " +
		"`/admin/status` has the requests, and the line behind them:")
	r.script.quotes("", fmt.Sprintf("%s %s %s\n  now:  %s (%s)\n  then: %s (%s)", w.Way, w.Method, w.Path, r.named(w.Before.Text), w.Before.Pos, w.After.Text, w.After.Pos), 3)
	r.limit = plenty
	r.version++
	r.judged("the limit as it was", "1 dry runs in a row were clean, 2 are asked for")
	r.script.tells("The limit is put right. After a dry run that was not clean the count begins again:")
	r.letsGo(r.ada, 20)
}

// stranger puts into the registry what is signed with other keys.
func (r *tour) stranger() {
	r.agree()
	keys := r.keygen()
	tag := r.registry.URL + "/v2/shop/manifests/" + bundle.ChannelTag("prod")
	before := fetchManifest(r.t, tag)
	r.write(filepath.Join(r.dir, "routes", "app.yaml"), strings.Replace(r.files()["routes/app.yaml"], fmt.Sprintf("/v%d", r.version), "/v666", 1))
	r.ok("apply", "--env", "prod", "--to", r.to, "--key", filepath.Join(keys, "release.key"), "--channel-key", filepath.Join(keys, "channel.key"), "--allow-dirty")
	r.git(r.dir, "reset", "--quiet", "--hard")
	for _, g := range r.gateways {
		g.refuses("key_unknown", r.goal.version)
	}
	if e := r.publisher.reaches(publisher.Failed, r.repo.Head()); e.Reason != "trust" {
		r.t.Errorf("the publisher says %+v", e)
	}
	r.sees("key_unknown", func(i *drift.Instance) bool { return i.Error == "key_unknown" })
	r.script.tells("Somebody who may write to the registry, and has keys of their own, puts a version there. Every gateway refuses it, and serves on; the publisher " +
		"publishes nothing on top of it (`failed`, reason `trust`).")
	r.shows(0, 8, "status", "--gateway", r.gateways[0].admin)
	putManifest(r.t, tag, before)
	r.publisher.reaches(publisher.Published, r.repo.Head())
	for _, g := range r.gateways {
		g.recovers()
	}
	r.script.tells("When the tag is put back, nothing is wrong any more.")
}

// fetchManifest reads what a tag of the registry names.
func fetchManifest(t *testing.T, tag string) []byte {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, tag, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", bundle.MediaTypeImageManifest)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", tag, resp.Status, data, err)
	}
	return data
}

// putManifest makes a tag of the registry name a manifest.
func putManifest(t *testing.T, tag string, manifest []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, tag, bytes.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", bundle.MediaTypeImageManifest)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", tag, resp.Status)
	}
}

// restarts takes a gateway out of the load, stops it, and starts it again.
func (r *tour) restarts(k int, extra ...string) *gateway {
	r.t.Helper()
	r.load.leave(k)
	r.gateways[k].ends(0)
	g := r.starts(k, extra...)
	g.WaitLine(`"msg":"started from the last good bundle"`)
	testkit.Eventually(r.t, "the gateway serves", func() bool { return g.served() > 0 })
	r.load.join(k)
	return g
}

// staysBehind has one gateway not follow the others.
func (r *tour) staysBehind() {
	behind := r.restarts(2, "--sync", "off")
	r.version++
	r.expects()
	r.changed("version 8")
	r.reached(r.gateways[:2]...)
	for _, g := range r.gateways {
		testkit.Eventually(r.t, "the gateway that stays behind is named", func() bool {
			d := g.class("fleet")
			return d.Detected && strings.HasPrefix(d.Detail, fmt.Sprintf("2 of 3 run 1.%d", r.goal.channel)) && len(d.Details) == 1 &&
				strings.HasPrefix(d.Details[0], behind.status().Instance+" runs ") && strings.HasSuffix(d.Details[0], "waits: sync is off")
		})
		g.shows(`gw_drift_detected{class="fleet"}`, "1")
	}
	r.script.tells("One gateway is started again with `--sync off`, and a new version is published. All three say that the fleet is not of one mind " +
		"(`gw_drift_detected{class=\"fleet\"}` is 1), and who it is.")
	r.shows(0, 12, "status", "--gateway", r.gateways[0].admin)
	r.restarts(2)
	r.live()
	r.agree()
	for _, g := range r.gateways {
		g.shows(`gw_drift_detected{class="fleet"}`, "0")
	}
	r.script.tells("Started as the others are, it follows.")
}

// goesBack rolls the environment back, and forward again when somebody says so.
func (r *tour) goesBack() {
	r.goal = goal{r.version - 1, r.guarded, r.goal.channel + 1}
	r.load.may(r.goal.answers()...)
	r.script.tells("Version %d turns out to be bad. No gate and no dry run holds whoever goes back.", r.version)
	said := r.shows(0, 4, "rollback", "--env", "prod", "--to", r.to, "--trust", r.trust, "--channel-key", filepath.Join(r.keys, "channel.key"),
		"--reason", "checkout fails", "--wait", "--gateway", r.gateways[0].admin)
	if !strings.Contains(said.err, fmt.Sprintf("3 of 3 gateways run 1.%d\n", r.goal.channel)) {
		r.t.Errorf("rollback --wait said %q", said.err)
	}
	r.live()
	r.version++
	head := r.push("version 9")
	r.delivers(head)
	held := r.holds("rollback")
	if !strings.Contains(held.Why, "by ann, and is held: checkout fails") {
		r.t.Errorf("held: %+v", held)
	}
	r.script.tells("The next commit, which mends it, is pushed. The publisher does not publish over the rollback:")
	r.script.quotes("", r.named(held.Rule+": "+held.Why+"\n"+held.How), 2)
	r.reached(r.gateways...)
	r.expects()
	r.shows(0, 3, r.applyArgs(r.to, "--trust", r.trust, "--lift-hold")...)
	r.published()
	r.live()
	r.script.tells("The hold is lifted; live requests have nothing against version %d, and every gateway serves it.", r.version)
}

// trails verifies what each gateway has written down, while it runs and when it has ended.
func (r *tour) trails() {
	close(r.events)
	if rest, err := io.ReadAll(r.stream.read); err != nil || len(rest) > 0 {
		r.t.Errorf("the stream ended with %q %v, want its proper end", rest, err)
	}
	for k := range r.posts {
		r.ok("audit", "verify", r.posts[k].audit, "--trust", r.trust)
	}
	r.script.tells("Each gateway has kept a trail. They verify, while they are written and afterwards:")
	r.load.end()
	r.ends()
	for k, p := range r.posts {
		verify := []string{"audit", "verify", p.audit, "--trust", r.trust}
		if k == 0 {
			r.shows(0, 5, verify...)
		} else {
			r.ok(verify...)
		}
		r.tells(k)
	}
	r.script.tells("What the first of them says of all that:")
	r.shows(0, 40, "audit", "show", r.posts[0].audit, "--action", "activation", "--action", "refusal")
}

// record is what a trail is asked for.
type record struct {
	Action, Outcome, Reason string
	Details                 map[string]string
}

// tells wants the trail of a gateway to hold each step.
func (r *tour) tells(k int) {
	r.t.Helper()
	activated := map[string]record{}
	refused := map[string][]string{} // by version; by "" what could not be read
	seen := map[string]bool{}
	for line := range strings.Lines(r.ok("audit", "show", r.posts[k].audit, "--format", "json").out) {
		var e record
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		seen[e.Action] = true
		switch version := e.Details["version"]; {
		case e.Action == "activation" && e.Outcome == "success":
			activated[version] = e
		case e.Action == "refusal":
			refused[version] = append(refused[version], e.Reason)
		}
	}
	for _, version := range r.lived {
		if _, ok := activated[version]; !ok {
			r.t.Errorf("gateway %d: the trail does not tell that %s was live", k, version)
		}
	}
	if len(activated) != len(r.lived) {
		r.t.Errorf("gateway %d: the trail tells of %d versions, %d were live", k, len(activated), len(r.lived))
	}
	if by := strings.Fields(activated[r.approved].Details["approvers"]); len(by) != 2 {
		r.t.Errorf("gateway %d: %s was approved by %q", k, r.approved, by)
	}
	if _, ok := activated[r.keptOut]; ok || !strings.Contains(strings.Join(refused[r.keptOut], "\n"), "are refused that pass now") {
		r.t.Errorf("gateway %d: of %s the trail says %q", k, r.keptOut, refused[r.keptOut])
	}
	if !strings.Contains(strings.Join(refused[""], "\n"), "key_unknown") {
		r.t.Errorf("gateway %d: of the stranger the trail says %q", k, refused[""])
	}
	if !seen["audit.start"] || !seen["audit.stop"] {
		r.t.Errorf("gateway %d: the trail holds %v", k, seen)
	}
	if data, err := os.ReadFile(filepath.Join(r.posts[k].audit, "audit-00000001.jsonl")); err != nil || strings.Contains(string(data), token) {
		r.t.Errorf("gateway %d: the trail cannot be read, or holds a secret: %v", k, err)
	}
}
