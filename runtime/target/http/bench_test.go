package httptarget_test

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkProxy is one keep-alive request with a 256-byte reply through the whole loop: client, engine, target, upstream. The
// client and the upstream are part of the time, but allocate nothing per request.
func BenchmarkProxy(b *testing.B) {
	response := "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 256\r\n\r\n" + strings.Repeat("x", 256)
	p := startProxy(b, defaults(startOrigin(b, benchOrigin([]byte(response))).addr))
	c := dial(b, p.addr)
	request := []byte("GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	buf := make([]byte, 4096)
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if size == 0 { // the first answer tells how long each is
			size = len(c.head()) + 256
			c.exactly(256)
			continue
		}
		if _, err := io.ReadFull(c.r, buf[:size]); err != nil {
			b.Fatal(err)
		}
	}
}
