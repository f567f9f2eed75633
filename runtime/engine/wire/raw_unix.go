//go:build unix

package wire

import "syscall"

// rawReads: on these systems a read may go straight to the socket, so that a buffer is taken only once there is data.
const rawReads = true

// onReadable is called by the network poller whenever the socket may have data.
func (c *Conn) onReadable(fd uintptr) bool {
	if c.buf == nil {
		c.take()
	}
	for {
		n, err := syscall.Read(int(fd), c.buf[c.w:])
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			if c.w == 0 {
				c.release()
			}
			return false
		}
		c.n, c.err = max(n, 0), err
		return true
	}
}

// Stages of a trade.
const (
	tradeProbe = iota // nothing sent yet: the socket must be silent
	tradeStale        // it was not
	tradeSent         // out is on its way
)

// Trade sends p on an idle connection and waits for the first bytes of the answer. used is false if nothing was sent since
// the peer had closed the connection or sent something unasked. The probe for that is the read which the poller needs to
// begin a wait anyway; it costs nothing.
func (c *Conn) Trade(p []byte) (used bool, err error) {
	if len(c.Buffered()) > 0 {
		return false, ErrStale
	}
	if c.raw == nil {
		if c.Hangup() {
			return false, ErrStale
		}
		if _, err := c.Write(p); err != nil {
			return true, err
		}
		return true, c.Fill()
	}
	c.room()
	c.out, c.sent, c.stage, c.n, c.err = p, 0, tradeProbe, 0, nil
	err = c.raw.Read(c.trade)
	c.out = nil
	c.sentTotal += int64(c.sent)
	used = c.sent > 0
	switch {
	case err != nil:
		return used, c.failure(err)
	case c.stage == tradeStale:
		return false, ErrStale
	case c.sent < len(p): // the socket's buffer is full, or the write failed: go on in the ordinary way
		if _, err := c.Write(p[c.sent:]); err != nil {
			return used, err
		}
		return true, c.Fill()
	}
	return true, c.filled()
}

func (c *Conn) onTrade(fd uintptr) bool {
	if c.stage == tradeSent {
		return c.onReadable(fd)
	}
	if c.onReadable(fd) { // data, an end or an error before anything was asked
		c.stage = tradeStale
		return true
	}
	c.stage = tradeSent
	for {
		n, err := syscall.Write(int(fd), c.out)
		if err == syscall.EINTR {
			continue
		}
		c.sent = max(n, 0)
		return c.sent < len(c.out)
	}
}
