package http1

import (
	"net/netip"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

// authority checks Host and the form of the target (RFC 9112 sections 3.2 and 3.3).
func (h *RequestHead) authority() *httpmsg.Error {
	switch {
	case h.hosts > 1:
		return ErrHost
	case h.hosts == 0 && h.Proto == "HTTP/1.1":
		return ErrNoHost
	case h.hosts == 1:
		host, ok := SplitHost(h.host)
		if !ok {
			return ErrHost
		}
		h.Host, h.Authority = host, h.host
	}
	switch {
	case h.Target[0] == '/':
		return nil
	case h.Target == "*":
		if h.Method != "OPTIONS" {
			return ErrTarget
		}
		return nil
	}
	return h.absolute()
}

// absolute takes a target in absolute form apart. Its authority must be the one Host names, as some servers believe the one
// and some the other.
func (h *RequestHead) absolute() *httpmsg.Error {
	scheme, rest, ok := strings.Cut(h.Target, "://")
	if !ok || !fold(scheme, "http") && !fold(scheme, "https") {
		return ErrTarget
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, ok := SplitHost(rest[:end])
	if !ok {
		return ErrTarget
	}
	if h.hosts == 1 && !strings.EqualFold(rest[:end], h.Authority) {
		return ErrHostMismatch
	}
	h.Host, h.Authority = host, rest[:end]
	return nil
}

// OriginForm is the path and query of a target in origin or absolute form; "*" stays as it is.
func OriginForm(target string) string {
	if target == "" || target[0] == '/' || target == "*" {
		return target
	}
	_, rest, _ := strings.Cut(target, "://")
	at := strings.IndexAny(rest, "/?")
	switch {
	case at < 0:
		return "/"
	case rest[at] == '?':
		return "/" + rest[at:]
	}
	return rest[at:]
}

// SplitHost checks an authority without user information and returns its host: lower case, without the port and a final dot;
// IPv6 addresses keep their brackets. False if it is anything else, or empty.
func SplitHost(authority string) (string, bool) {
	host, port := authority, ""
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", false
		}
		if a, err := netip.ParseAddr(host[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
			return "", false
		}
		host, port = host[:end+1], host[end+1:]
	} else {
		if i := strings.IndexByte(host, ':'); i >= 0 {
			host, port = host[:i], host[i:]
		}
		host = strings.TrimSuffix(host, ".")
		if host == "" || len(host) > 253 || !all(host, classHost) || host[0] == '.' || strings.Contains(host, "..") {
			return "", false
		}
	}
	if port != "" && !validPort(port) {
		return "", false
	}
	return strings.ToLower(host), true
}

// validPort accepts ":" and one to five digits up to 65535.
func validPort(s string) bool {
	if s[0] != ':' || len(s) < 2 || len(s) > 6 {
		return false
	}
	n := 0
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}
