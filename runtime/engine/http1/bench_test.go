package http1_test

import (
	"testing"

	"github.com/suuupra/gateway/runtime/engine/http1"
)

const browserRequest = "GET /api/users/42?expand=profile HTTP/1.1\r\nHost: api.example.com\r\nConnection: keep-alive\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n" +
	"Authorization: Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"

func BenchmarkRequestHead(b *testing.B) {
	lim := http1.Limits{Bytes: 32 << 10, Fields: 100, Target: 8 << 10}
	for _, bb := range []struct{ name, text string }{
		{"small", "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:7003\r\n\r\n"}, {"browser", browserRequest},
	} {
		b.Run(bb.name, func(b *testing.B) {
			buf := []byte(bb.text)
			var s http1.Scanner
			var h http1.RequestHead
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				s.Reset()
				n, bad := s.ScanRequest(buf, &lim)
				if bad == nil {
					bad = h.Parse(string(buf[:n]), &s, &lim)
				}
				if bad != nil {
					b.Fatal(bad)
				}
			}
		})
	}
}
