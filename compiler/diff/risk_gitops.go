package diff

import (
	"reflect"
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// syncModes are what gateways may do by themselves, from nothing to everything.
var syncModes = []string{"off", "dry-run", "gated", "auto"}

// gitOpsRisks looks for rules about changes that ask for less than they did.
func (d *differ) gitOpsRisks(old, new *ir.GitOps, obj *Object) {
	loosened := func(field, format string, args ...any) {
		d.risk(GatesLoosened, obj, []string{"gitops", field}, format, args...)
	}
	if slices.Index(syncModes, new.Sync) > slices.Index(syncModes, old.Sync) {
		loosened("sync", "gateways do more with a new version by themselves: %s instead of %s", Show(new.Sync), Show(old.Sync))
	}
	for i := range old.Gates {
		if g := &old.Gates[i]; !slices.ContainsFunc(new.Gates, func(n ir.Gate) bool { return asStrict(&n, g) }) {
			loosened("gates", "no gate is as strict as %s was", Show(g.ID))
		}
	}
	if was, is := old.MaxRoutesRemovedPercent, new.MaxRoutesRemovedPercent; is > was {
		loosened("maxRoutesRemovedPercent", "%d percent of the routes may be removed without an approval instead of %d", is, was)
	}
	if d := old.DryRun; d != nil {
		switch n := new.DryRun; {
		case n == nil:
			loosened("dryRun", "new versions go live without a dry run on live requests")
		case n.Percent < d.Percent || n.MinRequests < d.MinRequests || n.MinDuration < d.MinDuration || n.CleanRuns < d.CleanRuns ||
			n.MaxDenyToAllow > d.MaxDenyToAllow || n.MaxAllowToDeny > d.MaxAllowToDeny || n.MaxOther > d.MaxOther:
			loosened("dryRun", "a dry run on live requests finds less, or lets more pass")
		}
	}
	for i := range old.Windows {
		if w := &old.Windows[i]; w.Deny && !slices.ContainsFunc(new.Windows, func(n ir.Window) bool { return sameSpan(&n, w) }) {
			loosened("windows", "changes may go live in window %s, which denied them", Show(w.ID))
		}
	}
	if allow := allowing(old.Windows); len(allow) > 0 {
		more := allowing(new.Windows)
		if len(more) == 0 {
			loosened("windows", "changes may go live at any time, not only in %s", someOf(idsOf(allow)))
		}
		for i := range more {
			if w := &more[i]; !slices.ContainsFunc(allow, func(o ir.Window) bool { return sameSpan(&o, w) }) {
				loosened("windows", "changes may go live in window %s, too", Show(w.ID))
			}
		}
	}
}

// asStrict reports whether gate a holds whatever b holds, and asks for as many approvals.
func asStrict(a, b *ir.Gate) bool {
	if a.Approvals < b.Approvals || a.Tolerate > b.Tolerate || a.RaisePercent > b.RaisePercent {
		return false
	}
	for _, c := range classesOf() {
		if holds(b, c) && !holds(a, c) {
			return false
		}
	}
	return true
}

// classesOf are all risks there can be: a limit that bounds spending has another severity than its code.
func classesOf() []Class {
	return append(Codes(), Class{Code: LimitRaised, Severity: Cost}, Class{Code: LimitRemoved, Severity: Cost})
}

func holds(g *ir.Gate, c Class) bool {
	return slices.Contains(g.Risks, string(c.Code)) || slices.Contains(g.Risks, string(c.Severity))
}

func allowing(all []ir.Window) []ir.Window {
	return slices.DeleteFunc(slices.Clone(all), func(w ir.Window) bool { return w.Deny })
}

func idsOf(all []ir.Window) []string {
	out := make([]string, len(all))
	for i := range all {
		out[i] = all[i].ID
	}
	return out
}

// sameSpan reports whether two windows are the same, whatever they are called.
func sameSpan(a, b *ir.Window) bool {
	x, y := *a, *b
	x.ID, y.ID = "", ""
	return reflect.DeepEqual(x, y)
}
