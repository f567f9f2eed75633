package archtest

import (
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The lengths of a file, in lines: above the first it is mentioned, above the second it fails.
const (
	longFile    = 500
	tooLongFile = 600
)

func (f *file) habits() []Violation {
	if f.generated {
		return nil
	}
	var out []Violation
	if f.lines > tooLongFile {
		out = append(out, Violation{
			Rule: fmt.Sprintf("no file over %d lines", tooLongFile), Pos: f.path + ":1", What: fmt.Sprintf("has %d lines", f.lines),
			Why: "a long file is several rooms: split it by what its parts are about",
		})
	}
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil {
			out = append(out, Violation{
				Rule: "no init functions", Pos: f.pos(fn.Pos()), What: "defines init",
				Why: "what a program does is said where it is wired, not by what it imports",
			})
		}
	}
	if f.test {
		out = append(out, f.sleeps()...)
	}
	return out
}

// sleeps finds tests that wait for time to pass. In a synctest bubble sleeping is exact and free.
func (f *file) sleeps() []Violation {
	for imported := range f.importPaths {
		if imported == "testing/synctest" {
			return nil
		}
	}
	var out []Violation
	ast.Inspect(f.ast, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && s.Sel.Name == "Sleep" {
			out = append(out, Violation{
				Rule: "no sleeps in tests", Pos: f.pos(s.Pos()), What: "calls time.Sleep",
				Why: "a slow machine breaks it and a fast one waits: use a channel, testing/synctest, or testkit.Eventually",
			})
		}
		return true
	})
	return out
}

func (p *pkg) comment() []Violation {
	first := ""
	for _, f := range p.files {
		if f.test {
			continue
		}
		if f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "" {
			return nil
		}
		if first == "" || f.path < first {
			first = f.path
		}
	}
	if first == "" {
		return nil // a folder of tests
	}
	return []Violation{{
		Rule: "every package has a package comment", Pos: first + ":1", What: "package " + p.dir + " has none",
		Why: "a stranger reads what the package does, and what it must not do, before any code",
	}}
}

// seeds wants every fuzz target to start from something: without seeds it looks for a needle from nowhere.
func (t *Tree) seeds(p *pkg) []Violation {
	var out []Violation
	for _, f := range p.files {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !f.test || !strings.HasPrefix(fn.Name.Name, "Fuzz") || fn.Recv != nil || fn.Body == nil || seeded(fn) {
				continue
			}
			corpus := filepath.Join(t.dir, filepath.FromSlash(p.dir), "testdata", "fuzz", fn.Name.Name)
			if entries, err := os.ReadDir(corpus); err == nil && len(entries) > 0 {
				continue
			}
			out = append(out, Violation{
				Rule: "every fuzz target has seeds", Pos: f.pos(fn.Pos()), What: fn.Name.Name + " has none",
				Why: "plain `go test` runs the seeds: without them the target is never executed; call f.Add",
			})
		}
	}
	return out
}

func seeded(fn *ast.FuncDecl) (found bool) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Add" {
			if x, ok := s.X.(*ast.Ident); ok && len(fn.Type.Params.List[0].Names) == 1 {
				found = found || x.Name == fn.Type.Params.List[0].Names[0].Name
			}
		}
		return !found
	})
	return found
}

var readmeHeadings = []string{"Name", "Description", "Config", "Example", "Errors", "Metrics"}

// readme wants the same six headings in every kind's folder.
func (t *Tree) readme(p *pkg) []Violation {
	if !kind(p.dir) || strings.Count(p.dir, "/") != 2 || path.Base(p.dir) == "internal" {
		return nil
	}
	name := p.dir + "/README.md"
	text, err := os.ReadFile(filepath.Join(t.dir, filepath.FromSlash(name)))
	if err != nil {
		text = nil
	}
	var have []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (`+strings.Join(readmeHeadings, "|")+`)\s*$`).FindAllStringSubmatch(string(text), -1) {
		have = append(have, m[1])
	}
	if strings.Join(have, " ") == strings.Join(readmeHeadings, " ") {
		return nil
	}
	return []Violation{{
		Rule: "every kind has a README with the headings " + strings.Join(readmeHeadings, ", "), Pos: name + ":1",
		What: fmt.Sprintf("has %v", have), Why: "who knows one kind's page knows where to look in the next",
	}}
}

// Long lists the files that are about to become too long.
func (t *Tree) Long() []string {
	var out []string
	for _, p := range t.packages {
		for _, f := range p.files {
			if !f.generated && f.lines > longFile {
				out = append(out, fmt.Sprintf("%s: %d lines", f.path, f.lines))
			}
		}
	}
	return out
}

// leftover is unfinished work, spelt so that this file does not find itself.
var leftover = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// leftovers finds unfinished work, and names of the machine at hand, in everything people read.
func (t *Tree) leftovers() []Violation {
	names := machineNames(t.dir)
	var out []Violation
	for _, rel := range t.texts {
		if !readable(rel) {
			continue
		}
		source, err := os.ReadFile(filepath.Join(t.dir, filepath.FromSlash(rel)))
		if err != nil {
			continue // gone since the walk
		}
		for i, line := range strings.Split(string(source), "\n") {
			pos := fmt.Sprintf("%s:%d", rel, i+1)
			if m := leftover.FindString(line); m != "" && !strings.Contains("/"+rel, "/testdata/") {
				out = append(out, Violation{
					Rule: "nothing is left over", Pos: pos, What: "says " + m, Why: "finish it, or write an issue",
				})
			}
			for _, name := range names {
				if strings.Contains(line, name) {
					out = append(out, Violation{
						Rule: "the project speaks of itself alone", Pos: pos, What: fmt.Sprintf("names %q", name),
						Why: "hosts and paths of one machine mean nothing on the next",
					})
				}
			}
		}
	}
	return out
}

// readable reports whether a file is text that people write.
func readable(rel string) bool {
	if path.Base(rel) == "go.sum" {
		return false
	}
	switch path.Ext(rel) {
	case ".go", ".md", ".cue", ".yaml", ".yml", ".json", ".txtar", ".txt", ".sh", ".conf", ".mod", ".toml":
		return true
	}
	return rel == "Makefile" || strings.HasPrefix(rel, ".ci/")
}

var proxyHost = regexp.MustCompile(`^(?:[a-z]+://)?(?:[^@/]*@)?([^/:,|]+)`)

// machineNames are what would betray the machine: where the checkout lies, and the proxies and mirrors it is told to use.
func machineNames(dir string) []string {
	var out []string
	if abs, err := filepath.Abs(dir); err == nil && strings.Count(abs, "/") > 1 && len(abs) >= 10 {
		out = append(out, abs+"/")
	}
	public := map[string]bool{"proxy.golang.org": true, "sum.golang.org": true, "registry.npmjs.org": true, "pypi.org": true}
	for _, key := range []string{"GOPROXY", "GOSUMDB", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NPM_CONFIG_REGISTRY", "PIP_INDEX_URL"} {
		for _, value := range strings.FieldsFunc(os.Getenv(key), func(r rune) bool { return r == ',' || r == '|' || r == ' ' }) {
			m := proxyHost.FindStringSubmatch(value)
			if m != nil && strings.Contains(m[1], ".") && !public[m[1]] && !strings.HasPrefix(m[1], "127.") {
				out = append(out, m[1])
			}
		}
	}
	return out
}
