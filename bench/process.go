package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticks is the unit of the kernel's CPU times, USER_HZ: 100 a second on every Linux that Go runs on.
const ticks = time.Second / 100

// process is one program under measurement. It ends with the context it was started under.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	out  tail
}

// tail keeps the end of what a program writes, for the message when it fails.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 4096; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

func start(ctx context.Context, name, path string, args ...string) (*process, error) {
	return launch(name, exec.CommandContext(ctx, path, args...))
}

// launch starts a command, which must end with its context. Its standard output is kept unless it goes elsewhere.
func launch(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stderr = &p.out
	if p.cmd.Stdout == nil {
		p.cmd.Stdout = &p.out
	}
	p.cmd.WaitDelay = time.Second
	// An interrupt lets a server with workers of its own take them along; WaitDelay ends what does not listen.
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended shows in what it wrote
		close(p.done)
	}()
	return p, nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// wait polls until ok, for at most limit; the process dying ends the wait.
func (p *process) wait(ctx context.Context, limit time.Duration, ok func() bool) error {
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.out.String())
		case <-deadline:
			return fmt.Errorf("%s was not ready within %s: %s", p.name, limit, p.out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// usage is what a process and its children have used: CPU since they started, and resident memory now.
type usage struct {
	cpu time.Duration
	rss int64 // bytes
}

// usage sums utime and stime of all threads, of the process and of every descendant: servers with worker processes are
// measured whole, and with nothing of the load or the upstream in it.
func (p *process) usage() (usage, error) {
	members, err := p.family()
	if err != nil {
		return usage{}, err
	}
	var u usage
	for _, m := range members {
		u.cpu += m.cpu
		u.rss += m.rss
	}
	if u.rss == 0 {
		return usage{}, errors.New(p.name + " is gone: " + p.out.String())
	}
	return u, nil
}

// member is one process of a family.
type member struct {
	usage
	parent int
}

// family is the process and every descendant, by process id.
func (p *process) family() (map[int]member, error) {
	family := map[int]bool{p.cmd.Process.Pid: true}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]member{}
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // ended meanwhile
		}
		// The second field is the program's name in parentheses, which may hold anything.
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if len(fields) < 22 {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
		number := func(i int) int64 { n, _ := strconv.ParseInt(fields[i], 10, 64); return n }
		all[pid] = member{
			usage{cpu: time.Duration(number(11)+number(12)) * ticks, rss: number(21) * int64(os.Getpagesize())}, int(number(1)),
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, e := range all {
			if family[e.parent] && !family[pid] {
				family[pid], grown = true, true
			}
		}
	}
	maps.DeleteFunc(all, func(pid int, _ member) bool { return !family[pid] })
	return all, nil
}

// freeAddress returns a loopback address nothing listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
