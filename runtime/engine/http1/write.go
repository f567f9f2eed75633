package http1

import (
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// SafeField reports whether a field can be sent without becoming something else: the name is a token, the value is on one
// line. Fields read by this package are; fields made elsewhere may hold what a client sent.
func SafeField(f httpmsg.Field) bool {
	return f.Name != "" && all(f.Name, classToken) && validValue(f.Value)
}

// AppendField appends one field line.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':', ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendStatusLine appends the status line of a response.
func AppendStatusLine(dst []byte, status int) []byte {
	if status == 200 {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, httpmsg.StatusText(status)...)
	return append(dst, '\r', '\n')
}

// IsFraming reports whether a field belongs to the connection or to the framing of the message: whoever writes a head writes
// these itself.
func IsFraming(name string) bool {
	switch len(name) {
	case 2, 7, 10, 16, 17, 18, 19:
		return isHopByHop(name)
	case len("content-length"):
		return strings.EqualFold(name, "content-length")
	}
	return false
}
