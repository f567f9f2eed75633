// Package headerfield says which names of header fields are one and the same to the servers behind a gateway, which of them the
// gateway alone may write, and what may stand in a value. It changes no message.
package headerfield

import "slices"

// Many servers hand the fields of a request to applications as variables, and the names of variables hold neither case nor
// punctuation: CGI and WSGI make one of "-" and "_" (RFC 3875 section 4.1.18), lighttpd, and Apache before 2.4, of every character
// that is no letter and no digit. So whoever must keep a client from saying X-User-Id has to look for x_user.id as well (RFC 9110
// section 17.10).
var folded = func() (t [256]byte) {
	for i := range t {
		t[i] = '-'
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = c, c
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = c
	}
	return t
}()

// Fold returns the spelling that all names share which some server takes for one: in lower case, with "-" for all that is no letter
// and no digit.
func Fold(name string) string {
	out := []byte(name)
	for i, c := range out {
		out[i] = folded[c]
	}
	return string(out)
}

// Among reports whether a name, however it is spelt, is one of those that were folded.
func Among(name string, names []string) bool {
	for _, n := range names {
		if same(name, n) {
			return true
		}
	}
	return false
}

func same(name, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range len(name) {
		if folded[name[i]] != want[i] {
			return false
		}
	}
	return true
}

// ofConnection are the fields that belong to a connection or to the framing of a message (RFC 9110 sections 7.6.1, 8.6, 10.1.1 and
// 6.6.2), folded. Whoever writes a head writes them itself; one from somewhere else is how requests are smuggled.
var ofConnection = []string{
	"connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy", "proxy-authenticate", "proxy-authorization",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// OfConnection reports whether a field belongs to the connection or to the framing of the message.
func OfConnection(name string) bool { return Among(name, ofConnection) }

// token are the characters of a name (RFC 9110 section 5.6.2) beside letters and digits.
var token = []byte("!#$%&'*+-.^_`|~")

// IsName reports whether s can be the name of a field.
func IsName(s string) bool {
	for i := range len(s) {
		if folded[s[i]] == '-' && !slices.Contains(token, s[i]) {
			return false
		}
	}
	return s != ""
}

// IsValue reports whether s arrives as it was sent: it is printable ASCII, with spaces and tabs only inside. Anything else could end
// the field, is read in as many ways as there are encodings, or is trimmed on the way (RFC 9110 section 5.5).
func IsValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return s == "" || !isSpace(s[0]) && !isSpace(s[len(s)-1])
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
