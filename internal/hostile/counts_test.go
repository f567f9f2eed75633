package hostile_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// count is something a client may do so often on a connection of HTTP/2, and not once more.
type count struct {
	name  string
	most  int
	first func(f *frames) error
	send  func(f *frames, i int) error
	seen  func(f *frames) int // how many the gateway has looked at; nil: a request behind them shows it
	want  string              // of the one too many: "GOAWAY ..." of the connection, or what becomes of its stream
}

var counts = []count{
	{name: "resets", most: 100, want: "GOAWAY " + calm, send: func(f *frames, i int) error {
		id := uint32(2*i + 1)
		return errors.Join(f.headers(id, asks("/silent"), true), f.WriteRSTStream(id, http2.ErrCodeCancel))
	}},
	{name: "PING", most: 100, want: "GOAWAY " + calm, send: func(f *frames, _ int) error { return f.WritePing(false, [8]byte{}) }, seen: func(f *frames) int { return f.pongs }},
	{name: "SETTINGS", most: 98, want: "GOAWAY " + calm, send: func(f *frames, _ int) error { return f.WriteSettings() }}, // beside the first, and one that acknowledges
	{name: "empty DATA", most: 100, want: "GOAWAY " + calm, first: func(f *frames) error { return f.headers(5001, sends("/silent"), false) }, send: func(f *frames, _ int) error {
		return f.WriteData(5001, false, nil)
	}},
	{name: "PRIORITY", most: 1000, want: "GOAWAY " + calm, send: func(f *frames, _ int) error {
		return f.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	}},
	{name: "streams at a time", most: 99, want: protocolError, send: func(f *frames, i int) error { // and the one that asks
		return f.headers(uint32(2*i+1), asks("/silent"), true)
	}},
}

// TestCounts holds the bounds of a connection: as many are taken, and one more is not.
func TestCounts(t *testing.T) {
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
	for _, tt := range counts {
		for _, carrier := range carriers {
			t.Run(tt.name+" "+carrier, func(t *testing.T) {
				f := g.speak(t, carrier)
				if tt.first != nil {
					if err := tt.first(f); err != nil {
						t.Fatal(err)
					}
				}
				for i := range tt.most {
					if err := tt.send(f, i); err != nil {
						t.Fatal(err)
					}
				}
				if tt.seen != nil {
					f.until(t, func() bool { return tt.seen(f) == tt.most })
				} else if got := f.ask(t, 6001, asks("/x")).String(); got != "200" {
					t.Errorf("after %d: %q", tt.most, got)
				}
				if tt.name == "streams at a time" { // one takes the place of the one that has asked
					if err := f.headers(6003, asks("/silent"), true); err != nil {
						t.Fatal(err)
					}
				}
				id := uint32(7001)
				if err := tt.send(f, (int(id)-1)/2); err != nil {
					t.Fatal(err)
				}
				for f.goaway == "" && (f.streams[id] == nil || !f.streams[id].ended) && f.next() == nil {
				}
				if got := f.result(id); got != tt.want {
					t.Errorf("one more: %q, want %q", got, tt.want)
				}
				g.serves(t)
			})
		}
	}
}

// TestAnsweredStreams resets more than a hundred streams of a client that is busy: most are answered, and that is no attack.
func TestAnsweredStreams(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", nil)
	f := g.speak(t, "over TLS")
	id := uint32(1)
	for range 150 {
		for range 2 {
			if got := f.ask(t, id, asks("/x")).String(); got != "200" {
				t.Fatalf("stream %d got %q", id, got)
			}
			id += 2
		}
		if err := errors.Join(f.headers(id, asks("/x"), true), f.WriteRSTStream(id, http2.ErrCodeCancel)); err != nil {
			t.Fatal(err)
		}
		id += 2
	}
	if got := f.ask(t, id, asks("/x")).String(); got != "200" {
		t.Errorf("the last got %q", got)
	}
}
