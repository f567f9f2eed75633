package cuerun

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// maxRequest bounds what a child reads.
const maxRequest = 1 << 30

// Child turns this process into an evaluator of CUE and does not return, if it was started as one. Every program that
// compiles, and the TestMain of every test that does, calls it before anything else.
func Child() {
	if len(os.Args) < 2 || os.Args[1] != argument || os.Getenv(guard) == "" {
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		_, _ = os.Stderr.WriteString("evaluate CUE: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// serve answers one request.
func serve(in io.Reader, out io.Writer) error {
	var req request
	if err := json.NewDecoder(io.LimitReader(in, maxRequest)).Decode(&req); err != nil {
		return err
	}
	budget := time.Duration(len(req.Groups)) * req.Limits.CPU
	if err := lockDown(req.Limits, budget); err != nil {
		return err
	}
	debug.SetMemoryLimit(req.Limits.Memory * 3 / 4)
	debug.SetMaxStack(int(min(req.Limits.Memory/4, 256<<20)))
	w := &warden{limits: req.Limits, out: bufio.NewWriter(out)}
	if err := w.say(event{Hello: hello}); err != nil {
		return err
	}
	go w.watch()
	for i := range req.Groups {
		if err := w.begin(); err != nil {
			return err
		}
		root, diags := evaluate(req.Groups[i], req.Limits)
		if err := w.say(event{Done: true, Root: root, Diags: diags}); err != nil {
			return err
		}
	}
	return nil
}

// warden watches what the evaluation costs and does the talking.
type warden struct {
	limits Limits

	mu      sync.Mutex // guards what follows, and the order of events
	out     *bufio.Writer
	written int64
	before  time.Duration // CPU used before the current group
}

// begin starts the account of the next group.
func (w *warden) begin() error {
	if memory() > w.limits.Memory/8 {
		runtime.GC() // what the groups before left behind is not this one's
		debug.FreeOSMemory()
	}
	w.mu.Lock()
	w.before = cpu()
	w.mu.Unlock()
	return w.say(event{Start: true})
}

// say writes one event; an event that is too large ends the process.
func (w *warden) say(e event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.written += int64(len(line)) + 1; w.written > w.limits.Output {
		w.quit("output")
	}
	if _, err := w.out.Write(append(line, '\n')); err != nil {
		return err
	}
	return w.out.Flush()
}

// quit ends the process and says why. It is called with mu held.
func (w *warden) quit(limit string) {
	line, err := json.Marshal(event{Limit: limit})
	if err == nil {
		_, _ = w.out.Write(append(line, '\n'))
		_ = w.out.Flush()
	}
	os.Exit(1)
}

// watch ends the process when the current group has used up what it may.
func (w *warden) watch() {
	for range time.Tick(10 * time.Millisecond) {
		w.mu.Lock()
		switch {
		case cpu()-w.before > w.limits.CPU:
			w.quit("cpu")
		case memory() > w.limits.Memory:
			w.quit("memory")
		}
		w.mu.Unlock()
	}
}

// memory returns how many bytes the runtime holds of the system.
func memory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()) - int64(s[1].Value.Uint64())
}
