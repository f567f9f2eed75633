package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// callers is how many clients take turns: more than one, of whom what a gateway keeps would never leave the fastest cache, and few
// enough that each comes often, as one has to whose tokens are worth taking ahead.
const callers = 100

// Where what policies count is kept.
const (
	inRedis  = "redis"
	inMemory = "memory:" // as --redis has it
)

// protection is what a gwrun under measurement has on its one route.
type protection struct {
	name   string
	policy []string // lines of YAML
	state  string   // where it counts; empty: nowhere
	logged bool     // each request goes into an access log, in a file
	budget float64  // CPU, as a multiple of nginx without any policy; 0: none

	// fields makes what each of n requests carries in its header.
	fields func(ctx context.Context, g *guarded, n int) ([]string, error)
	fresh  bool // no request is sent twice

	shadow    int      // percent of the callers whose requests a candidate judges beside; 0: there is none
	candidate []string // its policy
}

// protections are the rows about policies, in the order of the table.
func protections(i *issuer) []protection {
	jwt := fmt.Sprintf("auth: { jwt: { issuer: %q, audience: bench, jwksUri: %q } }", i.url, i.url)
	limit := func(more string) string {
		return "rateLimit: { tokensPerInterval: 6000, intervalMs: 60000" + more + " }"
	}
	other := strings.Replace(jwt, "audience: bench", "audience: bench, clockSkewSeconds: 30", 1) // is judged like the one that serves
	const byCaller, ahead = `, key: ["header:X-Caller"]`, ", localPercent: 10"
	return []protection{
		{name: "gwrun, no policy", fields: callerFields},
		{name: "gwrun, JWT (ES256), tokens that come again", policy: []string{jwt}, fields: i.bearers},
		{name: "gwrun, JWT (ES256), each token new", policy: []string{jwt}, fields: i.bearers, fresh: true},
		{name: "gwrun, API key", policy: []string{"auth: { apiKey: {} }"}, state: inRedis, fields: keyFields},
		{name: "gwrun, rate limit in Redis, asked by each request", policy: []string{limit(byCaller)}, state: inRedis, fields: callerFields},
		{name: "gwrun, rate limit in Redis, localPercent 10", policy: []string{limit(byCaller + ahead)}, state: inRedis, fields: callerFields},
		{name: "gwrun, rate limit in memory", policy: []string{limit(byCaller)}, state: inMemory, fields: callerFields},
		{
			name: "gwrun, JWT (ES256) + rate limit in Redis, localPercent 10 + metrics + access log", policy: []string{jwt, limit(ahead)},
			state: inRedis, logged: true, budget: 2, fields: i.bearers,
		},
		{name: "gwrun, JWT (ES256), a candidate judges 10 % of the callers", policy: []string{jwt}, fields: i.passengers, shadow: 10, candidate: []string{other}},
		{name: "gwrun, JWT (ES256), a candidate judges all callers", policy: []string{jwt}, fields: i.passengers, shadow: 100, candidate: []string{other}},
	}
}

// policies adds the rows about policies. Nginx has none: what they cost is compared with what a proxy costs at all.
func (b *bench) policies(ctx context.Context, g *gateway, peers []*subject) {
	i, err := newIssuer()
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("policies: %w", err))
		return
	}
	defer i.close()
	var under []*guarded
	byName := map[string]*guarded{}
	subjects := slices.DeleteFunc(slices.Clone(peers), func(s *subject) bool { return s.name != "nginx" })
	for number, p := range protections(i) {
		progress("start " + p.name)
		s, err := g.protect(ctx, p, number)
		switch {
		case errors.Is(err, exec.ErrNotFound):
			b.rows = append(b.rows, unmeasured(p.name, p.limit(), "redis-server is not installed"))
			continue
		case err != nil:
			b.missing(p.name, p.limit(), err)
			continue
		}
		defer s.stop()
		under, subjects, byName[s.name] = append(under, s), append(subjects, s.subject), s
	}
	w := workload{name: "policies", unit: "a request", run: func(ctx context.Context, s *subject, w time.Duration) (result, error) {
		if p := byName[s.name]; p != nil {
			return p.run(ctx, w)
		}
		return plain().run(ctx, s, w)
	}}
	e := b.effort
	e.rounds, e.window = e.policyRounds, e.policyWindow
	samples, err := measure(ctx, w, subjects, e, progress)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("policies: %w", err))
	}
	for _, s := range under {
		if err := s.finish(ctx); err != nil {
			b.missing(s.name, s.has.limit(), err)
			continue
		}
		b.rows = append(b.rows, s.row(samples[s.name], samples["nginx"]))
	}
}

// limit is the budget, as the table has it.
func (p *protection) limit() string {
	if p.budget == 0 {
		return ""
	}
	return fmt.Sprintf("<= %.1f x nginx", p.budget)
}

func (s *guarded) row(got, nginx []sample) row {
	if len(got) == 0 {
		return unmeasured(s.name, s.has.limit(), "see the error below")
	}
	r := row{what: s.name, value: cost(got) + s.behind(), budget: s.has.limit()}
	if len(nginx) == 0 {
		return r
	}
	times := ratio(got, nginx, cpuOf)
	r.ratio = fmt.Sprintf("%.2f x nginx", times)
	if s.has.budget > 0 {
		r.verdict = atMost(times, s.has.budget)
	}
	return r
}
