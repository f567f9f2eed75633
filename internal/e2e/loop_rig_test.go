package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/state"
)

// loop is everything between a push and its traffic: a forge, a publisher, a registry, three gateways with Redis between them, and people
// who ask all the while. Each server can be killed, and comes back at its address.
type loop struct {
	*scene
	forge, registry *gate
	redis           *testkit.RedisServer
	to              string // where bundles are published
	trust           string // trust.json
	ada, bob        string // keys of those who approve
	publisher       *servant
	hooks           string // address of the publisher
	clone           string // its state directory
	gateways        []*gateway
	posts           []*post
	load            *load
	rules           string // of the environment

	// What the repository says, and what should be live of it.
	version int
	limit   int // requests a minute that the route takes
	guarded bool
	goal    goal
}

// goal is what every gateway should come to serve.
type goal struct {
	version int
	guarded bool
	channel int // version of the channel
}

// answers are what a load gets then.
func (g goal) answers() []string { return []string{appAnswer(g.version), doorAnswer(g.guarded)} }

// post is what a gateway keeps when it ends.
type post struct {
	listen, admin string // addresses
	state, audit  string // directories
	args          []string
}

// plenty is a limit that no load reaches.
const plenty = 1_000_000

// newLoop starts the servers, and neither publisher nor gateways. In the repository is what nobody has pushed yet.
func newLoop(t *testing.T, rules string) *loop {
	t.Helper()
	s := newScene(t)
	s.extra = []string{"GWCTL_USER=ann"}
	l := &loop{
		scene: s, forge: newGate(t, s.host.URL), registry: newGate(t, testkit.Registry(t).URL), redis: testkit.Redis(t),
		trust: filepath.Join(s.keys, "trust.json"), ada: s.approver("ada"), bob: s.approver("bob"), hooks: "127.0.0.1:0", clone: t.TempDir(),
		rules: rules, version: 1, limit: plenty, guarded: true,
	}
	l.repo.URL, l.to = l.forge.URL+"/shop.git", "oci://"+l.registry.addr+"/shop"
	for range 3 {
		l.posts = append(l.posts, &post{listen: "127.0.0.1:0", admin: "127.0.0.1:0", state: t.TempDir()})
	}
	l.gateways = make([]*gateway, len(l.posts))
	return l
}

// files are the repository as it should be.
func (l *loop) files() map[string]string {
	guard := ""
	if l.guarded {
		guard = "\n    policy: { ip: { allow: [192.0.2.0/24] } }"
	}
	return map[string]string{
		"routes/app.yaml": fmt.Sprintf(`%sroutes:
  - id: app
    matcher: { path: /app/* }
    target: { type: http, url: "%s/v%d" }
    policy: { rateLimit: { tokensPerInterval: %d, intervalMs: 60000, key: [route], replicas: 3 } }
`, apiVersion, l.app, l.version, l.limit),
		"routes/strict.yaml": fmt.Sprintf(`%sroutes:
  - id: strict
    matcher: { path: /strict }
    target: { type: http, url: %q }
    policy: { rateLimit: { tokensPerInterval: %d, intervalMs: 60000, key: [route], replicas: 3, onError: closed } }
`, apiVersion, l.app, plenty),
		"routes/door.yaml": fmt.Sprintf(`%sroutes:
  - id: door
    matcher: { path: /door/* }
    target: { type: http, url: %q }%s
`, apiVersion, l.app, guard),
		"environments/prod/prod.yaml": apiVersion + "gateway:\n  gitops:\n    " + strings.ReplaceAll(l.rules, "\n", "\n    ") + "\n",
	}
}

// push brings what the repository should be to the forge, and returns the commit.
func (l *loop) push(message string) string {
	l.t.Helper()
	return l.commit(message, l.files())
}

// expects makes what the repository says the goal: it is about to be published, and to go live.
func (l *loop) expects() {
	l.goal = goal{l.version, l.guarded, l.goal.channel + 1}
	if l.load != nil {
		l.load.may(l.goal.answers()...)
	}
}

// delivers has the forge tell the publisher of a push.
func (l *loop) delivers(commit string) {
	l.t.Helper()
	if status, code := l.publisher.push(l.repo.URL, commit, hookSecret); status != http.StatusAccepted || code != "webhook_accepted" {
		l.t.Fatalf("the webhook is answered %d %s", status, code)
	}
}

// publishes starts the publisher, at the address that it had before.
func (l *loop) publishes(poll string) {
	l.t.Helper()
	l.publisher = l.serve(l.to, "--listen", l.hooks, "--state", l.clone, "--test", "--poll", poll)
	l.hooks = strings.TrimPrefix(l.publisher.url, "http://")
}

// published waits until the head is published as the version of the channel that is the goal.
func (l *loop) published() {
	l.t.Helper()
	l.publisher.publishes(l.repo.Head(), fmt.Sprintf("1.%d", l.goal.channel))
}

// holds waits until the publisher holds the head by a rule, and returns it.
func (l *loop) holds(rule string) publisher.Rule {
	l.t.Helper()
	e := l.publisher.reaches(publisher.Held, l.repo.Head())
	if len(e.Rules) != 1 || e.Rules[0].Rule != rule {
		l.t.Fatalf("held by %+v, want %s", e.Rules, rule)
	}
	return e.Rules[0]
}

// approves carries out the command line that approves of what is held, with the files of somebody who may.
func (l *loop) approves(how, key string) {
	l.t.Helper()
	words := strings.Fields(strings.NewReplacer("trust.json", l.trust, "approver.key", key, `"..."`, "meant").Replace(how))
	l.ok(words[1:]...)
}

// starts starts a gateway, at the addresses and with the directories that it had before.
func (l *loop) starts(k int, extra ...string) *gateway {
	l.t.Helper()
	p := l.posts[k]
	args := append([]string{
		"--bundle", l.to, "--trust", l.trust, "--env", "prod", "--listen", p.listen, "--admin", p.admin, "--state", p.state, "--redis", l.redis.URL, "--poll", "1s",
	}, p.args...)
	g := l.gwrunAlone(append(args, extra...)...)
	p.admin = g.WaitLine(`"msg":"listening","listener":"admin","address":"([^"]+)"`)[1]
	p.listen = g.WaitLine(`"msg":"listening","listener":"127[^"]*","address":"([^"]+)"`)[1]
	g.url, g.admin = "http://"+p.listen, "http://"+p.admin
	l.gateways[k] = g
	return g
}

// asked starts the load; each gateway serves the goal.
func (l *loop) asked() {
	l.t.Helper()
	var urls []string
	for _, g := range l.gateways {
		urls = append(urls, g.url)
	}
	l.load = startLoad(l.t, urls, l.goal.answers()...)
}

// tryStatus is status for a gateway that may have ended, or has nothing to serve and so no admin API: it is empty then.
func (g *gateway) tryStatus() (st admin.Status) {
	code, body, err := get(g.admin+"/admin/status", "Authorization", "Bearer "+token)
	if err != nil || code != http.StatusOK || json.Unmarshal([]byte(body), &st) != nil {
		return admin.Status{}
	}
	return st
}

// reached waits until gateways serve the goal, and nothing waits.
func (l *loop) reached(gateways ...*gateway) {
	l.t.Helper()
	for _, g := range gateways {
		var st admin.Status
		testkit.Eventually(l.t, fmt.Sprintf("%s serves version %d as 1.%d", g.url, l.goal.version, l.goal.channel), func() bool {
			st = g.tryStatus()
			return st.Running != nil && st.Running.Version == uint64(l.goal.channel) && st.Source.Pending == nil
		})
		if v := g.served(); v != l.goal.version {
			l.t.Fatalf("%s serves version %d, want %d: it runs %+v", g.url, v, l.goal.version, st.Running)
		}
	}
}

// settles waits until every gateway serves the goal. From then on nothing else is right.
func (l *loop) settles() {
	l.t.Helper()
	l.reached(l.gateways...)
	if l.load != nil {
		l.load.only(l.goal.answers()...)
	}
	if failed := l.failedRequests(); len(failed) > 0 {
		l.t.Fatalf("%d requests failed, the first: %s", len(failed), failed[0])
	}
}

func (l *loop) failedRequests() []string {
	if l.load == nil {
		return nil
	}
	return l.load.failed()
}

// keeps waits until a gateway has on disk what it serves.
func (l *loop) keeps(k int) {
	l.t.Helper()
	want := l.gateways[k].status().Running.Version
	testkit.Eventually(l.t, fmt.Sprintf("version 1.%d is kept", want), func() bool {
		var st state.State
		data, err := os.ReadFile(filepath.Join(l.posts[k].state, "state.json"))
		return err == nil && json.Unmarshal(data, &st) == nil && uint64(st.Position.Version) == want
	})
}
