package wire

import (
	"io"

	"github.com/suuupra/gateway/runtime/engine/http1"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

// states of a Body.
const (
	bodyDone = iota
	bodyData // left bytes of content, or of the current chunk, or any number until the connection closes
	bodySize // a chunk-size line comes next
	bodyCRLF // the CRLF behind a chunk's data
	bodyTrailer
)

// Body reads the body of one message from a connection. It is reused from message to message.
type Body struct {
	conn    *Conn
	state   int
	left    int64
	chunked bool
	open    bool // until close
	strict  bool // forbidden trailers are an error
	scan    http1.Scanner
	limits  http1.Limits
	err     error

	// Trailer is set once the body has ended, if there was one.
	Trailer *httpmsg.Header
	// BeforeWait is called before the body waits for the network: it sets deadlines, or says why not to wait.
	BeforeWait func() error
}

// Begin prepares for a body of the given length: bytes, -1 for chunked, http1.UntilClose. The limits bound the trailer.
func (b *Body) Begin(c *Conn, length int64, limits http1.Limits, strictTrailer bool) {
	b.conn, b.limits, b.strict, b.err, b.Trailer = c, limits, strictTrailer, nil, nil
	b.chunked, b.open, b.left = length == -1, length == http1.UntilClose, 0
	switch {
	case length == 0:
		b.state = bodyDone
	case b.chunked:
		b.state = bodySize
	default:
		b.state, b.left = bodyData, length
	}
}

// Done reports whether the whole body, trailer included, has been read.
func (b *Body) Done() bool { return b.state == bodyDone }

// Left is the number of bytes still to come of a body of known length, -1 if unknown.
func (b *Body) Left() int64 {
	if b.chunked || b.open {
		return -1
	}
	return b.left
}

// Next returns the next piece of the body, in the connection's buffer: it is valid until the next call. Without wait, no
// piece and no error mean that more has to come from the network. After the last piece it returns io.EOF.
func (b *Body) Next(wait bool) ([]byte, error) {
	if ready, err := b.step(wait); err != nil || !ready {
		return nil, err
	}
	return b.piece(), nil
}

// piece consumes what is buffered of the content.
func (b *Body) piece() []byte {
	p := b.conn.Buffered()
	if !b.open && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	b.conn.Discard(len(p))
	b.consumed(len(p))
	return p
}

func (b *Body) consumed(n int) {
	if b.open {
		return
	}
	if b.left -= int64(n); b.left == 0 {
		b.state = bodyDone
		if b.chunked {
			b.state = bodyCRLF
		}
	}
}

// wait gets more bytes; the end of the connection ends the body, well or badly.
func (b *Body) wait() error {
	if b.BeforeWait != nil {
		if err := b.BeforeWait(); err != nil {
			return err
		}
	}
	return b.ended(b.conn.Fill())
}

// ended takes the error of a read. All but an interruption are final.
func (b *Body) ended(err error) error {
	switch {
	case err == io.EOF && b.open:
		b.state = bodyDone
		return nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	case err == ErrInterrupted:
		return err
	}
	b.err = err
	return err
}

// syntax reads what stands between chunks. more means that bytes are missing.
func (b *Body) syntax() (more bool, err error) {
	buf := b.conn.Buffered()
	switch b.state {
	case bodySize:
		size, n, err := http1.ChunkSize(buf)
		if err != nil {
			return false, err
		}
		if n == 0 {
			return true, nil
		}
		b.conn.Discard(n)
		if b.state, b.left = bodyData, size; size == 0 {
			b.state = bodyTrailer
			b.scan.Reset()
		}
	case bodyCRLF:
		if len(buf) > 0 && buf[0] != '\r' || len(buf) > 1 && buf[1] != '\n' {
			return false, http1.ErrChunkEnd
		}
		if len(buf) < 2 {
			return true, nil
		}
		b.conn.Discard(2)
		b.state = bodySize
	case bodyTrailer:
		return b.trailer(buf)
	}
	return false, nil
}

func (b *Body) trailer(buf []byte) (more bool, err error) {
	n, bad := b.scan.ScanTrailer(buf, &b.limits)
	if bad != nil {
		return false, bad
	}
	if n == 0 {
		return true, nil
	}
	if n > 2 {
		if b.Trailer, bad = http1.ParseTrailer(string(buf[:n]), &b.scan, b.strict); bad != nil {
			return false, bad
		}
	}
	b.conn.Discard(n)
	b.state = bodyDone
	return false, nil
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) { return b.read(p, true) }

// ReadBuffered is Read without waiting: 0 and no error if more has to come from the network.
func (b *Body) ReadBuffered(p []byte) (int, error) { return b.read(p, false) }

func (b *Body) read(p []byte, wait bool) (int, error) {
	n := 0
	for n < len(p) {
		if b.state == bodyData && b.err == nil {
			want := p[n:]
			if !b.open && int64(len(want)) > b.left {
				want = want[:b.left]
			}
			got := 0
			if len(b.conn.Buffered()) > 0 {
				got, _ = b.conn.Read(want)
			} else if wait && n == 0 && len(want) >= smallBuffer {
				var err error
				if got, err = b.direct(want); err != nil {
					return 0, err
				}
			}
			if got > 0 {
				b.consumed(got)
				n += got
				continue
			}
		}
		if n > 0 && (b.state == bodyDone || b.err != nil) {
			return n, nil
		}
		piece, err := b.step(wait && n == 0)
		if err != nil {
			if n > 0 { // it is kept, and returned by the next call
				return n, nil
			}
			return 0, err
		}
		if !piece {
			return n, nil
		}
	}
	return n, nil
}

// direct reads past the buffer.
func (b *Body) direct(p []byte) (int, error) {
	if b.BeforeWait != nil {
		if err := b.BeforeWait(); err != nil {
			return 0, err
		}
	}
	n, err := b.conn.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, b.ended(err)
}

// step moves on until there is content in the buffer. false means that it would have to wait.
func (b *Body) step(wait bool) (bool, error) {
	for {
		if b.err != nil {
			return false, b.err
		}
		more := false
		switch b.state {
		case bodyDone:
			return false, io.EOF
		case bodyData:
			if len(b.conn.Buffered()) > 0 {
				return true, nil
			}
			more = true
		default:
			var err error
			if more, err = b.syntax(); err != nil {
				b.err = err
				return false, err
			}
		}
		if !more {
			continue
		}
		if !wait {
			return false, nil
		}
		if err := b.wait(); err != nil {
			return false, err
		}
	}
}
