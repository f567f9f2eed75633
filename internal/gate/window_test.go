package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

const day = int64(24 * time.Hour / time.Millisecond)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestWindows(t *testing.T) {
	office := ir.Window{ID: "office", Days: []string{"mon", "thu"}, From: 9*60 + 30, For: int64(6 * time.Hour / time.Millisecond), TimeZone: "Europe/Berlin"}
	night := ir.Window{ID: "night", Days: []string{"sat"}, From: 22 * 60, For: int64(4 * time.Hour / time.Millisecond), TimeZone: "UTC"}
	freeze := ir.Window{ID: "freeze", Deny: true, FirstDate: "2026-12-20", LastDate: "2027-01-03", For: day, TimeZone: "America/New_York"}
	lost := ir.Window{ID: "lost", Deny: true, For: day, TimeZone: "Mars/Olympus"}
	for name, c := range map[string]struct {
		windows []ir.Window
		at      string
		why     string
		opens   string
	}{
		"none":                             {nil, "2026-11-26T12:00:00Z", "", ""},
		"inside":                           {[]ir.Window{office}, "2026-11-26T12:00:00Z", "", ""},
		"its first moment":                 {[]ir.Window{office}, "2026-11-26T08:30:00Z", "", ""},
		"the moment before":                {[]ir.Window{office}, "2026-11-26T08:29:59Z", "changes go live only in window \"office\"", "2026-11-26T08:30:00Z"},
		"its end":                          {[]ir.Window{office}, "2026-11-26T14:30:00Z", "changes go live only in window \"office\"", "2026-11-30T08:30:00Z"},
		"another day":                      {[]ir.Window{office}, "2026-11-27T10:00:00Z", "changes go live only in window \"office\"", "2026-11-30T08:30:00Z"},
		"an hour earlier in summer":        {[]ir.Window{office}, "2026-07-02T07:30:00Z", "", ""},
		"past midnight":                    {[]ir.Window{night}, "2026-11-29T01:59:59Z", "", ""},
		"past midnight, over":              {[]ir.Window{night}, "2026-11-29T02:00:00Z", "changes go live only in window \"night\"", "2026-12-05T22:00:00Z"},
		"one of two":                       {[]ir.Window{office, night}, "2026-11-28T23:00:00Z", "", ""},
		"neither of two":                   {[]ir.Window{office, night}, "2026-11-28T12:00:00Z", "changes go live only in window \"office\", \"night\"", "2026-11-28T22:00:00Z"},
		"frozen":                           {[]ir.Window{freeze}, "2026-12-24T12:00:00Z", "window \"freeze\" denies changes now", "2027-01-04T05:00:00Z"},
		"the freeze is local":              {[]ir.Window{freeze}, "2026-12-20T04:59:59Z", "", ""},
		"denied goes before allowed":       {[]ir.Window{office, freeze}, "2026-12-24T09:00:00Z", "window \"freeze\" denies changes now", "2027-01-04T08:30:00Z"},
		"nobody knows":                     {[]ir.Window{lost}, "2026-11-26T12:00:00Z", "window \"lost\" is in time zone \"Mars/Olympus\", which this program does not know", ""},
		"for good":                         {[]ir.Window{{ID: "x", Deny: true, For: day, TimeZone: "UTC"}}, "2026-11-26T12:00:00Z", "window \"x\" denies changes now", ""},
		"a day has 25 hours in the autumn": {[]ir.Window{{ID: "x", Deny: true, FirstDate: "2026-10-25", LastDate: "2026-10-25", For: day, TimeZone: "Europe/Berlin"}}, "2026-10-25T22:30:00Z", "window \"x\" denies changes now", "2026-10-25T23:00:00Z"},
	} {
		why := closed(c.windows, at(c.at))
		if why != c.why {
			t.Errorf("%s: %q, want %q", name, why, c.why)
		}
		if why == "" {
			continue
		}
		got := opens(c.windows, at(c.at))
		if c.opens == "" && !got.IsZero() || c.opens != "" && !got.Equal(at(c.opens)) {
			t.Errorf("%s: opens %s, want %q", name, got, c.opens)
		}
	}
}

// TestWindowHolds wants an approval that says so, and no other.
func TestWindowHolds(t *testing.T) {
	rules := ir.DefaultGitOps()
	rules.Windows = []ir.Window{{ID: "freeze", Deny: true, FirstDate: "2026-11-26", LastDate: "2026-11-26", For: day, TimeZone: "UTC"}}
	c := Change{Base: from, Candidate: to}
	v := Judge(c, rules, []Approved{approval("a", "AUTH_REMOVED")}, now)
	if len(v.Refusals) != 1 || !strings.Contains(v.Refusals[0].Why, "freeze") || !v.Refusals[0].Opens.Equal(at("2026-11-27T00:00:00Z")) {
		t.Errorf("frozen: %+v", v)
	}
	if v := Judge(c, rules, []Approved{approval("a", OutsideWindow)}, now); !v.Open() {
		t.Errorf("approved: %+v", v)
	}
	c.Back = true
	if v := Judge(c, rules, nil, now); !v.Open() {
		t.Errorf("going back: %+v", v)
	}
}
