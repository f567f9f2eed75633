package diag

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// areas are the headings of the manual, by the first digit of a code.
var areas = []string{1: "Reading files", 2: "Shapes and values", 3: "References, overlays and tenants", 4: "Across routes", 5: "Policies", 6: "Trust", 7: "Sync"}

// Manual writes docs/errors.md: every code, why it exists and how to mend it.
func Manual(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "# Errors\n\nEvery error of `gwctl` has a code whose meaning never changes. `gwctl explain CODE` prints the entry.\n"+
		"This page is generated from the code by `make golden`.\n")
	area := byte(0)
	for _, e := range Explanations() {
		if digit := e.Code[2]; digit != area {
			area = digit
			fmt.Fprintf(b, "\n## GW%cxxx: %s\n", area, areas[area-'0'])
		}
		fmt.Fprintf(b, "\n### %s: %s\n\n%s\n\n**Mend it:** %s\n", e.Code, e.Title, sentence(e.Why), sentence(e.Fix))
		if e.Bad != "" {
			fmt.Fprintf(b, "\n```yaml\n# refused\n%s\n# accepted\n%s\n```\n", e.Bad, e.Good)
		}
	}
	return b.Flush()
}

// sentence gives the texts of entries, which stand in the middle of other output too, a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	s = strings.TrimSuffix(s, ".")
	if first := s[0]; first >= 'a' && first <= 'z' && !strings.HasPrefix(s, "yes,") && !strings.HasPrefix(s, "gwrun") && !strings.HasPrefix(s, "gwctl") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return s + "."
}
