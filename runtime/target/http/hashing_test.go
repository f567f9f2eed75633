package httptarget_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// TestHashing sends the requests of one key to one endpoint.
func TestHashing(t *testing.T) {
	var addrs []string
	for range 5 {
		name := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", len(addrs))
		addrs = append(addrs, startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
			for o.head(r) != "" {
				_, _ = io.WriteString(c, name)
			}
		}).addr)
	}
	for _, tt := range []struct {
		name    string
		on      ir.HashPart
		request string // with a place for the key
	}{
		{"header", ir.HashPart{Header: "x-user"}, "GET / HTTP/1.1\r\nHost: h\r\nX-User: %s\r\n\r\n"},
		{"cookie", ir.HashPart{Cookie: "sid"}, "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; sid=%s\r\nCookie: x=y\r\n\r\n"},
		{"query", ir.HashPart{Query: "q"}, "GET /?p=1&q=%s HTTP/1.1\r\nHost: h\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := defaults(addrs...)
			o.upstream.Balance = &ir.Balance{Strategy: ir.BalanceMaglev, HashOn: []ir.HashPart{tt.on}}
			p := startProxy(t, o)
			used := map[string]bool{}
			for key := range 40 {
				first := ""
				for range 3 {
					c := dial(t, p.addr)
					c.send(fmt.Sprintf(tt.request, fmt.Sprint("user", key)))
					c.head()
					got := c.exactly(1)
					_ = c.Close()
					if first == "" {
						first = got
					}
					if got != first {
						t.Fatalf("key %d went to %s and %s", key, first, got)
					}
				}
				used[first] = true
			}
			if len(used) != 5 {
				t.Errorf("40 keys used %d of 5 endpoints", len(used))
			}
		})
	}
}
