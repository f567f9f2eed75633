package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

const keysWait = 5 * time.Second // bounds one operation

// NewKey is the body of POST /admin/keys. At most one of ExpiresIn and ExpiresAt is set; without, the key does not expire.
type NewKey struct {
	Owner     string   `json:"owner"`
	Tenant    string   `json:"tenant,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	ExpiresIn string   `json:"expiresIn,omitempty"` // 90d, or text made of h, m and s
	ExpiresAt string   `json:"expiresAt,omitempty"` // RFC 3339
}

// Rotation is the body of POST /admin/keys/ID/rotate, which may be left out.
type Rotation struct {
	Overlap *string `json:"overlap,omitempty"` // as ExpiresIn; absent: apikeys.DefaultOverlap
	Force   bool    `json:"force,omitempty"`
}

// Key is the answer about one key. Its text is there only where it has just been made.
type Key struct {
	Key    string         `json:"key,omitempty"`
	Record apikeys.Record `json:"record"`
}

// KeyPage is the answer of GET /admin/keys. A page may be short, or empty, and not the last.
type KeyPage struct {
	Keys []apikeys.Record `json:"keys"`
	Next *string          `json:"next"` // the value of "after" for the next page; null on the last
}

// onKeys makes an answer of an operation on keys.
func onKeys(do func(s *Server, ctx context.Context, c *call) *httpmsg.Response) func(*Server, *call) *httpmsg.Response {
	return func(s *Server, c *call) *httpmsg.Response {
		if s.o.Keys == nil {
			return problem(http.StatusNotImplemented, "keys_not_configured", "this gateway keeps no API keys: start gwrun with --redis and GWRUN_API_KEY_PEPPER")
		}
		ctx, cancel := context.WithTimeout(context.Background(), keysWait) // an order is carried out also if nobody waits for the answer
		defer cancel()
		return do(s, ctx, c)
	}
}

func (s *Server) createKey(ctx context.Context, c *call) *httpmsg.Response {
	var body NewKey
	if bad := readJSON(c.Request, &body); bad != nil {
		return bad
	}
	expires, bad := s.expiry(&body)
	if bad != nil {
		return bad
	}
	record, text, err := s.o.Keys.Create(ctx, apikeys.Order{Owner: body.Owner, Tenant: body.Tenant, Scopes: body.Scopes, Expires: expires})
	c.object = record.ID
	return s.keyAnswer(http.StatusCreated, Key{text, record}, err)
}

func (s *Server) expiry(body *NewKey) (time.Time, *httpmsg.Response) {
	switch {
	case body.ExpiresIn != "" && body.ExpiresAt != "":
		return time.Time{}, invalidRequest("expiresIn and expiresAt are both there, must be one of them")
	case body.ExpiresIn != "":
		span, err := apikeys.ParseSpan(body.ExpiresIn)
		if err != nil {
			return time.Time{}, invalidRequest("expiresIn " + err.Error())
		}
		return s.o.Now().Add(span), nil
	case body.ExpiresAt != "":
		at, err := time.Parse(time.RFC3339, body.ExpiresAt)
		if err != nil {
			return time.Time{}, invalidRequest("expiresAt must be a time such as 2027-01-31T12:00:00Z")
		}
		return at, nil
	}
	return time.Time{}, nil
}

func (s *Server) listKeys(ctx context.Context, c *call) *httpmsg.Response {
	after, limit, bad := pageOf(c.Request)
	if bad != nil {
		return bad
	}
	records, next, err := s.o.Keys.List(ctx, after, limit)
	page := KeyPage{Keys: records}
	if next != "" {
		page.Next = &next
	}
	return s.keyAnswer(http.StatusOK, page, err)
}

func (s *Server) showKey(ctx context.Context, c *call) *httpmsg.Response {
	record, err := s.o.Keys.Get(ctx, c.id)
	return s.keyAnswer(http.StatusOK, Key{Record: record}, err)
}

func (s *Server) revokeKey(ctx context.Context, c *call) *httpmsg.Response {
	record, err := s.o.Keys.Revoke(ctx, c.id)
	return s.keyAnswer(http.StatusOK, Key{Record: record}, err)
}

func (s *Server) finishKey(ctx context.Context, c *call) *httpmsg.Response {
	record, err := s.o.Keys.Finish(ctx, c.id)
	return s.keyAnswer(http.StatusOK, Key{Record: record}, err)
}

func (s *Server) rotateKey(ctx context.Context, c *call) *httpmsg.Response {
	var body Rotation
	if c.ContentLength != 0 && c.Body != nil {
		if bad := readJSON(c.Request, &body); bad != nil {
			return bad
		}
	}
	overlap := apikeys.DefaultOverlap
	if body.Overlap != nil {
		var err error
		if overlap, err = apikeys.ParseSpan(*body.Overlap); err != nil {
			return invalidRequest("overlap " + err.Error())
		}
	}
	record, text, err := s.o.Keys.Rotate(ctx, c.id, overlap, body.Force)
	return s.keyAnswer(http.StatusOK, Key{text, record}, err)
}

// keyStatus is the status of each code of apikeys.Error.
var keyStatus = map[string]int{
	"invalid_request": http.StatusBadRequest, "no_such_key": http.StatusNotFound, "key_contended": http.StatusConflict,
	"rotation_under_way": http.StatusConflict, "key_revoked": http.StatusConflict, "key_expired": http.StatusConflict,
	"pepper_differs": http.StatusConflict, "no_such_tenant": http.StatusUnprocessableEntity,
}

// keyAnswer is the answer to an order: what came of it, or why it was not carried out.
func (s *Server) keyAnswer(status int, answer any, err error) *httpmsg.Response {
	var wrong *apikeys.Error
	switch {
	case err == nil:
		return respondJSON(status, answer)
	case errors.As(err, &wrong):
		return problem(keyStatus[wrong.Code], wrong.Code, wrong.Message)
	case errors.Is(err, policy.ErrStateAway):
		resp := problem(http.StatusServiceUnavailable, "keys_unavailable",
			"the gateway cannot reach the API keys at the moment; a change may have been made all the same: look before you ask again")
		resp.Header.Add("Retry-After", "1")
		return resp
	}
	s.o.Log.Error("an order of the admin API about API keys failed", slog.Any("error", err))
	return problem(http.StatusInternalServerError, "internal_error", "the order could not be carried out; the log says why")
}
