package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	keytext "github.com/suuupra/gateway/internal/apikey"
	signing "github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/policy/apikey"
	"github.com/suuupra/gateway/runtime/policy/jwt"
	"github.com/suuupra/gateway/runtime/policy/signedurl"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// credentials adds what a request proves itself by, as the policies of its route want it. The signature comes last: it covers the query,
// where a token may stand.
func (wr *writer) credentials(r *request, send *v1.TestRequest, index int) error {
	route := wr.routeOf(r)
	if send.Token != nil {
		id := fmt.Sprintf("%s/%s/%d", wr.script.c.File, wr.script.c.Name, index)
		if err := wr.token(r, route, send.Token, id); err != nil {
			return err
		}
	}
	if send.APIKey != nil {
		if err := wr.apiKey(r, route, send.APIKey); err != nil {
			return err
		}
	}
	if send.Signed != nil {
		return wr.sign(r, route, send.Signed)
	}
	return nil
}

// planOf decodes the plan of a route's policy; nil if it has none of the kind.
func planOf[Plan any](r *ir.Route, kind string) (*Plan, error) {
	if r == nil {
		return nil, nil
	}
	i := slices.IndexFunc(r.Policies, func(p ir.Policy) bool { return p.Kind == kind })
	if i < 0 {
		return nil, nil
	}
	out := new(Plan)
	if err := ir.DecodeStrict(r.Policies[i].Plan, out); err != nil {
		return nil, fmt.Errorf("policy %s of route %s: %w", kind, r.ID, err)
	}
	return out, nil
}

// token adds a token where the route looks for it.
func (wr *writer) token(r *request, route *ir.Route, t *v1.TestToken, id string) error {
	plan, err := planOf[jwt.Plan](route, "auth.jwt")
	if err != nil {
		return err
	}
	text, err := wr.w.issuers.token(plan, t, wr.now, id)
	if err != nil {
		return err
	}
	from := jwt.From{Header: "Authorization"}
	if plan != nil {
		from = plan.From
	}
	switch {
	case from.Cookie != "":
		r.add("Cookie", from.Cookie+"="+text, "; ")
	case from.Query != "":
		r.target += map[bool]string{true: "&", false: "?"}[strings.Contains(r.target, "?")] + from.Query + "=" + text
	case strings.EqualFold(from.Header, "Authorization"):
		r.fields = append(r.fields, [2]string{from.Header, "Bearer " + text})
	default:
		r.fields = append(r.fields, [2]string{from.Header, text})
	}
	r.described("a token", "token")
	return nil
}

// add appends to a field that may be there already.
func (r *request) add(name, value, separator string) {
	for i := range r.fields {
		if strings.EqualFold(r.fields[i][0], name) {
			r.fields[i][1] += separator + value
			return
		}
	}
	r.fields = append(r.fields, [2]string{name, value})
}

// described is what the test says of a credential; what is made of it is shown to nobody.
func (r *request) described(what, field string) {
	if n := r.node.Get(field); n != nil && len(n.Fields) > 0 {
		if raw, err := json.Marshal(n.Any()); err == nil {
			what += " " + string(raw)
		}
	}
	r.with = append(r.with, what)
}

// apiKey adds a key where the route looks for it.
func (wr *writer) apiKey(r *request, route *ir.Route, t *v1.TestKey) error {
	plan, err := planOf[apikey.Plan](route, "auth.apiKey")
	if err != nil {
		return err
	}
	k, err := keytext.Generate(wr.w.environment, wr.random)
	if err != nil {
		return err
	}
	record := &policy.KeyRecord{
		ID: k.ID, Environment: k.Env, Owner: t.Owner, Tenant: t.Tenant, Scopes: slices.Sorted(slices.Values(t.Scopes)),
		Hashes: []string{wr.hasher.Hash(k.ID, k.Secret)}, Created: wr.script.c.at.Add(-time.Hour),
	}
	before := wr.script.c.at.Add(-time.Second)
	if t.Expired {
		record.Expires = before
	}
	if t.Revoked {
		record.Revoked = before
	}
	if !t.Unknown {
		wr.script.records = append(wr.script.records, record)
	}
	header := "X-API-Key"
	if plan != nil {
		header = plan.Header
	}
	r.fields = append(r.fields, [2]string{header, k.Text()})
	r.described("an API key", "apiKey")
	return nil
}

// sign signs the URL with a key of the route.
func (wr *writer) sign(r *request, route *ir.Route, t *v1.TestSignature) error {
	plan, err := planOf[signedurl.Plan](route, "signedUrl")
	switch {
	case err != nil:
		return err
	case route == nil:
		return errors.New("there is nothing to sign the URL for: no route takes the request")
	case plan == nil:
		return fmt.Errorf("there is no key to sign the URL with: route %s has no policy.signedUrl", route.ID)
	}
	of := keyOf(plan, t.Key)
	key, err := signing.NewKey(secretOf(of.SecretRef))
	if err != nil {
		return err
	}
	lifetime := t.ExpiresIn.Std()
	if longest := time.Duration(plan.MaxLifetimeMs) * time.Millisecond; longest > 0 && r.node.At("signed.expiresIn") == nil {
		lifetime = min(lifetime, longest)
	}
	g := &signing.Grant{KeyID: of.ID, Expires: wr.now.Add(lifetime), Prefix: t.Prefix, Methods: t.Methods}
	if t.Expired {
		g.Expires = wr.now.Add(-time.Duration(plan.ClockSkewSeconds+1) * time.Second)
	}
	if t.IP != "" {
		if g.Client, err = netip.ParseAddr(t.IP); err != nil {
			return err
		}
	}
	signed, err := signing.Sign(r.scheme+"://"+r.authority+r.target, g, key)
	if err != nil {
		return err
	}
	_, _, r.target = splitURL(signed)
	if t.Tampered {
		r.target = forged(r.target)
	}
	r.described("a signature", "signed")
	return nil
}

// keyOf is the key with an id, the first if none is named; one that the route does not have is somebody else's.
func keyOf(p *signedurl.Plan, id string) signedurl.Key {
	if id == "" {
		return p.Keys[0]
	}
	if i := slices.IndexFunc(p.Keys, func(k signedurl.Key) bool { return k.ID == id }); i >= 0 {
		return p.Keys[i]
	}
	return signedurl.Key{ID: id, SecretRef: "nobody's"}
}

// forged changes the first character of a signature.
func forged(target string) string {
	at := strings.LastIndex(target, "gw_sig=") + len("gw_sig=")
	other := "A"
	if target[at] == 'A' {
		other = "B"
	}
	return target[:at] + other + target[at+1:]
}
