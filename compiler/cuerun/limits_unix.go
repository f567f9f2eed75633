//go:build linux || darwin

package cuerun

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockDown makes the kernel hold what the warden promises, and closes the way to files, network and other programs: no
// descriptor can be opened any more, and none is needed. The address space is no use as a limit, as Go reserves far more
// of it than it uses; where the kernel counts writable memory apart, that is limited.
func lockDown(l Limits, budget time.Duration) error {
	seconds := uint64(budget/time.Second) + 5
	limits := []struct {
		what  string
		which int
		max   uint64
	}{
		{"CPU", syscall.RLIMIT_CPU, seconds},
		{"file size", syscall.RLIMIT_FSIZE, 0},
		{"core size", syscall.RLIMIT_CORE, 0},
		{"memory", memoryLimit, uint64(l.Memory) + uint64(l.Memory)/2},
		{"open files", syscall.RLIMIT_NOFILE, 0},
	}
	for _, x := range limits {
		if x.which < 0 || instrumented && x.which == memoryLimit {
			continue
		}
		if err := syscall.Setrlimit(x.which, rlimit(x.max)); err != nil {
			return fmt.Errorf("limit %s: %w", x.what, err)
		}
	}
	return nil
}

// cpu returns the time this process has computed so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// killed reports whether a process was ended by the kernel.
func killed(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && (ws.Signal() == syscall.SIGKILL || ws.Signal() == syscall.SIGXCPU)
}

func rootDir() string { return "/" }
