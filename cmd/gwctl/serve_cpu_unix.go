//go:build linux || darwin

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// limitProcessor ends this process when it has computed for as long as ctx may last. The hard limit stays as it is: the process that
// evaluates CUE for this one sets its own.
func limitProcessor(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
		return err
	}
	limit.Cur = min(limit.Max, uint64(max(1, (time.Until(deadline)+time.Second-1)/time.Second)))
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGXCPU)
	go func() {
		<-over
		fmt.Fprintf(os.Stderr, "it took more than %d s of processor time\n", limit.Cur)
		os.Exit(exitInternal)
	}()
	return syscall.Setrlimit(syscall.RLIMIT_CPU, &limit)
}
