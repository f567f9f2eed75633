package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// TestValidateCache runs validate with, without and beside a cache that cannot be had: the report is the same, and
// --no-cache leaves no trace.
func TestValidateCache(t *testing.T) {
	repo := testkit.Repo(t, testkit.Synthetic{Routes: 3})
	validate := func(cacheDir string, flags ...string) string {
		t.Helper()
		t.Setenv("GWCTL_CACHE", cacheDir)
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"validate", repo}, flags...), &stdout, &stderr); code != exitOK {
			t.Fatalf("exit code %d\n%s%s", code, stdout.String(), stderr.String())
		}
		return stdout.String()
	}
	want := "3 files, 0 errors, 0 warnings\n"
	untouched := filepath.Join(t.TempDir(), "cache")
	if got := validate(untouched, "--no-cache"); got != want {
		t.Errorf("--no-cache: %s", got)
	}
	if _, err := os.Stat(untouched); !os.IsNotExist(err) {
		t.Errorf("--no-cache made %s: %v", untouched, err)
	}
	cached := filepath.Join(t.TempDir(), "cache")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{cached, cached, file, filepath.Join(file, "below")} {
		if got := validate(dir); got != want {
			t.Errorf("cache %s: %s", dir, got)
		}
	}
	if found, err := filepath.Glob(filepath.Join(cached, "??", "*")); err != nil || len(found) != 4 {
		t.Errorf("%d entries for three files and one verdict (%v)", len(found), err)
	}
}
