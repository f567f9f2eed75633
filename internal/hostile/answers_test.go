package hostile_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// answer is what an upstream says that wants its client, or the client behind the gateway, to read something else than it should.
type answer struct {
	name, bytes string
	method      string // GET if empty
	want        string // what the client gets: "502 upstream_bad_response", or "broken" for a response without end
	is          outcome
	body        string // of a response that is taken
	reused      bool   // nothing speaks against the upstream's connection
}

const (
	badResponse = "502 upstream_bad_response"
	ok          = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	evil        = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
)

var answers = []answer{
	{name: "length and coding", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", want: badResponse},
	{name: "coding and length", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", want: badResponse},
	{name: "two equal lengths", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", want: badResponse},
	{name: "two lengths", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nok", want: badResponse},
	{name: "length +2", bytes: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", want: badResponse},
	{name: "coding gzip, chunked", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", want: badResponse},
	{name: "coding on HTTP/1.0", bytes: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", want: badResponse},
	{name: "bare CR splits a field", bytes: "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", want: badResponse},
	{name: "bare LF", bytes: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", want: badResponse},
	{name: "NUL in a value", bytes: "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", want: badResponse},
	{name: "fold", bytes: "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", want: badResponse},
	{name: "space before colon", bytes: "HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nevil", want: badResponse},
	{name: "no status line", bytes: "HELLO\r\n\r\n", want: badResponse},
	{name: "status 99", bytes: "HTTP/1.1 099 OK\r\n\r\n", want: badResponse},
	{name: "HTTP/2 in the status line", bytes: "HTTP/2.0 200 OK\r\n\r\n", want: badResponse},
	{name: "101 unasked", bytes: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + evil, want: badResponse},
	{name: "flood of 1xx", bytes: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000) + ok, want: badResponse},
	{name: "flood of 100", bytes: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000) + ok, want: badResponse},
	{name: "head without end", bytes: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), want: badResponse},
	{name: "10,000 fields", bytes: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 10_000) + "\r\n", want: badResponse},
	{name: "end within the head", bytes: "HTTP/1.1 200 OK\r\nX: ", want: "502 upstream_reset"},
	{name: "end at once", bytes: "", want: "502 upstream_reset"},
	{name: "bad chunk size", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", want: "broken"},
	{name: "chunk extension", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n", want: "broken"},
	{name: "chunk longer than its size", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n", want: "broken"},
	{name: "end within a length", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nok", want: "broken"},
	{name: "end before the last chunk", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", want: "broken"},
	{name: "second response behind the first", bytes: ok + evil, is: normal, want: "200", body: "ok"},
	{name: "body behind 204", bytes: "HTTP/1.1 204 No Content\r\nContent-Length: 41\r\n\r\n" + evil, is: normal, want: "204"},
	{name: "chunks behind 204", bytes: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", is: normal, want: "204"},
	{name: "body behind 304", bytes: "HTTP/1.1 304 Not Modified\r\nContent-Length: 41\r\n\r\n" + evil, is: normal, want: "304"},
	{name: "body behind HEAD", method: "HEAD", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n" + evil, is: normal, want: "200"},
	{name: "Connection names Content-Length", bytes: "HTTP/1.1 200 OK\r\nConnection: Content-Length, X\r\nX: y\r\nContent-Length: 2\r\n\r\nok" + evil, is: normal, want: "200", body: "ok"},
	{name: "forbidden trailer", bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 4\r\nSet-Cookie: a\r\n\r\n", is: normal, want: "200", body: "ok", reused: true},
	{name: "reply before the request ends", method: "POST", bytes: ok + evil, is: normal, want: "200", body: "ok"},
}

// TestAnswers has the upstream say each, and asks for something else on the same connection, and on another: neither may get what
// belongs to the first.
func TestAnswers(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", func(path string) script {
		for _, a := range answers {
			if path == "/answer/"+slug(a.name) {
				return func(c net.Conn, _ *bufio.Reader) bool {
					_, _ = io.WriteString(c, a.bytes)
					if a.reused {
						return true
					}
					if half, can := c.(*link).Conn.(*net.TCPConn); can && strings.HasPrefix(a.name, "end") {
						_ = half.CloseWrite()
					}
					_, _ = io.Copy(io.Discard, c) // until the gateway hangs up
					return false
				}
			}
		}
		return nil
	})
	for _, tt := range answers {
		path := "/answer/" + slug(tt.name)
		method := "GET"
		if tt.method != "" {
			method = tt.method
		}
		for _, carrier := range carriers {
			t.Run(tt.name+" by HTTP/1.1 "+carrier, func(t *testing.T) {
				c := g.dial(t, carrier, "http/1.1")
				c.ask(t, &tt, method, path)
				before := g.moment()
				g.judge(t, before, "", "")
			})
			t.Run(tt.name+" by HTTP/2 "+carrier, func(t *testing.T) {
				f := g.speak(t, carrier)
				h := asks(path)
				h[1] = method
				if err := f.headers(1, h, method != "POST"); err != nil {
					t.Fatal(err)
				}
				f.until(t, func() bool { return f.streams[1] != nil && f.streams[1].ended })
				got := f.streams[1].String()
				if strings.HasPrefix(got, "RST") {
					got = "broken"
				}
				if got != tt.want || tt.is == normal && f.streams[1].body.String() != tt.body {
					t.Errorf("got %q %q, want %q", got, f.streams[1].body.String(), tt.want)
				}
				if next := f.ask(t, 3, asks("/next")); next.String() != "200" || next.body.String() != "ok" {
					t.Errorf("the next request got %q %q", next, next.body.String())
				}
				before := g.moment()
				g.judge(t, before, "", "")
			})
		}
	}
}

func slug(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// ask sends a request that the upstream answers, and another one.
func (c *client) ask(t *testing.T, a *answer, method, path string) {
	t.Helper()
	first := method + " " + path + " HTTP/1.1\r\nHost: h\r\n\r\n"
	if method == "POST" {
		first = method + " " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nx" // and no more
	}
	_, _ = io.WriteString(c, first+tail)
	status, body, err := c.response(method)
	if err != nil && status != "" {
		status = "broken"
	}
	if status != a.want || a.is == normal && body != a.body {
		t.Errorf("got %q %q, %v, want %q", status, body, err, a.want)
	}
	if rest, err := c.answers(); method == "POST" || a.want == "broken" {
		if rest != "" || err != nil {
			t.Errorf("the connection went on with %q, %v", rest, err)
		}
	} else if rest != "200" || err != nil {
		t.Errorf("the next request got %q, %v", rest, err)
	}
}
