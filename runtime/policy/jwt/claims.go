package jwt

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
)

// principal judges the claims of a verified token, and makes of them whom it speaks of. reason is "" if all is well.
func (i *Issuer) principal(claims map[string]any, now time.Time) (p *policy.Principal, why reason) {
	p = &policy.Principal{Claims: claims}
	var ok bool
	if p.Issuer, ok = claims["iss"].(string); !ok || p.Issuer != i.Name {
		return nil, reasonIssuer
	}
	if why = i.times(claims, now, p); why != "" {
		return nil, why
	}
	if why = i.audience(claims["aud"]); why != "" {
		return nil, why
	}
	if p.Subject, ok = text(claims, "sub"); !ok {
		return nil, reasonClaims
	}
	p.Tenant = firstText(claims, "tenant", "tenant_id")
	p.Roles = names(claims["roles"])
	p.Scopes = append(scopes(claims["scope"]), scopes(claims["scp"])...)
	p.Permissions = append(names(claims["perms"]), names(claims["permissions"])...)
	return p, ""
}

// times judges exp, nbf and iat (RFC 7519, section 4.1). A token that never expires could never be taken back.
func (i *Issuer) times(claims map[string]any, now time.Time, p *policy.Principal) reason {
	skew := time.Duration(i.ClockSkew) * time.Second
	exp, there, ok := date(claims, "exp")
	if !there || !ok {
		return reasonClaims
	}
	if !now.Before(exp.Add(skew)) {
		return reasonExpired
	}
	p.Expires = exp
	for _, name := range []string{"nbf", "iat"} {
		at, there, ok := date(claims, name)
		if !ok {
			return reasonClaims
		}
		if there && at.After(now.Add(skew)) {
			return reasonEarly
		}
	}
	return ""
}

// date reads a NumericDate. ok is false if it is there and is none.
func date(claims map[string]any, name string) (at time.Time, there, ok bool) {
	v, there := claims[name]
	if !there {
		return time.Time{}, false, true
	}
	n, isNumber := v.(json.Number)
	if !isNumber {
		return time.Time{}, true, false
	}
	const most = 253402300799 // the end of the year 9999
	if whole, err := n.Int64(); err == nil {
		return time.Unix(whole, 0), true, whole >= 0 && whole <= most
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || f < 0 || f > most {
		return time.Time{}, true, false
	}
	return time.Unix(int64(f), 0), true, true
}

// audience judges aud, which is a text or a list of texts.
func (i *Issuer) audience(v any) reason {
	switch v := v.(type) {
	case string:
		if slices.Contains(i.Audiences, v) {
			return ""
		}
		return reasonAudience
	case []any:
		found := false
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return reasonClaims
			}
			found = found || slices.Contains(i.Audiences, s)
		}
		if found {
			return ""
		}
		return reasonAudience
	case nil:
		return reasonAudience
	}
	return reasonClaims
}

// text reads a claim that is a text if it is there.
func text(claims map[string]any, name string) (string, bool) {
	v, there := claims[name]
	if !there {
		return "", true
	}
	s, ok := v.(string)
	return s, ok
}

func firstText(claims map[string]any, candidates ...string) string {
	for _, name := range candidates {
		if s, ok := claims[name].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// names reads a list of names. Anything else gives none: a text or an object that looks like a role must not be taken for one.
func names(v any) []string {
	list, ok := v.([]any)
	if !ok {
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

// scopes reads a claim of scopes: names with one space in between (RFC 6749, section 3.3; RFC 8693, section 4.2), or a list.
func scopes(v any) []string {
	s, ok := v.(string)
	if !ok {
		return names(v)
	}
	if s == "" {
		return nil
	}
	return strings.Split(s, " ")
}
