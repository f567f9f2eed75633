package yamlpos

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// verdict decodes and renders the diagnostics as "line:col code", one a line.
func verdict(path, in string) (*schema.Node, string) {
	var l diag.List
	n := Decode(path, []byte(in), &l)
	var out []string
	for _, d := range l.Sorted() {
		out = append(out, fmt.Sprintf("%d:%d %s", d.Pos.Line, d.Pos.Col, d.Code))
	}
	return n, strings.Join(out, " ")
}

func TestScalars(t *testing.T) {
	for in, want := range map[string]any{
		"text":                 "text",
		"":                     nil,
		"~":                    nil,
		"null":                 nil,
		"true":                 true,
		"False":                false,
		"0":                    int64(0),
		"-0":                   int64(0),
		"+5":                   int64(5),
		"-12":                  int64(-12),
		"9223372036854775807":  int64(math.MaxInt64),
		"-9223372036854775808": int64(math.MinInt64),
		"1.5":                  1.5,
		"1.":                   1.0,
		".5":                   0.5,
		"1.0":                  1.0,
		"1e-3":                 0.001,
		"-2.5e-1":              -0.25,
		"2024-01-15":           "2024-01-15",
		"2024-01-15T10:00:00Z": "2024-01-15T10:00:00Z",
		"10s":                  "10s",
		"1:30":                 "1:30",
		"10.0.0.1":             "10.0.0.1",
		"10.0.0.0/8":           "10.0.0.0/8",
		"0x":                   "0x",
		"0xyz":                 "0xyz",
		"+":                    "+",
		"-x":                   "-x",
		"...x":                 "...x",
		"yesterday":            "yesterday",
		"none":                 "none",
		"Off-peak":             "Off-peak",
		"1e":                   "1e",
		"e3":                   "e3",
		"_1":                   "_1",
		`"yes"`:                "yes",
		`'017'`:                "017",
		`"1e3"`:                "1e3",
		"!!str 017":            "017",
		`!!int "5"`:            int64(5),
		"!!float 2":            2.0,
		"|\n  a\n  b\n":        "a\nb\n",
		">-\n  a\n  b\n":       "a b",
	} {
		n, errs := verdict("f.yaml", "k: "+in+"\n")
		if errs != "" {
			t.Errorf("%q: %s", in, errs)
		} else if got := n.Get("k").Any(); !reflect.DeepEqual(got, want) {
			t.Errorf("%q = %#v, want %#v", in, got, want)
		}
	}
}

func TestDoubtfulScalars(t *testing.T) {
	tests := []struct{ in, code, hint string }{
		{"yes", "GW1101", `write true, or quote it to mean the text: "yes"`},
		{"No", "GW1101", `write false, or quote it to mean the text: "No"`},
		{"on", "GW1101", `write true, or`},
		{"OFF", "GW1101", `write false, or`},
		{"y", "GW1101", `write true, or`},
		{"N", "GW1101", `write false, or`},
		{"017", "GW1102", `write 17 or 15, or quote it to mean the text: "017"`},
		{"-017", "GW1102", `write -17 or -15, or`},
		{"08", "GW1102", `write 8, or`},
		{"00", "GW1102", `write 0, or`},
		{"0o17", "GW1102", `write 15, or`},
		{"0o7", "GW1102", `write 7, or`},
		{"0x1f", "GW1102", `write 31, or`},
		{"-0X1F", "GW1102", `write -31, or`},
		{"0b11", "GW1102", `write 3, or`},
		{"0xffffffffffffffffff", "GW1102", `quote it`},
		{"1_000", "GW1102", `write 1000, or`},
		{"-_1", "GW1102", `write -1, or`},
		{"1_0.5", "GW1102", `write 10.5, or`},
		{"1e3", "GW1103", `write 1000, or`},
		{"1.5E3", "GW1103", `write 1500, or`},
		{"-1e0", "GW1103", `write -1, or`},
		{"9223372036854775808", "GW1104", `quote it`},
		{"-9223372036854775809", "GW1104", `quote it`},
		{"1e999", "GW1104", `quote it`},
		{"1e30", "GW1104", `quote it`},
		{".nan", "GW1105", `quote it`},
		{".inf", "GW1105", `quote it`},
		{"-.Inf", "GW1105", `quote it`},
		{"!!binary aGk=", "GW1109", "remove the tag"},
		{"!!timestamp 2024-01-15", "GW1109", "remove the tag"},
		{"!!python/object:os.system x", "GW1109", "remove the tag"},
		{"!local x", "GW1109", "remove the tag"},
		{"! x", "GW1109", "remove the tag"},
		{"!!int x", "GW1109", "remove the tag"},
		{"!!set {a}", "GW1109", "remove the tag"},
		{`"a\0b"`, "GW1022", "remove it"},
		{`"\e[31m"`, "GW1022", "remove it"},
		{`"\u202e"`, "GW1023", "remove the character"},
	}
	for _, tt := range tests {
		var l diag.List
		Decode("f.yaml", []byte("k: "+tt.in+"\n"), &l)
		ds := l.Sorted()
		if len(ds) != 1 || string(ds[0].Code) != tt.code || !strings.HasPrefix(ds[0].Hint, tt.hint) {
			t.Errorf("%q: got %+v, want %s with hint %q", tt.in, ds, tt.code, tt.hint)
			continue
		}
		if d := ds[0]; d.Pos.Line != 1 || d.Pos.Col < 4 || d.Path != "k" || d.Message == "" {
			t.Errorf("%q: bad place or message: %+v", tt.in, d)
		}
	}
}

func TestRefused(t *testing.T) {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 8), i-1)
	}
	tests := []struct{ name, in, want string }{
		{"alias bomb", bomb, "5:10 GW1110"},
		{"self alias", "a: &a [1, *a]\n", "1:11 GW1111"},
		{"self alias in map", "a: &a\n  b: *a\n", "2:6 GW1111"},
		{"unknown alias", "a: 1\nb: *nope\n", "2:4 GW1115"},
		{"merge key", "base: &b {x: 1}\nc:\n  <<: *b\n", "3:3 GW1107"},
		{"merge recursion", "a: &a\n  <<: *a\n", "2:3 GW1107 2:7 GW1111"},
		{"duplicate key", "a: 1\nb: 2\na: 3\n", "3:1 GW1106"},
		{"duplicate key, quoted", "a: 1\n'a': 3\n", "2:1 GW1106"},
		{"duplicate key, flow", "m: {a: 1, a: 2}\n", "1:11 GW1106"},
		{"duplicate key, 40 fields", "m:\n" + numbered(40) + "  k7: 1\n", "42:3 GW1106"},
		{"second document", "a: 1\n---\nb: 2\n", "2:1 GW1108"},
		{"second document, explicit first", "# c\n---\na: 1\n--- # x\nb: 2\n", "4:1 GW1108"},
		{"second document, empty", "a: 1\n---\n", "2:1 GW1108"},
		{"second document, broken", "a: 1\n---\nb: [\n", "2:1 GW1108"},
		{"after the end marker", "a: 1\n...\nb: 2\n", "3:1 GW1100"},
		{"200k brackets", strings.Repeat("[", 200_000), "1:10001 GW1112"},
		{"65 deep", strings.Repeat("{a: ", 65) + strings.Repeat("}", 65), "1:257 GW1112"},
		{"65 deep through an alias", "a: &a " + strings.Repeat("[", 33) + strings.Repeat("]", 33) + "\nb: " + strings.Repeat("[", 31) + "*a" + strings.Repeat("]", 31) + "\n", "2:35 GW1112"},
		{"tab indentation", "a:\n\tb: 1\n", "2:1 GW1116"},
		{"tab after blanks", "a:\n  b: 1\n \t c: 1\n", "3:2 GW1116"},
		{"number as a name", "1: x\n", "1:1 GW1113"},
		{"null as a name", "a: 1\n? \n: x\n", "2:2 GW1113"},
		{"true as a name", "m: {true: 1}\n", "1:5 GW1113"},
		{"on as a name and as a value", "on: on\n", "1:5 GW1101"},
		{"list as a name", "? [a]\n: x\n", "1:3 GW1113"},
		{"alias as a name", "a: &x p\n*x : z\n", "2:1 GW1113"},
		{"tagged name", "!!binary aGk=: 1\n", "1:1 GW1109"},
		{"list at the root", "- a\n", "1:1 GW1114"},
		{"string at the root", "hello\n", "1:1 GW1114"},
		{"UTF-16", "\xff\xfea\x00:\x00 \x001\x00", "1:1 GW1020"},
		{"UTF-16 without mark", "a\x00:\x00 \x001\x00", "1:1 GW1020"},
		{"UTF-32", "\xff\xfe\x00\x00a\x00\x00\x00", "1:1 GW1020"},
		{"Latin-1", "a: caf\xe9\n", "1:7 GW1021"},
		{"overlong", "a: \xc0\xaf\n", "1:4 GW1021 1:5 GW1021"},
		{"surrogate in UTF-8", "a: \xed\xa0\x80\n", "1:4 GW1021 1:5 GW1021 1:6 GW1021"},
		{"NUL", "a: é\x00\n", "1:5 GW1022"},
		{"escape character", "a: \x1b[31m\n", "1:4 GW1022"},
		{"DEL", "a: \x7f\n", "1:4 GW1022"},
		{"byte order mark inside", "a: \ufeffb\n", "1:4 GW1022"},
		{"bidi control", "a: 1 # \u202e\n", "1:8 GW1023"},
		{"bidi isolate", "a: \u2066x\n", "1:4 GW1023"},
		{"NEL", "a: 1\u0085b: 2\n", "1:5 GW1024"},
		{"LS", "a: 1\u2028b: 2\n", "1:5 GW1024"},
		{"PS", "a: 1\u2029b: 2\n", "1:5 GW1024"},
		{"bare CR", "a: 1\rb: 2\n", "1:5 GW1024"},
		{"too large", "a: " + strings.Repeat("x", MaxBytes), "0:0 GW1005"},
		{"unclosed list", "a: [1, 2\nb: 3\n", "1:4 GW1100"},
		{"unclosed map", "a: 1\nb: {x: [1]\n", "2:4 GW1100"},
		{"unclosed quote", "a: \"x\nb: 1\n", "1:4 GW1100"},
		{"no colon", "a: 1\nfoo\nb: 2\n", "2:1 GW1100"},
		{"two colons", "a: b: c\n", "1:5 GW1100"},
		{"dedent", "a:\n  b: 1\n c: 2\n", "3:2 GW1100"},
		{"at sign", "a: @x\n", "1:4 GW1100"},
		{"bad escape", `a: "\q"`, "1:5 GW1100"},
		{"undefined tag handle", "a: !e!x y\n", "1:4 GW1109"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			if _, got := verdict("routes/f.yaml", tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  k%d: 0\n", i)
	}
	return b.String()
}

func TestJSON(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", `{"a": [1, true, null, "x\/y\u00e9"], "b": {"c": 1.5}}`, ""},
		{"tabs", "{\n\t\"a\": 1,\n\t\"b\":\t2\n}\n", ""},
		{"surrogate pair", `{"a": "\ud83d\ude00", "b": yes}`, "1:28 GW1101"},
		{"escapes before a problem", "{\"é\": \"\\/\\/\\ud83d\\ude00\", \"b\": yes,\n\"c\": no}", "1:32 GW1101 2:6 GW1101"},
		{"lone surrogate", `{"a": "\ud83d"}`, "1:13 GW1100"},
		{"escaped backslash before u", `{"a": "\\ud83d\\ude00"}`, ""},
		{"duplicate", `{"a": 1, "a": 2}`, "1:10 GW1106"},
		{"names that differ in case are two names", `{"a": 1, "A": 2}`, ""},
		{"1e999", `{"a": 1e999}`, "1:7 GW1104"},
		{"depth 10,001", strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001), "1:50001 GW1112"},
		{"not closed", `{"a": 1`, "1:1 GW1100"},
	}
	for _, tt := range tests {
		n, got := verdict("f.json", tt.in)
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		var want any
		if tt.want == "" {
			if err := json.Unmarshal([]byte(tt.in), &want); err != nil {
				t.Fatal(err)
			}
			if a, b := asJSON(t, n.Any()), asJSON(t, want); a != b {
				t.Errorf("%s: got %s, want %s", tt.name, a, b)
			}
		}
	}
	n, _ := verdict("f.json", `{"a": "\ud83d\ude00"}`)
	if n.Get("a").Str != "😀" {
		t.Errorf("got %q", n.Get("a").Str)
	}
}

// TestPositions checks line:col+width of every name and value.
func TestPositions(t *testing.T) {
	in := "\xef\xbb\xbf# héllo\r\n" +
		"id: users # c\r\n" +
		"é: \"ü\\\"x\" \r\n" +
		"flow: {a: [1, 'two'], b: }\r\n" +
		"tagged: &x !!str 12\r\n" +
		"alias: *x\r\n" +
		"block:\r\n" +
		"  deep:\r\n" +
		"    - one two\r\n" +
		"    - {k: v}\r\n" +
		"text: |\r\n" +
		"  line\r\n" +
		"multi: one\r\n" +
		"  two\r\n"
	want := `2:1 id 2:5+5
3:1 é 3:4+6
4:1 flow 4:7+20
4:8 a 4:11+10
- 4:12+1
- 4:15+5
4:23 b 4:26+0
5:1 tagged 5:18+2
6:1 alias 5:18+2
7:1 block 8:3+0
8:3 deep 9:5+0
- 9:7+7
- 10:7+6
10:8 k 10:11+1
11:1 text 11:7+1
13:1 multi 13:8+3
`
	n, errs := verdict("f.yaml", in)
	if errs != "" {
		t.Fatal(errs)
	}
	var b strings.Builder
	var walk func(*schema.Node)
	walk = func(n *schema.Node) {
		for _, f := range n.Fields {
			fmt.Fprintf(&b, "%d:%d %s %d:%d+%d\n", f.Pos.Line, f.Pos.Col, f.Name, f.Value.Pos.Line, f.Value.Pos.Col, f.Value.Width)
			walk(f.Value)
		}
		for _, it := range n.Items {
			fmt.Fprintf(&b, "- %d:%d+%d\n", it.Pos.Line, it.Pos.Col, it.Width)
			walk(it)
		}
	}
	walk(n)
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if n.Get("block").Get("deep").Items[0].Str != "one two" || n.Get("text").Str != "line\n" {
		t.Error("wrong values")
	}
}

// TestLongLines holds the work on one long line to a small multiple of its length.
func TestLongLines(t *testing.T) {
	for name, in := range map[string]string{
		"f.yaml": "é: [" + strings.Repeat("é,", 600_000) + "]\n",
		"f.json": `{"a": ["` + strings.Repeat(`\/`, 600_000) + `", ` + strings.Repeat(`"\/",`, 300_000) + "1]}",
	} {
		start := time.Now()
		if _, errs := verdict(name, in); errs != "" {
			t.Errorf("%s: %s", name, errs)
		}
		if d := time.Since(start); d > 30*time.Second { // quadratic work takes many minutes
			t.Errorf("%s: took %s", name, d)
		}
	}
}

func TestManyProblems(t *testing.T) {
	var l diag.List
	Decode("f.yaml", []byte("a: ["+strings.Repeat("yes,", 5000)+"]\n"), &l)
	ds := l.Sorted()
	if len(ds) != maxReported+1 || ds[0].Code != "GW1117" || !strings.Contains(ds[0].Message, "4900 more") {
		t.Errorf("%d diagnostics, first %+v", len(ds), ds[0])
	}
}

func TestNotes(t *testing.T) {
	var l diag.List
	Decode("r.yaml", []byte("routes:\n  - id: a\n    id: b\n"), &l)
	d := l.Sorted()[0]
	if len(d.Notes) != 1 || d.Notes[0].Pos.String() != "r.yaml:2:5" || d.Path != "routes[0].id" {
		t.Errorf("got %+v", d)
	}
}

func TestEmpty(t *testing.T) {
	for _, in := range []string{"", "\n", "# only a comment\n", "---\n", "\xef\xbb\xbf"} {
		n, errs := verdict("f.yaml", in)
		if errs != "" || n == nil || n.Kind != schema.Map || len(n.Fields) != 0 {
			t.Errorf("%q: %v %s", in, n, errs)
		}
	}
}

func TestAliasesAreShared(t *testing.T) {
	n, errs := verdict("f.yaml", "a: &x {k: [1]}\nb: *x\n")
	if errs != "" || n.Get("a") != n.Get("b") {
		t.Errorf("the alias is a copy: %s", errs)
	}
	item := "x: &x [" + strings.Repeat("1,", 99) + "]\nz: [" // 100 values each
	if _, errs := verdict("f.yaml", item+strings.Repeat("*x,", 100)+"]\n"); errs != "" {
		t.Errorf("10,000 values: %s", errs)
	}
	if _, errs := verdict("f.yaml", item+strings.Repeat("*x,", 101)+"]\n"); !strings.Contains(errs, "GW1110") {
		t.Errorf("10,100 values: %s", errs)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
