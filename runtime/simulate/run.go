package simulate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Result is what became of one case in one environment.
type Result struct {
	Case        *Case
	Environment string
	Requests    int     // that were sent
	Failed      *Failed // nil: everything was as expected

	reach []reach
}

// Failed is the first request of a case that did not go as expected. The ones after it are not sent: they would fail for its sake.
type Failed struct {
	Mismatches []Mismatch
	Step       int    // of the test's requests, from 1
	Repetition int    // from 1
	Times      int    // how often it was to be sent
	Request    string // such as "GET https://api.example.com/users"
	With       string // credentials and address, in words
	Status     int
	Route      string
	Origin     *diag.Pos // of the route
	Upstream   string
	Code       string
	Policies   []string // what each policy that was asked said, such as "rateLimit rate_limited"
}

// Misfit is a test that does not go with the configuration: it signs a URL for a route without keys, say.
type Misfit struct {
	Pos diag.Pos
	Err error
}

// Error implements error.
func (m *Misfit) Error() string { return fmt.Sprintf("%s: %v", m.Pos, m.Err) }

// Unwrap gives the cause.
func (m *Misfit) Unwrap() error { return m.Err }

// Suite is tests and the configuration that they are about. It must be closed. It is for one goroutine.
type Suite struct {
	program *ir.Program
	verdict *bundle.Verdict
	tools   Tools
	points  *points
	issuers *issuers
	cases   []*Case
	scripts []*script // of the cases that have one
	worlds  []*world
}

// NewSuite builds the configuration, and chooses the cases that are for its environment.
func NewSuite(ctx context.Context, p *ir.Program, cases []*Case, t Tools) (*Suite, error) {
	s := &Suite{program: p, tools: t, points: pointsOf(p), issuers: newIssuers()}
	for _, c := range cases {
		if c.In(p.Environment) {
			s.cases = append(s.cases, c)
		}
	}
	var err error
	if s.verdict, err = verdict(offline(p)); err != nil {
		return nil, err
	}
	if _, err = s.world(ctx, 0); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends everything that the suite has started.
func (s *Suite) Close() {
	for _, w := range s.worlds {
		w.close()
	}
	s.worlds = nil
}

// world returns the world with a number, and makes it if need be. There is one for each goroutine.
func (s *Suite) world(ctx context.Context, i int) (*world, error) {
	for len(s.worlds) <= i {
		w, err := newWorld(ctx, s.verdict, s.tools, s.points, s.issuers, len(s.worlds) == 0)
		if err != nil {
			return nil, err
		}
		s.worlds = append(s.worlds, w)
	}
	return s.worlds[i], nil
}

// Run runs every case. The results are in the order of the cases.
func (s *Suite) Run(ctx context.Context) ([]Result, error) {
	out := make([]Result, len(s.cases))
	s.scripts = make([]*script, len(s.cases))
	requests := 0
	for i, c := range s.cases {
		out[i] = Result{Case: c, Environment: s.program.Environment}
		sc, err := s.worlds[0].write(c)
		var misfit *Misfit
		switch {
		case errors.As(err, &misfit):
			out[i].Failed = &Failed{Mismatches: []Mismatch{{Pos: misfit.Pos, Field: "send", Expected: "a request that can be made", Got: misfit.Err.Error()}}}
		case err != nil:
			return nil, err
		}
		s.scripts[i] = sc
		for j := range c.spec.Requests {
			requests += int(*c.spec.Requests[j].Times)
		}
	}
	workers := min(runtime.GOMAXPROCS(0), 1+requests/requestsEach)
	err := s.each(ctx, workers, len(s.cases), func(w *world, i int) error {
		if s.scripts[i] == nil {
			return nil
		}
		var err error
		out[i].Requests, out[i].Failed, err = w.play(ctx, s.scripts[i])
		out[i].reach = w.marks.taken()
		return err
	})
	for i := range out {
		s.locate(out[i].Failed)
	}
	return out, err
}

// requestsEach is how many requests a further world is worth making for.
const requestsEach = 5000

// each calls f with every number below n, spread over worlds.
func (s *Suite) each(ctx context.Context, workers, n int, f func(w *world, i int) error) error {
	if n == 0 {
		return nil
	}
	if _, err := s.world(ctx, workers-1); err != nil {
		return err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for k, w := range s.worlds[:workers] {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[k] == nil; i = int(next.Add(1)) - 1 {
				if errs[k] = ctx.Err(); errs[k] == nil {
					errs[k] = f(w, i)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// play sends the requests of a script, up to the first that does not go as expected.
func (w *world) play(ctx context.Context, sc *script) (sent int, failed *Failed, err error) {
	w.begin(sc.c.at, sc.c.spec.Away)
	for _, r := range sc.records {
		if err := w.state.PutKey(ctx, r); err != nil {
			return 0, nil, err
		}
	}
	for i := range sc.steps {
		step := &sc.steps[i]
		w.clock.Add(int64(step.after))
		for n := range step.times {
			if n%256 == 0 && ctx.Err() != nil {
				return sent, nil, ctx.Err()
			}
			w.network.expect(step.stub)
			w.send(&step.message)
			sent++
			if found := w.judge(sc.c, i); len(found) > 0 {
				return sent, w.failure(step, found, i, n), nil
			}
		}
	}
	return sent, nil, nil
}

// failure describes the last exchange.
func (w *world) failure(step *scene, found []Mismatch, i, n int) *Failed {
	f := &Failed{
		Mismatches: found, Step: i + 1, Repetition: n + 1, Times: step.times, Request: step.line, With: step.with,
		Status: w.out.status, Route: w.trace.route, Upstream: w.trace.upstream, Code: w.trace.code,
	}
	for _, s := range w.trace.steps {
		f.Policies = append(f.Policies, s.policy+" "+s.said)
	}
	return f
}

// locate says where the route of a failure was written.
func (s *Suite) locate(f *Failed) {
	if f != nil && f.Route != "" {
		f.Origin = origin(s.program, "routes/"+f.Route)
	}
}

// Took is a time in a report: to the millisecond, or finer where that would be nothing.
func Took(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// policyOrigin is where a policy of a route was written: the place of the policy, or the first of its fields.
func (s *Suite) policyOrigin(route, kind, field string) *diag.Pos {
	at := "routes/" + route + "/policy." + kind
	for f := at + "." + field; field != "" && len(f) > len(at); f = f[:strings.LastIndexByte(f, '.')] {
		if pos := origin(s.program, f); pos != nil {
			return pos
		}
	}
	if pos := origin(s.program, at); pos != nil {
		return pos
	}
	return origin(s.program, "routes/"+route)
}

// failedIn reports whether a result failed.
func failedIn(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Failed != nil })
}
