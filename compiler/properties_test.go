package compiler_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

const exampleRepo = "../examples/config-repo"

// compile compiles one environment that must be sound.
func compile(tb testing.TB, tree *load.Tree, environment string) *ir.Program {
	tb.Helper()
	o := open(tb, newCompiler(nil), tree).Compile(environment)
	if o.Diags.HasErrors() {
		tb.Fatal(text(tb, tree, o.Diags.Sorted()))
	}
	return o.WithOrigins()
}

func emit(tb testing.TB, p *ir.Program, origin load.Origin) *bundle.Bundle {
	tb.Helper()
	b, err := compiler.Emit(p, origin, "1.2.3")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func copyTree(tb testing.TB, from string) string {
	tb.Helper()
	to := tb.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
	return to
}

// TestSameBytes compiles one content from two directories, with the files of the tree in any order and on any number of
// processors. Every map is walked in another order each time.
func TestSameBytes(t *testing.T) {
	one, two := loadDir(t, copyTree(t, exampleRepo)), loadDir(t, copyTree(t, exampleRepo))
	want := emit(t, compile(t, one, "prod"), load.Origin{})
	random := rand.New(rand.NewPCG(1, 2))
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for i := range 40 {
		runtime.GOMAXPROCS(i%4 + 1)
		random.Shuffle(len(two.Files), func(i, j int) { two.Files[i], two.Files[j] = two.Files[j], two.Files[i] })
		if got := emit(t, compile(t, two, "prod"), load.Origin{}); got.Digest() != want.Digest() {
			t.Fatalf("run %d: digest %s, want %s", i, got.Digest(), want.Digest())
		}
	}
}

// TestSameDiagnostics does the same with repositories that are wrong.
func TestSameDiagnostics(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, path := range stories(t) {
		tree := loadDir(t, readStory(t, path).write(t))
		want := text(t, tree, open(t, newCompiler(nil), tree).Validate(""))
		for range 5 {
			random.Shuffle(len(tree.Files), func(i, j int) { tree.Files[i], tree.Files[j] = tree.Files[j], tree.Files[i] })
			if got := text(t, tree, open(t, newCompiler(nil), tree).Validate("")); got != want {
				t.Fatalf("%s: the order of the files decides\n%s\nwant\n%s", path, got, want)
			}
		}
	}
}

// TestSharedWork compiles the environments of a repository one after the other, in any order, and wants what each gives alone.
func TestSharedWork(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	dirs := []string{exampleRepo}
	for _, path := range stories(t) {
		dirs = append(dirs, readStory(t, path).write(t))
	}
	for _, dir := range dirs {
		tree := loadDir(t, dir)
		environments := append([]string{"", "", "prod"}, tree.Environments...)
		alone := map[string]*compiler.Output{}
		for _, e := range environments {
			alone[e] = open(t, newCompiler(nil), tree).Compile(e)
		}
		for range 3 {
			u := open(t, newCompiler(nil), tree)
			random.Shuffle(len(environments), func(i, j int) { environments[i], environments[j] = environments[j], environments[i] })
			for _, e := range environments {
				got, want := u.Compile(e), alone[e]
				if !reflect.DeepEqual(got.Diags.Sorted(), want.Diags.Sorted()) {
					t.Fatalf("%s, environment %q after %q:\n%s\nalone:\n%s", dir, e, environments, text(t, tree, got.Diags.Sorted()), text(t, tree, want.Diags.Sorted()))
				}
				if !reflect.DeepEqual(got.WithOrigins(), want.WithOrigins()) {
					t.Fatalf("%s, environment %q after %q: another program", dir, e, environments)
				}
			}
		}
	}
}

// TestDirectoryIsRevision compiles a clean checkout and the commit it is of.
func TestDirectoryIsRevision(t *testing.T) {
	files := map[string]string{}
	for _, f := range loadDir(t, exampleRepo).Files {
		files[f.Path] = string(f.Data)
	}
	repo := testkit.GitServer(t).Create("config", files)
	checkout := filepath.Join(t.TempDir(), "checkout")
	if out, err := exec.Command(testkit.Program(t, "git"), "clone", "--quiet", repo.URL, checkout).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v: %s", err, out)
	}
	dir := loadDir(t, checkout)
	if dir.Origin.Dirty || dir.Origin.Commit != repo.Head() {
		t.Fatalf("origin of a clean checkout is %+v, commit is %s", dir.Origin, repo.Head())
	}
	rev, err := load.Git(context.Background(), checkout, "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir.Environments {
		a, b := emit(t, compile(t, dir, e), dir.Origin), emit(t, compile(t, rev, e), rev.Origin)
		if a.Digest() != b.Digest() {
			t.Errorf("environment %s: directory %s, revision %s", e, a.Digest(), b.Digest())
		}
	}
}

// TestCommentChangesNoContent adds a comment to every file: only provenance may differ.
func TestCommentChangesNoContent(t *testing.T) {
	dir := copyTree(t, exampleRepo)
	before := emit(t, compile(t, loadDir(t, dir), "prod"), load.Origin{})
	for _, f := range loadDir(t, dir).Files {
		writeFile(t, filepath.Join(dir, filepath.FromSlash(f.Path)), append([]byte("# a comment\n"), f.Data...))
	}
	after := emit(t, compile(t, loadDir(t, dir), "prod"), load.Origin{})
	if before.Manifest.ContentDigest != after.Manifest.ContentDigest {
		t.Errorf("content digest was %s, is %s", before.Manifest.ContentDigest, after.Manifest.ContentDigest)
	}
	for _, s := range before.Shards {
		now, ok := after.Shard(s.Path)
		if same := ok && bytes.Equal(s.Data, now.Data); same != (s.Kind != bundle.KindProvenance) {
			t.Errorf("shard %s is the same: %t", s.Path, same)
		}
	}
}

func TestDiffOfSame(t *testing.T) {
	for _, e := range []string{"dev", "prod"} {
		a, b := compile(t, loadDir(t, exampleRepo), e), compile(t, loadDir(t, copyTree(t, exampleRepo)), e)
		if r := diff.Programs(a, b); !r.Empty() || len(r.Risks) > 0 || len(r.Effects) > 0 {
			t.Errorf("environment %s differs from itself: %+v", e, r)
		}
	}
}

// TestOrigins checks that each place in the provenance is where its field stands: after the name of the field, on the same
// line or on the one above.
func TestOrigins(t *testing.T) {
	dirs := []string{exampleRepo}
	for _, path := range stories(t) {
		dirs = append(dirs, readStory(t, path).write(t))
	}
	checked := 0
	for _, dir := range dirs {
		tree := loadDir(t, dir)
		for _, e := range append([]string{""}, tree.Environments...) {
			o := open(t, newCompiler(nil), tree).Compile(e)
			if o.Program == nil {
				continue
			}
			for address, pos := range o.WithOrigins().Origins {
				checkOrigin(t, tree, address, pos)
				checked++
			}
		}
	}
	if checked < 300 {
		t.Errorf("only %d origins were checked", checked)
	}
}

func checkOrigin(t *testing.T, tree *load.Tree, address string, pos diag.Pos) {
	t.Helper()
	f := tree.File(pos.File)
	if f == nil {
		t.Errorf("%s: %s is no file", address, pos)
		return
	}
	lines := strings.Split(strings.TrimPrefix(string(f.Data), "\ufeff"), "\n")
	if pos.Line < 1 || pos.Line > len(lines) || pos.Col < 1 || pos.Col > len([]rune(lines[pos.Line-1])) {
		t.Errorf("%s: %s lies outside the file", address, pos)
		return
	}
	line := []rune(lines[pos.Line-1])
	before, at := string(line[:pos.Col-1]), line[pos.Col-1]
	for above := pos.Line - 2; above >= 0 && strings.Trim(before, " -") == ""; above-- {
		before = strings.TrimSpace(lines[above])
	}
	object, field, deep := strings.Cut(address, "/")
	if object != "gateway" {
		_, field, deep = strings.Cut(field, "/")
	}
	if at == ' ' || at == '\r' {
		t.Errorf("%s: %s is white space", address, pos)
	}
	if !deep {
		return // an object in a list has no name before it
	}
	// A name may hold dots itself, so any tail of the address may be the name.
	for {
		if regexp.MustCompile(`(^|[\s{,"'-])` + regexp.QuoteMeta(field) + `["']?\s*:\s*(&\S+\s*)?$`).MatchString(before) {
			return
		}
		_, tail, ok := strings.Cut(field, ".")
		if !ok {
			if address[strings.LastIndexByte(address, '/')+1:] != "policy" { // laid over the defaults, whose field is called so
				t.Errorf("%s: %s stands after %q", address, pos, before)
			}
			return
		}
		field = tail
	}
}

// TestExplainedOrigins asks for every route of every repository as gwctl explain does, and checks the place of each setting it
// prints; one that is spelt as the author wrote it must stand there.
func TestExplainedOrigins(t *testing.T) {
	dirs := []string{exampleRepo}
	for _, path := range stories(t) {
		dirs = append(dirs, readStory(t, path).write(t))
	}
	explained, quoted := 0, 0
	for _, dir := range dirs {
		tree := loadDir(t, dir)
		for _, e := range append([]string{""}, tree.Environments...) {
			p := open(t, newCompiler(nil), tree).Compile(e).WithOrigins()
			if p == nil {
				continue
			}
			for i := range p.Routes {
				x, err := simulate.Explain(p, all.Kinds(), witness(&p.Routes[i].Match))
				if err != nil {
					t.Fatal(err)
				}
				if x.Winner == nil || x.Winner.Route != p.Routes[i].ID {
					continue
				}
				for _, s := range x.Winner.Settings {
					if s.Origin == nil {
						continue
					}
					explained++
					checkOrigin(t, tree, "routes/"+p.Routes[i].ID+"/"+s.Field, *s.Origin)
					if f := tree.File(s.Origin.File); slices.Contains([]string{"matcher.path", "matcher.host", "target.upstream"}, s.Field) {
						line := []rune(strings.Split(string(f.Data), "\n")[s.Origin.Line-1])
						if at := strings.TrimLeft(string(line[s.Origin.Col-1:]), `"'`); !strings.HasPrefix(strings.ToLower(at), strings.ToLower(s.Value)) {
							t.Errorf("%s, environment %q: %s is %s at %s, where %q stands", dir, e, s.Field, s.Value, s.Origin, at)
						}
						quoted++
					}
				}
			}
		}
	}
	if explained < 150 || quoted < 50 {
		t.Errorf("only %d settings were explained, %d of them by a value that can be compared", explained, quoted)
	}
}

// witness is a request that satisfies a matcher without a pathRegex.
func witness(m *ir.Match) match.Request {
	r := match.Request{Method: "GET", Host: strings.Replace(m.Host, "*.", "www.", 1), Headers: m.Headers}
	r.Path = regexp.MustCompile(`\{[^}]*\}|\*$`).ReplaceAllString(m.Path, "x")
	if len(m.Methods) > 0 {
		r.Method = m.Methods[0]
	}
	for _, q := range m.Query {
		r.RawQuery += "&" + url.QueryEscape(q.Name) + "=" + url.QueryEscape(q.Value)
	}
	return r
}
