package drift

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/suuupra/gateway/internal/gitwatch"
	"github.com/suuupra/gateway/internal/testkit"
)

// noise is text that does not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}

// A history over the bound is cut off: the newest commits are enough to compare.
func TestLargeHistoryIsCutOff(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"routes/a.yaml": "a: 1\n", "video.bin": noise(512 << 10)})
	repo.Commit("no video", map[string]string{"video.bin": ""})
	for range shallowDepth + 9 {
		repo.Git("commit", "--quiet", "--allow-empty", "--message", "more")
	}
	repo.Commit("more", map[string]string{"README.md": "hello"})
	lim := usualLimits()
	lim.pack = 128 << 10
	r := testRemote(t, repo, lim)
	check := func(back int, want relation) {
		t.Helper()
		tp, err := r.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.open(t.Context(), tp)
		if err != nil {
			t.Fatal(err)
		}
		if !s.shallow() {
			t.Fatal("the clone has the whole history")
		}
		old := strings.TrimSpace(repo.Git("rev-parse", fmt.Sprintf("HEAD~%d", back)))
		got, err := relate(t.Context(), s, tp.ID, plumbing.NewHash(old))
		if err != nil || got != want {
			t.Errorf("%d commits back: got %+v, %v; want %+v", back, got, err, want)
		}
	}
	check(0, relation{})
	check(3, relation{behind: 3})
	check(shallowDepth+5, relation{behind: shallowDepth, ahead: -1, atLeast: true})
	repo.Commit("one more", map[string]string{"README.md": "last"})
	check(4, relation{behind: 4})
}

func testRemote(t *testing.T, repo *testkit.GitRepo, lim limits) *remote {
	t.Helper()
	l, err := gitwatch.ParseAddress(repo.URL)
	if err != nil {
		t.Fatal(err)
	}
	names, err := gitwatch.ParseRef("main")
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRemote(l, "", t.TempDir()+"/c.git", names, lim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.rest)
	return r
}

func TestTooLargeEvenCutOff(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"video.bin": noise(1 << 20)})
	for name, c := range map[string]struct {
		set  func(*limits)
		text string
	}{
		"pack":     {func(l *limits) { l.pack = 512 << 10 }, "a pack of more than 0 MiB"},
		"object":   {func(l *limits) { l.object = 512 << 10 }, "an object of more than 0 MiB"},
		"unpacked": {func(l *limits) { l.unpacked = 512 << 10 }, "more than 0 MiB once unpacked"},
	} {
		lim := usualLimits()
		c.set(&lim)
		r := testRemote(t, repo, lim)
		tp, err := r.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.open(t.Context(), tp)
		var large *errTooLarge
		if !errors.As(err, &large) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %q", name, err, c.text)
		}
	}
}

// A clone that took many fetches is made anew.
func TestCloneStaysSmall(t *testing.T) {
	host := testkit.GitServer(t)
	repo := host.Create("config", map[string]string{"a.yaml": "a: 1\n"})
	lim := usualLimits()
	lim.packs = 3
	r := testRemote(t, repo, lim)
	first := repo.Head()
	for i := range 7 {
		tp, err := r.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.open(t.Context(), tp)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := relate(t.Context(), s, tp.ID, plumbing.NewHash(first)); err != nil || got.behind != i {
			t.Fatalf("after %d commits: %+v, %v", i, got, err)
		}
		if n := countPacks(t, r.clone.dir); n > lim.packs+1 {
			t.Errorf("the clone has %d packs", n)
		}
		repo.Commit("more", map[string]string{"a.yaml": fmt.Sprintf("a: %d\n", i)})
	}
}

// bomb is a pack with one blob and one delta that claims to make something huge of it.
func bomb(target uint64) []byte {
	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x02")
	deflate := func(data []byte) {
		z := zlib.NewWriter(&b)
		_, _ = z.Write(data)
		_ = z.Close()
	}
	start := b.Len()
	b.WriteByte(3<<4 | 4)
	deflate([]byte("base"))
	delta := binary.AppendUvarint(nil, 4)
	delta = binary.AppendUvarint(delta, target)
	delta = append(delta, 0x90, 4) // copy the base
	back := b.Len() - start
	b.WriteByte(6<<4 | byte(len(delta)))
	b.WriteByte(byte(back))
	deflate(delta)
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

func TestMeasure(t *testing.T) {
	lim := usualLimits()
	if err := lim.measure(bytes.NewReader(bomb(4))); err != nil {
		t.Fatalf("an honest pack: %v", err)
	}
	for _, target := range []uint64{maxObject + 1, 5 << 30, 1 << 63} {
		var large *errTooLarge
		if err := lim.measure(bytes.NewReader(bomb(target))); !errors.As(err, &large) {
			t.Errorf("a delta that makes %d bytes: got %v", target, err)
		}
	}
	many := append([]byte("PACK\x00\x00\x00\x02"), 0xff, 0xff, 0xff, 0xff)
	var large *errTooLarge
	if err := lim.measure(bytes.NewReader(many)); !errors.As(err, &large) {
		t.Errorf("a pack of 4 G objects: got %v", err)
	}
	for _, data := range []string{"", "PACK", "<html>", "PACK\x00\x00\x00\x02\x00\x00\x00\x01"} {
		if err := lim.measure(strings.NewReader(data)); err == nil || errors.As(err, &large) {
			t.Errorf("%q: got %v", data, err)
		}
	}
}

func FuzzMeasure(f *testing.F) {
	f.Add(bomb(4))
	f.Add(bomb(1 << 40))
	f.Add([]byte("PACK"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = limits{pack: 1 << 20, unpacked: 1 << 20, object: 1 << 16}.measure(bytes.NewReader(data)) // must end, without a panic
	})
}

// graph makes commits in memory: small trees and histories no git program would write.
type graph struct {
	t *testing.T
	*store
}

func newGraph(t *testing.T) *graph {
	m := memory.NewStorage()
	return &graph{t, &store{EncodedObjectStorer: m, refs: m, cut: map[plumbing.Hash]bool{}}}
}

func (g *graph) put(o object.Object) plumbing.Hash {
	g.t.Helper()
	e := g.NewEncodedObject()
	if err := o.Encode(e); err != nil {
		g.t.Fatal(err)
	}
	id, err := g.SetEncodedObject(e)
	if err != nil {
		g.t.Fatal(err)
	}
	return id
}

func (g *graph) tree(entries ...object.TreeEntry) plumbing.Hash {
	return g.put(&object.Tree{Entries: entries})
}

// commit makes a commit at a second of the clock.
func (g *graph) commit(at int, parents ...plumbing.Hash) plumbing.Hash {
	who := object.Signature{Name: "x", Email: "x", When: time.Unix(int64(1_700_000_000+at), 0)}
	return g.put(&object.Commit{Author: who, Committer: who, Message: "m", ParentHashes: parents})
}

// nested is a tree of 2^depth files in depth small objects.
func (g *graph) nested(depth int, leaf string) plumbing.Hash {
	id := g.tree(object.TreeEntry{Name: leaf, Mode: filemode.Regular, Hash: plumbing.NewHash(strings.Repeat("1", 40))})
	for range depth {
		id = g.tree(object.TreeEntry{Name: "a", Mode: filemode.Dir, Hash: id}, object.TreeEntry{Name: "b", Mode: filemode.Dir, Hash: id})
	}
	return id
}

func TestTreeBombs(t *testing.T) {
	g := newGraph(t)
	wide := g.nested(40, "x.yaml")
	if n, err := g.countFiles(t.Context(), wide); err != nil || n != maxFiles+1 {
		t.Errorf("2^40 files count as %d, %v", n, err)
	}
	d := &treeDiff{store: g.store, budget: maxFiles}
	if err := d.walk(t.Context(), plumbing.ZeroHash, wide, "", 0); !errors.Is(err, errBudget) || len(d.files) > maxListed {
		t.Errorf("got %v, %d files", err, len(d.files))
	}
	deep := g.tree(object.TreeEntry{Name: "x.yaml", Mode: filemode.Regular, Hash: plumbing.NewHash(strings.Repeat("1", 40))})
	for range 1000 {
		deep = g.tree(object.TreeEntry{Name: "d", Mode: filemode.Dir, Hash: deep})
	}
	if n, err := g.countFiles(t.Context(), deep); err != nil || n != maxFiles+1 {
		t.Errorf("1000 folders deep counts as %d, %v", n, err)
	}
}

func TestTreeDiff(t *testing.T) {
	g := newGraph(t)
	blob := func(c string) plumbing.Hash { return plumbing.NewHash(strings.Repeat(c, 40)) }
	file := func(name, c string) object.TreeEntry {
		return object.TreeEntry{Name: name, Mode: filemode.Regular, Hash: blob(c)}
	}
	dir := func(name string, id plumbing.Hash) object.TreeEntry {
		return object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: id}
	}
	same := g.nested(20, "same.yaml") // must not be opened
	old := g.tree(file("a.yaml", "1"), file("b.yaml", "1"), file("c.yaml", "1"), dir("d", g.tree(file("x.cue", "1"))), file("e.md", "1"), dir("same", same))
	new := g.tree(file("a.yaml", "2"), object.TreeEntry{Name: "b.yaml", Mode: filemode.Symlink, Hash: blob("1")}, dir("c.yaml", g.tree(file("y.json", "1"))), file("d", "1"), dir("same", same), file("z.yml", "1"))
	d := &treeDiff{store: g.store, budget: 20}
	if err := d.walk(t.Context(), old, new, "", 0); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range d.files {
		got += f.Change + ":" + f.Path + " "
	}
	if want := "modified:a.yaml modified:b.yaml removed:c.yaml added:c.yaml/y.json removed:d/x.cue added:z.yml "; got != want || d.others != 2 {
		t.Errorf("got  %s and %d others\nwant %s and 2 others", got, d.others, want)
	}
}

func TestRelate(t *testing.T) {
	g := newGraph(t)
	root := g.commit(0)
	line := []plumbing.Hash{root}
	for i := 1; i <= 600; i++ {
		line = append(line, g.commit(i, line[i-1]))
	}
	// An author whose clock is years behind: the walk meets the commit long after its ancestors.
	late := g.commit(-90_000_000, line[600])
	skewed := g.commit(601, late)
	other := g.commit(5)
	joined := g.commit(700, line[10], other)
	for name, c := range map[string]struct {
		head, running plumbing.Hash
		want          relation
	}{
		"equal":         {root, root, relation{}},
		"behind":        {line[600], line[100], relation{behind: 500}},
		"ahead":         {line[100], line[600], relation{ahead: 500, diverged: true}},
		"skewed clock":  {skewed, line[600], relation{behind: 2}},
		"and backwards": {line[600], skewed, relation{ahead: 2, diverged: true}},
		"unrelated":     {other, line[20], relation{behind: 1, ahead: 21, diverged: true}},
		"two roots":     {joined, line[10], relation{behind: 2}},
		"fork":          {joined, line[20], relation{behind: 2, ahead: 10, diverged: true}},
		"nothing runs":  {root, plumbing.ZeroHash, relation{behind: -1, ahead: -1}},
		"not there":     {root, plumbing.NewHash(strings.Repeat("2", 40)), relation{behind: -1, ahead: -1, diverged: true}},
	} {
		got, err := relate(t.Context(), g.store, c.head, c.running)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	long := newGraph(t)
	tip := long.commit(0)
	bottom := tip
	for i := 1; i <= maxCommits+50; i++ {
		tip = long.commit(i, tip)
	}
	got, err := relate(t.Context(), long.store, tip, bottom)
	if err != nil || !got.atLeast || got.behind < maxCommits || got.diverged || got.ahead != -1 {
		t.Errorf("beyond the bound: got %+v, %v", got, err)
	}
	if _, err := relate(t.Context(), g.store, long.commit(1, tip), root); !missing(err) {
		t.Errorf("a commit that must be there: got %v", err)
	}
}

// A server that asks to be left alone is, whoever triggers.
func TestRetryAfter(t *testing.T) {
	var busy atomic.Bool
	busy.Store(true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if busy.Load() {
			w.Header().Set("Retry-After", "1800")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	w, err := New(Options{
		Repository: s.URL + "/config.git", Rand: func() float64 { return 0.5 }, Running: func() Running { return Running{} },
		Compile: func(context.Context, string, string, string, string) (Compiled, error) { return Compiled{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	check := func(text string, wait, rest time.Duration) {
		t.Helper()
		if r := w.Check(t.Context()); !r.Stale || !strings.Contains(r.Error, text) {
			t.Errorf("got error %q, want %q", r.Error, text)
		}
		if gotWait, gotRest := w.pace(1); gotWait != wait || gotRest != rest {
			t.Errorf("waits %s, and %s when triggered; want %s and %s", gotWait, gotRest, wait, rest)
		}
	}
	check("the server answered 503 and asks not to be asked again for 30m0s", 30*time.Minute, 30*time.Minute)
	busy.Store(false)
	check("knows no such repository", 2*time.Minute, minSpacing)
}

func countPacks(t *testing.T, dir string) int {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return len(packs)
}
