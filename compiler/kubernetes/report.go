package kubernetes

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Text writes a report for people: what could not be said, what is to be known, and what became of each rule.
func (r *Result) Text(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, grade := range []Grade{Omitted, Differs, Note} {
		for i := range r.Findings {
			if f := &r.Findings[i]; f.Grade == grade {
				f.text(b)
			}
		}
	}
	for _, rt := range r.Routes {
		closed := ""
		if rt.Closed {
			closed = ", which refuses everybody in its place"
		}
		fmt.Fprintf(b, "%s%s %s: route %s in %s%s\n", place(rt.Pos.String()), rt.Object, rt.Field, rt.ID, rt.File, closed)
	}
	fmt.Fprintln(b, r.Summary())
	return b.Flush()
}

func (f *Finding) text(w io.Writer) {
	at := f.Object.String()
	if f.Field != "" {
		at += " " + f.Field
	}
	fmt.Fprintf(w, "%s%s %s: %s: %s\n", place(f.Pos.String()), f.Grade, f.Reason, at, f.Message)
	if f.Instead != "" {
		fmt.Fprintf(w, "  instead: %s\n", f.Instead)
	}
}

func place(pos string) string {
	if pos == "-" {
		return ""
	}
	return pos + ": "
}

// Summary counts what a report holds, in one line.
func (r *Result) Summary() string {
	closed, counts := 0, map[Grade]int{}
	for _, rt := range r.Routes {
		if rt.Closed {
			closed++
		}
	}
	for _, f := range r.Findings {
		counts[f.Grade]++
	}
	return fmt.Sprintf("%s, %d closed; %d omitted, %d differing, %s", count(len(r.Routes)-closed, "route"), closed, counts[Omitted], counts[Differs], count(counts[Note], "note"))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// JSON writes a report for programs. Its form is stable; formatVersion counts what is not compatible.
func (r *Result) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		FormatVersion int       `json:"formatVersion"`
		Complete      bool      `json:"complete"`
		Routes        []Route   `json:"routes"`
		Findings      []Finding `json:"findings"`
		Status        []Status  `json:"status"`
	}{1, r.IsComplete(), orEmpty(r.Routes), orEmpty(r.Findings), orEmpty(r.Status)})
}

// orEmpty makes an empty list of none: programs then need not tell them apart.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
