package wire

import "errors"

// ErrStale says that an idle connection was closed by its peer or had unasked bytes on it.
var ErrStale = errors.New("stale connection")

// Hangup reports whether the peer has closed its side, also behind bytes that were not read yet. It takes one system call
// and does not wait. False where the system cannot tell.
func (c *Conn) Hangup() bool {
	if c.sys == nil {
		return false
	}
	gone := false
	err := c.sys.Control(func(fd uintptr) { gone = hungUp(fd) })
	return err != nil || gone
}

// AwaitHangup waits until the peer closes its side, and returns true, or until Interrupt or a read deadline. Nobody may read
// at the same time. Bytes that arrive stay unread, and do not hide a close that follows them.
func (c *Conn) AwaitHangup() bool {
	if c.sys == nil {
		return false
	}
	gone := false
	err := c.sys.Read(func(fd uintptr) bool {
		gone = hungUp(fd)
		return gone
	})
	return err == nil && gone
}
