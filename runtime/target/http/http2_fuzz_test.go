package httptarget_test

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// script2 turns the bytes of a fuzzer into what a server sends on a stream: frames whose lengths are right, but whose kinds, flags,
// streams and payloads are anything, or, if the first byte is odd, the bytes as they are.
func script2(data []byte, stream uint32) []byte {
	if len(data) == 0 {
		return nil
	}
	if data[0]&1 == 1 {
		return data[1:]
	}
	var out []byte
	for data = data[1:]; len(data) >= 4; {
		length := min(int(data[3]), len(data)-4)
		on := [...]uint32{stream, stream, stream, 0, stream + 2, 2, stream - 2, 1<<31 - 1}[data[2]%8]
		out = append(out, rawFrame(uint32(length), http2.FrameType(data[0]%12), http2.Flags(data[1]), on, string(data[4:4+length]))...)
		data = data[4+length:]
	}
	return out
}

// FuzzHTTP2Server has an upstream send anything. The client gets a whole response, a problem, or one that is visibly cut, and what
// it got agrees with what is recorded.
func FuzzHTTP2Server(f *testing.F) {
	frame := func(kind http2.FrameType, flags http2.Flags, on byte, payload string) string {
		return string([]byte{byte(kind), byte(flags), on, byte(len(payload))}) + payload
	}
	ok := frame(http2.FrameHeaders, 4, 0, "\x88")
	for _, seed := range []string{
		"", "\x01", "\x01HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"\x00" + ok + frame(http2.FrameData, 1, 0, "hello"),
		"\x00" + frame(http2.FrameHeaders, 5, 0, "\x88"),
		"\x00" + ok + frame(http2.FrameData, 0, 0, "half"),
		"\x00" + ok + frame(http2.FrameData, 8, 0, "\x02padded\x00\x00") + frame(http2.FrameHeaders, 5, 0, "\x00\x01a\x01b"),
		"\x00" + frame(http2.FrameHeaders, 4, 0, "\x08\x03103") + ok + frame(http2.FrameData, 1, 0, ""),
		"\x00" + frame(http2.FrameHeaders, 0, 0, "\x88") + frame(http2.FrameContinuation, 4, 0, "\x0f\x0d\x014") + frame(http2.FrameData, 1, 0, "four"),
		"\x00" + frame(http2.FrameHeaders, 4, 0, "\x88\x0f\x0d\x019") + frame(http2.FrameData, 1, 0, "four"),
		"\x00" + frame(http2.FrameRSTStream, 0, 0, "\x00\x00\x00\x07"),
		"\x00" + frame(http2.FrameGoAway, 0, 3, "\x00\x00\x00\x00\x00\x00\x00\x00"),
		"\x00" + frame(http2.FrameSettings, 0, 3, "\x00\x04\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00") + ok,
		"\x00" + frame(http2.FrameWindowUpdate, 0, 3, "\x7f\xff\xff\xff") + frame(http2.FramePing, 0, 3, "12345678"),
		"\x00" + frame(http2.FramePushPromise, 4, 0, "\x00\x00\x00\x02\x82") + frame(http2.FramePriority, 0, 0, "\x00\x00\x00\x00\x00"),
	} {
		f.Add([]byte(seed))
	}
	says := make(chan []byte, 1)
	up := framing(f, func(p *peer) {
		if s := p.request(); s != 0 {
			_, _ = p.Write(script2(<-says, s))
		}
	})
	o := http2Options(up.addr)
	o.forward.HeaderTimeout, o.forward.IdleTimeout = 5000, 5000
	p := startProxy(f, o)
	f.Fuzz(func(t *testing.T, data []byte) {
		says <- data
		before := p.count()
		c := dial(t, p.addr)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
		var resp *http.Response
		for resp == nil || resp.StatusCode < 200 {
			var err error
			if resp, err = http.ReadResponse(c.r, &http.Request{Method: "POST"}); err != nil {
				t.Fatalf("no response: %v", err)
			}
			if resp.StatusCode == http.StatusSwitchingProtocols {
				t.Fatal("switched protocols")
			}
		}
		_, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		eventually(t, "the end of the exchange", func() bool { return p.count() > before })
		p.mu.Lock()
		rejects := p.rejects
		p.rejects = nil
		p.mu.Unlock()
		problem := resp.Header.Get("Content-Type") == "application/problem+json"
		switch {
		case len(rejects) == 0 && err != nil:
			t.Errorf("a response that is recorded as whole is cut: %v", err)
		case len(rejects) == 1 && !problem && err == nil && resp.ContentLength < 0:
			t.Errorf("a response that was cut for %s looks whole", rejects[0].Code)
		case len(rejects) > 0 && rejects[0].Status < 500 && rejects[0].Status != 431:
			t.Errorf("the client is blamed: %+v", rejects[0])
		}
		if p.panics.Load() != 0 {
			t.Error("panic")
		}
		select { // nobody asked
		case <-says:
		default:
		}
	})
}
