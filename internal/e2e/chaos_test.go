package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
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
