package ratelimit

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/runtime/policy"
)

// maxName bounds the name of a bucket, in bytes. A longer one is replaced by its digest, so that what a client sends fills neither
// the memory of a gateway nor that of Redis.
const maxName = 256

// part is one part of a bucket's name: who or what has a bucket of its own.
type part struct {
	what byte   // one of the constants below
	arg  string // name of the header field or the claim
}

const (
	partIP     = 'i'
	partUser   = 'u'
	partTenant = 't'
	partCaller = 'o' // a tenant that only the caller speaks of
	partKey    = 'k'
	partRoute  = 'r'
	partHeader = 'h'
	partClaim  = 'c'
)

func newPart(name string) part {
	what, arg, _ := strings.Cut(name, ":")
	return part{map[string]byte{
		"ip": partIP, "user": partUser, "tenant": partTenant, "key": partKey, "route": partRoute, "header": partHeader, "claim": partClaim,
	}[what], arg}
}

// base is what the names of a limit's buckets begin with. Everything in it has its length before it, so that no two limits can come
// to the same bucket, whatever they are called.
//
// A scope is shared by limits that have the same numbers: one bucket cannot be filled at two speeds. It ends at the tenant, who could
// otherwise use up the limits of others. What only looks (shadow) has buckets of its own: it must not take from those that count.
func base(e *policy.Env, p *Plan, l *Limit) []byte {
	b := appendText(nil, e.Environment)
	b = appendText(b, e.Route.Tenant)
	if p.Shadow {
		b = append(b, "shadow "...)
	}
	if l.Scope == "" {
		b = appendText(append(b, "route "...), e.Route.ID)
		b = appendText(b, l.ID)
	} else {
		b = appendText(append(b, "scope "...), l.Scope)
		for _, n := range []int64{l.TokensPerInterval, l.IntervalMs, l.Burst} {
			b = append(strconv.AppendInt(b, n, 10), ' ')
		}
	}
	return appendText(b, strings.Join(l.Key, " "))
}

// appendText appends a text so that it is known where it ends.
func appendText(b []byte, s string) []byte {
	b = append(strconv.AppendInt(b, int64(len(s)), 10), ':')
	return append(b, s...)
}

// appendName appends the name of the bucket that a request is counted in.
func (l *limit) appendName(b []byte, x *policy.Exchange) []byte {
	b = append(b, l.base...)
	for i := range l.parts {
		b = l.parts[i].append(b, x)
	}
	if len(b) <= maxName {
		return b
	}
	sum := sha256.Sum256(b)
	return append(append(b[:0], '#'), sum[:]...) // no other name begins so: they begin with a length
}

// append appends what a request has for a part, after a letter that says what it is: the text "1" is not the number 1. A caller that
// is not known counts by its address, as one bucket for all of them could be emptied by any.
func (p *part) append(b []byte, x *policy.Exchange) []byte {
	switch p.what {
	case partUser:
		if who := x.Principal; who != nil && who.Subject != "" {
			return appendText(appendText(append(b, partUser), who.Issuer), who.Subject)
		}
	case partTenant:
		if x.Tenant != "" {
			return appendText(append(b, partTenant), x.Tenant)
		}
		if t := x.CallerTenant(); t != "" { // nobody has compared it with anything: it must not use up what tenants have
			return appendText(append(b, partCaller), t)
		}
	case partKey:
		if x.Key != nil {
			return appendText(append(b, partKey), x.Key.ID)
		}
	case partRoute:
		return appendText(append(b, partRoute), x.Route.ID)
	case partHeader:
		return p.appendHeader(b, x)
	case partClaim:
		switch v := claim(x.Principal, p.arg).(type) {
		case nil:
		case string:
			if v != "" {
				return appendText(append(b, partClaim), v)
			}
		default:
			if text, err := json.Marshal(v); err == nil { // it was JSON before
				return appendText(append(b, 'j'), string(text))
			}
		}
	}
	return appendIP(b, x)
}

// appendIP appends the client's address, of IPv6 the first 64 bits: a single host has as many addresses as it likes below that.
func appendIP(b []byte, x *policy.Exchange) []byte {
	switch a := x.ClientIP.Unmap(); {
	case a.Is4():
		four := a.As4()
		return append(append(b, '4'), four[:]...)
	case a.Is6():
		sixteen := a.As16()
		return append(append(b, '6'), sixteen[:8]...)
	}
	return append(b, '?')
}

// appendHeader appends all values of a header field. A request without it is not the same as one in which it is empty.
func (p *part) appendHeader(b []byte, x *policy.Exchange) []byte {
	fields := x.Request.Header.Fields
	for i := range fields {
		if strings.EqualFold(fields[i].Name, p.arg) {
			b = appendText(append(b, partHeader), fields[i].Value)
		}
	}
	return append(b, '.')
}

// claim is the value of a claim, nil if it is absent. A name with dots is tried whole, as the names of claims may be addresses
// (RFC 7519, section 4.2), then step by step into objects.
func claim(p *policy.Principal, name string) any {
	if p == nil {
		return nil
	}
	if v, ok := p.Claims[name]; ok {
		return v
	}
	for at := p.Claims; ; {
		step, rest, more := strings.Cut(name, ".")
		if !more {
			return at[step]
		}
		at, _ = at[step].(map[string]any)
		name = rest
	}
}
