package main

import "syscall"

// perStream is how many descriptors an idle stream takes in the process that has most of them: its client's and its server's end are
// both here, and gwrun has as many.
const perStream = 2

// roomFor returns how many of n streams there are descriptors for, after asking the system for more.
func roomFor(n int) int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return n
	}
	const others = 1024
	if want := uint64(perStream*n + others); l.Cur < want {
		// Children inherit what is set here. Only the superuser may raise the maximum.
		more := syscall.Rlimit{Cur: want, Max: max(want, l.Max)}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) != nil {
			more = syscall.Rlimit{Cur: min(want, l.Max), Max: l.Max}
			_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more)
		}
		l.Cur = more.Cur
	}
	return min(n, max(int(l.Cur)-others, 0)/perStream)
}
