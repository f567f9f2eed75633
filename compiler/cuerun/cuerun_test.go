package cuerun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

func TestMain(m *testing.M) {
	Child()
	if os.Getenv("CUERUN_TEST_PROBE") != "" {
		probe()
	}
	os.Exit(m.Run())
}

// run evaluates files given as path, text, path, text.
func run(t *testing.T, e *Evaluator, files ...string) (map[string]*schema.Node, []diag.Diagnostic) {
	t.Helper()
	var in []load.RawFile
	for i := 0; i < len(files); i += 2 {
		in = append(in, load.RawFile{Path: files[i], Data: []byte(files[i+1])})
	}
	var diags diag.List
	roots, err := e.Evaluate(t.Context(), in, &diags)
	if err != nil {
		t.Fatal(err)
	}
	return roots, diags.Sorted()
}

func asJSON(t *testing.T, n *schema.Node) string {
	t.Helper()
	b, err := json.Marshal(n.Any())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestValues(t *testing.T) {
	roots, ds := run(t, New(), "routes/a.cue", `import "strings"
import "list"
apiVersion: "gateway.suuupra.dev/v1"
#Route: {id: string, path: string, kind: *"http" | "ai", weight: *1 | int}
routes: [for i in list.Range(0, 2, 1) {#Route & {id: "r\(i)", path: strings.ToLower("/X")}}]
n: null
b: true
f: 1.5
_hidden: 1
opt?: string
`)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	want := `{"apiVersion":"gateway.suuupra.dev/v1","b":true,"f":1.5,"n":null,"routes":[{"id":"r0","kind":"http","path":"/x","weight":1},{"id":"r1","kind":"http","path":"/x","weight":1}]}`
	if got := asJSON(t, roots["routes/a.cue"]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPackages(t *testing.T) {
	roots, ds := run(t, New(),
		"routes/a.cue", "package team\na: 1\n#P: \"/x\"\n",
		"routes/b.cue", "// c\npackage team\nb: #P\n",
		"routes/c.cue", "a: 3\n",
		"other/a.cue", "package team // same name, other folder\na: 4\n",
		"other/d.cue", "package _\na: 5\n")
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	want := map[string]string{
		"routes/a.cue": `{"a":1,"b":"/x"}`, "routes/c.cue": `{"a":3}`, "other/a.cue": `{"a":4}`, "other/d.cue": `{"a":5}`,
	}
	if len(roots) != len(want) {
		t.Errorf("got %d roots", len(roots))
	}
	for p, w := range want {
		if got := asJSON(t, roots[p]); got != w {
			t.Errorf("%s: got %s, want %s", p, got, w)
		}
	}
	if p := roots["routes/a.cue"].Field("b").Pos.String(); p != "routes/b.cue:3:1" {
		t.Errorf("b stands at %s", p)
	}
}

func TestPositions(t *testing.T) {
	in := "\xef\xbb\xbf// é\r\n" +
		"a: 12\r\n" +
		"é: \"ü\" // c\r\n" +
		"m: {x: [1, \"two\"], y: _t & {k: 3}}\r\n" +
		"_t: k: int\r\n" +
		"d: *\"def\" | string\r\n" +
		"s: {u: 1}\r\n" +
		"s: v: 2\r\n"
	roots, ds := run(t, New(), "p.cue", in)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	want := `2:1 a 2:4+2
3:1 é 3:4+3
4:1 m 4:4+31
4:5 x 4:8+10
- 4:9+1
- 4:12+5
4:20 y 4:23+11
4:29 k 4:32+1
6:1 d 6:4+15
8:1 s 8:4+4
7:5 u 7:8+1
8:4 v 8:7+1
`
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
	walk(roots["p.cue"])
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestRefused(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"syntax", "a: {\n", "1:5 GW1501"},
		{"conflict", "a: 1\nb: 2\na: 2\n", "3:4 GW1502"},
		{"unknown reference", "a: b\n", "1:4 GW1502"},
		{"bound", "a: >5 & 3\n", "1:4 GW1502"},
		{"closed definition", "#D: {a: int}\nx: #D & {a: 1, b: 1}\n", "2:16 GW1502"},
		{"incomplete", "a: int\n", "1:4 GW1505"},
		{"required", "a: {b!: string}\n", "1:5 GW1505"},
		{"structural cycle", "#a: {b: #a}\nx: #a\n", "1:6 GW1502"},
		{"tool/exec", "import \"tool/exec\"\nx: exec.Run & {cmd: \"id\"}\n", "1:8 GW1503"},
		{"tool/http", "import \"tool/http\"\nx: http.Get\n", "1:8 GW1503"},
		{"tool/os", "import \"tool/os\"\nx: os.Getenv\n", "1:8 GW1503"},
		{"module", "import \"example.com/x@v0\"\na: x.y\n", "1:8 GW1503"},
		{"yaml by the back door", "import \"encoding/yaml\"\na: yaml.Unmarshal(\"a: yes\")\n", "1:8 GW1503"},
		{"embed", "@extern(embed)\npackage x\n_a: _ @embed(file=\"../../etc/passwd\")\n", "1:1 GW1504 3:7 GW1504"},
		{"tag", "a: string @tag(env)\n", "1:11 GW1504"},
		{"build condition", "@if(prod)\npackage x\na: 1\n", "1:1 GW1504"},
		{"bytes", "a: 'x'\n", "1:4 GW1506"},
		{"large number", "a: 9223372036854775808\n", "1:4 GW1104"},
		{"NUL", "a: \"\\u0000\"\n", "1:4 GW1022"},
		{"bidi", "a: \"\u202e\"\n", "1:5 GW1023"},
		{"UTF-16", "\xff\xfea\x00", "1:1 GW1020"},
		{"regular expression", "a: =~\"(\" & \"x\"\n", "1:4 GW1502"},
		{"backtracking is not to be had", "a: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"\na: =~\"^(a*)*$\"\n", "2:4 GW1502"},
		{"late package clause", "/* c */ package x\na: 1\n", "1:1 GW1501"},
		{"65 deep", strings.Repeat("a: {", 66) + strings.Repeat("}", 66), "1:260 GW1112"},
	}
	var files []string
	for i, tt := range tests {
		files = append(files, fmt.Sprintf("%02d/x.cue", i), tt.in)
	}
	roots, ds := run(t, New(), files...)
	if len(roots) != 1 { // the string with a NUL comes back with its diagnostic
		t.Errorf("%d roots", len(roots))
	}
	got := map[string][]string{}
	for _, d := range ds {
		got[d.Pos.File] = append(got[d.Pos.File], fmt.Sprintf("%d:%d %s", d.Pos.Line, d.Pos.Col, d.Code))
		if d.Message == "" {
			t.Errorf("%s: no message", d.Pos)
		}
	}
	for i, tt := range tests {
		if g := strings.Join(got[files[2*i]], " "); g != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, g, tt.want)
			for _, d := range ds {
				if d.Pos.File == files[2*i] {
					t.Logf("   %s %s", d.Pos, d.Message)
				}
			}
		}
	}
}

// bombs ask for more than a file may have. The first is the smallest known: a self-referring disjunction in a struct.
func bombs() map[string]string {
	return map[string]string{
		"comprehension": "import \"list\"\na: [for i in list.Range(0, 100000000, 1) {i}]\n",
		"nested":        "x: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\na: [for a in x for b in x for c in x for d in x for e in x for f in x for g in x {\"\\(a)\\(b)\\(c)\"}]\n",
		"repeat":        "import \"strings\"\na: strings.Repeat(\"x\", 2000000000)\n",
		"doubling":      doubling(40),
		"disjunction":   disjunction,
		"parentheses":   "a: " + strings.Repeat("(", 1<<20) + "1" + strings.Repeat(")", 1<<20),
	}
}

// doubling names a list twice as long in each line.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString("x0: [1, 1]\n")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "x%d: [x%d, x%d]\n", i, i-1, i-1)
	}
	return b.String()
}

// disjunction refers to itself inside a struct: every level doubles what has to be tried.
var disjunction = "#D: {#a | #b}\n#a: {t: \"a\", x: #D | null}\n#b: {t: \"b\", x: #D | null}\nv: " +
	strings.Repeat("#D & {x: ", 40) + "#D" + strings.Repeat("}", 40) + "\n"

func TestBombs(t *testing.T) {
	limits := Limits{CPU: time.Second, Wall: 30 * time.Second, Memory: 256 << 20, Output: 16 << 20, Nodes: 500_000}
	for name, in := range bombs() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			roots, ds := run(t, NewWithLimits(limits),
				"a/good.cue", "a: 1\n", "b/bomb.cue", in, "c/good.cue", "a: 2\n")
			t.Logf("%s: %v", time.Since(start).Round(time.Millisecond), ds)
			if len(ds) != 1 || ds[0].Pos.File != "b/bomb.cue" {
				t.Fatalf("got %v", ds)
			}
			if c := ds[0].Code; c != "GW1507" && c != "GW1508" && c != "GW1502" && c != "GW1501" {
				t.Errorf("got %s", c)
			}
			if len(roots) != 2 || roots["a/good.cue"] == nil || roots["c/good.cue"] == nil {
				t.Errorf("the good files around it are lost: %v", roots)
			}
		})
	}
}

func TestCulprits(t *testing.T) {
	bomb := bombs()["nested"]
	limits := Limits{CPU: 300 * time.Millisecond, Wall: 20 * time.Second, Memory: 256 << 20, Output: 16 << 20, Nodes: 1000}
	_, ds := run(t, NewWithLimits(limits), "1.cue", bomb, "2.cue", bomb, "3.cue", bomb, "4.cue", "a: 1\n", "5.cue", bomb)
	var got []string
	for _, d := range ds {
		got = append(got, d.Pos.File+" "+string(d.Code))
	}
	if want := "1.cue GW1507 2.cue GW1507 3.cue GW1507 4.cue GW1509 5.cue GW1509"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

func TestPackageCulpritNamesItsFiles(t *testing.T) {
	limits := Limits{CPU: 300 * time.Millisecond, Wall: 20 * time.Second, Memory: 256 << 20, Output: 16 << 20, Nodes: 1000}
	_, ds := run(t, NewWithLimits(limits), "r/1.cue", "package p\nok: 1\n", "r/2.cue", "package p\n"+bombs()["nested"])
	if len(ds) != 1 || ds[0].Pos.File != "r/1.cue" || len(ds[0].Notes) != 1 || ds[0].Notes[0].Pos.File != "r/2.cue" {
		t.Errorf("got %+v", ds)
	}
}

func TestOutputLimit(t *testing.T) {
	limits := DefaultLimits()
	limits.Output = 1 << 10
	_, ds := run(t, NewWithLimits(limits), "1.cue", "import \"strings\"\na: strings.Repeat(\"x\", 5000)\n")
	if len(ds) != 1 || ds[0].Code != "GW1507" || !strings.Contains(ds[0].Message, "config") {
		t.Errorf("got %+v", ds)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var diags diag.List
	_, err := New().Evaluate(ctx, []load.RawFile{{Path: "a.cue", Data: []byte("a: 1\n")}}, &diags)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestProgramWithoutHook(t *testing.T) {
	for program, want := range map[string]string{"/bin/echo": "does not call cuerun.Child", "/bin/false": "ended before it began", "/nonexistent": "start this program again"} {
		e := New()
		e.program = program
		var diags diag.List
		_, err := e.Evaluate(t.Context(), []load.RawFile{{Path: "a.cue", Data: []byte("a: 1\n")}}, &diags)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", program, err, want)
		}
	}
}

// TestMemoryLimitOfTheKernel allocates past the limit in a process whose warden is not running.
func TestMemoryLimitOfTheKernel(t *testing.T) {
	if memoryLimit < 0 || instrumented {
		t.Skip("no limit for writable memory: on this system, or beside the race detector")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = []string{"CUERUN_TEST_PROBE=memory", "GOTRACEBACK=none"}
	said, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "out of memory") && !strings.Contains(string(said), "cannot allocate memory") {
		t.Errorf("%v\n%s", err, said)
	}
}

// TestChildIsLockedDown looks at what the kernel lets a child do once it is locked down.
func TestChildIsLockedDown(t *testing.T) {
	// The lock-down of this very process would end the tests, so a copy of the test program does it.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = []string{"CUERUN_TEST_PROBE=1"}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	out := string(said)
	for _, want := range []string{"open: too many open files", "socket: too many open files", "exec: "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

// probe tries what a child must not be able to do.
func probe() {
	if err := lockDown(DefaultLimits(), time.Minute); err != nil {
		fmt.Println("lock down:", err)
	}
	if os.Getenv("CUERUN_TEST_PROBE") == "memory" {
		var kept [][]byte
		for range 64 {
			b := make([]byte, 64<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		fmt.Println("allocated", len(kept))
		os.Exit(0)
	}
	_, err := os.Open("/etc/hostname")
	fmt.Println("open:", errors.Unwrap(err))
	_, err = net.Dial("tcp", "127.0.0.1:9")
	fmt.Println("dial:", err)
	err = exec.Command("/bin/true").Run()
	fmt.Println("exec:", err)
	os.Exit(0)
}
