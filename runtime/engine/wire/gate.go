package wire

import "net"

// Gate lies between TLS and its socket, and lets a read see what has arrived already without waiting for more. TLS tells nobody
// whether it holds such bytes.
type Gate struct {
	net.Conn
	shut bool // the reader's own
}

// NewGate makes an open gate before a socket.
func NewGate(socket net.Conn) *Gate { return &Gate{Conn: socket} }

// NetConn is the socket.
func (g *Gate) NetConn() net.Conn { return g.Conn }

// Read implements net.Conn.
func (g *Gate) Read(p []byte) (int, error) {
	if g.shut {
		return 0, errShut
	}
	return g.Conn.Read(p)
}

// shutError is temporary, so that TLS takes the connection for whole.
type shutError struct{}

var errShut net.Error = shutError{}

func (shutError) Error() string   { return "nothing has arrived" }
func (shutError) Timeout() bool   { return true }
func (shutError) Temporary() bool { return true }

// fillBehindGate waits for one byte, takes a buffer only when it is there, and adds what came with it.
func (c *Conn) fillBehindGate() {
	c.release()
	if c.n, c.err = c.net.Read(c.first[:]); c.n == 0 {
		return
	}
	c.take()
	c.buf[0] = c.first[0]
	c.gate.shut = true
	n, _ := c.net.Read(c.buf[1:]) // an error comes again with the next read
	c.gate.shut = false
	c.n += n
}
