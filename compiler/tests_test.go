package compiler

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/suuupra/gateway/compiler/load"
)

// TestTests reads files under tests/ whose names and contents are not what they should be.
func TestTests(t *testing.T) {
	const head = "apiVersion: gateway.suuupra.dev/v1\n"
	tree := &load.Tree{Environments: []string{"dev", "prod"}}
	for _, f := range []struct{ path, text string }{
		{"tests/b/c.yml", head + "tests: [{ name: a, environments: [prod, prd], requests: [{ send: { url: / }, expect: { status: 404 } }] }]"},
		{"tests/a.json", `{ "apiVersion": "gateway.suuupra.dev/v1" }`},
		{"tests/c.yaml", head + "tests: ["},
		{"tests/d.cue", "tests: []"},
		{"tests/e.YAML", head},
		{"tests/f.yaml", "apiVersion: gateway.suuupra.dev/v0\n"},
	} {
		data := []byte(f.text)
		tree.Tests = append(tree.Tests, load.RawFile{Path: f.path, Data: data, Digest: sha256.Sum256(data)})
	}
	u, err := New(Options{}).Open(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	files, diags, err := u.Tests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Path)
	}
	for _, d := range diags.Sorted() {
		got = append(got, fmt.Sprintf("%s %s %s", d.Pos, d.Code, d.Message))
	}
	want := []string{
		"tests/a.json", "tests/b/c.yml", "tests/f.yaml",
		`tests/b/c.yml:2:41 GW3030 there is no environment "prd": environments/prd/ holds no file`,
		"tests/c.yaml:2:8 GW1100 expected a value",
		"tests/d.cue GW1090 this program does not evaluate CUE files",
		"tests/e.YAML GW1002 no loader takes this file",
		`tests/f.yaml:1:13 GW2002 apiVersion is "gateway.suuupra.dev/v0", known: gateway.suuupra.dev/v1, gateway.suuupra.dev/v1beta1`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
