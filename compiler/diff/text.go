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

// WriteText writes the report for a terminal or a plain comment: the objects with what changed in them, what that does to
// requests, the risks, and the summary as the last line.
func (r *Report) WriteText(w io.Writer, colour bool) error {
	t := &textWriter{w: bufio.NewWriter(w), colour: colour}
	if r.Before.Environment != r.After.Environment {
		t.line("environment %s -> %s", show(r.Before.name()), show(r.After.name()))
		t.line("")
	}
	for i := range r.Objects {
		t.object(&r.Objects[i])
		t.line("")
	}
	if len(r.Effects) > 0 {
		t.line("requests")
		for i := range r.Effects {
			t.line("  %s", r.Effects[i].String())
		}
		t.line("")
	}
	t.risks(r.Risks)
	t.line("%s", r.Summary())
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

func (t *textWriter) object(o *Object) {
	pos := o.Pos
	if o.Op == Removed {
		pos = o.OldPos
	}
	t.line("%s %s%s%s", t.mark(o.Op), title(o), usedBy(o), at(pos))
	wide, wideOld := 0, 0
	type row struct{ mark, path, old, new string }
	rows := make([]row, len(o.Changes))
	for i := range o.Changes {
		c := &o.Changes[i]
		rows[i] = row{mark: t.mark(c.Op), path: c.Path}
		a, b := showBoth(c.Old, c.New)
		a, b = a+at(c.OldPos), b+at(c.NewPos)
		switch c.Op {
		case Added:
			rows[i].new = b
		case Removed:
			rows[i].new = a
		default:
			rows[i].old, rows[i].new = a, b
			wideOld = widen(wideOld, a)
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

func (t *textWriter) risks(risks []Risk) {
	if len(risks) == 0 {
		return
	}
	wideSeverity, wideCode := 0, 0
	for i := range risks {
		wideSeverity = max(wideSeverity, len(risks[i].Severity))
		wideCode = max(wideCode, len(risks[i].Code))
	}
	t.line("risks")
	for i := range risks {
		k := &risks[i]
		colour := yellow
		if k.Severity == Security {
			colour = red
		}
		t.line("  %s  %s  %s%s%s", t.paint(colour, pad(string(k.Severity), wideSeverity)), pad(string(k.Code), wideCode), subject(k), k.Message, at(k.Pos))
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
