package faults_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

var (
	recordIn = flag.String("record", "", "run longer and put the figures into this document")
	rate     = 100 // requests a second on each of the two routes
)

// span is how long a phase lasts.
func span() time.Duration {
	if *recordIn != "" {
		return 6 * time.Second
	}
	return time.Second
}

// fault is one way in which what stands behind the gateway breaks.
type fault struct {
	name     string
	links    int
	policy   string
	upstream string // lines under the upstream, beside its targets
	begin    func(ls []*link)
	end      func(ls []*link)
	// share of good answers, in percent, that clients must still get meanwhile; it is far below what is measured, as CI machines
	// are slow and the first moments of a fault count.
	atLeast float64
	mayCut  bool // answers may break off: what is malformed behind the head of a response can be told in no other way
}

const poolSettings = `    loadBalancing: { strategy: leastConnections }
    health: { http: { path: /health }, interval: 300ms, timeout: 250ms, unhealthyThreshold: 2 }
    outlier: { consecutive5xx: 5, consecutiveGatewayFailure: 3, interval: 500ms, baseEjectionTime: 1s, maxEjectionPercent: 50 }
`

// each does the same to the first n links.
func each(n int, do func(l *link)) func(ls []*link) {
	return func(ls []*link) {
		for _, l := range ls[:n] {
			do(l)
		}
	}
}

func toxic(kind, attributes string) func(l *link) { return func(l *link) { l.toxic(kind, attributes) } }
func heal(kind string) func(l *link)              { return func(l *link) { l.heal(kind) } }
func kill(l *link)                                { l.proxy.Stop() }
func revive(l *link)                              { l.start() }

func faultList() []fault {
	return []fault{
		{name: "the only server is killed", links: 1, policy: policyAlone, begin: each(1, kill), end: each(1, revive)},
		{name: "the only server hangs", links: 1, policy: policyAlone, begin: each(1, toxic("timeout", `{"timeout": 0}`)), end: each(1, heal("timeout"))},
		{name: "the only server is slow (400 ms)", links: 1, policy: policyAlone, begin: each(1, toxic("latency", `{"latency": 400, "jitter": 50}`)), end: each(1, heal("latency")), atLeast: 90},
		{name: "the only server resets", links: 1, policy: policyAlone, begin: each(1, toxic("reset_peer", `{"timeout": 0}`)), end: each(1, heal("reset_peer"))},
		{name: "the only server answers garbage", links: 1, policy: policyAlone, begin: each(1, func(l *link) { l.broken.Store(true) }), end: each(1, func(l *link) { l.broken.Store(false) }), mayCut: true},
		{name: "the only server hangs, behind a breaker", links: 1, policy: policyBreaker, begin: each(1, toxic("timeout", `{"timeout": 0}`)), end: each(1, heal("timeout"))},
		{name: "1 of 4 is killed", links: 4, policy: policyPool, upstream: poolSettings, begin: each(1, kill), end: each(1, revive), atLeast: 80},
		{name: "1 of 4 hangs", links: 4, policy: policyPool, upstream: poolSettings, begin: each(1, toxic("timeout", `{"timeout": 0}`)), end: each(1, heal("timeout")), atLeast: 50},
		{name: "1 of 4 resets", links: 4, policy: policyPool, upstream: poolSettings, begin: each(1, toxic("reset_peer", `{"timeout": 0}`)), end: each(1, heal("reset_peer")), atLeast: 80},
		{name: "1 of 4 answers garbage", links: 4, policy: policyPool, upstream: poolSettings, begin: each(1, func(l *link) { l.broken.Store(true) }), end: each(1, func(l *link) { l.broken.Store(false) }), atLeast: 50, mayCut: true},
		{name: "2 of 4 are killed", links: 4, policy: policyPool, upstream: poolSettings, begin: each(2, kill), end: each(2, revive), atLeast: 60},
		{name: "4 of 4 are killed", links: 4, policy: policyPool, upstream: poolSettings, begin: each(4, kill), end: each(4, revive)},
	}
}

// TestFaults breaks each thing while two routes are under load, swaps the configuration in the middle of it, and mends it.
func TestFaults(t *testing.T) {
	var rows []row
	for _, f := range faultList() {
		t.Run(f.name, func(t *testing.T) {
			links := make([]*link, f.links)
			targets := make([]string, f.links)
			for i := range links {
				links[i] = newLink(t)
				targets[i] = fmt.Sprintf("{ url: \"http://%s\" }", links[i].addr)
			}
			g := startGateway(t, "    targets: ["+strings.Join(targets, ", ")+"]\n"+f.upstream, f.policy)
			g.serve(0)
			r := g.through(f.name, func() { f.begin(links) }, func() { f.end(links) })
			r.judge(t, f.atLeast, f.mayCut)
			rows = append(rows, r)
		})
	}
	record(t, rows)
}

// through runs the phases of one fault: calm, broken with a swap in the middle, mended.
func (g *gateway) through(name string, begin, end func()) row {
	g.t.Helper()
	shaky, steady := startLoad(g.t, g.url+"/shaky/", rate), startLoad(g.t, g.url+"/steady/", rate)
	start := time.Now()
	testkit.Eventually(g.t, "the calm phase has answers", func() bool { return time.Since(start) > span() && shaky.good(start) > 0 })
	broken := time.Now()
	begin()
	half := time.Now().Add(span() / 2)
	testkit.Eventually(g.t, "half of the fault is over", func() bool { return time.Now().After(half) })
	g.swap()
	testkit.Eventually(g.t, "the fault is over", func() bool { return time.Since(broken) > span() })
	mended := time.Now()
	end()
	// Back to normal: the first moment after which nothing fails for a third of a phase.
	testkit.Eventually(g.t, "requests are answered again", func() bool { return shaky.good(mended) > rate/4 })
	settle := time.Now().Add(span())
	testkit.Eventually(g.t, "the last phase is over", func() bool { return time.Now().After(settle) })
	over := time.Now()
	all, other := shaky.stop(), steady.stop()
	calm, fault := between(all, start, broken).split(broken)
	r := row{
		name: name, calm: calm, fault: append(fault, between(all, broken, mended)...), after: between(all, mended, over),
		steady: between(other, start, over), process: g.process,
	}
	r.back = r.after.recovered(mended)
	return r
}

// recovered is how long after the fault the last request failed; 0 if none did.
func (p phase) recovered(mended time.Time) time.Duration {
	var last time.Duration
	for _, a := range p {
		if !isGood(a) {
			last = max(last, a.at.Sub(mended))
		}
	}
	return last
}
