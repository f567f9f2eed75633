package redisstate

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wire passes bytes between a client and a server, until a test has it fail.
type wire struct {
	addr string
	to   atomic.Pointer[string] // the server
	deaf atomic.Bool            // what the server says on a connection that has subscribed is lost
	cut  atomic.Bool            // a connection ends when the server answers a script
}

func newWire(tb testing.TB) *wire {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	w := &wire{addr: l.Addr().String()}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	tb.Cleanup(func() {
		stop()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.pass(ctx, client) })
		}
	})
	return w
}

func (w *wire) pass(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", *w.to.Load())
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	var subscribed, asked atomic.Bool
	go relay(client, server, func(p []byte) bool {
		if bytes.Contains(p, []byte("subscribe")) {
			subscribed.Store(true)
		}
		if bytes.Contains(p, []byte("evalsha")) {
			asked.Store(true)
		}
		return true
	})
	relay(server, client, func([]byte) bool {
		if asked.Load() && w.cut.Load() {
			_ = server.Close()
			return false
		}
		return !subscribed.Load() || !w.deaf.Load()
	})
}

// relay copies until one side is closed, what may pass.
func relay(from, to net.Conn, may func([]byte) bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !may(buf[:n]) {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
