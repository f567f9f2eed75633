package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// UpdateGolden reports whether this run rewrites golden files instead of comparing them: `make golden` sets
// GOLDEN_UPDATE=1 and runs the tests with Golden in their name.
func UpdateGolden() bool { return os.Getenv("GOLDEN_UPDATE") == "1" }

// Golden compares got with the file at path, relative to the package's directory, or rewrites the file in a run of
// `make golden`. A missing file fails: it is made by `make golden`, and reviewed like code.
func Golden(tb testing.TB, path string, got []byte) {
	tb.Helper()
	if UpdateGolden() {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatalf("update golden file: %v", err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			tb.Fatalf("update golden file: %v", err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tb.Fatalf("read golden file (make golden writes it): %v", err)
	}
	if string(got) != string(want) {
		tb.Errorf("%s differs (make golden rewrites it, git diff shows the change)\n--- want\n%s\n--- got\n%s", path, want, got)
	}
}
