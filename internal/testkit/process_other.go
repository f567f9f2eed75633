//go:build !linux

package testkit

import "syscall"

// dieWithParent is nothing where the kernel has no such notion.
func dieWithParent() *syscall.SysProcAttr { return nil }
