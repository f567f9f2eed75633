package httptarget_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// TestManyClientsThatBehaveDifferently mixes short and long exchanges, uploads, and clients that leave anywhere. Every answer
// must be the one to its own request, and afterwards nothing may be left over.
func TestManyClientsThatBehaveDifferently(t *testing.T) {
	up := startOrigin(t, func(_ *origin, c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, req.Body)
			if err != nil {
				return
			}
			answer := fmt.Sprintf("%s %d %s", req.URL.Path, n, strings.Repeat("x", rand.IntN(9000)))
			head := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(answer), answer)
			if rand.IntN(2) == 0 {
				head = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(answer), answer)
			}
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head); err != nil {
				return
			}
			if rand.IntN(50) == 0 { // closes a connection the pool may just have taken back
				return
			}
		}
	})
	o := defaults(up.addr)
	p := startProxy(t, o)
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for id := range 16 {
		wg.Go(func() {
			for round := range 12 {
				if !client16(t, p.addr, id, round) {
					return
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "no exchange and no client connection left", func() bool { s := p.srv.Stats(); return s.Active == 0 && s.Open == 0 })
	eventually(t, "no upstream connection in use", func() bool { return p.pool.Gauges(nil).Requests == 0 })
	idle := int(p.pool.Gauges(nil).Idle) // each has its goroutine in the origin
	eventually(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= before+idle+2 })
}

// client16 runs some requests on one connection, and leaves at a random point of the last.
func client16(t *testing.T, addr string, id, round int) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return false
	}
	defer c.Close() //nolint:errcheck // a test's connection
	r := bufio.NewReader(c)
	for i := range 6 {
		path := fmt.Sprintf("/%d/%d/%d", id, round, i)
		size := rand.IntN(40000)
		var request string
		switch rand.IntN(3) {
		case 0:
			size = 0
			request = fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
		case 1:
			request = fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, size, strings.Repeat("u", size))
		default:
			size++
			request = fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", path, size, strings.Repeat("u", size))
		}
		if i == 5 {
			_, _ = io.WriteString(c, request[:rand.IntN(len(request))])
			return true
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Error(err)
			return false
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return false
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode == 502 && strings.HasPrefix(request, "PUT") && size > 16<<10 {
			return true // a long upload on a connection that the origin had just closed cannot be repeated
		}
		if want := fmt.Sprintf("%s %d ", path, size); err != nil || !strings.HasPrefix(string(body), want) {
			t.Errorf("%s: status %d, %v, %.60q", path, resp.StatusCode, err, body)
			return false
		}
	}
	return true
}
