package compiler_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

const version = "apiVersion: gateway.suuupra.dev/v1\n"

// shop is a small repository with a warning, an environment and a tenant.
func shop(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	for path, text := range map[string]string{
		"gateway.yaml":             version + "gateway: { name: shop }\n",
		"routes/a.yaml":            version + "routes:\n  - { id: a, matcher: { path: /a }, target: { type: http, url: \"http://a\" } }\n",
		"routes/b.yaml":            version + "routes:\n  - { id: b, matcher: { path: /b }, target: { type: http, url: \"http://b\" } }\n",
		"environments/prod/a.yaml": version + "routes:\n  - { id: a, policy: null }\n",
		"environments/dev/a.yaml":  version + "routes:\n  - { id: a, policy: { timeout: 1s } }\n",
		"tests/a.yaml":             "anything\n",
	} {
		writeFile(tb, filepath.Join(dir, filepath.FromSlash(path)), []byte(text))
	}
	return dir
}

// watched is a compiler that tells whether it decoded anything.
type watched struct {
	*compiler.Compiler
	decoded *int
}

func watch(tb testing.TB, cacheDir, salt string) watched {
	tb.Helper()
	cache, err := compiler.OpenCache(cacheDir, []byte(salt))
	if err != nil {
		tb.Fatal(err)
	}
	opts := options(cache)
	n := 0
	opts.OnStage = func(stage, _ string, _ time.Duration) {
		if stage == "decode" {
			n++
		}
	}
	return watched{compiler.New(opts), &n}
}

// validate returns the verdict as text, and whether anything was decoded for it.
func (w watched) validate(tb testing.TB, tree *load.Tree, environment string) (verdict string, decoded bool) {
	tb.Helper()
	before := *w.decoded
	diags, err := w.Validate(context.Background(), tree, environment)
	if err != nil {
		tb.Fatal(err)
	}
	return text(tb, tree, diags), *w.decoded > before
}

func TestVerdictIsKept(t *testing.T) {
	dir, cacheDir := shop(t), t.TempDir()
	for _, environment := range []string{"", "prod", "dev", "moon"} {
		want, decoded := watch(t, cacheDir, "1").validate(t, loadDir(t, dir), environment)
		if !decoded {
			t.Fatalf("--env %q: nothing was decoded although nothing is cached", environment)
		}
		got, decoded := watch(t, cacheDir, "1").validate(t, loadDir(t, dir), environment)
		if decoded || got != want {
			t.Errorf("--env %q: decoded again: %t\n--- first\n%s\n--- from the cache\n%s", environment, decoded, want, got)
		}
	}
	if _, decoded := watch(t, cacheDir, "2").validate(t, loadDir(t, dir), ""); !decoded {
		t.Error("the verdict of another compiler was believed")
	}
	plain, err := newCompiler(nil).Validate(t.Context(), loadDir(t, dir), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := watch(t, cacheDir, "1").validate(t, loadDir(t, dir), ""); got != text(t, loadDir(t, dir), plain) {
		t.Errorf("the verdict with a cache differs from the one without\n%s", got)
	}
}

// TestVerdictKey changes a repository in every way that may change its verdict. The cached verdict must never be the answer,
// and what is answered must be what a compiler without a cache says.
func TestVerdictKey(t *testing.T) {
	write := func(path, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, filepath.FromSlash(path)), []byte(text))
		}
	}
	move := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			to := filepath.Join(dir, filepath.FromSlash(to))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, filepath.FromSlash(from)), to); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func(*testing.T, string){
		"changed":                  write("routes/b.yaml", version+"routes:\n  - { id: b, matcher: { path: /c }, target: { type: http, url: \"http://b\" } }\n"),
		"broken":                   write("routes/b.yaml", version+"routes: [\n"),
		"comment":                  write("routes/b.yaml", "# moves every line\n"+version+"routes:\n  - { id: b, matcher: { path: /b }, target: { type: http, url: \"http://b\" } }\n"),
		"added":                    write("routes/c.yaml", version+"routes:\n  - { id: a, matcher: { path: /c }, target: { type: http, url: \"http://a\" } }\n"),
		"added empty":              write("routes/c.yaml", version),
		"stray, seen by load only": write("routes/notes.txt", "x"),
		"stray folder":             write("route/c.yaml", version),
		"environment added":        write("environments/staging/a.yaml", version+"routes:\n  - { id: a, policy: null }\n"),
		"tenant added":             write("tenants/acme/a.yaml", version),
		"ignored file":             write(".gwignore", "routes/b.yaml\n"),
		"renamed":                  move("routes/b.yaml", "routes/c.yaml"),
		"moved to another layer":   move("routes/b.yaml", "environments/prod/b.yaml"),
		"moved to a tenant":        move("routes/b.yaml", "tenants/acme/b.yaml"),
		"environment renamed":      move("environments/dev", "environments/test"),
		"two files swapped": func(t *testing.T, dir string) {
			move("routes/a.yaml", "routes/x.yaml")(t, dir)
			move("routes/b.yaml", "routes/a.yaml")(t, dir)
			move("routes/x.yaml", "routes/b.yaml")(t, dir)
		},
		"removed": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "routes", "b.yaml")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, cacheDir := shop(t), t.TempDir()
			watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
			change(t, dir)
			tree := loadDir(t, dir)
			got, decoded := watch(t, cacheDir, "").validate(t, tree, "")
			if !decoded {
				t.Error("the verdict of the unchanged repository was given")
			}
			diags, err := newCompiler(nil).Validate(t.Context(), tree, "")
			if err != nil {
				t.Fatal(err)
			}
			if want := text(t, tree, diags); got != want {
				t.Errorf("with a cache\n%s\nwithout\n%s", got, want)
			}
		})
	}
}

// TestVerdictWithoutConfig checks that what is no part of the config does not make anybody wait.
func TestVerdictWithoutConfig(t *testing.T) {
	dir, cacheDir := shop(t), t.TempDir()
	watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
	writeFile(t, filepath.Join(dir, "tests", "b.yaml"), []byte("more\n"))
	writeFile(t, filepath.Join(dir, "README.md"), []byte("more\n"))
	if _, decoded := watch(t, cacheDir, "").validate(t, loadDir(t, dir), ""); decoded {
		t.Error("a request test or a README changed the verdict")
	}
}

// TestCacheDamaged breaks every entry in every way. The answer must be the same, and good entries must come back.
func TestCacheDamaged(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"short":     func(b []byte) []byte { return b[:7] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"flipped":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"checksum":  func(b []byte) []byte { b[0] ^= 1; return b },
		"foreign": func([]byte) []byte {
			return []byte("#!/bin/sh\necho this is somebody else's file, and longer than a checksum\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, cacheDir := shop(t), t.TempDir()
			want, _ := watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
			for _, path := range entries(t, cacheDir) {
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, damage(raw), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, decoded := watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
			if !decoded || got != want {
				t.Errorf("decoded: %t\n%s\nwant\n%s", decoded, got, want)
			}
			if _, decoded := watch(t, cacheDir, "").validate(t, loadDir(t, dir), ""); decoded {
				t.Error("the damaged entry was not replaced")
			}
		})
	}
}

// TestCacheSwapped puts each entry in the place of another: a checksum that holds says nothing about whose it is.
func TestCacheSwapped(t *testing.T) {
	dir, cacheDir := shop(t), t.TempDir()
	want, _ := watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
	paths := entries(t, cacheDir)
	first, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range paths {
		next := first
		if i+1 < len(paths) {
			if next, err = os.ReadFile(paths[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, next, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := watch(t, cacheDir, "").validate(t, loadDir(t, dir), ""); got != want {
		t.Errorf("an entry was believed that was made for something else\n%s\nwant\n%s", got, want)
	}
}

func entries(tb testing.TB, dir string) []string {
	tb.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "pruned" {
			out = append(out, path)
		}
		return err
	})
	if err != nil || len(out) < 3 {
		tb.Fatalf("%d cache entries: %v", len(out), err)
	}
	return out
}

// TestCacheUnwritable puts files where the cache wants folders, which stops the superuser too.
func TestCacheUnwritable(t *testing.T) {
	dir, cacheDir := shop(t), t.TempDir()
	const hex = "0123456789abcdef"
	for _, a := range hex {
		for _, b := range hex {
			writeFile(t, filepath.Join(cacheDir, string(a)+string(b)), nil)
		}
	}
	want, _ := watch(t, t.TempDir(), "").validate(t, loadDir(t, dir), "")
	for range 2 {
		if got, decoded := watch(t, cacheDir, "").validate(t, loadDir(t, dir), ""); !decoded || got != want {
			t.Errorf("decoded: %t\n%s\nwant\n%s", decoded, got, want)
		}
	}
	if _, err := compiler.OpenCache(filepath.Join(cacheDir, "00", "x"), nil); err == nil || !strings.Contains(err.Error(), "open cache: ") {
		t.Errorf("a cache below a file was opened: %v", err)
	}
}

func TestCacheOthersMayWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := compiler.OpenCache(dir, nil); err == nil || !strings.Contains(err.Error(), "others may write") {
		t.Errorf("a cache that others may write to was opened: %v", err)
	}
}

// TestCacheShared runs compilers side by side on one cache directory while repositories change.
func TestCacheShared(t *testing.T) {
	cacheDir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		dir := shop(t)
		wg.Go(func() {
			for i := range 10 {
				route := strings.Repeat("x", i%3+1)
				writeFile(t, filepath.Join(dir, "routes", "c.yaml"), []byte(version+"routes:\n  - { id: "+route+", matcher: { path: /"+route+" }, target: { type: http, url: \"http://a\" } }\n"))
				got, _ := watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
				if !strings.HasSuffix(got, "6 files, 0 errors, 1 warning\n") {
					t.Errorf("round %d: %s", i, got)
				}
			}
		})
	}
	wg.Wait()
	for _, path := range entries(t, cacheDir) {
		if strings.HasPrefix(filepath.Base(path), ".tmp-") {
			t.Errorf("%s was left behind", path)
		}
	}
}

func TestCachePrune(t *testing.T) {
	dir, cacheDir := shop(t), t.TempDir()
	watch(t, cacheDir, "").validate(t, loadDir(t, dir), "")
	cache, err := compiler.OpenCache(cacheDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := entries(t, cacheDir)
	cache.Prune(time.Now())
	if got := entries(t, cacheDir); !slices.Equal(got, all) {
		t.Errorf("fresh entries were removed: %d of %d are left", len(got), len(all))
	}
	cache.Prune(time.Now().Add(30 * 24 * time.Hour))
	for _, path := range all {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was kept for a month", path)
		}
	}
	if got, decoded := watch(t, cacheDir, "").validate(t, loadDir(t, dir), ""); !decoded {
		t.Errorf("a verdict out of nothing: %s", got)
	}
}

// unsteadyCUE fails every other time, as evaluation does that runs into its limit of time.
type unsteadyCUE struct{ calls *int }

func (u unsteadyCUE) Evaluate(_ context.Context, files []load.RawFile, diags *diag.List) (map[string]*schema.Node, error) {
	*u.calls++
	roots := map[string]*schema.Node{}
	for _, f := range files {
		if *u.calls%2 == 1 {
			diags.Errorf("GW1091", diag.Pos{File: f.Path}, "", "took too long")
			continue
		}
		at := diag.Pos{File: f.Path, Line: 1, Col: 1}
		roots[f.Path] = &schema.Node{Kind: schema.Map, Pos: at, Fields: []schema.Field{
			{Name: "apiVersion", Pos: at, Value: &schema.Node{Kind: schema.String, Pos: at, Str: "gateway.suuupra.dev/v1"}},
		}}
	}
	return roots, nil
}

// TestVerdictOfCUE checks that a limit of time that was once hit is not remembered.
func TestVerdictOfCUE(t *testing.T) {
	dir, calls := t.TempDir(), 0
	writeFile(t, filepath.Join(dir, "gateway.cue"), []byte("package config\n"))
	cache, err := compiler.OpenCache(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := options(cache)
	opts.CUE = unsteadyCUE{&calls}
	c := compiler.New(opts)
	for i, want := range []string{"1 file, 1 error", "1 file, 0 errors", "1 file, 0 errors"} {
		tree := loadDir(t, dir)
		diags, err := c.Validate(t.Context(), tree, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, tree, diags); !strings.Contains(got, want) {
			t.Errorf("run %d: %s, want %s", i+1, got, want)
		}
	}
	if calls != 2 {
		t.Errorf("CUE was evaluated %d times, want 2: the failure is not kept, the success is", calls)
	}
}
