package testkit

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// RedisServer is a real redis-server on a loopback port.
type RedisServer struct {
	Addr string // host:port, the same after a restart
	URL  string // redis://host:port/0

	tb   testing.TB
	path string
	dir  string
	args []string
	proc *Process
}

// Redis starts a redis-server without persistence and stops it when the test ends. Further arguments go to the server,
// e.g. "--maxmemory", "10mb". Where redis-server is not installed the test ends as Missing says.
func Redis(tb testing.TB, args ...string) *RedisServer {
	tb.Helper()
	s := &RedisServer{tb: tb, path: Program(tb, "redis-server"), dir: tb.TempDir(), args: args}
	// redis-server cannot choose a port and report it, so somebody may take the free one first: try again then.
	for range 5 {
		s.Addr = FreePort(tb)
		s.URL = "redis://" + s.Addr + "/0"
		if s.start() {
			return s
		}
	}
	tb.Fatalf("start redis-server: no free port in five attempts\n%s", s.proc.Output())
	return nil
}

// start reports whether the server answers; false if it ended at once.
func (s *RedisServer) start() bool {
	_, port, _ := net.SplitHostPort(s.Addr)
	s.proc = Start(s.tb, Command{Path: s.path, Dir: s.dir, Args: append([]string{
		"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", s.dir,
	}, s.args...)})
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-s.proc.done:
			return false
		default:
		}
		if reply, err := s.command("PING"); err == nil && reply == "+PONG" {
			return true
		}
	}
	s.tb.Fatalf("redis-server did not answer within %s", deadline)
	return false
}

// Stop ends the server at once (kill -9): connections are reset and new ones refused.
func (s *RedisServer) Stop() { s.tb.Helper(); s.proc.Kill() }

// Restart starts the server again at the same address, empty.
func (s *RedisServer) Restart() {
	s.tb.Helper()
	s.proc.Kill()
	if !s.start() {
		s.tb.Fatalf("restart redis-server at %s\n%s", s.Addr, s.proc.Output())
	}
}

// Do sends one command and returns the first line of the reply, as the protocol spells it ("+OK", ":1", "$5"). It is for
// setting a scene or checking one; production code is tested through its own client.
func (s *RedisServer) Do(args ...string) string {
	s.tb.Helper()
	reply, err := s.command(args...)
	if err != nil {
		s.tb.Fatalf("redis %s: %v", strings.Join(args, " "), err)
	}
	return reply
}

func (s *RedisServer) command(args ...string) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
