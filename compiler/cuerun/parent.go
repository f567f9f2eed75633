package cuerun

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// argument is the hidden first argument of a child; guard is in its environment, so that a program which does not call
// Child cannot start children without end.
const (
	argument = "__evaluate-cue"
	guard    = "GATEWAY_CUE_CHILD"
)

// greeting bounds how long a child may take to say hello.
const greeting = 10 * time.Second

// maxStderr bounds what is kept of a child's last words.
const maxStderr = 16 << 10

// batch evaluates groups in one child, one after another. It returns how many were finished and, if that is not all of
// them, why the one after them stopped the child.
func (e *Evaluator) batch(ctx context.Context, groups []group, roots map[string]*schema.Node, diags *diag.List) (int, *failure, error) {
	c, err := e.start(ctx, groups)
	if err != nil {
		return 0, nil, err
	}
	defer c.answer.Close()
	done, fail, err := c.listen(groups, roots, diags)
	c.kill() // whatever it still does is of no interest
	ended := <-c.ended
	switch {
	case err != nil:
		return done, nil, err
	case ctx.Err() != nil:
		return done, nil, fmt.Errorf("evaluate CUE: %w", ctx.Err())
	case fail != nil && fail.limit == "start":
		return done, nil, fmt.Errorf("evaluate CUE: the child ended before it began (%w): %s", ended, firstLine(c.stderr.String()))
	case fail != nil && fail.limit == "crash":
		fail.limit = c.autopsy(ended)
	}
	return done, fail, nil
}

// child is a running child process, seen from outside.
type child struct {
	limits Limits
	answer *os.File
	room   *io.LimitedReader // of answer
	out    *bufio.Reader
	stderr *tail
	ended  chan error
	killed atomic.Pointer[failure] // why we ended it
	kill   context.CancelFunc
	timer  *time.Timer
}

// start runs this program again as a child.
func (e *Evaluator) start(ctx context.Context, groups []group) (*child, error) {
	self := e.program
	if self == "" {
		var err error
		if self, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("evaluate CUE: find this program: %w", err)
		}
	}
	in, err := json.Marshal(request{Limits: e.limits, Groups: groups})
	if err != nil {
		return nil, fmt.Errorf("evaluate CUE: %w", err)
	}
	ctx, kill := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, self, argument)
	cmd.Env = []string{guard + "=1", "GOTRACEBACK=none", "GOMAXPROCS=2"}
	cmd.Dir = rootDir()
	cmd.Stdin = bytes.NewReader(in)
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = time.Second
	c := &child{limits: e.limits, stderr: &tail{}, ended: make(chan error, 1), kill: kill}
	cmd.Stderr = c.stderr
	stdout, write, err := os.Pipe()
	if err != nil {
		kill()
		return nil, fmt.Errorf("evaluate CUE: %w", err)
	}
	cmd.Stdout, c.answer = write, stdout
	c.room = &io.LimitedReader{R: stdout, N: e.limits.Output + 1<<20} // the child itself stops before
	c.out = bufio.NewReaderSize(c.room, 64<<10)
	started := make(chan error, 1)
	go func() {
		// The kernel ends the child when the thread that started it ends, so that thread must wait here with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = write.Close() // the child holds the other copy
		started <- err
		if err != nil {
			return
		}
		stop := c.watchMemory(cmd.Process.Pid)
		err = cmd.Wait()
		stop()
		c.ended <- err
	}()
	if err := <-started; err != nil {
		kill()
		_ = stdout.Close()
		return nil, fmt.Errorf("evaluate CUE: start this program again: %w", err)
	}
	c.timer = time.AfterFunc(greeting, func() { c.end("wall") })
	return c, nil
}

// end kills the child for a reason.
func (c *child) end(why string) {
	c.killed.CompareAndSwap(nil, &failure{limit: why})
	c.kill()
}

// watchMemory ends the child when the system says it uses too much: the child watches itself too, but only as long as its
// runtime gets around to it.
func (c *child) watchMemory(pid int) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if resident(pid) > c.limits.Memory+c.limits.Memory/4 {
					c.end("memory")
					return
				}
			}
		}
	}()
	return func() { close(done) }
}

// listen reads the child's answer.
func (c *child) listen(groups []group, roots map[string]*schema.Node, diags *diag.List) (done int, fail *failure, err error) {
	defer c.timer.Stop()
	greeted := false
	for done < len(groups) {
		var ev event
		line, err := c.out.ReadBytes('\n')
		if err != nil {
			return done, c.why(greeted), nil
		}
		if err := json.Unmarshal(line, &ev); err != nil || !greeted && ev.Hello != hello {
			return done, nil, errors.New("evaluate CUE: this program does not call cuerun.Child at the start of main")
		}
		greeted = true
		switch {
		case ev.Start:
			c.timer.Reset(c.limits.Wall)
		case ev.Limit != "":
			return done, &failure{limit: ev.Limit}, nil
		case ev.Done:
			g := groups[done]
			for _, d := range ev.Diags {
				diags.Add(g.diagnostic(d))
			}
			if ev.Root != nil {
				root, err := g.node(ev.Root, 0, diags)
				if err != nil {
					return done, nil, err
				}
				roots[g.Files[0].Path] = root
			}
			done++
			c.timer.Reset(c.limits.Wall)
		}
	}
	return done, nil, nil
}

// why explains why the child says no more.
func (c *child) why(greeted bool) *failure {
	switch k := c.killed.Load(); {
	case k != nil:
		return k
	case c.room.N <= 0:
		return &failure{limit: "output"}
	case !greeted:
		return &failure{limit: "start"}
	}
	return &failure{limit: "crash"}
}

// autopsy finds the limit behind the end of a child that could not say it any more.
func (c *child) autopsy(ended error) string {
	words := c.stderr.String()
	for _, sign := range []string{"out of memory", "cannot allocate memory", "stack exceeds", "stack overflow", "failed to allocate"} {
		if strings.Contains(words, sign) {
			return "memory"
		}
	}
	if exit := (*exec.ExitError)(nil); errors.As(ended, &exit) && killed(exit.ProcessState) {
		if exit.UserTime()+exit.SystemTime() >= c.limits.CPU {
			return "cpu"
		}
		return "memory" // the system's last resort
	}
	return "crash"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// tail keeps the beginning of what a child writes to its standard error and drops the rest.
type tail struct{ buf bytes.Buffer }

// Write keeps p as long as there is room.
func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p[:min(len(p), maxStderr-t.buf.Len())])
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string { return t.buf.String() }
