package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
)

const (
	maxCredentials = 4096 // bytes of an Authorization field that are looked at
	hintInterval   = 60   // seconds between two hints in the log
)

// authorise returns nil if the request may see the admin API, or the refusal. Without a token nobody may, but in dev mode
// whoever comes from this machine.
func (s *Server) authorise(r *httpmsg.Request, path string) *httpmsg.Response {
	if s.o.Dev && local(r) {
		if !safe(r.Method) && crossOrigin(r) {
			return s.forbid("cross_origin", "a page of another origin may not do this")
		}
		return nil
	}
	if !s.hasToken {
		if s.o.Dev {
			return s.forbid("not_local", "without a token, dev mode shows the admin API to its own machine only")
		}
		s.hint()
		return s.challenge("no_token_configured", path)
	}
	token, reason := credentials(r)
	if reason != "" {
		return s.challenge(reason, path)
	}
	// Both sides are hashed so that neither the comparison nor its length tells anything about the token.
	got := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(got[:], s.token[:]) != 1 {
		return s.challenge("wrong_token", path)
	}
	return nil
}

// credentials returns the token of a request: from a Bearer field, or, to read only, as the password of a Basic one. A
// browser sends Basic credentials by itself, also when a page of somebody else makes it, so they must not change anything.
func credentials(r *httpmsg.Request) (token, reason string) {
	switch r.Header.Count("Authorization") {
	case 0:
		return "", "no_credentials"
	case 1:
	default:
		return "", "malformed_credentials"
	}
	field := r.Header.Get("Authorization")
	scheme, value, ok := strings.Cut(field, " ")
	if !ok || value == "" || len(field) > maxCredentials {
		return "", "malformed_credentials"
	}
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return value, ""
	case strings.EqualFold(scheme, "Basic") && safe(r.Method):
		plain, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", "malformed_credentials"
		}
		if _, password, ok := strings.Cut(string(plain), ":"); ok {
			return password, ""
		}
		return "", "malformed_credentials"
	}
	return "", "unsupported_scheme"
}

// challenge refuses a request that showed no valid token, always in the same words. Only the page for browsers asks for
// Basic credentials: a browser that was asked opens a dialogue.
func (s *Server) challenge(reason, path string) *httpmsg.Response {
	s.o.Metrics.AdminDenied(reason)
	resp := problem(http.StatusUnauthorized, "unauthorized", "the admin API needs a valid token")
	if path == "/admin/ui" {
		resp.Header.Add("WWW-Authenticate", `Basic realm="gateway admin", charset="UTF-8"`)
	} else {
		resp.Header.Add("WWW-Authenticate", `Bearer realm="gateway admin"`)
	}
	return resp
}

func (s *Server) forbid(reason, detail string) *httpmsg.Response {
	s.o.Metrics.AdminDenied(reason)
	return problem(http.StatusForbidden, reason, detail)
}

// hint tells the operator, now and then, why everybody is refused.
func (s *Server) hint() {
	now, last := s.o.Now().Unix(), s.hinted.Load()
	if now-last >= hintInterval && s.hinted.CompareAndSwap(last, now) {
		s.o.Log.Warn("the admin API is enabled but refuses everybody, as it has no token", slog.String("hint", "set GWRUN_ADMIN_TOKEN"))
	}
}

// local reports whether a request comes from this machine, and was meant for it. The name it asks for must be a loopback
// one, or a page could reach us under a name of its own that it points here (DNS rebinding).
func local(r *httpmsg.Request) bool {
	if !r.Peer.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Has(name) { // a proxy on this machine speaks for somebody else
			return false
		}
	}
	host := r.Authority
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// crossOrigin reports whether a browser says that a page of another origin made the request.
func crossOrigin(r *httpmsg.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	origin := r.Header.Get("Origin")
	return origin != "" && !strings.EqualFold(origin, r.Scheme+"://"+r.Authority)
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }
