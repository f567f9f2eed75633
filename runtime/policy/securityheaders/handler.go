package securityheaders

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// handler is the policy of one route. It decides nothing about requests.
type handler struct {
	fields []httpmsg.Field // Strict-Transport-Security is first, if it is there
	hsts   bool            // it is
}

func build(_ context.Context, _ *policy.Env, p *Plan) (policy.Handler, error) {
	h := &handler{hsts: p.StrictTransportSecurity != ""}
	for _, s := range p.settings() {
		if *s.value == "" {
			continue
		}
		if bad := s.judge(*s.value); bad != nil {
			return nil, fmt.Errorf("%s %s", s.name, bad.what)
		}
		if strings.ContainsFunc(*s.value, func(c rune) bool { return c < ' ' || c > '~' }) {
			return nil, fmt.Errorf("%s is %q, which no field can hold", s.name, *s.value)
		}
		h.fields = append(h.fields, httpmsg.Field{Name: s.field, Value: *s.value})
	}
	if len(h.fields) == 0 {
		return nil, errors.New("there is no field to set")
	}
	return h, nil
}

// Decide implements policy.Handler.
func (h *handler) Decide(context.Context, *policy.Exchange) policy.Verdict { return policy.Pass }

// Respond implements policy.ResponseHandler: it puts the fields in place of the upstream's. A switch of protocols is left alone: there
// is no document that the fields could speak of.
func (h *handler) Respond(_ context.Context, x *policy.Exchange, r *httpmsg.Response) {
	if r.Status == 101 {
		return
	}
	fields := h.fields
	if h.hsts && !secure(x.Request) { // RFC 6797 section 7.2 forbids it
		fields = fields[1:]
	}
	r.Header.Fields = slices.DeleteFunc(r.Header.Fields, func(f httpmsg.Field) bool {
		for i := range fields {
			if len(f.Name) == len(fields[i].Name) && strings.EqualFold(f.Name, fields[i].Name) {
				return true
			}
		}
		return false
	})
	r.Header.Fields = append(r.Header.Fields, fields...)
}

// secure reports whether the client came over TLS. A trusted proxy that says how its own client came is believed, either way: it is that
// connection which the browser knows about.
func secure(r *httpmsg.Request) bool {
	scheme := r.Scheme
	if r.PeerTrusted {
		if said := r.Header.Get("X-Forwarded-Proto"); said != "" {
			scheme, _, _ = strings.Cut(said, ",") // of several the first stands for the client's own connection
		}
	}
	return strings.EqualFold(strings.TrimSpace(scheme), "https")
}
