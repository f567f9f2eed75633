package migrate_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/runtime/policy/all"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/migrate"
	"github.com/suuupra/gateway/schema/v1"
)

// stories are the repositories of testdata/compile.
func stories(tb testing.TB) []*txtar.Archive {
	tb.Helper()
	paths, err := filepath.Glob("../../testdata/compile/*.txtar")
	if err != nil || len(paths) < 30 {
		tb.Fatalf("%d stories: %v", len(paths), err)
	}
	var out []*txtar.Archive
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// repository is a config repository, by path.
type repository map[string][]byte

// example is the repository people copy.
func example(tb testing.TB) repository {
	tb.Helper()
	out := repository{}
	dir := os.DirFS("../../examples/config-repo")
	err := fs.WalkDir(dir, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(p) != ".yaml" {
			return err
		}
		out[p], err = fs.ReadFile(dir, p)
		return err
	})
	if err != nil || len(out) < 10 {
		tb.Fatalf("%d files: %v", len(out), err)
	}
	return out
}

// tree makes what the loader makes of the repository.
func (r repository) tree() *load.Tree {
	t := &load.Tree{}
	for p, data := range r {
		f := load.RawFile{Path: p, Data: data, Digest: sha256.Sum256(data), Layer: load.LayerOf(p)}
		if strings.HasPrefix(p, "tests/") {
			t.Tests = append(t.Tests, f)
			continue
		}
		t.Files = append(t.Files, f)
		if e := f.Layer.Environment; e != "" {
			t.Environments = append(t.Environments, e)
		}
	}
	for _, files := range [][]load.RawFile{t.Files, t.Tests} {
		slices.SortFunc(files, func(a, b load.RawFile) int { return cmp.Compare(a.Path, b.Path) })
	}
	slices.Sort(t.Environments)
	t.Environments = slices.Compact(t.Environments)
	return t
}

func open(tb testing.TB, r repository) *compiler.Unit {
	tb.Helper()
	opts := compiler.Options{Kinds: all.Kinds(), Dial: dialguard.Check}
	for _, t := range targets.Kinds() {
		opts.Targets = append(opts.Targets, t.TargetKind)
	}
	u, err := compiler.New(opts).Open(tb.Context(), r.tree())
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// outcome is all that a repository is to a gateway and to gwctl test: the canonical bytes of the base and each environment, and the
// request tests.
func outcome(tb testing.TB, r repository) (map[string]any, []diag.Diagnostic) {
	tb.Helper()
	u, out := open(tb, r), map[string]any{}
	for _, env := range append([]string{""}, u.Environments()...) {
		o := u.Compile(env)
		if o.Program == nil {
			return nil, o.Diags.Sorted()
		}
		shards, err := ir.Pack(o.Program)
		if err != nil {
			tb.Fatal(err)
		}
		out["environment "+env] = shards
	}
	files, diags, err := u.Tests(tb.Context())
	if err != nil || diags.HasErrors() {
		return nil, diags.Sorted()
	}
	tests := map[string]any{}
	for _, f := range files {
		for _, n := range f.Root.Get("tests").Items {
			tests[path.Dir(f.Path)+" "+n.Get("name").Text()] = n.Any()
		}
	}
	out["tests"] = tests
	return out, nil
}

// downgrade writes a repository as v1beta1, one file for each object, or reports false if v1beta1 cannot say it.
func (r repository) downgrade(seed uint64) (repository, bool) {
	out := repository{}
	for p, data := range r {
		root := decode(p, data)
		if root == nil || root.Get("apiVersion").Text() != v1.APIVersion {
			return nil, false
		}
		docs, err := migrate.Downgrade(root)
		if err != nil || len(docs) == 0 { // a file of nothing, which makes an environment, has no object to be written as
			return nil, false
		}
		for i, doc := range docs {
			name := p
			if i > 0 {
				name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(p, path.Ext(p)), i, path.Ext(p))
			}
			w := writer{rng: rand.New(rand.NewPCG(seed, uint64(i))), json: path.Ext(p) == ".json", plain: seed == 0}
			out[name] = w.document(doc)
		}
	}
	return out, true
}

// TestVersionsCompileAlike is the matrix of docs/migration.md: the same repository, written in each version and migrated from each to
// each newer one, compiles to the same bytes in every environment.
func TestVersionsCompileAlike(t *testing.T) {
	repositories := map[string]repository{"example": example(t)}
	for i, s := range stories(t) {
		r := repository{}
		for _, f := range s.Files {
			if !strings.HasPrefix(f.Name, "expect/") && path.Ext(f.Name) != ".cue" && path.Base(f.Name) != ".gwignore" {
				r[f.Name] = f.Data
			}
		}
		repositories[fmt.Sprint("story ", i)] = r
	}
	compared := 0
	for name, r := range repositories {
		want, _ := outcome(t, r)
		old, ok := r.downgrade(uint64(len(r)))
		if want == nil || !ok {
			if name == "example" {
				t.Fatal("the example does not compile, or cannot be said in v1beta1")
			}
			continue
		}
		compared++
		got, diags := outcome(t, old)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: as v1beta1 it is something else %v\n%s", name, diags, dump(old))
		}
		up := repository{}
		for p, data := range old {
			if up[p] = rewrite(t, p, data); bytes.Equal(up[p], data) {
				t.Fatalf("%s: %s was not migrated", name, p)
			}
		}
		if got, diags := outcome(t, up); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: migrated it is something else %v\n%s", name, diags, dump(up))
		}
	}
	if compared < 20 {
		t.Fatalf("only %d repositories compared", compared)
	}
}

func dump(r repository) string {
	var b strings.Builder
	for p, data := range r {
		fmt.Fprintf(&b, "-- %s --\n%s\n", p, data)
	}
	return b.String()
}

// TestWarnings counts the warnings about files of an older version: a few are named, many are counted.
func TestWarnings(t *testing.T) {
	policy := func(i int) []byte {
		return fmt.Appendf(nil, "apiVersion: %s\nkind: Policy\nid: p%d\ntimeout: 1\n", migrate.V1Beta1, i)
	}
	for files, want := range map[int][]string{
		0: nil,
		2: {
			"policies/0.yaml:1:13 the file is written for gateway.suuupra.dev/v1beta1, which is deprecated",
			"policies/1.yaml:1:13 the file is written for gateway.suuupra.dev/v1beta1, which is deprecated",
		},
		4: {"policies/0.yaml:1:13 4 files are written for gateway.suuupra.dev/v1beta1, which is deprecated; this is the first"},
	} {
		r := repository{"gateway.yaml": []byte("apiVersion: " + v1.APIVersion + "\n")}
		for i := range files {
			r[fmt.Sprintf("policies/%d.yaml", i)] = policy(i)
		}
		var got []string
		for _, d := range open(t, r).Validate("") {
			if d.Severity != diag.Warning || d.Code != "GW1201" || d.Hint == "" {
				t.Errorf("%+v", d)
			}
			got = append(got, d.Pos.String()+" "+d.Message)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d files: got %q, want %q", files, got, want)
		}
	}
}

// TestErrorsPointIntoTheOldFile compiles mistakes that only the current definitions find.
func TestErrorsPointIntoTheOldFile(t *testing.T) {
	r := repository{"routes/a.yaml": []byte(`apiVersion: gateway.suuupra.dev/v1beta1
kind: Route
id: a
target: { type: http, upstream: none }
matcher: { path: /a }
policies:
  - type: rate_limit
    interval_seconds: 0.5
    tokens_per_interval: 5
  - type: waf
`)}
	var got []string
	for _, d := range open(t, r).Validate("") {
		got = append(got, fmt.Sprintf("%s %s", d.Pos, d.Code))
	}
	want := []string{"routes/a.yaml:1:13 GW1201", "routes/a.yaml:8:23 GW2103", "routes/a.yaml:10:11 GW2033"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
