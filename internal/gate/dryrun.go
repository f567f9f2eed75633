package gate

import (
	"fmt"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// DryRun is what live requests have said about a candidate until now.
type DryRun struct {
	Requests                         int64 // that were judged
	For                              time.Duration
	DenyToAllow, AllowToDeny, Others int64
	CleanRuns                        int64 // of candidates before this one, in a row
}

// Complete reports whether enough was seen.
func (d *DryRun) Complete(rules *ir.DryRun) bool {
	return d.Requests >= rules.MinRequests && d.For >= time.Duration(rules.MinDuration)*time.Millisecond
}

// Differences say what exceeds the rules; empty: nothing does.
func (d *DryRun) Differences(rules *ir.DryRun) string {
	var out []string
	for _, c := range []struct {
		n, most int64
		what    string
	}{
		{d.DenyToAllow, rules.MaxDenyToAllow, "pass that are refused now"},
		{d.AllowToDeny, rules.MaxAllowToDeny, "are refused that pass now"},
		{d.Others, rules.MaxOther, "are treated otherwise"},
	} {
		if c.n > 0 && c.n > d.Requests*c.most/1_000_000 {
			out = append(out, fmt.Sprintf("%d of %d requests %s", c.n, d.Requests, c.what))
		}
	}
	return strings.Join(out, ", ")
}

// refusals are what live requests have against the change. What differs too much holds it at once: it does not become better.
func (d *DryRun) refusals(rules *ir.DryRun) []Refusal {
	r := Refusal{Rule: "dryRun", Codes: []string{SkipDryRun}, Want: 1}
	least := time.Duration(rules.MinDuration) * time.Millisecond
	switch why := d.Differences(rules); {
	case why != "":
		r.Why = why
	case !d.Complete(rules):
		r.Why = fmt.Sprintf("%d of %d requests are judged, for %s of %s", d.Requests, rules.MinRequests, d.For.Truncate(time.Second), least)
	case d.CleanRuns+1 < rules.CleanRuns: // this one is clean, too
		r.Why, r.Codes = fmt.Sprintf("%d dry runs in a row were clean, %d are asked for before a gateway activates by itself", d.CleanRuns+1, rules.CleanRuns), nil
	default:
		return nil
	}
	return []Refusal{r}
}
