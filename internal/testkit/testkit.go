// Package testkit holds the real counterparts the tests run against: a Redis server, a git remote, an OCI registry,
// upstreams, and the project's own binaries. Every part listens on loopback only, is stopped by t.Cleanup, and waits for
// what it started. It must not be imported by production code, and it must not imitate a server that can be had for real.
package testkit

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// deadline bounds every wait for something that happens at once on an idle machine. It is generous because test machines
// are not idle; no verdict depends on how much of it is used.
const deadline = 30 * time.Second

// Missing ends a test that needs something this machine lacks. It skips with the reason; where CI=true it fails, because
// there a skipped test is a test that does not exist.
func Missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is missing, and nothing may be skipped when CI=true", what)
	}
	tb.Skipf("%s is missing", what)
}

// Program returns the path of an installed program, or ends the test as Missing does.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, name)
	}
	return path
}

// Vectors returns a folder of the public test suites that stand beside the checkout in ../shared/vectors, or ends the
// test as Missing does.
func Vectors(tb testing.TB, name string) string {
	tb.Helper()
	dir := filepath.Join(Root(tb), "..", "shared", "vectors", name)
	if _, err := os.Stat(dir); err != nil {
		Missing(tb, "../shared/vectors/"+name)
	}
	return dir
}

// Root returns the root directory of the module.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatalf("find module root: %v", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Fatal("find module root: no go.mod above the working directory")
		}
		dir = up
	}
}

// FreePort returns a loopback address, host:port, that nothing listened on a moment ago. Somebody else may take it before
// its user does; where the server can report the port it chose, prefer port 0.
func FreePort(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(0)))
	if err != nil {
		tb.Fatalf("find free port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Eventually polls until ok returns true, and fails the test with what when it never does. For state that no channel or
// output line announces.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	end := time.Now().Add(deadline)
	for !ok() {
		if time.Now().After(end) {
			tb.Fatalf("waited %s in vain until %s", deadline, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
