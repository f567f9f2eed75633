package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

const refusalManual = "docs/refusals.md"

// refusalSources are the folders whose words may reach a client: the runtime, and the packages that name its reasons for it.
var refusalSources = []string{"runtime", "internal/signedurl", "internal/webhook", "schema/match"}

// quiet are the folders below that answer nobody. A new folder is looked at until it is named here.
var quiet = []string{
	"runtime/activate", "runtime/breaker", "runtime/drift", "runtime/keyset", "runtime/shed", "runtime/simulate", "runtime/state",
	"runtime/telemetry", "runtime/upstream/health",
}

// otherWords look like codes, and are none.
var otherWords = map[string]string{
	"annotated_tag":     "a field, or a value of one, in what a forge sends",
	"clone_url":         "a field, or a value of one, in what a forge sends",
	"event_name":        "a field, or a value of one, in what a forge sends",
	"full_name":         "a field, or a value of one, in what a forge sends",
	"git_http_url":      "a field, or a value of one, in what a forge sends",
	"git_ssh_url":       "a field, or a value of one, in what a forge sends",
	"git_url":           "a field, or a value of one, in what a forge sends",
	"html_url":          "a field, or a value of one, in what a forge sends",
	"object_kind":       "a field, or a value of one, in what a forge sends",
	"ssh_url":           "a field, or a value of one, in what a forge sends",
	"tag_push":          "a field, or a value of one, in what a forge sends",
	"web_url":           "a field, or a value of one, in what a forge sends",
	"webhook_accepted":  "an answer to a webhook that refuses nothing",
	"webhook_duplicate": "an answer to a webhook that refuses nothing",
	"webhook_ignored":   "an answer to a webhook that refuses nothing",
	"webhook_ping":      "an answer to a webhook that refuses nothing",
	"client_gone":       "a reason of gw_tls_handshake_failures_total", "client_refused": "another", "not_tls": "another", "plain_http": "another",
	"insufficient_scope": "an error of RFC 6750, in WWW-Authenticate", "invalid_token": "another",
	"retry_after": "a reason of gw_upstream_retries_refused_total",
	"tenant_id":   "a claim",
}

var (
	word       = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	refusalRow = regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([a-z0-9_]+)` \\| [^|]+ \\| [^|]+ \\|$")
	anyRow     = regexp.MustCompile(`(?m)^\| \S.*\|$`)
)

// codes maps each code to the statuses that stand beside it.
type codes map[string]map[string]bool

func (c codes) add(code, status string) {
	if c[code] == nil {
		c[code] = map[string]bool{}
	}
	if status != "" {
		c[code][status] = true
	}
}

// TestRefusalsAreDocumented holds the manual to the source: each code that the gateway can answer with has its row, with its status,
// and no row speaks of a code that is gone.
func TestRefusalsAreDocumented(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(testkit.Root(t), refusalManual))
	if err != nil {
		t.Fatal(err)
	}
	have, want := codes{}, sourceCodes(t)
	rows := refusalRow.FindAllStringSubmatch(string(manual), -1)
	for _, m := range rows {
		have.add(m[2], m[1])
	}
	if len(want) < 100 {
		t.Fatalf("found only %d codes in the source: is the walk still right?", len(want))
	}
	tables := strings.Count(string(manual), "| status | code | meaning | mend it |\n| --- | --- | --- | --- |\n")
	if n := len(anyRow.FindAllString(string(manual), -1)); n != len(rows)+2*tables {
		t.Errorf("%s has %d lines of tables, of which %d are rows of %d tables: one is malformed, and gwctl explain would pass it over", refusalManual, n, len(rows), tables)
	}
	for _, code := range slices.Sorted(maps.Keys(want)) {
		if have[code] == nil {
			t.Errorf("%s has no row for %q: write one, or name it in otherWords if it is no code", refusalManual, code)
			continue
		}
		for status := range want[code] {
			if !have[code][status] {
				t.Errorf("%s has no row for %q with status %s", refusalManual, code, status)
			}
		}
	}
	for _, code := range slices.Sorted(maps.Keys(have)) {
		if want[code] == nil {
			t.Errorf("%s explains %q, which no source has", refusalManual, code)
		}
	}
}

// TestGoldenRefusals holds the copy that gwctl explain prints from to the manual, which is out of reach of go:embed.
func TestGoldenRefusals(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(testkit.Root(t), refusalManual))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(testkit.Root(t), "cmd", "gwctl", "refusals.md")
	if testkit.UpdateGolden() {
		if err := os.WriteFile(copied, manual, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(manual) {
		t.Error("cmd/gwctl/refusals.md is stale: run make golden")
	}
}

// TestLiteralCodes shows what is taken for a code.
func TestLiteralCodes(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   string
	}{
		"reject":              {`&policy.Reject{Status: 429, Code: "rate_limited", Detail: "too many"}`, "rate_limited 429"},
		"one word":            {`&Error{Status: 503, Code: "stopping"}`, "stopping 503"},
		"status of a name":    {`&Error{Status: http.StatusTeapot, Code: "short"}`, "short"},
		"argument":            {`bad("no_host", "there is no Host")`, "no_host"},
		"argument of problem": {`problem(http.StatusUnauthorized, "unauthorized", "a token")`, "unauthorized"},
		"method problem":      {`w.problem(500, "broken", "it")`, "broken 500"},
		"text":                {`fmt.Errorf("it is not_a code")`, ""},
		"metric":              {`name("gw_refused_total")`, ""},
		"single word":         {`name("closed")`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar x = "+c.source, 0)
			if err != nil {
				t.Fatal(err)
			}
			found := codes{}
			found.read(f)
			var got []string
			for code, statuses := range found {
				got = append(got, strings.Join(append([]string{code}, slices.Collect(maps.Keys(statuses))...), " "))
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// sourceCodes reads the codes off the source.
func sourceCodes(t *testing.T) codes {
	root, found := testkit.Root(t), codes{}
	for _, dir := range refusalSources {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(dir)), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			switch rel = filepath.ToSlash(rel); {
			case d.IsDir() && (slices.Contains(quiet, rel) || d.Name() == "testdata"):
				return fs.SkipDir
			case d.IsDir() || path.Ext(rel) != ".go" || strings.HasSuffix(rel, "_test.go"), path.Base(rel) == "metrics.go": // values of labels
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
			if err == nil {
				found.read(f)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for w := range otherWords {
		if found[w] == nil {
			t.Errorf("no source has %q any more: take it out of otherWords", w)
		}
		delete(found, w)
	}
	return found
}

// read finds the codes of a file: whatever is written in snake case, and whatever stands where codes do. How a code gets from a
// literal to the client is not followed: a way that the test did not know would hide it.
func (c codes) read(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if s := literal(n); strings.Contains(s, "_") && !strings.HasPrefix(s, "gw_") {
				c.add(s, "")
			}
		case *ast.CompositeLit:
			fields := map[string]ast.Expr{}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok {
						fields[key.Name] = kv.Value
					}
				}
			}
			if s := literal(fields["Code"]); s != "" {
				c.add(s, number(fields["Status"]))
			}
		case *ast.CallExpr:
			name := ""
			switch fun := n.Fun.(type) {
			case *ast.Ident:
				name = fun.Name
			case *ast.SelectorExpr:
				name = fun.Sel.Name
			}
			if name == "problem" && len(n.Args) == 3 {
				if s := literal(n.Args[1]); s != "" {
					c.add(s, number(n.Args[0]))
				}
			}
		}
		return true
	})
}

// literal is the word that an expression spells out, "" if it is something else.
func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		if s, err := strconv.Unquote(l.Value); err == nil && word.MatchString(s) {
			return s
		}
	}
	return ""
}

func number(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.INT {
		return l.Value
	}
	return ""
}
