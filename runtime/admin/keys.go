package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	maxKeyBody = 64 << 10
	keysWait   = 5 * time.Second // bounds one operation
)

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

// keyCall is an operation on keys.
type keyCall func(ctx context.Context, r *httpmsg.Request) *httpmsg.Response

// keys finds what is behind /admin/keys and a rest of the path.
func (s *Server) keys(rest string) (endpoint, bool) {
	if rest == "" {
		return s.onKeys("GET, HEAD, POST", s.listKeys, s.createKey), true
	}
	id, verb, deeper := strings.Cut(rest[1:], "/")
	switch {
	case id == "":
	case !deeper:
		return s.onKeys("GET, HEAD, DELETE", s.showKey(id), s.revokeKey(id)), true
	case verb == "rotate":
		return s.onKeys(acting, nil, s.rotateKey(id)), true
	case verb == "finish-rotation":
		return s.onKeys(acting, nil, s.finishKey(id)), true
	}
	return endpoint{}, false
}

// onKeys makes an endpoint of what reads behind a path and of what acts.
func (s *Server) onKeys(methods string, read, act keyCall) endpoint {
	return endpoint{methods, func(r *httpmsg.Request) *httpmsg.Response {
		if s.o.Keys == nil {
			return problem(http.StatusNotImplemented, "keys_not_configured", "this gateway keeps no API keys: start gwrun with --redis and GWRUN_API_KEY_PEPPER")
		}
		ctx, cancel := context.WithTimeout(context.Background(), keysWait) // an order is carried out also if nobody waits for the answer
		defer cancel()
		if safe(r.Method) {
			return read(ctx, r)
		}
		return act(ctx, r)
	}}
}

func (s *Server) createKey(ctx context.Context, r *httpmsg.Request) *httpmsg.Response {
	var body NewKey
	if bad := readJSON(r, &body); bad != nil {
		return bad
	}
	expires, bad := s.expiry(&body)
	if bad != nil {
		return bad
	}
	record, text, err := s.o.Keys.Create(ctx, apikeys.Order{Owner: body.Owner, Tenant: body.Tenant, Scopes: body.Scopes, Expires: expires})
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

func (s *Server) listKeys(ctx context.Context, r *httpmsg.Request) *httpmsg.Response {
	after, limit, bad := pageOf(r)
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

func (s *Server) showKey(id string) keyCall {
	return func(ctx context.Context, _ *httpmsg.Request) *httpmsg.Response {
		record, err := s.o.Keys.Get(ctx, id)
		return s.keyAnswer(http.StatusOK, Key{Record: record}, err)
	}
}

func (s *Server) revokeKey(id string) keyCall {
	return func(ctx context.Context, _ *httpmsg.Request) *httpmsg.Response {
		record, err := s.o.Keys.Revoke(ctx, id)
		return s.keyAnswer(http.StatusOK, Key{Record: record}, err)
	}
}

func (s *Server) finishKey(id string) keyCall {
	return func(ctx context.Context, _ *httpmsg.Request) *httpmsg.Response {
		record, err := s.o.Keys.Finish(ctx, id)
		return s.keyAnswer(http.StatusOK, Key{Record: record}, err)
	}
}

func (s *Server) rotateKey(id string) keyCall {
	return func(ctx context.Context, r *httpmsg.Request) *httpmsg.Response {
		var body Rotation
		if r.ContentLength != 0 && r.Body != nil {
			if bad := readJSON(r, &body); bad != nil {
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
		record, text, err := s.o.Keys.Rotate(ctx, id, overlap, body.Force)
		return s.keyAnswer(http.StatusOK, Key{text, record}, err)
	}
}

// readJSON reads a body that is one JSON object, or says what is wrong with it. Its type must be said: a page of somebody else's can have
// a browser send a body of some other type without asking first (the Fetch standard, section 2.2.2).
func readJSON(r *httpmsg.Request, into any) *httpmsg.Response {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return problem(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must have Content-Type: application/json")
	}
	if r.Body == nil {
		return badBody("there is none")
	}
	tooLarge := problem(http.StatusRequestEntityTooLarge, "body_too_large", "the body is larger than 64 KiB")
	if r.ContentLength > maxKeyBody {
		return tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxKeyBody+1))
	var broken *httpmsg.Error
	switch {
	case errors.As(err, &broken):
		return problem(broken.Status, broken.Code, broken.Detail)
	case err != nil:
		return badBody("it broke off")
	case len(body) > maxKeyBody:
		return tooLarge
	}
	var mistyped *json.UnmarshalTypeError
	if err := ir.DecodeStrict(body, into); errors.As(err, &mistyped) {
		return badBody(cmp.Or(mistyped.Field, "it") + " is of the wrong type: " + mistyped.Value)
	} else if err != nil {
		return badBody(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func badBody(why string) *httpmsg.Response {
	return problem(http.StatusBadRequest, "bad_body", "the body is not the JSON object that is wanted here: "+why)
}

func invalidRequest(detail string) *httpmsg.Response {
	return problem(http.StatusBadRequest, "invalid_request", detail)
}

// keyStatus is the status of each code of apikeys.Error.
var keyStatus = map[string]int{
	"invalid_request": http.StatusBadRequest, "no_such_key": http.StatusNotFound, "key_contended": http.StatusConflict,
	"rotation_under_way": http.StatusConflict, "key_revoked": http.StatusConflict, "key_expired": http.StatusConflict,
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
