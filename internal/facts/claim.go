// Package facts is what templates and injected fields may tell of a request: its claims, the captures of its path, and a few things
// about itself. It reads and converts; what may stand where a fact is put, and what to do about one that may not, is the caller's
// business.
package facts

import (
	"encoding/json"
	"strings"
)

// Claim returns the claim at a path, nil if it is null or not there. Dots lead into objects; since the names of claims may hold dots
// themselves ("https://example.com/roles"), the longest name that is there is taken, and no other way is tried after it.
func Claim(claims map[string]any, path string) any {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		value, there := claims[path[:end]]
		switch {
		case !there:
		case end == len(path):
			return value
		default:
			inner, _ := value.(map[string]any)
			return Claim(inner, path[end+len("."):])
		}
	}
	return nil
}

// Text returns a claim as text: strings as they are, numbers and booleans as JSON writes them, lists of such with commas in between,
// and what is absent as "". False: an object, or a list that would be read back as another one.
func Text(claim any) (string, bool) {
	if list, ok := claim.([]any); ok {
		return joined(list)
	}
	return scalar(claim)
}

func scalar(claim any) (string, bool) {
	switch v := claim.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// joined refuses elements that who reads the list splits, drops, trims or unquotes (RFC 9110 section 5.6.1): two lists must not look
// alike.
func joined(list []any) (string, bool) {
	var b strings.Builder
	for i, e := range list {
		s, ok := scalar(e)
		if !ok || s == "" || strings.ContainsAny(s, `,"`) || strings.TrimSpace(s) != s {
			return "", false
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s)
	}
	return b.String(), true
}
