package migrate_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/migrate"
	"github.com/suuupra/gateway/schema/v1"
)

func decode(path string, data []byte) *schema.Node {
	var diags diag.List
	if root := yamlpos.Decode(path, data, &diags); !diags.HasErrors() {
		return root
	}
	return nil
}

// rewrite rewrites a file that must be sound.
func rewrite(tb testing.TB, path string, data []byte) []byte {
	tb.Helper()
	var diags diag.List
	root := yamlpos.Decode(path, data, &diags)
	if diags.HasErrors() {
		tb.Fatalf("cannot be read: %v\n%s", diags.Sorted(), data)
	}
	out := migrate.Rewrite(data, schema.File{Path: path, Root: root}, v1.APIVersion, decode, &diags)
	if diags.HasErrors() {
		tb.Fatalf("%v\n%s", diags.Sorted(), data)
	}
	return out
}

var commentPattern = regexp.MustCompile(`# (note|tail) \d+[^\r\n]*`)

// checkRewritten wants what a v1 file says to come back from its v1beta1 form, with every comment, the line ends and the
// byte order mark, and nothing to do the second time.
func checkRewritten(t *testing.T, name string, old []byte, want *schema.Node) {
	t.Helper()
	got := rewrite(t, name, old)
	root := decode(name, got)
	if root == nil || !reflect.DeepEqual(root.Any(), want.Any()) {
		t.Fatalf("says something else\n--- old\n%s\n--- new\n%s\n--- want\n%v", old, got, want.Any())
	}
	a, b := commentPattern.FindAllString(string(old), -1), commentPattern.FindAllString(string(got), -1)
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Fatalf("comments were lost\n--- old\n%s\n--- new\n%s", old, got)
	}
	checkLines(t, string(old), string(got))
	crlf := bytes.Count(got, []byte("\r\n"))
	if bytes.Contains(old, []byte("\r\n")) && crlf != bytes.Count(got, []byte("\n")) || !bytes.Contains(old, []byte("\r")) && crlf > 0 ||
		bytes.HasPrefix(old, []byte("\ufeff")) != bytes.HasPrefix(got, []byte("\ufeff")) || bytes.HasSuffix(old, []byte("\n")) != bytes.HasSuffix(got, []byte("\n")) {
		t.Fatalf("line ends or mark have changed\n--- old\n%q\n--- new\n%q", old, got)
	}
	if again := rewrite(t, name, got); !bytes.Equal(again, got) {
		t.Fatalf("migrating twice changes it again\n%s\n---\n%s", got, again)
	}
}

var wordPattern = regexp.MustCompile(`[$a-zA-Z0-9_]+`)

// checkLines wants every line back that holds nothing that v1 spells otherwise, but for its indentation.
func checkLines(t *testing.T, old, got string) {
	t.Helper()
	trim := func(line string) string {
		return strings.TrimRight(strings.TrimLeft(strings.TrimSpace(line), "- "), ",")
	}
	have := map[string]int{}
	for line := range strings.SplitSeq(strings.TrimPrefix(got, "\ufeff"), "\n") {
		have[trim(line)]++
	}
	for line := range strings.SplitSeq(strings.TrimPrefix(old, "\ufeff"), "\n") {
		words := wordPattern.FindAllString(commentPattern.ReplaceAllString(line, ""), -1)
		if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return changedNames[w] }) {
			continue
		}
		if have[trim(line)]--; have[trim(line)] < 0 {
			t.Fatalf("the line %q has changed\n--- old\n%s\n--- new\n%s", line, old, got)
		}
	}
}

var changedNames = migrate.ChangedNames()

// TestRandomDocuments migrates documents that nobody has written.
func TestRandomDocuments(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		root := migrate.RandomDocument(rng)
		docs, err := migrate.Downgrade(root)
		if err != nil || len(docs) != 1 {
			t.Fatalf("seed %d: %v, %d files", seed, err, len(docs))
		}
		w := writer{rng: rng, json: seed%4 == 3}
		name := map[bool]string{true: "a.json", false: "a.yaml"}[w.json]
		checkRewritten(t, name, w.document(docs[0]), root)
	}
}

// TestEachField converts a document with each field of v1, so that none is forgotten.
func TestEachField(t *testing.T) {
	missing := map[string]bool{}
	for _, name := range migrate.SchemaFields() {
		missing[name] = true
	}
	if len(missing) < 200 {
		t.Fatalf("only %d fields: is the walk still right?", len(missing))
	}
	shown := map[string]bool{}
	migrate.EachField(func(path string, root *schema.Node) {
		shown[path] = true
		docs, err := migrate.Downgrade(root)
		if err != nil || len(docs) != 1 {
			t.Fatalf("%s: %v, %d files", path, err, len(docs))
		}
		if strings.ContainsFunc(strings.ReplaceAll(oldNames(docs[0]), "camelCase", ""), func(r rune) bool { return r >= 'A' && r <= 'Z' }) {
			t.Errorf("%s: %s is not snake_case", path, oldNames(docs[0]))
		}
		w := writer{rng: rand.New(rand.NewPCG(1, 1)), plain: true}
		checkRewritten(t, "a.yaml", w.document(docs[0]), root)
	})
	if len(shown) < 200 {
		t.Fatalf("only %d fields were shown", len(shown))
	}
}

// oldNames are the names in a v1beta1 document but for apiVersion.
func oldNames(n *schema.Node) string {
	out := ""
	for _, f := range n.Fields {
		if f.Name != "apiVersion" {
			out += " " + f.Name
		}
		out += oldNames(f.Value)
	}
	for _, item := range n.Items {
		out += oldNames(item)
	}
	return out
}

// v1Files are the v1 files of the repository that v1beta1 can express.
func v1Files(tb testing.TB) []*schema.Node {
	var out []*schema.Node
	add := func(path string, data []byte) {
		if root := decode(path, data); root != nil && root.Get("apiVersion").Text() == v1.APIVersion {
			out = append(out, root)
		}
	}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "config-repo") && strings.HasSuffix(path, ".yaml") {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			add(path, data)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	for _, s := range stories(tb) {
		for _, f := range s.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				add(f.Name, f.Data)
			}
		}
	}
	return out
}

// TestRandomStyles writes the files of the repository as v1beta1 in many styles, and migrates them.
func TestRandomStyles(t *testing.T) {
	files := v1Files(t)
	if len(files) < 60 {
		t.Fatalf("only %d files found", len(files))
	}
	ran := 0
	for i, root := range files {
		docs, err := migrate.Downgrade(root)
		if err != nil {
			continue // there is no such thing in v1beta1
		}
		for j, doc := range docs {
			for seed := range uint64(3) {
				styled(t, doc, uint64(i*100+j), seed)
				ran++
			}
		}
	}
	if ran < 300 {
		t.Fatalf("only %d cases", ran)
	}
}

// styled migrates one document in a style of its own.
func styled(t *testing.T, doc *schema.Node, seed1, seed2 uint64) {
	t.Helper()
	var diags diag.List
	plain := writer{rng: rand.New(rand.NewPCG(1, 1)), plain: true}
	file := schema.File{Path: "a.yaml", Root: decode("a.yaml", plain.document(doc))}
	want := migrate.Migrate(file, &diags).Root
	if diags.HasErrors() {
		t.Fatalf("%v", diags.Sorted())
	}
	w := writer{rng: rand.New(rand.NewPCG(seed1, seed2)), json: seed2%5 == 4}
	name := map[bool]string{true: "a.json", false: "a.yaml"}[w.json]
	checkRewritten(t, name, w.document(doc), want)
}

// TestLongLine migrates thousands of names on one line, behind runes of several bytes: each is where it is thought to be, and the time
// it takes does not grow with the square of the line.
func TestLongLine(t *testing.T) {
	const steps = 5000
	step := `{"send":{"url":"/ü🙂","api_key":{}},"after":1.5,"expect":{"status":200}}`
	data := `{"apiVersion":"gateway.suuupra.dev/v1beta1","kind":"Test","name":"n","requests":[` + strings.Repeat(step+",", steps-1) + step + `]}`
	got := string(rewrite(t, "a.json", []byte(data)))
	want := `{"send":{"url":"/ü🙂","apiKey":{}},"after":1500,"expect":{"status":200}}`
	if n := strings.Count(got, want); n != steps || len(got) > len(data)+100 {
		t.Errorf("%d of %d steps are right", n, steps)
	}
}

// TestOffsets asks for the places of a text in any order.
func TestOffsets(t *testing.T) {
	data := []byte("\ufeffa: ü🙂x\r\n\n  b: 'é'\nlast")
	rng := rand.New(rand.NewPCG(1, 2))
	places := map[diag.Pos]int{}
	line, col := 1, 1
	for i, r := range string(data[3:]) {
		places[diag.Pos{Line: line, Col: col}] = i + 3
		if col++; r == '\n' {
			line, col = line+1, 1
		}
	}
	all := slices.Collect(maps.Keys(places))
	slices.SortFunc(all, diag.Pos.Compare)
	at := migrate.Offsets(data)
	for range 500 {
		p := all[rng.IntN(len(all))]
		if got, ok := at(p); !ok || got != places[p] {
			t.Fatalf("%v: got %d, %v, want %d", p, got, ok, places[p])
		}
	}
	for _, p := range []diag.Pos{{}, {Line: 1}, {Line: 0, Col: 1}, {Line: 9, Col: 1}, {Line: 1, Col: 99}, {Line: 4, Col: 5}} {
		if got, ok := at(p); ok {
			t.Errorf("%v: got %d, want nothing", p, got)
		}
	}
}
