package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	what, value, ratio, budget, verdict string
}

// verdict of a value against a budget it must not exceed.
func atMost(value, budget float64) string {
	if value <= budget {
		return "met"
	}
	return "missed"
}

// verdict of a value against a budget it must reach.
func atLeast(value, budget float64) string {
	if value >= budget {
		return "met"
	}
	return "missed"
}

// unmeasured is a row that says why it holds no figure.
func unmeasured(what, budget, why string) row {
	return row{what: what, value: "not measured: " + why, budget: budget, verdict: "-"}
}

func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| what | measured | ratio | budget | |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.what, r.value, r.ratio, r.budget, r.verdict)
	}
	return b.String()
}

// kindTable is a table without budgets.
func kindTable(rows []row) string {
	var b strings.Builder
	b.WriteString("| what | measured | x nginx |\n| --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.what, r.value, r.ratio)
	}
	return b.String()
}

// surroundings names what the absolute figures depend on.
func surroundings() string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.Trim(name, " \t\n:")
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores of %s, %s/%s", runtime.Version(), runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH)
}

func microseconds(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d)/1e3) }
func seconds(d time.Duration) string      { return fmt.Sprintf("%.2f s", d.Seconds()) }
func mebibytes(n int64) string            { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// record puts the table between the markers of the document, in place of the last one.
func record(path, text string) error {
	const begin, end = "<!-- last result -->\n", "<!-- end of last result -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("record result: %w", err)
	}
	head, rest, found := strings.Cut(string(doc), begin)
	_, foot, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("record result: %s has no markers", path)
	}
	return os.WriteFile(path, []byte(head+begin+text+end+foot), 0o644)
}
