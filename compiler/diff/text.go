package diff

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/diag"
)

// The escape sequences of the colours, SGR 0 and 31 to 33 (ECMA-48).
const (
	plainColour = "\x1b[0m"
	red         = "\x1b[31m"
	green       = "\x1b[32m"
	yellow      = "\x1b[33m"
)

// maxColumn is how far values are aligned; longer ones push what follows to the right.
const maxColumn = 44

var marks = map[Op]string{Added: "+", Removed: "-", Changed: "~", Renamed: "~"}

// WriteText writes the report for a terminal or a plain comment: the risks first, what changes for requests, the objects with what
// changed in them, and the summary as the last line. What a line changes on several routes is said once.
func (r *Report) WriteText(w io.Writer, colour bool) error {
	t := &textWriter{w: bufio.NewWriter(w), colour: colour}
	if r.Before.Environment != r.After.Environment {
		t.line("environment %s -> %s", Show(r.Before.name()), Show(r.After.name()))
		t.line("")
	}
	risks, blocks := r.riskGroups(), r.blocks()
	t.risks(risks)
	t.effects(r.effectGroups())
	for i := range blocks {
		t.block(&blocks[i])
		t.line("")
	}
	t.line("%s%s", r.Summary(), r.grouping(len(blocks), len(risks)))
	return t.w.Flush()
}

type textWriter struct {
	w      *bufio.Writer // keeps its first error for Flush
	colour bool
}

func (t *textWriter) line(format string, args ...any) {
	s := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	_, _ = t.w.WriteString(s + "\n")
}

func (t *textWriter) paint(colour, s string) string {
	if !t.colour {
		return s
	}
	return colour + s + plainColour
}

func (t *textWriter) mark(op Op) string {
	return t.paint(map[Op]string{Added: green, Removed: red, Changed: yellow, Renamed: yellow}[op], marks[op])
}

func (t *textWriter) block(b *block) {
	t.line("%s %s", t.mark(b.objects[0].Op), b.title())
	wide, wideOld := 0, 0
	type row struct{ mark, path, old, new string }
	rows := make([]row, len(b.changes))
	for i := range b.changes {
		c := &b.changes[i]
		rows[i] = row{mark: t.mark(c.Op), path: c.Path}
		old, new := showBoth(c.Old, c.New)
		if c.setOld() != c.setNew() {
			old += at(c.setOld())
		}
		new += at(c.setNew())
		switch c.Op {
		case Added:
			rows[i].new = new
		case Removed:
			rows[i].new = old
		default:
			rows[i].old, rows[i].new = old, new
			wideOld = widen(wideOld, old)
		}
		wide = widen(wide, c.Path)
	}
	for _, x := range rows {
		if x.old != "" {
			t.line("    %s %s  %s -> %s", x.mark, pad(x.path, wide), pad(x.old, wideOld), x.new)
			continue
		}
		t.line("    %s %s  %s", x.mark, pad(x.path, wide), x.new)
	}
}

// effects tells what changes for requests: on one line if it is one thing, else with a line for each.
func (t *textWriter) effects(groups [][]*Effect) {
	if len(groups) == 0 {
		return
	}
	t.line("requests")
	for _, g := range groups {
		classes := make([]string, len(g))
		for i, e := range g {
			classes[i] = e.class()
		}
		switch e := g[0]; len(e.facets) {
		case 0:
			t.line("  %s", e.String())
		case 1:
			t.line("  %s : %s", some(classes), e.facets[0])
		default:
			t.line("  %s", some(classes))
			for _, f := range e.facets {
				t.line("      %s", f)
			}
		}
	}
	t.line("")
}

func (t *textWriter) risks(groups [][]*Risk) {
	if len(groups) == 0 {
		return
	}
	wideSeverity, wideCode := 0, 0
	for _, g := range groups {
		wideSeverity = max(wideSeverity, len(g[0].Severity))
		wideCode = max(wideCode, len(g[0].Code))
	}
	t.line("risks")
	for _, g := range groups {
		k := g[0]
		about, on := subject(k), ""
		if len(g) > 1 {
			about, on = k.Path+": ", " on "+routesOf(g, func(k *Risk) string { return k.ID })
			about = strings.TrimPrefix(about, ": ")
		}
		colour := yellow
		if k.Severity == Security {
			colour = red
		}
		t.line("  %s  %s  %s%s%s%s", t.paint(colour, pad(string(k.Severity), wideSeverity)), pad(string(k.Code), wideCode), about, k.Message, at(k.Pos), on)
	}
	t.line("")
}

// subject names the object a risk is about, and the field.
func subject(k *Risk) string {
	if k.Kind == "" {
		return ""
	}
	s := string(k.Kind)
	if k.ID != "" {
		s += " " + bare(k.ID)
	}
	if k.Path != "" {
		s += " " + k.Path
	}
	return s + ": "
}

func title(o *Object) string {
	s := string(o.Kind)
	if o.ID != "" {
		s += " " + bare(o.ID)
	}
	if o.OldID != "" {
		s += " (was " + bare(o.OldID) + ")"
	}
	return s
}

func usedBy(o *Object) string {
	switch {
	case o.Kind != Upstream || o.Op == Removed:
		return ""
	case o.Routes == 1:
		return ", used by 1 route"
	}
	return fmt.Sprintf(", used by %d routes", o.Routes)
}

// at puts a known place behind a value.
func at(p diag.Pos) string {
	if s := position(p); s != "" {
		return " (" + s + ")"
	}
	return ""
}

// widen lets a column grow up to its bound.
func widen(width int, s string) int {
	if n := utf8.RuneCountInString(s); n > width && n <= maxColumn {
		return n
	}
	return width
}

func pad(s string, width int) string {
	if n := utf8.RuneCountInString(s); n < width {
		return s + strings.Repeat(" ", width-n)
	}
	return s
}
