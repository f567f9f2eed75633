//go:build unix

package e2e_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// Whoever reads the access log goes away: the gateway says so, serves on, and ends as it should.
func TestAccessLogReaderGone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.commit("access log", map[string]string{"gateway.yaml": apiVersion + "gateway: { name: shop, accessLog: { enabled: true } }\n"})
	_, to := s.folder()
	s.apply(to)

	log := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(log, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, Process: testkit.Start(t, testkit.Command{
		Path: "/bin/sh", Dir: s.home, Env: append(s.env(), "LOG="+log),
		Args: []string{
			"-c", `exec "$0" "$@" >"$LOG"`, programs.gwrun, "--bundle", to, "--trust", filepath.Join(s.keys, "trust.json"), "--env", "prod",
			"--listen", "127.0.0.1:0",
		},
	})}
	reader, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + g.WaitLine(`"msg":"listening","listener":"127.0.0.1:0","address":"([^"]+)"`)[1]
	g.serves(1)
	if _, err := reader.Read(make([]byte, 1)); err != nil {
		t.Fatalf("read the access log: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	g.serves(1) // gives it something to log
	g.WaitLine("access log cannot be written")
	g.serves(1)
	g.ends(0)
}
