package scripts_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

// atOnce is a generous bound for what must not wait for a timeout of its own, all of which are longer.
const atOnce = 8 * time.Second

// Ctrl-C ends a command that waits for a server which never answers: with a word, and not with success.
func TestInterrupt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	address := "http://" + l.Addr().String()
	for name, args := range map[string][]string{
		"status": {"status", "--gateway", address},
		"drift":  {"drift", "--gateway", address},
		"diff":   {"diff", address, "."},
		"verify": {"verify", address + "/site", "--trust", trustFile(t)},
	} {
		t.Run(name, func(t *testing.T) {
			p := testkit.Start(t, testkit.Command{Path: testkit.Binary(t, "gwctl"), Args: args, Dir: t.TempDir()})
			conn := <-accepted
			defer func() { _ = conn.Close() }()
			start := time.Now()
			p.Signal(syscall.SIGINT)
			if status := p.Wait(); status != 1 || time.Since(start) > atOnce {
				t.Errorf("exit %d after %s", status, time.Since(start))
			}
			if name == "status" { // its result is the line that says why
				return
			}
			if got := p.Output(); got != "gwctl: interrupted\n" {
				t.Errorf("output %q", got)
			}
		})
	}
}

// Ctrl-C also ends the evaluation of CUE that would take its whole allowance, together with the process it runs in.
func TestInterruptEndlessCUE(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"gateway.yaml":    "apiVersion: gateway.suuupra.dev/v1\ngateway: { name: shop }\n",
		"routes/slow.cue": endlessCUE,
	})
	p := testkit.Start(t, testkit.Command{Path: testkit.Binary(t, "gwctl"), Args: []string{"validate", "--no-cache"}, Dir: dir})
	var child string
	testkit.Eventually(t, "a child process evaluates", func() bool {
		for _, task := range tasks(p.PID()) {
			list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", p.PID(), task))
			if f := strings.Fields(string(list)); err == nil && len(f) > 0 {
				child = f[0]
				return true
			}
		}
		return false
	})
	start := time.Now()
	p.Signal(syscall.SIGINT)
	if status := p.Wait(); status != 1 || time.Since(start) > atOnce {
		t.Errorf("exit %d after %s, want 1 at once", status, time.Since(start))
	}
	if got := p.Output(); got != "gwctl: interrupted\n" {
		t.Errorf("output %q", got)
	}
	testkit.Eventually(t, "the child process is gone", func() bool {
		_, err := os.Stat("/proc/" + child)
		return err != nil
	})
}

// A reader that has seen enough, such as head, ends the program without a stack trace or a success.
func TestClosedOutput(t *testing.T) {
	for name, args := range map[string][]string{
		"schema": {"schema"}, "help": {"--help"}, "explain": {"explain", "GW4004"}, "completion": {"completion", "bash"},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			defer func() { _ = w.Close() }()
			var stderr strings.Builder
			cmd := exec.Command(testkit.Binary(t, "gwctl"), args...)
			cmd.Stdout, cmd.Stderr = w, &stderr
			if err := cmd.Run(); err == nil {
				t.Error("it exited 0")
			}
			if s := stderr.String(); strings.Contains(s, "goroutine") || strings.Count(s, "\n") > 1 {
				t.Errorf("standard error: %s", s)
			}
		})
	}
}

// Of two who publish at the same time one loses, and is told so: exit code 5, and nothing of his is current.
func TestConflict(t *testing.T) {
	testkit.Program(t, "git")
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"gateway.yaml":                   "apiVersion: gateway.suuupra.dev/v1\ngateway: { name: shop }\n",
		"environments/prod/gateway.yaml": "apiVersion: gateway.suuupra.dev/v1\ngateway: { accessLog: { enabled: true } }\n",
	})
	keys := filepath.Join(t.TempDir(), "keys")
	if err := writeKeys(keys, "test"); err != nil {
		t.Fatal(err)
	}
	host := testkit.BundleServer(t)
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool { // somebody else is always faster
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/index.json") {
			return false
		}
		http.Error(w, "it has changed", http.StatusPreconditionFailed)
		return true
	})
	cmd := exec.Command(testkit.Binary(t, "gwctl"), "apply", ".", "--allow-dirty", "--env", "prod", "--to", host.URL,
		"--key", filepath.Join(keys, "release.key"), "--channel-key", filepath.Join(keys, "channel.key"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GWCTL_CACHE="+filepath.Join(dir, ".cache"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 5 || !strings.HasPrefix(string(out), "gwctl: ") {
		t.Errorf("%v: %s", err, out)
	}
	if index := host.File("index.json"); index != nil {
		t.Errorf("it is current: %s", index)
	}
}

// endlessCUE is a comprehension over more values than anybody waits for.
const endlessCUE = `import "list"

apiVersion: "gateway.suuupra.dev/v1"
_n: list.Range(0, 100000, 1)
_sum: list.Sum([for a in _n for b in _n {a * b}])
routes: [{id: "slow", matcher: path: "/\(_sum)"}]
`

func tasks(pid int) []string {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func trustFile(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := writeKeys(dir, "test"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "trust.json")
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
