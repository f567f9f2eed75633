package diag

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

const users = "\xef\xbb\xbfapiVersion: v1\r\nroutes:\r\n  - id: é\tx\r\n    intervalMs: 200\r\n"

func report() Report {
	return Report{
		Diagnostics: []Diagnostic{
			{
				Code: "GW2103", Pos: Pos{"routes/users.yaml", 4, 17}, Width: 3, Path: "routes[0].intervalMs", Message: "intervalMs is 200ms, must be at least 1s",
				Notes: []Note{{Pos{"routes/users.yaml", 3, 5}, `applies to route "é"`}}, Hint: "write 1000",
			},
			{Severity: Warning, Code: "GW4008", Pos: Pos{File: "gateway.yaml"}, Message: "100% doubtful", Env: "prod"},
		},
		Source: func(p string) []byte {
			if p == "routes/users.yaml" {
				return []byte(users)
			}
			return nil
		},
		Version: "1.2.3", Files: 2,
	}
}

// render runs a renderer and returns what it wrote.
func render(t *testing.T, f func(io.Writer, Report) error, r Report) string {
	t.Helper()
	var b strings.Builder
	if err := f(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	want := `routes/users.yaml:4:17: error GW2103: intervalMs is 200ms, must be at least 1s
  routes/users.yaml:3:5: note: applies to route "é"
  4 |     intervalMs: 200
    |                 ^^^
  hint: write 1000
gateway.yaml: warning GW4008: 100% doubtful [environment prod]
2 files, 1 error, 1 warning
`
	if got := render(t, Text, report()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTextCarets looks at the carets alone: below wide, escaped, cut and missing text.
func TestTextCarets(t *testing.T) {
	long := strings.Repeat("x", 1000)
	tests := []struct {
		name, source string
		line, col, w int
		want         string
	}{
		{"tab", "a:\tyes", 1, 4, 3, "  1 | a: yes\n    |    ^^^\n"},
		{"escape before", "a\x1b: yes", 1, 5, 3, "  1 | a\\u001b: yes\n    |          ^^^\n"},
		{"beyond the end", "ab", 1, 9, 3, "  1 | ab\n    |   ^\n"},
		{"wider than the line", "a: yes", 1, 4, 99, "  1 | a: yes\n    |    ^^^\n"},
		{"no width", "a: yes", 1, 4, 0, "  1 | a: yes\n    |    ^\n"},
		{"line only", "a: yes", 1, 0, 0, "  1 | a: yes\n"},
		{"no such line", "a: yes", 7, 1, 1, ""},
		{"last line without end", "a\nb: no", 2, 4, 2, "  2 | b: no\n    |    ^^\n"},
		{"long line", long + "yes" + long, 1, 1001, 3, "  1 | " + long[:40] + "yes" + long[:117] + "\n    | " + strings.Repeat(" ", 40) + "^^^\n"},
	}
	for _, tt := range tests {
		r := Report{
			Diagnostics: []Diagnostic{{Code: "GW1101", Pos: Pos{"f", tt.line, tt.col}, Width: tt.w, Message: "m"}},
			Source:      func(string) []byte { return []byte(tt.source) },
		}
		got := render(t, Text, r)
		_, got, _ = strings.Cut(got, "\n")
		got = strings.TrimSuffix(got, "0 files, 1 error, 0 warnings\n")
		if got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestRedactedLineIsNotQuoted(t *testing.T) {
	r := report()
	r.Diagnostics[0].Redact = true
	if got := render(t, Text, r); strings.Contains(got, "4 |") {
		t.Errorf("got\n%s", got)
	}
}

func TestJSON(t *testing.T) {
	want := `{
  "formatVersion": 1,
  "version": "1.2.3",
  "files": 2,
  "errors": 1,
  "warnings": 1,
  "diagnostics": [
    {
      "severity": "error",
      "code": "GW2103",
      "file": "routes/users.yaml",
      "line": 4,
      "column": 17,
      "width": 3,
      "path": "routes[0].intervalMs",
      "message": "intervalMs is 200ms, must be at least 1s",
      "hint": "write 1000",
      "notes": [
        {
          "file": "routes/users.yaml",
          "line": 3,
          "column": 5,
          "message": "applies to route \"é\""
        }
      ]
    },
    {
      "severity": "warning",
      "code": "GW4008",
      "file": "gateway.yaml",
      "message": "100% doubtful",
      "environment": "prod"
    }
  ]
}
`
	if got := render(t, JSON, report()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := render(t, JSON, Report{}); !strings.Contains(got, `"diagnostics": []`) {
		t.Errorf("no list in %s", got)
	}
}

func TestSARIF(t *testing.T) {
	r := report()
	r.Diagnostics = append(r.Diagnostics, r.Diagnostics[0])
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			ColumnKind string
			Tool       struct {
				Driver struct {
					Name, Version string
					Rules         []struct{ ID string }
				}
			}
			Results []struct {
				RuleID, Level       string
				RuleIndex           int
				Message             struct{ Text string }
				PartialFingerprints map[string]string
				Locations           []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine, StartColumn, EndColumn int }
					}
				}
				RelatedLocations []json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(render(t, SARIF, r)), &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if log.Version != "2.1.0" || run.ColumnKind != "unicodeCodePoints" || run.Tool.Driver.Name != "gwctl" || len(run.Tool.Driver.Rules) != 2 || len(run.Results) != 3 {
		t.Errorf("got %+v", log)
	}
	prints := map[string]bool{}
	for _, res := range run.Results {
		if run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID || res.Message.Text == "" || len(res.Locations) != 1 {
			t.Errorf("got %+v", res)
		}
		if p := res.PartialFingerprints["gwctl/v1"]; p == "" || prints[p] {
			t.Errorf("fingerprint %q is not unique", p)
		} else {
			prints[p] = true
		}
	}
	if g := run.Results[0].Locations[0].PhysicalLocation.Region; g.StartLine != 4 || g.StartColumn != 17 || g.EndColumn != 20 {
		t.Errorf("got %+v", g)
	}
	if run.Results[1].Locations[0].PhysicalLocation.Region != nil {
		t.Error("a file without a line has a region")
	}
	before := run.Results[0].PartialFingerprints["gwctl/v1"]
	r.Diagnostics[0].Pos.Line = 40
	if !strings.Contains(render(t, SARIF, r), before) {
		t.Error("a fingerprint changes when the line moves")
	}
	if got := render(t, SARIF, Report{}); !strings.Contains(got, `"results": []`) || !strings.Contains(got, `"rules": []`) {
		t.Errorf("got %s", got)
	}
}

func TestJUnit(t *testing.T) {
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Cases []struct {
				Class   string `xml:"classname,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(render(t, JUnit, report())), &suites); err != nil {
		t.Fatal(err)
	}
	cases := suites.Suites[0].Cases
	if suites.Tests != 2 || suites.Failures != 1 || cases[0].Failure == nil || cases[1].Failure != nil || cases[0].Class != "routes/users.yaml" {
		t.Errorf("got %+v", suites)
	}
}

func TestGitHub(t *testing.T) {
	r := report()
	r.Diagnostics[0].Pos.File = "a,b:c%d.yaml"
	r.Diagnostics[0].Message = "x\n::error::forged"
	r.Diagnostics[0].Hint = ""
	want := "::error file=a%2Cb%3Ac%25d.yaml,line=4,col=17,endColumn=20,title=GW2103::x%0A::error::forged\n" +
		"::warning file=gateway.yaml,title=GW4008::100%25 doubtful [environment prod]\n2 files, 1 error, 1 warning\n"
	if got := render(t, GitHub, r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.Diagnostics = nil
	for i := range 15 {
		r.Diagnostics = append(r.Diagnostics, Diagnostic{Severity: Warning, Code: "GW4008", Message: fmt.Sprint("w", i)})
	}
	r.Diagnostics = append(r.Diagnostics, Diagnostic{Code: "GW2103", Message: "the error"})
	got := render(t, GitHub, r)
	if !strings.HasPrefix(got, "::error title=GW2103::the error\n") || strings.Count(got, "::warning ") != 9 || !strings.Contains(got, "::notice::6 more") || strings.Count(got, "\n-: warning GW4008: w") != 6 {
		t.Errorf("got\n%s", got)
	}
}

// TestHostileText puts what terminals, logs and browsers obey into every field a repository can reach.
func TestHostileText(t *testing.T) {
	hostile := "\x1b[31m\x00\r\n::error::x\u202e\u2028\u009b]]>\u200b\xff\U000e0041"
	r := Report{
		Diagnostics: []Diagnostic{{
			Code: "GW1002", Pos: Pos{hostile, 1, 2}, Width: 3, Path: hostile, Message: hostile, Hint: hostile, Env: hostile,
			Notes: []Note{{Pos{hostile, 1, 1}, hostile}},
		}},
		Source: func(string) []byte { return []byte(hostile) },
	}
	for name, f := range map[string]func(io.Writer, Report) error{"text": Text, "json": JSON, "sarif": SARIF, "junit": JUnit, "github": GitHub} {
		got := render(t, f, r)
		for _, c := range got {
			if c != '\n' && c != '\uFFFD' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == 0x2028) {
				t.Errorf("%s lets %U through", name, c)
			}
		}
		if name == "text" && regexp.MustCompile(`(?m)^::`).MatchString(got) {
			t.Errorf("text lets a line begin anew:\n%s", got)
		}
	}
	var back struct{ Diagnostics []struct{ Message string } }
	if err := json.Unmarshal([]byte(render(t, JSON, r)), &back); err != nil || back.Diagnostics[0].Message != strings.ToValidUTF8(hostile, "\uFFFD") {
		t.Errorf("JSON does not keep the message: %v %q", err, back.Diagnostics[0].Message)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"routes", "upstreams", "policies", "tenants", "environments", "tests"}
	for in, want := range map[string]string{
		"route": "routes", "Routes": "routes", "ruotes": "routes", "upstream": "upstreams", "polices": "policies", "enviroments": "environments",
		"docs": "", "": "", "x": "", "routes-and-more": "", strings.Repeat("r", 1<<20): "",
	} {
		if got := Suggest(in, known); got != want {
			t.Errorf("%.20q: got %q, want %q", in, got, want)
		}
	}
	long := strings.Repeat("a", 1<<20)
	if got := Suggest(long, []string{long + "b"}); got != "" {
		t.Error("words of a megabyte are compared")
	}
}
