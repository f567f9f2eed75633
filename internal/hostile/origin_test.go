package hostile_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// origin is an upstream that keeps every byte it gets, and answers as its scripts say.
type origin struct {
	addr    string
	scripts func(path string) script // nil: it is answered 200

	mu    sync.Mutex
	bytes int
	seen  []*exchange
}

// script answers a request whose head was read, and reports whether another one may follow.
type script func(c net.Conn, in *bufio.Reader) bool

// link is a connection as the origin counts what comes over it.
type link struct {
	net.Conn
	o *origin
}

// exchange is one request as it came.
type exchange struct {
	line, head string // the line without the version
	trailer    string
	body       int // bytes, without chunk sizes
	whole      bool
	over       bool // it is whole, or its connection has ended
}

// Read implements net.Conn.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	l.o.bytes += n
	return n, err
}

func newOrigin(t *testing.T, scripts func(path string) script) *origin {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{addr: l.Addr().String(), scripts: scripts}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			served.Go(func() {
				defer stop()
				defer func() { _ = c.Close() }()
				o.serve(&link{c, o})
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); served.Wait() })
	return o
}

// serve answers requests until one is not whole.
func (o *origin) serve(c *link) {
	in := bufio.NewReader(c)
	for {
		var head strings.Builder
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
			head.WriteString(line)
		}
		x := &exchange{head: head.String()}
		x.line, _, _ = strings.Cut(x.head, " HTTP/1.1\r\n")
		o.mu.Lock()
		o.seen = append(o.seen, x)
		o.mu.Unlock()
		path := x.line[strings.IndexByte(x.line, ' ')+1:]
		if o.scripts != nil {
			if answer := o.scripts(path); answer != nil {
				whole := answer(c, in)
				o.end(x, whole)
				if !whole {
					return
				}
				continue
			}
		}
		err := o.body(in, x)
		o.end(x, err == nil)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Line: %s\r\n\r\n%s", 2, x.line[:min(len(x.line), 100)], "ok"); err != nil {
			return
		}
	}
}

func (o *origin) end(x *exchange, whole bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x.whole, x.over = whole, true
}

// body reads what follows the head.
func (o *origin) body(in *bufio.Reader, x *exchange) error {
	if n, found := field(x.head, "Content-Length"); found {
		length, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			return err
		}
		got, err := io.CopyN(io.Discard, in, length)
		x.body = int(got)
		return err
	}
	if _, found := field(x.head, "Transfer-Encoding"); !found {
		return nil
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 64)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if _, err := io.CopyN(io.Discard, in, size+2); err != nil {
			return err
		}
		x.body += int(size)
	}
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			return err
		}
		x.trailer += line
	}
	return nil
}

// field is the value of the first such field of a head.
func field(head, name string) (string, bool) {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, value, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// mark is a moment in what an origin saw.
type mark struct{ bytes, requests int }

func (o *origin) mark() mark {
	o.mu.Lock()
	defer o.mu.Unlock()
	return mark{o.bytes, len(o.seen)}
}

// since waits until the requests that began after m are over, and returns them with the number of bytes that came.
func (o *origin) since(t *testing.T, m mark) (seen []exchange, bytes int) {
	t.Helper()
	testkit.Eventually(t, "what reached the upstream is over", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		seen, bytes = nil, o.bytes-m.bytes
		for _, x := range o.seen[m.requests:] {
			if !x.over {
				return false
			}
			seen = append(seen, *x)
		}
		return true
	})
	return seen, bytes
}

// lines are the requests as tables write them; one whose end never came is "cut".
func lines(seen []exchange) string {
	out := make([]string, len(seen))
	for i, x := range seen {
		if out[i] = x.line; !x.whole {
			out[i] += " (cut)"
		}
	}
	return strings.Join(out, "; ")
}
