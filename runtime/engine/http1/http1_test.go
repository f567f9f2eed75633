package http1_test

import (
	"testing"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

var limits = http1.Limits{Bytes: 4096, Fields: 50, Target: 1024}

func request(text string) (*http1.RequestHead, *httpmsg.Error) {
	var s http1.Scanner
	var h http1.RequestHead
	n, bad := s.ScanRequest([]byte(text), &limits)
	if bad == nil && n > 0 {
		bad = h.Parse(text[:n], &s, &limits)
	}
	return &h, bad
}

func TestRequestHead(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       http1.RequestHead
		fields     []httpmsg.Field
	}{
		{
			"plain", "GET /a HTTP/1.1\r\nhOST: Example.COM.:80\r\nX_y: \t a b \t\r\nEmpty:\r\n\r\n",
			http1.RequestHead{Method: "GET", Target: "/a", Proto: "HTTP/1.1", Host: "example.com", Authority: "Example.COM.:80", KeepAlive: true},
			[]httpmsg.Field{{Name: "hOST", Value: "Example.COM.:80"}, {Name: "X_y", Value: "a b"}, {Name: "Empty", Value: ""}},
		},
		{
			"hop by hop", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-A, host\r\nx-a: 1\r\nX-B: 2\r\nKeep-Alive: 5\r\nProxy: http://evil\r\nTE: gzip, trailers\r\nUpgrade: x\r\nProxy-Authorization: s\r\nProxy-Connection: x\r\n\r\n",
			http1.RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Host: "h", Authority: "h", WantsTrailers: true},
			[]httpmsg.Field{{Name: "Host", Value: "h"}, {Name: "X-B", Value: "2"}},
		},
		{
			"keep-alive alone", "GET / HTTP/1.0\r\nKeep-Alive: 5\r\nConnection: keep-alive\r\n\r\n",
			http1.RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.0", KeepAlive: true},
			nil,
		},
		{
			"chunked", "POST / HTTP/1.1\r\nHost: [::1]:8\r\ntransfer-encoding: CHUNKED\r\nExpect: 100-Continue\r\n\r\n",
			http1.RequestHead{Method: "POST", Target: "/", Proto: "HTTP/1.1", Host: "[::1]", Authority: "[::1]:8", KeepAlive: true, Length: -1, ExpectContinue: true},
			[]httpmsg.Field{{Name: "Host", Value: "[::1]:8"}, {Name: "Expect", Value: "100-Continue"}},
		},
		{
			"absolute form", "GET HTTP://H:80?q HTTP/1.1\r\nHost: h:80\r\nContent-Length: 007\r\n\r\n",
			http1.RequestHead{Method: "GET", Target: "HTTP://H:80?q", Proto: "HTTP/1.1", Host: "h", Authority: "H:80", KeepAlive: true, Length: 7},
			[]httpmsg.Field{{Name: "Host", Value: "h:80"}, {Name: "Content-Length", Value: "007"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, bad := request(tt.text)
			if bad != nil {
				t.Fatal(bad)
			}
			w := tt.want
			if h.Method != w.Method || h.Target != w.Target || h.Proto != w.Proto || h.Host != w.Host || h.Authority != w.Authority ||
				h.KeepAlive != w.KeepAlive || h.Length != w.Length || h.ExpectContinue != w.ExpectContinue || h.WantsTrailers != w.WantsTrailers || h.Upgrade != w.Upgrade {
				t.Errorf("got %+v", h)
			}
			if len(h.Fields) != len(tt.fields) {
				t.Fatalf("fields %q", h.Fields)
			}
			for i, f := range tt.fields {
				if h.Fields[i] != f {
					t.Errorf("field %q, want %q", h.Fields[i], f)
				}
			}
		})
	}
}

// TestHeadInPieces feeds heads byte by byte: the result may not depend on how they arrive.
func TestHeadInPieces(t *testing.T) {
	for _, text := range []string{"\r\nGET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\nrest", browserRequest, "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "\r\n\r\nGET"} {
		var whole, pieces http1.Scanner
		n, bad := whole.ScanRequest([]byte(text), &limits)
		var m int
		var worse *httpmsg.Error
		for i := 1; i <= len(text) && m == 0 && worse == nil; i++ {
			m, worse = pieces.ScanRequest([]byte(text[:i]), &limits)
		}
		if n != m || bad != worse {
			t.Errorf("%q: at once %d %v, in pieces %d %v", text, n, bad, m, worse)
		}
	}
}

func TestOriginForm(t *testing.T) {
	for in, want := range map[string]string{
		"/a?b": "/a?b", "*": "*", "http://h": "/", "http://h/": "/", "http://h?q": "/?q", "https://h:1/a/b?c": "/a/b?c",
	} {
		if got := http1.OriginForm(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestResponseHead(t *testing.T) {
	for _, tt := range []struct {
		name, method, text string
		status             int
		length, declared   int64
		keep               bool
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, 5, 5, true},
		{"chunked", "GET", "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", 200, -1, -1, true},
		{"until close", "GET", "HTTP/1.1 200 \r\n\r\n", 200, http1.UntilClose, -1, false},
		{"close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 200, 0, 0, false},
		{"1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, 0, false},
		{"1.0 keep-alive", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 200, 0, 0, true},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, 0, 5, true},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, 0, 5, true},
		{"204 with a body", "GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, 0, -1, false},
		{"1xx", "GET", "HTTP/1.1 103 Early Hints\r\n\r\n", 103, 0, -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s http1.Scanner
			var h http1.ResponseHead
			n, bad := s.ScanResponse([]byte(tt.text), &limits)
			if bad == nil {
				bad = h.Parse(tt.text[:n], &s, tt.method)
			}
			if bad != nil || h.Status != tt.status || h.Length != tt.length || h.Declared != tt.declared || h.KeepAlive != tt.keep {
				t.Errorf("got %+v, %v", h, bad)
			}
		})
	}
}
