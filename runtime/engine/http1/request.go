package http1

import (
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// RequestHead is the parsed head of a request. It is reused from one request to the next on a connection; the strings in it
// stay valid.
type RequestHead struct {
	Method    string
	Target    string
	Proto     string // "HTTP/1.1" or "HTTP/1.0"
	Host      string // lower case, without port and final dot
	Authority string // Host as received
	Fields    []httpmsg.Field
	// Length is the length of the body: 0 none, -1 chunked.
	Length         int64
	KeepAlive      bool
	ExpectContinue bool
	WantsTrailers  bool
	Upgrade        string // the one protocol asked for, never h2c

	f        framing
	hosts    int
	host     string
	upgrades int
	upgrade  string
}

// maxMethod is longer than any registered method.
const maxMethod = 24

// Parse reads the head that s found in text. text must be the bytes up to and including the empty line; the fields are
// substrings of it.
func (h *RequestHead) Parse(text string, s *Scanner, lim *Limits) *httpmsg.Error {
	*h = RequestHead{Fields: h.Fields[:0], f: h.f}
	h.f.reset()
	if err := h.requestLine(s.line(text, 0), lim); err != nil {
		return err
	}
	for i := 1; i < len(s.ends)-1; i++ {
		name, value, raw, err := field(s.line(text, i))
		if err == nil {
			err = h.note(name, value, raw)
		}
		if err != nil {
			return err
		}
		h.Fields = append(h.Fields, httpmsg.Field{Name: name, Value: value})
	}
	if err := h.settle(); err != nil {
		return err
	}
	return h.authority()
}

func (h *RequestHead) requestLine(line string, lim *Limits) *httpmsg.Error {
	sp := strings.IndexByte(line, ' ')
	if sp <= 0 || sp > maxMethod {
		return ErrRequestLine
	}
	h.Method = line[:sp]
	if !all(h.Method, classMethod) || h.Method[0] < 'A' || h.Method[0] > 'Z' {
		return ErrMethod
	}
	rest := line[sp+1:]
	sp = strings.IndexByte(rest, ' ')
	if sp <= 0 {
		return ErrRequestLine
	}
	h.Target, h.Proto = rest[:sp], rest[sp+1:]
	switch {
	case len(h.Target) > lim.Target:
		return ErrTargetLong
	case h.Proto == "HTTP/1.1":
		h.KeepAlive = true
	case h.Proto != "HTTP/1.0":
		return ErrVersion
	}
	if h.Method == "CONNECT" {
		return ErrConnect
	}
	if !all(h.Target, classTarget) {
		return ErrTarget
	}
	return nil
}

// note looks at the fields that mean something to requests alone, then at framing.
func (h *RequestHead) note(name, value, raw string) *httpmsg.Error {
	switch len(name) {
	case len("host"):
		if fold(name, "host") {
			h.hosts++
			h.host = value
		}
		return nil
	case len("te"):
		if fold(name, "te") {
			h.WantsTrailers = h.WantsTrailers || hasTrailers(value)
		}
	case len("expect"):
		if fold(name, "expect") {
			if !fold(value, "100-continue") || h.ExpectContinue {
				return ErrExpect
			}
			h.ExpectContinue = true
		}
	case len("upgrade"):
		if fold(name, "upgrade") {
			h.upgrades++
			h.upgrade = value
		}
	case len("http2-settings"):
		if fold(name, "http2-settings") { // belongs to the h2c upgrade, which ends here
			h.f.named = append(h.f.named, "http2-settings")
			h.f.hopByHop = true
		}
	}
	return h.f.note(name, value, raw)
}

// settle decides framing and the fate of the connection.
func (h *RequestHead) settle() *httpmsg.Error {
	f := &h.f
	http11 := h.Proto == "HTTP/1.1"
	switch {
	case f.codings > 0 && f.lengths > 0:
		return ErrLengthAndCoding
	case f.codings > 0 && (!f.codingOK || !http11):
		return ErrCoding
	case f.codings > 0:
		h.Length = -1
	case f.lengths > 0:
		h.Length = f.length
	}
	if !http11 {
		h.KeepAlive = f.keepAlive
		h.ExpectContinue = false // RFC 9110 section 10.1.1
	}
	if f.close {
		h.KeepAlive = false
	}
	// An upgrade with a body would have to wait for its end: the request is served as an ordinary one instead.
	if f.upgrade && h.upgrades == 1 && http11 && h.Length == 0 && all(strings.ReplaceAll(h.upgrade, "/", ""), classToken) &&
		!fold(h.upgrade, "h2c") && !fold(h.upgrade, "h2") && h.upgrade != "" {
		h.Upgrade = h.upgrade
	}
	h.ExpectContinue = h.ExpectContinue && h.Length != 0
	h.Fields = f.endToEnd(h.Fields)
	return nil
}

// hasTrailers looks for the member "trailers" in a TE field.
func hasTrailers(value string) bool {
	for part := range strings.SplitSeq(value, ",") {
		if fold(strings.Trim(part, " \t"), "trailers") {
			return true
		}
	}
	return false
}
