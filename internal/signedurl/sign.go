package signedurl

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/match"
)

// Grant is what a signed URL permits beside its address.
type Grant struct {
	KeyID   string     // names the key to whoever verifies
	Expires time.Time  // when it ends, in whole seconds; what is below a second is cut off
	Prefix  string     // good for every path under this one, and with any other parameters; "": for the URL alone
	Methods []string   // in capitals; none: GET and HEAD. GET implies HEAD
	Client  netip.Addr // who may use it; the zero value is anybody
}

// Sign returns the URL with its permission at the end of the query, and its path in normal form. The URL is absolute, http or
// https, and one the gateway would take; the error says why it is not, or what is wrong with the grant.
func Sign(raw string, g *Grant, k *Key) (string, error) {
	scheme, authority, path, query, err := split(raw)
	if err != nil {
		return "", err
	}
	host, ok := match.NormalizeHost(authority)
	if !ok || host == "" {
		return "", fmt.Errorf("%q is no host: write a name or an address, names in other scripts in their xn-- form", authority)
	}
	normal, reason := match.NormalizePath(path)
	if reason != "" {
		return "", fmt.Errorf("the gateway refuses the path %q (%s)", path, reason)
	}
	if Strip(query) != query {
		return "", errors.New(`the query has a parameter that begins with "gw_": sign the URL without it`)
	}
	signed := g.append(query)
	p, no := Parse(signed + "&gw_sig=" + strings.Repeat("-", signatureSize)) // what does not parse is of no use
	switch {
	case no != nil:
		return "", errors.New(no.Detail)
	case p.prefix != "" && !covers(p.prefix, normal):
		return "", fmt.Errorf("the path %q does not lie under the prefix %q", normal, p.prefix)
	}
	sig := k.sign(&p, host, normal)
	return scheme + "://" + authority + normal + "?" + signed + "&gw_sig=" + string(sig[:]), nil
}

// split takes a URL apart. Package url is too kind for that: it mends what the gateway would refuse.
func split(raw string) (scheme, authority, path, query string, err error) {
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f {
			return "", "", "", "", fmt.Errorf("the URL has the byte %#02x, which has to be escaped", c)
		}
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", "", "", "", errors.New("the URL must begin with http:// or https://")
	}
	if strings.Contains(rest, "#") {
		return "", "", "", "", errors.New("the URL has a fragment, which browsers keep to themselves: sign it without")
	}
	rest, query, _ = strings.Cut(rest, "?")
	authority, path, _ = strings.Cut(rest, "/")
	if strings.Contains(authority, "@") {
		return "", "", "", "", errors.New("the URL has a user name, which nobody has to know: sign it without")
	}
	return scheme, authority, "/" + path, query, nil
}

// append adds the grant to a query.
func (g *Grant) append(query string) string {
	var to []byte
	if query != "" {
		to = append(append(to, query...), '&')
	}
	to = appendValue(append(to, "gw_kid="...), g.KeyID)
	to = strconv.AppendInt(append(to, "&gw_exp="...), g.Expires.Unix(), 10)
	if g.Prefix != "" {
		to = appendValue(append(to, "&gw_prefix="...), g.Prefix)
	}
	if len(g.Methods) > 0 {
		to = appendValue(append(to, "&gw_methods="...), strings.Join(g.Methods, ","))
	}
	if g.Client.IsValid() {
		to = appendValue(append(to, "&gw_ip="...), g.Client.Unmap().String())
	}
	return string(to)
}

// appendValue escapes a value for the query. What RFC 3986 section 3.4 lets stand there, and means nothing in a form, stays legible.
func appendValue(to []byte, s string) []byte {
	for i := range len(s) {
		to = appendByte(to, s[i], "-._~/,:")
	}
	return to
}
