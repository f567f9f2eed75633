package contextinjection

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
)

// tokenType is the typ of an identity token, so that no upstream takes one for another kind of token, nor another kind for one (RFC
// 8725 section 3.11).
const tokenType = "gw-id+jwt"

// identity makes the identity tokens of one route.
type identity struct {
	header   string
	issuer   string
	audience string
	lifetime time.Duration
	now      func() time.Time
	key      *keeper
}

func newIdentity(e *policy.Env, p *IdentityToken) (*identity, error) {
	audience := cmp.Or(p.Audience, e.Upstream)
	if audience == "" { // a token for everybody can be shown to anybody
		return nil, errors.New("there is neither an audience nor an upstream")
	}
	secret, err := e.Secrets.Hold(p.SecretRef)
	if err != nil {
		return nil, err
	}
	id := &identity{
		header: p.Header, issuer: "gateway:" + e.Environment, audience: audience, now: e.Now,
		lifetime: time.Duration(p.Lifetime) * time.Millisecond,
		key:      &keeper{secret: secret, id: p.KeyID, log: e.Log},
	}
	_, _ = id.key.signer() // so that the log has it now if the key is no good
	return id, nil
}

// payload is what an identity token says. The claims that RFC 7519 and RFC 9068 name mean what they say there, for the gateway; those
// of the caller's token that are passed on have other names, but for sub.
type payload struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"` // the request's

	Subject     string   `json:"sub,omitempty"`
	Origin      string   `json:"orig_iss,omitempty"` // iss of the caller's token
	Tenant      string   `json:"tenant,omitempty"`   // the caller's: the route's is no fact about the caller
	Roles       []string `json:"roles,omitempty"`
	Scopes      []string `json:"scopes,omitempty"` // of token and API key together
	Permissions []string `json:"permissions,omitempty"`
	KeyID       string   `json:"key_id,omitempty"` // of the API key
	KeyOwner    string   `json:"key_owner,omitempty"`
}

// token makes the token for one request. It is not kept for the next one of the same caller: jti names the request, which is what
// upstreams tell a replay by, and a signature costs less than the request.
func (id *identity) token(x *policy.Exchange) (string, error) {
	signer, err := id.key.signer()
	if err != nil {
		return "", err
	}
	now := id.now()
	p := payload{Issuer: id.issuer, Audience: id.audience, IssuedAt: now.Unix(), Expires: now.Add(id.lifetime).Unix(), ID: x.ID}
	if c := x.Principal; c != nil {
		p.Subject, p.Origin, p.Tenant = c.Subject, c.Issuer, c.Tenant
		p.Roles, p.Scopes, p.Permissions = c.Roles, c.Scopes, c.Permissions
	}
	if k := x.Key; k != nil {
		p.KeyID, p.KeyOwner, p.Tenant = k.ID, k.Owner, cmp.Or(p.Tenant, k.Tenant)
		p.Scopes = union(p.Scopes, k.Scopes)
	}
	raw, err := json.Marshal(&p)
	if err != nil {
		return "", err
	}
	return signer.token(raw)
}

// union returns a and what b has beyond it. It changes neither: both are shared by all requests of a caller.
func union(a, b []string) []string {
	out := slices.Clip(a)
	for _, s := range b {
		if !slices.Contains(a, s) {
			out = append(out, s)
		}
	}
	return out
}
