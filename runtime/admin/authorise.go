package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

// accessWait bounds how long it may take to find out who somebody is.
const accessWait = 5 * time.Second

const (
	maxCredentials = 9 << 10 // bytes of an Authorization field that are looked at
	hintInterval   = 60      // seconds between two hints in the log
)

// authorise returns who sends a request, or the refusal. In dev mode whoever comes from this machine is let in.
func (s *Server) authorise(c *call) (*Actor, *httpmsg.Response) {
	from := s.client(c.Request)
	if s.o.Dev && local(c.Request) {
		return &Actor{Kind: access.Local, Name: "local", Roles: superAdmin, Address: from}, nil
	}
	people := s.o.Access != nil && (len(c.rules.Users) > 0 || c.rules.OIDC != nil)
	if !s.hasToken && !people {
		if s.o.Dev {
			return nil, s.forbid("not_local", "without a token, dev mode shows the admin API to its own machine only")
		}
		s.hint()
		return nil, s.challenge("no_token_configured", c.path)
	}
	token, reason := credentials(c.Request)
	if reason != "" {
		return nil, s.challenge(reason, c.path)
	}
	if s.isToken(token) {
		return &Actor{Kind: access.Token, Name: "token", Roles: superAdmin, Address: from}, nil
	}
	if !people {
		return nil, s.challenge("wrong_token", c.path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), accessWait)
	defer cancel()
	actor, err := s.o.Access.Authenticate(ctx, c.rules, token)
	if err != nil {
		return nil, s.unknown(err, c.path)
	}
	actor.Address = from
	return actor, nil
}

// superAdmin are the roles of whoever needs none.
var superAdmin = []string{ir.RoleSuperAdmin}

// isToken compares with GWRUN_ADMIN_TOKEN. Both sides are hashed so that neither the comparison nor its length tells anything about it.
func (s *Server) isToken(token string) bool {
	got := sha256.Sum256([]byte(token))
	return s.hasToken && subtle.ConstantTimeCompare(got[:], s.token[:]) == 1
}

// unknown refuses a bearer of a token that does not let him in.
func (s *Server) unknown(err error, path string) *httpmsg.Response {
	switch {
	case errors.Is(err, access.ErrExpired):
		return s.challenge("token_expired", path)
	case errors.Is(err, access.ErrEnded):
		return s.challenge("session_ended", path)
	case errors.Is(err, access.ErrToken):
		return s.challenge("wrong_token", path)
	}
	return s.away(err)
}

// away says that it could not be found out who somebody is. Nobody is let in meanwhile but with GWRUN_ADMIN_TOKEN.
func (s *Server) away(err error) *httpmsg.Response {
	if !errors.Is(err, access.ErrKeysAway) && !errors.Is(err, policy.ErrStateAway) {
		s.o.Log.Error("the admin API cannot judge who somebody is", slog.Any("error", err))
	}
	resp := problem(http.StatusServiceUnavailable, "access_unavailable", "the gateway cannot find out at the moment who may use the admin API")
	resp.Header.Add("Retry-After", "1")
	return resp
}

// client is the address a request comes from.
func (s *Server) client(r *httpmsg.Request) netip.Addr {
	if s.o.ClientIP != nil {
		return s.o.ClientIP(r).Unmap()
	}
	return r.Peer.Addr().Unmap()
}

// forbidden refuses somebody who is known and lacks the permission.
func (s *Server) forbidden(c *call, order *route) *httpmsg.Response {
	s.note(Event{
		Actor: c.actor, Action: cmp.Or(order.action, "read"), Object: cmp.Or(c.id, c.path), Outcome: Refused, Reason: "forbidden",
		Details: map[string]string{"permission": order.permission},
	})
	s.o.Metrics.AdminDenied("forbidden")
	return problem(http.StatusForbidden, "forbidden", "this needs the permission "+order.permission)
}

// foreign refuses what a browser sends for a page of somebody else's. No credential is one that a browser adds by itself to an order that
// changes something, so this is the second lock on that door.
func (s *Server) foreign(c *call) *httpmsg.Response {
	if len(c.rules.Hosts) > 0 && !expected(c.Authority, c.rules.Hosts) {
		s.o.Metrics.AdminDenied("unexpected_host")
		return problem(http.StatusMisdirectedRequest, "unexpected_host", "the admin API is not asked for by this name; gateway.admin.hosts lists those it has")
	}
	if !safe(c.Method) && crossOrigin(c.Request) {
		return s.forbid("cross_origin", "a page of another origin may not do this")
	}
	return nil
}

// expected reports whether an authority is one that the API is asked for by: an address, localhost, or one of the hosts. A page reaches us
// by a name of its own that it points here (DNS rebinding), but not by an address, nor by localhost.
func expected(authority string, hosts []string) bool {
	name := strings.ToLower(hostOf(authority))
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" {
		return true
	}
	name = strings.TrimSuffix(name, ".")
	return name != "" && slices.ContainsFunc(hosts, func(h string) bool {
		suffix, wild := strings.CutPrefix(h, "*")
		return h == name || wild && len(name) > len(suffix) && strings.HasSuffix(name, suffix)
	})
}

// hostOf is an authority without its port and brackets.
func hostOf(authority string) string {
	host := authority
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
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
		s.o.Log.Warn("the admin API is enabled but refuses everybody, as it has no token", slog.String("hint", "set GWRUN_ADMIN_TOKEN, or gateway.admin.users"))
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
	host := hostOf(r.Authority)
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
	if r.Header.Count("Origin") == 0 {
		return false
	}
	// Its scheme is not compared: a proxy in front of the gateway may have taken off the TLS.
	_, authority, ok := strings.Cut(r.Header.Get("Origin"), "://")
	return !ok || r.Header.Count("Origin") > 1 || !strings.EqualFold(authority, r.Authority)
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }
