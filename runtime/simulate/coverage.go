package simulate

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/suuupra/gateway/schema/diag"
)

// Coverage is what tests have reached of a configuration: each route, and of each policy on it that it let a request pass, and that it
// refused one. A policy that refuses nobody has only to be met.
type Coverage struct {
	Routes  []RouteCoverage `json:"routes"` // by id
	Points  int             `json:"points"`
	Covered int             `json:"covered"`
}

// RouteCoverage is one route.
type RouteCoverage struct {
	Route    string           `json:"route"`
	Origin   *diag.Pos        `json:"origin,omitempty"`
	Matched  bool             `json:"matched"`
	Policies []PolicyCoverage `json:"policies,omitempty"` // in pipeline order
}

// PolicyCoverage is one policy of a route.
type PolicyCoverage struct {
	Policy  string    `json:"policy"`
	Origin  *diag.Pos `json:"origin,omitempty"`
	Passed  bool      `json:"passed"`
	Refused bool      `json:"refused"`
	Refuses bool      `json:"refuses"` // it can refuse a request
}

// edits are the kinds that change messages and refuse nobody. A test holds it and the kinds that there are together.
var edits = []string{"securityHeaders", "compression", "headers", "rewrite", "contextInjection"}

// refuses reports whether a policy can refuse a request: not if it only counts whom it would refuse.
func refuses(kind string, plan json.RawMessage) bool {
	var p struct {
		Shadow bool `json:"shadow"`
	}
	return !slices.Contains(edits, kind) && (json.Unmarshal(plan, &p) != nil || !p.Shadow)
}

// Coverage adds up what the results of Run have reached.
func (s *Suite) Coverage(results []Result) *Coverage {
	bits := make([]uint8, s.points.len())
	for i := range results {
		for _, r := range results[i].reach {
			bits[r.at] |= r.bits
		}
	}
	out := &Coverage{}
	for i := range s.program.Routes {
		r := &s.program.Routes[i]
		rc := RouteCoverage{Route: r.ID, Origin: origin(s.program, "routes/"+r.ID), Matched: bits[s.points.route(r.ID)]&markPassed != 0}
		for _, p := range r.Policies {
			b := bits[s.points.policy(r.ID, p.Kind)]
			rc.Policies = append(rc.Policies, PolicyCoverage{
				Policy: p.Kind, Origin: s.policyOrigin(r.ID, p.Kind, ""), Passed: b&markPassed != 0, Refused: b&markRefused != 0, Refuses: refuses(p.Kind, p.Plan),
			})
		}
		out.Routes = append(out.Routes, rc)
	}
	out.count()
	return out
}

// Add merges the coverage of another environment: what one of them has reached is reached.
func (c *Coverage) Add(other *Coverage) {
	at := map[string]int{}
	for i := range c.Routes {
		at[c.Routes[i].Route] = i
	}
	for _, r := range other.Routes {
		i, known := at[r.Route]
		if !known {
			c.Routes = append(c.Routes, r)
			continue
		}
		mine := &c.Routes[i]
		mine.Matched = mine.Matched || r.Matched
		for _, p := range r.Policies {
			mine.add(p)
		}
	}
	slices.SortFunc(c.Routes, func(a, b RouteCoverage) int { return cmp.Compare(a.Route, b.Route) })
	c.count()
}

func (r *RouteCoverage) add(p PolicyCoverage) {
	i := slices.IndexFunc(r.Policies, func(mine PolicyCoverage) bool { return mine.Policy == p.Policy })
	if i < 0 {
		r.Policies = append(r.Policies, p)
		return
	}
	mine := &r.Policies[i]
	mine.Passed, mine.Refused, mine.Refuses = mine.Passed || p.Passed, mine.Refused || p.Refused, mine.Refuses || p.Refuses
}

func (c *Coverage) count() {
	c.Points, c.Covered = 0, 0
	point := func(reached bool) {
		c.Points++
		if reached {
			c.Covered++
		}
	}
	for i := range c.Routes {
		point(c.Routes[i].Matched)
		for _, p := range c.Routes[i].Policies {
			point(p.Passed)
			if p.Refuses {
				point(p.Refused)
			}
		}
	}
}

// Percent is the covered share, rounded down: 100 means all of it.
func (c *Coverage) Percent() int {
	if c.Points == 0 {
		return 100
	}
	return 100 * c.Covered / c.Points
}
