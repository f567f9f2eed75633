package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// The parts of a loop that are killed.
const (
	theForge     = "git server"
	theRegistry  = "registry"
	theRedis     = "Redis"
	thePublisher = "publisher"
	theGateway   = "gateway"
)

// killed is the number of the gateway that is killed.
const killed = 2

// chaos is a loop of which one part is killed, again and again.
type chaos struct {
	*loop
	victim   string
	before   goal        // what was served when the part was killed
	release  func()      // lets go what waits
	how      string      // to approve of what is held
	rollback chan result // of the one under way
}

// moment is a step of the loop, and what happens when a part is killed in it.
type moment struct {
	name string
	// needs are the parts without which it goes no further.
	needs []string
	// until brings the loop to the moment.
	until func(c *chaos)
	// then is what happens next, with the part away.
	then func(c *chaos)
	// again is what people do once the part is back: only what they could not do before. Nil: nothing.
	again func(c *chaos)
}

var moments = []moment{
	{"before a push", []string{theForge, thePublisher, theRegistry}, func(*chaos) {}, (*chaos).pushesUnlessRefused, (*chaos).pushesAfterAll},
	{"between push and webhook", []string{theForge, thePublisher, theRegistry}, (*chaos).pushesUnseen, (*chaos).isTold, nil},
	{"while the publisher compiles", []string{thePublisher, theRegistry}, (*chaos).compiles, (*chaos).goesOn, nil},
	{"between publication and activation", []string{theRegistry}, (*chaos).publishesUnseen, (*chaos).goesOn, nil},
	{"while a change is held", []string{thePublisher, theRegistry}, (*chaos).isHeld, (*chaos).isApproved, (*chaos).isApprovedAfterAll},
	{"during a rollback", []string{theRegistry}, (*chaos).rollsBack, (*chaos).rolledBack, (*chaos).rollsBackAfterAll},
	{"when a rollback has moved the channel", []string{theRegistry}, (*chaos).rollsBackUnseen, (*chaos).rolledBack, (*chaos).rollsBackTwice},
}

// TestLoopChaos kills each part of a loop in each of its steps. Nobody who asks the gateways notices, what runs stays, and when the part
// is back the loop comes to its end without anybody's help.
func TestLoopChaos(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{theForge, theRegistry, theRedis, thePublisher, theGateway} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, victim)
			for _, m := range moments {
				t.Logf("the %s is killed %s", victim, m.name)
				c.survives(&m)
			}
			answered := c.load.end()
			t.Logf("%d requests answered, 0 failed, %d lost with a gateway", answered, c.load.lost.Load())
			if lost := c.load.lost.Load(); lost > 0 && victim != theGateway {
				t.Errorf("%d requests were lost with a gateway that nobody killed", lost)
			}
			c.ends()
		})
	}
}

// newChaos starts a loop that has published its first version, and serves it under load.
func newChaos(t *testing.T, victim string) *chaos {
	t.Helper()
	c := &chaos{loop: newLoop(t, "gates: [{ id: doors, risks: [security] }]"), victim: victim, release: func() {}}
	c.posts[0].args = []string{"--repo", c.repo.URL, "--drift-poll", "1s"} // one is enough to see how it takes the loss of the forge
	c.expects()
	c.push("the first version")
	c.publishes("1s")
	c.published()
	for k := range c.posts {
		c.starts(k)
	}
	c.settles()
	c.asked()
	return c
}

// survives goes through a moment, with the part killed in it.
func (c *chaos) survives(m *moment) {
	c.t.Helper()
	c.before = c.goal
	m.until(c)
	c.kills()
	c.misses()
	if m.then(c); slices.Contains(m.needs, c.victim) {
		c.stays()
	} else {
		c.reached(c.living()...)
	}
	c.comesBack()
	if m.again != nil {
		m.again(c)
	}
	c.settles()
	c.recovered()
}

// living are the gateways that run.
func (c *chaos) living() []*gateway {
	if c.victim == theGateway {
		return c.gateways[:killed]
	}
	return c.gateways
}

// kills kills the part, without a word before.
func (c *chaos) kills() {
	c.t.Helper()
	switch c.victim {
	case theForge:
		c.forge.kill()
	case theRegistry:
		c.registry.kill()
	case theRedis:
		c.redis.Stop()
	case thePublisher:
		c.publisher.Kill()
	case theGateway:
		c.keeps(killed)
		c.load.loses(killed, c.gateways[killed].Kill)
	}
}

// misses sees what the loss costs: what the manual says, and no more.
func (c *chaos) misses() {
	c.t.Helper()
	switch c.victim {
	case theForge: // the facts about drift stay, and are called stale
		testkit.Eventually(c.t, "the report of drift is stale", func() bool {
			r := c.gateways[0].drift()
			return r != nil && r.Stale && r.Error != ""
		})
	case theRegistry:
		for _, g := range c.gateways {
			g.complains("source_fetch")
		}
	case theRedis: // limits go on by themselves, unless they are told not to
		for _, g := range c.gateways {
			g.shows("gw_state_up", "0")
			if code, _, err := get(g.url + "/strict"); code != http.StatusServiceUnavailable || err != nil {
				c.t.Errorf("a limit that is closed without Redis answers %d %v", code, err)
			}
		}
	case thePublisher:
		if _, _, err := get(c.publisher.url + "/healthz"); !errors.Is(err, syscall.ECONNREFUSED) {
			c.t.Errorf("the publisher that was killed answers: %v", err)
		}
	case theGateway:
		if _, _, err := get(c.gateways[killed].url + "/app/x"); !errors.Is(err, syscall.ECONNREFUSED) {
			c.t.Errorf("the gateway that was killed answers: %v", err)
		}
	}
}

// stays wants every gateway to serve what it served when the part was killed.
func (c *chaos) stays() {
	c.t.Helper()
	for _, g := range c.living() {
		if st := g.status(); st.Running.Version != uint64(c.before.channel) || g.served() != c.before.version {
			c.t.Fatalf("%s runs %+v, want it to stay at 1.%d", g.url, st.Running, c.before.channel)
		}
	}
}

// comesBack starts the part again, where it was.
func (c *chaos) comesBack() {
	c.t.Helper()
	switch c.victim {
	case theForge:
		c.forge.back()
	case theRegistry:
		c.registry.back()
	case theRedis:
		c.redis.Restart()
	case thePublisher:
		c.publishes("1s")
	case theGateway:
		g := c.starts(killed)
		g.WaitLine(fmt.Sprintf(`"msg":"started from the last good bundle","version":"1\.%d"`, c.before.channel))
		testkit.Eventually(c.t, "the gateway serves", func() bool { return g.served() > 0 })
		c.load.join(killed)
	}
}

// recovered wants nothing to remind of the loss.
func (c *chaos) recovered() {
	c.t.Helper()
	switch c.victim {
	case theForge:
		testkit.Eventually(c.t, "the report of drift is not stale", func() bool {
			r := c.gateways[0].drift()
			return r != nil && !r.Stale
		})
	case theRegistry:
		for _, g := range c.gateways {
			g.recovers()
		}
	case theRedis:
		for _, g := range c.gateways {
			g.shows("gw_state_up", "1")
			testkit.Eventually(c.t, "the strict limit counts in Redis again", func() bool {
				code, _, err := get(g.url + "/strict")
				return code == http.StatusOK && err == nil
			})
		}
	}
}

// next is the next version of the routes, pushed.
func (c *chaos) next(guarded bool) string {
	c.t.Helper()
	c.version++
	c.guarded = guarded
	return c.push(fmt.Sprintf("version %d", c.version))
}

// tells delivers the webhook, unless there is nobody to hear it.
func (c *chaos) tells(commit string) {
	c.t.Helper()
	if c.victim != thePublisher {
		c.delivers(commit)
	}
}

// upcoming makes the next version the goal, before anybody can see it.
func (c *chaos) upcoming() {
	c.goal = goal{c.version + 1, true, c.goal.channel + 1}
	c.load.may(c.goal.answers()...)
}

func (c *chaos) pushesUnlessRefused() {
	c.t.Helper()
	if c.victim == theForge { // a forge that is dead takes nothing
		cmd := exec.Command(testkit.Program(c.t, "git"), "push", "--quiet", c.repo.URL, "HEAD:refs/heads/topic")
		cmd.Dir, cmd.Env = c.dir, c.env()
		if err := cmd.Run(); err == nil {
			c.t.Fatal("a dead git server took a push")
		}
		return
	}
	c.upcoming()
	c.tells(c.next(true))
}

func (c *chaos) pushesAfterAll() {
	c.t.Helper()
	if c.victim == theForge {
		c.upcoming()
		c.delivers(c.next(true))
	}
}

// pushesUnseen pushes, and keeps everybody from seeing it before the webhook is sent.
func (c *chaos) pushesUnseen() {
	c.t.Helper()
	c.release = holding(c.forge.holding, func(*http.Request) bool { return true }, nil)
	c.upcoming()
	c.next(true)
}

// isTold sends the webhook of the push.
func (c *chaos) isTold() {
	c.t.Helper()
	c.tells(c.repo.Head())
	c.release()
}

// compiles is a publisher that has begun with a commit. What it compiles to cannot be published yet.
func (c *chaos) compiles() {
	c.t.Helper()
	c.release = holding(c.registry.holding, func(r *http.Request) bool {
		return strings.HasPrefix(r.UserAgent(), "gwctl/") && r.Method != http.MethodGet && r.Method != http.MethodHead
	}, nil)
	c.upcoming()
	commit := c.next(true)
	c.delivers(commit)
	c.publisher.WaitLine(`"msg":"new head","ref":"refs/heads/main","commit":"` + commit)
}

// publishesUnseen has a version published that no gateway has seen.
func (c *chaos) publishesUnseen() {
	c.t.Helper()
	c.release = holding(c.registry.holding, byGateway, nil)
	c.upcoming()
	c.delivers(c.next(true))
	c.published()
}

// byGateway matches what gateways ask.
func byGateway(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "gwrun/") }

// movesChannel matches the request after which a new version is there.
func movesChannel(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+bundle.ChannelTag("prod"))
}

func (c *chaos) goesOn() { c.release() }

// isHeld opens the door, which a gate is about.
func (c *chaos) isHeld() {
	c.t.Helper()
	c.delivers(c.next(false))
	c.how = c.holds(`gate "doors"`).How
}

// isApproved has somebody approve of it, wherever that can be written down.
func (c *chaos) isApproved() {
	c.t.Helper()
	if c.victim != theRegistry {
		c.expects()
		c.approves(c.how, c.ada)
	}
}

func (c *chaos) isApprovedAfterAll() {
	c.t.Helper()
	if c.victim == theRegistry {
		c.expects()
		c.approves(c.how, c.ada)
	}
}

// rollsBack begins to go back: everything is at the registry, only the channel has not moved.
func (c *chaos) rollsBack() {
	c.t.Helper()
	c.goesBack(func(caught chan<- struct{}) func() { return holding(c.registry.holding, movesChannel, caught) })
}

// rollsBackUnseen goes back, and neither whoever does it nor any gateway hears of it.
func (c *chaos) rollsBackUnseen() {
	c.t.Helper()
	c.goesBack(func(caught chan<- struct{}) func() {
		readers, writer := holding(c.registry.holding, byGateway, nil), holding(c.registry.holdingAnswers, movesChannel, caught)
		return func() { readers(); writer() }
	})
}

// goesBack publishes one more version, and then begins to go back from it. It returns when the request that moves the channel is caught.
func (c *chaos) goesBack(catch func(caught chan<- struct{}) (release func())) {
	c.t.Helper()
	good := c.goal
	c.upcoming()
	c.delivers(c.next(true))
	c.published()
	c.settles()
	c.before = c.goal
	caught := make(chan struct{})
	c.release = catch(caught)
	c.goal = goal{good.version, good.guarded, c.goal.channel + 1}
	c.load.may(c.goal.answers()...)
	c.rollback = make(chan result, 1)
	go func() { c.rollback <- c.gwctl(c.rollbackArgs()...) }()
	select {
	case <-caught:
	case r := <-c.rollback:
		c.t.Fatalf("rollback ended early: exit code %d\n%s%s", r.code, r.out, r.err)
	}
}

func (c *chaos) rollbackArgs() []string {
	return []string{"rollback", "--env", "prod", "--to", c.to, "--trust", c.trust, "--channel-key", filepath.Join(c.keys, "channel.key"), "--reason", "checkout fails"}
}

// rolledBack lets go what was caught.
func (c *chaos) rolledBack() {
	c.t.Helper()
	c.release()
	want := 0
	if c.victim == theRegistry {
		want = 1
	}
	if r := <-c.rollback; r.code != want {
		c.t.Fatalf("rollback: exit code %d, want %d\n%s%s", r.code, want, r.out, r.err)
	}
}

// rollsBackAfterAll runs the command again if it broke off.
func (c *chaos) rollsBackAfterAll() {
	c.t.Helper()
	if c.victim == theRegistry {
		c.ok(c.rollbackArgs()...)
	}
	c.liftsTheHold()
}

// rollsBackTwice runs the command again although it has done its work, as whoever has not heard of that does.
func (c *chaos) rollsBackTwice() {
	c.t.Helper()
	if c.victim == theRegistry {
		if r := c.exits(5, c.rollbackArgs()...); !strings.Contains(r.err, "prod was rolled back already, to sha256:") {
			c.t.Errorf("rollback said %q", r.err)
		}
	}
	c.liftsTheHold()
}

// liftsTheHold wants the publisher to keep away from an environment that was rolled back, until somebody says otherwise.
func (c *chaos) liftsTheHold() {
	c.t.Helper()
	c.settles()
	c.holds("rollback")
	c.expects()
	c.apply(c.to, "--trust", c.trust, "--lift-hold")
	c.publisher.reaches(publisher.Published, c.repo.Head())
}

// holding makes requests that match wait in a gate until release is called, or the server is killed. The first of them closes caught, if
// that is not nil.
func holding(in func(func(*http.Request) <-chan struct{}), match func(*http.Request) bool, caught chan<- struct{}) (release func()) {
	wait := make(chan struct{})
	var first sync.Once
	in(func(r *http.Request) <-chan struct{} {
		if !match(r) {
			return nil
		}
		if caught != nil {
			first.Do(func() { close(caught) })
		}
		return wait
	})
	return sync.OnceFunc(func() {
		in(nil)
		close(wait)
	})
}

// ends stops every process as an orchestrator does.
func (l *loop) ends() {
	l.t.Helper()
	for _, g := range l.gateways {
		g.ends(0)
	}
	if code := l.publisher.Stop(); code != 0 {
		l.t.Errorf("the publisher ended with %d", code)
	}
}
