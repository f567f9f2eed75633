package drift

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// WriteText prints the report for people, as a diff: from what runs to what the ref says.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	where := r.Repository
	if r.Subdirectory != "" {
		where += "//" + r.Subdirectory
	}
	fmt.Fprintf(&b, "%s: %s\n", strings.ReplaceAll(string(r.State), "_", " "), r.sentence())
	fmt.Fprintf(&b, "--- running %s\n+++ %s %s of %s\n", orNone(r.Running), r.Ref, orNone(r.Head), where)
	for _, f := range r.Files {
		sign := map[string]string{"added": "+", "removed": "-", "modified": "~"}[f.Change]
		fmt.Fprintf(&b, "%1s %s\n", sign, printable(f.Path))
	}
	if r.OtherFiles > 0 {
		fmt.Fprintf(&b, "  %s that %s not configuration, or not listed\n", counted(r.OtherFiles, "more file", r.FilesAtLeast), are(r.OtherFiles))
	}
	if r.CompilerDiffers {
		b.WriteString("note: another version of the compiler made what runs; the commits were compared as compiled here\n")
	}
	if r.RunningDirty {
		b.WriteString("note: what runs was built from a work tree that was not committed\n")
	}
	if r.DiagnosticText != "" {
		b.WriteString("the head does not compile:\n")
		for line := range strings.Lines(r.DiagnosticText) {
			b.WriteString("  " + printable(strings.TrimRight(line, "\n")) + "\n")
		}
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "error: %s\n", printable(r.Error))
	}
	if r.Stale && r.StaleSince != nil {
		fmt.Fprintf(&b, "the repository could not be read since %s; this is what was known then\n", r.StaleSince.Format("2006-01-02 15:04:05Z07:00"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) sentence() string {
	var parts []string
	switch {
	case r.CommitsBehind > 0:
		parts = append(parts, counted(r.CommitsBehind, "commit", r.CommitsAtLeast)+" behind")
	case r.CommitsBehind < 0:
		parts = append(parts, "it is not known how many commits behind")
	}
	if r.CommitsAhead > 0 {
		parts = append(parts, counted(r.CommitsAhead, "commit", false)+" ahead")
	}
	if r.Diverged {
		parts = append(parts, "the running commit is not in the history of the ref")
	}
	switch r.ContentDiffers {
	case Yes:
		if r.HeadValid {
			parts = append(parts, "the compiled content differs")
		}
	case No:
		parts = append(parts, "the compiled content is the same")
	case Maybe:
		parts = append(parts, "the compiled content was not compared")
	}
	return strings.Join(parts, ", ")
}

func counted(n int, what string, atLeast bool) string {
	s := strconv.Itoa(n) + " " + what
	if n != 1 {
		s += "s"
	}
	if atLeast {
		return "at least " + s
	}
	return s
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func orNone(commit string) string {
	if commit == "" {
		return "(none)"
	}
	return commit
}

// printable quotes a name that could do something to a terminal: the paths in a commit are whatever its author chose.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
