package rewrite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/template"
	"github.com/suuupra/gateway/runtime/policy"
)

// edits are the changes of a query, ready for use.
type edits struct {
	drop map[string]bool // names of the parameters that go away: those removed, and those set
	set  []parameter
}

// parameter is one that is set.
type parameter struct {
	name  string // encoded, with the "=" after it
	value *template.Template
}

func newEdits(names *facts.Names, p *Query) (*edits, error) {
	e := &edits{drop: map[string]bool{}}
	for _, name := range p.Remove {
		e.drop[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(p.Set)) {
		t, err := template.Parse(p.Set[name], names.Check)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		e.drop[name] = true
		e.set = append(e.set, parameter{string(append(appendEncoded(nil, name), '=')), t})
	}
	if e.drop[""] {
		return nil, errors.New("a parameter has no name")
	}
	return e, nil
}

// apply returns the query with its changes. What is not changed keeps its bytes and its order; what is set comes after it.
func (e *edits) apply(raw string, r *facts.Request) (string, policy.Verdict) {
	var stack [512]byte
	out, kept, dropped := stack[:0], 0, false
	if raw != "" {
		for pair := range strings.SplitSeq(raw, "&") {
			if e.hides(pair) {
				return "", unsafe(`the query holds a parameter of the gateway's own next to a ";", which some servers take for a separator`)
			}
			if e.drops(pair) {
				dropped = true
				continue
			}
			if kept++; kept > 1 {
				out = append(out, '&')
			}
			out = append(out, pair...)
		}
	}
	if !dropped && len(e.set) == 0 {
		return raw, policy.Pass
	}
	for i := range e.set {
		p := &e.set[i]
		value, ok := p.value.Expand(r.Value)
		if !ok {
			return "", p.unusable(r)
		}
		if value == "" && len(p.value.Names()) > 0 {
			continue // nothing is known, and nothing is said
		}
		if kept++; kept > 1 {
			out = append(out, '&')
		}
		out = appendEncoded(append(out, p.name...), value)
	}
	if len(out) > maxTarget {
		return "", unsafe("the query that the upstream would see is too long")
	}
	return string(out), policy.Pass
}

// drops reports whether a parameter goes away. Names are compared as they are read: an escaped letter hides none.
func (e *edits) drops(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	if !strings.ContainsAny(name, "%+") {
		return e.drop[name]
	}
	var stack [128]byte
	return e.drop[string(appendDecoded(stack[:0], name))]
}

// hides reports whether servers that separate parameters by ";" too (as HTML 4.01, appendix B.2.2, advised) would find one that goes
// away beside others in a pair. It cannot be taken out without changing what one kind of server or the other reads.
func (e *edits) hides(pair string) bool {
	if strings.IndexByte(pair, ';') < 0 {
		return false
	}
	for piece := range strings.SplitSeq(pair, ";") {
		if e.drops(piece) {
			return true
		}
	}
	return false
}

// unusable refuses a claim that is no text.
func (p *parameter) unusable(r *facts.Request) policy.Verdict {
	for _, name := range p.value.Names() {
		path, isClaim := facts.ClaimPath(name)
		if _, ok := r.Value(name); isClaim && !ok {
			return policy.Refuse(&policy.Reject{
				Status: 403, Code: "claim_unusable", Detail: fmt.Sprintf("the claim %s of the token cannot be passed on", path),
			})
		}
	}
	return unsafe("a parameter that the upstream would see cannot be filled in")
}

// appendDecoded appends what a form-encoded text stands for, in the way in which matchers read parameters: a malformed escape stands
// for itself.
func appendDecoded(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}

// appendEncoded appends text with everything escaped but the unreserved characters (RFC 3986 section 2.3).
func appendEncoded(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unhex is the value of a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
