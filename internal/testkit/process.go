package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program a test runs beside itself. Its output is kept, and shown when the test fails.
type Process struct {
	tb     testing.TB
	name   string
	cmd    *exec.Cmd
	done   chan struct{} // closed once the process has ended and its output is complete
	mu     sync.Mutex
	out    strings.Builder
	lines  chan struct{} // replaced and closed whenever output arrives, so that waiters look again
	status int
}

// Command describes a process to start.
type Command struct {
	Path string
	Args []string
	Dir  string   // "" is the package's directory
	Env  []string // added to the environment of the test
}

// Start runs a program until the test ends. Standard output and standard error are kept together, line by line.
func Start(tb testing.TB, c Command) *Process {
	tb.Helper()
	p := &Process{
		tb: tb, name: c.Path[strings.LastIndexByte(c.Path, '/')+1:], cmd: exec.Command(c.Path, c.Args...),
		done: make(chan struct{}), lines: make(chan struct{}),
	}
	p.cmd.Dir = c.Dir
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.SysProcAttr = dieWithParent()
	p.cmd.WaitDelay = deadline // a grandchild may hold the output open
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	read, started := make(chan struct{}), make(chan error)
	go func() { defer close(read); p.collect(r) }()
	go func() {
		runtime.LockOSThread() // see dieWithParent
		err := p.cmd.Start()
		started <- err
		if err == nil {
			err = p.cmd.Wait()
		}
		_ = w.Close()
		<-read
		p.end(err)
	}()
	if err := <-started; err != nil {
		tb.Fatalf("start %s: %v", p.name, err)
	}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("output of %s:\n%s", p.name, p.Output())
		}
	})
	return p
}

func (p *Process) collect(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		fmt.Fprintln(&p.out, s.Text())
		close(p.lines)
		p.lines = make(chan struct{})
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r) // a line over the limit ends the scan; the process must not block on it
}

func (p *Process) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd.ProcessState != nil {
		p.status = p.cmd.ProcessState.ExitCode()
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(&p.out, "wait for %s: %v\n", p.name, err)
	}
	close(p.done)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output returns what the process has written so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// WaitLine waits for output that matches the expression and returns the match and its groups. It fails the test when the
// process ends without such a line, or writes none for long.
func (p *Process) WaitLine(expression string) []string {
	p.tb.Helper()
	re := regexp.MustCompile(expression)
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	for {
		p.mu.Lock()
		m, more := re.FindStringSubmatch(p.out.String()), p.lines
		p.mu.Unlock()
		if m != nil {
			return m
		}
		select {
		case <-more:
		case <-p.done:
			if m := re.FindStringSubmatch(p.Output()); m != nil {
				return m
			}
			p.tb.Fatalf("%s ended with status %d and never wrote %q", p.name, p.status, expression)
		case <-limit.C:
			p.tb.Fatalf("%s did not write %q within %s", p.name, expression, deadline)
		}
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.tb.Fatalf("send %s to %s: %v", s, p.name, err)
	}
}

// Wait waits until the process has ended and returns its exit status, -1 after a signal.
func (p *Process) Wait() int {
	p.tb.Helper()
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	select {
	case <-p.done:
		return p.status
	case <-limit.C:
		p.tb.Fatalf("%s did not end within %s", p.name, deadline)
		return -1
	}
}

// Stop asks the process to end, as an orchestrator would, and returns its exit status.
func (p *Process) Stop() int {
	p.tb.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Kill ends the process without asking it (kill -9), and waits until it is gone. It may be called again.
func (p *Process) Kill() {
	p.tb.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.done
}
