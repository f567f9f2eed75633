package cuerun

import "syscall"

// memoryLimit is not to be had: the data limit of these systems does not count what mmap gives out. The warden in the
// child is alone with it.
const memoryLimit = -1

func attributes() *syscall.SysProcAttr { return nil }

func resident(int) int64 { return 0 }

func rlimit(n uint64) *syscall.Rlimit { return &syscall.Rlimit{Cur: n, Max: n} }
