package signedurl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// The bounds of a plan, as of what an author may write.
const (
	maxKeys     = 2
	maxSkew     = 60
	maxLifetime = 24 * time.Hour
)

type handler struct {
	keys   []*key
	bounds signedurl.Bounds
	now    func() time.Time
}

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	h := &handler{now: e.Now, bounds: signedurl.Bounds{
		Skew: time.Duration(p.ClockSkewSeconds) * time.Second, MaxLifetime: time.Duration(p.MaxLifetimeMs) * time.Millisecond,
	}}
	for _, k := range p.Keys {
		secret, err := e.Secrets.Hold(k.SecretRef)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("key %q: %w", k.ID, err), h.Close())
		}
		h.keys = append(h.keys, newKey(k.ID, secret, e.Log))
	}
	return h, nil
}

// check holds a plan to what compile makes: a bundle may come from elsewhere.
func (p *Plan) check() error {
	switch {
	case len(p.Keys) < 1 || len(p.Keys) > maxKeys:
		return fmt.Errorf("keys has %d elements, must have 1 or %d", len(p.Keys), maxKeys)
	case len(p.Keys) == maxKeys && p.Keys[0].ID >= p.Keys[1].ID:
		return errors.New("keys must have different ids, and be sorted by them")
	case p.ClockSkewSeconds < 0 || p.ClockSkewSeconds > maxSkew:
		return fmt.Errorf("clockSkewSeconds is %d, must be from 0 to %d", p.ClockSkewSeconds, maxSkew)
	case p.MaxLifetimeMs < 0 || p.MaxLifetimeMs > maxLifetime.Milliseconds():
		return fmt.Errorf("maxLifetimeMs is %d, must be from 0 to %d", p.MaxLifetimeMs, maxLifetime.Milliseconds())
	}
	for _, k := range p.Keys {
		if !signedurl.IsKeyID(k.ID) {
			return fmt.Errorf("%q is no id of a key", k.ID)
		}
	}
	return nil
}

// Decide refuses a request whose URL does not permit it, and takes the permission out of the query of every other.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	permission, no := signedurl.Parse(x.RawQuery)
	if no != nil {
		return refuse(no)
	}
	var with *signedurl.Key
	for _, k := range h.keys {
		if k.id == permission.KeyID {
			if with = k.current(); with == nil {
				return policy.Refuse(&policy.Reject{
					Status: 503, Code: "signing_key_unavailable", Detail: "the gateway cannot check this signature now; come back later",
					Header: []httpmsg.Field{{Name: "Retry-After", Value: "5"}},
				})
			}
		}
	}
	r := signedurl.Request{Method: x.Request.Method, Authority: x.Request.Authority, Path: x.Path, Client: x.ClientIP, Now: h.now()}
	if no := permission.Verify(with, &r, h.bounds); no != nil {
		if x.Cause = "key " + permission.KeyID; with == nil {
			x.Cause += " is not configured"
		}
		return refuse(no)
	}
	x.RawQuery = signedurl.Strip(x.RawQuery)
	return policy.Pass
}

func refuse(no *signedurl.Refusal) policy.Verdict {
	return policy.Refuse(&policy.Reject{Status: 403, Code: string(no.Reason), Detail: no.Detail})
}

// Close implements io.Closer.
func (h *handler) Close() error {
	var errs []error
	for _, k := range h.keys {
		errs = append(errs, k.secret.Close())
	}
	return errors.Join(errs...)
}
