package httptarget

import (
	"net/url"
	"strings"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/upstream/balance"
)

// hashKey is what consistent hashing goes by, made of the parts the upstream names. A request that lacks all of them has none.
func (c *call) hashKey() balance.Key {
	b := c.t.up.Spec().Balance
	if b == nil || len(b.HashOn) == 0 {
		return balance.Key{}
	}
	var h balance.Hasher
	found := false
	for i := range b.HashOn {
		part := ""
		switch on := &b.HashOn[i]; {
		case on.Header != "":
			part = c.r.Header.Get(on.Header)
		case on.Cookie != "":
			part = cookie(&c.r.Header, on.Cookie)
		case on.Query != "":
			part = parameter(c.x.RawQuery, on.Query)
		case on.IP && c.x.ClientIP.IsValid():
			part = c.x.ClientIP.Unmap().String()
		}
		found = found || part != ""
		h.Add(part)
	}
	return balance.Key{Hash: h.Sum(), Set: found}
}

// cookie is the value of a cookie, as sent (RFC 6265 section 5.4); empty if there is none.
func cookie(h *httpmsg.Header, name string) string {
	for i := range h.Fields {
		f := &h.Fields[i]
		if len(f.Name) != len("cookie") || !strings.EqualFold(f.Name, "cookie") {
			continue
		}
		for pair := range strings.SplitSeq(f.Value, ";") {
			if k, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && k == name {
				return v
			}
		}
	}
	return ""
}

// parameter is the first value of a query parameter; empty if there is none.
func parameter(query, name string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if k, v, _ := strings.Cut(pair, "="); plain(k) == name {
			return plain(v)
		}
	}
	return ""
}

// plain is a part of a query without its escapes, so that what means the same is the same. What is not well escaped stays.
func plain(s string) string {
	if strings.ContainsAny(s, "%+") {
		if t, err := url.QueryUnescape(s); err == nil {
			return t
		}
	}
	return s
}
