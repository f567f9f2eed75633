package diff

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// governed is an environment with something to loosen.
func governed(edit func(*ir.GitOps)) func(*ir.Program) {
	return gateway(func(g *ir.Gateway) {
		g.GitOps = &ir.GitOps{
			Sync: "gated", MaxRoutesRemovedPercent: 10,
			Gates: []ir.Gate{
				{ID: "doors", Risks: []string{"security"}, Approvals: 2},
				{ID: "limits", Risks: []string{"LIMIT_RAISED"}, Tolerate: 1, RaisePercent: 50, Approvals: 1},
			},
			DryRun: &ir.DryRun{Percent: 20, MinRequests: 1000, MinDuration: 60_000, CleanRuns: 3},
			Windows: []ir.Window{
				{ID: "freeze", Deny: true, FirstDate: "2026-12-20", LastDate: "2027-01-03", For: 86_400_000, TimeZone: "UTC"},
				{ID: "office", Days: []string{"mon", "tue"}, From: 540, For: 28_800_000, TimeZone: "Europe/Berlin"},
			},
		}
		edit(g.GitOps)
	})
}

func gitOpsCases() []riskCase {
	same := governed(func(*ir.GitOps) {})
	none := gateway(func(g *ir.Gateway) { g.GitOps = nil })
	open := func(keys string) string { return "security gateway gitops." + keys }
	unguarded := func(p *ir.Program) {
		for i := range p.Routes {
			r := &p.Routes[i]
			r.Policies = slices.DeleteFunc(r.Policies, func(q ir.Policy) bool { return classOf(q.Kind) == authenticate })
		}
	}
	return []riskCase{
		{"sync", GatesLoosened, governed(func(g *ir.GitOps) { g.Sync = "auto" }), open("sync"), same},
		{"sync does less", GatesLoosened, governed(func(g *ir.GitOps) { g.Sync = "off" }), "", same},
		{"fewer approvals", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[0].Approvals = 1 }), open("gates"), same},
		{"more approvals", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[0].Approvals = 3 }), "", same},
		{"more tolerated", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[1].Tolerate = 2 }), open("gates"), same},
		{"higher raises", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[1].RaisePercent = 51 }), open("gates"), same},
		{"one risk less", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[0].Risks = []string{"AUTH_REMOVED", "AUTH_WEAKENED"} }), open("gates"), same},
		{"the same risks by severity", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[1].Risks = []string{"availability", "cost"} }), "", same},
		{"a gate is gone", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates = g.Gates[:1] }), open("gates"), same},
		{"a gate has another name", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[0].ID = "entrances" }), "", same},
		{"more routes may go", GatesLoosened, governed(func(g *ir.GitOps) { g.MaxRoutesRemovedPercent = 11 }), open("maxRoutesRemovedPercent"), same},
		{"no dry run", GatesLoosened, governed(func(g *ir.GitOps) { g.DryRun = nil }), open("dryRun"), same},
		{"a dry run of fewer requests", GatesLoosened, governed(func(g *ir.GitOps) { g.DryRun.MinRequests = 999 }), open("dryRun"), same},
		{"a dry run that lets more pass", GatesLoosened, governed(func(g *ir.GitOps) { g.DryRun.MaxOther = 1 }), open("dryRun"), same},
		{"a dry run of more clients", GatesLoosened, governed(func(g *ir.GitOps) { g.DryRun.Percent = 100 }), "", same},
		{"a freeze ends earlier", GatesLoosened, governed(func(g *ir.GitOps) { g.Windows[0].LastDate = "2027-01-02" }), open("windows"), same},
		{"a freeze has another name", GatesLoosened, governed(func(g *ir.GitOps) { g.Windows[0].ID = "holidays" }), "", same},
		{"another freeze", GatesLoosened, governed(func(g *ir.GitOps) {
			g.Windows = append(g.Windows, ir.Window{ID: "easter", Deny: true, FirstDate: "2027-03-26", For: 1, TimeZone: "UTC"})
		}), "", same},
		{"at any time", GatesLoosened, governed(func(g *ir.GitOps) { g.Windows = g.Windows[:1] }), open("windows"), same},
		{"one more window", GatesLoosened, governed(func(g *ir.GitOps) {
			g.Windows = append(g.Windows, ir.Window{ID: "night", From: 60, For: 60_000, TimeZone: "UTC"})
		}), open("windows"), same},
		{"the first gate", GatesLoosened, same, "", none},
		{"no gates", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates = nil }), open("gates"), governed(func(g *ir.GitOps) { g.Gates = g.Gates[:1] })},
		{"no rules", GatesLoosened, none, open("sync"), gateway(func(g *ir.Gateway) { g.GitOps = &ir.GitOps{Sync: "off", MaxRoutesRemovedPercent: 20} })},
		{"spending is no longer held", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[0].Risks = []string{"LIMIT_RAISED"} }), open("gates"), governed(func(g *ir.GitOps) { g.Gates[0].Risks = []string{"cost"} })},
		{"spending is held by its codes", GatesLoosened, governed(func(g *ir.GitOps) { g.Gates[0].Risks = []string{"LIMIT_RAISED", "LIMIT_REMOVED"} }), "", governed(func(g *ir.GitOps) { g.Gates[0].Risks = []string{"cost"} })},

		{"all", NoAuthLeft, unguarded, "security", nil},
		{"there never was any", NoAuthLeft, both(unguarded, path("/x")), "", unguarded},
		{"no route is left either", NoAuthLeft, func(p *ir.Program) { p.Routes = nil }, "", nil},
	}
}

// TestRiskNames holds the names that a gate may be about, in the schema, to the risks there are.
func TestRiskNames(t *testing.T) {
	data, err := os.ReadFile("../../schema/v1/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct{ Enum []string } `json:"$defs"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	want := []string{string(Cost)}
	for _, c := range Codes() {
		want = append(want, string(c.Code))
		if !slices.Contains(want, string(c.Severity)) {
			want = append(want, string(c.Severity))
		}
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(schema.Defs["Risk"].Enum))
	if !slices.Equal(got, want) {
		t.Errorf("gates may be about\n%q, there are\n%q", got, want)
	}
}
