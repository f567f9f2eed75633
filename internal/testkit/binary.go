package testkit

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Binary builds cmd/<name> as it stands and returns the path of the program. Flags go to go build, e.g. "-race" or
// "-cover"; TESTKIT_BUILD_FLAGS adds to them for a whole test run. Every test and package that asks for the same program
// shares one file, and nothing is linked again while the source is unchanged.
func Binary(tb testing.TB, name string, flags ...string) string {
	tb.Helper()
	flags = append(strings.Fields(os.Getenv("TESTKIT_BUILD_FLAGS")), flags...)
	root := Root(tb)
	dir := filepath.Join(root, ".cache", "testkit")
	if len(flags) > 0 {
		sum := sha256.Sum256([]byte(strings.Join(flags, "\x00")))
		dir = filepath.Join(dir, hex.EncodeToString(sum[:4]))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatalf("build %s: %v", name, err)
	}
	// Packages are tested in processes of their own, and two go builds may not write one file.
	lock, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		tb.Fatalf("build %s: %v", name, err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		tb.Fatalf("build %s: lock: %v", name, err)
	}
	path := filepath.Join(dir, name)
	args := append([]string{"build", "-buildvcs=false"}, flags...)
	cmd := exec.Command("go", append(args, "-o", path, "./cmd/"+name)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}
