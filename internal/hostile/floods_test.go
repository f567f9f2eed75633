package hostile_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/internal/testkit"
)

// flood is what costs the gateway something and its sender nothing.
type flood struct {
	name   string
	first  func(f *frames) error        // once
	send   func(f *frames, i int) error // again and again, until the connection ends
	times  int
	want   string // code of the GOAWAY
	reason string // why it was refused, as the metrics call it
	most   int    // bytes the gateway may have taken when it ends the connection; 0: not said
	is     outcome
	served string // what a request behind it gets, on the same connection, if that is not ended
}

// opens begins the stream of the i-th time.
func opens(f *frames, i int, path string, end bool) (uint32, error) {
	id := uint32(2*i + 1)
	return id, f.headers(id, asks(path), end)
}

var floods = []flood{
	{name: "rapid reset", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		id, err := opens(f, i, "/silent", true)
		return errors.Join(err, f.WriteRSTStream(id, http2.ErrCodeCancel))
	}},
	{name: "streams the server has to reset, by a window of 0", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		id, err := opens(f, i, "/silent", true)
		return errors.Join(err, f.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)))
	}},
	{name: "streams the server has to reset, by a window too large", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		id, err := opens(f, i, "/silent", true)
		return errors.Join(err, f.WriteWindowUpdate(id, 1<<31-1))
	}},
	{name: "streams the server has to reset, by data behind their end", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		id, err := opens(f, i, "/silent", true)
		return errors.Join(err, f.WriteData(id, true, []byte("x")))
	}},
	{name: "streams the server has to reset, by a dependence", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		id, err := opens(f, i, "/silent", true)
		return errors.Join(err, f.WritePriority(id, http2.PriorityParam{StreamDep: id}))
	}},
	{name: "empty HEADERS", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndHeaders: true, EndStream: true})
	}},
	{name: "more streams than allowed", times: 20_000, want: calm, reason: "http2_reset_flood", send: func(f *frames, i int) error {
		_, err := opens(f, i, "/silent", true)
		return err
	}},
	{name: "CONTINUATION without end", times: 20_000, want: "PROTOCOL_ERROR", most: 128 << 10, first: halfHeader, send: func(f *frames, _ int) error {
		return f.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 200))
	}},
	{name: "CONTINUATION without end, empty", times: 200_000, want: calm, reason: "http2_continuation_flood", most: 128 << 10, first: halfHeader, send: func(f *frames, _ int) error {
		return f.WriteContinuation(1, false, nil)
	}},
	{name: "CONTINUATION without end, a byte at a time", times: 200_000, want: "PROTOCOL_ERROR", most: 128 << 10, first: halfHeader, send: func(f *frames, i int) error {
		return f.WriteContinuation(1, false, []byte{"\x00\x01a\x01b"[i%5]})
	}},
	{name: "PING", times: 20_000, want: calm, reason: "http2_ping_flood", send: func(f *frames, _ int) error { return f.WritePing(false, [8]byte{}) }},
	{name: "SETTINGS", times: 20_000, want: calm, reason: "http2_settings_flood", send: func(f *frames, _ int) error { return f.WriteSettings() }},
	{name: "SETTINGS of another window each", times: 20_000, want: calm, reason: "http2_settings_flood", send: func(f *frames, i int) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
	}},
	{name: "PRIORITY", times: 20_000, want: calm, reason: "http2_frame_flood", send: func(f *frames, i int) error {
		return f.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: 0})
	}},
	{name: "frames of unknown types", times: 20_000, want: calm, reason: "http2_frame_flood", send: func(f *frames, _ int) error { return f.WriteRawFrame(0xee, 0, 1, nil) }},
	{name: "empty DATA", times: 20_000, want: calm, reason: "http2_empty_flood", first: func(f *frames) error { return f.headers(1, sends("/x"), false) }, send: func(f *frames, _ int) error {
		return f.WriteData(1, false, nil)
	}},
	{name: "DATA of padding alone", times: 20_000, want: calm, reason: "http2_empty_flood", first: func(f *frames) error { return f.headers(1, sends("/x"), false) }, send: func(f *frames, _ int) error {
		return f.WriteDataPadded(1, false, nil, make([]byte, 2))
	}},
	{name: "header that unpacks to 64 MiB", times: 1, want: "PROTOCOL_ERROR", send: func(f *frames, _ int) error { return bomb(f, 0, 16_000) }},
	{name: "header of one frame that unpacks to 44 MiB", times: 20, is: bounded, served: "200", send: func(f *frames, i int) error { return bomb(f, i, 11_000) }},
	{name: "table that changes its size with every request", times: 90, is: bounded, served: "200", send: func(f *frames, i int) error {
		sizes := strings.Repeat("\x20\x3f\xe1\x1f", 1000) // 0, 4096, 0, 4096
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: []byte(sizes + "\x82\x86\x84\x41\x01h"), EndHeaders: true, EndStream: true})
	}},
}

func halfHeader(f *frames) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(asks("/x")), EndStream: true})
}

// bomb is a header of one field of 4 KiB, and so many references to it.
func bomb(f *frames, i, references int) error {
	field := "\x40\x01x\x7f\xa1\x1e" + strings.Repeat("a", 4000) // it becomes the first entry of the table, 62
	block := append([]byte("\x82\x86\x84\x01\x01h"), field+strings.Repeat("\xbe", references)...)
	id, most := uint32(2*i+1), min(len(block), 16<<10)
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:most], EndStream: true, EndHeaders: most == len(block)})
	if most < len(block) {
		err = errors.Join(err, f.WriteContinuation(id, true, block[most:]))
	}
	return err
}

// counted counts what is written.
type counted struct {
	net.Conn
	n int
}

// Write implements net.Conn.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.n += n
	return n, err
}

// TestFloods sends each as fast as it can, sees how it ends, and what it has cost the gateway's process. It does not run beside
// other tests, whose work would be counted for the clients'.
func TestFloods(t *testing.T) {
	g := startGateway(t, "", func(path string) script {
		if path != "/silent" {
			return nil
		}
		return func(c net.Conn, _ *bufio.Reader) bool {
			_, _ = io.Copy(io.Discard, c)
			return false
		}
	})
	for _, tt := range floods {
		for _, carrier := range carriers {
			t.Run(tt.name+" "+carrier, func(t *testing.T) {
				refusals := g.refusals(t, tt.reason)
				cost := g.measure(t)
				sent, goaway := g.attack(t, carrier, &tt)
				cost.judge(t, sent)
				if tt.most > 0 && sent > tt.most+2*pace {
					t.Errorf("it took %d bytes", sent)
				}
				// The standard library may be the first to have enough of streams, and then it is not counted.
				if tt.reason != "" && (tt.reason != "http2_reset_flood" || goaway == "") {
					testkit.Eventually(t, "it is counted as "+tt.reason, func() bool { return g.refusals(t, tt.reason) == refusals+1 })
				}
				g.serves(t)
			})
		}
	}
	if out := g.process.Output(); strings.Contains(out, "panic") {
		t.Errorf("the gateway panicked:\n%s", out)
	}
}

// pace is how many bytes are sent before the gateway gets the time to take them, where it counts how many it takes: the kernel would
// take millions.
const pace = 16 << 10

// attack returns how many bytes it could send, and how the connection was ended.
func (g *gateway) attack(t *testing.T, carrier string, tt *flood) (sent int, goaway string) {
	t.Helper()
	f := g.speak(t, carrier)
	c := &counted{Conn: f.Conn}
	reader := f.Framer
	f.Framer = http2.NewFramer(c, nil)
	f.AllowIllegalWrites = true
	writer := f.Framer
	over, gone := make(chan int, 1), make(chan struct{})
	go func() {
		var err error
		if tt.first != nil {
			err = tt.first(f)
		}
		for i, paused := 0, 0; i < tt.times && err == nil; i++ {
			err = tt.send(f, i)
			if tt.most > 0 && c.n-paused > pace {
				paused = c.n
				select {
				case <-gone:
				case <-time.After(20 * time.Millisecond):
					continue
				}
				i = tt.times
			}
		}
		over <- c.n
	}()
	// Reading has a Framer of its own, as both go on at once; acknowledgements are left out.
	in := &frames{client: f.client, Framer: reader, streams: map[uint32]*stream{}}
	if tt.want == "" {
		n := <-over
		in.until(t, func() bool { return len(in.streams) > 0 })
		f.Framer = writer
		id := uint32(2*tt.times + 1)
		if err := f.headers(id, asks("/tail"), true); err != nil {
			t.Fatal(err)
		}
		in.until(t, func() bool { return in.streams[id] != nil && in.streams[id].ended })
		if got := in.streams[id].String(); got != tt.served {
			t.Errorf("the next request got %q", got)
		}
		return n, ""
	}
	for in.goaway == "" && in.next() == nil {
	}
	close(gone)
	n := <-over
	if tt.reason == "" {
		in.untilGone(t)
	} // else the gateway lingers for a client that has just been told to go; this one goes
	_ = f.Conn.Close()
	if in.goaway != tt.want {
		t.Errorf("GOAWAY %q, want %q", in.goaway, tt.want)
	}
	return n, in.goaway
}
