// Package archtest keeps the house in order: which room may import which, where a third-party library's types may show, and
// the habits that can be read off the source. It reads files only, so it judges code that does not compile, and files that
// this machine's build tags leave out. It must not know what any room does.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Module is the import path of the module that is checked.
const Module = "github.com/suuupra/gateway"

// Violation is one place that breaks a rule.
type Violation struct {
	Rule string // the rule, as a sentence
	Pos  string // file:line
	What string // what was found there
	Why  string // what the rule protects, and the way out
}

// String writes the violation for the author who meets it.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s\n    rule: %s\n    why:  %s", v.Pos, v.What, v.Rule, v.Why)
}

// Tree is the source of a module.
type Tree struct {
	dir      string
	packages map[string]*pkg // by directory, relative to the module, "/" separated, "." for the root
	texts    []string        // every text file, relative
}

type pkg struct {
	dir   string
	files []*file
}

type file struct {
	path      string // relative to the module
	test      bool
	generated bool
	source    []byte
	lines     int
	set       *token.FileSet
	ast       *ast.File
}

var generatedLine = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// Load reads the module in dir. Nested modules, testdata and hidden folders (but .ci) are not part of its Go source.
func Load(dir string) (*Tree, error) {
	t := &Tree{dir: dir, packages: map[string]*pkg{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		t.texts = append(t.texts, rel)
		if strings.HasSuffix(rel, ".go") && !strings.Contains("/"+rel, "/testdata/") && !t.nested(rel) {
			return t.add(rel)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return t, nil
}

func skipped(name string) bool {
	return name != ".ci" && strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "node_modules" || name == "bin"
}

func (t *Tree) nested(rel string) bool {
	for d := path.Dir(rel); d != "."; d = path.Dir(d) {
		if _, err := os.Stat(filepath.Join(t.dir, filepath.FromSlash(d), "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func (t *Tree) add(rel string) error {
	source, err := os.ReadFile(filepath.Join(t.dir, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	f := &file{
		path: rel, source: source, set: token.NewFileSet(),
		test: strings.HasSuffix(rel, "_test.go"), generated: generatedLine.Match(source),
		lines: strings.Count(string(source), "\n"),
	}
	if f.ast, err = parser.ParseFile(f.set, rel, source, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		return err
	}
	dir := path.Dir(rel)
	if t.packages[dir] == nil {
		t.packages[dir] = &pkg{dir: dir}
	}
	t.packages[dir].files = append(t.packages[dir].files, f)
	return nil
}

// Check returns every violation, in the order of the files.
func (t *Tree) Check() []Violation {
	var out []Violation
	for _, p := range t.packages {
		for _, f := range p.files {
			out = append(out, f.imports(p.dir)...)
			out = append(out, f.habits()...)
		}
		out = append(out, p.comment()...)
		out = append(out, t.seeds(p)...)
		out = append(out, t.readme(p)...)
	}
	out = append(out, t.single()...)
	out = append(out, t.leftovers()...)
	sort.Slice(out, func(i, j int) bool {
		if out[i].Pos != out[j].Pos {
			return out[i].Pos < out[j].Pos
		}
		return out[i].What < out[j].What
	})
	return out
}

// Packages returns the number of packages read.
func (t *Tree) Packages() int { return len(t.packages) }

func (f *file) pos(p token.Pos) string {
	return fmt.Sprintf("%s:%d", f.path, f.set.Position(p).Line)
}

// importPaths yields the imports of a file that is part of the product.
func (f *file) importPaths(yield func(path string, spec *ast.ImportSpec) bool) {
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err == nil && !yield(p, s) {
			return
		}
	}
}

// match reports whether a directory or import path falls under a pattern: exact, or everything under "prefix/...", which
// includes prefix itself.
func match(pattern, p string) bool {
	if prefix, below := strings.CutSuffix(pattern, "/..."); below {
		return p == prefix || strings.HasPrefix(p, prefix+"/")
	}
	return p == pattern
}

func matchAny(patterns []string, p string) bool {
	for _, pattern := range patterns {
		if match(pattern, p) {
			return true
		}
	}
	return false
}
