package simulate

import (
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/v1"
)

// keptBody is how much of a body that reaches an upstream is kept for comparing, in bytes: one more than an expectation may have.
const keptBody = 4*65536 + 1

// received is a request as an upstream gets it.
type received struct {
	attempts int // that reached it
	head     http1.RequestHead
	body     []byte // its beginning
}

// network stands in for every server behind the gateway.
type network struct {
	mu    sync.Mutex
	stub  *v1.TestUpstream // what they answer
	got   received         // the last request that reached one
	limit http1.Limits

	answer   []byte // of a stub to a method: the same as a rule
	answerTo answerTo
}

type answerTo struct {
	stub   *v1.TestUpstream
	method string
}

func newNetwork() *network {
	return &network{limit: http1.Limits{Bytes: 16 << 20, Fields: 1 << 16, Target: 16 << 20}}
}

// expect prepares for the next exchange.
func (n *network) expect(stub *v1.TestUpstream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stub, n.got.attempts, n.got.body = stub, 0, n.got.body[:0]
}

// dial is upstream.Env.Dial. Each connection carries one request: whether one is reused is chance, and must not decide a test.
func (n *network) dial(context.Context, string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stub.Fails == "connect" {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	c := &link{network: n, stub: n.stub}
	c.changed.L = &c.mu
	return c, nil
}

// link is a connection to a server that reads one request, and then has its answer ready.
type link struct {
	network *network
	stub    *v1.TestUpstream

	mu      sync.Mutex
	changed sync.Cond
	scan    http1.Scanner
	in      []byte // the head, until it is complete
	headed  bool
	left    int64 // bytes of the body that have not come
	whole   bool
	out     []byte // what is left of the answer
	expired bool   // a deadline has passed: somebody interrupts
	closed  bool
}

// Write implements net.Conn: it takes in the request.
func (c *link) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.expired:
		return 0, os.ErrDeadlineExceeded
	case c.headed:
		c.body(p)
		return len(p), nil
	}
	c.in = append(c.in, p...)
	n, bad := c.scan.ScanRequest(c.in, &c.network.limit)
	if bad != nil {
		return 0, syscall.ECONNRESET
	}
	if n == 0 {
		return len(p), nil
	}
	if !c.begin(string(c.in[:n])) {
		return 0, syscall.ECONNRESET
	}
	c.body(c.in[n:])
	return len(p), nil
}

// begin notes the head of a request.
func (c *link) begin(head string) bool {
	n := c.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.got.head.Parse(head, &c.scan, &n.limit) != nil {
		return false
	}
	n.got.attempts, n.got.body = n.got.attempts+1, n.got.body[:0]
	c.headed, c.left = true, n.got.head.Length
	return true
}

// body notes a piece of the body, and makes the answer at its end.
func (c *link) body(p []byte) {
	n := c.network
	n.mu.Lock()
	n.got.body = append(n.got.body, p[:min(len(p), keptBody-len(n.got.body))]...)
	if to := (answerTo{c.stub, n.got.head.Method}); to != n.answerTo {
		n.answer, n.answerTo = answerOf(to.stub, to.method), to
	}
	answer := n.answer
	n.mu.Unlock()
	if c.left -= int64(len(p)); c.left > 0 || c.whole {
		return
	}
	c.whole, c.out = true, answer
	c.changed.Broadcast()
}

// answerOf writes what a server answers, as it goes over the wire.
func answerOf(stub *v1.TestUpstream, method string) []byte {
	if stub.Fails != "" {
		return nil
	}
	status := int(*stub.Status)
	out := http1.AppendStatusLine(make([]byte, 0, 256), status)
	for _, name := range sortedKeys(stub.Headers) {
		out = http1.AppendField(out, name, stub.Headers[name])
	}
	if status != 204 && status != 304 {
		out = http1.AppendField(out, "Content-Length", strconv.Itoa(len(stub.Body)))
	}
	out = http1.AppendField(out, "Connection", "close")
	out = append(out, '\r', '\n')
	if method != "HEAD" && status != 204 && status != 304 {
		out = append(out, stub.Body...)
	}
	return out
}

// Read implements net.Conn: it waits for the end of the request, and gives out the answer.
func (c *link) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.whole && !c.expired && !c.closed {
		c.changed.Wait()
	}
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.expired, c.stub.Fails == "timeout":
		return 0, os.ErrDeadlineExceeded
	case c.stub.Fails == "reset":
		return 0, syscall.ECONNRESET
	case len(c.out) == 0:
		return 0, io.EOF
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// Close implements net.Conn.
func (c *link) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.changed.Broadcast()
	return nil
}

// SetDeadline implements net.Conn. Time stands still here: the one deadline that can pass is one that has, which is how an exchange is
// interrupted.
func (c *link) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired = !t.IsZero() && !t.After(time.Now())
	c.changed.Broadcast()
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *link) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *link) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

// LocalAddr implements net.Conn.
func (*link) LocalAddr() net.Addr { return nowhere{} }

// RemoteAddr implements net.Conn.
func (*link) RemoteAddr() net.Addr { return nowhere{} }

// nowhere is an address.
type nowhere struct{}

// Network implements net.Addr.
func (nowhere) Network() string { return "offline" }

// String implements net.Addr.
func (nowhere) String() string { return "offline" }

// filler is a request body: a text, or so many bytes. It implements httpmsg.BufferedBody.
type filler struct {
	text   string
	left   int64 // of what is no text
	closed atomic.Bool
}

var _ httpmsg.BufferedBody = (*filler)(nil)

// Read implements io.Reader.
func (f *filler) Read(p []byte) (int, error) {
	if f.closed.Load() {
		return 0, net.ErrClosed
	}
	if f.text != "" {
		n := copy(p, f.text)
		f.text = f.text[n:]
		return n, nil
	}
	if f.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), f.left))
	for i := range p[:n] {
		p[i] = 'x'
	}
	f.left -= int64(n)
	return n, nil
}

// ReadBuffered implements httpmsg.BufferedBody: all of it has arrived.
func (f *filler) ReadBuffered(p []byte) (int, error) { return f.Read(p) }

// Close implements io.Closer. Somebody may be reading.
func (f *filler) Close() error {
	f.closed.Store(true)
	return nil
}
