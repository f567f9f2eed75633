package jwt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/suuupra/gateway/internal/failures"
	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/policy"
)

type handler struct {
	plan     *Plan
	tenant   string // of the route
	issuers  []*verifier
	failures *failures.Counter // of all routes of the process
	release  func()
	state    policy.State
	now      func() time.Time
	metrics  metrics
	closers  []io.Closer
}

// metrics are the series of one route.
type metrics struct {
	verified policy.Series
	failed   func(reason) policy.Series
	denied   map[string]policy.Series // by what is lacking
}

func build(_ context.Context, e *policy.Env, p *Plan) (_ policy.Handler, err error) {
	h := &handler{plan: p, tenant: e.Route.Tenant, state: e.State, now: e.Now, metrics: metricsOf(e)}
	defer func() {
		if err != nil {
			_ = h.Close()
		}
	}()
	if p.ReplayProtection && e.State == nil {
		return nil, fmt.Errorf("replayProtection: %w", policy.ErrNoState)
	}
	if p.MaxFailuresPerMinute < 1 {
		return nil, fmt.Errorf("maxFailuresPerMinute is %d, must be at least 1", p.MaxFailuresPerMinute)
	}
	if err := p.From.check(); err != nil {
		return nil, err
	}
	counter, release, err := e.Shared.Get(name+"/failures", func() (any, error) { return failures.New(e.Now()), nil })
	if err != nil {
		return nil, err
	}
	h.failures, h.release = counter.(*failures.Counter), release
	for _, i := range p.issuers() {
		v, err := newVerifier(e, i)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", i.Name, err)
		}
		h.closers = append(h.closers, v)
		h.issuers = append(h.issuers, v)
	}
	return h, nil
}

func metricsOf(e *policy.Env) metrics {
	m := metrics{
		verified: e.Metrics.Series(verified, e.Route.ID), denied: map[string]policy.Series{},
		failed: func(why reason) policy.Series { return e.Metrics.Series(failed, e.Route.ID, string(why)) },
	}
	for _, what := range []string{"role", "scope", "perm"} {
		m.denied[what] = e.Metrics.Series(policy.AuthzDenied, e.Route.ID, what)
	}
	return m
}

// check refuses a plan that would look nowhere, or in two places.
func (f *From) check() error {
	places := 0
	for _, p := range []string{f.Header, f.Cookie, f.Query} {
		if p != "" {
			places++
		}
	}
	if places != 1 {
		return fmt.Errorf("from has %d places, must have one", places)
	}
	return nil
}

// Close implements io.Closer.
func (h *handler) Close() error {
	var errs []error
	for _, c := range h.closers {
		errs = append(errs, c.Close())
	}
	h.closers = nil
	if h.release != nil {
		h.release()
		h.release = nil
	}
	return errors.Join(errs...)
}

// Decide verifies the token of the request.
func (h *handler) Decide(ctx context.Context, x *policy.Exchange) policy.Verdict {
	token, refusal := h.plan.From.find(x)
	if refusal != nil {
		h.metrics.failed(reasonMalformed).Add(1)
		return policy.Refuse(refusal)
	}
	if token == "" {
		if h.plan.Optional {
			return policy.Pass
		}
		return h.fail(x, reasonMissing, 0)
	}
	k, why, wait := h.look(ctx, x, token)
	if why == "" && h.plan.ReplayProtection {
		why = h.first(ctx, k)
	}
	if why != "" {
		return h.fail(x, why, wait)
	}
	h.metrics.verified.Add(1)
	x.Principal = k.principal
	h.plan.From.strip(x)
	return h.authorise(x, k.principal)
}

// look finds out whose token it is, and whether it is good; wait is how long a client must wait that is throttled. One that was good before
// is so whatever else comes from its address.
func (h *handler) look(ctx context.Context, x *policy.Exchange, token string) (k *known, why reason, wait time.Duration) {
	now := h.now()
	d, k := h.remembered(token, now)
	if k != nil {
		return k, "", 0
	}
	from := failures.SourceOf(x.ClientIP)
	if wait := h.failures.Wait(from, h.plan.MaxFailuresPerMinute, now); wait > 0 {
		return nil, reasonThrottled, wait
	}
	if k, why = h.verify(ctx, token, d, now); forged[why] {
		h.failures.Add(from, now)
	}
	return k, why, 0
}

// remembered returns a token that was verified before, and its digest. One that is too long for a token is not worth computing it.
func (h *handler) remembered(token string, now time.Time) (d digest, k *known) {
	if len(token) > jose.MaxToken {
		return d, nil
	}
	d = digestOf(token)
	for _, v := range h.issuers { // few, and one that has seen the token answers without a look into it
		if k := v.remembered(d, now); k != nil {
			return d, k
		}
	}
	return d, nil
}

// verify verifies a token by the issuer that it names.
func (h *handler) verify(ctx context.Context, token string, d digest, now time.Time) (*known, reason) {
	t, err := jose.Parse(token)
	if err != nil {
		return nil, reasonOf(err)
	}
	name, err := t.UnverifiedIssuer()
	if err != nil {
		return nil, reasonOf(err)
	}
	i := slices.IndexFunc(h.issuers, func(v *verifier) bool { return v.issuer.Name == name })
	if i < 0 {
		return nil, reasonIssuer
	}
	return h.issuers[i].verify(ctx, t, d, len(token), now)
}

// first refuses a token that was used before. What tenants have seen is kept apart: one that calls its own keys those of another's issuer
// could otherwise use up the tokens of that issuer. On routes that nobody owns it is one memory whoever's request it is, or a token could
// be used once by each tenant's host.
func (h *handler) first(ctx context.Context, k *known) reason {
	if k.id == "" {
		return reasonClaims
	}
	name := fmt.Sprintf("%d:%s%s", len(k.principal.Issuer), k.principal.Issuer, k.id)
	if h.tenant != "" {
		name = fmt.Sprintf("tenant %d:%s", len(h.tenant), h.tenant) + name // no other name begins with a letter
	}
	sum := sha256.Sum256([]byte(name))
	fresh, err := h.state.First(ctx, "jti:"+hex.EncodeToString(sum[:]), k.expires.Sub(h.now())+time.Second)
	switch {
	case err != nil:
		return reasonUnavailable
	case !fresh:
		return reasonReplayed
	}
	return ""
}

// authorise checks what the token must have. The answer says the class of what is lacking, and no more: not what would open the door.
func (h *handler) authorise(x *policy.Exchange, p *policy.Principal) policy.Verdict {
	for _, need := range []struct {
		what     string
		want     []string
		have     []string
		code, is string
	}{
		{"role", h.plan.RequiredRoles, p.Roles, "role_missing", "a role"},
		{"scope", h.plan.RequiredScopes, p.Scopes, "scope_missing", "a scope"},
		{"perm", h.plan.RequiredPermissions, p.Permissions, "permission_missing", "a permission"},
	} {
		for _, w := range need.want {
			if !slices.Contains(need.have, w) {
				h.metrics.denied[need.what].Add(1)
				x.Cause = need.what + " " + w
				return policy.Refuse(&policy.Reject{
					Status: 403, Code: need.code, Detail: "the token lacks " + need.is + " that this route needs",
					Header: challenge("insufficient_scope", ""),
				})
			}
		}
	}
	return policy.Pass
}

// fail refuses a request without a good token; wait is how long a client must wait that is throttled.
func (h *handler) fail(x *policy.Exchange, why reason, wait time.Duration) policy.Verdict {
	x.Cause = string(why)
	h.metrics.failed(why).Add(1)
	if why == reasonThrottled {
		return policy.Refuse(tooMany(wait))
	}
	return policy.Refuse(refusals[why])
}

// verifier holds what the tokens of one issuer are verified with. Routes that trust an issuer alike share what they remember.
type verifier struct {
	issuer  Issuer
	keys    policy.KeySet // nil: secret
	secret  *secret
	seen    *verdicts
	release func()
}

func newVerifier(e *policy.Env, i Issuer) (*verifier, error) {
	if i.Name == "" || len(i.Audiences) == 0 || len(i.Algorithms) == 0 {
		return nil, errors.New("a name, an audience and an algorithm are needed")
	}
	for _, a := range i.Algorithms {
		if hmac := len(a) > 2 && a[:2] == "HS"; hmac != (i.SecretRef != "") {
			return nil, fmt.Errorf("algorithm %s does not go with its keys", a)
		}
	}
	v := &verifier{issuer: i}
	shape, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(shape)
	seen, release, err := e.Shared.Get("jwt/"+hex.EncodeToString(sum[:]), func() (any, error) { return newVerdicts(), nil })
	if err != nil {
		return nil, err
	}
	v.seen, v.release = seen.(*verdicts), release
	if i.SecretRef != "" {
		v.secret, err = holdSecret(e, i.SecretRef)
	} else {
		v.keys, err = e.KeySets.Hold(policy.KeySource{
			Issuer: i.Name, JWKSURI: i.JwksURI, DiscoveryURL: i.OidcDiscoveryURL, Private: i.Private, MaxAge: time.Duration(i.CacheMaxAge) * time.Millisecond,
		})
	}
	if err != nil {
		release()
		return nil, err
	}
	return v, nil
}

// Close implements io.Closer.
func (v *verifier) Close() error {
	defer v.release()
	if v.secret != nil {
		return v.secret.held.Close()
	}
	return v.keys.Close()
}
