package simulate

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/suuupra/gateway/schema/diag"
)

// Report is what became of the tests of a repository.
type Report struct {
	Results  []Result  // by environment, each in the order of the files
	Coverage *Coverage // nil: nobody asked
	Mutation *Mutation // nil: nobody asked, or tests fail
	Took     time.Duration
}

// Failed counts the cases that failed.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Results {
		if r.Results[i].Failed != nil {
			n++
		}
	}
	return n
}

// Requests counts the requests that the cases sent.
func (r *Report) Requests() int {
	n := 0
	for i := range r.Results {
		n += r.Results[i].Requests
	}
	return n
}

// Text prints the failures, what the tests have reached and noticed, and a last line that counts.
func (r *Report) Text(out io.Writer) error {
	b := bufio.NewWriter(out)
	for i := range r.Results {
		if f := r.Results[i].Failed; f != nil {
			fmt.Fprintf(b, "%s: failed: %s\n", f.Mismatches[0].Pos, title(&r.Results[i]))
			for _, line := range f.lines() {
				fmt.Fprintf(b, "  %s\n", plain(line))
			}
			fmt.Fprintln(b)
		}
	}
	if r.Coverage != nil {
		r.Coverage.text(b)
	}
	if r.Mutation != nil {
		r.Mutation.text(b)
	}
	fmt.Fprintf(b, "%s, %s, %d failed, in %s\n", counted(len(r.Results), "case"), counted(r.Requests(), "request"), r.Failed(), Took(r.Took))
	return b.Flush()
}

// title names a case and the environment it was run in.
func title(r *Result) string {
	if r.Environment == "" {
		return plain(r.Case.Name)
	}
	return plain(r.Case.Name) + " [" + r.Environment + "]"
}

// lines describe a failure: what was expected, what was sent, and who decided.
func (f *Failed) lines() []string {
	var out []string
	for _, m := range f.Mismatches {
		out = append(out, fmt.Sprintf("%s: expected %s, got %s", m.Field, m.Expected, m.Got))
	}
	if f.Request == "" { // it could not even be made
		return out
	}
	sent := fmt.Sprintf("request %d: %s", f.Step, f.Request)
	if f.Times > 1 {
		sent = fmt.Sprintf("request %d, time %d of %d: %s", f.Step, f.Repetition, f.Times, f.Request)
	}
	if f.With != "" {
		sent += ", with " + f.With
	}
	return append(out, sent, f.outcome())
}

// outcome says which way the request went, and where it ended.
func (f *Failed) outcome() string {
	ended := fmt.Sprintf("answered %d", f.Status)
	if f.Code != "" {
		ended += " " + f.Code
	}
	if f.Route == "" {
		return "no route: " + ended
	}
	way := "route " + f.Route
	if f.Origin != nil {
		way += " (" + f.Origin.String() + ")"
	}
	if len(f.Policies) > 0 {
		way += ": " + strings.Join(f.Policies, ", ")
	}
	if f.Upstream != "" {
		way += "; upstream " + f.Upstream
	}
	return way + "; " + ended
}

// text prints what the tests do not reach, and how much they do.
func (c *Coverage) text(b *bufio.Writer) {
	fmt.Fprintln(b, "not covered:")
	for i := range c.Routes {
		r := &c.Routes[i]
		if !r.Matched {
			fmt.Fprintf(b, "  %s: route %s is never taken\n", spot(r.Origin), r.Route)
			continue // and so are its policies
		}
		for _, p := range r.Policies {
			switch {
			case !p.Passed && !p.Refused:
				fmt.Fprintf(b, "  %s: route %s: %s is never asked\n", spot(p.Origin), r.Route, p.Policy)
			case !p.Passed:
				fmt.Fprintf(b, "  %s: route %s: %s lets no request pass\n", spot(p.Origin), r.Route, p.Policy)
			case p.Refuses && !p.Refused:
				fmt.Fprintf(b, "  %s: route %s: %s refuses no request\n", spot(p.Origin), r.Route, p.Policy)
			}
		}
	}
	if c.Covered == c.Points {
		fmt.Fprintln(b, "  nothing")
	}
	fmt.Fprintf(b, "coverage: %d of %d points, %d%%\n\n", c.Covered, c.Points, c.Percent())
}

// text prints the weakenings that no test notices.
func (m *Mutation) text(b *bufio.Writer) {
	survived := m.Survived()
	fmt.Fprintln(b, "no test notices that:")
	for i := range survived {
		s := &survived[i]
		if i > 0 && !s.Tested && survived[i-1].Policy == s.Policy && survived[i-1].Route == s.Route {
			continue // that the policy is never met has been said
		}
		note := ""
		if !s.Tested {
			note = " (no test meets it)"
		}
		fmt.Fprintf(b, "  %s: route %s: %s%s\n", spot(s.Origin), s.Route, s.Change, note)
	}
	if len(survived) == 0 {
		fmt.Fprintln(b, "  nothing: each one is noticed")
	}
	fmt.Fprintf(b, "mutation: %d of %d weakenings noticed, with %s, in %s\n\n", m.Noticed(), len(m.Mutants), counted(int(m.Requests), "request"), Took(m.Took))
}

func spot(pos *diag.Pos) string {
	if pos == nil {
		return "-"
	}
	return pos.String()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// plain makes a text safe to print: answers hold what anybody has sent.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// The form of a report in JSON. It is stable.
type (
	reportJSON struct {
		Cases      int           `json:"cases"`
		Requests   int           `json:"requests"`
		Failed     int           `json:"failed"`
		TookMillis float64       `json:"tookMillis"`
		Results    []resultJSON  `json:"results"`
		Coverage   *coverageJSON `json:"coverage,omitempty"`
		Mutation   *mutationJSON `json:"mutation,omitempty"`
	}
	resultJSON struct {
		File        string      `json:"file"`
		Line        int         `json:"line"`
		Name        string      `json:"name"`
		Environment string      `json:"environment,omitempty"`
		Passed      bool        `json:"passed"`
		Requests    int         `json:"requests"`
		Failure     *failedJSON `json:"failure,omitempty"`
	}
	failedJSON struct {
		Mismatches []Mismatch `json:"mismatches"`
		Step       int        `json:"step"`
		Repetition int        `json:"repetition"`
		Request    string     `json:"request,omitempty"`
		With       string     `json:"with,omitempty"`
		Status     int        `json:"status,omitempty"`
		Code       string     `json:"code,omitempty"`
		Route      string     `json:"route,omitempty"`
		Origin     *diag.Pos  `json:"origin,omitempty"`
		Upstream   string     `json:"upstream,omitempty"`
		Policies   []string   `json:"policies,omitempty"`
	}
	coverageJSON struct {
		*Coverage
		Percent int `json:"percent"`
	}
	mutationJSON struct {
		Mutants    int      `json:"mutants"`
		Noticed    int      `json:"noticed"`
		Requests   int64    `json:"requests"`
		TookMillis float64  `json:"tookMillis"`
		Survived   []Mutant `json:"survived"`
	}
)

// JSON prints the report for programs.
func (r *Report) JSON(out io.Writer) error {
	doc := reportJSON{Cases: len(r.Results), Requests: r.Requests(), Failed: r.Failed(), TookMillis: millisOf(r.Took), Results: []resultJSON{}}
	for i := range r.Results {
		res := &r.Results[i]
		one := resultJSON{
			File: res.Case.File, Line: res.Case.Pos.Line, Name: res.Case.Name, Environment: res.Environment, Passed: res.Failed == nil, Requests: res.Requests,
		}
		if f := res.Failed; f != nil {
			one.Failure = &failedJSON{f.Mismatches, f.Step, f.Repetition, f.Request, f.With, f.Status, f.Code, f.Route, f.Origin, f.Upstream, f.Policies}
		}
		doc.Results = append(doc.Results, one)
	}
	if r.Coverage != nil {
		doc.Coverage = &coverageJSON{r.Coverage, r.Coverage.Percent()}
	}
	if m := r.Mutation; m != nil {
		doc.Mutation = &mutationJSON{len(m.Mutants), m.Noticed(), m.Requests, millisOf(m.Took), m.Survived()}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

func millisOf(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// The form of a report in JUnit's XML, as far as build servers agree on it.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit prints the cases as JUnit XML, a suite for each environment. Coverage and mutation have no place in it.
func (r *Report) JUnit(out io.Writer) error {
	doc := junitSuites{Tests: len(r.Results), Failures: r.Failed()}
	for i := range r.Results {
		res := &r.Results[i]
		name := strings.TrimSpace("gwctl test " + res.Environment)
		if n := len(doc.Suites); n == 0 || doc.Suites[n-1].Name != name {
			doc.Suites = append(doc.Suites, junitSuite{Name: name})
		}
		suite := &doc.Suites[len(doc.Suites)-1]
		c := junitCase{Class: plain(res.Case.File), Name: plain(res.Case.Name)}
		if f := res.Failed; f != nil {
			lines := f.lines()
			for i := range lines {
				lines[i] = plain(lines[i])
			}
			c.Failure = &junitFailure{Message: lines[0], Text: f.Mismatches[0].Pos.String() + "\n" + strings.Join(lines, "\n")}
			suite.Failures++
		}
		suite.Tests++
		suite.Cases = append(suite.Cases, c)
	}
	text, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, xml.Header+string(text)+"\n")
	return err
}
