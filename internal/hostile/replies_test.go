package hostile_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

// replyInput is a Redis that answers every command with the same, whatever it is.
type replyInput struct {
	name, text string
	heard      bool // it is also said to who listens for changes of keys
}

func (replyInput) outcome() outcome { return refused }

var replyInputs = []replyInput{
	{name: "an error", text: "-ERR no\r\n"},
	{name: "LOADING", text: "-LOADING Redis is loading the dataset in memory\r\n"},
	{name: "BUSY", text: "-BUSY Redis is busy running a script\r\n"},
	{name: "MOVED", text: "-MOVED 1 127.0.0.1:1\r\n"},
	{name: "ASK", text: "-ASK 1 127.0.0.1:1\r\n"},
	{name: "NOSCRIPT, always", text: "-NOSCRIPT No matching script\r\n"},
	{name: "NOAUTH", text: "-NOAUTH Authentication required.\r\n"},
	{name: "OK", text: "+OK\r\n"},
	{name: "one", text: ":1\r\n"},
	{name: "nothing", text: "$-1\r\n"},
	{name: "no list", text: "*-1\r\n"},
	{name: "empty list", text: "*0\r\n"},
	{name: "list of one", text: "*1\r\n:1\r\n"},
	{name: "list of three", text: "*3\r\n:1\r\n:1\r\n:1\r\n"},
	{name: "list of texts", text: "*2\r\n$1\r\nx\r\n$1\r\ny\r\n"},
	{name: "lists in lists", text: strings.Repeat("*1\r\n", 1000) + ":1\r\n"},
	{name: "number too large", text: "*2\r\n:99999999999999999999\r\n:1\r\n"},
	{name: "HTTP", text: "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"},
	{name: "bytes", text: "\x00\xff\x00\xff\r\n"},
	{name: "text longer than memory", text: "$2147483647\r\nx"},
	{name: "text of a negative length", text: "$-5\r\n"},
	{name: "list of a negative length", text: "*-5\r\n"},
	{name: "half a reply", text: "*2\r\n:1\r\n"},
	{name: "line without end", text: "+" + strings.Repeat("x", 1<<16)},
	{name: "text of 10^15 bytes", text: "$1000000000000000\r\nx", heard: true},
	{name: "list of 10^15", text: "*1000000000000000\r\n:1\r\n", heard: true},
	{name: "list longer than memory", text: "*2147483647\r\n:1\r\n", heard: true},
}

// liar stands between a gateway and Redis, and passes on what they say until it is told to answer itself.
type liar struct {
	addr string
	lie  atomic.Pointer[string] // nil: it passes on
	told atomic.Int64           // how often who listens for changes was lied to
}

func newLiar(t *testing.T, redis string) *liar {
	t.Helper()
	in, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{addr: in.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", redis)
			if err != nil {
				_ = c.Close()
				continue
			}
			serving.Go(func() { _, _ = io.Copy(c, out); _ = c.Close() })
			serving.Go(func() { l.pass(c, out); _, _ = c.Close(), out.Close() })
		}
	})
	t.Cleanup(func() { _ = in.Close(); serving.Wait() })
	return l
}

// pass passes on what the gateway says. A connection that was lied on is no good afterwards.
func (l *liar) pass(c, out net.Conn) {
	lied := false
	for buf := make([]byte, 64<<10); ; {
		n, err := c.Read(buf)
		lie := l.lie.Load()
		switch {
		case err != nil, lie == nil && lied:
			return
		case lie != nil:
			if lied = true; bytes.Contains(buf[:n], []byte("ping")) {
				l.told.Add(1)
			}
			_, err = io.WriteString(c, *lie)
		default:
			_, err = out.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// TestReplies has somebody answer in Redis' place. Nobody is counted by it, and nobody let in.
func TestReplies(t *testing.T) {
	t.Parallel()
	redis := testkit.Redis(t)
	l := newLiar(t, redis.Addr)
	f := newFaults(t, "redis://"+l.addr)
	f.calm(t)
	f.makeKeys(t)
	for _, in := range replyInputs {
		t.Run(in.name, func(t *testing.T) {
			testkit.Eventually(t, "changes of keys are listened for", func() bool {
				return !in.heard || redis.Do("CLIENT", "LIST", "TYPE", "pubsub") != "$0"
			})
			told := l.told.Load()
			l.lie.Store(&in.text)
			defer l.lie.Store(nil)
			// No more questions than make the gateway ask no more.
			tenant := rand.Text()
			wants(t, "closed", f.asks(t, "closed", tenant, 1), map[string]int{limitAway: 1})
			wants(t, "local", f.asks(t, "local", tenant, 1), map[string]int{"200": 1})
			if got := f.with(t, f.fresh); got != keysAway && got != badKey {
				t.Errorf("a key that was never used: %q", got)
			}
			if got := f.token(t, f.good()); got != unchecked && got != replayed && (got != "200" || in.text != "+OK\r\n") {
				t.Errorf("a token that is good once: %q", got)
			}
			if in.heard {
				testkit.Eventually(t, "it is also said to who listens", func() bool { return l.told.Load() > told })
			}
			l.lie.Store(nil)
			f.calm(t)
			f.makeKeys(t)
		})
	}
	f.exact(t)
}
