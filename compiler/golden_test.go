package compiler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// options are those with which the programs assemble the compiler, but for CUE.
func options(cache *compiler.Cache) compiler.Options {
	opts := compiler.Options{Kinds: all.Kinds(), Dial: dialguard.Check, Cache: cache}
	for _, t := range targets.Kinds() {
		opts.Targets = append(opts.Targets, t.TargetKind)
	}
	return opts
}

func newCompiler(cache *compiler.Cache) *compiler.Compiler { return compiler.New(options(cache)) }

// story is one file of testdata/compile. Its comment says in prose what it shows, and in lines of the form "name: words"
// what to do; the files are a config repository, and those under expect/ what the compiler makes of it.
type story struct {
	archive *txtar.Archive
	compile []string // environments, "base", or "validate" for all of them together
	show    []string // parts of the program: gateway, upstreams, routes, origins
	windows []string // files that are written with a byte order mark and CRLF
	kinds   []string // "none" for a compiler without targets
}

const (
	storyDir = "../testdata/compile"
	expected = "expect/"
)

func readStory(t *testing.T, path string) *story {
	t.Helper()
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{archive: a, compile: []string{"validate"}, show: []string{"upstreams", "routes", "origins"}}
	for line := range strings.Lines(string(a.Comment)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		into, known := map[string]*[]string{"compile": &s.compile, "show": &s.show, "windows": &s.windows, "kinds": &s.kinds}[name]
		if ok && known {
			*into = strings.Fields(value)
		}
	}
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, expected) })
	return s
}

// write puts the repository on disk.
func (s *story) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range s.archive.Files {
		data := f.Data
		if slices.Contains(s.windows, f.Name) {
			data = append([]byte("\xef\xbb\xbf"), bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))...)
		}
		writeFile(t, filepath.Join(dir, filepath.FromSlash(f.Name)), data)
	}
	return dir
}

func writeFile(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		tb.Fatal(err)
	}
}

func loadDir(tb testing.TB, dir string) *load.Tree {
	tb.Helper()
	tree, err := load.Dir(context.Background(), dir)
	if err != nil {
		tb.Fatal(err)
	}
	return tree
}

func open(tb testing.TB, c *compiler.Compiler, tree *load.Tree) *compiler.Unit {
	tb.Helper()
	u, err := c.Open(context.Background(), tree)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// text renders diagnostics as gwctl prints them.
func text(tb testing.TB, tree *load.Tree, diags []diag.Diagnostic) string {
	tb.Helper()
	var b strings.Builder
	source := func(path string) []byte {
		if f := tree.File(path); f != nil {
			return f.Data
		}
		return nil
	}
	if err := diag.Text(&b, diag.Report{Diagnostics: diags, Source: source, Files: len(tree.Files)}); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// document is the part of a program a story shows, as canonical JSON with line ends.
func document(tb testing.TB, p *ir.Program, show []string) string {
	tb.Helper()
	origins := map[string]string{}
	for addr, pos := range p.Origins {
		origins[addr] = pos.String()
	}
	parts := map[string]any{"gateway": p.Gateway, "upstreams": p.Upstreams, "routes": p.Routes, "origins": origins}
	maps.DeleteFunc(parts, func(name string, _ any) bool { return !slices.Contains(show, name) })
	data, err := bundle.Canonical(parts)
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		tb.Fatal(err)
	}
	return b.String() + "\n"
}

// run compiles what the story asks for and returns the story with its expectations.
func (s *story) run(t *testing.T) *txtar.Archive {
	t.Helper()
	tree := loadDir(t, s.write(t))
	c := newCompiler(nil)
	if slices.Contains(s.kinds, "none") {
		c = compiler.New(compiler.Options{})
	}
	u := open(t, c, tree)
	out := &txtar.Archive{Comment: s.archive.Comment, Files: slices.Clone(s.archive.Files)}
	expect := func(name, data string) {
		out.Files = append(out.Files, txtar.File{Name: expected + name, Data: []byte(data)})
	}
	for _, what := range s.compile {
		if what == "validate" {
			expect("validate.txt", text(t, tree, u.Validate("")))
			continue
		}
		environment := what
		if what == "base" {
			environment = ""
		}
		o := u.Compile(environment)
		if o.Diags.Len() > 0 {
			expect(what+".txt", text(t, tree, o.Diags.Sorted()))
		}
		if p := o.WithOrigins(); p != nil {
			expect(what+".json", document(t, p, s.show))
		} else if !o.Diags.HasErrors() {
			t.Errorf("%s: neither a program nor an error", what)
		}
	}
	return out
}

func stories(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(storyDir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no stories in %s: %v", storyDir, err)
	}
	return paths
}

func TestGoldenCompile(t *testing.T) {
	for _, path := range stories(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			testkit.Golden(t, path, txtar.Format(readStory(t, path).run(t)))
		})
	}
}

// TestEveryCodeHasStory holds the manual to the compiler: a code that is explained is one that a repository can provoke.
func TestEveryCodeHasStory(t *testing.T) {
	shown := map[string]bool{}
	for _, path := range stories(t) {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code, _, _ := strings.Cut(filepath.Base(path), "-")
		for _, f := range a.Files {
			for _, severity := range []string{"error", "warning"} {
				if strings.HasPrefix(f.Name, expected) && bytes.Contains(f.Data, []byte(fmt.Sprintf(": %s %s: ", severity, code))) {
					shown[code] = true
				}
			}
		}
	}
	n := 0
	for _, e := range diag.Explanations() {
		if !strings.HasPrefix(string(e.Code), "GW3") && !strings.HasPrefix(string(e.Code), "GW4") {
			continue
		}
		n++
		if !shown[string(e.Code)] {
			t.Errorf("%s (%s) has no story %s/%s-*.txtar whose expectation shows it", e.Code, e.Title, storyDir, e.Code)
		}
	}
	if n < 20 {
		t.Fatalf("only %d codes found", n)
	}
}
