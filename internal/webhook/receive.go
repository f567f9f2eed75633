package webhook

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	maxBody     = 5 << 20  // bytes of one delivery
	maxBuffered = 64 << 20 // bytes of all deliveries that are being read; what comes on top is told to come again
	remembered  = 24 * time.Hour
)

// The answers, in the order in which a delivery meets them. docs/webhooks.md explains each.
var (
	refuseUnknown    = Answer{Status: http.StatusNotFound, Code: "webhook_unknown", Detail: "there is no such webhook"}
	refuseMethod     = Answer{Status: http.StatusMethodNotAllowed, Code: "webhook_method", Detail: "a delivery is a POST"}
	refuseMedia      = Answer{Status: http.StatusUnsupportedMediaType, Code: "webhook_media_type", Detail: "choose application/json, uncompressed, in the settings of the webhook at the forge"}
	refuseThrottled  = Answer{Status: http.StatusTooManyRequests, Code: "webhook_throttled", Detail: "too many deliveries from this address were not signed as they must be"}
	refuseTooLarge   = Answer{Status: http.StatusRequestEntityTooLarge, Code: "webhook_too_large", Detail: "a delivery may have 5 MiB"}
	refuseSecretAway = Answer{Status: http.StatusServiceUnavailable, Code: "webhook_secret_away", Detail: "the secret of this webhook cannot be read", RetryAfter: 30 * time.Second}
	refuseUnsigned   = Answer{Status: http.StatusUnauthorized, Code: "webhook_unsigned", Detail: "the delivery carries no signature of the kind this webhook takes"}
	refuseExpired    = Answer{Status: http.StatusUnauthorized, Code: "webhook_expired", Detail: "the delivery was signed more than five minutes ago, or hence"}
	refuseBusy       = Answer{Status: http.StatusServiceUnavailable, Code: "webhook_busy", Detail: "too many deliveries arrive at once", RetryAfter: 5 * time.Second}
	refuseBroken     = Answer{Status: http.StatusBadRequest, Code: "webhook_incomplete", Detail: "the delivery broke off"}
	refuseSignature  = Answer{Status: http.StatusUnauthorized, Code: "webhook_signature_invalid", Detail: "the signature is not one of this body with the secret of this webhook"}
	refuseDelivery   = Answer{Status: http.StatusBadRequest, Code: "webhook_delivery_invalid", Detail: "the id of the delivery is missing, repeated or malformed"}
	doneDuplicate    = Answer{Status: http.StatusAccepted, Code: "webhook_duplicate", Detail: "a delivery of this id was here before; nothing is done"}
	donePing         = Answer{Status: http.StatusOK, Code: "webhook_ping", Detail: "the webhook is in order"}
	refusePayload    = Answer{Status: http.StatusBadRequest, Code: "webhook_payload_invalid"}
	doneIgnored      = Answer{Status: http.StatusAccepted, Code: "webhook_ignored"}
	doneAccepted     = Answer{Status: http.StatusAccepted, Code: "webhook_accepted", Detail: "the repository will be looked at"}
)

var answers = []*Answer{
	&refuseUnknown, &refuseMethod, &refuseMedia, &refuseThrottled, &refuseTooLarge, &refuseSecretAway, &refuseUnsigned, &refuseExpired, &refuseBusy, &refuseBroken,
	&refuseSignature, &refuseDelivery, &doneDuplicate, &donePing, &refusePayload, &doneIgnored, &doneAccepted,
}

// Codes lists the codes of all answers: the values a metric may have.
func Codes() []string {
	var out []string
	for _, a := range answers {
		out = append(out, a.Code)
	}
	return out
}

func (a Answer) because(detail string) Answer {
	a.Detail = detail
	return a
}

// Receive judges one delivery, and tells Hint if it matters. What is in it is not read before it is known who sent it.
func (r *Receiver) Receive(ctx context.Context, req *Request) Answer {
	h := r.hooks[req.Hook]
	if h == nil {
		r.observe("", refuseUnknown.Code) // the name is the sender's: it must not become a label, nor a line of a log
		r.log.Debug("delivery for an unknown webhook", "from", req.From.String())
		return refuseUnknown
	}
	a := r.judge(ctx, h, req)
	r.observe(h.id, a.Code)
	log := r.log.Debug
	if a.Status == http.StatusUnauthorized || a.Code == refuseSecretAway.Code {
		log = r.log.Warn // no more of them from one address than failures has room for
	}
	log("webhook delivery answered", "webhook", h.id, "code", a.Code, "detail", a.Detail, "from", req.From.String())
	return a
}

func (r *Receiver) judge(ctx context.Context, h *hook, req *Request) Answer {
	switch {
	case req.Method != http.MethodPost:
		return refuseMethod
	case !isJSON(req.Header):
		return refuseMedia
	}
	if wait := r.failures.wait(req.From, r.now()); wait > 0 {
		a := refuseThrottled
		a.RetryAfter = wait
		return a
	}
	if req.ContentLength > maxBody {
		return refuseTooLarge
	}
	proof, refused := r.prove(h, req.Header)
	if refused == nil {
		body, release, err := r.memory.read(req.Body, proof)
		defer release()
		if refused = unread(err); refused == nil && proof.holds() {
			return r.proven(ctx, h, req.Header, body)
		}
		if refused == nil {
			refused = &refuseSignature
		}
	}
	if refused.Status < http.StatusInternalServerError { // what is our fault is not held against the sender
		r.failures.add(req.From, r.now())
	}
	return *refused
}

// unread is the answer to a body that could not be read; nil if it was.
func unread(err error) *Answer {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errOverLimit):
		return &refuseTooLarge
	case errors.Is(err, errNoRoom):
		return &refuseBusy
	}
	return &refuseBroken
}

// proven goes on with a delivery that is the forge's.
func (r *Receiver) proven(ctx context.Context, h *hook, header Header, body []byte) Answer {
	delivery, ok := h.provider.delivery(header)
	if !ok {
		return refuseDelivery
	}
	if delivery != "" && !r.seen.first(ctx, "webhook:"+h.id+":"+delivery, r.now()) {
		return doneDuplicate
	}
	event, single := one(header, h.provider.event...)
	if !single {
		event = ""
	}
	switch h.provider.kind(event) {
	case eventPing:
		return donePing
	case eventOther:
		return doneIgnored.because("the event is not a push")
	}
	p, err := h.provider.read(body)
	if err != nil {
		return refusePayload.because(err.Error())
	}
	return r.pushed(h, p, delivery)
}

func (r *Receiver) pushed(h *hook, p *push, delivery string) Answer {
	switch {
	case p.other:
		return doneIgnored.because("the event is not a push")
	case !p.of(h.repository):
		return doneIgnored.because("the delivery is about another repository than this webhook's")
	}
	matters := false
	for _, c := range p.changes {
		if len(h.refs) == 0 || h.refs[c.ref] {
			matters = true
			r.hint(Hint{Hook: h.id, Repository: h.repository, Ref: c.ref, Commit: c.commit, Delivery: delivery})
		}
	}
	if !matters {
		return doneIgnored.because("the push touched no ref that matters to this webhook")
	}
	return doneAccepted
}

// isJSON takes no forms: forges that send JSON inside of one sign the form, which is one encoding more to argue about.
func isJSON(h Header) bool {
	value, ok := one(h, "Content-Type")
	if !ok || len(h.Values("Content-Encoding")) > 0 {
		return false
	}
	media, _, err := mime.ParseMediaType(value)
	return err == nil && media == "application/json"
}

// one returns the value of the first of the names that is present. A field that is there twice is as good as absent: another
// reader could take the other one.
func one(h Header, names ...string) (value string, ok bool) {
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			return strings.TrimSpace(values[0]), len(values) == 1
		}
	}
	return "", false
}
