package compression

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/suuupra/gateway/runtime/policy"
)

// encoder is what the two libraries have in common.
type encoder interface {
	io.Writer
	Flush() error
	Close() error
	Reset(w io.Writer)
}

// algorithm is a content coding, with encoders that wait to be used again: making one costs more than most responses.
type algorithm struct {
	name, alias string
	pool        sync.Pool
}

// zstdWindow is how far zstd looks back, in bytes. Clients need not support more than 8 MiB (RFC 9659); an encoder holds a few
// times as much for as long as a response takes.
const zstdWindow = 256 << 10

var algorithms = map[string]*algorithm{
	"gzip": {name: "gzip", alias: "x-gzip", pool: sync.Pool{New: func() any {
		return gzip.NewWriter(io.Discard)
	}}},
	"zstd": {name: "zstd", alias: "zstd", pool: sync.Pool{New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil { // the options are constants
			panic(err)
		}
		return e
	}}},
}

// stream compresses one response. It implements policy.Stream.
type stream struct {
	from  *algorithm
	enc   encoder
	out   []byte
	dirty bool // the encoder holds something back
}

func (a *algorithm) stream() policy.Stream {
	s := &stream{from: a, enc: a.pool.Get().(encoder)}
	s.enc.Reset((*sink)(s))
	return s
}

// sink is where the encoder writes.
type sink stream

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	s.out = append(s.out, p...)
	return len(p), nil
}

// Chunk implements policy.Stream.
func (s *stream) Chunk(p []byte) ([]byte, error) {
	s.out, s.dirty = s.out[:0], true
	_, err := s.enc.Write(p)
	return s.out, err
}

// Flush implements policy.Stream.
func (s *stream) Flush() ([]byte, error) {
	s.out = s.out[:0]
	if !s.dirty {
		return nil, nil
	}
	s.dirty = false
	err := s.enc.Flush()
	return s.out, err
}

// End implements policy.Stream.
func (s *stream) End() ([]byte, error) {
	s.out = s.out[:0]
	err := s.enc.Close()
	return s.out, err
}

// Close implements policy.Stream. The encoder goes back, whatever state it is in: whoever takes it next resets it.
func (s *stream) Close() {
	if s.enc == nil {
		return
	}
	s.enc.Reset(io.Discard)
	s.from.pool.Put(s.enc)
	s.enc, s.out = nil, nil
}
