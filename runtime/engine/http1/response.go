package http1

import (
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// UntilClose is the length of a response body that ends with the connection.
const UntilClose = -2

// ResponseHead is the parsed head of a response. It is reused from one response to the next; the strings in it stay valid.
type ResponseHead struct {
	Status int
	Proto  string
	Fields []httpmsg.Field
	// Length is the length of the body that follows: 0 none, -1 chunked, UntilClose.
	Length int64
	// Declared is what Content-Length says, -1 without one; it differs from Length for HEAD, 204 and 304.
	Declared  int64
	KeepAlive bool
	Upgrade   string // of a 101

	f framing
}

// Parse reads the head that s found in text, as the answer to a request with the given method.
func (h *ResponseHead) Parse(text string, s *Scanner, method string) *httpmsg.Error {
	*h = ResponseHead{Fields: h.Fields[:0], f: h.f}
	h.f.reset()
	if err := h.statusLine(s.line(text, 0)); err != nil {
		return err
	}
	for i := 1; i < len(s.ends)-1; i++ {
		name, value, raw, err := field(s.line(text, i))
		if err == nil {
			err = h.f.note(name, value, raw)
		}
		if err != nil {
			return err
		}
		if h.Status == 101 && fold(name, "upgrade") {
			h.Upgrade = value
		}
		h.Fields = append(h.Fields, httpmsg.Field{Name: name, Value: value})
	}
	return h.settle(method)
}

// statusLine reads "HTTP/1.1 200 reason"; the reason, and the space before it, may be missing.
func (h *ResponseHead) statusLine(line string) *httpmsg.Error {
	if len(line) < 12 || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return ErrStatusLine
	}
	switch h.Proto = line[:8]; h.Proto {
	case "HTTP/1.1":
		h.KeepAlive = true
	case "HTTP/1.0":
	default:
		return ErrVersion
	}
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return ErrStatusLine
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 || h.Status > 599 || !validValue(line[12:]) {
		return ErrStatusLine
	}
	return nil
}

func (h *ResponseHead) settle(method string) *httpmsg.Error {
	f := &h.f
	http11 := h.Proto == "HTTP/1.1"
	switch {
	case f.codings > 0 && f.lengths > 0:
		return ErrLengthAndCoding
	case f.codings > 0 && (!f.codingOK || !http11):
		return ErrCoding
	}
	h.Declared = f.length
	if !http11 {
		h.KeepAlive = f.keepAlive
	}
	if f.close {
		h.KeepAlive = false
	}
	switch {
	case h.Status < 200 || h.Status == 204:
		h.Length = 0
		// Such a response has no body; one that says otherwise is about to send bytes nobody asked for.
		if f.codings > 0 || f.length > 0 {
			h.KeepAlive = false
		}
		h.Declared = -1
	case method == "HEAD" || h.Status == 304:
		h.Length = 0
	case f.codings > 0:
		h.Length = -1
	case f.lengths > 0:
		h.Length = f.length
	default:
		h.Length, h.KeepAlive = UntilClose, false
	}
	h.Fields = f.endToEnd(h.Fields)
	return nil
}

// ParseTrailer reads the trailer section that s found in text. Fields that must stand in the header (framing, routing,
// authentication, connection control: RFC 9110 section 6.5.1) are an error if strict, else left out.
func ParseTrailer(text string, s *Scanner, strict bool) (*httpmsg.Header, *httpmsg.Error) {
	if len(s.ends) <= 1 {
		return nil, nil
	}
	h := &httpmsg.Header{}
	for i := range len(s.ends) - 1 {
		name, value, _, err := field(s.line(text, i))
		if err != nil {
			return nil, err
		}
		if ForbiddenTrailer(name) {
			if strict {
				return nil, ErrTrailer
			}
			continue
		}
		h.Add(name, value)
	}
	if len(h.Fields) == 0 {
		return nil, nil
	}
	return h, nil
}

// ForbiddenTrailer reports whether a field must stand in the header (RFC 9110 section 6.5.1). The case of the name is not looked at.
func ForbiddenTrailer(name string) bool {
	if isHopByHop(name) || httpmsg.IsForwarding(name) {
		return true
	}
	switch strings.ToLower(name) {
	case "content-length", "host", "authorization", "trailer", "content-encoding", "content-type", "content-range", "cookie",
		"set-cookie", "expect", "max-forwards", "cache-control", "range", "location", "date", "vary", "age", "expires",
		"pragma", "retry-after", "warning", "www-authenticate", "authentication-info", "proxy-authentication-info",
		"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range":
		return true
	}
	return false
}
