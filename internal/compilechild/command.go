package compilechild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Command starts children. The zero value is ready.
type Command struct {
	Path    string        // of the program; empty is the running one
	Timeout time.Duration // by the clock on the wall; 0 is DefaultTimeout
	Memory  int64         // bytes; 0 is DefaultMemory
}

// Run compiles in a child and waits for its end. The child is killed when ctx ends, when it is over a bound, and when this
// process ends in whatever way. An error says that there is no answer about the commit.
func (c *Command) Run(ctx context.Context, req Request) (Response, error) {
	resp, err := c.run(ctx, req)
	if err != nil {
		return Response{}, fmt.Errorf("compile in a child process: %w", err)
	}
	if resp.Error != "" {
		return Response{}, errors.New(resp.Error)
	}
	return resp, nil
}

func (c *Command) run(ctx context.Context, req Request) (Response, error) {
	o := order{Request: req, Memory: c.Memory, Timeout: c.Timeout}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	data, err := json.Marshal(o)
	if err != nil {
		return Response{}, fmt.Errorf("request: %w", err)
	}
	path := c.Path
	if path == "" {
		if path, err = os.Executable(); err != nil {
			return Response{}, fmt.Errorf("find the program: %w", err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	out, stderr := &capped{limit: maxResponse, over: cancel}, &capped{limit: maxStderr}
	cmd := exec.CommandContext(limited, path, Argument)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(data), out, stderr
	cmd.Env = []string{} // not nil, which would pass on ours, with its tokens
	cmd.Dir = os.TempDir()
	cmd.Cancel = func() error { return kill(cmd.Process) }
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes open
	confine(cmd)
	err = onOwnThread(cmd.Run)
	switch {
	case out.full:
		return Response{}, fmt.Errorf("%w: more than %d bytes", ErrOutput, maxResponse)
	case ctx.Err() != nil:
		return Response{}, ctx.Err()
	case limited.Err() != nil:
		return Response{}, fmt.Errorf("%w: more than %s", ErrTimeout, o.Timeout)
	case cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitMemory:
		return Response{}, fmt.Errorf("%w: more than %d MiB", ErrMemory, o.Memory>>20)
	case err != nil:
		return Response{}, fmt.Errorf("%w%s", err, firstLine(stderr.buf.Bytes()))
	}
	var resp Response
	if err := strict(out.buf.Bytes(), &resp); err != nil {
		return Response{}, fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return resp, nil
}

// onOwnThread runs f on a thread that ends with it. The kernel kills a child when the thread that started it ends, not the
// process, so the thread has to stay; and what f changes about the thread, such as its priority, must not outlive it.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		yieldProcessor()
		done <- f()
	}()
	return <-done
}

// capped keeps the beginning of an output; it takes the rest, so that the child does not block, but tells over.
type capped struct {
	buf   bytes.Buffer
	limit int
	full  bool
	over  func()
}

func (c *capped) Write(p []byte) (int, error) {
	room := c.limit - c.buf.Len()
	c.buf.Write(p[:min(len(p), room)])
	if len(p) > room && !c.full {
		c.full = true
		if c.over != nil {
			c.over()
		}
	}
	return len(p), nil
}

// firstLine is what a child said before it ended: of a panic, its reason.
func firstLine(stderr []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(stderr)), "\n")
	if line == "" {
		return ""
	}
	return fmt.Sprintf(": %.300q", line)
}
