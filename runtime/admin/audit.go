package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/suuupra/gateway/runtime/admin/access"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/bundle"
)

// Actor is who sends a request.
type Actor = access.Actor

// Auditor keeps a record of what is done through the admin API. An event with the outcome Begun comes before a write, and before the
// tokens of a login are handed out: its error keeps that from happening, so that nothing is done that cannot be recorded. The error of
// any other event is logged.
type Auditor func(ctx context.Context, e Event) error

// Event is what there is to record. No secret is in it.
type Event struct {
	Actor   Actor
	Action  string // such as "login" or "key.create"; what is only read is "read"
	Object  string // what it was done to: an id, or a path
	Outcome Outcome
	Reason  string        // the code of a refusal or a failure, or why, in the words of whoever asked
	Before  bundle.Digest // of the object's content; empty where it has none that counts
	After   bundle.Digest
	Details map[string]string
}

// Outcome is what became of it.
type Outcome string

// The outcomes.
const (
	Begun   Outcome = "begun"   // it is about to be done
	Success Outcome = "success" // it was done
	Refused Outcome = "refused" // it is not allowed, or makes no sense
	Failed  Outcome = "failed"  // it is allowed, and did not work
)

// auditWait bounds one record.
const auditWait = 5 * time.Second

func (s *Server) record(e Event) error {
	if s.o.Audit == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), auditWait)
	defer cancel()
	return s.o.Audit(ctx, e)
}

// note records what has happened already.
func (s *Server) note(e Event) {
	if err := s.record(e); err != nil {
		s.o.Log.Error("an event of the admin API could not be recorded", slog.String("action", e.Action), slog.String("outcome", string(e.Outcome)), slog.Any("error", err))
	}
}

// begin announces an order, or refuses it if nobody could tell later that it was carried out.
func (s *Server) begin(c *call, order *route) *httpmsg.Response {
	return s.announced(Event{Actor: c.actor, Action: order.action, Object: cmp.Or(c.object, c.id), Outcome: Begun})
}

func (s *Server) announced(e Event) *httpmsg.Response {
	if err := s.record(e); err != nil {
		s.o.Log.Error("an order of the admin API was refused, as it could not be recorded", slog.String("action", e.Action), slog.Any("error", err))
		resp := problem(http.StatusServiceUnavailable, "audit_unavailable", "the order cannot be recorded, so it is not carried out; the log says why")
		resp.Header.Add("Retry-After", "10")
		return resp
	}
	return nil
}

// finish records what became of an order.
func (s *Server) finish(c *call, order *route, resp *httpmsg.Response) {
	e := Event{Actor: c.actor, Action: order.action, Object: cmp.Or(c.object, c.id), Outcome: Success}
	switch status := resp.Status; {
	case status >= 500:
		e.Outcome = Failed
	case status >= 400:
		e.Outcome = Refused
	}
	if e.Reason = codeOf(resp); e.Outcome == Success {
		e.Reason, e.Before, e.After = c.reason, c.before, c.after
	}
	s.note(e)
}

// codeOf is the code of an answer that is a problem; "" of any other.
func codeOf(resp *httpmsg.Response) string {
	body, ok := resp.Body.(*bytes.Reader)
	if !ok || resp.Status < 400 {
		return ""
	}
	text := make([]byte, body.Size())
	var said struct{ Code string }
	if _, err := body.ReadAt(text, 0); err != nil || json.Unmarshal(text, &said) != nil {
		return ""
	}
	return said.Code
}
