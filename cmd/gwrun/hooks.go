package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/internal/webhook"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/ir"
)

const (
	hookPrefix = "/admin/webhooks/"
	hookBody   = 5<<20 + 1 // bytes: one more than is taken, so that what is too long is seen to be
	hookTime   = 10 * time.Second
)

var vectorHooks = &policy.Vector{
	Name: "gw_webhook_deliveries_total", Labels: []string{"webhook", "code"},
	Help: "Webhook deliveries by what they were answered (docs/webhooks.md); the webhook is empty where none has the name.",
}

// hooks answers the webhooks that the running configuration names, and everything else of the gateway's own by what is behind it.
type hooks struct {
	runtime.Own
	log     *slog.Logger
	metrics *telemetry.Metrics
	secrets policy.Secrets
	seen    webhook.Firsts // nil: this process alone remembers deliveries
	from    func(*httpmsg.Request) netip.Addr
	hints   *webhook.Debouncer

	now atomic.Pointer[hookSet]
}

// hookSet is the receiver for one list of webhooks.
type hookSet struct {
	spec     []ir.Webhook
	receiver *webhook.Receiver
	held     []policy.Secret
}

func newHooks(s *station, behind runtime.Own) *hooks {
	h := &hooks{Own: behind, log: s.log, metrics: s.metrics, secrets: s.secrets, from: s.clientIP}
	if s.state != nil {
		h.seen = s.state
	}
	h.now.Store(&hookSet{})
	h.hints = webhook.NewDebouncer(webhook.Debounce, func(context.Context) { s.look() })
	return h
}

// configure takes the webhooks of a configuration. A list that cannot be used leaves none: what is not verified is not heard.
func (h *hooks) configure(spec []ir.Webhook) {
	old := h.now.Load()
	if reflect.DeepEqual(old.spec, spec) {
		return
	}
	next := &hookSet{spec: spec}
	if err := h.fill(next); err != nil {
		h.log.Error("the webhooks of the configuration cannot be used", slog.Any("error", err))
		next.close()
		next = &hookSet{spec: spec}
	}
	h.now.Store(next)
	old.close()
}

func (h *hooks) fill(next *hookSet) error {
	if len(next.spec) == 0 {
		return nil
	}
	var all []webhook.Hook
	for _, w := range next.spec {
		hook := webhook.Hook{ID: w.ID, Provider: webhook.Provider(w.Provider), Repository: w.Repository, Refs: w.Refs}
		for _, ref := range w.SecretRefs {
			held, err := h.secrets.Hold(ref)
			if err != nil {
				return err
			}
			next.held = append(next.held, held)
			hook.Secrets = append(hook.Secrets, func() ([]byte, error) {
				value, _, err := held.Value()
				return value, err
			})
		}
		all = append(all, hook)
	}
	var err error
	next.receiver, err = webhook.New(webhook.Options{
		Hooks: all, Seen: h.seen, Log: h.log, Hint: func(webhook.Hint) { h.hints.Hint() },
		Observe: func(hook, code string) { h.metrics.Series(vectorHooks, hook, code).Add(1) },
	})
	return err
}

func (s *hookSet) close() {
	for _, held := range s.held {
		_ = held.Close() // nothing depends on it any more
	}
}

// Answer implements runtime.Own.
func (h *hooks) Answer(r *httpmsg.Request, path string) *httpmsg.Response {
	id, ok := strings.CutPrefix(path, hookPrefix)
	receiver := h.now.Load().receiver
	if !ok || receiver == nil {
		return h.Own.Answer(r, path)
	}
	r.MaxBody = hookBody
	ctx, cancel := context.WithTimeout(context.Background(), hookTime)
	defer cancel()
	a := receiver.Receive(ctx, &webhook.Request{
		Hook: id, Method: r.Method, Header: &r.Header, ContentLength: r.ContentLength, Body: r.Body, From: h.from(r),
	})
	resp := &httpmsg.Response{Status: a.Status}
	body := httpmsg.AppendProblem(nil, a.Status, a.Code, a.Detail)
	if a.Status < 300 {
		body = []byte("{\"code\":" + strconv.Quote(a.Code) + "}\n")
		resp.Header.Add("Content-Type", "application/json")
	} else {
		resp.Header.Add("Content-Type", httpmsg.ProblemType)
	}
	if a.Status == http.StatusMethodNotAllowed {
		resp.Header.Add("Allow", "POST")
	}
	if a.RetryAfter > 0 {
		resp.Header.Add("Retry-After", strconv.Itoa(int((a.RetryAfter+time.Second-1)/time.Second)))
	}
	resp.Header.Add("Cache-Control", "no-store")
	resp.ContentLength, resp.Body = int64(len(body)), strings.NewReader(string(body))
	return resp
}
