package match

import (
	"bytes"
	"unicode/utf8"
)

// Reason says why a path is refused; "" means it is not. The values are stable: they are the reason label of metrics and
// the code of the 400 response.
type Reason string

// The reasons for which NormalizePath refuses.
const (
	PathNotAbsolute   Reason = "path_not_absolute"  // empty, "*", or without a leading slash
	PathBadEscape     Reason = "path_bad_escape"    // "%" without two hex digits
	PathEncodedSlash  Reason = "path_encoded_slash" // %2F: some back ends take it for a separator, others do not
	PathBackslash     Reason = "path_backslash"     // "\" or %5C: a separator to some back ends
	PathControl       Reason = "path_control"       // a control character, raw or escaped; %00 ends strings in C
	PathNotASCII      Reason = "path_not_ascii"     // a raw byte over 0x7F; such characters travel escaped (RFC 3986)
	PathBadUTF8       Reason = "path_bad_utf8"      // escapes that are not UTF-8, such as the overlong %C0%AE
	PathParameter     Reason = "path_parameter"     // ";": servlet containers cut "/admin;x" to "/admin", others do not
	PathFragment      Reason = "path_fragment"      // "#", which no client may send
	PathQuery         Reason = "path_query"         // "?": the caller splits the query off first
	PathSpace         Reason = "path_space"         // a raw space
	PathAboveRoot     Reason = "path_above_root"    // ".." climbs over the root; clamping would hide an attack
	pathAccepted      Reason = ""                   //
	upperHex                 = "0123456789ABCDEF"   //
	normalizeStackBuf        = 256                  // bytes; a longer path that is not canonical costs a heap buffer
)

type byteClass uint8

const (
	classRefused byteClass = iota
	classUnreserved
	classDelimiter // allowed in a path, and different from its escape (RFC 3986 section 2.2)
	classEncoded   // visible, but not allowed raw in a path: browsers send some of them raw all the same
)

var byteClasses = func() (t [256]byteClass) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = classUnreserved, classUnreserved
	}
	for _, c := range "0123456789-._~" {
		t[c] = classUnreserved
	}
	for _, c := range "!$&'()*+,=:@" {
		t[c] = classDelimiter
	}
	for _, c := range "\"<>[]^`{|}" {
		t[c] = classEncoded
	}
	return t
}()

// NormalizePath returns the one form of a request path that is matched, authorised and forwarded, or the reason to answer
// 400. raw is the path of the request-target as received, without the query.
//
// In that form the path starts with "/"; escapes of unreserved characters are decoded, all others kept with upper-case hex
// digits; characters that a path may not hold raw, such as "[", are escaped; dot segments are resolved, also where they were
// escaped; runs of slashes are one slash, merged before dots are resolved; a trailing slash stays. A reserved character and
// its escape ("@", "%40") remain two different paths, because back ends may tell them apart (RFC 3986 section 2.2).
//
// A path already in that form is returned as it is, without allocation; the function is idempotent.
func NormalizePath(raw string) (string, Reason) {
	if isNormal(raw) {
		return raw, pathAccepted
	}
	if raw == "" || raw[0] != '/' {
		return "", PathNotAbsolute
	}
	var stack [normalizeStackBuf]byte
	buf, reason := decodePath(stack[:0], raw)
	if reason != pathAccepted {
		return "", reason
	}
	if buf, reason = resolveDots(buf); reason != pathAccepted {
		return "", reason
	}
	return string(buf), pathAccepted
}

// isNormal reports whether NormalizePath would return raw unchanged.
func isNormal(raw string) bool {
	if raw == "" || raw[0] != '/' {
		return false
	}
	start := 1
	for i := 1; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '/':
			if i == start || isDots(raw[start:i]) {
				return false
			}
			start = i + 1
		case c == '%':
			n := normalEscape(raw[i:])
			if n == 0 {
				return false
			}
			i += n - 1
		case byteClasses[c] != classUnreserved && byteClasses[c] != classDelimiter:
			return false
		}
	}
	return !isDots(raw[start:])
}

func isDots(seg string) bool { return seg == "." || seg == ".." }

// normalEscape returns the length of the escaped character at the start of s, 0 if it is not one in normal form.
func normalEscape(s string) int {
	v, ok := unescape(s)
	if !ok || upperHex[v>>4] != s[1] || upperHex[v&15] != s[2] {
		return 0
	}
	if v < utf8.RuneSelf {
		if escapeRefusal(v) != pathAccepted || byteClasses[v] == classUnreserved {
			return 0
		}
		return 3
	}
	n, reason := escapedRune(s)
	if reason != pathAccepted {
		return 0
	}
	for i := 0; i < n; i += 3 {
		if isLowerHex(s[i+1]) || isLowerHex(s[i+2]) {
			return 0
		}
	}
	return n
}

// decodePath appends raw to buf with every character in its one spelling.
func decodePath(buf []byte, raw string) ([]byte, Reason) {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '/' || byteClasses[c] == classUnreserved || byteClasses[c] == classDelimiter:
			buf = append(buf, c)
		case byteClasses[c] == classEncoded:
			buf = appendEscape(buf, c)
		case c == '%':
			v, ok := unescape(raw[i:])
			if !ok {
				return nil, PathBadEscape
			}
			n := 3
			switch {
			case v >= utf8.RuneSelf:
				var reason Reason
				if n, reason = escapedRune(raw[i:]); reason != pathAccepted {
					return nil, reason
				}
				for j := i; j < i+n; j += 3 {
					b, _ := unescape(raw[j:])
					buf = appendEscape(buf, b)
				}
			case escapeRefusal(v) != pathAccepted:
				return nil, escapeRefusal(v)
			case byteClasses[v] == classUnreserved:
				buf = append(buf, v)
			default:
				buf = appendEscape(buf, v)
			}
			i += n - 1
		default:
			return nil, rawRefusal(c)
		}
	}
	return buf, pathAccepted
}

// resolveDots merges slashes and resolves dot segments in place. buf starts with a slash.
func resolveDots(buf []byte) ([]byte, Reason) {
	w := 0
	for i := 0; i < len(buf); {
		end := len(buf)
		if j := bytes.IndexByte(buf[i+1:], '/'); j >= 0 {
			end = i + 1 + j
		}
		seg, last := buf[i+1:end], end == len(buf)
		switch {
		case len(seg) == 0 || string(seg) == ".":
		case string(seg) == "..":
			if w == 0 {
				return nil, PathAboveRoot
			}
			w = bytes.LastIndexByte(buf[:w], '/')
		default:
			buf[w] = '/'
			w += 1 + copy(buf[w+1:], seg)
			i = end
			continue
		}
		if last {
			buf[w] = '/'
			w++
		}
		i = end
	}
	return buf[:w], pathAccepted
}

// escapeRefusal says why an escaped ASCII character is refused.
func escapeRefusal(v byte) Reason {
	switch {
	case v == '/':
		return PathEncodedSlash
	case v == '\\':
		return PathBackslash
	case v < 0x20 || v == 0x7F:
		return PathControl
	}
	return pathAccepted
}

func rawRefusal(c byte) Reason {
	switch {
	case c == ';':
		return PathParameter
	case c == '#':
		return PathFragment
	case c == '?':
		return PathQuery
	case c == '\\':
		return PathBackslash
	case c == ' ':
		return PathSpace
	case c >= utf8.RuneSelf:
		return PathNotASCII
	}
	return PathControl
}

// escapedRune returns the length of the escapes that make up one character outside ASCII.
func escapedRune(s string) (int, Reason) {
	var b [utf8.UTFMax]byte
	n := 0
	for n < len(b) {
		v, ok := unescape(s[3*n:])
		if !ok {
			break
		}
		b[n] = v
		n++
		if utf8.FullRune(b[:n]) {
			break
		}
	}
	r, size := utf8.DecodeRune(b[:n])
	switch {
	case r == utf8.RuneError && size <= 1:
		return 0, PathBadUTF8
	case r < 0xA0: // C1 controls
		return 0, PathControl
	}
	return 3 * size, pathAccepted
}

func unescape(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	return hi<<4 | lo&15, hi < 16 && lo < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xFF
}

func isLowerHex(c byte) bool { return 'a' <= c && c <= 'f' }

func appendEscape(buf []byte, c byte) []byte {
	return append(buf, '%', upperHex[c>>4], upperHex[c&15])
}
