package testkit

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Synthetic describes a generated config repository: many routes that differ, in files of 100, about 560 bytes a route
// with PolicyFull. The same description gives the same bytes.
type Synthetic struct {
	Routes int
	Target string // the URL every route forwards to, "" is http://127.0.0.1:9
	Policy string // what stands under each route's policy, "" is PolicyPlain
}

// The policies of a generated route, as the author writes them.
const (
	PolicyPlain = `
      timeout: 10000
`
	PolicyFull = `
      auth:
        jwt:
          issuer: https://id.example.com
          audience: api
          jwksUri: https://id.example.com/.well-known/jwks.json
          requiredRoles: [user]
          requiredScopes: [orders.read]
          clockSkewSeconds: 60
      rateLimit:
        enabled: true
        tokensPerInterval: 60
        intervalMs: 60000
      timeout: 10000
`
)

const routesPerFile = 100

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
func (s Synthetic) Path(n int) string { return fmt.Sprintf("/team-%d/service-%06d/items", n%17, n) }

// Host returns the host name that route n serves.
func (s Synthetic) Host(n int) string { return fmt.Sprintf("h%04d.example.com", n/routesPerFile) }

// Write writes the repository: gateway.yaml, routes/*.yaml and the environment prod.
func (s Synthetic) Write(dir string) error {
	if s.Target == "" {
		s.Target = "http://127.0.0.1:9"
	}
	if s.Policy == "" {
		s.Policy = PolicyPlain
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
		fmt.Fprintf(w, "  - id: route-%06d\n    matcher:\n      host: %s\n      path: /team-%d/service-%06d/*\n"+
			"      methods: [GET, POST]\n    target: { type: http, url: %q }\n    policy:%s", n, s.Host(n), n%17, n, s.Target, s.Policy)
	}
	if err := w.Flush(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
