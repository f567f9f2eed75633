package telemetry

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/suuupra/gateway/runtime/policy"
)

// Record is one finished request, as the access log tells it. Empty strings and zero numbers are left out of the line,
// but for status, bytes and duration. There is no query: it may carry secrets.
type Record struct {
	Time      time.Time // first byte of the request
	ID        string    // request id
	ClientIP  netip.Addr
	Method    string
	Host      string
	Path      string // normalised
	Proto     string
	Status    int
	BytesIn   int64 // of the request, its head included
	BytesOut  int64 // of the response, its head included
	Duration  time.Duration
	Upstream  string
	Endpoint  string
	Header    time.Duration // from the request sent upstream to its response header
	Attempts  int
	Route     string
	Pattern   string // the matched pattern
	Tenant    string
	Bundle    string // digest of the bundle that decided; the line has its first twelve digits
	Code      string // why it was refused
	Cause     string // what was behind that, as a policy or the upstream tells it
	UserAgent string
	TraceID   string
}

// Fill takes over what the exchange knows. The caller adds Status, Code, Bundle, TraceID and the bytes.
func (r *Record) Fill(x *policy.Exchange, ended time.Time) {
	r.Time, r.ID, r.ClientIP, r.Path = x.Timings.Start, x.ID, x.ClientIP, x.Path
	if q := x.Request; q != nil {
		r.Method, r.Host, r.Proto, r.UserAgent = q.Method, q.Host, q.Proto, q.Header.Get("User-Agent")
	}
	r.Duration = ended.Sub(x.Timings.Start)
	r.Upstream, r.Endpoint, r.Attempts, r.Cause = x.Upstream, x.Endpoint, x.Attempt, x.Cause
	if !x.Timings.UpstreamStart.IsZero() && !x.Timings.UpstreamHeader.IsZero() {
		r.Header = x.Timings.UpstreamHeader.Sub(x.Timings.UpstreamStart)
	}
	r.Route, r.Pattern, r.Tenant = x.Route.ID, x.Route.Pattern, x.Tenant
}

// The most a line keeps of what a client may choose, in bytes. What is cut ends in "...".
const (
	maxPath = 2048
	maxText = 512
)

// shortDigest is the part of a digest that people compare: twelve digits without the algorithm.
func shortDigest(d string) string {
	if _, hex, ok := strings.Cut(d, ":"); ok {
		d = hex
	}
	return d[:min(len(d), 12)]
}

// appendJSON appends the record as one line of JSON.
func (r *Record) appendJSON(b []byte) []byte {
	b = append(b, `{"ts":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '"')
	b = stringField(b, `,"id":"`, r.ID, maxText)
	if r.ClientIP.IsValid() {
		b = append(b, `,"client":"`...)
		b = r.ClientIP.WithZone("").Unmap().AppendTo(b) // a zone is free text
		b = append(b, '"')
	}
	b = stringField(b, `,"method":"`, r.Method, maxText)
	b = stringField(b, `,"host":"`, r.Host, maxText)
	b = stringField(b, `,"path":"`, r.Path, maxPath)
	b = stringField(b, `,"proto":"`, r.Proto, maxText)
	b = intField(b, `,"status":`, int64(r.Status))
	b = intField(b, `,"bytes_in":`, r.BytesIn)
	b = intField(b, `,"bytes_out":`, r.BytesOut)
	b = append(b, `,"duration_ms":`...)
	b = appendMillis(b, r.Duration)
	b = stringField(b, `,"upstream":"`, r.Upstream, maxText)
	b = stringField(b, `,"endpoint":"`, r.Endpoint, maxText)
	if r.Header > 0 {
		b = append(b, `,"upstream_ms":`...)
		b = appendMillis(b, r.Header)
	}
	if r.Attempts > 0 {
		b = intField(b, `,"attempts":`, int64(r.Attempts))
	}
	b = stringField(b, `,"route":"`, r.Route, maxText)
	b = stringField(b, `,"pattern":"`, r.Pattern, maxPath)
	b = stringField(b, `,"tenant":"`, r.Tenant, maxText)
	b = stringField(b, `,"bundle":"`, shortDigest(r.Bundle), maxText)
	b = stringField(b, `,"code":"`, r.Code, maxText)
	b = stringField(b, `,"cause":"`, r.Cause, maxText)
	b = stringField(b, `,"user_agent":"`, r.UserAgent, maxText)
	b = stringField(b, `,"trace_id":"`, r.TraceID, maxText)
	return append(b, '}', '\n')
}

// appendText appends the record as one line for a person at a terminal.
func (r *Record) appendText(b []byte, colour bool) []byte {
	b = r.Time.AppendFormat(b, "15:04:05.000 ")
	if colour {
		b = append(b, statusColour(r.Status)...)
	}
	b = strconv.AppendInt(b, int64(r.Status), 10)
	if colour {
		b = append(b, "\x1b[0m"...)
	}
	b = append(b, ' ')
	b = appendWord(b, r.Method, maxText)
	b = append(b, ' ')
	b = appendWord(b, r.Host, maxText)
	b = appendWord(b, r.Path, maxPath)
	b = append(b, ' ')
	b = appendMillis(b, r.Duration)
	b = append(b, "ms"...)
	if r.Code != "" {
		b = wordField(b, " ", r.Code)
	}
	b = wordField(b, " route=", r.Route)
	b = wordField(b, " tenant=", r.Tenant)
	b = wordField(b, " upstream=", r.Upstream)
	b = wordField(b, " endpoint=", r.Endpoint)
	if r.Header > 0 {
		b = append(b, " upstream_ms="...)
		b = appendMillis(b, r.Header)
	}
	if r.Attempts > 1 {
		b = intField(b, " attempts=", int64(r.Attempts))
	}
	b = intField(b, " in=", r.BytesIn)
	b = intField(b, " out=", r.BytesOut)
	if r.ClientIP.IsValid() {
		b = append(b, " client="...)
		b = r.ClientIP.WithZone("").Unmap().AppendTo(b)
	}
	b = wordField(b, " id=", r.ID)
	b = wordField(b, " cause=", r.Cause)
	return append(b, '\n')
}

func statusColour(status int) string {
	switch {
	case status >= 500:
		return "\x1b[31m"
	case status >= 400:
		return "\x1b[33m"
	case status >= 300:
		return "\x1b[36m"
	}
	return "\x1b[32m"
}

func stringField(b []byte, head, s string, limit int) []byte {
	if s == "" {
		return b
	}
	b = append(b, head...)
	b = appendEscaped(b, s, limit, ' ')
	return append(b, '"')
}

func intField(b []byte, head string, n int64) []byte {
	return strconv.AppendInt(append(b, head...), n, 10)
}

func wordField(b []byte, head, s string) []byte {
	if s == "" {
		return b
	}
	return appendWord(append(b, head...), s, maxText)
}

// appendWord appends text in which even a space is escaped, so that nobody can write a field of their own.
func appendWord(b []byte, s string, limit int) []byte { return appendEscaped(b, s, limit, '!') }

// appendMillis appends milliseconds with three decimals.
func appendMillis(b []byte, d time.Duration) []byte {
	micros := max(d, 0).Microseconds()
	b = strconv.AppendInt(b, micros/1000, 10)
	rest := micros % 1000
	return append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

// appendEscaped appends s without anything that could end the string or the line, move a terminal's cursor, or turn the
// direction of the text (CVE-2021-42574): quotes, backslashes and whatever is not printable become JSON escapes, and
// broken UTF-8 becomes U+FFFD. lowest is the first ASCII character that is safe.
func appendEscaped(b []byte, s string, limit int, lowest byte) []byte {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= lowest && c < 0x7f && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendUnicode(b, rune(c))
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			b = append(b, s[start:i]...)
			b = appendUnicode(b, r)
			start = i + n
		}
		i += n
	}
	b = append(b, s[start:]...)
	if cut {
		b = append(b, "..."...)
	}
	return b
}

func appendUnicode(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case r > 0xffff: // as a surrogate pair, the only form JSON has
		r -= 0x10000
		b = appendUnicode(b, 0xd800+r>>10)
		return appendUnicode(b, 0xdc00+r&0x3ff)
	}
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
