//go:build unix

package secret

import "syscall"

// nonBlocking keeps opening a pipe from waiting for somebody who writes into it.
const nonBlocking = syscall.O_NONBLOCK
