package corpus_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

const safety = "../../docs/safety.md"

// row is one change as the manual lists it.
type row struct {
	class, name string
	stop
	behind string
}

// rows are all changes that must be stopped, in the order of the tables.
func rows() []row {
	var out []row
	for _, c := range classes {
		for _, b := range c.changes {
			out = append(out, row{c.name, b.name, stop{b.at, b.by}, b.behind})
		}
	}
	for _, f := range forgeries {
		out = append(out, row{"stale and forged bundles", f.name, stop{f.at, f.by}, ""})
	}
	for _, p := range pledges {
		by := pledged
		if p.ignored != "" {
			by += " (" + p.ignored + ")"
		}
		out = append(out, row{"one approval of two, and beside it", p.name, stop{activation, by}, ""})
	}
	return out
}

// TestGoldenSafety writes the tables into the manual.
func TestGoldenSafety(t *testing.T) {
	data, err := os.ReadFile(safety)
	must(t, err)
	text := string(data)
	text = section(t, text, "counts", counts())
	text = section(t, text, "unseen", unseenTable())
	text = section(t, text, "changes", changeTable())
	testkit.Golden(t, safety, []byte(text))
}

// section puts a table between its marks.
func section(t *testing.T, text, name, table string) string {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
	head, rest, found := strings.Cut(text, begin)
	_, foot, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table: %q and %q", safety, begin, end)
	}
	return head + begin + table + end + foot
}

func counts() string {
	at, behind := map[station]int{}, map[string]int{}
	for _, r := range rows() {
		at[r.at]++
		if r.at == requestTests {
			by, _, _ := strings.Cut(r.behind, ":")
			behind[by]++
		}
	}
	fine := 0
	for _, c := range classes {
		for _, b := range c.changes {
			if b.fine != nil {
				fine++
			}
		}
	}
	var b strings.Builder
	b.WriteString("| station | changes that it stops | of those that request tests stop, it would stop |\n| --- | --- | --- |\n")
	for _, s := range []station{validation, requestTests, gates, verification, activation, dryRun, traffic} {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", s, at[s], behind[string(s)])
	}
	fmt.Fprintf(&b, "| all | %d | %d |\n\n%d harmless neighbours pass every station.\n", len(rows()), at[requestTests], fine)
	return b.String()
}

func unseenTable() string {
	var b strings.Builder
	b.WriteString("| change | why nothing stops it |\n| --- | --- |\n")
	for _, u := range unseens {
		fmt.Fprintf(&b, "| %s | %s |\n", u.name, u.why)
	}
	return b.String()
}

func changeTable() string {
	var b strings.Builder
	b.WriteString("| class | change | stopped at | by | without that test |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows() {
		by := r.by
		switch {
		case r.at == requestTests && !strings.HasPrefix(by, "no test") && !strings.HasPrefix(by, "GW"):
			by = fmt.Sprintf("%q", by)
		case strings.HasPrefix(by, "GW"):
			by = "`" + strings.ReplaceAll(by, ", ", "`, `") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.class, r.name, r.at, by, r.behind)
	}
	return b.String()
}

// TestTables holds the tables to what the manual says of them.
func TestTables(t *testing.T) {
	var names []string
	fine := 0
	for _, r := range rows() {
		names = append(names, r.class+"/"+r.name)
		if r.at == "" || r.at == traffic || r.by == "" || strings.ContainsAny(r.name+r.by+r.behind, "|\n") {
			t.Errorf("%s/%s: stopped at %q by %q", r.class, r.name, r.at, r.by)
		}
		if (r.behind != "") != (r.at == requestTests) {
			t.Errorf("%s/%s: behind %q", r.class, r.name, r.behind)
		}
	}
	slices.Sort(names)
	if all := len(names); len(slices.Compact(names)) != all || all < 120 {
		t.Errorf("%d changes, %d names", all, len(slices.Compact(names)))
	}
	for _, c := range classes {
		for _, b := range c.changes {
			if b.fine != nil {
				fine++
			}
		}
	}
	if fine < 40 {
		t.Errorf("%d neighbours", fine)
	}
}
