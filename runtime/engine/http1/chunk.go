package http1

import (
	"strconv"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// ChunkSize reads a chunk-size line at the beginning of buf: 1 to 16 hexadecimal digits and CRLF, nothing else. n is the
// length of the line, 0 if more bytes are needed.
func ChunkSize(buf []byte) (size int64, n int, err *httpmsg.Error) {
	var v uint64
	for i, c := range buf {
		d := hexDigit(c)
		if d < 16 {
			if i == 16 {
				return 0, 0, ErrChunkSize
			}
			v = v<<4 | uint64(d)
			continue
		}
		if c != '\r' || i == 0 || v > 1<<63-1 {
			return 0, 0, ErrChunkSize
		}
		if i+1 == len(buf) {
			return 0, 0, nil
		}
		if buf[i+1] != '\n' {
			return 0, 0, ErrChunkSize
		}
		return int64(v), i + 2, nil
	}
	return 0, 0, nil
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// AppendChunkSize appends the size line of a chunk with n > 0 bytes.
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, '\r', '\n')
}

// LastChunk ends a chunked body without trailers.
const LastChunk = "0\r\n\r\n"

// AppendLastChunk ends a chunked body with trailers, which may be nil.
func AppendLastChunk(dst []byte, trailer *httpmsg.Header) []byte {
	if trailer == nil {
		return append(dst, LastChunk...)
	}
	dst = append(dst, "0\r\n"...)
	for _, f := range trailer.Fields {
		if SafeField(f) && !ForbiddenTrailer(f.Name) {
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, '\r', '\n')
}
