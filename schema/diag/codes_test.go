package diag

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// TestCodes holds the codes that Go sources use and the entries of the manual together.
func TestCodes(t *testing.T) {
	used := usedCodes(t)
	known := map[Code]bool{}
	last := Code("")
	for _, e := range Explanations() {
		if known[e.Code] {
			t.Errorf("%s has two entries", e.Code)
		}
		if e.Code <= last {
			t.Errorf("%s stands after %s", e.Code, last)
		}
		last, known[e.Code] = e.Code, true
		if !codeShape.MatchString(string(e.Code)) {
			t.Errorf("%q is not a code", e.Code)
		}
		if e.Title == "" || e.Why == "" || e.Fix == "" || (e.Bad == "") != (e.Good == "") {
			t.Errorf("%s: the entry is not complete", e.Code)
		}
		if used[e.Code] == "" {
			t.Errorf("%s has an entry but nothing reports it", e.Code)
		}
	}
	for code, where := range used {
		if !known[code] {
			t.Errorf("%s, reported in %s, has no entry in schema/diag/codes_*.go", code, where)
		}
	}
}

var codeShape = regexp.MustCompile(`^GW[1-7][0-9]{3}$`)

// usedCodes finds the codes in string literals of Go files that are neither tests nor the entries themselves.
func usedCodes(t *testing.T) map[Code]string {
	used := map[Code]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root):
			return fs.SkipDir
		case d.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"), strings.HasPrefix(d.Name(), "codes_"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && codeShape.MatchString(s) && used[Code(s)] == "" {
					used[Code(s)] = path
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(used) < 30 {
		t.Fatalf("only %d codes found: is the walk still right?", len(used))
	}
	return used
}

// TestGoldenManual holds docs/errors.md to the entries. GOLDEN_UPDATE=1 rewrites it.
func TestGoldenManual(t *testing.T) {
	var b bytes.Buffer
	if err := Manual(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs", "errors.md")
	if os.Getenv("GOLDEN_UPDATE") != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/errors.md is stale: run make golden")
	}
}
