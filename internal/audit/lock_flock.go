//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package audit

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// noFollow keeps an attacker's link in the folder from leading the writer elsewhere, and a pipe from holding it up.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// takeLock takes the lock file for this process. The lock belongs to the open file, so it ends with the process, however that ends.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = ErrLocked
	default:
		err = fmt.Errorf("lock: %w", err)
	}
	_ = f.Close() // nothing was written
	return nil, err
}
