package hostile_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/internal/testkit"
)

// The times of the gateway that slow clients meet.
const (
	headerTime = 500 * time.Millisecond
	idleTime   = 500 * time.Millisecond
	slowTimes  = `  timeouts: { readHeader: 500ms, bodyIdle: 500ms, keepAlive: 1s }`
)

// slow is a client that takes its time. It returns what it got: "408 header_timeout", "" for a connection that was ended without a
// word, or what became of its stream.
type slow struct {
	name string
	run  func(t *testing.T, g *gateway, carrier, path string) string
	want string
	is   outcome
	open string // what the upstream gets; PATH stands for its path
	most time.Duration
}

// drip sends text a byte at a time, a pause before each, until it is through or the connection has ended.
func drip(c net.Conn, text string, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range len(text) {
		<-tick.C
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

// over1 sends something over HTTP/1.1, drips the rest, and reads what comes.
func over1(at, rest string, pause time.Duration) func(*testing.T, *gateway, string, string) string {
	return func(t *testing.T, g *gateway, carrier, path string) string {
		c := g.dial(t, carrier, "http/1.1")
		_, _ = io.WriteString(c, strings.ReplaceAll(at, "PATH", path))
		go drip(c, rest, pause)
		got, err := c.answers()
		if err != nil {
			t.Error(err)
		}
		return got
	}
}

// over2 has something sent over HTTP/2, and reads what comes until stream 1 or the connection ends.
func over2(send func(f *frames, path string) error, settings ...http2.Setting) func(*testing.T, *gateway, string, string) string {
	return func(t *testing.T, g *gateway, carrier, path string) string {
		f := g.speak(t, carrier, settings...)
		go func() { _ = send(f, path) }()
		for f.streams[1] == nil || !f.streams[1].ended {
			if err := f.next(); err != nil {
				if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
					t.Error("neither the stream nor the connection was ended")
				}
				return f.goaway
			}
		}
		return f.streams[1].String()
	}
}

// hello connects to where TLS is spoken, and drips what looks like the beginning of it.
func hello(text string) func(*testing.T, *gateway, string, string) string {
	return func(t *testing.T, g *gateway, _, _ string) string {
		c := (&gateway{plain: g.secure}).dial(t, "in the clear", "")
		go drip(c, text, 50*time.Millisecond)
		got, err := c.answers()
		if err != nil {
			t.Error(err)
		}
		return got
	}
}

// neverReads asks for a response without end and takes nothing of it: only that the upstream is hung up on shows the end.
func neverReads(ask string) func(*testing.T, *gateway, string, string) string {
	return func(t *testing.T, g *gateway, carrier, path string) string {
		c := g.dial(t, carrier, "http/1.1")
		_, _ = io.WriteString(c, strings.ReplaceAll(ask, "PATH", path))
		testkit.Eventually(t, "the upstream is hung up on", func() bool { return g.open.over(path) })
		return ""
	}
}

const (
	endless = "/endless"
	askSlow = "GET PATH HTTP/1.1\r\nHost: h\r\n\r\n"
	calm    = "ENHANCE_YOUR_CALM"
	giveAll = "POST PATH HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"
)

var slows = []slow{
	{name: "header, a byte at a time", run: over1("", "GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", 1000), 20*time.Millisecond), want: "408 header_timeout"},
	{name: "header that stops", run: over1("GET / HTTP/1.1\r\nHost: h\r\n", "", time.Hour), want: "408 header_timeout"},
	{name: "nothing at all", run: over1("", "", time.Hour), want: ""},
	{name: "idle after a request", run: over1(askSlow, "", time.Hour), want: "200", is: bounded, open: "GET PATH"},
	{name: "body that stops", run: over1(giveAll+"some", "", time.Hour), want: "408 body_timeout"},
	{name: "body that is never sent, expecting 100", run: over1(strings.Replace(giveAll, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1), "", time.Hour), want: "408 body_timeout", open: "POST PATH (cut)?"},
	{name: "chunk size that stops", run: over1("POST PATH HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5", "", time.Hour), want: "408 body_timeout", open: "POST PATH (cut)"},
	{name: "trailer that stops", run: over1("POST PATH HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n", "", time.Hour), want: "408 body_timeout", open: "POST PATH (cut)"},
	{name: "body, a byte at a time, for longer than its route allows", run: over1(strings.ReplaceAll(giveAll, "PATH", "/timedPATH"), strings.Repeat("x", 99), 50*time.Millisecond), want: "408 body_timeout", most: 2 * time.Second},
	{name: "rest of a body that nobody wants, a byte at a time", run: over1("POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", strings.Repeat("x", 400), 50*time.Millisecond), want: "405 method_not_allowed", most: 2 * idleTime},
	{name: "never reads a response", run: neverReads(strings.ReplaceAll(askSlow, "PATH", "PATH"+endless)), open: "GET PATH" + endless + " (cut)"},
	{name: "never reads the answers to what it goes on asking", run: func(t *testing.T, g *gateway, carrier, _ string) string {
		c := g.dial(t, carrier, "http/1.1")
		for ask := strings.Repeat("GET /health HTTP/1.1\r\nHost: h\r\n\r\n", 1000); ; {
			if _, err := io.WriteString(c, ask); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection was not ended")
			} else if err == nil {
				continue
			}
			return ""
		}
	}},
	{name: "no TLS hello", run: hello(""), most: headerTime},
	{name: "TLS hello, a byte at a time", run: hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 200)), most: headerTime},
	{name: "header block that stops", run: over2(func(f *frames, path string) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(asks(path)), EndStream: true})
	}), want: calm, most: 2 * headerTime},
	{name: "header block, an empty CONTINUATION at a time", run: over2(func(f *frames, path string) error {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(asks(path)), EndStream: true})
		for tick := time.NewTicker(100 * time.Millisecond); err == nil; <-tick.C {
			err = f.WriteContinuation(1, false, nil)
		}
		return err
	}), want: calm, most: 2 * headerTime},
	{name: "half of a frame", run: over2(func(f *frames, _ string) error {
		_, err := f.Write([]byte{0, 0, 100, byte(http2.FrameHeaders), 5})
		return err
	}), want: calm, most: 2 * headerTime},
	{name: "half of a frame beside a request that waits", run: over2(func(f *frames, path string) error {
		err := f.headers(3, asks(path+"/silent"), true)
		_, again := f.Write([]byte{0, 0, 100, byte(http2.FrameHeaders), 5})
		return errors.Join(err, again)
	}), want: calm, open: "GET PATH/silent (cut)", most: 2 * headerTime},
	{name: "idle without a stream", run: over2(func(*frames, string) error { return nil }), want: "NO_ERROR", is: bounded},
	{name: "body of a stream that stops", run: over2(func(f *frames, path string) error {
		return errors.Join(f.headers(1, sends(path, "content-length", "100"), false), f.WriteData(1, false, []byte("some")))
	}), want: "408 body_timeout"},
	{name: "window of 0 that is never opened", run: over2(func(f *frames, path string) error {
		return f.headers(1, asks(path+endless), true)
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}), want: "RST INTERNAL_ERROR", open: "GET PATH" + endless + " (cut)", most: 4 * idleTime},
	{name: "window of 1 that is never opened again", run: over2(func(f *frames, path string) error {
		return f.headers(1, asks(path+endless), true)
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}), want: "RST INTERNAL_ERROR", open: "GET PATH" + endless + " (cut)", most: 4 * idleTime},
	{name: "window opened by 1 byte at a time", is: bounded, run: over2(func(f *frames, path string) error {
		err := f.headers(1, asks(path), true)
		for range 2 {
			err = errors.Join(err, f.WriteWindowUpdate(1, 1))
		}
		return err
	}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}), want: "200", open: "GET PATH"},
}

// TestSlow has all of them at the same time, and in the end sees whether the gateway serves.
func TestSlow(t *testing.T) {
	t.Parallel()
	g := startGateway(t, slowTimes, func(path string) script {
		switch {
		case strings.HasSuffix(path, endless):
			return func(c net.Conn, _ *bufio.Reader) bool {
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				for p := make([]byte, 64<<10); err == nil; {
					_, err = c.Write(p)
				}
				return false
			}
		case strings.HasSuffix(path, "/silent"):
			return func(c net.Conn, _ *bufio.Reader) bool {
				_, _ = io.Copy(io.Discard, c)
				return false
			}
		}
		return nil
	})
	var all sync.WaitGroup
	for i, tt := range slows {
		for j, carrier := range carriers {
			path := fmt.Sprintf("/slow/%d-%d", i, j)
			all.Go(func() { t.Run(tt.name+" "+carrier, func(t *testing.T) { tt.judge(t, g, carrier, path) }) })
		}
	}
	all.Wait()
	g.serves(t)
}

func (s *slow) judge(t *testing.T, g *gateway, carrier, path string) {
	t.Helper()
	began := time.Now()
	if got := s.run(t, g, carrier, path); got != s.want {
		t.Errorf("got %q, want %q", got, s.want)
	}
	if took := time.Since(began); s.most > 0 && took > s.most+3*time.Second { // the machine may be slow, too
		t.Errorf("it took %v", took)
	}
	open, perhaps := strings.CutSuffix(strings.ReplaceAll(s.open, "PATH", path), "?")
	if got := g.open.about(t, path); got != open && !(perhaps && got == "") {
		t.Errorf("the upstream got %q, want %q", got, open)
	}
}

// over reports whether a request for path has ended.
func (o *origin) over(path string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.seen {
		if strings.Contains(x.line+"/", path+"/") {
			return x.over
		}
	}
	return false
}

// about waits until the requests for path, and what lies below it, are over, and returns them as tables write them.
func (o *origin) about(t *testing.T, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		var seen []exchange
		running := false
		o.mu.Lock()
		for _, x := range o.seen {
			if strings.Contains(x.line+"/", path+"/") {
				seen = append(seen, *x)
				running = running || !x.over
			}
		}
		o.mu.Unlock()
		if !running {
			return lines(seen)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the upstream is not hung up on: %q", lines(seen))
		case <-time.After(5 * time.Millisecond):
		}
	}
}
