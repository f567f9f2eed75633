// Command testreport turns the output of `go test -json` into what a person wants to see at the end of a run: each package,
// the output of what failed, every skipped test with its reason, and how many tests were executed. It exits 1 if anything
// failed, if nothing was executed, or, where CI=true, if anything was skipped. It must not run tests or change verdicts.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Getenv("CI") == "true"))
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build event
	Test       string
	Output     string
	Elapsed    float64
}

type report struct {
	out             io.Writer
	output          map[string][]string // by package and test
	passed, failed  int
	skipped         []string // "package test: reason"
	broken          int      // packages that failed
	packages, empty int
}

func run(in io.Reader, out io.Writer, ci bool) int {
	r := &report{out: out, output: map[string][]string{}}
	s := bufio.NewScanner(in)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			fmt.Fprintln(out, s.Text()) // go itself speaks, e.g. about a missing package
			continue
		}
		r.take(e)
	}
	if err := s.Err(); err != nil {
		fmt.Fprintf(out, "read test output: %v\n", err)
		return 1
	}
	return r.close(ci)
}

func (r *report) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		r.output[e.ImportPath+" "] = append(r.output[e.ImportPath+" "], e.Output)
	case "build-fail":
		fmt.Fprint(r.out, strings.Join(r.output[e.ImportPath+" "], ""))
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, key)
		} else {
			r.endTest(e, key)
		}
	}
}

func (r *report) endTest(e event, key string) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		fmt.Fprintf(r.out, "\n%s\n%s", e.Package, strings.Join(r.output[key], ""))
	case "skip":
		reason := "no reason given"
		for _, line := range r.output[key] {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") && line != "" {
				reason = line
			}
		}
		r.skipped = append(r.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason))
	}
	delete(r.output, key)
}

func (r *report) endPackage(e event, key string) {
	switch e.Action {
	case "pass":
		r.packages++
		fmt.Fprintf(r.out, "ok  \t%s\t%.3fs\n", e.Package, e.Elapsed)
	case "fail":
		r.broken++
		// What no test owns: a panic, a leaked goroutine, a build that failed.
		fmt.Fprintf(r.out, "%sFAIL\t%s\t%.3fs\n", strings.Join(r.output[key], ""), e.Package, e.Elapsed)
	case "skip":
		r.empty++
	}
	delete(r.output, key)
}

func (r *report) close(ci bool) int {
	// A test that died with its process has no verdict of its own.
	var unfinished []string
	for key, lines := range r.output {
		if !strings.HasSuffix(key, " ") {
			unfinished = append(unfinished, key+"\n"+strings.Join(lines, ""))
		}
	}
	sort.Strings(unfinished)
	for _, u := range unfinished {
		fmt.Fprintf(r.out, "\nunfinished: %s", u)
	}
	if len(r.skipped) > 0 {
		sort.Strings(r.skipped)
		fmt.Fprintf(r.out, "\nskipped:\n  %s\n", strings.Join(r.skipped, "\n  "))
	}
	fmt.Fprintf(r.out, "\n%d tests executed: %d passed, %d failed; %d skipped; %d packages passed, %d failed, %d without tests\n",
		r.passed+r.failed, r.passed, r.failed, len(r.skipped), r.packages, r.broken, r.empty)
	switch {
	case r.failed > 0, r.broken > 0, len(unfinished) > 0:
		return 1
	case r.passed == 0:
		fmt.Fprintln(r.out, "nothing was executed, which proves nothing")
		return 1
	case ci && len(r.skipped) > 0:
		fmt.Fprintln(r.out, "nothing may be skipped when CI=true")
		return 1
	}
	return 0
}
