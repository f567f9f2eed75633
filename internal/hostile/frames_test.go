package hostile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client of HTTP/2 that writes what it is told to.
type frames struct {
	*client
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder

	streams map[uint32]*stream
	goaway  string // the code of the first, if one came
	acked   bool   // our SETTINGS
	pongs   int
	data    int                        // bytes of DATA
	windows struct{ stream, conn int } // what stream 1 and the connection may send
}

// stream is what came on one.
type stream struct {
	status, reset string
	header        []string // "name: value"
	body          strings.Builder
	ended         bool
}

// String is the stream as tables write it: "200", "400 bad_host", "RST PROTOCOL_ERROR".
func (s *stream) String() string {
	switch {
	case s == nil:
		return ""
	case s.reset != "" && s.reset != "NO_ERROR": // that one says that the rest of the request is not needed
		return "RST " + s.reset
	}
	return strings.TrimSpace(s.status + " " + code(s.body.String()))
}

// speak begins a connection with the settings given.
func (g *gateway) speak(t *testing.T, carrier string, settings ...http2.Setting) *frames {
	t.Helper()
	return g.speakFrom(t, carrier, "", settings...)
}

// speakFrom begins one from an address of this machine, as dialFrom does.
func (g *gateway) speakFrom(t *testing.T, carrier, from string, settings ...http2.Setting) *frames {
	t.Helper()
	f := &frames{client: g.dialFrom(t, carrier, "h2", from), streams: map[uint32]*stream{}}
	f.Framer = http2.NewFramer(f.Conn, f.in)
	f.windows.stream, f.windows.conn = 65535, 65535
	f.AllowIllegalWrites, f.enc = true, hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(f.Conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	f.until(t, func() bool { return f.acked })
	return f
}

// until reads frames until the condition holds, and fails if the connection ends before.
func (f *frames) until(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if err := f.next(); err != nil {
			t.Fatalf("the connection ended: %v, GOAWAY %s", err, f.goaway)
		}
	}
}

// untilGone reads frames until the connection ends.
func (f *frames) untilGone(t *testing.T) {
	t.Helper()
	for {
		if err := f.next(); err != nil {
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the connection was not ended")
			}
			return
		}
	}
}

// next reads one frame and notes what it says.
func (f *frames) next() error {
	got, err := f.ReadFrame()
	if err != nil {
		return err
	}
	id := got.Header().StreamID
	s := f.streams[id]
	if s == nil && id != 0 && got.Header().Type != http2.FrameWindowUpdate {
		s = &stream{}
		f.streams[id] = s
	}
	switch got := got.(type) {
	case *http2.SettingsFrame:
		if !got.IsAck() {
			if size, given := got.Value(http2.SettingInitialWindowSize); given {
				f.windows.stream = int(size)
			}
			return f.WriteSettingsAck()
		}
		f.acked = true
	case *http2.MetaHeadersFrame:
		if status := got.PseudoValue("status"); status != "" && status[0] != '1' {
			s.status = status
			for _, field := range got.RegularFields() {
				s.header = append(s.header, field.Name+": "+field.Value)
			}
		}
		s.ended = s.ended || got.StreamEnded()
	case *http2.DataFrame:
		f.data += len(got.Data())
		_, _ = s.body.Write(got.Data())
		s.ended = s.ended || got.StreamEnded()
	case *http2.RSTStreamFrame:
		s.reset, s.ended = got.ErrCode.String(), true
	case *http2.GoAwayFrame:
		if f.goaway == "" {
			f.goaway = got.ErrCode.String()
		}
	case *http2.WindowUpdateFrame:
		switch id {
		case 0:
			f.windows.conn += int(got.Increment)
		case 1:
			f.windows.stream += int(got.Increment)
		}
	case *http2.PingFrame:
		if got.IsAck() {
			f.pongs++
		}
	}
	return nil
}

// fields are those of a header, in their order; the name and its value alternate.
type fields []string

// asks are the fields of a request for path.
func asks(path string, more ...string) fields {
	return append(fields{":method", "GET", ":scheme", "http", ":authority", "h", ":path", path}, more...)
}

// sends are the fields of a request with a body.
func sends(path string, more ...string) fields {
	return append(fields{":method", "POST", ":scheme", "http", ":authority", "h", ":path", path}, more...)
}

// encode packs a header.
func (f *frames) encode(h fields) []byte {
	f.block.Reset()
	for i := 0; i < len(h); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: h[i], Value: h[i+1]})
	}
	return bytes.Clone(f.block.Bytes())
}

// headers sends a header, in CONTINUATION frames where it does not fit into one.
func (f *frames) headers(id uint32, h fields, end bool) error {
	block := f.encode(h)
	const most = 16 << 10
	first := block[:min(len(block), most)]
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(block) <= most, EndStream: end})
	for rest := block[len(first):]; len(rest) > 0 && err == nil; {
		piece := rest[:min(len(rest), most)]
		rest = rest[len(piece):]
		err = f.WriteContinuation(id, len(rest) == 0, piece)
	}
	return err
}

// ask sends a whole request without a body, and returns its stream once it has ended.
func (f *frames) ask(t *testing.T, id uint32, h fields) *stream {
	t.Helper()
	if err := f.headers(id, h, true); err != nil {
		t.Fatal(err)
	}
	f.until(t, func() bool { return f.streams[id] != nil && f.streams[id].ended })
	return f.streams[id]
}

// result is the fate of a stream, and of the connection if it was ended with an error.
func (f *frames) result(id uint32) string {
	if f.goaway != "" && (f.goaway != "NO_ERROR" || f.streams[id] == nil) {
		return "GOAWAY " + f.goaway
	}
	return fmt.Sprint(f.streams[id])
}
