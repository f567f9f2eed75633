package access

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/admin/access/session"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/ir"
)

// provider is the keys of an identity provider, and counts who holds them.
type provider struct {
	set  *jose.Set
	away bool
	held int
	from policy.KeySource
}

func (p *provider) Hold(s policy.KeySource) (policy.KeySet, error) {
	p.held++
	p.from = s
	return p, nil
}

func (p *provider) Keys(context.Context, string) (*jose.Set, error) {
	if p.away {
		return nil, policy.ErrKeysAway
	}
	return p.set, nil
}
func (p *provider) Current() *jose.Set { return p.set }
func (p *provider) Close() error       { p.held--; return nil }

const issuer = "https://id.example.com/realms/ops"

// TestTokensOfTheProvider shows tokens that are signed by the right key, or not.
func TestTokensOfTheProvider(t *testing.T) {
	clock := testkit.NewClock(time.Time{})
	signer, err := jose.NewSigner("ES256", "first")
	if err != nil {
		t.Fatal(err)
	}
	text, err := jose.EncodeSet(signer)
	if err != nil {
		t.Fatal(err)
	}
	keys := &provider{}
	if keys.set, _, err = jose.ParseSet(text); err != nil {
		t.Fatal(err)
	}
	c := newControl(t, clock, "prod", "", session.NewMemory(clock.Now))
	c.o.KeySets = keys
	rules := ir.Admin{APIEnabled: true, OIDC: &ir.AdminOIDC{Issuer: issuer, Audience: "gateway", RolesClaim: "roles", RoleMap: map[string][]string{
		"ops": {"operator"}, "keys": {"key-manager", "viewer"}, "repo:shop/site:ref:refs/heads/main": {"operator"},
	}}}
	now := clock.Now().Unix()
	base := map[string]any{"iss": issuer, "aud": "gateway", "sub": "ann", "exp": now + 600, "iat": now, "roles": []string{"ops"}}
	sign := func(by *jose.Signer, header, change map[string]any) string {
		claims := maps.Clone(base)
		for k, v := range change {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		token, err := by.Sign(header, claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, tt := range map[string]struct {
		change map[string]any
		roles  string
		err    error
	}{
		"as it should be":           {nil, "operator", nil},
		"several roles":             {map[string]any{"roles": []string{"keys", "ops", "other"}}, "key-manager operator viewer", nil},
		"one text":                  {map[string]any{"roles": "ops"}, "operator", nil},
		"one text with a colon":     {map[string]any{"roles": "repo:shop/site:ref:refs/heads/main"}, "operator", nil},
		"one text with more":        {map[string]any{"roles": "repo:shop/site:ref:refs/heads/main2"}, "", nil},
		"several in one text":       {map[string]any{"roles": "user,ops"}, "", nil},
		"several with a space":      {map[string]any{"roles": "user ops"}, "", nil},
		"another case":              {map[string]any{"roles": []string{"Ops"}}, "", nil},
		"a role of ours":            {map[string]any{"roles": []string{"super-admin", "operator"}}, "", nil},
		"an object":                 {map[string]any{"roles": map[string]any{"ops": true}}, "", nil},
		"a number among them":       {map[string]any{"roles": []any{"ops", 1}}, "", nil},
		"a list in a list":          {map[string]any{"roles": []any{[]string{"ops"}}}, "", nil},
		"no roles":                  {map[string]any{"roles": nil}, "", nil},
		"more roles than fit":       {map[string]any{"roles": slices.Repeat([]string{"ops"}, 1001)}, "", ErrToken},
		"several audiences":         {map[string]any{"aud": []string{"api", "gateway"}}, "operator", nil},
		"another audience":          {map[string]any{"aud": "gateway-evil"}, "", ErrToken},
		"no audience":               {map[string]any{"aud": nil}, "", ErrToken},
		"an empty audience":         {map[string]any{"aud": []string{}}, "", ErrToken},
		"an audience in a list":     {map[string]any{"aud": []any{[]string{"gateway"}}}, "", ErrToken},
		"another issuer":            {map[string]any{"iss": issuer + "/"}, "", ErrToken},
		"no issuer":                 {map[string]any{"iss": nil}, "", ErrToken},
		"our own issuer":            {map[string]any{"iss": tokenIssuer}, "", ErrToken},
		"no end":                    {map[string]any{"exp": nil}, "", ErrToken},
		"ended within the skew":     {map[string]any{"exp": now - 59}, "operator", nil},
		"ended":                     {map[string]any{"exp": now - 60}, "", ErrExpired},
		"an end before all time":    {map[string]any{"exp": -1}, "", ErrToken},
		"an end beyond all numbers": {map[string]any{"exp": json.Number("1e400")}, "", ErrToken},
		"not before later":          {map[string]any{"nbf": now + 120}, "", ErrToken},
		"made tomorrow":             {map[string]any{"iat": now + 86400}, "", ErrToken},
		"nobody":                    {map[string]any{"sub": nil}, "", ErrToken},
		"an empty subject":          {map[string]any{"sub": ""}, "", ErrToken},
		"a long subject":            {map[string]any{"sub": strings.Repeat("x", 257)}, "", ErrToken},
		"a line of its own":         {map[string]any{"sub": "ann\n{\"actor\":\"bob\"}"}, "", ErrToken},
		"colours":                   {map[string]any{"sub": "\x1b[31mann"}, "", ErrToken},
		"written backwards":         {map[string]any{"sub": "\u202eann"}, "", ErrToken},
	} {
		a, err := c.Authenticate(t.Context(), &rules, sign(signer, nil, tt.change))
		switch {
		case err != tt.err:
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		case err == nil && (strings.Join(a.Roles, " ") != tt.roles || a.Kind != OIDC || a.Name != "ann" || a.Session != ""):
			t.Errorf("%s: %+v", name, a)
		}
	}
	if want := (policy.KeySource{Issuer: issuer, DiscoveryURL: issuer + "/.well-known/openid-configuration", Private: true}); keys.from != want || keys.held != 1 {
		t.Errorf("keys come from %+v, held %d times", keys.from, keys.held)
	}

	other, _ := jose.NewSigner("ES256", "first")
	public, _ := json.Marshal(must(signer.Public()))
	for name, token := range map[string]string{
		"another key of the same name":      sign(other, nil, nil),
		"the public key as a shared secret": sign(jose.SecretSigner("HS256", public), map[string]any{"kid": "first"}, nil),
		"a token for logging out":           sign(signer, map[string]any{"typ": "logout+jwt"}, nil),
		"a token that proves possession":    sign(signer, map[string]any{"typ": "application/dpop+jwt"}, nil),
		"one that says it is ours":          sign(signer, map[string]any{"typ": tokenType}, map[string]any{"iss": tokenIssuer, "aud": "gateway-admin:prod"}),
		"an assertion about an end user":    sign(signer, map[string]any{"typ": "gw-id+jwt"}, nil),
	} {
		if a, err := c.Authenticate(t.Context(), &rules, token); err != ErrToken {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	good := sign(signer, nil, nil)
	keys.away = true
	if _, err := c.Authenticate(t.Context(), &rules, good); err != ErrKeysAway {
		t.Errorf("without keys: %v", err)
	}
	keys.away = false
	if _, err := c.Authenticate(t.Context(), &ir.Admin{APIEnabled: true}, good); err != ErrToken || keys.held != 0 {
		t.Errorf("without a provider: %v, held %d times", err, keys.held)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestClaimsByPath(t *testing.T) {
	claims := map[string]any{
		"roles": "a", "realm_access": map[string]any{"roles": "b", "deep.er": "c"}, "https://example.com/roles": "d", "text": "x",
	}
	for name, want := range map[string]any{
		"roles": "a", "realm_access.roles": "b", "realm_access.deep.er": "c", "https://example.com/roles": "d",
		"realm_access.none": nil, "text.roles": nil, "none.roles": nil, "none": nil, ".roles": nil, "": nil,
	} {
		if got := claim(claims, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
