package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/snapshot"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Mutant is the configuration with one protection weakened.
type Mutant struct {
	Route  string    `json:"route"`
	Policy string    `json:"policy"`
	Change string    `json:"change"` // what is weaker, such as "the role admin is not asked for"
	Origin *diag.Pos `json:"origin,omitempty"`
	Tested bool      `json:"tested"` // some test meets the policy

	noticed bool // and fails
	point   int
	plan    json.RawMessage // nil: the policy is taken out
}

// Mutation is what tests make of weakened configurations.
type Mutation struct {
	Mutants  []Mutant // in the order of routes and policies
	Requests int64    // that were sent
	Took     time.Duration
}

// Noticed counts the mutants that make a test fail.
func (m *Mutation) Noticed() int { return len(m.Mutants) - len(m.Survived()) }

// Survived lists the mutants that no test notices.
func (m *Mutation) Survived() []Mutant {
	out := []Mutant{}
	for i := range m.Mutants {
		if !m.Mutants[i].noticed {
			out = append(out, m.Mutants[i])
		}
	}
	return out
}

// Add merges what became of the mutants in another environment. One that is the same, down to the line, is noticed if it is in either.
func (m *Mutation) Add(other *Mutation) {
	type same struct {
		route, policy, change string
		at                    diag.Pos
	}
	of := func(m *Mutant) same {
		k := same{route: m.Route, policy: m.Policy, change: m.Change}
		if m.Origin != nil {
			k.at = *m.Origin
		}
		return k
	}
	at := map[same]int{}
	for i := range m.Mutants {
		at[of(&m.Mutants[i])] = i
	}
	for i := range other.Mutants {
		theirs := &other.Mutants[i]
		if j, known := at[of(theirs)]; known {
			mine := &m.Mutants[j]
			mine.Tested, mine.noticed = mine.Tested || theirs.Tested, mine.noticed || theirs.noticed
			continue
		}
		m.Mutants = append(m.Mutants, *theirs)
	}
	m.Requests, m.Took = m.Requests+other.Requests, m.Took+other.Took
}

// Mutate weakens one protection after the other, and plays to each mutant the cases that meet it: no others can tell a difference. The
// results are those of Run, and all is well with them.
func (s *Suite) Mutate(ctx context.Context, results []Result) (*Mutation, error) {
	if failedIn(results) {
		return nil, errors.New("tests fail that can therefore notice nothing")
	}
	begun := time.Now()
	mutants, err := s.mutants(ctx)
	if err != nil {
		return nil, err
	}
	meets := s.meetings(results)
	var sent atomic.Int64
	workers := max(1, min(runtime.GOMAXPROCS(0), len(mutants)/8))
	err = s.each(ctx, workers, len(mutants), func(w *world, i int) error {
		w.mutant = &mutants[i]
		defer func() { w.mutant = nil }()
		for _, at := range meets[mutants[i].point] {
			mutants[i].Tested = true
			n, failed, err := w.play(ctx, s.scripts[at])
			if sent.Add(int64(n)); err != nil {
				return err
			}
			if failed != nil {
				mutants[i].noticed = true
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Mutation{Mutants: mutants, Requests: sent.Load(), Took: time.Since(begun)}, nil
}

// meetings lists for each point the cases that meet it, the shortest first: the sooner one notices, the less there is to play.
func (s *Suite) meetings(results []Result) map[int][]int {
	out := map[int][]int{}
	for i := range results {
		for _, r := range results[i].reach {
			out[r.at] = append(out[r.at], i)
		}
	}
	for _, list := range out {
		slices.SortStableFunc(list, func(a, b int) int { return results[a].Requests - results[b].Requests })
	}
	return out
}

// mutants lists the ways to weaken the configuration. Policies that only count whom they would refuse protect nobody yet.
func (s *Suite) mutants(ctx context.Context) ([]Mutant, error) {
	known := s.samples()
	var out []Mutant
	for i := range s.program.Routes {
		r := &s.program.Routes[i]
		for _, p := range r.Policies {
			if !refuses(p.Kind, p.Plan) && !slices.Contains(edits, p.Kind) {
				continue
			}
			ways, err := weaken(p, known)
			if err != nil {
				return nil, err
			}
			for _, way := range ways {
				m := Mutant{
					Route: r.ID, Policy: p.Kind, Change: way.change, Origin: s.policyOrigin(r.ID, p.Kind, way.field), point: s.points.policy(r.ID, p.Kind),
				}
				if way.plan != nil {
					if m.plan, err = json.Marshal(way.plan); err != nil {
						return nil, err
					}
					if !s.builds(ctx, r, p.Kind, m.plan) {
						continue // what is left is none: to take the policy out is another mutant
					}
				}
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// builds reports whether a gateway would take a plan.
func (s *Suite) builds(ctx context.Context, r *ir.Route, kind string, plan json.RawMessage) bool {
	i := slices.IndexFunc(s.tools.Kinds, func(k policy.Kind) bool { return k.Name == kind })
	w := s.worlds[0]
	h, err := s.tools.Kinds[i].Build(ctx, &policy.Env{
		Log: slog.New(slog.DiscardHandler), Now: w.now, Shared: snapshot.NewShared(), Upstream: r.Target.Upstream, Environment: w.environment,
		Route:   policy.Route{ID: r.ID, Pattern: r.Match.Path, Tenant: r.Tenant},
		Metrics: uncounted{}, Secrets: secrets{w}, KeySets: keySets{w}, State: state{w}, Pepper: pepper,
	}, plan)
	if c, ok := h.(io.Closer); ok && err == nil {
		_ = c.Close() // it was made to see whether it can be
	}
	return err == nil
}

// samples collects from the tests what weakened policies have to take in.
func (s *Suite) samples() *samples {
	audiences, origins := map[string]bool{}, map[string]bool{"https://origin.example": true}
	for _, c := range s.cases {
		for i := range c.spec.Requests {
			send := &c.spec.Requests[i].Send
			for name, value := range send.Headers {
				if strings.EqualFold(name, "Origin") && strings.Contains(value, "://") { // "null" and the like are none that can be allowed
					origins[value] = true
				}
			}
			if send.Token == nil {
				continue
			}
			switch v := send.Token.Claims["aud"].Value.(type) {
			case string:
				audiences[v] = true
			case []any:
				for _, e := range v {
					audiences[fmt.Sprint(e)] = true
				}
			}
		}
	}
	return &samples{audiences: slices.Sorted(maps.Keys(audiences)), origins: slices.Sorted(maps.Keys(origins))}
}
