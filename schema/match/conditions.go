package match

import (
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// AnyValue as the value of a header or query condition asks only that the name is present.
const AnyValue = "*"

// A header or query condition holds if the name is present and, unless any value will do, every occurrence of it has the
// value. A repeated name with different values therefore satisfies no exact condition: which of them a back end reads
// differs from one to the next, and two routes that want different values of one name never overlap.

// headerMatches folds ASCII case in names and compares values exactly.
func headerMatches(headers []ir.Pair, want ir.Pair) bool {
	found := false
	for _, f := range headers {
		if !strings.EqualFold(f.Name, want.Name) {
			continue
		}
		if want.Value == AnyValue {
			return true
		}
		if f.Value != want.Value {
			return false
		}
		found = true
	}
	return found
}

// QueryMatches reports whether a raw query satisfies one condition. Parameters are separated by "&" alone; names and values
// are compared after decoding escapes and "+"; a malformed escape stands for itself. It does not allocate.
func QueryMatches(raw string, want ir.Pair) bool {
	found := false
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if !decodesTo(name, want.Name) {
			continue
		}
		if want.Value == AnyValue {
			return true
		}
		if !decodesTo(value, want.Value) {
			return false
		}
		found = true
	}
	return found
}

// decodesTo reports whether the form-encoded text stands for want.
func decodesTo(encoded, want string) bool {
	i := 0
	for ; encoded != ""; i++ {
		c, n := encoded[0], 1
		switch c {
		case '+':
			c = ' '
		case '%':
			if v, ok := unescape(encoded); ok {
				c, n = v, 3
			}
		}
		if i >= len(want) || want[i] != c {
			return false
		}
		encoded = encoded[n:]
	}
	return i == len(want)
}

// checkConditions finds methods, headers and parameters that no request can have, or that are asked for twice.
func checkConditions(m *ir.Match) error {
	for i, method := range m.Methods {
		if !isToken(method) {
			return condition("methods", method, "is not a method", "")
		}
		if upper := strings.ToUpper(method); upper != method && slices.Contains(standardMethods, upper) {
			return condition("methods", method, "methods are case-sensitive", "write "+quote(upper))
		}
		if slices.Contains(m.Methods[:i], method) {
			return condition("methods", method, "stands twice", "")
		}
	}
	for i, h := range m.Headers {
		if !isToken(h.Name) {
			return condition("headers", h.Name, "is not the name of a header", "")
		}
		if strings.ContainsFunc(h.Value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7F }) {
			return condition("headers", h.Name, "the value holds a control character", "")
		}
		if strings.Trim(h.Value, " \t") != h.Value {
			return condition("headers", h.Name, "the value starts or ends with space, which is never part of a header's value", "")
		}
		if slices.ContainsFunc(m.Headers[:i], func(o ir.Pair) bool { return strings.EqualFold(o.Name, h.Name) }) {
			return condition("headers", h.Name, "stands twice; the case of names does not count", "")
		}
	}
	for i, q := range m.Query {
		if q.Name == "" {
			return condition("query", q.Name, "a parameter needs a name", "")
		}
		if slices.ContainsFunc(m.Query[:i], func(o ir.Pair) bool { return o.Name == q.Name }) {
			return condition("query", q.Name, "stands twice", "")
		}
	}
	return nil
}

// lowerNames returns headers with their names in lower case, without a copy if they are already.
func lowerNames(headers []ir.Pair) []ir.Pair {
	if !slices.ContainsFunc(headers, func(h ir.Pair) bool { return h.Name != strings.ToLower(h.Name) }) {
		return headers
	}
	out := slices.Clone(headers)
	for i := range out {
		out[i].Name = strings.ToLower(out[i].Name)
	}
	return out
}

func condition(field, value, problem, hint string) error {
	return &PatternError{Field: field, Code: CodeCondition, Value: value, Problem: problem, Hint: hint}
}

// standardMethods are those of RFC 9110 section 9 and PATCH (RFC 5789).
var standardMethods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(s[i])) {
			return false
		}
	}
	return s != ""
}
