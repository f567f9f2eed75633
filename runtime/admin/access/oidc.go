package access

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

// What is taken of an identity provider.
const (
	clockSkew   = time.Minute
	maxSubject  = 256 // bytes
	maxRoles    = 1000
	discoveryAt = ".well-known/openid-configuration"
)

// algorithms are all but those of shared secrets: a public key must never pass for one (RFC 8725, section 2.1).
var algorithms = slices.DeleteFunc(slices.Clone(jose.Algorithms), func(a string) bool { return strings.HasPrefix(a, "HS") })

// otherTypes are tokens with a purpose of their own, which a provider signs with the same keys (RFC 8725, section 3.11).
var otherTypes = []string{"jwe", "logout+jwt", "dpop+jwt", "secevent+jwt", "oauth-authz-req+jwt", "token-introspection+jwt", "gw-id+jwt"}

// source says where the keys of a provider are. Only the base configuration names one, so it may be next door.
func source(o *ir.AdminOIDC) policy.KeySource {
	at, err := url.JoinPath(o.Issuer, discoveryAt)
	if err != nil {
		at = "" // which Hold refuses
	}
	return policy.KeySource{Issuer: o.Issuer, DiscoveryURL: at, Private: true}
}

// provided finds out whose token of the identity provider it is.
func (c *Control) provided(ctx context.Context, r *rules, t *jose.Token) (*Actor, error) {
	o := r.admin.OIDC
	if o == nil || r.keys == nil || slices.Contains(otherTypes, strings.TrimPrefix(strings.ToLower(t.Type), "application/")) {
		return nil, ErrToken
	}
	if name, err := t.UnverifiedIssuer(); err != nil || name != o.Issuer {
		return nil, ErrToken // before anybody is asked for keys
	}
	set, err := r.keys.Keys(ctx, t.KeyID)
	if err != nil {
		return nil, ErrKeysAway
	}
	claims, err := t.Claims(set, algorithms)
	if err != nil || claims["iss"] != o.Issuer || !meantFor(claims["aud"], o.Audience) {
		return nil, ErrToken
	}
	if err := inTime(claims, c.o.Now(), clockSkew); err != nil {
		return nil, err
	}
	subject, _ := claims["sub"].(string)
	if subject == "" || len(subject) > maxSubject || strings.ContainsFunc(subject, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return nil, ErrToken // nobody could be called to account
	}
	roles := []string{}
	for _, name := range names(claim(claims, o.RolesClaim)) {
		roles = append(roles, o.RoleMap[name]...)
	}
	slices.Sort(roles)
	return &Actor{Kind: OIDC, Name: subject, Roles: slices.Compact(roles)}, nil
}

// meantFor judges aud, which is a text or a list of texts (RFC 7519, section 4.1.3).
func meantFor(v any, audience string) bool {
	if s, ok := v.(string); ok {
		return s == audience
	}
	list, _ := v.([]any)
	return slices.Contains(list, any(audience))
}

// claim returns a claim by its name, or by its path if there is none of that name.
func claim(claims map[string]any, name string) any {
	if v, there := claims[name]; there {
		return v
	}
	head, rest, deeper := strings.Cut(name, ".")
	inner, ok := claims[head].(map[string]any)
	if !deeper || !ok {
		return nil
	}
	return claim(inner, rest)
}

// names are those in a claim: a list of texts, or one text, which is a name as a whole. A list with anything else in it holds none.
func names(v any) []string {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	list, _ := v.([]any)
	if len(list) > maxRoles {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil
		}
		out = append(out, s)
	}
	return out
}

// date reads a NumericDate (RFC 7519, section 2).
func date(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	const most = 253402300799 // the end of the year 9999
	f, err := n.Float64()
	if err != nil || !(f >= 0 && f <= most) {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}
