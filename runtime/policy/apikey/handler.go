package apikey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/internal/apikey"
	"github.com/suuupra/gateway/internal/failures"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// handler is the policy on one route.
type handler struct {
	header, environment string
	tenant              string // of the route; "": none
	scopes              []string
	most                int64 // failures in a minute

	log     *slog.Logger
	now     func() time.Time
	state   policy.State
	common  *common
	release func()

	refusals [outcomes]*policy.Reject // but that of throttled, which says how long
	counts   [outcomes]policy.Series
	denied   policy.Series
}

// common is what all routes of the process have together.
type common struct {
	hasher   *apikey.Hasher
	failures *failures.Counter
}

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	switch {
	case !isToken(p.Header):
		return nil, fmt.Errorf("header is %q, must be a header name", p.Header)
	case p.MaxFailuresPerMinute < 1:
		return nil, fmt.Errorf("maxFailuresPerMinute is %d, must be at least 1", p.MaxFailuresPerMinute)
	case !apikey.IsName(e.Environment):
		return nil, fmt.Errorf("the environment is %q, which no API key can be for", e.Environment)
	case e.State == nil:
		return nil, fmt.Errorf("the records of API keys are not in reach: %w", policy.ErrNoState)
	case e.Pepper == nil:
		return nil, errors.New("no API key can be judged without the pepper: start gwrun with GWRUN_API_KEY_PEPPER")
	}
	value, release, err := e.Shared.Get(name, func() (any, error) {
		hasher, err := apikey.NewHasher(e.Pepper)
		if err != nil {
			return nil, fmt.Errorf("GWRUN_API_KEY_PEPPER: %w", err)
		}
		return &common{hasher: hasher, failures: failures.New(e.Now())}, nil
	})
	if err != nil {
		return nil, err
	}
	h := &handler{
		header: p.Header, environment: e.Environment, tenant: e.Route.Tenant, scopes: p.RequiredScopes, most: p.MaxFailuresPerMinute,
		log: e.Log, now: e.Now, state: e.State, common: value.(*common), release: release,
		refusals: refusals(p), denied: e.Metrics.Series(policy.AuthzDenied, e.Route.ID, "scope"),
	}
	for o := range outcomes {
		h.counts[o] = e.Metrics.Series(verified, e.Route.ID, o.String())
	}
	return h, nil
}

// Close implements io.Closer.
func (h *handler) Close() error {
	h.release()
	return nil
}

// Decide lets requests with a good key pass. The key stays here: an upstream that has it could use it elsewhere.
func (h *handler) Decide(ctx context.Context, x *policy.Exchange) policy.Verdict {
	now := h.now()
	o, wait := h.judge(ctx, x, now)
	h.counts[o].Add(1)
	switch o {
	case accepted:
		x.Request.Header.Del(h.header)
		x.Cause = ""
		h.state.KeyUsed(x.Key.ID, now)
		return policy.Pass
	case throttled:
		return policy.Refuse(tooMany(wait))
	case scopeMissing:
		h.denied.Add(1)
	}
	return policy.Refuse(h.refusals[o])
}

// judge says what becomes of a request; wait is how long a client must wait that is throttled. The exchange gets its key as soon as it is
// known whose it is.
func (h *handler) judge(ctx context.Context, x *policy.Exchange, now time.Time) (o outcome, wait time.Duration) {
	text, o := h.find(x)
	if o != accepted {
		return o, 0
	}
	from := failures.SourceOf(x.ClientIP)
	if wait := h.common.failures.Wait(from, h.most, now); wait > 0 {
		return throttled, wait
	}
	record, o := h.verify(ctx, x, text, now)
	if o == malformed || o == invalid { // who shows the right secret does not guess
		h.common.failures.Add(from, now)
	}
	if o != accepted {
		return o, 0
	}
	x.Key = &policy.Key{ID: record.ID, Owner: record.Owner, Tenant: record.Tenant, Scopes: record.Scopes}
	for _, scope := range h.scopes {
		if !slices.Contains(record.Scopes, scope) {
			return scopeMissing, 0
		}
	}
	return accepted, 0
}

// find returns the text in the place where the key stands. Two are refused even if they are equal, and so is one beside a key in the
// query: which of them another program on the way would go by is open.
func (h *handler) find(x *policy.Exchange) (text string, o outcome) {
	found := false
	for i := range x.Request.Header.Fields {
		if f := &x.Request.Header.Fields[i]; strings.EqualFold(f.Name, h.header) {
			if found {
				return "", duplicate
			}
			text, found = f.Value, true
		}
	}
	switch {
	case !found:
		return "", missing
	case keyInQuery(x.RawQuery):
		return "", duplicate
	}
	return text, accepted
}

// keyInQuery reports whether the value of a parameter is a key.
func keyInQuery(query string) bool {
	for parameter := range strings.SplitSeq(query, "&") {
		_, value, ok := strings.Cut(parameter, "=")
		if !ok {
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		if _, err := apikey.Parse(value); err == nil {
			return true
		}
	}
	return false
}

// verify finds the record of a key and checks what the key claims. Whether the secret is right is found out before anything is said
// about the key: to all others a key that was revoked, and one of another tenant, look like one that never was.
func (h *handler) verify(ctx context.Context, x *policy.Exchange, text string, now time.Time) (*policy.KeyRecord, outcome) {
	k, err := apikey.Parse(text)
	if err != nil {
		return nil, malformed
	}
	x.Cause = "key " + k.ID
	switch {
	case k.Env != h.environment:
		return nil, invalid
	}
	record, err := h.state.Key(ctx, k.ID)
	if err != nil {
		if !errors.Is(err, policy.ErrStateAway) && ctx.Err() == nil { // it does not go away by itself
			h.log.Error("the record of an API key cannot be read", slog.String("key", k.ID), slog.Any("error", err))
		}
		return nil, unavailable
	}
	var hashes []string
	if record != nil {
		hashes = record.Hashes
	}
	right := h.common.hasher.Match(k.ID, k.Secret, hashes, now) // also for an id that nobody has: it takes as long
	switch {
	case !right || record == nil || record.Environment != h.environment || !h.serves(x, record.Tenant):
		return nil, invalid
	case !record.Revoked.IsZero():
		return nil, revoked
	case !record.Expires.IsZero() && !now.Before(record.Expires):
		return nil, expired
	}
	return record, accepted
}

// serves reports whether a request is one that the keys of a tenant are for: by its route, or by what is known of it before it is known
// who calls. Keys without a tenant are the operator's; requests without one are everybody's.
func (h *handler) serves(x *policy.Exchange, tenant string) bool {
	of := cmp.Or(h.tenant, x.Tenant)
	return tenant == "" || of == "" || tenant == of
}

// refusals are made once for a route: they say the same to everybody.
func refusals(p *Plan) (r [outcomes]*policy.Reject) {
	// Section 15.5.2 of RFC 9110 wants a challenge with each 401. No scheme is registered for keys in a field of their own, and an own
	// name keeps browsers from asking for a password.
	challenge := []httpmsg.Field{{Name: "WWW-Authenticate", Value: `ApiKey realm="gateway", header="` + p.Header + `"`}}
	unauthorised := func(code, detail string) *policy.Reject {
		return &policy.Reject{Status: 401, Code: code, Detail: detail, Header: challenge}
	}
	r[missing] = unauthorised("key_missing", "this route needs an API key in the header "+p.Header)
	r[malformed] = unauthorised("key_invalid", "the API key is not one of this gateway")
	r[invalid] = r[malformed]
	r[revoked] = unauthorised("key_revoked", "the API key was revoked")
	r[expired] = unauthorised("key_expired", "the API key has expired")
	r[duplicate] = &policy.Reject{
		Status: 400, Code: "duplicate_credentials", Detail: "the request has more than one API key; send one, in the header " + p.Header,
	}
	r[scopeMissing] = &policy.Reject{
		Status: 403, Code: "scope_missing", Detail: "the API key lacks a scope; this route needs " + strings.Join(p.RequiredScopes, " "),
	}
	r[unavailable] = &policy.Reject{
		Status: 503, Code: "keys_unavailable", Detail: "the gateway cannot look the API key up at the moment",
		Header: []httpmsg.Field{{Name: "Retry-After", Value: "1"}},
	}
	return r
}

func tooMany(wait time.Duration) *policy.Reject {
	return &policy.Reject{
		Status: 429, Code: "too_many_failures", Detail: "too many wrong API keys came from this address; come back later",
		Header: []httpmsg.Field{{Name: "Retry-After", Value: failures.RetryAfter(wait)}},
	}
}

// isToken reports whether a text can be the name of a field (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
