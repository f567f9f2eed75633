package compiler

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// gitOpsOf lowers the rules for changes. Rules that say what holds anyway are none, so that writing them down changes nothing.
func gitOpsOf(g *v1.GitOps) *ir.GitOps {
	if g == nil {
		return nil
	}
	out := &ir.GitOps{Sync: g.Sync, MaxRoutesRemovedPercent: *g.MaxRoutesRemovedPercent}
	for _, r := range g.Gates {
		out.Gates = append(out.Gates, ir.Gate{
			ID: r.ID, Risks: slices.Sorted(slices.Values(r.Risks)), Tolerate: *r.Tolerate, RaisePercent: *r.RaisePercent, Approvals: *r.Approvals,
		})
	}
	for i := range g.Windows {
		out.Windows = append(out.Windows, windowOf(&g.Windows[i]))
	}
	if d := g.DryRun; d != nil {
		out.DryRun = &ir.DryRun{
			Percent: *d.Percent, MinRequests: *d.MinRequests, MinDuration: int64(*d.MinDuration), MaxDenyToAllow: *d.MaxDenyToAllow,
			MaxAllowToDeny: *d.MaxAllowToDeny, MaxOther: *d.MaxOther, CleanRuns: *d.CleanRuns,
		}
	}
	for _, h := range g.Webhooks {
		out.Webhooks = append(out.Webhooks, ir.Webhook{
			ID: h.ID, Provider: h.Provider, SecretRefs: h.SecretRefs, Repository: h.Repository, Refs: slices.Sorted(slices.Values(h.Refs)),
		})
	}
	slices.SortFunc(out.Webhooks, func(a, b ir.Webhook) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(out.Gates, func(a, b ir.Gate) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(out.Windows, func(a, b ir.Window) int { return cmp.Compare(a.ID, b.ID) })
	if reflect.DeepEqual(out, ir.DefaultGitOps()) {
		return nil
	}
	return out
}

func windowOf(w *v1.Window) ir.Window {
	from, _ := time.Parse("15:04", w.From) // the schema has seen it
	out := ir.Window{
		ID: w.ID, Deny: w.Kind == "deny", From: int64(from.Hour()*60 + from.Minute()), For: int64(*w.For),
		FirstDate: w.FirstDate, LastDate: w.LastDate, TimeZone: w.TimeZone,
	}
	for _, day := range ir.Weekdays() {
		if slices.ContainsFunc(w.Days, func(d string) bool { return strings.EqualFold(d, day) }) {
			out.Days = append(out.Days, day)
		}
	}
	return out
}
