package diff

import (
	"fmt"
	"io"
	"strings"
)

// maxMarkdown bounds a comment in bytes. GitHub refuses bodies of more than 65,536 characters.
const maxMarkdown = 60000

// WriteMarkdown writes the report as a comment on a pull request, within the size forges take: the summary and the risks
// first, then what changes for requests, then the fields. What does not fit is counted.
func (r *Report) WriteMarkdown(w io.Writer) error {
	m := &markdown{}
	m.add("**" + words(r.Summary()) + "**\n")
	if r.Before.Environment != r.After.Environment {
		m.add("\nEnvironment " + code(Show(r.Before.name())) + " is compared with " + code(Show(r.After.name())) + ".\n")
	}
	risks := make([]string, len(r.Risks))
	for i := range r.Risks {
		k := &r.Risks[i]
		risks[i] = cells(string(k.Severity), code(string(k.Code)), code(strings.TrimSuffix(subject(k), ": ")), words(k.Message), code(position(k.Pos)))
	}
	m.table("Risks", []string{"severity", "code", "where", "what", "line"}, risks)
	effects := make([]string, len(r.Effects))
	for i := range r.Effects {
		e := &r.Effects[i]
		class := code(e.Requests)
		if e.OldRequests != "" {
			class = code(e.OldRequests) + " becomes " + class
		}
		effects[i] = cells(class, code(e.Before), code(e.After))
	}
	m.table("Requests", []string{"requests", "before", "after"}, effects)
	var changes []string
	for i := range r.Objects {
		changes = append(changes, objectRows(&r.Objects[i])...)
	}
	m.table("Changes", []string{"", "object", "field", "before", "after"}, changes)
	_, err := io.WriteString(w, m.b.String())
	return err
}

func objectRows(o *Object) []string {
	name := code(title(o)) + words(usedBy(o))
	if len(o.Changes) == 0 {
		return []string{cells(code(marks[o.Op]), name, "", code(position(o.OldPos)), code(position(o.Pos)))}
	}
	rows := make([]string, len(o.Changes))
	for i := range o.Changes {
		c := &o.Changes[i]
		a, b := showBoth(c.Old, c.New)
		old, new := code(a)+words(at(c.OldPos)), code(b)+words(at(c.NewPos))
		if c.Old == nil {
			old = ""
		}
		if c.New == nil {
			new = ""
		}
		rows[i] = cells(code(marks[c.Op]), name, code(c.Path), old, new)
	}
	return rows
}

type markdown struct{ b strings.Builder }

func (m *markdown) add(s string) { _, _ = m.b.WriteString(s) } // a Builder never fails

// table writes a table, or as much of it as fits.
func (m *markdown) table(title string, head, rows []string) {
	if len(rows) == 0 {
		return
	}
	const reserve = 400 // for the heads and the notes of what is left out
	m.add("\n### " + title + "\n\n" + cells(head...) + "|" + strings.Repeat(" --- |", len(head)) + "\n")
	for i, row := range rows {
		if m.b.Len()+len(row) > maxMarkdown-reserve {
			m.add(fmt.Sprintf("\n%d more rows do not fit into a comment.\n", len(rows)-i))
			return
		}
		m.add(row)
	}
}

func cells(list ...string) string { return "| " + strings.Join(list, " | ") + " |\n" }

// code sets a value in type-writer face. It is an element and not a span of backticks, as no quoting of backticks, bars
// and backslashes inside a table means the same to every forge; and inside it forges make no links or mentions.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + words(s) + "</code>"
}

// words writes text that nothing in it can turn into markup: whatever is not a letter, a digit or harmless becomes a
// numeric character reference.
func words(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune(" ,;/", c):
			b.WriteRune(c)
		default:
			fmt.Fprintf(&b, "&#%d;", c)
		}
	}
	return b.String()
}
