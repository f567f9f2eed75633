package match

import (
	"net/netip"
	"strings"
)

// maxHost is the length of the longest host name (RFC 1035 section 2.3.4). A longer one matches no host pattern, which
// also bounds the search for a wildcard.
const maxHost = 253

// Host is a host pattern. The zero value matches any host.
type Host struct {
	Name     string // exact name, or the suffix after "*."
	Wildcard bool   // Name is preceded by one or more labels
}

// String renders the pattern as it is authored.
func (h Host) String() string {
	if h.Wildcard {
		return "*." + h.Name
	}
	return h.Name
}

// Any reports whether the pattern matches every host.
func (h Host) Any() bool { return h == Host{} }

// Matches reports whether a request's host satisfies the pattern.
func (h Host) Matches(host string) bool {
	switch {
	case h.Any():
		return true
	case len(host) > maxHost:
		return false
	case !h.Wildcard:
		return host == h.Name
	}
	dot := len(host) - len(h.Name) - 1
	return dot > 0 && host[dot] == '.' && host[dot+1:] == h.Name
}

// ParseHost checks a host pattern and lower-cases it: a name, "*." and a suffix, an IPv4 address, an IPv6 address in
// brackets, or "" for any host. The error is a *PatternError.
func ParseHost(s string) (Host, error) {
	if s == "" {
		return Host{}, nil
	}
	fail := func(offset int, problem, hint string) (Host, error) {
		return Host{}, &PatternError{Field: "host", Code: CodeHost, Value: s, Offset: offset, Problem: problem, Hint: hint}
	}
	name, wildcard := strings.CutPrefix(s, "*.")
	base := len(s) - len(name)
	if star := strings.IndexByte(name, '*'); star >= 0 {
		hint := `write "*." and a suffix, such as "*.example.com"`
		if s == "*" {
			hint = "leave host out to match any host"
		}
		return fail(base+star, `"*" stands for one or more whole labels, and only at the front`, hint)
	}
	if strings.HasPrefix(name, "[") {
		return parseIPv6(s, wildcard, fail)
	}
	if i := strings.IndexByte(name, ':'); i >= 0 {
		if _, err := netip.ParseAddr(name); err == nil {
			return fail(base, "an IPv6 address stands in brackets", `write "[`+name+`]"`)
		}
		if strings.Contains(name, "://") {
			return fail(base+i, "a host has no scheme", "write the name alone")
		}
		return fail(base+i, "a host has no port: a route is served on every listener", `write "`+s[:base+i]+`"`)
	}
	if i := strings.IndexByte(name, '/'); i >= 0 {
		return fail(base+i, "a host has no path", "move it to path")
	}
	if strings.HasSuffix(name, ".") && name != "." {
		return fail(len(s)-1, "a host does not end in a dot", `write "`+strings.TrimRight(s, ".")+`"`)
	}
	if at, problem, hint := checkName(name); problem != "" {
		return fail(base+at, problem, hint)
	}
	if wildcard && len(name)+2 > maxHost {
		return fail(0, "a host has at most 253 characters", "")
	}
	if wildcard && isNumeric(name[strings.LastIndexByte(name, '.')+1:]) {
		return fail(base, "a wildcard cannot stand before an address", "")
	}
	return Host{Name: strings.ToLower(name), Wildcard: wildcard}, nil
}

func parseIPv6(s string, wildcard bool, fail func(int, string, string) (Host, error)) (Host, error) {
	inner, closed := strings.CutSuffix(strings.TrimPrefix(s, "["), "]")
	addr, err := netip.ParseAddr(inner)
	switch {
	case wildcard:
		return fail(2, "a wildcard cannot stand before an address", "")
	case !closed && strings.Contains(s, "]:"):
		return fail(strings.Index(s, "]:")+1, "a host has no port: a route is served on every listener", "")
	case !closed || err != nil || !addr.Is6() || addr.Zone() != "":
		return fail(0, "is not an IPv6 address in brackets", "")
	}
	return Host{Name: "[" + addr.String() + "]"}, nil
}

// checkName returns where and why a name is not a host name or an IPv4 address. Underscores are allowed: names in
// container networks have them.
func checkName(name string) (at int, problem, hint string) {
	if len(name) > maxHost {
		return maxHost, "a host has at most 253 characters", ""
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			label := name[start:i]
			switch {
			case label == "":
				return start, "a host has no empty labels", ""
			case len(label) > 63:
				return start, "a label of a host has at most 63 characters", ""
			case label[0] == '-' || label[len(label)-1] == '-':
				return start, "a label of a host does not start or end with a hyphen", ""
			}
			start = i + 1
			continue
		}
		switch c := name[i]; {
		case c >= 0x80:
			return i, "a host is written in ASCII", `write the punycode form, which starts with "xn--"`
		case c != '-' && c != '_' && !isAlnum(c):
			return i, "a host holds letters, digits, hyphens, underscores and dots", ""
		}
	}
	if isNumeric(name[strings.LastIndexByte(name, '.')+1:]) {
		if addr, err := netip.ParseAddr(name); err != nil || !addr.Is4() {
			return 0, "ends in a number but is not an IPv4 address", ""
		}
	}
	return 0, "", ""
}

func isNumeric(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// NormalizeHost returns the form of a request's authority that host patterns are compared with: lower case, without the
// port and without the dot that ends a rooted name, IPv6 addresses shortened and in brackets. It is false for anything that
// is neither a host name nor an address, which is answered 400. The empty authority of HTTP/1.0 stays empty.
func NormalizeHost(authority string) (string, bool) {
	if authority == "" {
		return "", true
	}
	if authority[0] == '[' {
		end := strings.IndexByte(authority, ']')
		if end < 0 || !isPort(authority[end+1:]) {
			return "", false
		}
		addr, err := netip.ParseAddr(authority[1:end])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", false
		}
		return "[" + addr.String() + "]", true
	}
	name := authority
	if i := strings.IndexByte(name, ':'); i >= 0 {
		if !isPort(name[i:]) {
			return "", false
		}
		name = name[:i]
	}
	name = strings.TrimSuffix(name, ".")
	if _, problem, _ := checkName(name); problem != "" {
		return "", false
	}
	return strings.ToLower(name), true // returns name itself when it is lower case already
}

func isPort(s string) bool {
	return s == "" || s[0] == ':' && len(s) <= 6 && strings.Trim(s[1:], "0123456789") == ""
}
