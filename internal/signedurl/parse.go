package signedurl

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/match"
)

// maxParameters bounds how many parameters of a query are sorted.
const maxParameters = 256

// maxMethods bounds gw_methods, in bytes.
const maxMethods = 256

// Parameters are the permission in a query, well formed but not verified.
type Parameters struct {
	KeyID string // of the key that is said to have signed

	query                         string // they were read from
	exp, methods, ip, prefix, sig string // decoded; "" if absent
	expires                       time.Time
	client                        netip.Addr
}

// What is wrong with a query.
var (
	missing     = &Refusal{Missing, "this address needs a signature, and its query has no gw_sig"}
	incomplete  = &Refusal{Malformed, "a signature needs gw_kid and gw_exp"}
	undecodable = &Refusal{Malformed, `the query cannot be read in one way only: "%" needs two hex digits, and ";" is written %3B`}
	tooMany     = &Refusal{Malformed, "the query has more than " + strconv.Itoa(maxParameters) + " parameters"}
	twice       = &Refusal{Malformed, "a parameter of the signature stands twice"}
	unknown     = &Refusal{Malformed, `the query has a parameter that begins with "gw_" and is not known`}
	badKeyID    = &Refusal{Malformed, `gw_kid must be 1 to 64 letters, digits, "_" and "-"`}
	badExpiry   = &Refusal{Malformed, "gw_exp must be seconds of Unix time: 1 to 11 digits, the first of them not 0"}
	badPrefix   = &Refusal{Malformed, "gw_prefix must be a path in its normal form"}
	badMethods  = &Refusal{Malformed, "gw_methods must be methods in capitals, separated by commas"}
	badClient   = &Refusal{Malformed, "gw_ip must be an IP address in its shortest form"}
	badSig      = &Refusal{Malformed, "gw_sig must be 43 characters of base64url"}
)

// Parse reads the permission from a raw query, without "?".
func Parse(query string) (Parameters, *Refusal) {
	p, n := Parameters{query: query}, 0
	for pair := range strings.SplitSeq(query, "&") {
		if n++; n > maxParameters {
			return p, tooMany
		}
		if !decodable(pair) {
			return p, undecodable
		}
		name, value, _ := strings.Cut(pair, "=")
		if name = decode(name); reserved(name) {
			if no := p.take(name, decode(value)); no != nil {
				return p, no
			}
		}
	}
	switch {
	case p.sig == "":
		return p, missing
	case p.KeyID == "" || p.exp == "":
		return p, incomplete
	}
	return p, nil
}

// take takes in one reserved parameter. No value that is valid is empty, so an empty one stands for "not seen yet".
func (p *Parameters) take(name, value string) *Refusal {
	var (
		to    *string
		valid bool
		bad   *Refusal
	)
	switch name {
	case "gw_kid":
		to, bad = &p.KeyID, badKeyID
		valid = IsKeyID(value)
	case "gw_exp":
		to, bad = &p.exp, badExpiry
		p.expires, valid = parseExpiry(value)
	case "gw_prefix":
		to, bad = &p.prefix, badPrefix
		normal, reason := match.NormalizePath(value)
		valid = reason == "" && normal == value
	case "gw_methods":
		to, bad = &p.methods, badMethods
		valid = areMethods(value)
	case "gw_ip":
		to, bad = &p.ip, badClient
		p.client, valid = parseClient(value)
	case "gw_sig":
		to, bad = &p.sig, badSig
		valid = len(value) == signatureSize && isWord(value)
	default:
		return unknown
	}
	switch {
	case *to != "":
		return twice
	case !valid:
		return bad
	}
	*to = value
	return nil
}

// Strip takes the permission out of a query: it is meant for the gateway, and whoever sees it behind the gateway could use it. The
// other parameters keep their bytes and their order.
func Strip(query string) string {
	for isReserved(query[strings.LastIndexByte(query, '&')+1:]) { // the signer writes them last: nothing has to be copied
		query = query[:max(0, strings.LastIndexByte(query, '&'))]
	}
	for pair := range strings.SplitSeq(query, "&") {
		if isReserved(pair) {
			return strings.Join(slices.DeleteFunc(strings.Split(query, "&"), isReserved), "&")
		}
	}
	return query
}

// isReserved reports whether a pair belongs to the permission.
func isReserved(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	return reserved(decode(name))
}

func reserved(name string) bool { return strings.HasPrefix(name, "gw_") }

// decodable reports whether a pair has one reading.
func decodable(pair string) bool {
	for i := range len(pair) {
		switch pair[i] {
		case ';':
			return false
		case '%':
			if len(pair)-i < 3 || unhex(pair[i+1]) > 15 || unhex(pair[i+2]) > 15 {
				return false
			}
		}
	}
	return true
}

// decode decodes what is decodable, and leaves alone what is not.
func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 { // twice as fast as IndexAny, and that is what most of a check costs
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// IsKeyID reports whether a key can be named like this.
func IsKeyID(s string) bool { return s != "" && len(s) <= 64 && isWord(s) }

// isWord reports whether s holds only letters, digits, "_" and "-", which are also the characters of base64url.
func isWord(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// parseExpiry takes one spelling of each moment alone: what several numbers can be read as, two parsers read differently.
func parseExpiry(s string) (time.Time, bool) {
	if s == "" || len(s) > 11 || s[0] == '0' || strings.Trim(s, "0123456789") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(seconds, 0), err == nil
}

// areMethods reports whether s is a list of methods, of which each is in capitals and at most 32 bytes long, as in a matcher.
func areMethods(s string) bool {
	if len(s) > maxMethods {
		return false
	}
	for m := range strings.SplitSeq(s, ",") {
		if m == "" || len(m) > 32 || m[0] < 'A' || 'Z' < m[0] || !isWord(m) || m != strings.ToUpper(m) {
			return false
		}
	}
	return true
}

// parseClient reads an address without a zone. IPv4 in the clothes of IPv6 is refused: the gateway knows it undressed.
func parseClient(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	var shortest [64]byte
	return a, err == nil && a.Zone() == "" && !a.Is4In6() && string(a.AppendTo(shortest[:0])) == s
}
