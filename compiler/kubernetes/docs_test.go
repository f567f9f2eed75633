package kubernetes

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

const manual = "../../docs/kubernetes.md"

// TestGoldenAnnotations holds the table of annotations in the manual to the allow-list. GOLDEN_UPDATE=1 rewrites it.
func TestGoldenAnnotations(t *testing.T) {
	page, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte("<!-- annotations: begin -->\n"))
	_, after, closed := bytes.Cut(rest, []byte("<!-- annotations: end -->\n"))
	if !ok || !closed {
		t.Fatal("the manual has no place for the table")
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString("<!-- annotations: begin -->\n")
	table(&b, nginxPrefix, nginxAnnotations)
	table(&b, traefikPrefix, traefikAnnotations)
	b.WriteString("<!-- annotations: end -->\n")
	b.Write(after)
	testkit.Golden(t, manual, b.Bytes())
}

func table(b *bytes.Buffer, prefix string, all map[string]annotation) {
	fmt.Fprintf(b, "\n| `%s` | | |\n| --- | --- | --- |\n", prefix)
	for _, of := range []treatment{translated, refused, unsaid, tuned} {
		for _, name := range slices.Sorted(maps.Keys(all)) {
			a := all[name]
			if a.treatment != of {
				continue
			}
			says := ""
			if h := slices.DeleteFunc(slices.Clone(a.harmless), func(s string) bool { return s == "" }); len(h) > 0 {
				says = "; nothing if " + strings.Join(h, " or ")
			}
			fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", name, a.treatment, says, a.does)
		}
	}
	b.WriteByte('\n')
}

// TestAllowList holds each entry to its treatment: only what is translated is read, and everything says what to do.
func TestAllowList(t *testing.T) {
	for prefix, all := range map[string]map[string]annotation{nginxPrefix: nginxAnnotations, traefikPrefix: traefikAnnotations} {
		for name, a := range all {
			if (a.read != nil) != (a.treatment == translated) {
				t.Errorf("%s%s is %s, and is read: %t", prefix, name, a.treatment, a.read != nil)
			}
			if a.does == "" || strings.ContainsAny(a.does, "|\n") {
				t.Errorf("%s%s: %q is no entry of a table", prefix, name, a.does)
			}
		}
	}
}

// reasonForms are the ways in which the code names a reason.
var reasonForms = []*regexp.Regexp{
	regexp.MustCompile(`Reason: +"(\w+)"`), regexp.MustCompile(`missing\{\s*"(\w+)"`), regexp.MustCompile(`refuse\([^"]*?(?:"[^"]*")?[^"]*?, "([A-Z]\w+)"`),
	regexp.MustCompile(`f\.Reason, f\.[\w, .]+ = (?:Omitted, |Note, |Differs, )?"(\w+)"`),
}

// TestReasons holds the reasons in the manual and those that the code gives together.
func TestReasons(t *testing.T) {
	page, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Reasons\n")
	documented := map[string]bool{}
	for line := range strings.Lines(section) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(cell, -1) {
			documented[m[1]] = true
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range reasonForms {
			for _, m := range form.FindAllStringSubmatch(string(source), -1) {
				given[m[1]] = true
			}
		}
	}
	if len(given) < 40 {
		t.Fatalf("only %d reasons were found in the code", len(given))
	}
	for reason := range given {
		if !documented[reason] {
			t.Errorf("the reason %s is not in the manual", reason)
		}
	}
	for reason := range documented {
		if !given[reason] {
			t.Errorf("the manual has the reason %s, which nothing gives", reason)
		}
	}
}
