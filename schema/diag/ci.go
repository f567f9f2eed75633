package diag

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

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
		Out     string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit prints diagnostics as JUnit XML: a failed case for each error, a passed one for each warning, and one that passed
// if there was nothing to say.
func JUnit(w io.Writer, r Report) error {
	suite := junitSuite{Name: "gwctl validate"}
	for i := range r.Diagnostics {
		d := &r.Diagnostics[i]
		text := fmt.Sprintf("%s: %s %s: %s%s", d.Pos, d.Severity, d.Code, d.Message, inEnvironment(d))
		if d.Hint != "" {
			text += "\nhint: " + d.Hint
		}
		c := junitCase{Class: plain(orCode(d.Pos.File, "repository")), Name: plain(fmt.Sprintf("%s %s", d.Code, d.Pos))}
		if d.Severity == Error {
			c.Failure = &junitFailure{Type: string(d.Code), Message: plain(d.Message), Text: multiline(text)}
			suite.Failures++
		} else {
			c.Out = multiline(text)
		}
		suite.Cases = append(suite.Cases, c)
	}
	if len(suite.Cases) == 0 {
		suite.Cases = []junitCase{{Class: "repository", Name: counted(r.Files, "file")}}
	}
	suite.Tests = len(suite.Cases)
	out, err := xml.MarshalIndent(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Suites: []junitSuite{suite}}, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, xml.Header+string(out)+"\n")
	return err
}

// multiline is plain, line by line.
func multiline(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

// annotations is how many GitHub shows of one step; what is beyond are plain lines.
const annotations = 10

// GitHub prints diagnostics as workflow commands, errors first: they show as annotations on the lines of a pull request.
func GitHub(w io.Writer, r Report) error {
	b := bufio.NewWriter(w)
	shown := 0
	for _, s := range []Severity{Error, Warning} {
		for i := range r.Diagnostics {
			d := &r.Diagnostics[i]
			if d.Severity != s {
				continue
			}
			if shown++; shown <= annotations {
				writeCommand(b, d)
			} else {
				if shown == annotations+1 {
					fmt.Fprintf(b, "::notice::%d more are in the log of this step\n", len(r.Diagnostics)-annotations)
				}
				// A line that begins with a position can't be taken for a command.
				fmt.Fprintf(b, "%s: %s %s: %s%s\n", plain(d.Pos.String()), d.Severity, d.Code, plain(d.Message), inEnvironment(d))
			}
		}
	}
	fmt.Fprintln(b, r.summary())
	return b.Flush()
}

// writeCommand escapes as the runner's toolkit does: a message or a property can't end the command.
func writeCommand(b *bufio.Writer, d *Diagnostic) {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	var props []string
	add := func(name, value string) { props = append(props, name+"="+property.Replace(plain(value))) }
	if d.Pos.File != "" {
		add("file", d.Pos.File)
	}
	if d.Pos.Line > 0 {
		add("line", fmt.Sprint(d.Pos.Line))
	}
	if d.Pos.Col > 0 {
		add("col", fmt.Sprint(d.Pos.Col))
		add("endColumn", fmt.Sprint(d.Pos.Col+max(d.Width, 1)))
	}
	add("title", string(d.Code))
	message := d.Message + inEnvironment(d)
	if d.Hint != "" {
		message += "\nhint: " + d.Hint
	}
	fmt.Fprintf(b, "::%s %s::%s\n", d.Severity, strings.Join(props, ","), data.Replace(multiline(message)))
}
