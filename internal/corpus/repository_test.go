package corpus_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// apiVersion is the first line of every file.
const apiVersion = "apiVersion: gateway.suuupra.dev/v1\n"

// repository is a config repository, by the paths of its files.
type repository map[string]string

// base is the repository that every change is made to.
func base(t testing.TB) repository {
	t.Helper()
	out := repository{}
	root := os.DirFS("testdata/base")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// write writes the files to a folder.
func (r repository) write(t testing.TB, dir string) {
	t.Helper()
	for name, text := range r {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// changed returns the files that differ from those of another repository, there or not.
func (r repository) changed(other repository) map[string]bool {
	out := map[string]bool{}
	for name, text := range r {
		if was, there := other[name]; !there || was != text {
			out[name] = true
		}
	}
	for name := range other {
		if _, there := r[name]; !there {
			out[name] = true
		}
	}
	return out
}

// edit is a change of files. It fails the test if there is nothing to change: a case that edits nothing proves nothing.
type edit func(t testing.TB, r repository)

// on returns the repository with an edit.
func (r repository) on(t testing.TB, e edit) repository {
	t.Helper()
	out := maps.Clone(r)
	e(t, out)
	if len(out.changed(r)) == 0 {
		t.Fatal("the edit changes nothing")
	}
	return out
}

// in replaces a text, which must stand in the file once.
func in(file, old, with string) edit {
	return func(t testing.TB, r repository) {
		t.Helper()
		if n := strings.Count(r[file], old); n != 1 {
			t.Fatalf("%s holds %q %d times, must be once", file, old, n)
		}
		r[file] = strings.Replace(r[file], old, with, 1)
	}
}

// add adds a file, without its apiVersion.
func add(file, text string) edit {
	return func(t testing.TB, r repository) {
		t.Helper()
		if _, there := r[file]; there {
			t.Fatalf("%s is there already", file)
		}
		r[file] = apiVersion + text
	}
}

// drop removes files: one, or a folder that ends in "/".
func drop(names ...string) edit {
	return func(t testing.TB, r repository) {
		t.Helper()
		for _, name := range names {
			before := len(r)
			maps.DeleteFunc(r, func(file, _ string) bool {
				return file == name || strings.HasSuffix(name, "/") && strings.HasPrefix(file, name)
			})
			if len(r) == before {
				t.Fatalf("there is no %s", name)
			}
		}
	}
}

// edits makes several of them.
func edits(several ...edit) edit {
	return func(t testing.TB, r repository) {
		t.Helper()
		for _, e := range several {
			e(t, r)
		}
	}
}

// prod adds a patch of the environment that is judged.
func prod(text string) edit { return add("environments/prod/change.yaml", text) }

// rules replaces a text in the rules of the environment.
func rules(old, with string) edit { return in("environments/prod/gateway.yaml", old, with) }
