// Package gate decides whether a change may go live: by the risks it carries, by how much it takes away, by the time, and by who has
// approved of it. A change is judged by the rules that are in force before it, so that it cannot loosen what it is judged by. The
// publisher asks before it moves a channel, and each gateway again before it activates what the channel names: a stolen publisher's
// key alone changes no traffic that a gate holds.
//
// It must not compare configurations, fetch, or know where approvals are kept.
package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// The codes that the rules every environment has are about. The first three are risks of a comparison, too.
const (
	RoutesRemoved = "ROUTES_REMOVED_MANY"
	Empty         = "EMPTY_CONFIG"
	NoAuthLeft    = "NO_AUTH_LEFT"
	OutsideWindow = "OUTSIDE_WINDOW"
	SkipDryRun    = "DRY_RUN"
)

// raised is the risk whose extent a gate may tolerate.
const raised = "LIMIT_RAISED"

// Change is the step from what is in force to what would be.
type Change struct {
	Base      bundle.Digest // manifest in force; empty: nothing is, and nothing holds the change
	Candidate bundle.Digest
	Risks     []Risk

	RoutesBefore, RoutesRemoved int
	// Back says that the candidate was in force before, and is now to be again. Nothing holds it: whoever goes back is in trouble.
	Back bool
	// Ask wants an approval of the change itself, whatever its risks: mode gated.
	Ask bool
	// DryRun is what live requests say about the candidate; nil: there are none to ask, as where a publisher judges.
	DryRun *DryRun
}

// Risk is one reason to look twice, as the comparison found it.
type Risk struct {
	Code, Severity string
	Object         string // e.g. "route users"; empty: the configuration as a whole
	Pos            diag.Pos
	Message        string
	// RaisedPercent is by how much a limit is raised: 150 for two and a half times what it was. 0: not known.
	RaisedPercent int64
}

// Approved is an approval whose signature has been verified.
type Approved struct {
	bundle.Approval
	Key string // that signed
}

// Verdict says whether a change may go live.
type Verdict struct {
	Refusals  []Refusal // by each rule that holds the change; none: it may
	Approvers []string  // keys whose approvals counted, sorted
}

// Open reports whether nothing holds the change.
func (v *Verdict) Open() bool { return len(v.Refusals) == 0 }

// Codes are what an approval of the change must name, sorted.
func (v *Verdict) Codes() []string {
	var out []string
	for i := range v.Refusals {
		out = append(out, v.Refusals[i].Codes...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Refusal is one rule that holds a change.
type Refusal struct {
	Rule  string    // as it is written, e.g. `gate "doors"`
	Why   string    // one sentence, lower case, no final period
	Codes []string  // that an approval must name, sorted; empty: one of the change itself
	Risks []Risk    // that the rule is about
	Want  int64     // approvals by different people
	Have  int64     //
	Opens time.Time // when the rule lets go by itself; zero: it does not, or not soon
}

// Judge asks every rule. Approvals of another step count for nothing.
func Judge(c Change, rules *ir.GitOps, approvals []Approved, now time.Time) Verdict {
	var v Verdict
	if c.Base == "" || c.Back {
		return v
	}
	approvals = slices.DeleteFunc(slices.Clone(approvals), func(a Approved) bool { return a.Manifest != c.Candidate || a.Base != c.Base })
	used := map[string]bool{}
	for _, r := range c.refusals(rules, now) {
		signers := signersOf(approvals, r.Codes)
		for _, key := range signers {
			used[key] = true
		}
		if r.Have = int64(len(signers)); r.Have < r.Want {
			v.Refusals = append(v.Refusals, r)
		}
	}
	for key := range used {
		v.Approvers = append(v.Approvers, key)
	}
	slices.Sort(v.Approvers)
	return v
}

// refusals are the rules that hold the change unless it is approved of.
func (c *Change) refusals(rules *ir.GitOps, now time.Time) []Refusal {
	out := c.always(rules)
	for i := range rules.Gates {
		if r := c.byGate(&rules.Gates[i]); r != nil {
			out = append(out, *r)
		}
	}
	if r := byWindow(rules.Windows, now); r != nil {
		out = append(out, *r)
	}
	if rules.DryRun != nil && c.DryRun != nil {
		out = append(out, c.DryRun.refusals(rules.DryRun)...)
	}
	if c.Ask {
		out = append(out, Refusal{Rule: "sync gated", Why: "each change of this environment needs an approval", Want: 1})
	}
	return out
}

// alwaysMayGo is how many routes may go whatever share of all that is: of three routes one is a third.
const alwaysMayGo = 2

// TooMany reports whether more routes go than may without an approval.
func TooMany(removed, before int, rules *ir.GitOps) bool {
	few := removed <= alwaysMayGo && rules.MaxRoutesRemovedPercent > 0
	return !few && removed*100 > int(rules.MaxRoutesRemovedPercent)*before
}

// always are the rules that every environment has. None of them holds a change that somebody has looked at; they are there for
// accidents: an empty folder, a lost file, a default that was dropped.
func (c *Change) always(rules *ir.GitOps) []Refusal {
	var out []Refusal
	for _, code := range []string{Empty, NoAuthLeft} {
		if risks := c.with(func(r *Risk) bool { return r.Code == code }); len(risks) > 0 {
			out = append(out, Refusal{Rule: "every environment", Why: risks[0].Message, Codes: []string{code}, Risks: risks, Want: 1})
		}
	}
	if TooMany(c.RoutesRemoved, c.RoutesBefore, rules) {
		out = append(out, Refusal{
			Rule: "maxRoutesRemovedPercent", Codes: []string{RoutesRemoved}, Want: 1,
			Why:   fmt.Sprintf("%d of %d routes are removed, more than %d percent", c.RoutesRemoved, c.RoutesBefore, rules.MaxRoutesRemovedPercent),
			Risks: c.with(func(r *Risk) bool { return r.Code == "ROUTE_REMOVED" }),
		})
	}
	return out
}

// byGate asks one gate.
func (c *Change) byGate(g *ir.Gate) *Refusal {
	risks := c.with(func(r *Risk) bool {
		if r.Code == raised && r.RaisedPercent > 0 && r.RaisedPercent <= g.RaisePercent {
			return false
		}
		return slices.Contains(g.Risks, r.Code) || slices.Contains(g.Risks, r.Severity)
	})
	if int64(len(risks)) <= g.Tolerate {
		return nil
	}
	r := &Refusal{Rule: fmt.Sprintf("gate %q", g.ID), Risks: risks, Want: g.Approvals}
	for i := range risks {
		r.Codes = append(r.Codes, risks[i].Code)
	}
	slices.Sort(r.Codes)
	r.Codes = slices.Compact(r.Codes)
	r.Why = fmt.Sprintf("the change carries %d of the risks it is about (%s)", len(risks), strings.Join(r.Codes, ", "))
	if g.Tolerate > 0 {
		r.Why += fmt.Sprintf(", %d are tolerated", g.Tolerate)
	}
	return r
}

func (c *Change) with(is func(*Risk) bool) []Risk {
	var out []Risk
	for i := range c.Risks {
		if is(&c.Risks[i]) {
			out = append(out, c.Risks[i])
		}
	}
	return out
}

// signersOf returns the keys of those who have approved of every code, each once.
func signersOf(approvals []Approved, codes []string) []string {
	var keys []string
	for i := range approvals {
		a := &approvals[i]
		if !slices.ContainsFunc(codes, func(code string) bool { return !a.Covers(code) }) {
			keys = append(keys, a.Key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Verify reads the approvals that were found, and returns those that count in an environment. The others are reported, not fatal: an
// approval that has expired or was signed with a key that is gone is as good as none.
func Verify(envelopes [][]byte, check bundle.Check) (good []Approved, bad []error) {
	for _, data := range envelopes {
		a, key, err := bundle.VerifyApproval(data, check)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		good = append(good, Approved{Approval: *a, Key: key})
	}
	slices.SortStableFunc(good, func(a, b Approved) int { return cmp.Compare(a.Key, b.Key) })
	return good, bad
}
