// Package gating brings together what a gate needs to judge a change: the comparison of two compiled programs, and the words for
// people. It must not fetch, nor decide anything itself.
package gating

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/schema/ir"
)

// Change compares what is in force with what would be. The digests are left to whoever knows them.
func Change(before, after *ir.Program) (gate.Change, *diff.Report) {
	report := diff.Programs(before, after)
	c := gate.Change{RoutesBefore: report.Before.Routes}
	for i := range report.Objects {
		if o := &report.Objects[i]; o.Kind == diff.Route && o.Op == diff.Removed {
			c.RoutesRemoved++
		}
	}
	for i := range report.Risks {
		r := &report.Risks[i]
		risk := gate.Risk{Code: string(r.Code), Severity: string(r.Severity), Pos: r.Pos, Message: r.Message}
		switch {
		case r.ID != "":
			risk.Object = string(r.Kind) + " " + r.ID
		case r.Kind != "":
			risk.Object = string(r.Kind)
		}
		if factor, err := strconv.ParseFloat(r.Factor, 64); err == nil && factor > 1 {
			risk.RaisedPercent = max(1, int64((factor-1)*100+0.5))
		}
		c.Risks = append(c.Risks, risk)
	}
	return c, report
}

// shownRisks is how many risks of one rule are listed.
const shownRisks = 10

// Write tells people which rules hold a change, what each is about, and when one lets go by itself.
func Write(w io.Writer, refusals []gate.Refusal) {
	for i := range refusals {
		r := &refusals[i]
		fmt.Fprintf(w, "\n%s: %s\n", r.Rule, r.Why)
		for j := range r.Risks {
			if j == shownRisks {
				fmt.Fprintf(w, "  and %d more\n", len(r.Risks)-j)
				break
			}
			k := &r.Risks[j]
			fmt.Fprintf(w, "  %s", k.Code)
			if k.Object != "" {
				fmt.Fprintf(w, " %s", k.Object)
			}
			if k.Pos.IsValid() {
				fmt.Fprintf(w, " (%s)", k.Pos)
			}
			fmt.Fprintf(w, ": %s\n", k.Message)
		}
		fmt.Fprintf(w, "  needs %s, has %d", approvals(r.Want), r.Have)
		if !r.Opens.IsZero() {
			fmt.Fprintf(w, ", or to wait until %s", r.Opens.UTC().Format(time.RFC3339))
		}
		fmt.Fprintln(w)
	}
}

func approvals(n int64) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals by different people", n)
}
