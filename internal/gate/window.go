package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // containers often have none, and a window must mean the same everywhere

	"github.com/suuupra/gateway/schema/ir"
)

// ahead is how far a refusal looks for the time at which a change may go live.
const ahead = 60 * 24 * time.Hour

// byWindow asks the windows: what one denies goes before what another allows.
func byWindow(windows []ir.Window, now time.Time) *Refusal {
	why := closed(windows, now)
	if why == "" {
		return nil
	}
	return &Refusal{Rule: "windows", Why: why, Codes: []string{OutsideWindow}, Want: 1, Opens: opens(windows, now)}
}

// closed says why nothing goes live now; empty: changes do.
func closed(windows []ir.Window, now time.Time) string {
	var allow []string
	inside := false
	for i := range windows {
		w := &windows[i]
		in, ok := contains(w, now)
		switch {
		case !ok:
			return fmt.Sprintf("window %q is in time zone %q, which this program does not know", w.ID, w.TimeZone)
		case w.Deny && in:
			return fmt.Sprintf("window %q denies changes now", w.ID)
		case !w.Deny:
			allow = append(allow, fmt.Sprintf("%q", w.ID))
			inside = inside || in
		}
	}
	if len(allow) > 0 && !inside {
		return "changes go live only in window " + strings.Join(allow, ", ")
	}
	return ""
}

// contains reports whether a time lies in a window. ok is false if nobody can tell.
func contains(w *ir.Window, at time.Time) (in, ok bool) {
	zone, err := time.LoadLocation(w.TimeZone)
	if err != nil {
		return false, false
	}
	for _, begin := range begins(w, at.In(zone)) {
		if !at.Before(begin) && at.Before(end(w, begin)) {
			return true, true
		}
	}
	return false, true
}

// begins are the times around a day at which a window begins: one lasts a day at the longest, so that only those of that day and of
// the day before matter.
func begins(w *ir.Window, day time.Time) []time.Time {
	var out []time.Time
	for _, offset := range []int{-1, 0} {
		d := time.Date(day.Year(), day.Month(), day.Day()+offset, int(w.From/60), int(w.From%60), 0, 0, day.Location())
		date := time.Date(day.Year(), day.Month(), day.Day()+offset, 12, 0, 0, 0, day.Location()) // noon is on its day everywhere
		text := date.Format(time.DateOnly)
		name := strings.ToLower(date.Weekday().String()[:3])
		switch {
		case len(w.Days) > 0 && !slices.Contains(w.Days, name):
		case w.FirstDate != "" && text < w.FirstDate, w.LastDate != "" && text > w.LastDate:
		default:
			out = append(out, d)
		}
	}
	return out
}

// end is where a window ends that begins at a time. A whole day ends where the next one begins, also when the clocks are changed.
func end(w *ir.Window, begin time.Time) time.Time {
	if time.Duration(w.For)*time.Millisecond == 24*time.Hour {
		return begin.AddDate(0, 0, 1)
	}
	return begin.Add(time.Duration(w.For) * time.Millisecond)
}

// opens is the next time at which changes go live; zero: not soon, or nobody can tell.
func opens(windows []ir.Window, now time.Time) time.Time {
	var edges []time.Time
	for i := range windows {
		w := &windows[i]
		zone, err := time.LoadLocation(w.TimeZone)
		if err != nil {
			return time.Time{}
		}
		for day := now.In(zone); day.Before(now.Add(ahead)); day = day.AddDate(0, 0, 1) {
			for _, begin := range begins(w, day) {
				edges = append(edges, begin, end(w, begin))
			}
		}
	}
	slices.SortFunc(edges, time.Time.Compare)
	for _, at := range edges {
		if at.After(now) && closed(windows, at) == "" {
			return at.UTC()
		}
	}
	return time.Time{}
}
