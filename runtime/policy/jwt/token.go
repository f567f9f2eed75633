package jwt

import (
	"net/url"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// find takes the token out of a request; "" if there is none. A request that carries two is refused, whatever they are: whoever reads
// it after us might take the other one.
func (f *From) find(x *policy.Exchange) (token string, refusal *policy.Reject) {
	r := x.Request
	switch {
	case f.Header != "":
		if r.Header.Count(f.Header) > 1 {
			return "", twice("the field " + f.Header)
		}
		value := r.Header.Get(f.Header)
		if f.Header != authorization {
			return value, nil
		}
		return bearer(value), nil
	case f.Cookie != "":
		return f.cookie(r)
	}
	return f.parameter(x.RawQuery)
}

func twice(what string) *policy.Reject {
	return &policy.Reject{Status: 400, Code: "duplicate_credentials", Detail: what + " is there more than once"}
}

// bearer is the token of a field Authorization with the scheme Bearer (RFC 6750, section 2.1); "" for another scheme.
func bearer(value string) string {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	if token = strings.Trim(token, " "); token == "" {
		return " " // a credential that is no token
	}
	return token
}

func (f *From) cookie(r *httpmsg.Request) (string, *policy.Reject) {
	token, found := "", false
	for _, field := range r.Header.Fields {
		if !strings.EqualFold(field.Name, "Cookie") {
			continue
		}
		for pair := range strings.SplitSeq(field.Value, ";") {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name != f.Cookie {
				continue
			}
			if found {
				return "", twice("the cookie " + f.Cookie)
			}
			token, found = strings.Trim(value, `"`), true
		}
	}
	return token, nil
}

func (f *From) parameter(query string) (string, *policy.Reject) {
	token, found := "", false
	for pair := range strings.SplitSeq(query, "&") {
		value, ok := f.isParameter(pair)
		if !ok {
			continue
		}
		if found {
			return "", twice("the parameter " + f.Query)
		}
		token, found = value, true
	}
	if token == "" && found {
		token = " "
	}
	return token, nil
}

// isParameter reports whether a pair of a query is the token's, and its value. A token has no characters that are escaped.
func (f *From) isParameter(pair string) (string, bool) {
	name, value, _ := strings.Cut(pair, "=")
	if name != f.Query {
		plain, err := url.QueryUnescape(name)
		if err != nil || plain != f.Query {
			return "", false
		}
	}
	return value, true
}

// strip takes the token off the request, so that the upstream does not get it.
func (f *From) strip(x *policy.Exchange) {
	switch {
	case f.Forward:
	case f.Header != "":
		x.Request.Header.Del(f.Header)
	case f.Cookie != "":
		f.stripCookie(&x.Request.Header)
	default:
		var kept []string
		for pair := range strings.SplitSeq(x.RawQuery, "&") {
			if _, ok := f.isParameter(pair); !ok {
				kept = append(kept, pair)
			}
		}
		x.RawQuery = strings.Join(kept, "&")
	}
}

func (f *From) stripCookie(h *httpmsg.Header) {
	kept := h.Fields[:0]
	for _, field := range h.Fields {
		if strings.EqualFold(field.Name, "Cookie") {
			var pairs []string
			for pair := range strings.SplitSeq(field.Value, ";") {
				pair = strings.Trim(pair, " \t")
				if name, _, _ := strings.Cut(pair, "="); name != f.Cookie && pair != "" {
					pairs = append(pairs, pair)
				}
			}
			if len(pairs) == 0 {
				continue
			}
			field.Value = strings.Join(pairs, "; ")
		}
		kept = append(kept, field)
	}
	h.Fields = kept
}
