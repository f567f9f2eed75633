package cors

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

const (
	// maxNames bounds how many header fields a preflight request may ask about; a page that sends more is no page.
	maxNames = 64
	// maxName bounds the names that are compared without regard to case, in bytes: as long as the longest that can be listed.
	maxName = 128
	// authorization is never covered by "*" (Fetch, "CORS non-wildcard request-header name").
	authorization = "authorization"
)

// requestHeaders are the header fields that pages may send.
type requestHeaders struct {
	listed map[string]bool // lower case
	all    bool            // but for authorization
}

func newRequestHeaders(list []string) requestHeaders {
	h := requestHeaders{listed: map[string]bool{}, all: slices.Contains(list, wildcard)}
	for _, name := range list {
		h.listed[name] = name != wildcard // a field of that name is covered only by what covers all
	}
	return h
}

// take reports whether every name in Access-Control-Request-Headers may be sent, and if not, the first that may not. The harmless fields
// are no exception: a browser asks about one only if its value is not harmless, and Content-Type: application/json, which no form can
// send, is what keeps many an API from forged requests.
func (h *requestHeaders) take(header *httpmsg.Header) (denied string, ok bool) {
	seen := 0
	for i := range header.Fields {
		if !strings.EqualFold(header.Fields[i].Name, "Access-Control-Request-Headers") {
			continue
		}
		for name := range strings.SplitSeq(header.Fields[i].Value, ",") {
			if seen++; seen > maxNames {
				return "", false
			}
			name = strings.Trim(name, " \t")
			if name != "" && !h.takes(name) { // empty elements of a list have no meaning (RFC 9110 section 5.6.1.2)
				return name, false
			}
		}
	}
	return "", true
}

func (h *requestHeaders) takes(name string) bool {
	if h.listed[name] { // browsers ask in lower case
		return true
	}
	if !isToken(name) {
		return false
	}
	if len(name) > maxName {
		return h.all
	}
	var buf [maxName]byte
	lower := buf[:0]
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower = append(lower, c)
	}
	return h.listed[string(lower)] || h.all && string(lower) != authorization // the conversions do not allocate
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2), as names of methods and header fields are.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
