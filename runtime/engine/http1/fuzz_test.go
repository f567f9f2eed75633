package http1_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/engine/wire"
)

// FuzzRequestHead holds the parser to net/http's: what is accepted here net/http accepts, with the same method, target, host
// and framing. The other direction is not asked for; strictness is the point.
func FuzzRequestHead(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET http://h:80/a?b HTTP/1.1\r\nHost: h:80\r\n\r\n",
		"POST /a HTTP/1.0\r\nContent-Length: 5\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a.b\r\nConnection: close, x\r\nX: \t\xff \r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n\r\n",
		"\r\nGET /%zz HTTP/1.1\r\nHost: h\r\nA_b: c\r\n\r\n",
	} {
		f.Add(s)
	}
	lim := http1.Limits{Bytes: 32 << 10, Fields: 100, Target: 8 << 10}
	f.Fuzz(func(t *testing.T, input string) {
		var s http1.Scanner
		n, bad := s.ScanRequest([]byte(input), &lim)
		if bad != nil || n == 0 {
			return
		}
		var h http1.RequestHead
		if h.Parse(input[:n], &s, &lim) != nil {
			return
		}
		// Where this package differs on purpose, net/http is asked what it would say without the difference.
		text := strings.TrimPrefix(input[:n], "\r\n") // one empty line before a request is ignored; net/http takes none
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "first path segment") ||
				strings.Contains(err.Error(), "invalid port") || strings.Contains(err.Error(), "invalid host") {
				return // the path is judged by the router's normalisation, a literal host by netip
			}
			t.Fatalf("net/http refuses what is accepted here: %v\n%q", err, input)
		}
		if r.Method != h.Method || r.RequestURI != h.Target {
			t.Errorf("request line: here %q %q, net/http %q %q", h.Method, h.Target, r.Method, r.RequestURI)
		}
		if r.Host != h.Authority {
			t.Errorf("host: here %q, net/http %q in %q", h.Authority, r.Host, input)
		}
		if r.ContentLength != h.Length {
			t.Errorf("length: here %d, net/http %d in %q", h.Length, r.ContentLength, input)
		}
		if !h.KeepAlive != r.Close {
			t.Errorf("keep-alive: here %v, net/http close %v in %q", h.KeepAlive, r.Close, input)
		}
	})
}

// FuzzChunkSize holds the size line to strconv's idea of hexadecimal.
func FuzzChunkSize(f *testing.F) {
	f.Add("5\r\n")
	f.Add("7fffffffffffffff\r\n")
	f.Fuzz(func(t *testing.T, input string) {
		size, n, bad := http1.ChunkSize([]byte(input))
		if bad != nil || n == 0 {
			return
		}
		if digits := strings.TrimSuffix(input[:n], "\r\n"); size < 0 || len(digits) > 16 || len(digits) != n-2 ||
			!strings.EqualFold(strings.TrimLeft(digits, "0"), strings.TrimLeft(string(http1.AppendChunkSize(nil, int(size))[:len(http1.AppendChunkSize(nil, int(size)))-2]), "0")) {
			t.Errorf("%q is read as %d", input[:n], size)
		}
	})
}

// memory is a connection with fixed contents, handed out in pieces.
type memory struct {
	net.Conn
	rest  string
	piece int
}

func (m *memory) Read(p []byte) (int, error) {
	if m.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, m.rest[:min(m.piece, len(m.rest))])
	m.rest = m.rest[n:]
	return n, nil
}

// FuzzChunkedBody holds the body reader to net/http's: a body that ends well here has the same content there, however the
// bytes come in.
func FuzzChunkedBody(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\n\r\n", uint8(1))
	f.Add("1\r\na\r\n00b\r\nhello world\r\n0\r\nA: b\r\n\r\nGET", uint8(7))
	f.Add("5;x\r\nhello\r\n0\r\n\r\n", uint8(3))
	lim := http1.Limits{Bytes: 1024, Fields: 10, Target: 1024}
	f.Fuzz(func(t *testing.T, input string, piece uint8) {
		read := func(piece int) (string, error) {
			var b wire.Body
			b.Begin(wire.New(&memory{rest: input, piece: piece}), -1, lim, true)
			got, err := io.ReadAll(&b)
			return string(got), err
		}
		got, err := read(int(piece) + 1)
		whole, wholeErr := read(1 << 20)
		if (err == nil) != (wholeErr == nil) || err == nil && got != whole {
			t.Errorf("in pieces %q %v, at once %q %v", got, err, whole, wholeErr)
		}
		if err != nil {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(input)))
		if err != nil || string(want) != got {
			t.Errorf("here %q, net/http %q %v, of %q", got, want, err, input)
		}
	})
}
