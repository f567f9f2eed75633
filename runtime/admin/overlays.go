package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/bundle"
)

// overlaysWait bounds one order: the configuration is compared, and built.
const overlaysWait = 30 * time.Second

// maxOverlayBody bounds the body that carries an envelope, in base64.
const maxOverlayBody = bundle.MaxOverlay*4/3 + 4<<10

// Overlays is what an admin API needs to change overlays. *overlays.Set is it.
type Overlays interface {
	List() []*overlays.Entry
	Get(id string) *overlays.Entry
	Put(ctx context.Context, envelope []byte, version bundle.Digest) (*overlays.Entry, error)
	Remove(ctx context.Context, id string, version bundle.Digest) (*overlays.Entry, error)
}

// NewOverlay is the body of POST /admin/overlays and PUT /admin/overlays/ID: what gwctl overlay apply has signed.
type NewOverlay struct {
	Envelope []byte `json:"envelope"` // DSSE
}

// Overlay is what is known of an overlay.
type Overlay struct {
	ID        string          `json:"id"`
	State     overlay.State   `json:"state"`
	Why       string          `json:"why,omitempty"` // it has no effect
	Reason    string          `json:"reason"`
	By        string          `json:"by,omitempty"`
	Key       string          `json:"key"` // that signed it
	Strategy  bundle.Strategy `json:"strategy"`
	Base      bundle.Digest   `json:"base"`
	IssuedAt  time.Time       `json:"issuedAt"`
	ExpiresAt time.Time       `json:"expiresAt"`
	Objects   []string        `json:"objects"` // such as "routes/users"
	Patch     string          `json:"patch"`
	Version   bundle.Digest   `json:"version"`            // for If-Match, in quotes
	Envelope  []byte          `json:"envelope,omitempty"` // as it was signed; where one overlay is shown
}

// OverlayList is the answer of GET /admin/overlays.
type OverlayList struct {
	Overlays []Overlay `json:"overlays"`
}

// onOverlays makes an answer of an operation on overlays.
func onOverlays(do func(s *Server, ctx context.Context, c *call) *httpmsg.Response) func(*Server, *call) *httpmsg.Response {
	return func(s *Server, c *call) *httpmsg.Response {
		if s.o.Overlays == nil {
			return problem(http.StatusNotImplemented, "overlays_not_configured", "this gateway takes no overlays: its trust file has no key with the role overlay (gwctl keygen --role overlay)")
		}
		ctx, cancel := context.WithTimeout(context.Background(), overlaysWait) // an order is carried out also if nobody waits for the answer
		defer cancel()
		return do(s, ctx, c)
	}
}

func (s *Server) overlays(*call) *httpmsg.Response {
	out := OverlayList{Overlays: []Overlay{}}
	if s.o.Overlays != nil {
		for _, e := range s.o.Overlays.List() {
			out.Overlays = append(out.Overlays, s.overlayOf(e))
		}
	}
	return respondJSON(http.StatusOK, out)
}

func (s *Server) showOverlay(_ context.Context, c *call) *httpmsg.Response {
	e := s.o.Overlays.Get(c.id)
	if e == nil {
		return problem(http.StatusNotFound, "no_such_overlay", "there is no such overlay")
	}
	out := s.overlayOf(e)
	out.Envelope = e.Envelope
	resp := respondJSON(http.StatusOK, out)
	resp.Header.Add("ETag", overlayTag(e))
	return resp
}

func (s *Server) createOverlay(ctx context.Context, c *call) *httpmsg.Response {
	envelope, bad := readOverlay(c)
	if bad != nil {
		return bad
	}
	e, err := s.o.Overlays.Put(ctx, envelope, "")
	c.laid("", e)
	return s.overlayAnswer(http.StatusCreated, e, err)
}

func (s *Server) replaceOverlay(ctx context.Context, c *call) *httpmsg.Response {
	envelope, bad := readOverlay(c)
	if bad != nil {
		return bad
	}
	version, bad := s.versionOf(c)
	if bad != nil {
		return bad
	}
	if o, err := bundle.PeekOverlay(envelope); err != nil || o.ID != c.id {
		return problem(http.StatusUnprocessableEntity, "overlay_malformed", "the overlay in the body is not called as the path says")
	}
	e, err := s.o.Overlays.Put(ctx, envelope, version)
	c.laid(version, e)
	return s.overlayAnswer(http.StatusOK, e, err)
}

func (s *Server) removeOverlay(ctx context.Context, c *call) *httpmsg.Response {
	version, bad := s.versionOf(c)
	if bad != nil {
		return bad
	}
	e, err := s.o.Overlays.Remove(ctx, c.id, version)
	c.before = version
	return s.overlayAnswer(http.StatusOK, e, err)
}

// laid is for the record.
func (c *call) laid(before bundle.Digest, e *overlays.Entry) {
	if e != nil {
		c.before, c.after, c.reason = before, e.Digest, e.Reason
	}
}

func readOverlay(c *call) ([]byte, *httpmsg.Response) {
	var body NewOverlay
	if bad := readJSONUpTo(c.Request, &body, maxOverlayBody); bad != nil {
		return nil, bad
	}
	if o, err := bundle.PeekOverlay(body.Envelope); err == nil {
		c.object = o.ID
	}
	return body.Envelope, nil
}

// versionOf is the version that an order is about, which has to be the one that is there.
func (s *Server) versionOf(c *call) (bundle.Digest, *httpmsg.Response) {
	e := s.o.Overlays.Get(c.id)
	if e == nil {
		return "", problem(http.StatusNotFound, "no_such_overlay", "there is no such overlay")
	}
	return e.Digest, precondition(c.Request, overlayTag(e))
}

func overlayTag(e *overlays.Entry) string { return `"` + string(e.Digest) + `"` }

func (s *Server) overlayOf(e *overlays.Entry) Overlay {
	out := Overlay{
		ID: e.ID, State: overlay.Aside, Why: "it has not been laid yet", Reason: e.Reason, By: e.By, Key: e.Key, Strategy: e.Strategy, Base: e.Base,
		IssuedAt: e.IssuedAt.UTC(), ExpiresAt: e.ExpiresAt.UTC(), Objects: []string{}, Patch: e.Patch, Version: e.Digest,
	}
	for i := range e.Changes {
		out.Objects = append(out.Objects, string(e.Changes[i].Kind)+"/"+e.Changes[i].ID)
	}
	for _, o := range s.o.OverlaysLaid() {
		if o.ID == e.ID {
			out.State, out.Why = o.State, o.Why
		}
	}
	return out
}

// overlayStatus is the status of each code of overlays.Error.
var overlayStatus = map[string]int{
	"no_such_overlay": http.StatusNotFound, "overlay_exists": http.StatusConflict, "base_differs": http.StatusConflict,
	"too_many_overlays": http.StatusConflict, "overlay_without_effect": http.StatusConflict, "precondition_failed": http.StatusPreconditionFailed,
}

// overlayAnswer is the answer to an order about an overlay.
func (s *Server) overlayAnswer(status int, e *overlays.Entry, err error) *httpmsg.Response {
	var wrong *overlays.Error
	var refused *bundle.Error
	switch {
	case err == nil:
		resp := respondJSON(status, s.overlayOf(e))
		resp.Header.Add("ETag", overlayTag(e))
		return resp
	case errors.As(err, &wrong):
		return problem(overlayStatus[wrong.Code], wrong.Code, wrong.Message)
	case errors.As(err, &refused):
		return problem(http.StatusUnprocessableEntity, string(refused.Reason), refused.Error())
	case errors.Is(err, policy.ErrStateAway):
		resp := problem(http.StatusServiceUnavailable, "overlays_unavailable",
			"the gateway cannot reach the overlays that gateways share at the moment; a change may have been made all the same: look before you ask again")
		resp.Header.Add("Retry-After", "1")
		return resp
	}
	s.o.Log.Error("an order of the admin API about overlays failed", slog.Any("error", err))
	return problem(http.StatusInternalServerError, "internal_error", "the order could not be carried out; the log says why")
}
