package admin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

// route is one order that the admin API takes: a line of the table below.
type route struct {
	method string
	path   string // "{id}" stands for one segment, "{id...}" at the end for all that follow
	// permission is what it takes to ask for it, one of ir.AdminPermissions. Empty: it is enough to be known.
	permission string
	// action is what the order is called in the audit trail. Orders that only read have none.
	action string
	// open: nobody has to be known, as this is how one becomes known.
	open bool
	// there reports whether the order exists at this gateway, under the running configuration. Nil: always.
	there  func(*Server, *ir.Admin) bool
	answer func(*Server, *call) *httpmsg.Response

	// What follows describes the order to people and clients.
	summary string
	paged   bool // takes ?limit and ?after
	in, out any  // bodies; nil: none, or not JSON
	spare   bool // the body may be left out
	status  int  // of success
	media   string
}

// call is one request to the admin API.
type call struct {
	*httpmsg.Request
	path  string
	rules *ir.Admin // as they run now
	actor Actor
	id    string // what "{id}" stands for

	// Of the record, as a handler may say.
	object        string // empty: id
	reason        string
	before, after bundle.Digest
}

// routes is every order of the admin API. Whoever adds one finds tests that ask for it in every role.
var routes = []route{
	{method: http.MethodPost, path: "/admin/login", open: true, action: "login", there: hasUsers, answer: (*Server).login, summary: "Log in with a password", in: Login{}, out: Tokens{}, status: 200},
	{method: http.MethodPost, path: "/admin/refresh", open: true, action: "login", there: hasUsers, answer: (*Server).refresh, summary: "Exchange a refresh token, which is good once, for the next one", in: Refresh{}, out: Tokens{}, status: 200},
	{method: http.MethodPost, path: "/admin/logout", action: "logout", there: hasAccess, answer: (*Server).logout, summary: "End the session of the token", out: Ended{}, status: 200},
	{method: http.MethodGet, path: "/admin/whoami", answer: (*Server).whoami, summary: "Say who the token speaks for, and what it may do", out: Whoami{}, status: 200},
	{method: http.MethodGet, path: "/admin/sessions", permission: "sessions:read", there: hasAccess, answer: (*Server).sessions, summary: "List the sessions, the oldest first", out: SessionList{}, status: 200},
	{method: http.MethodDelete, path: "/admin/sessions/{id}", permission: "sessions:delete", action: "session.revoke", there: hasAccess, answer: (*Server).endSession, summary: "End a session", out: Ended{}, status: 200},
	{method: http.MethodGet, path: "/admin/users", permission: "users:read", answer: (*Server).users, summary: "List the users and roles of the running configuration", out: UserList{}, status: 200},
	{method: http.MethodGet, path: "/admin/openapi.json", permission: "status:read", answer: (*Server).openAPI, summary: "Describe this API", out: map[string]any{}, status: 200},

	{method: http.MethodGet, path: "/admin/status", permission: "status:read", answer: (*Server).status, summary: "Say what runs, where it came from, what failed, and drift", out: Status{}, status: 200},
	{method: http.MethodGet, path: "/admin/bundle", permission: "bundle:read", there: func(s *Server, _ *ir.Admin) bool { return s.o.Bundle != nil }, answer: (*Server).bundle, summary: "Hand out the running bundle, byte for byte", status: 200, media: bundleType},
	{method: http.MethodGet, path: "/admin/fleet", permission: "status:read", there: func(s *Server, _ *ir.Admin) bool { return s.o.Fleet != nil }, answer: (*Server).fleet, summary: "Say what the gateways of the environment run", out: Fleet{}, status: 200},
	{method: http.MethodPost, path: "/admin/reload", permission: "reload:create", action: "reload", there: func(s *Server, a *ir.Admin) bool { return a.HotReloadEnabled && s.o.Reload != nil }, answer: (*Server).reload, summary: "Ask for a poll of the source", out: Reloading{}, status: 202},
	{method: http.MethodGet, path: "/admin/secrets", permission: "secrets:read", there: func(_ *Server, a *ir.Admin) bool { return a.SecretsManagementEnabled }, answer: (*Server).secrets, summary: "List references to secrets, never values", out: SecretList{}, status: 200},
	{method: http.MethodGet, path: "/admin/ui", permission: "dashboard:read", there: func(_ *Server, a *ir.Admin) bool { return a.DashboardUIEnabled }, answer: (*Server).ui, summary: "Show the dashboard", status: 200, media: "text/html"},
	{method: http.MethodGet, path: "/admin/config/routes", permission: "routes:read", there: hasRoutes, answer: (*Server).routes, summary: "List the running routes", paged: true, out: RoutePage{}, status: 200},
	{method: http.MethodGet, path: "/admin/config/routes/{id...}", permission: "routes:read", there: hasRoutes, answer: (*Server).route, summary: "Show a running route", out: ir.Route{}, status: 200},
	{method: http.MethodGet, path: "/admin/upstreams", permission: "upstreams:read", there: hasUpstreams, answer: (*Server).upstreams, summary: "List the running upstreams", paged: true, out: UpstreamPage{}, status: 200},
	{method: http.MethodGet, path: "/admin/upstreams/{id...}", permission: "upstreams:read", there: hasUpstreams, answer: (*Server).upstream, summary: "Show a running upstream, with the breakers of the routes that go to it", out: UpstreamStatus{}, status: 200},

	{method: http.MethodGet, path: "/admin/overlays", permission: "overlays:read", answer: (*Server).overlays, summary: "List the overlays of the environment", out: OverlayList{}, status: 200},
	{method: http.MethodPost, path: "/admin/overlays", permission: "overlays:create", action: "overlay.create", answer: onOverlays((*Server).createOverlay), summary: "Lay a signed overlay over what runs", in: NewOverlay{}, out: Overlay{}, status: 201},
	{method: http.MethodGet, path: "/admin/overlays/{id}", permission: "overlays:read", answer: onOverlays((*Server).showOverlay), summary: "Show an overlay", out: Overlay{}, status: 200},
	{method: http.MethodPut, path: "/admin/overlays/{id}", permission: "overlays:update", action: "overlay.update", answer: onOverlays((*Server).replaceOverlay), summary: "Replace an overlay; If-Match says which version", in: NewOverlay{}, out: Overlay{}, status: 200},
	{method: http.MethodDelete, path: "/admin/overlays/{id}", permission: "overlays:delete", action: "overlay.delete", answer: onOverlays((*Server).removeOverlay), summary: "Take an overlay away; If-Match says which version", out: Overlay{}, status: 200},

	{method: http.MethodGet, path: "/admin/keys", permission: "keys:read", answer: onKeys((*Server).listKeys), summary: "List API keys", paged: true, out: KeyPage{}, status: 200},
	{method: http.MethodPost, path: "/admin/keys", permission: "keys:create", action: "key.create", answer: onKeys((*Server).createKey), summary: "Make an API key, and show it this once", in: NewKey{}, out: Key{}, status: 201},
	{method: http.MethodGet, path: "/admin/keys/{id}", permission: "keys:read", answer: onKeys((*Server).showKey), summary: "Show what is known of an API key", out: Key{}, status: 200},
	{method: http.MethodDelete, path: "/admin/keys/{id}", permission: "keys:delete", action: "key.revoke", answer: onKeys((*Server).revokeKey), summary: "End an API key", out: Key{}, status: 200},
	{method: http.MethodPost, path: "/admin/keys/{id}/rotate", permission: "keys:update", action: "key.rotate", answer: onKeys((*Server).rotateKey), summary: "Give an API key a new secret beside the old one, and show the key this once", in: Rotation{}, spare: true, out: Key{}, status: 200},
	{method: http.MethodPost, path: "/admin/keys/{id}/finish-rotation", permission: "keys:update", action: "key.finish", answer: onKeys((*Server).finishKey), summary: "End the older secrets of an API key", out: Key{}, status: 200},
}

func hasUsers(s *Server, a *ir.Admin) bool     { return s.o.Access != nil && len(a.Users) > 0 }
func hasAccess(s *Server, _ *ir.Admin) bool    { return s.o.Access != nil }
func hasRoutes(s *Server, _ *ir.Admin) bool    { return s.o.Routes != nil }
func hasUpstreams(s *Server, _ *ir.Admin) bool { return s.o.Upstreams != nil }

// under reports whether a path is the route's, and what its id stands for.
func (r *route) under(path string) (id string, ok bool) {
	before, after, has := strings.Cut(r.path, "{id")
	if !has {
		return "", path == r.path
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	if after == "...}" {
		return rest, rest != ""
	}
	rest, ok = strings.CutSuffix(rest, strings.TrimPrefix(after, "}"))
	return rest, ok && rest != "" && !strings.Contains(rest, "/")
}

// find returns the orders that a path takes here and now, and what its id stands for.
func (s *Server) find(c *call) (found []*route) {
	for i := range s.orders {
		r := &s.orders[i]
		if id, ok := r.under(c.path); ok && (r.there == nil || r.there(s, c.rules)) {
			found, c.id = append(found, r), id
		}
	}
	return found
}

// choose returns the order for a method; nil if there is none. HEAD is GET without the body.
func choose(found []*route, method string) *route {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	i := slices.IndexFunc(found, func(r *route) bool { return r.method == method })
	if i < 0 {
		return nil
	}
	return found[i]
}

// allowed is the field Allow of a path.
func allowed(found []*route) string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if choose(found, m) == nil {
			continue
		}
		if out = append(out, m); m == http.MethodGet {
			out = append(out, http.MethodHead)
		}
	}
	return strings.Join(out, ", ")
}

// administer answers a request to the admin API. Who may not see it learns nothing about it, not even which of its paths there are.
func (s *Server) administer(c *call) *httpmsg.Response {
	if refused := s.foreign(c); refused != nil {
		return refused
	}
	found := s.find(c)
	order := choose(found, c.Method)
	if order == nil || !order.open {
		actor, refused := s.authorise(c)
		if refused != nil {
			return refused
		}
		c.actor = *actor
	}
	switch {
	case len(found) == 0:
		return nil
	case order == nil:
		return notAllowed(allowed(found))
	case !order.open && order.permission != "" && !slices.Contains(c.rules.Permits(c.actor.Roles), order.permission):
		return s.forbidden(c, order)
	case safe(c.Method):
		return headless(c.Request, order.answer(s, c))
	}
	return s.write(c, order)
}

// write carries out an order that changes something, and has it recorded.
func (s *Server) write(c *call, order *route) *httpmsg.Response {
	if order.in == nil {
		if bad := noBody(c.Request); bad != nil {
			return bad
		}
	}
	if order.open { // who it is turns out on the way
		return order.answer(s, c)
	}
	if refused := s.begin(c, order); refused != nil {
		return refused
	}
	resp := order.answer(s, c)
	s.finish(c, order, resp)
	return resp
}
