//go:build !unix

package wire

const rawReads = false

func (c *Conn) onReadable(uintptr) bool { return true }

func (c *Conn) onTrade(uintptr) bool { return true }

// Trade sends p on an idle connection and waits for the first bytes of the answer.
func (c *Conn) Trade(p []byte) (used bool, err error) {
	if len(c.Buffered()) > 0 {
		return false, ErrStale
	}
	if _, err := c.Write(p); err != nil {
		return true, err
	}
	return true, c.Fill()
}
