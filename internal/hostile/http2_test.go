package hostile_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// input2 is an input of HTTP/2: what is sent of stream 1, and beside it.
type input2 struct {
	name string
	h    fields // a request without a body, or
	send func(f *frames) error
	want string // "400 bad_host", "RST PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR"; one or another, as both see it at the same time
	is   outcome
	open string // what the upstream gets
}

const (
	reset        = protocolError
	goaway       = "GOAWAY PROTOCOL_ERROR"
	frameSize    = "GOAWAY FRAME_SIZE_ERROR"
	compression  = "GOAWAY COMPRESSION_ERROR"
	or           = " or "
	notOnTheLine = "400" // the standard library's own answer
)

// body sends a request with a body in one piece.
func body(h fields, data string) func(*frames) error {
	return func(f *frames) error {
		return errors.Join(f.headers(1, h, false), f.WriteData(1, true, []byte(data)))
	}
}

// trailer sends a request with a body and a trailer.
func trailer(end bool, h ...string) func(*frames) error {
	return func(f *frames) error {
		return errors.Join(f.headers(1, sends("/x"), false), f.WriteData(1, false, []byte("x")), f.headers(1, h, end))
	}
}

// raw sends one frame as it stands.
func raw(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) func(*frames) error {
	return func(f *frames) error { return f.WriteRawFrame(kind, flags, stream, []byte(payload)) }
}

// block sends a header block as it stands.
func block(text string) func(*frames) error {
	return raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, text)
}

// without are the fields of a request but one.
func without(name string, more ...string) fields {
	var out fields
	h := asks("/x", more...)
	for i := 0; i < len(h); i += 2 {
		if h[i] != name {
			out = append(out, h[i], h[i+1])
		}
	}
	return out
}

// with has a pseudo field say something else.
func with(name, value string) fields {
	h := asks("/x")
	for i := 0; i < len(h); i += 2 {
		if h[i] == name {
			h[i+1] = value
		}
	}
	return h
}

// fieldInputs are about what a request over HTTP/2 says; most of it could become something else where HTTP/1.1 is spoken behind us.
var fieldInputs = []input2{
	{name: "empty name", h: asks("/x", "", "y"), want: reset},
	{name: "name in capitals", h: asks("/x", "X-A", "y"), want: reset},
	{name: "name with space", h: asks("/x", "x a", "y"), want: reset},
	{name: "name with colon", h: asks("/x", "x:a", "y"), want: reset},
	{name: "name with CR LF", h: asks("/x", "x: y\r\nevil", "y"), want: reset},
	{name: "name with NUL", h: asks("/x", "x\x00", "y"), want: reset},
	{name: "name beyond ASCII", h: asks("/x", "f\xc3\xb6o", "y"), want: reset},
	{name: "CR LF in a value", h: asks("/x", "x", "a\r\nevil: b"), want: reset},
	{name: "CR LF CR LF and a request in a value", h: asks("/x", "x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"), want: reset},
	{name: "CR in a value", h: asks("/x", "x", "a\rb"), want: reset},
	{name: "LF in a value", h: asks("/x", "x", "a\nb"), want: reset},
	{name: "NUL in a value", h: asks("/x", "x", "a\x00b"), want: reset},
	{name: "DEL in a value", h: asks("/x", "x", "a\x7fb"), want: reset},
	{name: "connection: close", h: asks("/x", "connection", "close"), want: notOnTheLine},
	{name: "connection names a field", h: asks("/x", "connection", "x", "x", "y"), want: notOnTheLine},
	{name: "keep-alive", h: asks("/x", "keep-alive", "timeout=5"), want: notOnTheLine},
	{name: "proxy-connection", h: asks("/x", "proxy-connection", "close"), want: notOnTheLine},
	{name: "transfer-encoding: chunked", send: body(sends("/x", "transfer-encoding", "chunked"), "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"), want: notOnTheLine},
	{name: "transfer-encoding beside content-length", send: body(sends("/x", "content-length", "5", "transfer-encoding", "chunked"), "hello"), want: notOnTheLine},
	{name: "upgrade", h: asks("/x", "upgrade", "websocket"), want: notOnTheLine},
	{name: "te: gzip", h: asks("/x", "te", "gzip"), want: notOnTheLine},
	{name: "te: trailers, gzip", h: asks("/x", "te", "trailers, gzip"), want: notOnTheLine},
	{name: "te: trailers", h: asks("/x", "te", "trailers"), is: normal, want: "200", open: "GET /x"},
	{name: "http2-settings", h: asks("/x", "http2-settings", "AAMAAABk"), is: normal, want: "200", open: "GET /x"},
	{name: ":path empty", h: with(":path", ""), want: reset},
	{name: ":path missing", h: without(":path"), want: reset},
	{name: ":path *", h: with(":path", "*"), want: badTarget},
	{name: ":path without slash", h: with(":path", "x"), want: reset},
	{name: ":path absolute", h: with(":path", "http://h/x"), want: badTarget},
	{name: ":path with space", h: with(":path", "/x HTTP/1.1"), want: badVersion},
	{name: ":path with CR LF", h: with(":path", "/x HTTP/1.1\r\nevil: y\r\n\r\n"), want: reset},
	{name: ":path with a fragment", h: with(":path", "/x#y"), want: badTarget},
	{name: ":path beyond ASCII", h: with(":path", "/\xc3\xa4"), want: badTarget},
	{name: ":path twice", h: append(fields{":path", "/y"}, asks("/x")...), want: reset},
	{name: ":method twice", h: append(fields{":method", "GET"}, asks("/x")...), want: reset},
	{name: ":scheme twice", h: append(fields{":scheme", "http"}, asks("/x")...), want: reset},
	{name: ":authority twice", h: append(fields{":authority", "h"}, asks("/x")...), want: reset},
	{name: "pseudo field behind a field", h: append(fields{"x", "y"}, asks("/x")...), want: reset},
	{name: ":authority behind a field", h: append(without(":authority"), "x", "y", ":authority", "h"), want: reset},
	{name: "unknown pseudo field", h: append(fields{":x", "y"}, asks("/x")...), want: reset},
	{name: ":status in a request", h: append(fields{":status", "200"}, asks("/x")...), want: reset},
	{name: ":method missing", h: without(":method"), want: reset},
	{name: ":method with space", h: with(":method", "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\nGET"), want: reset},
	{name: ":method with a path", h: with(":method", "GET /admin"), want: badVersion},
	{name: ":method in small letters", h: with(":method", "get"), want: badMethod},
	{name: ":method with a quote", h: with(":method", "G\"T"), want: badMethod},
	{name: ":method CONNECT", h: with(":method", "CONNECT"), want: reset},
	{name: ":method CONNECT of RFC 9113", h: fields{":method", "CONNECT", ":authority", "h:443"}, want: "501 connect_not_supported"},
	{name: ":scheme missing", h: without(":scheme"), want: reset},
	{name: ":scheme with CR LF", h: with(":scheme", "http\r\nevil: y"), want: reset},
	{name: ":scheme ftp", h: with(":scheme", "ftp"), want: reset},
	{name: ":authority and another host", h: asks("/x", "host", "evil"), want: "400 host_mismatch"},
	{name: ":authority and two hosts", h: asks("/x", "host", "h", "host", "h"), want: "400 host_mismatch"},
	{name: ":authority and its host", h: asks("/x", "host", "h"), is: normal, want: "200", open: "GET /x"},
	{name: "host alone", h: without(":authority", "host", "h"), is: normal, want: "200", open: "GET /x"},
	{name: "neither :authority nor host", h: without(":authority"), want: badHost},
	{name: ":authority with user", h: with(":authority", "u@h"), want: reset},
	{name: ":authority with path", h: with(":authority", "h/admin"), want: badHost},
	{name: ":authority with space", h: with(":authority", "h evil"), want: badHost},
	{name: ":authority with CR LF", h: with(":authority", "h\r\nevil: y"), want: reset},
	{name: "content-length less than the data", send: body(sends("/x", "content-length", "4"), "hello"), want: reset},
	{name: "content-length more than the data", send: body(sends("/x", "content-length", "6"), "hello"), want: badLength},
	{name: "content-length of a request without data", h: sends("/x", "content-length", "5"), want: badLength},
	{name: "content-length twice", send: body(sends("/x", "content-length", "5", "content-length", "5"), "hello"), want: badLength},
	{name: "content-length +5", send: body(sends("/x", "content-length", "+5"), "hello"), want: badLength + or + reset},
	{name: "content-length 5,5", send: body(sends("/x", "content-length", "5,5"), "hello"), want: badLength + or + reset},
	{name: "content-length -1", send: body(sends("/x", "content-length", "-1"), ""), want: badLength},
	{name: "unknown expectation", send: body(sends("/x", "expect", "200-ok"), "x"), want: "417 unknown_expectation"},
	{name: "trailer with a pseudo field", send: trailer(true, ":path", "/y"), want: reset, open: "POST /x (cut)?"},
	{name: "trailer in capitals", send: trailer(true, "X", "y"), want: reset, open: "POST /x (cut)?"},
	{name: "trailer with CR LF", send: trailer(true, "x", "y\r\nevil: z"), want: reset, open: "POST /x (cut)?"},
	{name: "trailer that does not end", send: trailer(false, "x", "y"), want: reset, open: "POST /x (cut)?"},
	{name: "data in pieces with 255 bytes of padding", is: normal, want: "200", open: "POST /x", send: func(f *frames) error {
		err := f.headers(1, sends("/x", "content-length", "100"), false)
		for i := range 100 {
			err = errors.Join(err, f.WriteDataPadded(1, i == 99, []byte("x"), make([]byte, 255)))
		}
		return err
	}},
	{name: "GOAWAY, and then a request", want: "GOAWAY NO_ERROR", send: func(f *frames) error {
		return errors.Join(f.WriteGoAway(0, http2.ErrCodeNo, nil), f.headers(1, asks("/x"), true))
	}},
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", func(path string) script {
		if path != "/silent" {
			return nil
		}
		return func(c net.Conn, _ *bufio.Reader) bool {
			_, _ = io.Copy(io.Discard, c)
			return false
		}
	})
	all := append(fieldInputs, frameInputs...)
	before := g.moment()
	var ended sync.WaitGroup // each takes the second that the client has to read why
	for _, tt := range all {
		for _, carrier := range carriers {
			if !strings.HasPrefix(tt.want, "GOAWAY") {
				continue
			}
			ended.Go(func() {
				t.Run(tt.name+" "+carrier, func(t *testing.T) {
					f := g.speak(t, carrier)
					tt.begin(t, f)
					for f.goaway == "" && f.next() == nil {
					}
					_ = f.headers(101, asks("/smuggled"), true) // what comes after that is not served
					f.untilGone(t)
					if got := f.result(1); got != tt.want {
						t.Errorf("got %q, want %q", got, tt.want)
					}
				})
			})
		}
	}
	ended.Wait()
	g.judge(t, before, "POST /x (cut)?", "")
	for _, tt := range all {
		for _, carrier := range carriers {
			if strings.HasPrefix(tt.want, "GOAWAY") {
				continue
			}
			t.Run(tt.name+" "+carrier, func(t *testing.T) {
				before := g.moment()
				f := g.speak(t, carrier)
				tt.begin(t, f)
				f.until(t, func() bool { return f.streams[1] != nil && f.streams[1].ended })
				if got := f.result(1); !slices.Contains(strings.Split(tt.want, or), got) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				g.open.since(t, before.open)
				if next := f.ask(t, 2001, asks("/tail")).String(); next != "200" { // the connection is as good as before
					t.Errorf("the next request got %q", next)
				}
				open := "GET /tail"
				if tt.open != "" {
					open = tt.open + "; " + open
				}
				for _, x := range g.judge(t, before, open, "") {
					if strings.Contains(strings.ToLower(x.head), "http2-settings") || strings.Contains(x.head, "evil") {
						t.Errorf("the upstream saw\n%s", x.head)
					}
				}
			})
		}
	}
}

// begin sends what there is of the input.
func (in *input2) begin(t *testing.T, f *frames) {
	t.Helper()
	send := in.send
	if send == nil {
		send = func(f *frames) error { return f.headers(1, in.h, true) }
	}
	if err := send(f); err != nil {
		t.Fatal(err)
	}
}
