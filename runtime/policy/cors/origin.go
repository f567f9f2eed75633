package cors

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// origins are those whose pages may read responses.
type origins struct {
	all   bool
	exact map[string]bool
	below map[site]bool // of "https://*.example.com:8443": {"https", "example.com:8443"}
}

// site is the end of many origins: a scheme, and a domain with its port.
type site struct{ scheme, domain string }

// maxOrigin bounds the origins that are looked at beyond a comparison, in bytes: scheme, the longest host name, and a port.
const maxOrigin = len("https://") + maxHost + len(":65535")

func newOrigins(list []string) (origins, error) {
	o := origins{exact: map[string]bool{}, below: map[site]bool{}}
	for i, text := range list {
		if what, _ := judgeOrigin(text); what != "" {
			return o, fmt.Errorf("allowOrigins[%d] %s", i, what)
		}
		scheme, rest, _ := strings.Cut(text, "://")
		if domain, wild := strings.CutPrefix(rest, "*."); text == wildcard {
			o.all = true
		} else if wild {
			o.below[site{scheme, domain}] = true
		} else {
			o.exact[text] = true
		}
	}
	return o, nil
}

// match reports whether the value of an Origin field is one of the origins. Browsers write an origin in one way only, so that it is
// compared byte by byte. For a wildcard, labels are taken off the front, each of which has to be one, until what is left is known:
// nothing that merely ends or begins like the domain gets through, nor a user name, a path or a port in front of it.
func (o *origins) match(origin string) bool {
	if o.all {
		return origin != ""
	}
	if o.exact[origin] {
		return true
	}
	if len(o.below) == 0 || len(origin) > maxOrigin {
		return false
	}
	scheme, rest, ok := strings.Cut(origin, "://")
	for ok {
		var label string
		if label, rest, ok = strings.Cut(rest, "."); !ok || !isLabel(label) {
			return false
		}
		if o.below[site{scheme, rest}] {
			return true
		}
	}
	return false
}

const (
	maxHost  = 253 // RFC 1035 section 2.3.4, in text
	maxLabel = 63
)

// isLabel takes what browsers take in host names, underscores included.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// judgeOrigin says what is wrong with an origin of the configuration, and how to mend it: what no browser would ever send would never
// match.
func judgeOrigin(text string) (what, hint string) {
	if text == wildcard {
		return "", ""
	}
	scheme, rest, _ := strings.Cut(text, "://")
	if scheme != "http" && scheme != "https" {
		return fmt.Sprintf("is %q, must begin with https:// or http://", text), "for example https://app.example.com"
	}
	host, wild := strings.CutPrefix(rest, "*.")
	port := ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i:]
	}
	if n, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16); port != "" {
		switch {
		case err != nil || port != ":"+strconv.FormatUint(n, 10) || n == 0:
			return fmt.Sprintf("is %q, must have a port from 1 to 65535, or none", text), ""
		case n == 443 && scheme == "https", n == 80 && scheme == "http":
			return fmt.Sprintf("is %q, but browsers leave out port %d of %s", text, n, scheme), "write " + strings.TrimSuffix(text, port)
		}
	}
	switch form := address(host); {
	case form == "" && !isHost(host):
		return fmt.Sprintf("is %q, must have a host name in small letters, or an IP address", text), ""
	case form != "" && wild:
		return fmt.Sprintf("is %q, but an IP address has no subdomains", text), ""
	case form != "" && form != host:
		return fmt.Sprintf("is %q, but browsers write the address as %s", text, form), "write " + scheme + "://" + form + port
	}
	return "", ""
}

// publicSuffix returns the domain of a wildcard under which anybody may have a name: com, co.uk, github.io; "" if it is nobody's but its
// owner's, or on no list, as names inside a company are. Only compile asks: the list changes with the release, and a gateway must not
// refuse tomorrow the bundle that it serves today.
func publicSuffix(origin string) string {
	_, host, wild := strings.Cut(origin, "://*.")
	if !wild {
		return ""
	}
	host, _, _ = strings.Cut(host, ":")
	const nobody = "no-name-on-the-list." // under *.kawasaki.jp every name is a public suffix itself
	suffix, icann := publicsuffix.PublicSuffix(nobody + host)
	if listed := icann || strings.Contains(suffix, "."); listed && len(suffix) >= len(host) {
		return host
	}
	return ""
}

// address writes an IP address as browsers do (the URL standard, "host serializer"); "" if host is none.
func address(host string) string {
	inner, bracketed := strings.CutPrefix(host, "[")
	a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
	switch {
	case err != nil || a.Zone() != "" || bracketed != a.Is6() || bracketed != strings.HasSuffix(host, "]"):
		return ""
	case a.Is4In6():
		b := a.As16()
		return fmt.Sprintf("[::ffff:%x:%x]", int(b[12])<<8|int(b[13]), int(b[14])<<8|int(b[15]))
	case a.Is6():
		return "[" + a.String() + "]"
	}
	return a.String()
}

// isHost takes host names. One whose last label is a number is an address that somebody mistyped: browsers read 127.1 as 127.0.0.1.
func isHost(s string) bool {
	if len(s) > maxHost {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}
