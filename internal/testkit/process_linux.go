package testkit

import "syscall"

// dieWithParent makes the kernel kill the child when the thread that started it ends: with the test run, even if that is
// killed, as long as the starting goroutine keeps its thread.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
