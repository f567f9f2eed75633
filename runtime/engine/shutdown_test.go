package engine

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

type ok struct{}

func (ok) Serve(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
	_ = w.Header(http.StatusOK, nil, 0)
}

// A connection that waits when the server stops may carry one more request, and learns that it was the last: whoever sends at
// that moment must not be left without an answer. Stop and drain are called by themselves, for there is no telling how long
// the client takes.
func TestStopTakesTheRequestOnItsWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := New(ok{}, Settings{
		Limits:   ir.Limits{HeaderBytes: 32 << 10, HeaderFields: 100, URLBytes: 8 << 10},
		Timeouts: ir.Timeouts{ReadHeader: 30_000, BodyIdle: 30_000, KeepAlive: 30_000},
	}, Hooks{})
	defer srv.Close()
	done := make(chan error, 1)
	go func() { done <- srv.Serve(Listener{Listener: l}) }()

	active, idle := dial(t, l), dial(t, l)
	for _, c := range []*client{active, idle} {
		if c.request(t).Close {
			t.Fatal("the first response ends the connection")
		}
	}
	srv.stop()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
	if resp := active.request(t); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("the last request is answered %d, close %v; want 200 and the end of the connection", resp.StatusCode, resp.Close)
	}
	active.ended(t)
	srv.drain()
	idle.ended(t)
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// Without connections there is nothing to wait for.
func TestShutdownOfAnIdleServer(t *testing.T) {
	srv := New(ok{}, Settings{}, Hooks{})
	srv.stop()
	select {
	case <-srv.empty:
	default:
		t.Error("a server that serves nobody waits for somebody")
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, l net.Listener) *client {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, bufio.NewReader(c)}
}

func (c *client) request(t *testing.T) *http.Response {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // it is empty
	return resp
}

func (c *client) ended(t *testing.T) {
	t.Helper()
	if n, err := c.r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v, want EOF", n, err)
	}
}
