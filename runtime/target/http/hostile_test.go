package httptarget_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// hostile are requests that two parsers could read in two ways, or that try to become two. Each is refused with the status
// named by its code, and the connection ends. "~" stands for the code of any 400.
var hostile = []struct{ name, request, code string }{
	{"length and coding", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", "length_and_coding"},
	{"coding and length", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX", "length_and_coding"},
	{"two equal lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nX", "bad_content_length"},
	{"two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nXX", "bad_content_length"},
	{"length +5", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello", "bad_content_length"},
	{"length 0x5", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello", "bad_content_length"},
	{"length 5,5", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5,5\r\n\r\nhello", "bad_content_length"},
	{"length 5 and space", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 \r\n\r\nhello", "bad_content_length"},
	{"length -1", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "bad_content_length"},
	{"length 2^64", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n", "bad_content_length"},
	{"length 2^63", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n", "bad_content_length"},
	{"no length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", "bad_content_length"},
	{"length with two spaces before", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:  5\r\n\r\nhello", "bad_content_length"},
	{"coding xchunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding chunked, identity", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding identity, chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding with vertical tab", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\x0b\r\n\r\n0\r\n\r\n", "bad_field_value"},
	{"coding with space before", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:  chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding with tab before", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding twice, second odd", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"coding empty", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", "bad_transfer_encoding"},
	{"coding on 1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"},
	{"chunk size 0x5", chunkedWith("0x5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size 5_0", chunkedWith("5_0\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size +5", chunkedWith("+5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size -5", chunkedWith("-5\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size with space", chunkedWith("5 \r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size 5 ;", chunkedWith("5 ;\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size with 17 digits", chunkedWith("00000000000000005\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size 2^63", chunkedWith("8000000000000000\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size empty", chunkedWith("\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size ends in LF", chunkedWith("5\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk size ends in CR CR LF", chunkedWith("5\r\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk extension", chunkedWith("5;a=b\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk extension with LF", chunkedWith("5;\n\r\nhello\r\n0\r\n\r\n"), "bad_chunk_size"},
	{"chunk extension without end", chunkedWith("5;" + strings.Repeat("a", 16<<10)), "bad_chunk_size"},
	{"chunk data too long", chunkedWith("5\r\nhello!\r\n0\r\n\r\n"), "bad_chunk_end"},
	{"chunk data ends in LF", chunkedWith("5\r\nhello\n0\r\n\r\n"), "bad_chunk_end"},
	{"request where the last CRLF should be", chunkedWith("0\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n"), "bad_field_name"},
	{"trailer ends in LF", chunkedWith("0\r\nA: b\n\r\n"), "bad_line_end"},
	{"trailer content-length", chunkedWith("0\r\nContent-Length: 5\r\n\r\n"), "forbidden_trailer"},
	{"trailer transfer-encoding", chunkedWith("0\r\nTransfer-Encoding: chunked\r\n\r\n"), "forbidden_trailer"},
	{"trailer host", chunkedWith("0\r\nHost: evil\r\n\r\n"), "forbidden_trailer"},
	{"trailer authorization", chunkedWith("0\r\nAuthorization: x\r\n\r\n"), "forbidden_trailer"},
	{"trailer x-forwarded-for", chunkedWith("0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"), "forbidden_trailer"},
	{"bare LF", "GET / HTTP/1.1\nHost: h\n\n", "bad_line_end"},
	{"bare LF after a field", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "bad_line_end"},
	{"bare LF as the end", "GET / HTTP/1.1\r\nHost: h\r\n\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n", "bad_line_end"},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n", "bad_field_value"},
	{"bare CR in the request line", "GET / HTTP/1.1\rHost: h\r\n\r\n", "bad_version"},
	{"CR CR LF", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", "bad_field_value"},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", "bad_field_value"},
	{"DEL in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n", "bad_field_value"},
	{"fold", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", "folded_field"},
	{"fold with tab", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", "folded_field"},
	{"fold hiding a length", "POST / HTTP/1.1\r\nHost: h\r\nX: a\r\n Content-Length: 5\r\n\r\nhello", "folded_field"},
	{"space before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", "folded_field"},
	{"space before colon", "GET / HTTP/1.1\r\nHost: h\r\nFoo : x\r\n\r\n", "bad_field_name"},
	{"space before colon of a length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello", "bad_field_name"},
	{"tab before colon", "GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", "bad_field_name"},
	{"empty name", "GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", "bad_field_name"},
	{"no colon", "GET / HTTP/1.1\r\nHost: h\r\nFoo\r\n\r\n", "bad_field_name"},
	{"name with quote", "GET / HTTP/1.1\r\nHost: h\r\nF\"o: x\r\n\r\n", "bad_field_name"},
	{"name beyond ASCII", "GET / HTTP/1.1\r\nHost: h\r\nF\xc3\xb6o: x\r\n\r\n", "bad_field_name"},
	{"two leading empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"},
	{"flood of empty lines", strings.Repeat("\r\n", 1000), "bad_request_line"},
	{"no host", "GET / HTTP/1.1\r\n\r\n", "no_host"},
	{"two hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "bad_host"},
	{"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "bad_host"},
	{"host with path", "GET / HTTP/1.1\r\nHost: h/admin\r\n\r\n", "bad_host"},
	{"host with user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "bad_host"},
	{"host with space", "GET / HTTP/1.1\r\nHost: h evil\r\n\r\n", "bad_host"},
	{"host with comma", "GET / HTTP/1.1\r\nHost: h,evil\r\n\r\n", "bad_host"},
	{"host with a bad port", "GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n", "bad_host"},
	{"host with no port", "GET / HTTP/1.1\r\nHost: h:\r\n\r\n", "bad_host"},
	{"host with percent", "GET / HTTP/1.1\r\nHost: h%2f\r\n\r\n", "bad_host"},
	{"host with zone", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", "bad_host"},
	{"absolute target of another host", "GET http://evil/admin HTTP/1.1\r\nHost: h\r\n\r\n", "host_mismatch"},
	{"absolute target of another port", "GET http://h:81/ HTTP/1.1\r\nHost: h\r\n\r\n", "host_mismatch"},
	{"absolute target with user", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"absolute target of another scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"target without slash", "GET admin HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"target *", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"fragment", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"target with tab", "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"target beyond ASCII", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"two spaces", "GET  /  HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"},
	{"space in target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "bad_version"},
	{"space behind the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "bad_version"},
	{"tab between", "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"},
	{"HTTP/0.9", "GET /\r\n\r\n", "bad_request_line"},
	{"HTTP/0.9 with version", "GET / HTTP/0.9\r\nHost: h\r\n\r\n", "bad_version"},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", "bad_version"},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", "bad_version"},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", "bad_version"},
	{"http/1.1", "GET / http/1.1\r\nHost: h\r\n\r\n", "bad_version"},
	{"lower-case method", "get / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_method"},
	{"mixed method", "GEt / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_method"},
	{"method with quote", "G\"T / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_method"},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version"},
	{"PRI as HTTP/1.1", "PRI * HTTP/1.1\r\nHost: h\r\n\r\n", "bad_target"},
	{"CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "connect_not_supported"},
	{"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_method"},
	{"unknown expectation", "POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx", "unknown_expectation"},
	{"connection names too much", "GET / HTTP/1.1\r\nHost: h\r\nConnection: " + strings.Repeat("a,", 40) + "a\r\n\r\n", "bad_connection"},
	{"connection with a quote", "GET / HTTP/1.1\r\nHost: h\r\nConnection: \"x\"\r\n\r\n", "bad_connection"},
	{"a word longer than any method", strings.Repeat("A", 40) + " / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_request_line"},
}

func chunkedWith(body string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func TestHostileRequests(t *testing.T) {
	up := startOrigin(t, answering(ok))
	p := startProxy(t, defaults(up.addr))
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, p.addr)
			// A second request rides along: it must never be answered, nor reach the upstream.
			_, _ = io.WriteString(c, tt.request)
			if !strings.Contains(tt.name, "TLS") {
				_, _ = io.WriteString(c, "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
			}
			got := c.head()
			status := "400 Bad Request"
			switch tt.code {
			case "connect_not_supported":
				status = "501 Not Implemented"
			case "unknown_expectation":
				status = "417 Expectation Failed"
			}
			contains(t, got, "HTTP/1.1 "+status+"\r\n", "Content-Type: "+httpmsg.ProblemType+"\r\n")
			body, err := c.rest()
			contains(t, body, `"code":"`+tt.code+`"`, `"type":"about:blank"`)
			if err != nil || strings.Contains(body, "HTTP/1.1 200") {
				t.Errorf("the connection did not end after the answer: %v, %q", err, body)
			}
		})
	}
	if n := up.heads.Load() + up.conns.Load(); n != 0 {
		t.Errorf("the upstream saw %d requests or connections", n)
	}
}

// TestSlowHostileBody has the malformed part come late, when the head has gone upstream: the upstream must not see an end.
func TestSlowHostileBody(t *testing.T) {
	got := make(chan string, 1)
	ready := make(chan struct{})
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		close(ready)
		b, _ := io.ReadAll(r)
		got <- string(b)
	})
	p := startProxy(t, defaults(up.addr))
	c := dial(t, p.addr)
	c.send(chunkedWith("5\r\nhello\r\n"))
	<-ready
	c.send("0x5\r\nhello\r\n0\r\n\r\n")
	contains(t, c.head(), "400 Bad Request")
	body, _ := c.rest()
	contains(t, body, "bad_chunk_size")
	if s := <-got; s != "5\r\nhello\r\n" {
		t.Errorf("upstream got %q", s)
	}
}

func TestLimits(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		for {
			h := o.head(r)
			if h == "" {
				return
			}
			switch {
			case strings.Contains(h, "chunked"):
				for line := ""; line != "0\r\n"; {
					var err error
					if line, err = r.ReadString('\n'); err != nil {
						return
					}
				}
				_, _ = r.Discard(2)
			case strings.Contains(h, "Content-Length: 1000\r\n"):
				_, _ = r.Discard(1000)
			}
			_, _ = io.WriteString(c, ok)
		}
	})
	o := defaults(up.addr)
	o.settings.Limits.HeaderBytes, o.settings.Limits.HeaderFields = 4096, 20
	o.settings.Limits.URLBytes, o.settings.Limits.BodyBytes = 512, 1000
	p := startProxy(t, o)
	sized := func(n int) string {
		s := "GET / HTTP/1.1\r\nHost: h\r\nX: "
		return s + strings.Repeat("x", n-len(s)-4) + "\r\n\r\n"
	}
	for _, tt := range []struct{ name, request, status, code string }{
		{"header at its limit", sized(4096), "200 OK", ""},
		{"header beyond", sized(4097), "431 Request Header Fields Too Large", "header_too_large"},
		{"header far beyond", sized(40960), "431 Request Header Fields Too Large", "header_too_large"},
		{"fields at their limit", "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A: b\r\n", 19) + "\r\n", "200 OK", ""},
		{"fields beyond", "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A: b\r\n", 20) + "\r\n", "431 Request Header Fields Too Large", "too_many_fields"},
		{"target at its limit", "GET /" + strings.Repeat("a", 511) + " HTTP/1.1\r\nHost: h\r\n\r\n", "200 OK", ""},
		{"target beyond", "GET /" + strings.Repeat("a", 512) + " HTTP/1.1\r\nHost: h\r\n\r\n", "414 URI Too Long", "target_too_long"},
		{"target without end", "GET /" + strings.Repeat("a", 2000), "414 URI Too Long", "target_too_long"},
		{"body at its limit", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000), "200 OK", ""},
		{"body beyond", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + strings.Repeat("x", 1001), "413 Content Too Large", "body_too_large"},
		{"chunks at the limit", chunkedWith("3e8\r\n" + strings.Repeat("x", 1000) + "\r\n0\r\n\r\n"), "200 OK", ""},
		{"chunks beyond", chunkedWith("3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n"), "413 Content Too Large", "body_too_large"},
		{"trailer beyond", chunkedWith("0\r\nA: " + strings.Repeat("x", 5000) + "\r\n\r\n"), "431 Request Header Fields Too Large", "header_too_large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, p.addr)
			_, _ = io.WriteString(c, tt.request)
			contains(t, c.head(), "HTTP/1.1 "+tt.status+"\r\n")
			if tt.code != "" {
				line, _ := c.r.ReadString('\n')
				contains(t, line, `"code":"`+tt.code+`"`)
			}
		})
	}
}

func TestSlowHeader(t *testing.T) {
	up := startOrigin(t, answering(ok))
	o := defaults(up.addr)
	o.settings.Timeouts.ReadHeader = 200
	p := startProxy(t, o)
	c := dial(t, p.addr)
	start := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte now and then does not help
		for _, b := range "GET / HTTP/1.1\r\nHost: h\r\nX-Slow: 1234567890" {
			if _, err := c.Write([]byte(string(b))); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	contains(t, c.head(), "408 Request Timeout", "Connection: close")
	if d := time.Since(start); d < 200*time.Millisecond || d > 2*time.Second {
		t.Errorf("cut after %v", d)
	}
	silent := dial(t, p.addr)
	if got, err := silent.rest(); got != "" || err != nil {
		t.Errorf("a silent connection got %q, %v", got, err)
	}
}

func TestSlowBody(t *testing.T) {
	up := startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		o.head(r)
		untilGone(c)
	})
	o := defaults(up.addr)
	o.settings.Timeouts.BodyIdle = 100
	p := startProxy(t, o)
	c := dial(t, p.addr)
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nsome")
	contains(t, c.head(), "408 Request Timeout")
	body, _ := c.rest()
	contains(t, body, "body_timeout")
}
