package jwt

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/internal/failures"
	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// remembered returns a token that was verified before, if it still holds.
func (v *verifier) remembered(d digest, now time.Time) *known {
	set := v.current()
	if set == nil {
		return nil
	}
	return v.seen.get(d, set, now)
}

// current is the keys as they are at hand; nil if there are none.
func (v *verifier) current() *jose.Set {
	if v.secret != nil {
		set, _ := v.secret.set()
		return set
	}
	return v.keys.Current()
}

// verify verifies a token that was not seen before.
func (v *verifier) verify(ctx context.Context, t *jose.Token, d digest, size int, now time.Time) (*known, reason) {
	if typ := strings.TrimPrefix(strings.ToLower(t.Type), "application/"); v.issuer.Type != "" && typ != v.issuer.Type || v.issuer.Type == "" && otherTypes[typ] {
		return nil, reasonType
	}
	set, err := v.set(ctx, t.KeyID)
	if err != nil {
		return nil, reasonUnavailable
	}
	claims, err := t.Claims(set, v.issuer.Algorithms)
	if err != nil {
		return nil, reasonOf(err)
	}
	p, why := v.issuer.principal(claims, now)
	if why != "" {
		return nil, why
	}
	p.Until = p.Expires.Add(time.Duration(v.issuer.ClockSkew) * time.Second)
	k := &known{principal: p, keys: set, expires: p.Until}
	if k.id, _ = claims["jti"].(string); len(k.id) > 1024 {
		return nil, reasonClaims
	}
	v.seen.put(d, k, size)
	return k, ""
}

// otherTypes are tokens with a purpose of their own, which an issuer signs with the same keys (RFC 8725, section 3.11): none of them lets
// anybody in, unless an author asks for that very type.
var otherTypes = map[string]bool{
	"jwe": true, "logout+jwt": true, "dpop+jwt": true, "secevent+jwt": true, "gw-id+jwt": true, "oauth-authz-req+jwt": true, "token-introspection+jwt": true,
}

// set is the keys to verify a token with that names the key.
func (v *verifier) set(ctx context.Context, id string) (*jose.Set, error) {
	if v.secret != nil {
		return v.secret.set()
	}
	return v.keys.Keys(ctx, id)
}

// secret is a key that the gateway shares with an issuer.
type secret struct {
	held policy.Secret
	log  *slog.Logger

	mu      sync.Mutex
	version uint64
	made    *jose.Set
	err     error
}

func holdSecret(e *policy.Env, ref string) (*secret, error) {
	held, err := e.Secrets.Hold(ref)
	if err != nil {
		return nil, err
	}
	return &secret{held: held, log: e.Log}, nil
}

// set makes the set of the secret as it is now. A newline at its end is not part of it: editors put one there.
func (s *secret) set() (*jose.Set, error) {
	value, version, err := s.held.Value()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != s.version || s.made == nil && s.err == nil {
		s.version = version
		if s.made, s.err = jose.Secret(bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))); s.err != nil {
			s.log.Error("a secret cannot be used; the route answers 503 until it can", slog.Any("error", s.err))
		}
	}
	return s.made, s.err
}

func reasonOf(err error) reason {
	switch {
	case errors.Is(err, jose.ErrAlgorithm):
		return reasonAlgorithm
	case errors.Is(err, jose.ErrNoKey):
		return reasonKey
	case errors.Is(err, jose.ErrSignature):
		return reasonSignature
	}
	return reasonMalformed
}

// refusals are the answers. What is wrong with a token that was not verified is for our records alone, but for its age.
var refusals = map[reason]*policy.Reject{
	reasonMissing:     {Status: 401, Code: "token_missing", Detail: "this route needs a bearer token", Header: challenge("", "")},
	reasonMalformed:   invalid("token_malformed", "the token is malformed"),
	reasonAlgorithm:   invalid("token_invalid", "the token is not valid here"),
	reasonKey:         invalid("token_invalid", "the token is not valid here"),
	reasonSignature:   invalid("token_invalid", "the token is not valid here"),
	reasonIssuer:      invalid("token_invalid", "the token is not valid here"),
	reasonAudience:    invalid("token_invalid", "the token is not valid here"),
	reasonType:        invalid("token_invalid", "the token is not valid here"),
	reasonClaims:      invalid("token_invalid", "the token is not valid here"),
	reasonExpired:     invalid("token_expired", "the token has expired"),
	reasonEarly:       invalid("token_not_yet_valid", "the token is not valid yet"),
	reasonReplayed:    invalid("token_replayed", "the token was used before"),
	reasonUnavailable: {Status: 503, Code: "token_unverifiable", Detail: "the token cannot be verified at the moment", Header: []httpmsg.Field{{Name: "Retry-After", Value: "1"}}},
}

// forged are what is wrong with tokens that no issuer has shown to be its own. They count as failed tries; whoever has a token with the
// right signature does not guess, be it too old, or meant for somebody else.
var forged = map[reason]bool{
	reasonMalformed: true, reasonAlgorithm: true, reasonKey: true, reasonSignature: true, reasonIssuer: true, reasonType: true,
}

func tooMany(wait time.Duration) *policy.Reject {
	return &policy.Reject{
		Status: 429, Code: "too_many_failures", Detail: "too many wrong tokens came from this address; come back later",
		Header: []httpmsg.Field{{Name: "Retry-After", Value: failures.RetryAfter(wait)}},
	}
}

func invalid(code, detail string) *policy.Reject {
	return &policy.Reject{Status: 401, Code: code, Detail: detail, Header: challenge("invalid_token", detail)}
}

// challenge is the field WWW-Authenticate (RFC 6750, section 3). A request without a credential is told no error.
func challenge(code, description string) []httpmsg.Field {
	value := `Bearer realm="gateway"`
	if code != "" {
		value += `, error="` + code + `"`
	}
	if description != "" {
		value += `, error_description="` + description + `"`
	}
	return []httpmsg.Field{{Name: "WWW-Authenticate", Value: value}}
}
