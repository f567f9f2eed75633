package testkit

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Synthetic describes a generated config repository: many routes that differ, in files of 100, about 560 bytes a route, as
// people write them. The same description gives the same bytes.
type Synthetic struct {
	Routes int
	Target string // the URL every route forwards to, "" is http://127.0.0.1:9
	Policy string // what stands under each route's policy, with its indentation; "" is DefaultPolicy
}

// DefaultPolicy is the policy of a generated route.
const DefaultPolicy = `
      timeout: 10s
      timeouts:
        header: 5s
        idle: 30s
      bodyLimit:
        maxBytes: 1MiB
`

const (
	routesPerFile = 100
	teams         = 17
)

// Repo writes a synthetic repository into a directory of the test's own and returns it.
func Repo(tb testing.TB, s Synthetic) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := s.Write(dir); err != nil {
		tb.Fatalf("write synthetic repository: %v", err)
	}
	return dir
}

// Path returns a request path that route n serves, on Host(n).
func (s Synthetic) Path(n int) string { return fmt.Sprintf("/team-%d/service-%06d/items", n%teams, n) }

// Host returns the host name that route n serves.
func (s Synthetic) Host(n int) string { return fmt.Sprintf("h%04d.example.com", n/routesPerFile) }

// Write writes the repository: gateway.yaml, routes/*.yaml and the environment prod.
func (s Synthetic) Write(dir string) error {
	if s.Target == "" {
		s.Target = "http://127.0.0.1:9"
	}
	if s.Policy == "" {
		s.Policy = DefaultPolicy
	}
	const version = "apiVersion: gateway.suuupra.dev/v1\n"
	for _, sub := range []string{"routes", filepath.Join("environments", "prod")} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"gateway.yaml":                version + "gateway:\n  name: synthetic\n",
		"environments/prod/prod.yaml": version,
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for first := 0; first < s.Routes; first += routesPerFile {
		if err := s.writeFile(dir, first, version); err != nil {
			return err
		}
	}
	return nil
}

func (s Synthetic) writeFile(dir string, first int, version string) error {
	f, err := os.Create(filepath.Join(dir, "routes", fmt.Sprintf("routes-%06d.yaml", first)))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	_, _ = w.WriteString(version + "routes:\n") // a bufio.Writer keeps its first error for Flush
	for n := first; n < min(first+routesPerFile, s.Routes); n++ {
		fmt.Fprintf(w, `  # Items of service %[1]d, which team %[2]d keeps. Ask them before you change a path: their own
  # clients on telephones are updated by their users, and some of those never do it. The limit
  # follows from the largest picture a client sends, 800 KiB.
  - id: route-%06[1]d
    matcher:
      host: %[3]s
      path: /team-%[2]d/service-%06[1]d/*
      methods: [GET, POST, PUT, DELETE]
    target:
      type: http
      url: %[4]q
    policy:%[5]s`, n, n%teams, s.Host(n), s.Target, s.Policy)
	}
	if err := w.Flush(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
