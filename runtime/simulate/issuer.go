package simulate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/runtime/policy/jwt"
	"github.com/suuupra/gateway/schema/v1"
)

// issuers stand in for those who sign tokens. Each has a throw-away key for each algorithm that is asked for. They are the same for all
// worlds of a run.
type issuers struct {
	mu  sync.Mutex
	all map[place]*issuer
}

// place tells one issuer from another: the name alone does not, as two may claim the same.
type place struct{ name, jwks, discovery string }

func newIssuers() *issuers { return &issuers{all: map[place]*issuer{}} }

func (s *issuers) of(at place) *issuer {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.all[at]
	if i == nil {
		i = &issuer{signers: map[string]*jose.Signer{}}
		i.keys.Store(&jose.Set{})
		s.all[at] = i
	}
	return i
}

type issuer struct {
	keys atomic.Pointer[jose.Set] // the public halves

	mu      sync.Mutex
	signers map[string]*jose.Signer // by algorithm
}

func (i *issuer) set() *jose.Set { return i.keys.Load() }

// signer is the issuer's key for an algorithm, and publishes it.
func (i *issuer) signer(algorithm string) (*jose.Signer, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if s := i.signers[algorithm]; s != nil {
		return s, nil
	}
	s, err := jose.NewSigner(algorithm, "test-"+algorithm)
	if err != nil {
		return nil, err
	}
	i.signers[algorithm] = s
	raw, err := jose.EncodeSet(slices.Collect(maps.Values(i.signers))...)
	if err != nil {
		return nil, err
	}
	set, skipped, err := jose.ParseSet(raw)
	if err != nil || len(skipped) > 0 {
		return nil, fmt.Errorf("the keys of a test's issuer are not usable: %v, %v", skipped, err)
	}
	i.keys.Store(set)
	return s, nil
}

// judges are the issuers whose tokens a route takes.
func judges(p *jwt.Plan) []jwt.Issuer {
	switch {
	case p == nil:
		return nil
	case len(p.Issuers) > 0:
		return p.Issuers
	}
	return []jwt.Issuer{p.Issuer}
}

// nobody is the issuer of tokens for routes that take none.
var nobody = jwt.Issuer{Name: "https://issuer.example", Audiences: []string{"test"}, JwksURI: "https://issuer.example/keys", Algorithms: []string{"ES256"}}

// foreign is an issuer that a route does not know. Its tokens differ from good ones in that alone.
func foreign(name string, like jwt.Issuer) jwt.Issuer {
	like.Name, like.SecretRef, like.OidcDiscoveryURL, like.JwksURI = name, "", "", "unknown"
	like.Algorithms = nil
	return like
}

// token makes the token that a test asks for, at a moment. id is what tells it from others where tokens are good for once.
func (s *issuers) token(p *jwt.Plan, t *v1.TestToken, now time.Time, id string) (string, error) {
	known := judges(p)
	by := nobody
	if len(known) > 0 {
		by = known[0]
	}
	if t.Issuer != "" && t.Issuer != by.Name {
		if i := slices.IndexFunc(known, func(k jwt.Issuer) bool { return k.Name == t.Issuer }); i >= 0 {
			by = known[i]
		} else {
			by = foreign(t.Issuer, by)
		}
	}
	claims := claimsOf(&by, t, now)
	if p != nil && p.ReplayProtection {
		claims["jti"] = id
	}
	for name, c := range t.Claims {
		claims[name] = c.Value
	}
	for _, name := range t.Without {
		delete(claims, name)
	}
	signer, err := s.signer(&by, t.Algorithm)
	if err != nil {
		return "", err
	}
	header := map[string]any{}
	if typ := cmp.Or(t.Type, by.Type); typ != "" {
		header["typ"] = typ
	}
	text, err := signer.Sign(header, claims)
	if err == nil && t.Tampered {
		return tampered(text, claims)
	}
	return text, err
}

// claimsOf are those that make a token good for its issuer.
func claimsOf(by *jwt.Issuer, t *v1.TestToken, now time.Time) map[string]any {
	issued, expires := now, now.Add(t.ExpiresIn.Std())
	if t.Expired {
		expires = now.Add(-time.Duration(by.ClockSkew+1) * time.Second)
		issued = expires.Add(-t.ExpiresIn.Std())
	}
	out := map[string]any{"iss": by.Name, "sub": "test", "iat": issued.Unix(), "exp": expires.Unix()}
	if len(by.Audiences) > 0 {
		out["aud"] = by.Audiences[0]
	}
	return out
}

// signer is who signs for an issuer, by an algorithm or, if that is empty, by one that the route takes.
func (s *issuers) signer(by *jwt.Issuer, algorithm string) (*jose.Signer, error) {
	if algorithm == "" {
		algorithm = "ES256" // quickly made and verified
		if len(by.Algorithms) > 0 && !slices.Contains(by.Algorithms, algorithm) {
			algorithm = by.Algorithms[0]
		}
	}
	if strings.HasPrefix(algorithm, "HS") {
		ref := by.SecretRef
		if ref == "" {
			ref = "nobody's"
		}
		return jose.SecretSigner(algorithm, secretOf(ref)), nil
	}
	return s.of(place{by.Name, by.JwksURI, by.OidcDiscoveryURL}).signer(algorithm)
}

// tampered is a token with one more claim, and the signature it had.
func tampered(text string, claims map[string]any) (string, error) {
	claims["tampered"] = true
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	head, rest, _ := strings.Cut(text, ".")
	_, signature, _ := strings.Cut(rest, ".")
	return head + "." + base64url(payload) + "." + signature, nil
}
