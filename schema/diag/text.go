package diag

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// lineMax is how much of a source line is quoted, in runes.
const lineMax = 160

// Text prints diagnostics for people:
//
//	routes/users.yaml:14:9: error GW2103: message
//	  routes/users.yaml:9:3: note: another place
//	  14 |   intervalMs: 200
//	     |               ^^^
//	  hint: how to mend it
//
// and a last line that counts them.
func Text(w io.Writer, r Report) error {
	b := bufio.NewWriter(w)
	for i := range r.Diagnostics {
		d := &r.Diagnostics[i]
		fmt.Fprintf(b, "%s: %s %s: %s%s\n", plain(d.Pos.String()), d.Severity, d.Code, plain(d.Message), inEnvironment(d))
		for _, n := range d.Notes {
			fmt.Fprintf(b, "  %s: note: %s\n", plain(n.Pos.String()), plain(n.Message))
		}
		if line, ok := r.line(d); ok {
			writeExcerpt(b, d, line)
		}
		if d.Hint != "" {
			fmt.Fprintf(b, "  hint: %s\n", plain(d.Hint))
		}
	}
	fmt.Fprintln(b, r.summary())
	return b.Flush()
}

func inEnvironment(d *Diagnostic) string {
	if d.Env == "" {
		return ""
	}
	return fmt.Sprintf(" [environment %s]", plain(d.Env))
}

// writeExcerpt quotes the source line and underlines what is meant.
func writeExcerpt(b *bufio.Writer, d *Diagnostic, line string) {
	runes := []rune(line)
	from := max(d.Pos.Col-1, 0)
	cut := 0
	if from > lineMax-40 { // a long line: show the part that matters
		cut = from - 40
	}
	cut = min(cut, len(runes))
	shown := runes[cut:min(len(runes), cut+lineMax)]
	number := fmt.Sprint(d.Pos.Line)
	fmt.Fprintf(b, "  %s | %s\n", number, plain(string(shown)))
	if d.Pos.Col < 1 {
		return
	}
	at := min(from-cut, len(shown))
	pad := utf8.RuneCountInString(plain(string(shown[:at])))
	width := min(max(d.Width, 1), max(len(shown)-at, 1))
	fmt.Fprintf(b, "  %s | %s%s\n", strings.Repeat(" ", len(number)), strings.Repeat(" ", pad), strings.Repeat("^", width))
}

// summary is the last line: silence would leave open whether anything was looked at.
func (r *Report) summary() string {
	return fmt.Sprintf("%s, %s, %s", counted(r.Files, "file"), counted(r.Errors(), "error"), counted(r.Warnings(), "warning"))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
