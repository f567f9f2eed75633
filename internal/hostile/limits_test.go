package hostile_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// size is an input at a limit of the gateway, or one more. The limits are the defaults.
type size struct {
	name   string
	head   string // HTTP/1.1: request line and fields, without the empty line
	body   int    // bytes
	chunks bool   // of unknown length
	answer string
	is     outcome
	cut    bool   // the upstream gets a beginning, or nothing: the size shows only as it comes
	http2  string // the answer over HTTP/2, if it differs
}

const (
	headerTooLarge = "431 header_too_large"
	tooManyFields  = "431 too_many_fields"
	targetTooLong  = "414 target_too_long"
	bodyTooLarge   = "413 body_too_large"
	mebibyte       = 1 << 20
)

// filled is a head of n bytes with its empty line.
func filled(n int) string {
	const head = "GET /x HTTP/1.1\r\nHost: h\r\nX: "
	return head + strings.Repeat("x", n-len(head)-len("\r\n\r\n"))
}

var sizes = []size{
	{name: "header of 32 KiB - 1", is: bounded, head: filled(32<<10 - 1), answer: "200"},
	{name: "header of 32 KiB", is: bounded, head: filled(32 << 10), answer: "200"},
	{name: "header of 32 KiB + 1", head: filled(32<<10 + 1), answer: headerTooLarge},
	{name: "header of 33 KiB", head: filled(33 << 10), answer: headerTooLarge},
	{name: "header of 1 MiB", head: filled(mebibyte), answer: headerTooLarge, http2: "GOAWAY COMPRESSION_ERROR"},
	{name: "99 fields", is: bounded, head: "GET /x HTTP/1.1\r\nHost: h" + strings.Repeat("\r\nA: b", 98), answer: "200"},
	{name: "100 fields", is: bounded, head: "GET /x HTTP/1.1\r\nHost: h" + strings.Repeat("\r\nA: b", 99), answer: "200"},
	{name: "101 fields", head: "GET /x HTTP/1.1\r\nHost: h" + strings.Repeat("\r\nA: b", 100), answer: tooManyFields},
	{name: "10,000 fields", head: "GET /x HTTP/1.1\r\nHost: h" + strings.Repeat("\r\nA: b", 9999), answer: tooManyFields, http2: "431"},
	{name: "target of 8 KiB - 1", is: bounded, head: "GET /" + strings.Repeat("a", 8<<10-2) + " HTTP/1.1\r\nHost: h", answer: "200"},
	{name: "target of 8 KiB", is: bounded, head: "GET /" + strings.Repeat("a", 8<<10-1) + " HTTP/1.1\r\nHost: h", answer: "200"},
	{name: "target of 8 KiB + 1", head: "GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: h", answer: targetTooLong},
	{name: "target of 64 KiB", head: "GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: h", answer: targetTooLong, http2: headerTooLarge},
	{name: "4,000 query parameters", is: bounded, head: "GET /x?" + strings.Repeat("a&", 4000) + " HTTP/1.1\r\nHost: h", answer: "200"},
	{name: "10,000 query parameters", head: "GET /x?" + strings.Repeat("a&", 10_000) + " HTTP/1.1\r\nHost: h", answer: targetTooLong},
	{name: "5,000 cookies in a field", is: bounded, head: "GET /x HTTP/1.1\r\nHost: h\r\nCookie: " + strings.Repeat("a=b; ", 5000) + "a=b", answer: "200"},
	{name: "1,000,000 cookies in a field", head: "GET /x HTTP/1.1\r\nHost: h\r\nCookie: " + strings.Repeat("a=b; ", 1_000_000) + "a=b", answer: headerTooLarge, http2: "GOAWAY COMPRESSION_ERROR"},
	{name: "body of 10 MiB - 1", is: bounded, head: "POST /x HTTP/1.1\r\nHost: h", body: 10*mebibyte - 1, answer: "200"},
	{name: "body of 10 MiB", is: bounded, head: "POST /x HTTP/1.1\r\nHost: h", body: 10 * mebibyte, answer: "200"},
	{name: "body of 10 MiB + 1", head: "POST /x HTTP/1.1\r\nHost: h", body: 10*mebibyte + 1, answer: bodyTooLarge},
	{name: "body of unknown length, 10 MiB - 1", is: bounded, head: "POST /x HTTP/1.1\r\nHost: h", body: 10*mebibyte - 1, chunks: true, answer: "200"},
	{name: "body of unknown length, 10 MiB", is: bounded, head: "POST /x HTTP/1.1\r\nHost: h", body: 10 * mebibyte, chunks: true, answer: "200"},
	{name: "body of unknown length, 10 MiB + 1", head: "POST /x HTTP/1.1\r\nHost: h", body: 10*mebibyte + 1, chunks: true, answer: bodyTooLarge, cut: true},
	{name: "trailer of 33 KiB", head: "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + strings.Repeat("a", 33<<10), answer: headerTooLarge, cut: true},
	{name: "trailer of 101 fields", head: "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0" + strings.Repeat("\r\nA: b", 102), answer: tooManyFields, cut: true},
}

// line is the request line without the version.
func (s *size) line() string {
	line, _, _ := strings.Cut(s.head, " HTTP/1.1")
	return line
}

// reaches is what the upstream gets.
func (s *size) reaches() string {
	switch {
	case s.cut:
		return s.line() + " (cut)?"
	case s.is == refused:
		return ""
	}
	return s.line()
}

func (s *size) send(w io.Writer) {
	text := s.head
	const piece = 16 << 10
	switch {
	case s.body > 0 && s.chunks:
		text += "\r\nTransfer-Encoding: chunked"
	case s.body > 0:
		text += fmt.Sprintf("\r\nContent-Length: %d", s.body)
	}
	if _, err := io.WriteString(w, text+"\r\n\r\n"); err != nil {
		return
	}
	zeros := strings.Repeat("0", piece)
	for left := s.body; left > 0; left -= piece {
		p := zeros[:min(left, piece)]
		if s.chunks {
			p = fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
		}
		if _, err := io.WriteString(w, p); err != nil {
			return
		}
	}
	if s.chunks {
		_, _ = io.WriteString(w, "0\r\n\r\n")
	}
	_, _ = io.WriteString(w, tail)
}

// TestSizes holds the default limits: what is as large passes, what is larger by one does not.
func TestSizes(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", nil)
	for _, tt := range sizes {
		for _, carrier := range carriers {
			t.Run(tt.name+" by HTTP/1.1 "+carrier, func(t *testing.T) {
				before := g.moment()
				c := g.dial(t, carrier, "http/1.1")
				go tt.send(c)
				want, reaches := tt.answer, tt.reaches()
				if tt.is == bounded {
					want, reaches = want+"; 200", reaches+"; GET /tail"
				}
				if got, err := c.answers(); got != want || err != nil {
					t.Errorf("answered %q, %v, want %q", got, err, want)
				}
				for _, x := range g.judge(t, before, reaches, "") {
					if tt.is == bounded && x.line != "GET /tail" && x.body != tt.body {
						t.Errorf("the upstream got %d bytes of body", x.body)
					}
				}
			})
		}
	}
}

// TestSizes2 sends the same over HTTP/2, where lengths count as they would over HTTP/1.1.
func TestSizes2(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", nil)
	for _, tt := range sizes {
		if strings.Contains(tt.name, "trailer") {
			continue // they have a bound of their own
		}
		for _, carrier := range carriers {
			t.Run(tt.name+" by HTTP/2 "+carrier, func(t *testing.T) {
				before := g.moment()
				f := g.speak(t, carrier)
				tt.send2(t, f)
				want := tt.answer
				if tt.http2 != "" {
					want = tt.http2 // what is far beyond the limits is refused before it is a request
				}
				if got := f.result(1); got != want {
					t.Errorf("answered %q, want %q", got, want)
				}
				g.judge(t, before, tt.reaches(), "")
			})
		}
	}
}

// send2 sends it as a stream, as far as the gateway wants it, and waits for its end.
func (s *size) send2(t *testing.T, f *frames) {
	t.Helper()
	start, rest, _ := strings.Cut(s.head, "\r\n")
	words := strings.Fields(start)
	h := fields{":method", words[0], ":scheme", "http", ":authority", "h", ":path", words[1]}
	for line := range strings.SplitSeq(rest, "\r\n") {
		if name, value, _ := strings.Cut(line, ": "); name != "Host" {
			h = append(h, strings.ToLower(name), value)
		}
	}
	if s.body > 0 && !s.chunks {
		h = append(h, "content-length", itoa(s.body))
	}
	over := func() bool { return f.goaway != "" || f.streams[1] != nil && f.streams[1].ended }
	if f.headers(1, h, s.body == 0) != nil { // it is ended while we write
		f.untilGone(t)
		return
	}
	left, zeros := s.body, make([]byte, 16<<10)
	for left > 0 && !over() {
		n := min(left, len(zeros), f.windows.stream, f.windows.conn)
		if n == 0 {
			f.until(t, func() bool { return over() || f.windows.stream > 0 && f.windows.conn > 0 })
			continue
		}
		left -= n
		f.windows.stream, f.windows.conn = f.windows.stream-n, f.windows.conn-n
		if f.WriteData(1, left == 0, zeros[:n]) != nil {
			break
		}
	}
	f.until(t, over)
}
