package migrate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/migrate"
	"github.com/suuupra/gateway/schema/v1"
)

// TestGoldenRewrites holds what becomes of the files under old/ of each archive: new/ has them rewritten, says/ what is wrong with
// those that are not. `make golden` writes both.
func TestGoldenRewrites(t *testing.T) {
	paths, err := filepath.Glob("testdata/rewrite/*.txtar")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d archives: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := &txtar.Archive{Comment: a.Comment}
			for _, f := range a.Files {
				name, old := strings.CutPrefix(f.Name, "old/")
				if !old {
					continue
				}
				got.Files = append(got.Files, f)
				out, said := rewritten(t, name, f.Data)
				if out != nil {
					got.Files = append(got.Files, txtar.File{Name: "new/" + name, Data: out})
				}
				if said != "" {
					got.Files = append(got.Files, txtar.File{Name: "says/" + name, Data: []byte(said)})
				}
			}
			testkit.Golden(t, path, txtar.Format(got))
		})
	}
}

// rewritten rewrites a file, which Migrate must convert to the same or refuse for the same reasons.
func rewritten(t *testing.T, name string, data []byte) (out []byte, said string) {
	t.Helper()
	var diags, converted diag.List
	root := yamlpos.Decode(name, data, &diags)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", name, diags.Sorted())
	}
	f := schema.File{Path: name, Root: root}
	out = migrate.Rewrite(data, f, v1.APIVersion, decode, &diags)
	migrate.Migrate(f, &converted)
	for _, d := range diags.Sorted() {
		if d.Code != "GW1205" && converted.Len() != diags.Len() {
			t.Errorf("%s: Rewrite says %v, Migrate %v", name, diags.Sorted(), converted.Sorted())
			break
		}
	}
	if diags.Len() == 0 {
		if again := migrate.Rewrite(out, schema.File{Path: name, Root: decode(name, out)}, v1.APIVersion, decode, &diags); !bytes.Equal(again, out) {
			t.Errorf("%s: migrating twice changes it again", name)
		}
		return out, ""
	}
	var b strings.Builder
	report := diag.Report{Diagnostics: diags.Sorted(), Files: 1, Source: func(string) []byte { return data }}
	if err := diag.Text(&b, report); err != nil {
		t.Fatal(err)
	}
	return out, b.String()
}

// FuzzRewrite wants of any text that it is rewritten to what Migrate makes of it, or refused, and never a crash.
func FuzzRewrite(f *testing.F) {
	paths, err := filepath.Glob("testdata/rewrite/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			f.Add(file.Data)
		}
	}
	f.Add([]byte("apiVersion: gateway.suuupra.dev/v1beta1\nkind: Policy\nid: a\npolicies: [ {type: cors}, # x\n {type: ip} ]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var diags diag.List
		root := yamlpos.Decode("a.yaml", data, &diags)
		if root == nil || diags.HasErrors() || migrate.Older(root) == "" {
			return
		}
		file := schema.File{Path: "a.yaml", Root: root}
		want := migrate.Migrate(file, &diags)
		bad := diags.HasErrors()
		out := migrate.Rewrite(data, file, v1.APIVersion, decode, &diags)
		switch {
		case (out == nil) != diags.HasErrors() || bad && out != nil:
			t.Fatalf("%v, but wrote %q", diags.Sorted(), out)
		case out == nil:
			return
		}
		again := decode("a.yaml", out)
		if again == nil || migrate.Older(again) != "" || len(again.Fields) != len(want.Root.Fields) {
			t.Fatalf("wrote %q", out)
		}
		if a, b := bytes.Count(data, []byte("#")), bytes.Count(out, []byte("#")); a != b {
			t.Fatalf("%d signs of comments became %d\n--- old\n%s\n--- new\n%s", a, b, data, out)
		}
	})
}
