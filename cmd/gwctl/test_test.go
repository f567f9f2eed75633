package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// testExample runs gwctl test on a copy of the example repository, to which files are added.
func testExample(t *testing.T, files map[string]string, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testkit.Root(t), "examples", "config-repo"))); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GWCTL_CACHE", t.TempDir())
	var out, err bytes.Buffer
	code = run(t.Context(), append([]string{"test", dir}, flags...), &out, &err)
	return code, out.String(), err.String()
}

// TestExampleTests has the tests of the example repository pass, cover all of it, and notice every weakening: they are what people copy.
func TestExampleTests(t *testing.T) {
	code, stdout, stderr := testExample(t, nil, "--min-coverage", "100", "--mutate", "--strict")
	if code != exitOK || stderr != "" || !regexp.MustCompile(`, 0 failed, in [0-9.]+m?s\n$`).MatchString(stdout) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// TestManualOfTests runs the examples in docs/testing.md against the example repository that they speak of.
func TestManualOfTests(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(manual, -1)
	files := map[string]string{}
	for i, b := range blocks {
		text := string(b[1])
		if strings.HasPrefix(text, "requests:") { // of one test
			text = "apiVersion: gateway.suuupra.dev/v1\ntests:\n  - name: an example\n    " + strings.ReplaceAll(text, "\n", "\n    ")
		}
		files["tests/manual"+string(rune('a'+i))+".yaml"] = text
	}
	if len(files) < 2 {
		t.Fatalf("%d examples", len(files))
	}
	if code, stdout, stderr := testExample(t, files, "--run", "manual"); code != exitOK || !strings.HasPrefix(stdout, "4 cases, 32 requests, 0 failed") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr := testExample(t, map[string]string{"environments/prod/routes.yaml": "apiVersion: gateway.suuupra.dev/v1\nroutes: [{ id: limited, policy: { rateLimit: { enabled: false } } }]"}, "--env", "prod")
	shown := regexp.MustCompile("(?s)```text\n(tests/protected.*?)```").FindSubmatch(manual)
	if shown == nil || code != exitInvalid || !strings.HasPrefix(stdout, string(shown[1])) {
		t.Errorf("exit code %d\n%s%sthe manual shows\n%s", code, stdout, stderr, shown[1])
	}
}
