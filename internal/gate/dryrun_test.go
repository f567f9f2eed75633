package gate

import (
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

func TestDryRun(t *testing.T) {
	rules := ir.DefaultGitOps()
	rules.DryRun = &ir.DryRun{MinRequests: 1000, MinDuration: 60_000, MaxAllowToDeny: 2000, MaxOther: 1_000_000}
	strict := *rules.DryRun
	strict.CleanRuns = 3
	for name, c := range map[string]struct {
		run   *DryRun
		rules ir.DryRun
		want  string
	}{
		"a publisher has no requests":   {nil, *rules.DryRun, ""},
		"just begun":                    {&DryRun{}, *rules.DryRun, "0 of 1000 requests are judged, for 0s of 1m0s"},
		"too few":                       {&DryRun{Requests: 999, For: time.Hour}, *rules.DryRun, "999 of 1000 requests are judged, for 1h0m0s of 1m0s"},
		"too early":                     {&DryRun{Requests: 5000, For: 59 * time.Second}, *rules.DryRun, "5000 of 1000 requests are judged, for 59s of 1m0s"},
		"clean":                         {&DryRun{Requests: 1000, For: time.Minute}, *rules.DryRun, ""},
		"one that passes":               {&DryRun{Requests: 1_000_000, For: time.Minute, DenyToAllow: 1}, *rules.DryRun, "1 of 1000000 requests pass that are refused now"},
		"one that passes, early":        {&DryRun{Requests: 3, DenyToAllow: 1}, *rules.DryRun, "1 of 3 requests pass that are refused now"},
		"as many refused as may be":     {&DryRun{Requests: 1000, For: time.Minute, AllowToDeny: 2}, *rules.DryRun, ""},
		"one more":                      {&DryRun{Requests: 1000, For: time.Minute, AllowToDeny: 3}, *rules.DryRun, "3 of 1000 requests are refused that pass now"},
		"all are treated otherwise":     {&DryRun{Requests: 1000, For: time.Minute, Others: 1000}, *rules.DryRun, ""},
		"several things at a time":      {&DryRun{Requests: 10, AllowToDeny: 4, DenyToAllow: 5}, *rules.DryRun, "5 of 10 requests pass that are refused now, 4 of 10 requests are refused that pass now"},
		"the first clean one of three":  {&DryRun{Requests: 1000, For: time.Minute}, strict, "1 dry runs in a row were clean, 3 are asked for before a gateway activates by itself"},
		"the third clean one of three":  {&DryRun{Requests: 1000, For: time.Minute, CleanRuns: 2}, strict, ""},
		"the third one that is not yet": {&DryRun{Requests: 1, For: time.Minute, CleanRuns: 2}, strict, "1 of 1000 requests are judged, for 1m0s of 1m0s"},
	} {
		r := *rules
		r.DryRun = &c.rules
		v := Judge(Change{Base: from, Candidate: to, DryRun: c.run}, &r, nil, now)
		got := ""
		if len(v.Refusals) > 0 {
			got = v.Refusals[0].Why
		}
		if got != c.want || v.Open() != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	early := Change{Base: from, Candidate: to, DryRun: &DryRun{}}
	if v := Judge(early, rules, []Approved{approval("a", "AUTH_REMOVED")}, now); v.Open() {
		t.Error("an approval of something else ends a dry run")
	}
	if v := Judge(early, rules, []Approved{approval("a", SkipDryRun)}, now); !v.Open() {
		t.Errorf("an approval does not end it: %+v", v)
	}
}
