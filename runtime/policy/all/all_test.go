package all

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPhasesNeverGoBack(t *testing.T) {
	seen := map[string]bool{}
	kinds := Kinds()
	for i, k := range kinds {
		if i > 0 && k.Phase < kinds[i-1].Phase {
			t.Errorf("%s (%s) comes after %s (%s)", k.Name, k.Phase, kinds[i-1].Name, kinds[i-1].Phase)
		}
		if seen[k.Name] {
			t.Errorf("%s is listed twice", k.Name)
		}
		seen[k.Name] = true
	}
}

// Every kind has a README with the same headings, in the same order.
func TestREADMEs(t *testing.T) {
	headings := []string{"Name", "Description", "Config", "Example", "Errors", "Metrics"}
	for _, k := range Kinds() {
		raw, err := os.ReadFile(filepath.Join("..", strings.ToLower(k.Name), "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(raw)) {
			if h, ok := strings.CutPrefix(line, "## "); ok {
				got = append(got, strings.TrimSpace(h))
			}
		}
		if strings.Join(got, " ") != strings.Join(headings, " ") {
			t.Errorf("%s: headings are %q, want %q", k.Name, got, headings)
		}
	}
}
