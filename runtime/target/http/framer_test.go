package httptarget_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is a server that speaks HTTP/2 frame by frame.
type peer struct {
	t testing.TB
	net.Conn
	*http2.Framer
	number int // of the connection, the first is 1
	block  bytes.Buffer
	fields *hpack.Encoder
}

// framing is an origin whose connections are scripted in frames. The preface and the first settings have been exchanged.
func framing(t testing.TB, serve func(p *peer)) *origin {
	t.Helper()
	return startOrigin(t, func(o *origin, c net.Conn, r *bufio.Reader) {
		p := &peer{t: t, Conn: c, Framer: http2.NewFramer(c, r), number: int(o.conns.Load())}
		p.fields = hpack.NewEncoder(&p.block)
		p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		p.AllowIllegalWrites = true
		if _, err := r.Discard(len(http2.ClientPreface)); err != nil {
			return
		}
		if p.WriteSettings() == nil && p.WriteSettingsAck() == nil {
			serve(p)
		}
	})
}

// next reads frames up to one that asks for something: a header, data, a reset. Nil is the end of the connection.
func (p *peer) next() http2.Frame {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame:
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = p.WritePing(true, f.Data)
			}
		default:
			return f
		}
	}
}

// request reads up to the header of a request, and returns its stream; 0 is the end of the connection.
func (p *peer) request() uint32 {
	for {
		switch f := p.next().(type) {
		case nil:
			return 0
		case *http2.MetaHeadersFrame:
			return f.StreamID
		}
	}
}

// pack encodes a header: names and values in turn.
func (p *peer) pack(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = p.fields.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

// head sends the header of a response.
func (p *peer) head(stream uint32, end bool, pairs ...string) {
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.pack(pairs...), EndHeaders: true, EndStream: end})
}

// answer sends a whole response.
func (p *peer) answer(stream uint32) {
	p.head(stream, false, ":status", "200", "content-length", "2")
	_ = p.WriteData(stream, true, []byte("ok"))
}

// linger reads until the connection ends.
func (p *peer) linger() { _, _ = io.Copy(io.Discard, p.Conn) }

// http2Options are for an upstream that speaks HTTP/2 by prior knowledge.
func http2Options(addrs ...string) options {
	o := defaults(addrs...)
	o.upstream.Protocol = "http2"
	return o
}
