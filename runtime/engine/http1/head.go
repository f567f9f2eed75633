package http1

import (
	"bytes"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// Limits bound a head: its bytes, its fields and, for requests, the target.
type Limits struct {
	Bytes  int
	Fields int
	Target int
}

// Scanner finds the end of a head in a growing buffer, looking at each byte once. It refuses at the first line that can
// not be right, so that nobody waits for the rest of a malformed head. The zero value is ready.
type Scanner struct {
	ends  []int // offset behind each line's LF
	start int   // of the first line: 2 behind an empty line before a request
	pos   int   // bytes looked at
}

// Reset prepares for the next head.
func (s *Scanner) Reset() { s.ends, s.start, s.pos = s.ends[:0], 0, 0 }

// kinds of head a Scanner can look for.
const (
	kindRequest = iota
	kindResponse
	kindTrailer
)

// ScanRequest returns the length of the request head at the beginning of buf, or 0 if it is not complete yet.
func (s *Scanner) ScanRequest(buf []byte, lim *Limits) (int, *httpmsg.Error) {
	return s.scan(buf, lim, kindRequest)
}

// ScanResponse returns the length of the response head at the beginning of buf, or 0 if it is not complete yet.
func (s *Scanner) ScanResponse(buf []byte, lim *Limits) (int, *httpmsg.Error) {
	return s.scan(buf, lim, kindResponse)
}

// ScanTrailer returns the length of the trailer section at the beginning of buf, or 0 if it is not complete yet.
func (s *Scanner) ScanTrailer(buf []byte, lim *Limits) (int, *httpmsg.Error) {
	return s.scan(buf, lim, kindTrailer)
}

func (s *Scanner) scan(buf []byte, lim *Limits, kind int) (int, *httpmsg.Error) {
	for {
		i := bytes.IndexByte(buf[s.pos:], '\n')
		if i < 0 {
			break
		}
		begin := s.start
		if n := len(s.ends); n > 0 {
			begin = s.ends[n-1]
		}
		lf := s.pos + i
		if lf == begin || buf[lf-1] != '\r' {
			return 0, ErrLineEnd
		}
		s.pos = lf + 1
		if lf-1 == begin { // an empty line
			switch {
			case len(s.ends) > 0 || kind == kindTrailer:
				s.ends = append(s.ends, lf+1)
				if lf+1 > lim.Bytes {
					return 0, ErrHeaderSize
				}
				return lf + 1, nil
			case kind == kindRequest && s.start == 0: // RFC 9112 section 2.2 asks to ignore one
				s.start = lf + 1
				continue
			default:
				return 0, ErrRequestLine
			}
		}
		s.ends = append(s.ends, lf+1)
		if len(s.ends) > lim.Fields+1 {
			return 0, ErrHeaderCount
		}
	}
	s.pos = len(buf)
	return 0, s.early(buf, lim, kind)
}

// early refuses an incomplete head that no further byte can mend.
func (s *Scanner) early(buf []byte, lim *Limits, kind int) *httpmsg.Error {
	const around = 48 // longest method, two spaces, version, CRLF
	switch {
	case len(s.ends) == 0 && kind == kindRequest && len(buf) > s.start && classes[buf[s.start]]&classMethod == 0 && buf[s.start] != '\r':
		return ErrMethod // a TLS hello on a plain port, for one
	case len(s.ends) == 0 && kind == kindRequest && len(buf)-s.start > lim.Target+around:
		return ErrTargetLong
	case len(buf) >= lim.Bytes:
		return ErrHeaderSize
	}
	return nil
}

// lines returns the text of line i, without its CRLF.
func (s *Scanner) line(text string, i int) string {
	begin := s.start
	if i > 0 {
		begin = s.ends[i-1]
	}
	return text[begin : s.ends[i]-2]
}

// field splits a field line. raw is the value as it stands, before white space is trimmed.
func field(line string) (name, value, raw string, err *httpmsg.Error) {
	i := 0
	for i < len(line) && classes[line[i]]&classToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		if line[0] == ' ' || line[0] == '\t' { // never empty: an empty line ends the head
			return "", "", "", ErrFold
		}
		return "", "", "", ErrFieldName
	}
	name, raw = line[:i], line[i+1:]
	begin, end := 0, len(raw)
	for begin < end && (raw[begin] == ' ' || raw[begin] == '\t') {
		begin++
	}
	for end > begin && (raw[end-1] == ' ' || raw[end-1] == '\t') {
		end--
	}
	value = raw[begin:end]
	if !validValue(value) {
		return "", "", "", ErrFieldValue
	}
	return name, value, raw, nil
}

// framing collects what a head says about the length of the body and the fate of the connection.
type framing struct {
	length    int64 // -1: not said
	lengths   int
	codings   int
	codingOK  bool
	close     bool
	keepAlive bool
	upgrade   bool
	named     []string // fields the Connection field names, as spelled
	hopByHop  bool     // there is something to remove
}

// maxNamed bounds the fields one Connection header may name; real ones name two or three.
const maxNamed = 32

func (f *framing) reset() { *f = framing{length: -1, named: f.named[:0]} }

// note looks at one field. Only names of certain lengths are compared at all.
func (f *framing) note(name, value, raw string) *httpmsg.Error {
	switch len(name) {
	case len("content-length"):
		if !fold(name, "content-length") {
			return nil
		}
		f.lengths++
		n, ok := ParseLength(exact(raw))
		if f.length = n; !ok || f.lengths > 1 {
			return ErrLength
		}
	case len("transfer-encoding"):
		if !fold(name, "transfer-encoding") {
			return nil
		}
		f.hopByHop = true
		f.codings++
		f.codingOK = f.codings == 1 && fold(exact(raw), "chunked")
	case len("connection"): // also keep-alive
		if fold(name, "connection") {
			f.hopByHop = true
			return f.options(value)
		}
		f.hopByHop = f.hopByHop || fold(name, "keep-alive")
	case len("proxy"):
		// Not a field of HTTP, but one that CGI hands on as HTTP_PROXY, which clients behind it obey ("httpoxy").
		f.hopByHop = f.hopByHop || fold(name, "proxy")
	case len("te"), len("upgrade"): // also trailer, which is end-to-end
		if fold(name, "te") || fold(name, "upgrade") {
			f.hopByHop = true
		}
	case len("proxy-connection"), len("proxy-authenticate"), len("proxy-authorization"):
		if fold(name[:6], "proxy-") {
			f.hopByHop = true
		}
	}
	return nil
}

// exact takes the value of a framing field with at most one space before it and nothing behind: parsers differ about more.
func exact(raw string) string { return strings.TrimPrefix(raw, " ") }

// options reads a Connection field.
func (f *framing) options(value string) *httpmsg.Error {
	for more := true; more; {
		var option string
		option, value, more = strings.Cut(value, ",")
		option = strings.Trim(option, " \t")
		switch {
		case option == "":
		case fold(option, "close"):
			f.close = true
		case fold(option, "keep-alive"):
			f.keepAlive = true
		case fold(option, "upgrade"):
			f.upgrade = true
		case !all(option, classToken), len(f.named) == maxNamed:
			return ErrConnection
		default:
			f.named = append(f.named, option)
		}
	}
	return nil
}

// drops reports whether a field ends at this hop: RFC 9110 section 7.6.1. Host and Content-Length cannot be named away.
func (f *framing) drops(name string) bool {
	switch len(name) {
	case 2, 5, 7, 10, 16, 17, 18, 19:
		if isHopByHop(name) {
			return true
		}
	}
	for _, n := range f.named {
		if strings.EqualFold(n, name) {
			return !fold(name, "host") && !fold(name, "content-length")
		}
	}
	return false
}

func isHopByHop(name string) bool {
	for _, n := range [...]string{
		"connection", "keep-alive", "proxy", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
		"transfer-encoding", "upgrade",
	} {
		if fold(name, n) {
			return true
		}
	}
	return false
}

// endToEnd removes the fields that end at this hop.
func (f *framing) endToEnd(fields []httpmsg.Field) []httpmsg.Field {
	if !f.hopByHop {
		return fields
	}
	out := fields[:0]
	for i := range fields {
		if !f.drops(fields[i].Name) {
			out = append(out, fields[i])
		}
	}
	return out
}

// ParseLength reads 1*DIGIT that fits an int64.
func ParseLength(s string) (int64, bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return int64(n), n <= 1<<63-1
}
