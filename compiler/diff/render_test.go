package diff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// release is a change as a team would make it: something of everything.
func release() *Report {
	b := base(both(
		removeRoute("docs"),
		onUpstream("users", func(u *ir.Upstream) { u.ID = "people" }), toUpstream("users", "people"),
		withUpstream(upstreamOf("search", "https", "search.internal:443")),
		add(routeOf("search", ir.Match{Host: "api.example.com", Path: "/search", Methods: []string{"GET"}}, "search")),
		onMatch(func(m *ir.Match) { m.Path = "/api/*" }),
		plan("auth", jwtOnly), plan("bodyLimit", `{"maxBytes":262144}`), drop("waf"),
		gateway(func(g *ir.Gateway) {
			g.Limits.BodyBytes, g.TrustedProxies = 10<<20, append(g.TrustedProxies, "192.168.0.0/16")
		}),
	))
	b.Origins["routes/users/matcher.path"] = at3("environments/prod/users.yaml", 4, 22)
	b.Origins["routes/search"] = at3("routes/search.yaml", 3, 5)
	return Programs(base(), b)
}

// hostile is a change whose every name and value tries to leave its place.
func hostile() *Report {
	const bad = "a|b`</code><img src=x>\n\r\x1b[31m\u202e\u009b @team #1 [x](http://e) *b* \\| www.e.com \U000e0041"
	b := base(
		add(routeOf(bad, ir.Match{Host: bad, Path: "/" + bad, Methods: []string{bad}, Headers: []ir.Pair{{Name: bad, Value: bad}}}, bad,
			policyOf(bad, `{"`+"k|</td>`"+`":"v"}`))),
		withUpstream(upstreamOf(bad, "http", bad)),
		onRoute("docs", func(r *ir.Route) { r.Tenant = bad }),
		jwt(`["user"]`, `["`+"x|<b>`"+`"]`),
		gateway(func(g *ir.Gateway) { g.TrustedProxies = append(g.TrustedProxies, bad) }),
	)
	b.Environment = bad
	b.Origins["routes/docs"] = at3(bad, 1, 1)
	return Programs(base(), b)
}

var writers = map[string]func(*Report, io.Writer) error{
	"text":     func(r *Report, w io.Writer) error { return r.WriteText(w, false) },
	"colour":   func(r *Report, w io.Writer) error { return r.WriteText(w, true) },
	"json":     (*Report).WriteJSON,
	"markdown": (*Report).WriteMarkdown,
}

func written(t *testing.T, r *Report, format string) string {
	t.Helper()
	var b bytes.Buffer
	if err := writers[format](r, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, r := range map[string]*Report{
		"release": release(), "hostile": hostile(), "none": Programs(base(), base()),
		"renamed": Programs(base(), base(onRoute("docs", func(r *ir.Route) { r.ID = "manual" }))),
	} {
		for format, ext := range map[string]string{"text": "txt", "json": "json", "markdown": "md"} {
			testkit.Golden(t, fmt.Sprintf("testdata/%s.%s", name, ext), []byte(written(t, r, format)))
		}
	}
	testkit.Golden(t, "testdata/release.colour.txt", []byte(written(t, release(), "colour")))
}

func TestNothingUnprintableIsWritten(t *testing.T) {
	for format := range writers {
		out := written(t, hostile(), format)
		if format == "colour" {
			out = regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllStringFunc(out, func(s string) string {
				if s == red || s == green || s == yellow || s == plainColour {
					return ""
				}
				return s
			})
			if strings.Count(written(t, hostile(), format), red)+strings.Count(written(t, hostile(), format), green) == 0 {
				t.Error("colour: no colours")
			}
		}
		for _, c := range out {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Errorf("%s: writes %U", format, c)
			}
		}
	}
}

// TestMarkdownHoldsItsShape checks what a renderer sees: rows of as many cells as the head, and no markup but our own.
func TestMarkdownHoldsItsShape(t *testing.T) {
	for name, r := range map[string]*Report{"release": release(), "hostile": hostile()} {
		out := written(t, r, "markdown")
		columns := 0
		for line := range strings.Lines(out) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case !strings.HasPrefix(line, "|"):
				columns = 0
				continue
			case columns == 0:
				columns = strings.Count(line, "|")
			}
			if n := strings.Count(line, "|"); n != columns {
				t.Errorf("%s: a row of %d bars under a head of %d: %s", name, n, columns, line)
			}
			if strings.Contains(line, "---") {
				continue
			}
			rest := regexp.MustCompile(`</?code>|&#[0-9]+;`).ReplaceAllString(line, "")
			if i := strings.IndexAny(rest, "<>&`*_[]()\\@#!~:.-"); i >= 0 {
				t.Errorf("%s: %q is left in a row: %s", name, rest[i], line)
			}
			if strings.Count(line, "<code>") != strings.Count(line, "</code>") {
				t.Errorf("%s: an element is not closed: %s", name, line)
			}
		}
	}
}

func TestMarkdownFitsAComment(t *testing.T) {
	b := many(2000)
	for i := range b.Routes {
		b.Routes[i].Forward.Timeout++
	}
	r := Programs(many(2000), b)
	out := written(t, r, "markdown")
	if len(out) > 65000 {
		t.Errorf("a comment of %d bytes", len(out))
	}
	for _, want := range []string{"2000 changed", "### Risks", "### Requests", "### Changes", "more rows"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestJSONIsWhole(t *testing.T) {
	long := strings.Repeat("x", 5000)
	out := written(t, Programs(base(), base(onRoute("docs", func(r *ir.Route) { r.Tenant = long }))), "json")
	var doc struct {
		FormatVersion int
		Objects       []struct{ Changes []Change }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.FormatVersion != FormatVersion || doc.Objects[0].Changes[0].New != long {
		t.Errorf("version %d, value %v", doc.FormatVersion, doc.Objects)
	}
	hostileJSON := written(t, hostile(), "json")
	var any any
	if err := json.Unmarshal([]byte(hostileJSON), &any); err != nil {
		t.Errorf("hostile values break the JSON: %v", err)
	}
}

func TestLongValuesShowWhereTheyDiffer(t *testing.T) {
	text := strings.Repeat("a", 400)
	a, b := showBoth(text+"left"+text, text+"right"+text)
	if !strings.Contains(a, "aleft") || !strings.Contains(b, "aright") || len(a) > 2*maxShown || len(b) > 2*maxShown {
		t.Errorf("%s\n%s", a, b)
	}
	var old, new []any
	for i := range 100 {
		old, new = append(old, fmt.Sprintf("10.0.%d.0/24", i)), append(new, fmt.Sprintf("10.0.%d.0/24", i))
	}
	a, b = showBoth(old, append(new[1:], "192.0.2.0/24"))
	if a != "100 items, only here: 10.0.0.0/24" || b != "100 items, only here: 192.0.2.0/24" {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestWriteErrorsAreReturned(t *testing.T) {
	for format, write := range writers {
		if err := write(release(), broken{}); !errors.Is(err, errBroken) {
			t.Errorf("%s: error %v, want %v", format, err, errBroken)
		}
	}
}

var errBroken = errors.New("broken pipe")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestPublicHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"users": false, "users.default.svc": false, "users.default.svc.cluster.local": false, "db.internal": false, "localhost": false,
		"127.0.0.1": false, "10.1.2.3": false, "100.64.1.1": false, "169.254.169.254": false, "::1": false, "fd00::1": false,
		"::ffff:10.0.0.1": false, "0.0.0.0": false, "[fe80::1]": false,
		"example.com": true, "EXAMPLE.COM.": true, "users.default": true, "8.8.8.8": true, "2001:4860::8888": true, "::ffff:8.8.8.8": true,
		"internal.example.com": true, "local": false, "100.128.0.1": true,
	} {
		if got := public(host); got != want {
			t.Errorf("%s: public %t, want %t", host, got, want)
		}
	}
}
