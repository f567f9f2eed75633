// Package httpmsg holds HTTP messages as the gateway sees them, whatever protocol carried them: an ordered header list,
// a request and a response. It does no I/O, and knows neither the engine below it nor the policies above it.
//
// All strings are ordinary, immutable Go strings: a policy may keep them beyond the exchange.
package httpmsg

import (
	"io"
	"net/netip"
	"strings"
	"time"
)

// Field is one header field line. Name keeps the spelling it arrived in; lookups fold ASCII case (RFC 9110 section 5.1).
type Field struct{ Name, Value string }

// Header is a list of field lines in the order they were received or will be sent. The zero value is empty.
type Header struct{ Fields []Field }

// Get returns the value of the first field with that name, or "".
func (h *Header) Get(name string) string {
	for i := range h.Fields {
		if strings.EqualFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value
		}
	}
	return ""
}

// Has reports whether a field with that name is present.
func (h *Header) Has(name string) bool { return h.Count(name) > 0 }

// Count returns the number of field lines with that name.
func (h *Header) Count(name string) int {
	n := 0
	for i := range h.Fields {
		if strings.EqualFold(h.Fields[i].Name, name) {
			n++
		}
	}
	return n
}

// Values returns every value with that name, in order.
func (h *Header) Values(name string) []string {
	var out []string
	for i := range h.Fields {
		if strings.EqualFold(h.Fields[i].Name, name) {
			out = append(out, h.Fields[i].Value)
		}
	}
	return out
}

// Add appends a field line.
func (h *Header) Add(name, value string) { h.Fields = append(h.Fields, Field{name, value}) }

// Set replaces every field with that name by one line, in the place of the first.
func (h *Header) Set(name, value string) {
	out, done := h.Fields[:0], false
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, name) {
			if done {
				continue
			}
			f, done = Field{name, value}, true
		}
		out = append(out, f)
	}
	if !done {
		out = append(out, Field{name, value})
	}
	h.Fields = out
}

// Del removes every field with that name.
func (h *Header) Del(name string) {
	out := h.Fields[:0]
	for _, f := range h.Fields {
		if !strings.EqualFold(f.Name, name) {
			out = append(out, f)
		}
	}
	h.Fields = out
}

// Reset empties the list and keeps its memory.
func (h *Header) Reset() { h.Fields = h.Fields[:0] }

// Request is one request as received. Body is nil when there is none.
type Request struct {
	Method string
	Target string // request-target exactly as received
	Proto  string // "HTTP/1.1", "HTTP/1.0" or "HTTP/2.0"
	Scheme string // "http" or "https", as the client's connection to the gateway was
	// Host is the authority the request is for: lower case, without the port; empty for HTTP/1.0 without one.
	Host      string
	Authority string // as received, with the port; what goes upstream as Host
	Peer      netip.AddrPort
	// Header holds the end-to-end fields. What is meant for one hop only (RFC 9110 section 7.6.1: Connection and every
	// field it names, Transfer-Encoding, Upgrade and so on) has been taken out before any policy looks, so that policies
	// judge exactly what goes upstream and a client cannot have a field removed after it was judged or added. The list is
	// valid until the exchange ends; the strings in it may be kept.
	Header        Header
	ContentLength int64 // -1: unknown (chunked)
	Body          io.Reader
	Trailer       *Header // filled once Body has returned io.EOF

	// PeerTrusted says that the peer is a trusted proxy (Proxies.Sanitise found so): its account of where the request came
	// from is continued. Otherwise any such account is dropped.
	PeerTrusted bool

	Received time.Time // first byte of the header
	// MaxBody bounds Body in bytes: reading beyond it returns an *Error with status 413. The engine sets it to the
	// listener's limit; a route may move it before the body is read.
	MaxBody int64
	// Upgrade is the one protocol the client asks to switch to, "" if none. "h2c" never appears here.
	Upgrade        string
	WantsTrailers  bool // the client announced "TE: trailers"
	ExpectContinue bool // the client waits for 100 (Continue) before it sends the body
}

// Response is one response, from an upstream or made by the gateway itself. Body is nil when there is none.
type Response struct {
	Status        int
	Header        Header
	ContentLength int64 // -1: unknown
	Body          io.Reader
	Trailer       *Header // filled once Body has returned io.EOF
}
