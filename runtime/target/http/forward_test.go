package httptarget_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	httptarget "github.com/suuupra/gateway/runtime/target/http"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestForwardsOneRequest(t *testing.T) {
	heads := make(chan string, 8)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for {
			h := o.head(r)
			if h == "" {
				return
			}
			heads <- h
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Up: 1\r\nKeep-Alive: timeout=5\r\nConnection: x-private\r\nX-Private: 1\r\n\r\nok")
		}
	})
	o := defaults(up.addr)
	o.plan = httptarget.Plan{PathPrefix: "/v1"}
	p := startProxy(t, o)
	c := dial(t, p.addr)
	for range 3 {
		c.send("GET /a/b?x=%2F&y HTTP/1.1\r\nHost: Example.com:8080\r\nAccept: */*\r\nConnection: x-mine, keep-alive\r\nX-Mine: 1\r\n" +
			"Proxy-Authorization: secret\r\nTE: trailers\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nx_under: 1\r\n\r\n")
		got := c.head() + c.exactly(2)
		contains(t, got, "HTTP/1.1 200 OK\r\n", "X-Up: 1\r\n", "Content-Length: 2\r\n", "Date: ", "\r\n\r\nok")
		lacks(t, got, "x-private", "keep-alive", "connection:")
		h := <-heads
		contains(t, h, "GET /v1/a/b?x=%2F&y HTTP/1.1\r\nHost: Example.com:8080\r\n", "Accept: */*\r\n", "x_under: 1\r\n",
			"TE: trailers\r\nConnection: TE\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n",
			"X-Forwarded-Host: Example.com:8080\r\n", "X-Forwarded-Port: 8080\r\n", `Forwarded: for=127.0.0.1;host="Example.com:8080";proto=http`, "X-Request-Id: ")
		lacks(t, h, "x-mine", "secret", "6.6.6.6")
	}
	if n := up.conns.Load(); n != 1 {
		t.Errorf("%d upstream connections for 3 requests", n)
	}
}

func TestTrustedProxyIsContinued(t *testing.T) {
	heads := make(chan string, 1)
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		heads <- o.head(r)
		_, _ = io.WriteString(c, ok)
	})
	o := defaults(up.addr)
	o.trusted = []string{"127.0.0.0/8"}
	p := startProxy(t, o)
	c := dial(t, p.addr)
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 444\r\n" +
		"X-Real-IP: 9.9.9.9\r\nForwarded: for=8.8.8.8\r\nX-Request-Id: abc-1\r\n\r\n")
	c.head()
	contains(t, <-heads, "X-Forwarded-For: 9.9.9.9, 8.8.8.8, 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n", "X-Forwarded-Port: 444\r\n",
		"X-Forwarded-Host: h\r\n", `Forwarded: for=8.8.8.8, for=127.0.0.1;host="h";proto=http`, "X-Request-Id: abc-1\r\n", "X-Real-IP: 9.9.9.9\r\n")
}

func TestBodies(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) { // answers with what it got, framing included
		h := o.head(r)
		var body string
		if strings.Contains(h, "chunked") {
			for !strings.HasSuffix(body, "0\r\n\r\n") {
				b, err := r.ReadByte()
				if err != nil {
					return
				}
				body += string(b)
			}
		} else if _, after, found := strings.Cut(h, "Content-Length: "); found {
			var n int
			_, _ = fmt.Sscanf(after, "%d", &n)
			b := make([]byte, n)
			_, _ = io.ReadFull(r, b)
			body = string(b)
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	})
	p := startProxy(t, defaults(up.addr))
	for _, tt := range []struct{ name, request, want string }{
		{"length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		{"empty post", "POST / HTTP/1.1\r\nHost: h\r\n\r\n", ""},
		{"chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "b\r\nhello world\r\n0\r\n\r\n"},
		{"long", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), strings.Repeat("x", 100000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, p.addr)
			c.send(tt.request)
			c.head()
			if got := c.exactly(len(tt.want)); got != tt.want {
				t.Errorf("got %.100q", got)
			}
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") // the connection goes on
			contains(t, c.head(), "200 OK")
		})
	}
}
