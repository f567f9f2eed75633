// Command bench measures gwrun and gwctl side by side with their peers and prints one table of ratios, each against its
// budget. Absolute figures say little on a machine that does other things too, so everything is compared within one run, in
// interleaved rounds, and by the CPU a server itself uses. It listens on loopback, ends what it started, and is bounded in
// time. It must not judge by what it did not see: a missing peer or a failed measurement is a row that says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

var efforts = map[string]effort{
	"short": {
		rounds: 3, window: time.Second, kindRounds: 1, kindWindow: 500 * time.Millisecond, policyRounds: 1, policyWindow: 500 * time.Millisecond,
		swaps: 1, sizes: []int{10_000}, streams: 200, deadline: 240 * time.Second,
	},
	"full": {
		rounds: 5, window: 3 * time.Second, kindRounds: 3, kindWindow: time.Second, policyRounds: 5, policyWindow: 2 * time.Second,
		swaps: 5, sizes: []int{10_000, 100_000}, streams: 10_000, deadline: 1500 * time.Second,
	},
}

func main() {
	mode := flag.String("mode", "full", "how thorough: short (about 3 min) or full (about 15 min)")
	recordIn := flag.String("record", "", "put the result into this document")
	only := flag.String("only", "", "measure nothing but nginx and this part: policies")
	kind := flag.String("serve", "", "be a proxy to compare with: relay or reverseproxy")
	listen := flag.String("listen", "", "with -serve: the address to listen on")
	to := flag.String("to", "", "with -serve: the upstream")
	flag.Parse()

	run := func() error { return run(*mode, *only, *recordIn) }
	if *kind != "" {
		run = func() error { return serve(*kind, *listen, *to) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(mode, only, recordIn string) error {
	e, known := efforts[mode]
	switch {
	case !known:
		return fmt.Errorf("unknown mode %q, want short or full", mode)
	case only != "" && only != "policies":
		return fmt.Errorf("unknown part %q, want policies", only)
	case only != "" && recordIn != "":
		return errors.New("-only with -record: a part would take the place of the whole result")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	begin := time.Now()
	e.streams = roomFor(e.streams) // before any process is started
	b := &bench{dir: dir, effort: e, only: only}
	err = b.all(ctx)
	text := fmt.Sprintf("%s; %s, %s.\n\n%s", surroundings(), mode, time.Since(begin).Round(time.Second), table(b.rows))
	if len(b.kinds) > 0 {
		text += "\nOther traffic, each server beside nginx:\n\n" + kindTable(b.kinds)
	}
	for _, note := range b.notes {
		text += "\n" + note + "\n"
	}
	fmt.Print(text)
	if err == nil && recordIn != "" {
		err = record(recordIn, text)
	}
	return err
}

// bench collects the table.
type bench struct {
	dir    string
	effort effort
	only   string // a part; empty: everything
	rows   []row
	kinds  []row // of the other workloads
	notes  []string
	errs   []error
}

func progress(what string) { fmt.Fprintln(os.Stderr, "bench:", what) }

// missing adds a row for a measurement that failed, and makes the run fail at its end.
func (b *bench) missing(what, budget string, err error) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", what, err))
	b.rows = append(b.rows, unmeasured(what, budget, "see the error below"))
}

func (b *bench) all(ctx context.Context) error {
	l, err := upstream()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	to := l.Addr().String()
	g, err := buildGateway(ctx, b.dir, to)
	if err != nil {
		b.errs = append(b.errs, err)
		b.notes = append(b.notes, "gwrun and gwctl could not be built: only their peers were measured.")
		g = nil
	}
	id, err := newIdentity(b.dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	list := peerList(self)
	if b.only != "" {
		list = list[:1] // nginx, which everything is compared with
	}
	peers, notes := startPeers(ctx, list, b.dir, to, id)
	b.notes = append(b.notes, notes...)
	defer func() {
		for _, s := range peers {
			s.process.stop()
		}
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	// The deadline is that of the measurements: how long the compiler takes depends on its cache.
	ctx, cancel := context.WithTimeout(ctx, b.effort.deadline)
	defer cancel()

	if b.only == "" {
		b.plain(ctx, g, peers)
	}
	if g != nil {
		b.policies(ctx, g, peers)
	}
	if b.only == "" {
		b.others(ctx, g, peers, id)
		if g != nil {
			b.activations(ctx, g)
		}
	}
	return errors.Join(b.errs...)
}

// plain measures what gwctl takes to validate, and plain requests through every server and every size of gwrun.
func (b *bench) plain(ctx context.Context, g *gateway, peers []*subject) {
	var gateways []*subject
	if g != nil {
		progress("built in " + g.buildDuration.Round(time.Second).String())
		b.validate(ctx, g)
		gateways = b.gateways(ctx, g)
		defer func() {
			for _, s := range gateways {
				s.process.stop() // what follows is measured on a machine that does nothing else
			}
		}()
	}
	subjects := slices.Concat(peers, gateways)
	samples, err := measure(ctx, plain(), subjects, b.effort, progress)
	if err != nil {
		b.errs = append(b.errs, err)
	}
	b.throughput(subjects, samples)
	if g != nil {
		b.memory(samples)
	}
}

// others measures everything but plain keep-alive requests, and counts system calls.
func (b *bench) others(ctx context.Context, g *gateway, peers []*subject, id identity) {
	subjects := peers
	if g != nil {
		s, err := g.everything(ctx, id)
		if err != nil {
			b.errs = append(b.errs, err)
		} else {
			defer s.process.stop()
			subjects = append(slices.Clone(peers), s)
		}
	}
	proxies := slices.DeleteFunc(slices.Clone(subjects), func(s *subject) bool { return s.plain })
	for _, w := range workloads(id) {
		b.compare(ctx, w, proxies)
	}
	for _, s := range proxies {
		b.systemCalls(ctx, s)
	}
	for _, s := range peers {
		s.process.stop() // with what some of them keep of streams whose clients have left: it would take descriptors from what follows
	}
	if len(subjects) > len(peers) {
		b.idle(ctx, subjects[len(peers)])
	}
}

// sized names a gateway by the routes it holds.
func sized(n int) string {
	if n == 1 {
		return "gwrun, 1 route"
	}
	return fmt.Sprintf("gwrun, %d routes", n)
}

// gateways starts one gwrun for each size.
func (b *bench) gateways(ctx context.Context, g *gateway) []*subject {
	var out []*subject
	for _, n := range append([]int{1}, b.effort.sizes...) {
		name, repo := sized(n), fmt.Sprintf("routes-%d", n)
		s := testkit.Synthetic{Routes: n}
		progress("start " + name)
		if err := g.repository(ctx, repo, s); err != nil {
			b.errs = append(b.errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if err := g.apply(ctx, repo, repo+"-live"); err != nil {
			b.errs = append(b.errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		sub, err := g.run(ctx, name, repo+"-live", s)
		if err != nil {
			b.errs = append(b.errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		out = append(out, sub)
	}
	return out
}

// throughput adds the rows about plain proxying, and about many routes.
func (b *bench) throughput(subjects []*subject, samples map[string][]sample) {
	nginx, one := samples["nginx"], samples[sized(1)]
	for _, s := range subjects {
		got := samples[s.name]
		if len(got) == 0 {
			b.rows = append(b.rows, unmeasured(s.name, "", "see the error below"))
			continue
		}
		r := row{what: s.name, value: cost(got)}
		if len(nginx) > 0 {
			times := ratio(got, nginx, cpuOf)
			r.ratio = fmt.Sprintf("%.2f x nginx", times)
			if budget := plain().budget; s.name == sized(1) {
				r.budget, r.verdict = fmt.Sprintf("<= %.1f x nginx", budget), atMost(times, budget)
			}
		}
		b.rows = append(b.rows, r)
	}
	for _, n := range b.effort.sizes {
		what, budget := fmt.Sprintf("throughput, %d routes / 1 route", n), ">= 0.95"
		if len(one) == 0 || len(samples[sized(n)]) == 0 {
			b.rows = append(b.rows, unmeasured(what, budget, "gwrun did not serve"))
			continue
		}
		times := ratio(samples[sized(n)], one, rateOf)
		b.rows = append(b.rows, row{
			what: what, value: fmt.Sprintf("CPU a request %.2f x", ratio(samples[sized(n)], one, cpuOf)),
			ratio: fmt.Sprintf("%.2f", times), budget: budget, verdict: atLeast(times, 0.95),
		})
	}
}

// cost says what a server takes for a request, and how soon it answers.
func cost(got []sample) string {
	return fmt.Sprintf("%s CPU a request, %.0f/s, p50 %s, p99 %s, %s", microseconds(median(got, cpuTime)), median(got, rateOf),
		microseconds(median(got, p50Of)), microseconds(median(got, p99Of)), mebibytes(median(got, func(s sample) int64 { return s.rss })))
}

// memory adds the rows about what a route costs.
func (b *bench) memory(samples map[string][]sample) {
	one := samples[sized(1)]
	for _, n := range b.effort.sizes {
		what, budget := fmt.Sprintf("memory a route, of %d", n), "<= 2 KB"
		many := samples[sized(n)]
		if len(one) == 0 || len(many) == 0 {
			b.rows = append(b.rows, unmeasured(what, budget, "gwrun did not serve"))
			continue
		}
		rss := func(s sample) int64 { return s.rss }
		per := float64(median(many, rss)-median(one, rss)) / float64(n-1)
		b.rows = append(b.rows, row{what: what, value: fmt.Sprintf("%.2f KB", per/1000), ratio: fmt.Sprintf("%.2f of budget", per/2000), budget: budget, verdict: atMost(per, 2000)})
	}
}

// idle adds the row about what an idle stream costs a gateway that takes as many of them as come.
func (b *bench) idle(ctx context.Context, s *subject) {
	what, budget := fmt.Sprintf("memory an idle event stream, of %d", b.effort.streams), "<= 20 KB"
	progress(what)
	per, err := idleStreams(ctx, s, get(s.host, pathStream), b.effort.streams)
	if err != nil {
		b.missing(what, budget, err)
		return
	}
	kb := float64(per) / 1000
	b.rows = append(b.rows, row{what: what, value: fmt.Sprintf("%.1f KB", kb), ratio: fmt.Sprintf("%.2f of budget", kb/20), budget: budget, verdict: atMost(kb, 20)})
}

// validateBudgets are CPU seconds by number of routes: cold, and nothing changed.
var validateBudgets = map[int][2]float64{10_000: {1.5, 0.2}, 100_000: {10, 0.5}}

func (b *bench) validate(ctx context.Context, g *gateway) {
	for _, n := range b.effort.sizes {
		progress(fmt.Sprintf("validate %d routes", n))
		repo := fmt.Sprintf("validate-%d", n)
		err := g.repository(ctx, repo, testkit.Synthetic{Routes: n})
		for i, state := range []string{"cold", "nothing changed"} {
			limit := validateBudgets[n][i]
			what, budget := fmt.Sprintf("validate %d routes, %s", n, state), fmt.Sprintf("<= %.1f s CPU", limit)
			var cpu time.Duration
			if err == nil {
				cpu, err = g.ctl(ctx, "validate", g.path(repo), "--env", environment)
			}
			if err != nil {
				b.missing(what, budget, err)
				continue
			}
			b.rows = append(b.rows, row{
				what: what, value: seconds(cpu) + " CPU", ratio: fmt.Sprintf("%.2f of budget", cpu.Seconds()/limit),
				budget: budget, verdict: atMost(cpu.Seconds(), limit),
			})
		}
	}
}

// activateBudgets are CPU seconds by number of routes.
var activateBudgets = map[int]float64{10_000: 0.15, 100_000: 1}

func (b *bench) activations(ctx context.Context, g *gateway) {
	for _, n := range b.effort.sizes {
		limit, swaps := activateBudgets[n], b.effort.swaps
		if n > 10_000 {
			swaps = 1 // compiling takes the time
		}
		what, budget := fmt.Sprintf("activate %d routes, all changed", n), fmt.Sprintf("<= %.2f s CPU", limit)
		progress(what)
		a, err := g.activate(ctx, n, swaps)
		if err != nil {
			b.missing(what, budget, err)
			continue
		}
		slow := float64(a.p99) / float64(a.calm)
		b.rows = append(b.rows,
			row{
				what: what, value: seconds(a.cpu) + " CPU", ratio: fmt.Sprintf("%.2f of budget", a.cpu.Seconds()/limit),
				budget: budget, verdict: atMost(a.cpu.Seconds(), limit),
			},
			row{
				what:  fmt.Sprintf("requests failed while %d routes were swapped", n),
				value: fmt.Sprintf("%d of %d", a.failed, a.requests), budget: "0", verdict: atMost(float64(a.failed), 0),
			},
			row{
				what:  fmt.Sprintf("p99 at %d/s with a swap of %d routes / without", paced, n),
				value: microseconds(a.p99) + " / " + microseconds(a.calm), ratio: fmt.Sprintf("%.2f", slow),
				budget: "<= 1.05", verdict: atMost(slow, 1.05),
			})
	}
}
