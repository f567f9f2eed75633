package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/failures"
	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// Login is the body of POST /admin/login.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Refresh is the body of POST /admin/refresh.
type Refresh struct {
	RefreshToken string `json:"refreshToken"`
}

// Tokens is the answer to a login and to a refresh.
type Tokens struct {
	AccessToken  string    `json:"accessToken"` // goes into the field Authorization, with the scheme Bearer
	Expires      time.Time `json:"expires"`     // of the access token
	RefreshToken string    `json:"refreshToken"`
	Session      Session   `json:"session"`
}

// Session is one login.
type Session struct {
	ID        string    `json:"id"`
	User      string    `json:"user"`
	Address   string    `json:"address"` // that logged in
	Created   time.Time `json:"created"`
	Refreshed time.Time `json:"refreshed"`
	Expires   time.Time `json:"expires"` // however often it is refreshed
}

// SessionList is the answer of GET /admin/sessions.
type SessionList struct {
	Sessions []Session `json:"sessions"`
}

// Ended is the answer to a logout.
type Ended struct {
	Session string `json:"session"`
	Ended   bool   `json:"ended"` // false: it had ended before
}

// Whoami is the answer of GET /admin/whoami.
type Whoami struct {
	Actor       Actor    `json:"actor"`
	Permissions []string `json:"permissions"`
}

// UserList is the answer of GET /admin/users.
type UserList struct {
	Users []UserLine `json:"users"`
	Roles []RoleLine `json:"roles"` // the built-in ones first
}

// UserLine is a user without what is secret.
type UserLine struct {
	Name        string   `json:"name"`
	Roles       []string `json:"roles"`
	Permissions []string `json:"permissions"`
}

// RoleLine is a role with all that it permits.
type RoleLine struct {
	ID          string   `json:"id"`
	BuiltIn     bool     `json:"builtIn"`
	Permissions []string `json:"permissions"`
}

func sessionOf(s *session.Session) Session {
	return Session{ID: s.ID, User: s.User, Address: s.Address, Created: s.Created, Refreshed: s.Refreshed, Expires: s.Expires}
}

// login begins a session. Who failed is told the same whether or not there is such a user.
func (s *Server) login(c *call) *httpmsg.Response {
	var body Login
	if bad := readJSON(c.Request, &body); bad != nil {
		return bad
	}
	ctx, cancel := context.WithTimeout(context.Background(), accessWait)
	defer cancel()
	c.actor = Actor{Kind: access.User, Name: shortened(body.Username), Address: s.client(c.Request)}
	if refused := s.announced(Event{Actor: c.actor, Action: "login", Outcome: Begun}); refused != nil {
		return refused
	}
	grant, err := s.o.Access.Login(ctx, c.rules, body.Username, body.Password, c.actor.Address)
	return s.granted(c, grant, err)
}

// refresh goes on with a session.
func (s *Server) refresh(c *call) *httpmsg.Response {
	var body Refresh
	if bad := readJSON(c.Request, &body); bad != nil {
		return bad
	}
	ctx, cancel := context.WithTimeout(context.Background(), accessWait)
	defer cancel()
	c.actor = Actor{Kind: access.User, Address: s.client(c.Request)}
	grant, err := s.o.Access.Refresh(ctx, c.rules, body.RefreshToken)
	return s.granted(c, grant, err)
}

// granted answers with tokens, or says why there are none.
func (s *Server) granted(c *call, grant *access.Grant, err error) *httpmsg.Response {
	e := Event{Actor: c.actor, Action: "login", Outcome: Refused}
	if grant != nil {
		e.Actor.Name, e.Actor.Session, e.Object = grant.Session.User, grant.Session.ID, grant.Session.ID
	}
	var throttled *access.ThrottledError
	refuse := func(status int, code, detail string) *httpmsg.Response {
		e.Reason = code
		if code != "too_many_logins" { // which may be any number: gw_admin_denied_total counts them
			s.note(e)
		}
		s.o.Metrics.AdminDenied(code)
		return problem(status, code, detail)
	}
	switch {
	case err == nil:
	case errors.As(err, &throttled):
		resp := refuse(http.StatusTooManyRequests, "too_many_logins", "too many logins were tried; come back later")
		resp.Header.Add("Retry-After", failures.RetryAfter(throttled.Wait))
		return resp
	case errors.Is(err, access.ErrBusy):
		resp := refuse(http.StatusServiceUnavailable, "login_busy", "too many logins are being checked; come back in a moment")
		resp.Header.Add("Retry-After", "1")
		return resp
	case errors.Is(err, access.ErrWrong):
		return refuse(http.StatusUnauthorized, "wrong_credentials", access.ErrWrong.Error())
	case errors.Is(err, access.ErrReused):
		s.o.Log.Warn("a refresh token was used twice, and its session was ended: one of the two has stolen it",
			slog.String("user", e.Actor.Name), slog.String("session", e.Object), slog.Any("client", c.actor.Address))
		return refuse(http.StatusUnauthorized, "refresh_reused", access.ErrReused.Error())
	case errors.Is(err, access.ErrRefresh):
		return refuse(http.StatusUnauthorized, "refresh_refused", "the refresh token is not good any more; log in again")
	default:
		e.Outcome, e.Reason = Failed, "access_unavailable"
		s.note(e)
		return s.away(err)
	}
	e.Outcome, e.Actor.Roles = Success, rolesOf(c.rules, grant.Session.User)
	if grant.Ended > 0 {
		e.Details = map[string]string{"ended": fmt.Sprint(grant.Ended)}
	}
	s.note(e)
	return respondJSON(http.StatusOK, Tokens{
		AccessToken: grant.AccessToken, Expires: grant.Expires, RefreshToken: grant.RefreshToken, Session: sessionOf(&grant.Session),
	})
}

func rolesOf(a *ir.Admin, user string) []string {
	i := slices.IndexFunc(a.Users, func(u ir.AdminUser) bool { return u.Name == user })
	if i < 0 {
		return nil
	}
	return a.Users[i].Roles
}

// shortened is a name as it goes into records: whoever may not even log in does not decide how long they are.
func shortened(name string) string {
	const most = 128
	return name[:min(len(name), most)]
}

func (s *Server) logout(c *call) *httpmsg.Response {
	if c.actor.Session == "" {
		return problem(http.StatusConflict, "no_session", "there is no session to end: this token was not made by a login")
	}
	return s.ending(c, c.actor.Session)
}

func (s *Server) endSession(c *call) *httpmsg.Response { return s.ending(c, c.id) }

func (s *Server) ending(c *call, id string) *httpmsg.Response {
	c.object = id
	ctx, cancel := context.WithTimeout(context.Background(), accessWait)
	defer cancel()
	ended, err := s.o.Access.End(ctx, id)
	switch {
	case err != nil:
		return s.away(err)
	case !ended && id != c.actor.Session:
		return problem(http.StatusNotFound, "no_such_session", "there is no such session, or not any more; /admin/sessions lists them")
	}
	return respondJSON(http.StatusOK, Ended{Session: id, Ended: ended})
}

func (s *Server) sessions(*call) *httpmsg.Response {
	ctx, cancel := context.WithTimeout(context.Background(), accessWait)
	defer cancel()
	all, err := s.o.Access.Sessions(ctx)
	if err != nil {
		return s.away(err)
	}
	out := SessionList{Sessions: make([]Session, len(all))}
	for i := range all {
		out.Sessions[i] = sessionOf(&all[i])
	}
	return respondJSON(http.StatusOK, out)
}

func (s *Server) whoami(c *call) *httpmsg.Response {
	return respondJSON(http.StatusOK, Whoami{Actor: c.actor, Permissions: list(c.rules.Permits(c.actor.Roles))})
}

func (s *Server) users(c *call) *httpmsg.Response {
	out := UserList{Users: []UserLine{}, Roles: []RoleLine{}}
	for _, u := range c.rules.Users {
		out.Users = append(out.Users, UserLine{Name: u.Name, Roles: list(u.Roles), Permissions: list(c.rules.Permits(u.Roles))})
	}
	for _, id := range ir.BuiltInRoles() {
		permissions, _ := ir.BuiltInRole(id)
		out.Roles = append(out.Roles, RoleLine{ID: id, BuiltIn: true, Permissions: permissions})
	}
	for _, r := range c.rules.Roles {
		out.Roles = append(out.Roles, RoleLine{ID: r.ID, Permissions: list(r.Permissions)})
	}
	return respondJSON(http.StatusOK, out)
}

// list is never null in an answer.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
