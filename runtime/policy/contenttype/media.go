package contenttype

import "strings"

// maxType bounds the media types that are looked at, in bytes: as long as the longest that can be listed.
const maxType = 128

// mediaType reads a Content-Type (RFC 9110 section 8.3.1), appends its type and subtype to dst in lower case, and passes over its
// parameters. It is strict about all of it: a value that the gateway reads in one way and the server behind it in another ("text/plain,
// application/json", or a parameter with an open quote) gets a body past the check. False: malformed, or too long to be in any list.
func mediaType(dst []byte, value string) ([]byte, bool) {
	value = strings.Trim(value, " \t")
	kind, rest := cutToken(value)
	if kind == "" || rest == "" || rest[0] != '/' {
		return dst, false
	}
	sub, rest := cutToken(rest[1:])
	if sub == "" || len(kind)+len("/")+len(sub) > maxType || !parameters(rest) {
		return dst, false
	}
	for i := range len(kind) + len("/") + len(sub) {
		c := value[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, true
}

// parameters reports whether s is *( OWS ";" OWS [ parameter ] ) (RFC 9110 section 5.6.6).
func parameters(s string) bool {
	for {
		if s = strings.TrimLeft(s, " \t"); s == "" {
			return true
		}
		if s[0] != ';' {
			return false
		}
		name, rest := cutToken(strings.TrimLeft(s[1:], " \t"))
		if s = rest; name == "" {
			continue // between two semicolons there may be nothing
		}
		if s == "" || s[0] != '=' {
			return false
		}
		if s = s[1:]; s != "" && s[0] == '"' {
			end := quoted(s)
			if end == 0 {
				return false
			}
			s = s[end:]
			continue
		}
		if name, s = cutToken(s); name == "" {
			return false
		}
	}
}

// quoted is the length of the quoted-string that s begins with (RFC 9110 section 5.6.4), 0 if it has no end or holds a control character.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c < ' ' && c != '\t', c == 0x7f:
			return 0
		case c == '\\':
			if i++; i < len(s) && (s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f) {
				return 0
			}
		}
	}
	return 0
}

// cutToken splits off the token that s begins with (RFC 9110 section 5.6.2).
func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && tchar(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func tchar(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
