// Package signedurl makes and checks URLs that carry their own permission: an HMAC over what they give access to. Whoever holds
// such a URL may use it, until it expires. The package does no I/O and knows no clock.
//
// The permission stands in the query. Names that begin with "gw_" are reserved for it, each may stand once, and one that is not in
// this list is refused:
//
//	gw_kid      id of the key: 1 to 64 letters, digits, "_" and "-"
//	gw_exp      when it ends, in seconds of Unix time: 1 to 11 digits, the first of them not 0
//	gw_prefix   optional: good for every path under this one, instead of one path alone
//	gw_methods  optional: methods, separated by commas; GET and HEAD if it is absent, and GET implies HEAD
//	gw_ip       optional: the one client address that may use it, in its shortest form (RFC 5952)
//	gw_sig      the signature: HMAC-SHA-256 in base64url without padding (RFC 4648 section 5)
//
// What is signed is eight lines, with a newline between them and none at the end. A line is empty where its parameter is absent:
//
//	gw-signed-url-v1
//	<gw_kid>
//	<gw_exp>
//	<gw_methods>
//	<gw_ip>
//	<host, in small letters, without the port>
//	path:<path>   or   prefix:<gw_prefix>
//	<the other parameters>   or, with gw_prefix, nothing
//
// The first line keeps signatures that the same key has made for another purpose, or for a later version, from being taken for one
// of these. Of the others at most one can hold a newline, the path, so that two permissions never become the same bytes: with plain
// concatenation, what one field ends with could be moved to the front of the next.
//
// The path is the one that the gateway matches and forwards (match.NormalizePath), so "/a/../b" is "/b". A prefix counts by whole
// segments: "/pub" is good for "/pub" and "/pub/x", not for "/public"; "/pub/" not for "/pub". The other parameters are read as a
// form is (URL standard, application/x-www-form-urlencoded), written as name=value with everything escaped but letters, digits and
// "-._~", sorted by their names so written, byte by byte, and joined with "&"; those of one name keep their order. So these are the
// same query, and nothing else is: other spellings of one character ("%2f", "%2F"; "+", "%20"), "a" and "a=", empty parameters,
// another order of names. A query that has no one reading is refused: an escape without two hex digits, and a bare ";", which some
// servers take for "&".
//
// With gw_prefix the other parameters are not signed: players add segments and ranges of their own. The scheme and the port are
// never signed.
package signedurl

import (
	"crypto/hmac"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/match"
)

// MinKey is how long a key has to be, in bytes: as long as what HMAC-SHA-256 makes of it (RFC 2104 section 3).
const MinKey = 32

// Reason says why a request is refused. The values are stable: they are the codes of the responses.
type Reason string

// The reasons of refusals.
const (
	Missing   Reason = "signature_missing"
	Malformed Reason = "signature_malformed"
	Invalid   Reason = "signature_invalid"
	Expired   Reason = "signature_expired"
	TooLong   Reason = "signature_too_long"
	Method    Reason = "signature_method"
	IP        Reason = "signature_ip"
)

// Refusal is why a request is refused, with a text for its client.
type Refusal struct {
	Reason Reason
	Detail string
}

// invalid does not say what is wrong: whoever guesses learns nothing, not even which ids of keys there are.
var invalid = &Refusal{Invalid, "the signature is not one for this address"}

var (
	expired = &Refusal{Expired, "the signature has expired"}
	tooLong = &Refusal{TooLong, "the signature is good for longer than this route allows"}
	method  = &Refusal{Method, "the signature is not good for this method"}
	client  = &Refusal{IP, "the signature is not good for this client address"}
)

// Request is a request that wants to be let through.
type Request struct {
	Method    string
	Authority string     // as received, with or without a port
	Path      string     // normalised: match.NormalizePath
	Client    netip.Addr // the zero value is nobody
	Now       time.Time
}

// Bounds are what a route asks of signatures.
type Bounds struct {
	Skew        time.Duration // how far the clocks may be apart
	MaxLifetime time.Duration // the longest time a signature may still be good; 0: any
}

// Verify reports why the request is refused, nil if it is not. The key is the one that p names; nil, if there is none, costs as
// much as a wrong signature and looks like one. The signature comes first: what else the parameters say is worth reading only if
// the owner of the key wrote it.
func (p *Parameters) Verify(k *Key, r *Request, b Bounds) *Refusal {
	host, ok := match.NormalizeHost(r.Authority)
	if !ok || !p.signed(k, host, r.Path) || p.prefix != "" && !covers(p.prefix, r.Path) {
		return invalid
	}
	switch {
	case r.Now.Sub(p.expires) >= b.Skew: // not on the second itself, as of tokens (RFC 7519 section 4.1.4)
		return expired
	case b.MaxLifetime > 0 && p.expires.Sub(r.Now) > b.MaxLifetime+b.Skew:
		return tooLong
	case !p.allows(r.Method):
		return method
	case p.client.IsValid() && p.client != r.Client.Unmap().WithZone(""):
		return client
	}
	return nil
}

// signed reports whether the signature is the key's. Signatures are compared as text, so that there is no second spelling of one:
// the last character of base64 has bits that a decoder may overlook.
func (p *Parameters) signed(k *Key, host, path string) bool {
	known := k != nil
	if !known {
		k = nobody
	}
	var given [signatureSize]byte
	copy(given[:], p.sig)
	want := k.sign(p, host, path)
	return hmac.Equal(given[:], want[:]) && known
}

// nobody stands in for a key that there is not. Anybody could sign with it, and nothing that is signed with it counts.
var nobody = newKey(make([]byte, MinKey))

// allows reports whether the signature is good for a method.
func (p *Parameters) allows(method string) bool {
	if p.methods == "" {
		return method == "GET" || method == "HEAD"
	}
	for m := range strings.SplitSeq(p.methods, ",") {
		if m == method || m == "GET" && method == "HEAD" {
			return true
		}
	}
	return false
}

// covers reports whether a path lies under a prefix, by whole segments.
func covers(prefix, path string) bool {
	rest, under := strings.CutPrefix(path, prefix)
	return under && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}

// NewKey makes a key of a secret, which is used as it is: text is not decoded. A newline at the end is left out, because files end
// with one and variables do not, and both have to make the same key. A secret of fewer than MinKey bytes is an error.
func NewKey(secret []byte) (*Key, error) {
	if n := len(secret); n > 0 && secret[n-1] == '\n' {
		secret = secret[:n-1]
	}
	if len(secret) < MinKey {
		return nil, fmt.Errorf("the key has %d bytes, must have at least %d; `openssl rand -base64 32` makes one", len(secret), MinKey)
	}
	return newKey(slices.Clone(secret)), nil
}
