package contextinjection

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// maxInjected bounds the names and values of everything that is injected into one request, in bytes. Many servers refuse a head of
// more than 8 KiB altogether.
const maxInjected = 8 << 10

// handler is the policy of one route.
type handler struct {
	names    []string // of all fields that are injected, folded
	claims   []injection
	text     func(claim any) (string, bool)
	identity *identity // nil: none
}

// injection is a claim and the field it goes into.
type injection struct{ header, claim string }

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	h := &handler{text: facts.Text}
	if encode := encodings[p.Lists]; encode != nil {
		h.text = encode
	}
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		h.claims = append(h.claims, injection{name, p.Claims[name]})
	}
	for _, name := range p.names() {
		h.names = append(h.names, headerfield.Fold(name))
	}
	if p.IdentityToken == nil {
		return h, nil
	}
	var err error
	if h.identity, err = newIdentity(e, p.IdentityToken); err != nil {
		return nil, fmt.Errorf("identityToken: %w", err)
	}
	return h, nil
}

// check holds a plan to what compile makes: a bundle may come from elsewhere.
func (p *Plan) check() error {
	seen := map[string]bool{}
	for _, name := range p.names() {
		folded := headerfield.Fold(name)
		if problem, _ := forbidden(name); problem != "" {
			return errors.New(problem)
		}
		if !headerfield.IsName(name) || seen[folded] {
			return fmt.Errorf("the field %q is no name, or is injected twice", name)
		}
		seen[folded] = true
	}
	if _, known := encodings[p.Lists]; !known && len(p.Claims) > 0 {
		return fmt.Errorf("lists is %q, must be comma, json or base64", p.Lists)
	}
	if t := p.IdentityToken; t != nil && (t.Lifetime < minLifetime.Milliseconds() || t.Lifetime > maxLifetime.Milliseconds()) {
		return fmt.Errorf("lifetime is %d ms, must be from %s to %s", t.Lifetime, minLifetime, maxLifetime)
	}
	return nil
}

// Decide implements policy.Handler.
func (h *handler) Decide(_ context.Context, x *policy.Exchange) policy.Verdict {
	head := &x.Request.Header
	// Whoever the caller is: an upstream behind a route for everybody believes these fields as well.
	head.Fields = slices.DeleteFunc(head.Fields, func(f httpmsg.Field) bool { return headerfield.Among(f.Name, h.names) })
	x.NoTrailers = true // some servers join them to the header
	room := maxInjected
	if x.Principal != nil {
		for i := range h.claims {
			in := &h.claims[i]
			claim := facts.Claim(x.Principal.Claims, in.claim)
			if claim == nil {
				continue
			}
			text, ok := h.text(claim)
			if !ok || !headerfield.IsValue(text) {
				x.Cause = "claim " + in.claim
				return unusable(in.claim)
			}
			if room -= len(in.header) + len(text); room < 0 {
				return tooLarge()
			}
			head.Add(in.header, text)
		}
	}
	if h.identity == nil || x.Principal == nil && x.Key == nil {
		return policy.Pass
	}
	token, err := h.identity.token(x)
	if err != nil {
		return policy.Refuse(&policy.Reject{
			Status: 503, Code: "identity_key_unavailable", Detail: "the gateway cannot tell the upstream who the caller is",
			Header: []httpmsg.Field{{Name: "Retry-After", Value: "5"}},
		})
	}
	if room -= len(h.identity.header) + len(token); room < 0 {
		return tooLarge()
	}
	head.Add(h.identity.header, token)
	return policy.Pass
}

// unusable refuses a token whose claim cannot stand in a field. The issuer has signed it, so that the caller is the one to be told; the
// value is not, since it may be what an attack is made of.
func unusable(claim string) policy.Verdict {
	return policy.Refuse(&policy.Reject{
		Status: 403, Code: "claim_unusable", Detail: fmt.Sprintf("the claim %s of the token cannot be passed on", claim),
	})
}

func tooLarge() policy.Verdict {
	return policy.Refuse(&policy.Reject{
		Status: 403, Code: "claims_too_large",
		Detail: fmt.Sprintf("what the token says of the caller does not fit into %d bytes of header fields", maxInjected),
	})
}

// Close implements io.Closer.
func (h *handler) Close() error {
	if h.identity == nil {
		return nil
	}
	return h.identity.key.secret.Close()
}
