package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/drift"
)

// tour is a loop that goes round once with everything that can happen on the way, an event stream that is open all the while, and a
// transcript of it.
type tour struct {
	*loop
	script *transcript
	events chan string
	stream *stream
	beats  int

	lived             []string // versions of the channel that were live
	approved, keptOut string   // the one that two people approved of, and the one that live requests kept out
}

const (
	tourGates  = "gates: [{ id: doors, risks: [security], approvals: 2 }]"
	tourDryRun = tourGates + "\ndryRun: { percent: 100, minRequests: 40, minDuration: 1s, cleanRuns: 2 }"
)

// TestLoop is the whole loop: pushes to a git server, webhooks, the publisher, a registry, three gateways behind load, a dry run, approvals,
// drift, bad commits, a stranger, a rollback. Not one request fails, and each answer is one that a version gives which is published then.
func TestLoop(t *testing.T) {
	t.Parallel()
	r := &tour{loop: newLoop(t, tourGates), script: &transcript{}, events: make(chan string)}
	for _, step := range []struct {
		title string
		walk  func()
	}{
		{"The first push", r.firstPush},
		{"A harmless change", r.harmlessChange},
		{"What is merged while the publisher is away", r.mergedMeanwhile},
		{"A risky change", r.riskyChange},
		{"A dry run", r.dryRun},
		{"A change that would refuse live requests", r.refusesLiveRequests},
		{"Commits that are not published", r.badCommits},
		{"A stranger", r.stranger},
		{"A gateway that stays behind", r.staysBehind},
		{"Going back", r.goesBack},
		{"The trails", r.trails},
	} {
		t.Logf("%s", step.title)
		r.script.title(step.title)
		step.walk()
	}
	if !t.Failed() {
		r.script.tells("While all this went on, the clients got %d answers. Not one request failed, each answer was one that a version gives which was "+
			"published then, and one event stream stayed open from the first version to the last.", r.load.answers.Load()/100*100)
	}
	r.script.record(t)
}

// beat sends an event through the stream that was opened at the beginning.
func (r *tour) beat() {
	r.t.Helper()
	if r.stream == nil {
		return
	}
	r.beats++
	event := fmt.Sprint(r.beats)
	select {
	case r.events <- event:
	case <-time.After(patience):
		r.t.Fatal("nobody listens to the event stream any more")
	}
	r.stream.next(event)
}

// live waits until every gateway serves the goal, and notes it.
func (r *tour) live() {
	r.t.Helper()
	r.settles()
	r.beat()
	r.lived = append(r.lived, fmt.Sprintf("1.%d", r.goal.channel))
}

// agree waits until every gateway says that all of them run the goal.
func (r *tour) agree() {
	r.t.Helper()
	for _, g := range r.gateways {
		g.becomes("fleet", fmt.Sprintf("3 of 3 run 1.%d", r.goal.channel), false)
	}
}

// sees waits until the first gateway has heard something of each of them.
func (r *tour) sees(what string, is func(*drift.Instance) bool) {
	r.t.Helper()
	testkit.Eventually(r.t, "each gateway says: "+what, func() bool {
		fleet := r.gateways[0].status().Fleet
		for i := range fleet {
			if !is(&fleet[i]) {
				return false
			}
		}
		return len(fleet) == len(r.gateways)
	})
}

// changed pushes a new version of the routes, tells the publisher, and waits until it is published.
func (r *tour) changed(message string) {
	r.t.Helper()
	r.delivers(r.push(message))
	r.published()
}

// opens adds the route of an event stream to the repository, and starts the service behind it.
func (r *tour) opens() {
	r.t.Helper()
	service := httptest.NewServer(testkit.Events(r.events, nil))
	r.t.Cleanup(func() { service.CloseClientConnections(); service.Close() })
	r.repo.Commit("events", map[string]string{"routes/events.yaml": fmt.Sprintf(
		"%sroutes:\n  - id: events\n    matcher: { path: /events }\n    target: { type: http, url: %q }\n    policy: { timeout: 0 }\n", apiVersion, service.URL)})
}

// listens opens the event stream.
func (r *tour) listens() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.gateways[0].url+"/events", http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req) // without the time limit of client
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	r.stream = &stream{r.t, resp, bufio.NewReader(resp.Body)}
}

// firstPush begins with gateways that have nothing to serve, and a publisher that watches an empty repository.
func (r *tour) firstPush() {
	r.opens()
	r.repo.Git("--git-dir", r.repo.Dir, "update-ref", "-d", "refs/heads/main")
	for k := range r.posts {
		r.ok("keygen", "--out", r.keys, "--role", "audit", "--name", gatewayName(k), "--trust", r.trust)
	}
	for k, p := range r.posts {
		p.audit = filepath.Join(r.t.TempDir(), "trail")
		p.args = []string{"--repo", r.repo.URL, "--drift-poll", "1s", "--audit", p.audit, "--audit-key", filepath.Join(r.keys, gatewayName(k)+".key")}
		r.starts(k)
	}
	for _, g := range r.gateways {
		if code, _, err := get(g.url + "/app/x"); code != http.StatusServiceUnavailable || err != nil {
			r.t.Errorf("with nothing published: %d %v", code, err)
		}
	}
	r.script.tells("Three gateways (`gwrun --bundle %s --repo %s --redis ... --audit ...`) have nothing to serve, and `gwctl serve` watches a "+
		"repository without a commit. It looks once an hour: nothing but a webhook can tell it of a push.", r.named(r.to), r.named(r.repo.URL))
	r.publishes("1h")
	r.expects()
	r.changed("the first version")
	r.live()
	r.asked()
	r.listens()
	r.script.tells("The first commit is pushed, and the forge's webhook, signed with the secret that both know, is answered 202. The publisher says:")
	r.script.quotes("", r.named(r.publisher.WaitLine(`.*"msg":"published".*`)[0]), 1)
	r.script.tells("All three serve it. From here on two clients at each gateway ask without a pause, and one listens to an event stream.")
}

// harmlessChange is live without anybody's help.
func (r *tour) harmlessChange() {
	if status, code := r.publisher.push(r.repo.URL, r.repo.Head(), "another secret of somebody"); status != http.StatusUnauthorized || code != "webhook_signature_invalid" {
		r.t.Errorf("a forged delivery is answered %d %s", status, code)
	}
	r.version++
	r.expects()
	r.changed("version 2")
	r.live()
	r.agree()
	r.sees("no drift", func(i *drift.Instance) bool { return len(i.Drift) == 0 })
	r.script.tells("Another commit, another webhook; the gateways follow by themselves (`sync: auto`).")
	r.shows(0, 5, "status", "--gateway", r.gateways[0].admin)
}

// mergedMeanwhile shows as drift until somebody publishes it.
func (r *tour) mergedMeanwhile() {
	if code := r.publisher.Stop(); code != 0 {
		r.t.Errorf("the publisher ended with %d", code)
	}
	r.version++
	r.expects()
	head := r.push("version 3")
	for _, g := range r.gateways {
		d := g.drifts(drift.Drifted, head)
		if d.CommitsBehind != 1 || len(d.Files) != 1 || d.Files[0].Path != "routes/app.yaml" {
			r.t.Errorf("the drift is %+v", d)
		}
		g.shows(`gw_drift_detected{class="source"}`, "1")
		g.shows("gw_drift_commits_behind", "1")
	}
	r.script.tells("The publisher is stopped, and a commit is merged. Each gateway sees that the repository is ahead: `gw_drift_detected{class=\"source\"}` is 1.")
	r.shows(2, 12, "drift", "--gateway", r.gateways[1].admin)
	r.publishes("1s")
	r.published()
	r.live()
	for _, g := range r.gateways {
		g.drifts(drift.InSync, head)
		g.shows(`gw_drift_detected{class="source"}`, "0")
	}
	r.script.tells("It starts again, finds what is new without a webhook, and the drift is gone.")
}

// riskyChange needs two people.
func (r *tour) riskyChange() {
	r.guarded = false
	head := r.push("open the door")
	r.delivers(head)
	held := r.holds(`gate "doors"`)
	if len(held.Risks) != 1 || held.Risks[0].Object != "route door" || held.Risks[0].Pos.File != "routes/door.yaml" || held.Needed != 2 || held.Have != 0 {
		r.t.Fatalf("held by %+v", held)
	}
	risk := held.Risks[0]
	r.script.tells("A commit takes the address list from a door. The publisher compiles it, brings it to the registry, and publishes nothing. `/status` names " +
		"the rule, the object, the line, and what lets it go:")
	r.script.quotes("", r.named(fmt.Sprintf("%s: %s\n  %s %s (%s): %s\n  needs %d approvals, has %d\n%s", held.Rule, held.Why, risk.Code, risk.Object, risk.Pos, risk.Message,
		held.Needed, held.Have, held.How)), 10)
	r.approves(held.How, r.ada)
	testkit.Eventually(r.t, "one has approved", func() bool { return r.holds(`gate "doors"`).Have == 1 })
	r.expects()
	r.script.tells("Ada has approved, which is one. Then Bob does:")
	how := strings.Fields(strings.NewReplacer("trust.json", r.trust, "approver.key", r.bob, `"..."`, "agreed").Replace(held.How))
	r.shows(0, 12, how[1:]...)
	r.published()
	r.approved = fmt.Sprintf("1.%d", r.goal.channel)
	approved := r.publisher.WaitLine(`.*"msg":"published","environment":"prod","commit":"` + head + `".*"approvedBy":\["[^"]+","[^"]+"\].*`)[0]
	r.live()
	r.script.tells("It is published by itself, with both keys in the log, and every gateway has verified both approvals before it let it in:")
	r.script.quotes("", r.named(approved), 1)
}

// badCommits stop at the publisher, with the place of the mistake.
func (r *tour) badCommits() {
	files := r.files()
	typo := r.commit("typo", map[string]string{"routes/app.yaml": strings.Replace(files["routes/app.yaml"], "matcher:", "macher:", 1)})
	r.delivers(typo)
	e := r.publisher.reaches(publisher.Invalid, typo)
	if !strings.Contains(e.Diagnostics, "routes/app.yaml:4:5: error GW2031") {
		r.t.Errorf("a head that does not compile: %+v", e)
	}
	r.script.tells("A commit with a typo is `invalid`, and says where:")
	r.script.quotes("", r.named(e.Diagnostics), 3)
	for _, g := range r.gateways {
		g.drifts(drift.InvalidHead, typo)
	}
	failing := r.commit("a test", map[string]string{
		"routes/app.yaml": files["routes/app.yaml"],
		"tests/door.yaml": apiVersion + "tests:\n  - name: the door is shut\n    requests: [{ send: { url: /door/in, from: 203.0.113.5 }, expect: { status: 403 } }]\n",
	})
	r.delivers(failing)
	e = r.publisher.reaches(publisher.Invalid, failing)
	if !strings.Contains(e.Diagnostics, "the door is shut") || e.Candidate == "" || e.Published.Version != fmt.Sprintf("1.%d", r.goal.channel) {
		r.t.Errorf("a head whose test fails: %+v", e)
	}
	r.script.tells("So is one whose request tests fail:")
	r.script.quotes("", r.named(e.Diagnostics), 4)
	r.reached(r.gateways...)
	r.version++
	r.expects()
	files = r.files()
	files["tests/door.yaml"] = apiVersion + "tests:\n  - name: the door is open\n    requests: [{ send: { url: /door/in, from: 203.0.113.5 }, expect: { status: 200 } }]\n"
	r.delivers(r.commit("version 7", files))
	r.published()
	r.live()
	r.script.tells("What is published stays. Somebody puts the test right, and the next version is live.")
}
