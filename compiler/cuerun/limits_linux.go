package cuerun

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// memoryLimit counts private writable memory since Linux 4.7.
const memoryLimit = syscall.RLIMIT_DATA

func rlimit(n uint64) *syscall.Rlimit { return &syscall.Rlimit{Cur: n, Max: n} }

// attributes let the kernel end the child when this process ends, however it ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// resident returns the bytes of memory a process holds, or 0.
func resident(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
