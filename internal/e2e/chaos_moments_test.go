package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

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
