package kubernetes

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/match"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// Bounds on what an annotation may hold. The schema has the same, or wider ones.
const (
	maxDuration = 24 * 60 * 60 * 1000 // ms
	maxSize     = 1 << 40
	maxList     = 256
)

var (
	headerForm  = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,128}$")
	originForm  = regexp.MustCompile(`^(\*|https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?)$`)
	methodForm  = regexp.MustCompile(`^[A-Z][A-Z0-9_-]{0,31}$`)
	nameForm    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	serviceForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	secretForm  = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)$`)
)

// IsName reports whether a text may be the name of an object. Names become parts of paths: of files in the repository, and of secrets
// on the gateway's machine.
func IsName(s string) bool { return len(s) <= 253 && nameForm.MatchString(s) }

// isHost reports whether a text is the name of one host, without a port.
func isHost(s string) bool {
	h, err := match.ParseHost(s)
	return err == nil && !h.Any() && !h.Wildcard && s[0] != '[' && !strings.HasPrefix(s[strings.LastIndexByte(s, '.')+1:], "0x")
}

// isText reports whether a name or a value can be matched.
func isText(s string) bool {
	return len(s) <= 4096 && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// isHostHeader is isHost, perhaps with a port.
func isHostHeader(s string) bool {
	host, port, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	return isHost(host) && (!ok || err == nil && n > 0 && port[0] != '+')
}

// ofConnection are fields that end at the gateway (RFC 9110 section 7.6.1), beside Host, of which it decides itself. Nothing can be made
// to depend on them.
var ofConnection = []string{
	"connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

func endsHere(name string) bool { return slices.Contains(ofConnection, strings.ToLower(name)) }

// list splits a list with commas, without its empty parts.
func list(value string) ([]string, error) {
	var out []string
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" && !slices.Contains(out, part) {
			out = append(out, part)
		}
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("must name at least one, with commas in between")
	case len(out) > maxList:
		return nil, fmt.Errorf("names %d, must be at most %d", len(out), maxList)
	}
	return out, nil
}

// each is list, where every part must have a form.
func each(value string, form *regexp.Regexp, what string) ([]string, error) {
	out, err := list(value)
	for _, part := range out {
		if !form.MatchString(part) {
			return nil, fmt.Errorf("%q is not %s", clip(part), what)
		}
	}
	return out, err
}

func truth(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("must be true or false")
}

func number(value string, from, to int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < from || n > to {
		return 0, fmt.Errorf("must be a whole number from %d to %d", from, to)
	}
	return n, nil
}

// seconds reads what ingress-nginx takes for a timeout: a number of seconds, in newer versions with the unit.
func seconds(value string) (*v1.Duration, error) {
	n, err := number(strings.TrimSuffix(value, "s"), 1, maxDuration/1000)
	if err != nil {
		return nil, fmt.Errorf("must be seconds from 1 to %d", maxDuration/1000)
	}
	return new(v1.Duration(n * 1000)), nil
}

// size reads a size as nginx writes it: bytes, or with k, m or g.
func size(value string) (v1.Size, error) {
	shift := uint(0)
	digits := strings.ToLower(value)
	if digits != "" {
		if i := strings.IndexByte("kmg", digits[len(digits)-1]); i >= 0 {
			shift, digits = uint(10*(i+1)), digits[:len(digits)-1]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > maxSize>>shift {
		return 0, errors.New("must be bytes, or a number with k, m or g, up to 1024g")
	}
	return v1.Size(n << shift), nil
}

func networks(value string) ([]string, error) {
	all, err := list(value)
	var out []string
	for _, part := range all {
		// Bits beyond the prefix are dropped, as ingress-nginx does.
		if p, err := netip.ParsePrefix(part); err == nil {
			out = append(out, p.Masked().String())
		} else if a, err := netip.ParseAddr(part); err == nil && a.Zone() == "" {
			out = append(out, a.String())
		} else {
			return nil, fmt.Errorf("%q is not an address or a network such as 10.0.0.0/8", clip(part))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}
